//! One transaction as a value: what is run on either database.

use std::future::Future;

use crate::error::StoreError;
use crate::session::Session;

/// Something to be done in one transaction. It may be run again from the start when the database asks for that, so it
/// keeps no state of its own.
pub(crate) trait Operation: Send + Sync + 'static {
    /// What it answers.
    type Answer: Send + 'static;

    /// What is being done, for error messages: "recording a certificate".
    fn doing(&self) -> &'static str;

    /// Runs it. Whatever it wrote is undone when it answers with an error.
    fn run(&self, session: &mut Session<'_>) -> impl Future<Output = Result<Self::Answer, StoreError>> + Send;
}
