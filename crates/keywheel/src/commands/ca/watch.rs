//! The daemon's voice and ears: events become lines, signals become commands.

use jiff::SignedDuration;
use keywheel_core::go_duration;
use keywheel_engine::client::daemon::{self, Command, DaemonOptions, Event};
use keywheel_engine::client::error::ClientError;
use serde_json::json;
use tokio::sync::mpsc;

use super::report::{self, Deed};
use crate::commands::{DONE, Setting};
use crate::failure::{Failure, Outcome};
use crate::signals;
use crate::voice::Voice;

/// Runs until SIGTERM or SIGINT; SIGHUP replaces at once.
pub(crate) async fn run(options: DaemonOptions, deed: Deed, setting: &Setting<'_>) -> Outcome {
    let (sender, commands) = mpsc::channel(4);
    signals::listen(&sender, Command::Now, Command::Stop)?;
    // Not under systemd there is nobody to tell.
    let _unheard = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let mut teller = Teller { voice: *setting.voice, deed, subject: None };
    daemon::run(options, commands, |event| teller.tell(event)).await?;
    DONE
}

struct Teller {
    voice: Voice,
    deed: Deed,
    /// The subject of the certificate that was replaced last, until the next time is known.
    subject: Option<String>,
}

impl Teller {
    fn tell(&mut self, event: Event) {
        let Deed { past, noun, .. } = self.deed;
        match event {
            Event::Scheduled { at, after, first } => {
                let next = short(after);
                let line = match (self.subject.take(), first) {
                    (Some(subject), _) => format!("{subject} certificate {past}, next in {next}"),
                    (None, true) => format!("first {noun} in {next}"),
                    (None, false) => format!("next {noun} in {next}"),
                };
                self.voice
                    .event(&line, &json!({"event": "scheduled", "at": at.to_string(), "in": next, "first": first}));
            }
            Event::Done(report) => {
                for warning in &report.warnings {
                    self.voice.warn(warning);
                }
                let mut value = report::rekey_value(&report, self.deed);
                value["event"] = past.into();
                self.voice.event_value(&value);
                self.subject = Some(report.new.subject.clone());
            }
            Event::Failed { error, attempt, retry_after } => {
                let again = short(retry_after);
                let failure = Failure::from(error);
                let mut value =
                    json!({"event": "failed", "message": failure.message(), "attempt": attempt, "retry_in": again});
                let mut line = format!("{}; trying again in {again}", failure.message());
                if let Some(hint) = failure.advice() {
                    value["hint"] = hint.into();
                    line.push_str(&format!(" (hint: {hint})"));
                }
                self.voice.event_of_failure(&line, &value);
            }
            Event::HookFailed { error } => {
                if let ClientError::NotTaken { report, .. } = &error {
                    for warning in &report.warnings {
                        self.voice.warn(warning);
                    }
                    let mut value = report::rekey_value(report, self.deed);
                    value["event"] = past.into();
                    self.voice.event_value(&value);
                    self.subject = Some(report.new.subject.clone());
                }
                let message = Failure::from(error).message();
                self.voice.event_of_failure(&message, &json!({"event": "hook-failed", "message": message}));
            }
            Event::FilesChanged => {
                self.voice.event(
                    "something else replaced the files; they were read again",
                    &json!({"event": "files-changed"}),
                );
            }
            Event::Expired { not_after } => {
                let text = format!("the certificate expired at {not_after}; still trying");
                self.voice.event_of_failure(&text, &json!({"event": "expired", "not_after": not_after.to_string()}));
            }
            Event::Stopped => self.voice.event("stopped", &json!({"event": "stopped"})),
        }
    }
}

fn short(duration: SignedDuration) -> String {
    go_duration::format(go_duration::round_to_second(duration))
}
