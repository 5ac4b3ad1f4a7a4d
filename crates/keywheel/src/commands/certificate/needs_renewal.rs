//! `certificate needs-renewal`: whether a certificate should be replaced, as an exit code.

use std::path::PathBuf;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use keywheel_core::go_duration;
use keywheel_wire::x509::certificate::Certificate;
use serde_json::json;

use super::server::{Belief, ServerFlags};
use super::source::Found;
use crate::commands::Setting;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// Flags of `certificate needs-renewal`.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes: 0 it needs renewal, 1 it does not, 2 there is no such file, 255 any other error.

Examples:
  keywheel certificate needs-renewal svc.crt
  keywheel certificate needs-renewal --expires-in 8h svc.crt
  keywheel certificate needs-renewal --expires-in 75% --verbose svc.crt")]
pub(crate) struct Flags {
    /// The certificate, PEM, or https://<host>:<port>
    #[arg(value_name = "cert-file")]
    file: PathBuf,
    /// Replace it when no more than this is left, such as 8h, or when this share of its life has passed, such as 75% [default: 66%]
    #[arg(long, value_name = "percent|duration", allow_hyphen_values = true)]
    expires_in: Option<String>,
    /// All certificates of the file, not only the first
    #[arg(long)]
    bundle: bool,
    /// Say it in words, too
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    server: ServerFlags,
}

/// When a certificate should be replaced.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Threshold {
    /// When no more than this is left.
    Left(SignedDuration),
    /// When this share of its life has passed.
    Used(f64),
}

/// Step's own code for "any other error".
const OTHER: Exit = Exit::Own(255);

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    match judge(flags, setting) {
        Ok(exit) => Ok(exit),
        Err(failure) => {
            let is_file = flags.file.as_os_str() != "-" && !flags.file.to_string_lossy().contains("://");
            let missing = is_file && !flags.file.exists();
            let exit = if missing { Exit::Own(2) } else { OTHER };
            Ok(setting.voice.fail(&failure.exit_with(exit)))
        }
    }
}

fn judge(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    let threshold = threshold(flags.expires_in.as_deref())?;
    let chain = match flags.server.find(&flags.file, Belief::VerifiedWhileValid, setting)? {
        Found::Certificates(chain) => chain,
        Found::Request(_) => {
            return Err(Failure::usage(format!("{} is a request, not a certificate", flags.file.display())));
        }
    };
    let wanted = if flags.bundle { chain.len() } else { 1 };
    let now = Timestamp::now();
    let needed = chain.iter().take(wanted).any(|certificate| is_due(certificate, threshold, now));
    if flags.verbose {
        setting.voice.result(if needed { "certificate needs renewal" } else { "certificate does not need renewal" })?;
    }
    setting.voice.json(&json!({"needs_renewal": needed}))?;
    Ok(if needed { Exit::Done } else { Exit::Own(1) })
}

fn threshold(given: Option<&str>) -> Outcome<Threshold> {
    let Some(text) = given.filter(|text| !text.is_empty()) else { return Ok(Threshold::Used(0.66)) };
    let wrong = || Failure::usage(format!("invalid value '{text}' for flag '--expires-in'"));
    match text.strip_suffix('%') {
        Some(share) => {
            let share: u32 = share.parse().map_err(|_| wrong())?;
            if share > 100 {
                return Err(Failure::usage(format!(
                    "invalid value '{text}' for flag '--expires-in'; value must be in range 0-100%"
                )));
            }
            Ok(Threshold::Used(f64::from(share) / 100.0))
        }
        None => go_duration::parse(text).map(Threshold::Left).map_err(|_| wrong()),
    }
}

fn is_due(certificate: &Certificate, threshold: Threshold, now: Timestamp) -> bool {
    let left = certificate.not_after().duration_since(now);
    match threshold {
        Threshold::Left(limit) => left <= limit,
        Threshold::Used(share) => {
            let whole = certificate.not_after().duration_since(certificate.not_before()).as_secs_f64();
            whole <= 0.0 || (whole - left.as_secs_f64()) / whole >= share
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_a_share_or_a_duration() {
        assert_eq!(threshold(None).unwrap(), Threshold::Used(0.66));
        assert_eq!(threshold(Some("25%")).unwrap(), Threshold::Used(0.25));
        assert_eq!(threshold(Some("8h")).unwrap(), Threshold::Left(SignedDuration::from_hours(8)));
        for wrong in ["101%", "x%", "8", "8d"] {
            assert!(threshold(Some(wrong)).unwrap_err().message().contains("--expires-in"), "{wrong}");
        }
    }
}
