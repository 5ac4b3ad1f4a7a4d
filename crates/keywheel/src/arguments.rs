//! The command line: one definition that makes parsing, help, man page and completion.

mod layers;
mod refusal;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser};

use crate::commands::Words;
use crate::home::Home;

pub(crate) use refusal::Refusal;

/// Turns keys: replaces the keys and certificates that you own, and proves that the new ones work.
#[derive(Debug, Parser)]
#[command(
    name = "keywheel",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = footer(),
)]
pub(crate) struct Cli {
    /// Write results as JSON on stdout, and errors as JSON on stderr
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    /// The folder with certs/, secrets/ and config/ (instead of $STEPPATH, ~/.step)
    #[arg(long, global = true, value_name = "dir", help_heading = "Everywhere")]
    pub(crate) home: Option<PathBuf>,
    /// The name of the CA environment to use (of contexts.json)
    #[arg(long, global = true, value_name = "name", help_heading = "Everywhere")]
    pub(crate) context: Option<String>,
    #[command(subcommand)]
    pub(crate) words: Words,
}

/// What the help of the program itself ends with.
fn footer() -> String {
    format!(
        "Every flag can also be given as environment variable STEP_<FLAG> (STEP_CA_URL, STEP_FORCE, ...)
or as a key of config/defaults.json. The command line comes first, then the environment, then the
file.

{}

Examples:
  keywheel up                                    try everything on this machine
  keywheel ca rekey svc.crt svc.key              a new key and certificate for a service
  keywheel ca rekey --daemon --exec 'systemctl reload nginx' svc.crt svc.key",
        crate::exit::TABLE
    )
}

/// A command line that was understood.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// What is wanted.
    pub(crate) cli: Cli,
    /// Where things are kept.
    pub(crate) home: Home,
    /// The name that the program runs under: `keywheel`, or `step`.
    pub(crate) program: &'static str,
}

/// The environment of the process, as far as it is text.
pub(crate) fn environment() -> impl Fn(&str) -> Option<String> {
    |name| std::env::var(name).ok()
}

/// Understands a command line together with environment and `defaults.json`.
pub(crate) fn read(
    words: impl IntoIterator<Item = OsString>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Invocation, Box<Refusal>> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let program = program_name(words.first());
    let command = definition(program);
    let refuse = |error: clap::Error, words: &[OsString]| Refusal::from_clap(error, &command, words);

    let denied = layers::normalise(&mut words, &command).map_err(Refusal::from_failure)?;
    let matches = command.clone().try_get_matches_from(&words).map_err(|error| refuse(error, &words))?;
    let home = Home::find(
        matches.get_one::<PathBuf>("home").map(PathBuf::as_path),
        matches.get_one::<String>("context").map(String::as_str),
        layers::makes_environment(&matches),
        environment,
    )
    .map_err(Refusal::from_failure)?;
    let added =
        layers::missing(&matches, &command, &denied, environment, || home.defaults()).map_err(Refusal::from_failure)?;
    let matches = if added.is_empty() {
        matches
    } else {
        let (_path, after) = layers::path(&words, &command);
        words.splice(after..after, added);
        command.clone().try_get_matches_from(&words).map_err(|error| refuse(error, &words))?
    };
    let cli = Cli::from_arg_matches(&matches).map_err(|error| refuse(error, &words))?;
    Ok(Invocation { cli, home, program })
}

/// The whole definition, under the name that the program runs under.
pub(crate) fn definition(program: &'static str) -> clap::Command {
    let mut command = prepare(Cli::command(), program).name(program).bin_name(program);
    command.build();
    command
}

/// What holds for every command: the last of several equal flags counts, and examples show the right name.
fn prepare(command: clap::Command, program: &str) -> clap::Command {
    let command = command.args_override_self(true).max_term_width(110);
    let command = match command.get_after_help().map(ToString::to_string) {
        Some(text) if program != "keywheel" => command.after_help(text.replace("keywheel ", &format!("{program} "))),
        _ => command,
    };
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, |sub| prepare(sub, program)))
}

fn program_name(first: Option<&OsString>) -> &'static str {
    let stem = first.and_then(|word| std::path::Path::new(word).file_stem());
    if stem.is_some_and(|stem| stem == "step") { "step" } else { "keywheel" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each_leaf(command: &clap::Command, path: &str, visit: &mut dyn FnMut(&str, &clap::Command)) {
        let mut group = false;
        for sub in command.get_subcommands() {
            group = true;
            each_leaf(sub, &format!("{path} {}", sub.get_name()), visit);
        }
        if !group {
            visit(path, command);
        }
    }

    /// The words of an example up to a redirection; single quotes group.
    fn words_of(example: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (index, part) in example.split('\'').enumerate() {
            if index % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        let end = words.iter().position(|word| matches!(word.as_str(), ">" | ">>" | "|" | "#"));
        words.truncate(end.unwrap_or(words.len()));
        words
    }

    #[test]
    fn the_definition_is_sound() {
        definition("keywheel").debug_assert();
        definition("step").debug_assert();
    }

    #[test]
    fn every_command_shows_an_example_that_is_understood() {
        let command = definition("keywheel");
        each_leaf(&command, "keywheel", &mut |path, leaf| {
            let help = leaf.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> =
                help.lines().map(str::trim).filter(|line| line.starts_with("keywheel ")).collect();
            assert!(!examples.is_empty(), "{path} has no example");
            for example in examples {
                let words = words_of(example);
                if let Err(error) = command.clone().try_get_matches_from(&words) {
                    panic!("{example}: {error}");
                }
            }
        });
    }

    #[test]
    fn under_the_name_step_the_examples_say_step() {
        let command = definition(program_name(Some(&"/usr/bin/step".into())));
        each_leaf(&command, "step", &mut |path, leaf| {
            let help = leaf.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.contains("  keywheel "), "{path}: {help}");
        });
    }

    #[test]
    fn every_flag_is_explained() {
        each_leaf(&definition("keywheel"), "keywheel", &mut |path, leaf| {
            assert!(leaf.get_about().is_some(), "{path} says nothing about itself");
            for arg in leaf.get_arguments() {
                assert!(arg.get_help().is_some(), "{path} {} is not explained", arg.get_id());
            }
        });
    }
}
