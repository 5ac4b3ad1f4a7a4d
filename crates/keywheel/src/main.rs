//! The keywheel program: it asks the other rooms to do things, and says what came of it.

mod arguments;
mod commands;
mod exit;
mod failure;
mod home;
mod key_choice;
mod passwords;
mod prompt;
mod signals;
mod voice;

use std::process::ExitCode;

fn main() -> ExitCode {
    let invocation = match arguments::read(std::env::args_os(), &arguments::environment()) {
        Ok(invocation) => invocation,
        Err(refusal) => return refusal.speak(),
    };
    let voice = voice::Voice::new(invocation.cli.json);
    match commands::run(invocation, &voice) {
        Ok(exit) => exit.into(),
        Err(failure) => voice.fail(&failure).into(),
    }
}
