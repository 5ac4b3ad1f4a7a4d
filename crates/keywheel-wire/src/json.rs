//! Members of JSON objects as Go reads them, and values as an error message shows them.

use serde_json::{Map, Value};

/// The member's value; `null` is absence. Go matches names without regard to case, so that files in the wild may too.
pub(crate) fn member<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    map.get(name)
        .or_else(|| map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
        .filter(|value| !value.is_null())
}

/// A list of texts, or one text; an empty one is absence. The error is what was expected.
pub(crate) fn texts(value: Option<&Value>) -> Result<Vec<String>, &'static str> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(text)) if text.is_empty() => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(entries)) => entries
            .iter()
            .map(|entry| entry.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or("a list of texts"),
        Some(_) => Err("a text or a list of texts"),
    }
}

/// A value as an error message shows it.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => short(&other.to_string()),
    }
}

/// The beginning of a text that may be of any length.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(64).collect()
}
