//! What was said in JSON, and which schema it must be like.

use std::collections::BTreeMap;

use keywheel_tests::place::{Done, Place};
use serde_json::Value;

/// One output.
pub struct Said {
    /// The command line, or what else made it.
    pub by: String,
    /// What was said.
    pub value: Value,
}

/// All outputs, by their schema.
#[derive(Default)]
pub struct Seen {
    /// By the name of the schema.
    pub all: BTreeMap<String, Vec<Said>>,
}

impl Seen {
    /// Runs a command that must succeed; its result is like the schema.
    #[track_caller]
    pub fn result(&mut self, schema: &str, place: &Place, words: &[&str]) -> Value {
        self.result_with(schema, 0, place, words)
    }

    /// The same for a command that gives a result and this exit code.
    #[track_caller]
    pub fn result_with(&mut self, schema: &str, code: i32, place: &Place, words: &[&str]) -> Value {
        let done = self.run(code, place, words);
        let value: Value =
            serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}: {}", done.stdout));
        self.put(schema, &words.join(" "), value.clone());
        value
    }

    /// Runs a command that must fail with this exit code, saying nothing on standard output.
    #[track_caller]
    pub fn failure(&mut self, code: i32, place: &Place, words: &[&str]) {
        let done = self.run(code, place, words);
        assert_eq!(done.stdout, "", "{words:?}");
    }

    /// Keeps one output.
    pub fn put(&mut self, schema: &str, by: &str, value: Value) {
        self.all.entry(schema.to_owned()).or_default().push(Said { by: by.to_owned(), value });
    }

    /// Takes over what another has seen.
    pub fn add(&mut self, more: Self) {
        for (schema, said) in more.all {
            self.all.entry(schema).or_default().extend(said);
        }
    }

    /// Whether an output was seen that must be like this schema.
    pub fn has(&self, schema: &str) -> bool {
        self.all.contains_key(schema)
    }

    /// Standard error of a command is warnings, and an error at the end where it failed.
    #[track_caller]
    fn run(&mut self, code: i32, place: &Place, words: &[&str]) -> Done {
        let done = place.keywheel(&[words, &["--json"]].concat());
        assert_eq!(done.code, code, "{words:?}\nstdout: {}\nstderr: {}", done.stdout, done.stderr);
        let mut failed = None;
        for line in done.stderr.lines() {
            assert_eq!(failed, None, "{words:?} said more after its error: {line}");
            let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{words:?}: {error}: {line}"));
            if value.get("warning").is_some() {
                self.put("warning", &words.join(" "), value);
            } else {
                failed = value["error"]["exit"].as_i64();
                assert_eq!(failed, Some(code.into()), "{words:?}: the exit code in the error is another: {line}");
                self.put("error", &words.join(" "), value);
            }
        }
        // `needs-renewal` says 1 for no, as the reference does.
        assert!(failed.is_some() || code == 0 || !done.stdout.is_empty(), "{words:?} failed without an error");
        done
    }
}
