//! X.509 templates of the reference: Go text templates that make a JSON description of a certificate.

mod asn1;
mod data;
mod description;
mod engine;
mod functions;

pub use data::{AuthorizationCertificate, ExtensionInput, NameInput, PublicKeyInput, RequestInput, San, TemplateInput};
pub use description::{
    BasicConstraintsOutput, CertificateDescription, DescriptionError, ExtensionOutput, KeyUsageFlag,
};

use serde_json::{Map, Value};

/// The longest template that is accepted.
pub const MAX_TEMPLATE: usize = 256 * 1024;

/// The longest text that a template may make.
pub const MAX_OUTPUT: usize = 256 * 1024;

/// How often all loops of a template may turn, taken together.
pub const MAX_TURNS: u64 = 100_000;

/// What a leaf looks like where the provisioner has no template: subject and names as authorised, key usage after the key's kind, for
/// servers and clients.
pub const DEFAULT_LEAF: &str = r#"{
  "subject": {{ toJson .Subject }},
  "sans": {{ toJson .SANs }},
  {{- if typeIs "*rsa.PublicKey" .Insecure.CR.PublicKey }}
  "keyUsage": ["digitalSignature", "keyEncipherment"],
  {{- else }}
  "keyUsage": ["digitalSignature"],
  {{- end }}
  "extKeyUsage": ["serverAuth", "clientAuth"]
}"#;

/// Why a template made no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// Longer than [`MAX_TEMPLATE`].
    #[error("the template is longer than {MAX_TEMPLATE} octets")]
    TooLong,
    /// Not a template.
    #[error("the template cannot be read")]
    Parse(#[source] gotmpl::TemplateError),
    /// The template itself refused with `fail`.
    #[error("{0}")]
    Refused(String),
    /// The template failed while it ran.
    #[error("the template failed")]
    Execute(#[source] gotmpl::TemplateError),
    /// Longer than [`MAX_OUTPUT`].
    #[error("the template makes more than {MAX_OUTPUT} octets")]
    TooMuch,
    /// What it made is not JSON.
    #[error("the template makes no valid JSON object (line {line}, column {column} of its result)")]
    Json {
        /// Line in the result.
        line: usize,
        /// Column in the result.
        column: usize,
        /// What the JSON reader says.
        #[source]
        source: serde_json::Error,
    },
    /// What it made describes no certificate.
    #[error("the template makes no valid certificate")]
    Description(#[source] DescriptionError),
}

/// Runs a template and reads what it made.
///
/// # Errors
/// When the template is not one, fails, goes beyond a limit, or makes no certificate.
pub fn render(template: &str, input: &TemplateInput) -> Result<CertificateDescription, RenderError> {
    let text = engine::run(template, input)?;
    let object: Map<String, Value> = serde_json::from_str(&text).map_err(|source| RenderError::Json {
        line: source.line(),
        column: source.column(),
        source,
    })?;
    CertificateDescription::read(&object).map_err(RenderError::Description)
}

/// Checks that a text is a template, as far as this can be told without running it.
///
/// # Errors
/// When it is too long, or not a template.
pub fn check(template: &str) -> Result<(), RenderError> {
    engine::parse(template).map(|_| ())
}

#[cfg(test)]
mod tests;
