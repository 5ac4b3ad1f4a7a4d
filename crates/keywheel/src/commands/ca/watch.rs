//! The daemon's voice and ears: events become lines, signals become commands.

use jiff::{SignedDuration, Timestamp};
use keywheel_core::go_duration;
use keywheel_engine::client::daemon::{self, Command, DaemonOptions, Event};
use keywheel_engine::client::error::ClientError;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::report::{self, Deed};
use crate::commands::{DONE, Setting};
use crate::failure::{Classed, Failure, Outcome};
use crate::voice::Voice;

/// Runs until SIGTERM or SIGINT; SIGHUP replaces at once.
pub(crate) async fn run(options: DaemonOptions, deed: Deed, setting: &Setting<'_>) -> Outcome {
    let (sender, commands) = mpsc::channel(4);
    listen(sender)?;
    // Not under systemd there is nobody to tell.
    let _unheard = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let mut teller = Teller { voice: *setting.voice, deed, subject: None };
    daemon::run(options, commands, |event| teller.tell(event)).await?;
    DONE
}

fn listen(sender: mpsc::Sender<Command>) -> Outcome<()> {
    for (kind, command) in [
        (SignalKind::hangup(), Command::Now),
        (SignalKind::terminate(), Command::Stop),
        (SignalKind::interrupt(), Command::Stop),
    ] {
        let mut signals = signal(kind).or_failed(|| "listen for signals".into())?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if sender.send(command).await.is_err() {
                    break;
                }
            }
        });
    }
    Ok(())
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
                self.info(&line, json!({"event": "scheduled", "at": at.to_string(), "in": next, "first": first}));
            }
            Event::Done(report) => {
                for warning in &report.warnings {
                    self.voice.warn(warning);
                }
                let mut value = report::rekey_value(&report, self.deed);
                value["event"] = past.into();
                self.line(&value);
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
                self.error(&line, value);
            }
            Event::HookFailed { error } => {
                if let ClientError::NotTaken { report, .. } = &error {
                    for warning in &report.warnings {
                        self.voice.warn(warning);
                    }
                    let mut value = report::rekey_value(report, self.deed);
                    value["event"] = past.into();
                    self.line(&value);
                    self.subject = Some(report.new.subject.clone());
                }
                let message = Failure::from(error).message();
                self.error(&message, json!({"event": "hook-failed", "message": message}));
            }
            Event::FilesChanged => {
                self.info("something else replaced the files; they were read again", json!({"event": "files-changed"}));
            }
            Event::Expired { not_after } => {
                let text = format!("the certificate expired at {not_after}; still trying");
                self.error(&text, json!({"event": "expired", "not_after": not_after.to_string()}));
            }
            Event::Stopped => self.info("stopped", json!({"event": "stopped"})),
        }
    }

    /// As the reference prints it: on stdout.
    fn info(&self, text: &str, value: Value) {
        // Who closed our output does not end the daemon.
        let _unheard = self.voice.result(format!("INFO: {} {text}", stamp()));
        self.line(&value);
    }

    fn error(&self, text: &str, value: Value) {
        self.voice.say(format!("ERROR: {} {text}", stamp()));
        self.line(&value);
    }

    fn line(&self, value: &Value) {
        if self.voice.speaks_json() {
            let _unheard = self.voice.json_line(value);
        }
    }
}

fn stamp() -> String {
    Timestamp::now().strftime("%Y/%m/%d %H:%M:%S").to_string()
}

fn short(duration: SignedDuration) -> String {
    go_duration::format(go_duration::round_to_second(duration))
}
