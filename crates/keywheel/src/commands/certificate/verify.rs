//! `certificate verify`: check that a certificate is good.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use keywheel_wire::x509::chain::{self, Usage};
use serde_json::json;

use super::source;
use crate::commands::{DONE, Setting};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// Flags of `certificate verify`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  keywheel certificate verify --roots root_ca.crt svc.crt
  keywheel certificate verify --roots root_ca.crt --host svc.example.com svc.crt")]
pub(crate) struct Flags {
    /// The certificate, and after it the intermediates, PEM
    #[arg(value_name = "crt-file")]
    certificate: PathBuf,
    /// The roots: a file, several with commas between them, or a folder [default: certs/root_ca.crt]
    #[arg(long, value_name = "roots")]
    roots: Option<String>,
    /// The name that the certificate must be good for
    #[arg(long, visible_alias = "servername", value_name = "name")]
    host: Option<String>,
    /// Say so, also where it is good
    #[arg(long, short)]
    verbose: bool,
}

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    let certificates = source::certificates(&flags.certificate)?;
    let roots = match flags.roots.as_deref().filter(|roots| !roots.is_empty()) {
        Some(given) => source::roots(given)?,
        None => source::certificates(&setting.home.root_certificate())
            .map_err(|failure| failure.hint("name the roots with --roots"))?,
    };
    let Some((leaf, intermediates)) = certificates.split_first() else {
        return Err(Failure::usage(format!("{} holds no certificate", flags.certificate.display())));
    };
    let checked = chain::verify(leaf, intermediates, &roots, Timestamp::now(), Usage::Any)
        .and_then(|()| flags.host.as_deref().map_or(Ok(()), |host| chain::verify_host(leaf, host)));
    if let Err(error) = checked {
        return Err(Failure::of(Exit::Failed, error).context("failed to verify certificate"));
    }
    if flags.verbose {
        setting.voice.result("certificate validated against roots")?;
    }
    setting.voice.json(&json!({"verified": true}))?;
    DONE
}
