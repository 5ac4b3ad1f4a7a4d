//! The judge: check-jsonschema, given schemas that allow no field that they do not name.

use std::path::Path;
use std::process::Command;

use keywheel_tests::peer;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::commands;
use crate::seen::Seen;

/// The program and the schemas that it judges by.
pub struct Judge {
    program: std::path::PathBuf,
    schemas: TempDir,
}

impl Judge {
    /// With the published schemas, closed: readers must bear new fields, but we must not forget to document one.
    pub fn strict() -> Option<Self> {
        Self::with(close)
    }

    /// With the published schemas as they are.
    fn open() -> Option<Self> {
        Self::with(|_| ())
    }

    fn with(change: fn(&mut Value)) -> Option<Self> {
        let program = peer::check_jsonschema()?;
        let schemas = tempfile::tempdir().expect("a folder can be made");
        for name in commands::schemas() {
            let file = format!("{name}.json");
            let text = std::fs::read_to_string(commands::folder().join(&file)).expect("it can be read");
            let mut schema: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
            change(&mut schema);
            std::fs::write(schemas.path().join(&file), schema.to_string()).expect("it can be written");
        }
        Some(Self { program, schemas })
    }

    /// Panics with all that is not as its schema says.
    pub fn judges(&self, seen: &Seen) {
        let mut wrong = Vec::new();
        for (schema, all) in &seen.all {
            let values: Vec<&Value> = all.iter().map(|said| &said.value).collect();
            if let Err(why) = self.judge(schema, &values) {
                let by: Vec<String> =
                    all.iter().enumerate().map(|(index, said)| format!("{index}.json: {}", said.by)).collect();
                wrong.push(format!("{schema}: {why}\n{}", by.join("\n")));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }

    fn judge(&self, schema: &str, values: &[&Value]) -> Result<(), String> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut command = Command::new(&self.program);
        command.arg("--verbose").arg("--schemafile").arg(self.schemas.path().join(format!("{schema}.json")));
        for (index, value) in values.iter().enumerate() {
            let file = folder.path().join(format!("{index}.json"));
            std::fs::write(&file, value.to_string()).expect("it can be written");
            command.arg(file);
        }
        judged(&mut command)
    }
}

fn judged(command: &mut Command) -> Result<(), String> {
    let output = command.output().expect("the judge can be started");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stdout).into_owned()) }
}

/// Forbids what is not named, in every object whose fields are named and that does not say itself what more it may have.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(close);
            let names_fields = map.get("properties").is_some_and(Value::is_object) && is_schema(map);
            if names_fields && !map.contains_key("additionalProperties") {
                map.insert("additionalProperties".into(), false.into());
            }
        }
        Value::Array(all) => all.iter_mut().for_each(close),
        _ => {}
    }
}

/// A field could be called "properties", too.
fn is_schema(map: &Map<String, Value>) -> bool {
    map.get("type").is_some_and(|kind| kind == "object")
}

#[test]
fn the_schemas_are_schemas() {
    let Some(program) = peer::check_jsonschema() else { return };
    let files: Vec<_> =
        commands::schemas().iter().map(|name| commands::folder().join(format!("{name}.json"))).collect();
    judged(Command::new(program).arg("--check-metaschema").args(&files)).unwrap_or_else(|why| panic!("{why}"));
    for file in files {
        check_descriptions(&file);
    }
}

#[test]
fn new_fields_break_no_reader_but_are_noticed_here() {
    let (Some(open), Some(strict)) = (Judge::open(), Judge::strict()) else { return };
    let (known, more) = (json!({"path": "/a"}), json!({"path": "/a", "more": 1}));
    assert_eq!((open.judge("path", &[&known]), strict.judge("path", &[&known])), (Ok(()), Ok(())));
    assert_eq!(open.judge("path", &[&more]), Ok(()));
    assert!(strict.judge("path", &[&more]).is_err_and(|why| why.contains("more")));
    // Also in a schema that another one refers to, and times are looked at.
    let mut event = json!({"event": "scheduled", "at": "2030-01-31T00:00:00Z", "in": "1h0m0s", "first": true});
    assert_eq!(strict.judge("daemon-event", &[&event]), Ok(()));
    event["at"] = "tomorrow".into();
    assert!(open.judge("daemon-event", &[&event]).is_err());
    let removed = json!({"removed": {"type": "JWK", "name": "a", "more": 1}});
    assert_eq!(open.judge("ca-provisioner-remove", &[&removed]), Ok(()));
    assert!(strict.judge("ca-provisioner-remove", &[&removed]).is_err());
}

/// Every field says what it is, or refers to what says it.
fn check_descriptions(file: &Path) {
    let text = std::fs::read_to_string(file).expect("it can be read");
    let schema: Value = serde_json::from_str(&text).expect("it is JSON");
    assert!(schema["title"].is_string(), "{} has no title", file.display());
    assert!(!text.contains("\"additionalProperties\": false"), "{} forbids new fields", file.display());
}
