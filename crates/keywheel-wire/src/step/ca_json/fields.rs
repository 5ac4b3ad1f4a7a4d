//! Reads the fields of a JSON object one by one and says exactly where one is wrong.

use jiff::SignedDuration;
use keywheel_core::go_duration;
use serde_json::{Map, Value};

use crate::json;

/// Why a `ca.json` was not accepted or not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaJsonError {
    /// Longer than [`super::MAX_TEXT`].
    #[error("ca.json is larger than 4 MiB; nothing was changed")]
    TooLong,
    /// Not a JSON object.
    #[error("ca.json is not a JSON object; nothing was changed")]
    Json(#[source] serde_json::Error),
    /// A field has a value that is not accepted.
    #[error("ca.json: {place}: expected {expected}, found {found}; correct the field, nothing was changed")]
    Field {
        /// The path to the field; provisioners carry their type and name.
        place: String,
        /// What the field takes.
        expected: String,
        /// What it holds.
        found: String,
    },
    /// A field that must be there is not.
    #[error("ca.json: {place} is missing: expected {expected}; add the field, nothing was changed")]
    Missing {
        /// The path to the field.
        place: String,
        /// What the field takes.
        expected: String,
    },
    /// Two provisioners that cannot be told apart.
    #[error("ca.json: two provisioners have the identity '{0}'; rename one, nothing was changed")]
    DuplicateProvisioner(String),
    /// A provisioner of that name is there already.
    #[error(
        "a provisioner with name '{0}' already exists; choose another name or use 'ca provisioner update', nothing was changed"
    )]
    ProvisionerExists(String),
    /// No provisioner of that name.
    #[error("there is no provisioner with name '{0}'; 'ca provisioner list' shows them, nothing was changed")]
    NoSuchProvisioner(String),
    /// Several provisioners of that name.
    #[error("several provisioners have the name '{0}'; say which with its type, nothing was changed")]
    AmbiguousProvisioner(String),
    /// No such policy.
    #[error("there is no {0}; nothing was changed")]
    NoSuchPolicy(String),
}

/// A JSON object and the path to it.
#[derive(Clone)]
pub(super) struct Fields<'a> {
    pub(super) place: String,
    pub(super) map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn root(map: &'a Map<String, Value>) -> Self {
        Self { place: String::new(), map }
    }

    pub(super) fn at(place: String, map: &'a Map<String, Value>) -> Self {
        Self { place, map }
    }

    /// The field's value, in whatever case its name is written; `null` is absence.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        json::member(self.map, name)
    }

    pub(super) fn place_of(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    pub(super) fn wrong(&self, name: &str, expected: impl Into<String>) -> CaJsonError {
        match self.get(name) {
            None => CaJsonError::Missing { place: self.place_of(name), expected: expected.into() },
            Some(value) => CaJsonError::Field {
                place: self.place_of(name),
                expected: expected.into(),
                found: json::describe(value),
            },
        }
    }

    /// As [`Fields::wrong`], for a field whose content must not be shown.
    pub(super) fn wrong_secret(&self, name: &str, expected: impl Into<String>) -> CaJsonError {
        CaJsonError::Field { place: self.place_of(name), expected: expected.into(), found: "something else".to_owned() }
    }

    /// A text; an empty one is absence, as in the reference.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, CaJsonError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(name, "a text")),
        }
    }

    pub(super) fn required_text(&self, name: &str, expected: &str) -> Result<String, CaJsonError> {
        self.text(name)?
            .ok_or_else(|| CaJsonError::Missing { place: self.place_of(name), expected: expected.to_owned() })
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, CaJsonError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, CaJsonError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            Some(_) => Err(self.wrong(name, "a number")),
        }
    }

    /// A Go duration; an empty text is absence.
    pub(super) fn duration(&self, name: &str) -> Result<Option<SignedDuration>, CaJsonError> {
        let expected = "a duration such as \"24h\" or \"5m30s\"";
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => go_duration::parse(text).map(Some).map_err(|_| self.wrong(name, expected)),
            Some(_) => Err(self.wrong(name, expected)),
        }
    }

    /// A list of texts, or one text.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, CaJsonError> {
        json::texts(self.get(name)).map_err(|expected| self.wrong(name, expected))
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<Fields<'a>>, CaJsonError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Fields::at(self.place_of(name), map))),
            Some(_) => Err(self.wrong(name, "an object")),
        }
    }

    pub(super) fn list(&self, name: &str) -> Result<&'a [Value], CaJsonError> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Array(entries)) => Ok(entries),
            Some(_) => Err(self.wrong(name, "a list")),
        }
    }
}
