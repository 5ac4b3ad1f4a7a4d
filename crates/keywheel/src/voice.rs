//! Everything that the program says: results on stdout, talk on stderr.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::exit::Exit;
use crate::failure::{Classed, Failure, Outcome};

/// The program's voice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Voice {
    json: bool,
    colour: bool,
}

impl Voice {
    /// A voice that speaks JSON, or words; with colour only to a terminal and only without `NO_COLOR`.
    pub(crate) fn new(json: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, colour: wanted && std::io::stderr().is_terminal() }
    }

    /// Whether results are to be JSON.
    pub(crate) fn speaks_json(&self) -> bool {
        self.json
    }

    /// A result for people, on stdout; nothing when JSON was asked for.
    pub(crate) fn result(&self, text: impl AsRef<str>) -> Outcome<()> {
        if self.json { Ok(()) } else { self.raw(format!("{}\n", text.as_ref()).as_bytes()) }
    }

    /// A result for programs, on stdout; nothing when words were asked for.
    pub(crate) fn json(&self, value: &impl Serialize) -> Outcome<()> {
        if self.json { self.json_always(value) } else { Ok(()) }
    }

    /// A result that is JSON whatever was asked for.
    pub(crate) fn json_always(&self, value: &impl Serialize) -> Outcome<()> {
        let mut text = serde_json::to_vec_pretty(value).or_failed(|| "write the result as JSON".into())?;
        text.push(b'\n');
        self.raw(&text)
    }

    /// One line of JSON of a stream.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> Outcome<()> {
        let mut text = serde_json::to_vec(value).or_failed(|| "write the event as JSON".into())?;
        text.push(b'\n');
        self.raw(&text)
    }

    /// Tells what a program that stays did, with the time: in words, as the reference does on stdout, or as a line of JSON.
    pub(crate) fn event(&self, text: &str, value: &impl Serialize) {
        // Who closed our output does not end the program.
        let _unheard = self.result(format!("INFO: {} {text}", stamp()));
        self.event_value(value);
    }

    /// The same of what went wrong: the words on stderr.
    pub(crate) fn event_of_failure(&self, text: &str, value: &impl Serialize) {
        self.say(format!("ERROR: {} {text}", stamp()));
        self.event_value(value);
    }

    /// The line of JSON alone, where JSON was asked for.
    pub(crate) fn event_value(&self, value: &impl Serialize) {
        if self.json {
            let _unheard = self.json_line(value);
        }
    }

    /// Bytes as they are, on stdout.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Outcome<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::of_output)
    }

    /// Talk, on stderr.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        if !self.json {
            stderr(text.as_ref());
        }
    }

    /// Something that was done: `✔ Certificate: a.crt`, on stderr.
    pub(crate) fn done(&self, label: &str, value: impl std::fmt::Display) {
        if self.json {
            return;
        }
        if self.colour {
            stderr(&format!("\x1b[32m✔\x1b[0m \x1b[1m{label}:\x1b[0m {value}"));
        } else {
            stderr(&format!("✔ {label}: {value}"));
        }
    }

    /// Something that the person should know although it went well.
    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        if self.json {
            stderr(&serde_json::json!({"warning": text.as_ref()}).to_string());
        } else if self.colour {
            stderr(&format!("\x1b[33mwarning:\x1b[0m {}", text.as_ref()));
        } else {
            stderr(&format!("warning: {}", text.as_ref()));
        }
    }

    /// Why it did not work; gives back the exit code.
    pub(crate) fn fail(&self, failure: &Failure) -> Exit {
        if failure.is_unheard() {
            return Exit::Done;
        }
        let exit = failure.exit();
        if self.json {
            let mut body = serde_json::json!({
                "error": {"message": failure.message(), "kind": exit.word(), "exit": exit.code()}
            });
            if let (Some(hint), Some(error)) = (failure.advice(), body.get_mut("error")) {
                error["hint"] = hint.into();
            }
            stderr(&body.to_string());
            return exit;
        }
        if self.colour {
            stderr(&format!("\x1b[31merror:\x1b[0m {}", failure.message()));
        } else {
            stderr(&format!("error: {}", failure.message()));
        }
        if let Some(hint) = failure.advice() {
            stderr(&format!("  hint: {hint}"));
        }
        exit
    }
}

/// As Go's log package writes it.
fn stamp() -> String {
    jiff::Timestamp::now().strftime("%Y/%m/%d %H:%M:%S").to_string()
}

/// One line on stderr. Nobody can be told when that does not work.
fn stderr(text: &str) {
    let mut err = std::io::stderr().lock();
    let _unheard = writeln!(err, "{text}");
}

/// Help or usage text, before there is a voice.
pub(crate) fn help(text: &str) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Done,
        Err(_) => Exit::Failed,
    }
}
