//! A command line that was not understood, in the words of the reference where it has some.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::layers;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::voice::{self, Voice};

/// Why there is nothing to run.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Help or version was asked for: this is it.
    Told(String),
    /// It is wrong.
    Wrong {
        /// What is wrong.
        failure: Failure,
        /// Whether the error is to be JSON.
        json: bool,
    },
}

impl Refusal {
    /// Says it, and gives the exit code.
    pub(crate) fn speak(&self) -> ExitCode {
        match self {
            Self::Told(text) => voice::help(text).into(),
            Self::Wrong { failure, json } => Voice::new(*json).fail(failure).into(),
        }
    }

    pub(super) fn from_failure(failure: Failure) -> Box<Self> {
        let json = std::env::args_os().any(|word| word == "--json");
        Box::new(Self::Wrong { failure, json })
    }

    pub(super) fn from_clap(error: clap::Error, root: &clap::Command, words: &[OsString]) -> Box<Self> {
        let (path, _after) = layers::path(words, root);
        let names: Vec<&str> = path.iter().map(|command| command.get_name()).collect();
        let command = path[path.len() - 1];
        let json = words.iter().any(|word| word == "--json");
        let failure = match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                return Box::new(Self::Told(error.render().to_string()));
            }
            ErrorKind::MissingRequiredArgument => {
                let missing = texts(&error, ContextKind::InvalidArg);
                match missing.iter().find(|name| name.starts_with("--")) {
                    Some(flag) => {
                        let flag = flag.split([' ', '=']).next().unwrap_or_default();
                        Failure::usage(format!("flag '{flag}' is missing: another flag requires it"))
                    }
                    None => {
                        let usage = usage(&names, command, |name| missing.iter().any(|missing| missing == name));
                        Failure::usage(format!("not enough positional arguments were provided in '{usage}'"))
                    }
                }
            }
            ErrorKind::UnknownArgument => match text(&error, ContextKind::InvalidArg) {
                Some(word) if !word.starts_with('-') => Failure::usage(format!(
                    "too many positional arguments were provided in '{}'",
                    // All of them were given, and more.
                    usage(&names, command, |_| true)
                )),
                Some(word) => Failure::usage(format!("flag provided but not defined: {word}")),
                None => plain(&error),
            },
            ErrorKind::InvalidSubcommand => match text(&error, ContextKind::InvalidSubcommand) {
                Some(word) => Failure::usage(format!("'{}' has no command '{word}'", names.join(" "))),
                None => plain(&error),
            },
            ErrorKind::InvalidValue | ErrorKind::ValueValidation => value(&error),
            _ => plain(&error),
        };
        let failure = match suggestion(&error) {
            Some(word) => failure.hint(format!("did you mean '{word}'?")),
            None => failure.hint(format!("see '{} --help'", names.join(" "))),
        };
        // Its 2 means that there is no such file.
        let failure = if names.last() == Some(&"needs-renewal") { failure.exit_with(Exit::Own(255)) } else { failure };
        Box::new(Self::Wrong { failure, json })
    }

    /// The error, where it is one.
    #[cfg(test)]
    pub(crate) fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Told(_) => None,
            Self::Wrong { failure, .. } => Some(failure),
        }
    }
}

/// `step ca rekey <crt-file> <key-file>`; what is `meant` has no brackets, whether it is always needed or not.
fn usage(names: &[&str], command: &clap::Command, meant: impl Fn(&str) -> bool) -> String {
    let mut usage = names.join(" ");
    for arg in command.get_positionals() {
        let name = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
        let name = format!("<{name}>");
        usage.push_str(&if arg.is_required_set() || meant(&name) { format!(" {name}") } else { format!(" [{name}]") });
    }
    usage
}

fn value(error: &clap::Error) -> Failure {
    let flag = text(error, ContextKind::InvalidArg).unwrap_or_default();
    // `--crv <curve>` is the flag `--crv`.
    let flag = flag.split([' ', '=', '[']).next().unwrap_or_default().to_owned();
    let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
    if value.is_empty() {
        return Failure::usage(format!("flag '{flag}' needs a value"));
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(options)) if !options.is_empty() => {
            Failure::usage(format!("invalid value '{value}' for flag '{flag}'; options are {}", options.join(", ")))
        }
        _ => {
            let why = std::error::Error::source(error).map(|why| format!("; {why}")).unwrap_or_default();
            Failure::usage(format!("invalid value '{value}' for flag '{flag}'{why}"))
        }
    }
}

fn plain(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default();
    Failure::usage(first.strip_prefix("error: ").unwrap_or(first))
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        // Suggestions come with the best one last.
        ContextValue::Strings(texts) => texts.last().cloned(),
        _ => None,
    }
}

fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

fn suggestion(error: &clap::Error) -> Option<String> {
    text(error, ContextKind::SuggestedArg).or_else(|| text(error, ContextKind::SuggestedSubcommand))
}
