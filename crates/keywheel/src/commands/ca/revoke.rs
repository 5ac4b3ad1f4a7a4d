//! `ca revoke`: end a certificate before its time.

use std::path::PathBuf;

use clap::Args;
use keywheel_core::revocation::ReasonCode;
use keywheel_core::serial::Serial;
use keywheel_engine::client::revoke::{self, RevokeOptions, RevokeTarget};
use serde_json::json;

use super::grant::{self, GrantFlags};
use super::offline::CertifierFlags;
use crate::commands::{DONE, Setting, wait_for};
use crate::failure::{Classed, Failure, Outcome};
use crate::passwords;

/// Flags of `ca revoke`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  keywheel ca revoke 308893286343609293989051180431574390766
  keywheel ca revoke --reasonCode keyCompromise --reason 'laptop stolen' 0xe8640000000000000000000000000001
  keywheel ca revoke --cert svc.crt --key svc.key
  keywheel ca revoke --token-file token 308893286343609293989051180431574390766")]
pub(crate) struct Flags {
    /// The serial number, decimal or 0x-hexadecimal; not with --cert
    #[arg(value_name = "serial-number")]
    serial: Option<String>,
    /// The certificate that is to be revoked, which then authorises it itself
    #[arg(long, value_name = "file")]
    cert: Option<PathBuf>,
    /// The key of that certificate, a file or the pkcs11: URI of a key in a token
    #[arg(long, value_name = "file")]
    key: Option<PathBuf>,
    /// The file with the password of that key, or with --offline of the CA's key
    #[arg(long, value_name = "file")]
    password_file: Option<PathBuf>,
    /// The reason in words
    #[arg(long, value_name = "text")]
    reason: Option<String>,
    /// The reason code of RFC 5280: a number from 0 to 10 except 7, or a name such as keyCompromise
    #[arg(long = "reasonCode", alias = "reason-code", value_name = "code")]
    reason_code: Option<String>,
    #[command(flatten)]
    grant: GrantFlags,
    #[command(flatten)]
    ca: CertifierFlags,
}

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    let reason = match flags.reason_code.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => ReasonCode::parse(text).map_err(|error| {
            Failure::usage(format!("invalid value '{text}' for flag '--reasonCode'")).hint(error.to_string())
        })?,
        None => ReasonCode::Unspecified,
    };
    let target = flags.target()?;
    wait_for(async {
        let password = passwords::from_optional_file(flags.password_file.as_deref())?;
        let certifier = flags.ca.certifier("ca revoke", password.as_ref(), None, setting).await?;
        let target = match target {
            Target::Serial(serial) => RevokeTarget::Serial { serial, authorization: flags.grant.authorization()? },
            Target::Itself(certificate, key) => {
                RevokeTarget::Itself { certificate, key, management: flags.grant.kms.token()?, password }
            }
        };
        let mut options = RevokeOptions {
            target,
            reason_code: reason.code(),
            reason: flags.reason.clone().unwrap_or_default(),
            certifier,
        };
        let serial = loop {
            match (revoke::revoke(&options).await, &mut options.target) {
                (Ok(serial), _) => break serial,
                (Err(error), RevokeTarget::Serial { authorization, .. }) => grant::answer_for(error, authorization)?,
                (Err(error), RevokeTarget::Itself { .. }) => return Err(error.into()),
            }
        };
        setting.voice.say(format!("Certificate with Serial Number {serial} has been revoked."));
        setting
            .voice
            .json(&json!({"revoked": true, "serial": serial, "reason_code": reason.name(), "reason": flags.reason}))?;
        DONE
    })
}

enum Target {
    Serial(String),
    Itself(PathBuf, PathBuf),
}

impl Flags {
    fn target(&self) -> Outcome<Target> {
        match (&self.serial, &self.cert, &self.key) {
            (_, Some(_), None) => Err(Failure::usage("flag '--cert' requires the '--key' flag")),
            (_, None, Some(_)) => Err(Failure::usage("flag '--key' requires the '--cert' flag")),
            (Some(_), Some(_), _) => Err(Failure::usage("a serial number is incompatible with flag '--cert'")),
            (None, Some(_), Some(_)) if self.grant.has_token() => {
                Err(Failure::usage("flag '--token' is incompatible with '--cert'"))
            }
            (None, Some(certificate), Some(key)) => Ok(Target::Itself(certificate.clone(), key.clone())),
            (None, None, None) => Err(Failure::usage("say what to revoke: a serial number, or '--cert' and '--key'")),
            (Some(serial), None, None) => {
                Serial::parse(serial).or_usage(|| format!("'{serial}' is not a serial number"))?;
                Ok(Target::Serial(serial.clone()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    #[test]
    fn a_revocation_names_a_serial_number_or_a_certificate_with_its_key() {
        for (words, message) in [
            ("", "say what to revoke: a serial number, or '--cert' and '--key'"),
            ("--cert c", "flag '--cert' requires the '--key' flag"),
            ("--key k", "flag '--key' requires the '--cert' flag"),
            ("1 --cert c --key k", "a serial number is incompatible with flag '--cert'"),
            ("--cert c --key k --token t", "flag '--token' is incompatible with '--cert'"),
        ] {
            let line = Line::parse_from(std::iter::once("revoke").chain(words.split_whitespace()));
            let failure = line.flags.target().err().unwrap_or_else(|| panic!("{words} was accepted"));
            assert_eq!(failure.message(), message);
        }
        let line = Line::parse_from(["revoke", "0x10"]);
        assert!(matches!(line.flags.target(), Ok(Target::Serial(serial)) if serial == "0x10"));
        assert!(Line::parse_from(["revoke", "zz"]).flags.target().is_err());
    }
}
