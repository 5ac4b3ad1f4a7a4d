//! placeholder
use super::{RenderError, TemplateInput};
pub(super) fn parse(_t: &str) -> Result<(), RenderError> { Ok(()) }
pub(super) fn run(_t: &str, _i: &TemplateInput) -> Result<String, RenderError> { Ok("{}".to_owned()) }
