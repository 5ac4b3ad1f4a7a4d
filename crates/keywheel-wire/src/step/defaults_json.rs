//! `defaults.json`: what a client remembers about its CA. Unknown fields are kept when it is written again.

use serde_json::{Map, Value};

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DefaultsJson {
    document: Map<String, Value>,
}

/// Why a text is not a `defaults.json`.
#[derive(Debug, thiserror::Error)]
#[error("defaults.json is not a JSON object; run 'ca bootstrap' to write it again")]
pub struct DefaultsJsonError(#[source] serde_json::Error);

impl DefaultsJson {
    /// Reads the file's text.
    ///
    /// # Errors
    /// When it is not a JSON object.
    pub fn parse(text: &str) -> Result<Self, DefaultsJsonError> {
        serde_json::from_str(text).map(|document| Self { document }).map_err(DefaultsJsonError)
    }

    /// The file's text as `ca init` of the reference writes it, with tabs (`"\t"`), or as its `ca bootstrap` does, with two blanks.
    #[must_use]
    pub fn to_text(&self, indent: &str) -> String {
        super::ca_json::pretty(&self.document, indent)
    }

    /// The value of a flag, by the flag's name, as text; numbers and truth values are written out.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<String> {
        match self.document.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The CA's address.
    #[must_use]
    pub fn ca_url(&self) -> Option<String> {
        self.flag("ca-url")
    }

    /// Where the CA's own configuration stands.
    #[must_use]
    pub fn ca_config(&self) -> Option<String> {
        self.flag("ca-config")
    }

    /// The fingerprint of the root certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Option<String> {
        self.flag("fingerprint")
    }

    /// Where the root certificate stands.
    #[must_use]
    pub fn root(&self) -> Option<String> {
        self.flag("root")
    }

    /// Sets a flag; its place in the file stays where it was.
    pub fn set(&mut self, name: &str, value: &str) {
        self.document.insert(name.to_owned(), Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_keeps_unknown_fields_and_the_order() {
        let mut defaults = DefaultsJson::parse(r#"{"zeta":1,"ca-url":"https://a","redirect-url":""}"#).unwrap();
        defaults.set("ca-url", "https://b");
        assert_eq!(
            defaults.to_text("  "),
            "{\n  \"zeta\": 1,\n  \"ca-url\": \"https://b\",\n  \"redirect-url\": \"\"\n}\n"
        );
        assert_eq!(defaults.ca_url().as_deref(), Some("https://b"));
        assert_eq!(defaults.flag("zeta").as_deref(), Some("1"));
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        assert!(DefaultsJson::parse("[]").is_err());
    }
}
