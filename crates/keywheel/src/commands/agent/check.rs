//! `agent check`: what an agent would keep fresh, and what is wrong with its files.

use keywheel_engine::client::agent;
use serde_json::{Value, json};

use super::teller::counted;
use super::{RunFlags, failure};
use crate::commands::{DONE, Setting, wait_for};
use crate::failure::{Failure, Outcome};

pub(super) fn run(flags: &RunFlags, setting: &Setting<'_>) -> Outcome {
    let checked =
        wait_for(async { agent::check(flags.config(setting), flags.surroundings(setting)).await.map_err(failure) })?;
    let rows: Vec<Value> = checked.certificates.iter().map(row).collect();
    for row in &rows {
        setting.voice.result(format!(
            "{}: {}, due {}",
            text(row, "name"),
            text(row, "certificate"),
            row["next"].as_str().unwrap_or("never, since it cannot be read")
        ))?;
    }
    for error in &checked.errors {
        setting.voice.say(error.to_string());
    }
    for (name, message) in &checked.notes {
        setting.voice.say(format!("{name}: {message}"));
    }
    let errors =
        checked.errors.iter().map(|error| json!({"file": error.file, "line": error.line, "message": error.message}));
    let notes = checked.notes.iter().map(|(name, message)| json!({"name": &**name, "message": message}));
    setting.voice.json(&json!({
        "certificates": rows,
        "config_errors": errors.collect::<Vec<_>>(),
        "problems": notes.collect::<Vec<_>>(),
    }))?;
    match checked.errors.len() + checked.notes.len() {
        0 => {
            setting
                .voice
                .result(format!("{} would be kept fresh; nothing is wrong", counted(rows.len(), "certificate")))?;
            DONE
        }
        1 => Err(Failure::usage("one thing is wrong, see above; nothing was changed")),
        wrong => Err(Failure::usage(format!("{wrong} things are wrong, see above; nothing was changed"))),
    }
}

/// What is known without a running agent.
fn row(one: &Value) -> Value {
    let mut row = json!({});
    for field in ["name", "kind", "certificate", "key", "ca_url", "config", "not_before", "not_after", "next"] {
        row[field] = one[field].clone();
    }
    row
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}
