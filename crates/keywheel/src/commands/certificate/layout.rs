//! `certificate layout`: how a certificate and its key lie on disk, and how to let them lie otherwise.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use keywheel_engine::client::layout::{self, LayoutOptions};
use keywheel_reach::files::layout::Layout;
use serde_json::json;

use crate::commands::{DONE, Setting};
use crate::failure::Outcome;

/// Flags of `certificate layout`.
#[derive(Args, Debug)]
#[command(
    long_about = "Tell how a certificate and its key lie on disk, or let them lie otherwise.\n\n\
        flat: two files. generations: two links into a directory, which one rename switches together. combined: one PEM file \
        that holds the key and the chain, and two links to it. What the two names show stays a pair that matches at every \
        moment, and every conversion can be turned back.",
    after_help = "Examples:
  keywheel certificate layout svc.crt svc.key
  keywheel certificate layout --to generations svc.crt svc.key
  keywheel certificate layout --to combined --file svc.pem svc.crt svc.key
  keywheel certificate layout --to flat svc.crt svc.key"
)]
pub(crate) struct Flags {
    /// The certificate
    #[arg(value_name = "crt-file")]
    certificate: PathBuf,
    /// Its key
    #[arg(value_name = "key-file")]
    key: PathBuf,
    /// The layout to change to
    #[arg(long, value_name = "layout")]
    to: Option<Wanted>,
    /// The file that is to hold both, or holds both; what it held is in two files again after --to flat
    #[arg(long, value_name = "file")]
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Wanted {
    /// Two files
    Flat,
    /// Two links into a directory of generations
    Generations,
    /// One file
    Combined,
}

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    let report = layout::run(&LayoutOptions {
        certificate: flags.certificate.clone(),
        key: flags.key.clone(),
        file: flags.file.clone(),
        to: flags.to.map(Wanted::layout),
    })?;
    setting.voice.result(report.now.name())?;
    setting.voice.json(&json!({
        "certificate": flags.certificate,
        "key": flags.key,
        "file": report.file,
        "before": report.before.name(),
        "layout": report.now.name(),
    }))?;
    DONE
}

impl Wanted {
    fn layout(self) -> Layout {
        match self {
            Self::Flat => Layout::Flat,
            Self::Generations => Layout::Generations,
            Self::Combined => Layout::Combined,
        }
    }
}
