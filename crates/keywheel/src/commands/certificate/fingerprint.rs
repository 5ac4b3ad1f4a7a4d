//! `certificate fingerprint`: the hash of a certificate or a request.

use std::path::PathBuf;

use aws_lc_rs::digest;
use clap::Args;
use serde_json::json;

use super::server::{Belief, ServerFlags};
use super::source::Found;
use crate::commands::base64::{self, Alphabet};
use crate::commands::{DONE, Setting};
use crate::failure::{Failure, Outcome};

/// Flags of `certificate fingerprint`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  keywheel certificate fingerprint root_ca.crt
  keywheel certificate fingerprint --format base64-url --bundle chain.crt")]
pub(crate) struct Flags {
    /// The certificate or request, or https://<host>:<port>; - for stdin
    #[arg(value_name = "crt-file", default_value = "-", hide_default_value = true)]
    file: PathBuf,
    /// All certificates of the file, not only the first
    #[arg(long)]
    bundle: bool,
    /// How it is written: hex, base64, base64-url, base64-raw or base64-url-raw
    #[arg(long, value_name = "format", default_value = "hex")]
    format: String,
    /// Use SHA-1 instead of SHA-256; requires --insecure
    #[arg(long)]
    sha1: bool,
    /// Confirm the use of SHA-1; take the certificate of a server also where it is not good
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    if flags.sha1 && !flags.insecure {
        return Err(Failure::usage("flag '--sha1' requires the '--insecure' flag"));
    }
    let belief = if flags.insecure { Belief::Insecure } else { Belief::Verified };
    let contents: Vec<Vec<u8>> = match flags.server.find(&flags.file, belief, setting)? {
        Found::Request(request) => vec![request.der().to_vec()],
        Found::Certificates(chain) => {
            let wanted = if flags.bundle { chain.len() } else { 1 };
            chain.iter().take(wanted).map(|certificate| certificate.der().to_vec()).collect()
        }
    };
    let algorithm = if flags.sha1 { &digest::SHA1_FOR_LEGACY_USE_ONLY } else { &digest::SHA256 };
    let mut shown = Vec::new();
    for content in &contents {
        shown.push(encoded(digest::digest(algorithm, content).as_ref(), &flags.format)?);
    }
    // As the reference numbers them.
    let lines: Vec<String> = if flags.bundle {
        shown.iter().enumerate().map(|(index, one)| format!("{index}: {one}")).collect()
    } else {
        shown.clone()
    };
    setting.voice.result(lines.join("\n"))?;
    setting.voice.json(&json!({"fingerprints": shown, "hash": if flags.sha1 { "sha1" } else { "sha256" }}))?;
    DONE
}

fn encoded(hash: &[u8], format: &str) -> Outcome<String> {
    match format.to_ascii_lowercase().as_str() {
        "hex" => Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect()),
        "base64" => Ok(base64::encode(hash, Alphabet::Standard)),
        "base64-raw" | "base64raw" => Ok(base64::encode(hash, Alphabet::Standard).trim_end_matches('=').to_owned()),
        "base64-url" | "base64url" => Ok(base64::encode(hash, Alphabet::Url)),
        "base64-url-raw" | "base64url-raw" => Ok(base64::encode(hash, Alphabet::Url).trim_end_matches('=').to_owned()),
        _ => Err(Failure::usage(format!(
            "invalid value '{format}' for flag '--format'; options are hex, base64, base64-url, base64-raw, base64-url-raw"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_written_as_asked() {
        let hash = [0xfb, 0xff, 0x00, 0x10];
        for (format, text) in [
            ("hex", "fbff0010"),
            ("base64", "+/8AEA=="),
            ("base64-raw", "+/8AEA"),
            ("base64-url", "-_8AEA=="),
            ("base64-url-raw", "-_8AEA"),
            ("HEX", "fbff0010"),
            ("base64url", "-_8AEA=="),
        ] {
            assert_eq!(encoded(&hash, format).unwrap(), text);
        }
        assert!(encoded(&hash, "octal").is_err());
    }
}
