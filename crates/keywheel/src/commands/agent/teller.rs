//! The agent's voice: its events as lines for people or programs, and for the service manager.

use jiff::{SignedDuration, Timestamp};
use keywheel_core::go_duration;
use keywheel_engine::client::agent::Event;
use keywheel_engine::client::error::ClientError;
use keywheel_engine::client::rekey::RekeyReport;
use sd_notify::NotifyState;
use serde_json::json;

use crate::commands::ca::report::{self, REKEY};
use crate::failure::Failure;
use crate::voice::Voice;

/// Tells what happens.
pub(super) struct Teller {
    voice: Voice,
}

impl Teller {
    pub(super) fn new(voice: Voice) -> Self {
        Self { voice }
    }

    pub(super) fn tell(&mut self, event: Event) {
        match event {
            Event::Alive => manager(&[NotifyState::Watchdog]),
            Event::Reloading => match NotifyState::monotonic_usec_now() {
                Ok(at) => manager(&[NotifyState::Reloading, at]),
                Err(_) => manager(&[NotifyState::Reloading]),
            },
            Event::Reloaded => manager(&[NotifyState::Ready]),
            Event::Loaded(loading) => {
                let line = format!(
                    "keeping {} of {} fresh ({} added, {} changed, {} removed)",
                    counted(loading.certificates, "certificate"),
                    counted(loading.files, "file"),
                    loading.added,
                    loading.changed,
                    loading.removed
                );
                manager(&[NotifyState::Status(&line)]);
                self.voice.event(
                    &line,
                    &json!({
                        "event": "loaded", "certificates": loading.certificates, "files": loading.files,
                        "added": loading.added, "changed": loading.changed, "removed": loading.removed,
                    }),
                );
            }
            Event::ConfigBroken { error } => {
                let line = format!("{error}; what this file said before holds");
                self.voice.event_of_failure(
                    &line,
                    &json!({
                        "event": "config-broken", "file": error.file, "line": error.line, "message": error.message,
                    }),
                );
            }
            Event::NotWatched { message } => {
                let line = format!("{message}; changes are seen only at the next rescan");
                self.voice.event_of_failure(&line, &json!({"event": "not-watched", "message": message}));
            }
            Event::Rekeyed { name, report, next } => self.rekeyed(&name, &report, next),
            Event::NotTaken { name, error, next } => {
                if let ClientError::NotTaken { report, .. } = &error {
                    self.rekeyed(&name, report, next);
                }
                let message = Failure::from(error).message();
                let value = json!({"event": "hook-failed", "name": &*name, "message": message});
                self.voice.event_of_failure(&format!("{name}: {message}"), &value);
            }
            Event::Failed { name, error, attempt, retry_after } => {
                let again = short(retry_after);
                let failure = Failure::from(error);
                let message = failure.message();
                let mut line = format!("{name}: {message}; trying again in {again}");
                let mut value = json!({
                    "event": "failed", "name": &*name, "message": message, "attempt": attempt, "retry_in": again,
                });
                if let Some(hint) = failure.advice() {
                    value["hint"] = hint.into();
                    line.push_str(&format!(" (hint: {hint})"));
                }
                self.voice.event_of_failure(&line, &value);
            }
            Event::Unreadable { name, message, retry_after } => {
                let again = short(retry_after);
                let value = json!({"event": "unreadable", "name": &*name, "message": message, "retry_in": again});
                self.voice.event_of_failure(&format!("{name}: {message}; looking again in {again}"), &value);
            }
            Event::Odd { name, message } => {
                let value = json!({"event": "adjusted", "name": &*name, "message": message});
                self.voice.event_of_failure(&format!("{name}: {message}"), &value);
            }
            Event::FilesChanged { name, next } => {
                let line = format!("{name}: something else changed the files; next rekey in {}", from_now(next));
                self.voice.event(&line, &json!({"event": "files-changed", "name": &*name, "next": next.to_string()}));
            }
            Event::Expired { name, not_after } => {
                let line = format!("{name}: the certificate expired at {not_after}; still trying");
                let value = json!({"event": "expired", "name": &*name, "not_after": not_after.to_string()});
                self.voice.event_of_failure(&line, &value);
            }
            Event::Stopping { under_way } => {
                manager(&[NotifyState::Stopping]);
                let line = format!("stopping; what is under way ({under_way}) is finished");
                self.voice.event(&line, &json!({"event": "stopping", "under_way": under_way}));
            }
            Event::Stopped => self.voice.event("stopped", &json!({"event": "stopped"})),
        }
    }

    fn rekeyed(&self, name: &str, report: &RekeyReport, next: Timestamp) {
        for warning in &report.warnings {
            self.voice.warn(format!("{name}: {warning}"));
        }
        let mut value = report::rekey_value(report, REKEY);
        value["event"] = "rekeyed".into();
        value["name"] = name.into();
        value["next"] = next.to_string().into();
        let line = format!("{name}: {} certificate rekeyed, next in {}", report.new.subject, from_now(next));
        self.voice.event(&line, &value);
    }
}

/// `1 file`, `2 files`.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Not under systemd there is nobody to tell.
fn manager(state: &[NotifyState<'_>]) {
    let _unheard = sd_notify::notify(state);
}

fn from_now(at: Timestamp) -> String {
    short(at.duration_since(Timestamp::now()).max(SignedDuration::ZERO))
}

fn short(duration: SignedDuration) -> String {
    go_duration::format(go_duration::round_to_second(duration))
}
