//! `ca.json`: a typed view on the reference's CA configuration that keeps unknown fields and their order when it is edited.

mod edit;
mod fields;
mod policy;
mod provisioners;
mod settings;

use serde::Serialize;
use serde_json::{Map, Value};

pub use fields::CaJsonError;
pub use policy::PolicySide;
pub use provisioners::{ConfiguredProvisioner, rekey_settings};
pub use settings::{
    CrlSettings, DatabaseSettings, KeywheelSettings, KmsSettings, Settings, SshKeySettings, SshSettings,
    SubjectDefaults, TlsSettings,
};

/// The largest file that is read.
pub const MAX_TEXT: usize = 4 * 1024 * 1024;

/// The file's content. The JSON document is the truth; the typed views are read from it.
#[derive(Clone, Debug, PartialEq)]
pub struct CaJson {
    document: Map<String, Value>,
}

impl CaJson {
    /// Reads the file's text. Only its JSON is checked; [`CaJson::settings`] and [`CaJson::provisioners`] check the rest.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn parse(text: &str) -> Result<Self, CaJsonError> {
        if text.len() > MAX_TEXT {
            return Err(CaJsonError::TooLong);
        }
        serde_json::from_str(text).map(Self::from_document).map_err(CaJsonError::Json)
    }

    /// Takes a document that was made elsewhere, as `ca init` does.
    #[must_use]
    pub fn from_document(document: Map<String, Value>) -> Self {
        Self { document }
    }

    /// The whole document.
    #[must_use]
    pub fn document(&self) -> &Map<String, Value> {
        &self.document
    }

    /// The file's text, with tabs as the reference writes it.
    #[must_use]
    pub fn to_text(&self) -> String {
        pretty(&self.document, "\t")
    }

    /// Checks everything that can be checked without opening another file.
    ///
    /// # Errors
    /// The first thing that is wrong, with the place where it stands.
    pub fn validate(&self) -> Result<(), CaJsonError> {
        self.settings()?;
        self.policy()?;
        self.provisioners()?;
        Ok(())
    }
}

/// Writes a document with an indentation of the caller's choice and a newline at its end.
pub(super) fn pretty(document: &Map<String, Value>, indent: &str) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    // A map of JSON values with string keys always serializes; should that ever change, the compact form says the same.
    if document.serialize(&mut serializer).is_err() {
        text = Value::Object(document.clone()).to_string().into_bytes();
    }
    text.push(b'\n');
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests;
