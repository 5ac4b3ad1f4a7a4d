//! `certificate verify`: check that a certificate is good.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use keywheel_wire::x509::chain::{self, Usage};
use serde_json::json;

use super::server::{self, Belief, ServerFlags};
use super::source::Found;
use crate::commands::{DONE, Setting};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// Flags of `certificate verify`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  keywheel certificate verify --roots root_ca.crt svc.crt
  keywheel certificate verify --roots root_ca.crt --host svc.example.com svc.crt")]
pub(crate) struct Flags {
    /// The certificate, and after it the intermediates, PEM, or https://<host>:<port>
    #[arg(value_name = "crt-file")]
    certificate: PathBuf,
    /// The roots: a file, several with commas between them, or a folder [default: those of the system and
    /// certs/root_ca.crt]
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
    // The whole check comes below, by the same roots: a server is asked without one.
    let server = ServerFlags { servername: flags.host.clone(), ..ServerFlags::default() };
    let certificates = match server.find(&flags.certificate, Belief::Insecure, setting)? {
        Found::Certificates(chain) => chain,
        Found::Request(_) => {
            return Err(Failure::usage(format!("{} is a request, not a certificate", flags.certificate.display())));
        }
    };
    let roots = server::roots(flags.roots.as_deref(), setting)?;
    let host = flags.host.clone().filter(|host| !host.is_empty()).or_else(|| server::host(&flags.certificate));
    let Some((leaf, intermediates)) = certificates.split_first() else {
        return Err(Failure::usage(format!("{} holds no certificate", flags.certificate.display())));
    };
    let checked = chain::verify(leaf, intermediates, &roots, Timestamp::now(), Usage::Any)
        .and_then(|()| host.as_deref().map_or(Ok(()), |host| chain::verify_host(leaf, host)));
    if let Err(error) = checked {
        return Err(Failure::of(Exit::Failed, error).context("failed to verify certificate"));
    }
    if flags.verbose {
        setting.voice.result("certificate validated against roots")?;
    }
    setting.voice.json(&json!({"verified": true}))?;
    DONE
}
