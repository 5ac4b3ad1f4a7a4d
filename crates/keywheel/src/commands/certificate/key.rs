//! `certificate key`: the public key of a certificate or a request.

use std::path::PathBuf;

use clap::Args;
use keywheel_wire::pem;
use keywheel_wire::private_key::PrivateKey;
use serde_json::json;

use super::source::{self, Found};
use crate::commands::files::{self, Secrecy};
use crate::commands::{DONE, Setting};
use crate::failure::Outcome;
use crate::prompt;

/// Flags of `certificate key`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  keywheel certificate key svc.crt
  keywheel certificate key --out svc.pub.pem svc.csr")]
pub(crate) struct Flags {
    /// The certificate or request; - for stdin
    #[arg(value_name = "crt-file")]
    file: PathBuf,
    /// Where the key goes; without it, to stdout
    #[arg(long, visible_alias = "output-file", value_name = "file")]
    out: Option<PathBuf>,
    /// Overwrite files without asking
    #[arg(long, short)]
    force: bool,
}

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    prompt::may_overwrite(flags.force, flags.out.as_deref())?;
    let text = files::read(&flags.file)?;
    let spki = match source::find_in(&text, &flags.file) {
        Ok(Found::Certificates(chain)) => chain.first().map(|leaf| leaf.spki().to_vec()).unwrap_or_default(),
        Ok(Found::Request(request)) => request.spki().to_vec(),
        // A private key has a public half, too; the private one is never printed.
        Err(failure) => match PrivateKey::parse_pem(&text, None) {
            Ok(parsed) => parsed.key.public_key().to_vec(),
            Err(_) => return Err(failure),
        },
    };
    let pem = pem::encode("PUBLIC KEY", &spki);
    match &flags.out {
        Some(path) => {
            files::replace(path, pem.as_bytes(), Secrecy::Public)?;
            setting.voice.say(format!("The public key has been saved in {}.", path.display()));
            setting.voice.json(&json!({"public_key": null, "file": path}))?;
        }
        None => {
            setting.voice.result(pem.trim_end())?;
            setting.voice.json(&json!({"public_key": pem.as_str(), "file": null}))?;
        }
    }
    DONE
}
