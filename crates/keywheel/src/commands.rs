//! The commands: one file per family.

mod about;
mod agent;
mod base64;
mod ca;
mod certificate;
mod client_error;
mod db;
mod doctor;
mod files;
mod up;

use std::path::Path;

use clap::Subcommand;

use crate::arguments::Invocation;
use crate::exit::Exit;
use crate::failure::{Classed, Outcome};
use crate::home::Home;
use crate::voice::Voice;

/// The first word after the program's name.
#[derive(Debug, Subcommand)]
pub(crate) enum Words {
    /// Make a CA on first use, serve it, and show a rotation from end to end
    Up(up::Flags),
    /// Run a certificate authority, and ask one for certificates
    #[command(subcommand, arg_required_else_help = true)]
    Ca(Box<ca::Words>),
    /// Keep many certificates and their keys fresh in one process
    Agent(agent::Flags),
    /// Look at certificates, check and convert them
    #[command(subcommand, arg_required_else_help = true)]
    Certificate(certificate::Words),
    /// Look after the database of the CA
    #[command(subcommand, arg_required_else_help = true)]
    Db(db::Words),
    /// Find what is wrong with keys and certificates on this machine, and say what to type
    Doctor(doctor::Flags),
    /// Print the folder where things are kept
    Path(about::PathFlags),
    /// Print the version
    #[command(after_help = "Examples:\n  keywheel version")]
    Version,
    /// Print the completion script of a shell
    Completion(about::CompletionFlags),
    /// Print the manual page, or write one page per command
    Man(about::ManFlags),
}

/// What every command may need besides its flags.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    /// Where things are kept.
    pub(crate) home: &'a Home,
    /// The name that the program runs under.
    pub(crate) program: &'static str,
    /// How it speaks.
    pub(crate) voice: &'a Voice,
}

/// Does what was asked for.
pub(crate) fn run(invocation: Invocation, voice: &Voice) -> Outcome {
    let Invocation { cli, home, program } = invocation;
    let setting = Setting { home: &home, program, voice };
    match cli.words {
        Words::Up(flags) => up::run(flags, &setting),
        Words::Ca(words) => ca::run(*words, &setting),
        Words::Agent(flags) => agent::run(flags, &setting),
        Words::Certificate(words) => certificate::run(words, &setting),
        Words::Db(words) => db::run(words, &setting),
        Words::Doctor(flags) => doctor::run(&flags, &setting),
        Words::Path(flags) => about::path(&flags, &setting),
        Words::Version => about::version(&setting),
        Words::Completion(flags) => about::completion(&flags, &setting),
        Words::Man(flags) => about::man(&flags, &setting),
    }
}

/// Makes a folder that only the owner may enter.
pub(crate) fn make_folder(folder: &Path) -> Outcome<()> {
    files::make_private_folder(folder)
}

/// Replaces a file of settings, whole or not at all.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> Outcome<()> {
    files::replace(path, content, files::Secrecy::Private)
}

/// Runs something that waits for sockets, files or processes.
pub(crate) fn wait_for<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .or_failed(|| "start the runtime".into())?
        .block_on(work)
}

/// Done, without more to say.
pub(crate) const DONE: Outcome = Ok(Exit::Done);
