//! `agent status` and `agent rekey`: asking an agent that runs.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use keywheel_core::go_duration;
use keywheel_engine::client::agent::status::{self, AskError};
use serde_json::{Value, json};

use super::{OF_THE_SYSTEM, own_socket};
use crate::commands::{DONE, Setting, wait_for};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// Where the agent answers.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct SocketFlags {
    /// The socket of the agent [default: agent.sock of the home, else that of the service]
    #[arg(long, value_name = "file")]
    socket: Option<PathBuf>,
}

/// Flags of `agent status`.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct StatusFlags {
    /// Only the certificate of this name
    #[arg(value_name = "name")]
    name: Option<String>,
    #[command(flatten)]
    socket: SocketFlags,
}

/// Flags of `agent rekey`.
#[derive(Args, Clone, Debug)]
pub(super) struct RekeyFlags {
    /// The name of the certificate
    #[arg(value_name = "name")]
    name: String,
    #[command(flatten)]
    socket: SocketFlags,
}

pub(super) fn status(flags: &StatusFlags, setting: &Setting<'_>) -> Outcome {
    let answer = ask(status::status(&flags.socket.socket(setting), flags.name.as_deref()))?;
    setting.voice.json(&answer)?;
    if setting.voice.speaks_json() {
        return DONE;
    }
    if flags.name.is_some() {
        return details(&answer["certificates"][0], setting);
    }
    let mut rows: Vec<&Value> = answer["certificates"].as_array().into_iter().flatten().collect();
    rows.sort_by_key(|row| row["name"].as_str().unwrap_or_default());
    setting.voice.result(table(&rows))?;
    for row in rows.iter().filter(|row| !row["error"].is_null()) {
        setting.voice.result(format!("{}: {}", text(row, "name"), text(row, "error")))?;
    }
    let agent = &answer["agent"];
    for error in agent["config_errors"].as_array().into_iter().flatten() {
        setting.voice.result(format!("{}:{}: {}", text(error, "file"), error["line"], text(error, "message")))?;
    }
    for authority in agent["authorities"].as_array().into_iter().flatten() {
        if let Some(until) = authority["quiet_until"].as_str() {
            setting.voice.result(format!("{} is left alone until {until}", text(authority, "ca_url")))?;
        }
    }
    DONE
}

pub(super) fn rekey(flags: &RekeyFlags, setting: &Setting<'_>) -> Outcome {
    let mut answer = ask(status::rekey_now(&flags.socket.socket(setting), &flags.name))?;
    let failed = answer["failed"].as_str().map(str::to_owned);
    let exit = match answer["fault"].as_str() {
        Some("usage") => Exit::Usage,
        Some("refused") => Exit::Refused,
        Some("try-again") => Exit::TryAgain,
        Some("hook-failed") => Exit::Hook,
        _ => Exit::Failed,
    };
    if answer["rekeyed"] == json!(true) {
        setting.voice.result(format!("{} certificate rekeyed, next in {}", flags.name, until(&answer["next"])))?;
        for warning in answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            setting.voice.warn(warning);
        }
    }
    let Some(message) = failed else {
        answer["name"] = flags.name.clone().into();
        setting.voice.json(&answer)?;
        return DONE;
    };
    if answer["rekeyed"] == json!(true) {
        answer["name"] = flags.name.clone().into();
        setting.voice.json(&answer)?;
    }
    Err(Failure::failed(message).exit_with(exit))
}

impl SocketFlags {
    fn socket(&self, setting: &Setting<'_>) -> PathBuf {
        if let Some(socket) = &self.socket {
            return socket.clone();
        }
        let own = own_socket(setting);
        if !own.exists() && Path::new(OF_THE_SYSTEM).exists() { OF_THE_SYSTEM.into() } else { own }
    }
}

fn ask(asking: impl Future<Output = Result<Value, AskError>>) -> Outcome<Value> {
    wait_for(async {
        asking.await.map_err(|error| {
            let exit = match &error {
                AskError::Nobody { .. } => Exit::TryAgain,
                AskError::Refused(_) => Exit::Usage,
                _ => Exit::Failed,
            };
            Failure::of(exit, error)
        })
    })
}

fn details(one: &Value, setting: &Setting<'_>) -> Outcome {
    for field in [
        "name",
        "state",
        "certificate",
        "key",
        "ca_url",
        "config",
        "not_before",
        "not_after",
        "next",
        "last_rekey",
        "failures",
        "error",
    ] {
        let value = match &one[field] {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        setting.voice.result(format!("{:<12} {value}", field.replace('_', " ")))?;
    }
    DONE
}

/// The certificates in columns as wide as they need.
fn table(rows: &[&Value]) -> String {
    let mut cells = vec![["NAME", "STATE", "NOT AFTER", "NEXT REKEY", "LAST REKEY", "FAILURES"].map(str::to_owned)];
    for row in rows {
        let or_dash = |field: &str| row[field].as_str().unwrap_or("-").to_owned();
        let next = if row["next"].is_null() { "-".to_owned() } else { format!("in {}", until(&row["next"])) };
        cells.push([
            or_dash("name"),
            or_dash("state"),
            or_dash("not_after"),
            next,
            or_dash("last_rekey"),
            row["failures"].to_string(),
        ]);
    }
    let mut widths = [0; 6];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let lines = cells.iter().map(|row| {
        let line: String = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// How long it is until then.
fn until(at: &Value) -> String {
    let at = at.as_str().and_then(|text| text.parse::<Timestamp>().ok()).unwrap_or(Timestamp::MAX);
    let left = at.duration_since(Timestamp::now()).max(jiff::SignedDuration::ZERO);
    go_duration::format(go_duration::round_to_second(left))
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}
