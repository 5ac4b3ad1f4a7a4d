//! `certificate format`: convert between PEM and DER.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::source::{self, Found};
use crate::commands::base64::{self, Alphabet};
use crate::commands::files::{self, Secrecy};
use crate::commands::{DONE, Setting};
use crate::failure::Outcome;
use crate::prompt;

/// Flags of `certificate format`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  keywheel certificate format --out svc.der svc.crt
  keywheel certificate format svc.der")]
pub(crate) struct Flags {
    /// The certificate or request; - for stdin
    #[arg(value_name = "crt-file", default_value = "-", hide_default_value = true)]
    file: PathBuf,
    /// Where the result goes; without it, to stdout
    #[arg(long, value_name = "file")]
    out: Option<PathBuf>,
    /// Overwrite files without asking
    #[arg(long, short)]
    force: bool,
}

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    prompt::may_overwrite(flags.force, flags.out.as_deref())?;
    let text = files::read(&flags.file)?;
    let is_pem = source::has_pem(&text);
    let found = source::find_in(&text, &flags.file)?;
    let bytes = match (is_pem, &found) {
        (true, Found::Certificates(chain)) => chain.first().map(|leaf| leaf.der().to_vec()).unwrap_or_default(),
        (true, Found::Request(request)) => request.der().to_vec(),
        (false, Found::Certificates(chain)) => {
            chain.iter().map(|certificate| certificate.to_pem()).collect::<String>().into_bytes()
        }
        (false, Found::Request(request)) => request.to_pem().into_bytes(),
    };
    let format = if is_pem { "der" } else { "pem" };
    match &flags.out {
        Some(path) => {
            files::replace(path, &bytes, Secrecy::Private)?;
            setting.voice.say(format!("Your certificate has been saved in {}.", path.display()));
            setting.voice.json(&json!({"format": format, "file": path, "content": null}))?;
        }
        None if setting.voice.speaks_json() => {
            let content = if is_pem {
                base64::encode(&bytes, Alphabet::Standard)
            } else {
                String::from_utf8_lossy(&bytes).into_owned()
            };
            setting.voice.json(&json!({"format": format, "file": null, "content": content}))?;
        }
        None => setting.voice.raw(&bytes)?,
    }
    DONE
}
