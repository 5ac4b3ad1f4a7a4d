//! `certificate inspect`: what is in a certificate or a request.

use std::path::PathBuf;

use clap::Args;
use keywheel_wire::x509::inspect::{json, short, text};
use serde_json::Value;

use super::server::{Belief, ServerFlags};
use super::source::Found;
use crate::commands::{DONE, Setting};
use crate::failure::{Failure, Outcome};

/// Flags of `certificate inspect`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  keywheel certificate inspect svc.crt
  keywheel certificate inspect --short svc.crt
  keywheel certificate inspect --format json --bundle chain.crt
  keywheel certificate inspect --roots root_ca.crt https://svc.example.com:8443")]
pub(crate) struct Flags {
    /// The certificate or request, or https://<host>:<port>; - for stdin
    #[arg(value_name = "crt-file", default_value = "-", hide_default_value = true)]
    file: PathBuf,
    /// How it is shown: text, json or pem
    #[arg(long, value_name = "format", default_value = "text")]
    format: String,
    /// All certificates of the file, not only the first
    #[arg(long)]
    bundle: bool,
    /// Only what matters most
    #[arg(long)]
    short: bool,
    /// Show the certificate of a server also where it is not good
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    let format = if setting.voice.speaks_json() { "json" } else { flags.format.as_str() };
    if !matches!(format, "text" | "json" | "pem") {
        return Err(Failure::usage(format!(
            "invalid value '{format}' for flag '--format'; options are text, json, pem"
        )));
    }
    if flags.short && format != "text" {
        return Err(Failure::usage(format!("flag '--short' is incompatible with '--format {format}'")));
    }
    let belief = if flags.insecure { Belief::Insecure } else { Belief::Verified };
    match flags.server.find(&flags.file, belief, setting)? {
        Found::Certificates(chain) => {
            let wanted = if flags.bundle { chain.len() } else { 1 };
            let chain = chain.get(..wanted).unwrap_or(&chain);
            match format {
                // As the reference: an object for one, an array for more.
                "json" if chain.len() > 1 => {
                    setting.voice.json_always(&chain.iter().map(json::certificate).collect::<Vec<Value>>())?;
                }
                "json" => setting.voice.json_always(&chain.first().map(json::certificate))?,
                "pem" => {
                    let pem: String = chain.iter().map(|certificate| certificate.to_pem()).collect();
                    setting.voice.raw(pem.as_bytes())?;
                }
                _ => {
                    let show = if flags.short { short::certificate } else { text::certificate };
                    let shown: Vec<String> = chain.iter().map(|one| show(one).trim_end().to_owned()).collect();
                    setting.voice.result(shown.join("\n"))?;
                }
            }
        }
        Found::Request(request) => match format {
            "json" => setting.voice.json_always(&json::request(&request))?,
            "pem" => setting.voice.raw(request.to_pem().as_bytes())?,
            _ if flags.short => setting.voice.result(short::request(&request).trim_end())?,
            _ => setting.voice.result(text::request(&request).trim_end())?,
        },
    }
    DONE
}
