//! `ca token`: make a one-time token.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use keywheel_engine::client::token::{self, Provisioning, Purpose, TokenOptions};
use serde_json::json;

use super::grant::{self, LifetimeFlags, TemplateFlags};
use super::offline::CertifierFlags;
use super::token_flags::KmsFlag;
use crate::commands::files::{self, Secrecy};
use crate::commands::{DONE, Setting, wait_for};
use crate::failure::{Failure, Outcome};
use crate::{passwords, prompt};

/// Flags of `ca token`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  keywheel ca token svc.example.com
  keywheel ca token --san svc.example.com --san 10.1.2.3 --provisioner admin svc
  keywheel ca token --revoke 146103349666685108195655980390445292315
  keywheel ca token --rekey --x5c-cert svc.crt --x5c-key svc.key --cnf-file new.csr svc")]
pub(crate) struct Flags {
    /// The common name of the certificate, or with --revoke its serial number
    #[arg(value_name = "subject")]
    subject: String,
    /// A DNS name, IP address, e-mail address or URI that the certificate may have; can be given several times
    #[arg(long, value_name = "name", action = clap::ArgAction::Append)]
    san: Vec<String>,
    /// The name of the provisioner
    #[arg(long, visible_alias = "issuer", value_name = "name")]
    provisioner: Option<String>,
    /// The id of the provisioner's key
    #[arg(long, value_name = "kid")]
    kid: Option<String>,
    /// The file with the password of the provisioner's key
    #[arg(long, visible_alias = "password-file", value_name = "file")]
    provisioner_password_file: Option<PathBuf>,
    /// The file with the provisioner's key (JWK or PEM), or its pkcs11: URI in a token, instead of the encrypted one that the CA keeps
    #[arg(long, value_name = "file")]
    key: Option<PathBuf>,
    /// The certificate (chain) to put into the token
    #[arg(long, value_name = "chain")]
    x5c_cert: Option<PathBuf>,
    /// The key of that certificate, a file or the pkcs11: URI of a key in a token
    #[arg(long, value_name = "file")]
    x5c_key: Option<PathBuf>,
    #[command(flatten)]
    kms: KmsFlag,
    /// Make a token that can only revoke
    #[arg(long)]
    revoke: bool,
    /// Make a token that can only renew; with --x5c-cert and --x5c-key
    #[arg(long)]
    renew: bool,
    /// Make a token that can only rekey; with --x5c-cert and --x5c-key
    #[arg(long)]
    rekey: bool,
    /// Bind the token to the request with this fingerprint
    #[arg(long, value_name = "fingerprint")]
    cnf: Option<String>,
    /// Bind the token to the request in this file
    #[arg(long, value_name = "file")]
    cnf_file: Option<PathBuf>,
    #[command(flatten)]
    lifetime: LifetimeFlags,
    #[command(flatten)]
    template: TemplateFlags,
    /// Write the token into this file instead of stdout
    #[arg(long, value_name = "file")]
    output_file: Option<PathBuf>,
    /// Overwrite files without asking
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    ca: CertifierFlags,
}

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    let purpose = flags.purpose()?;
    let (not_before, not_after) = flags.lifetime.check()?;
    prompt::may_overwrite(flags.force, flags.output_file.as_deref())?;
    let token = wait_for(async {
        let certifier = flags.ca.audience(setting)?;
        let mut options = TokenOptions {
            purpose,
            subject: flags.subject.clone(),
            sans: flags.san.clone(),
            provisioning: Provisioning {
                name: flags.provisioner.clone(),
                kid: flags.kid.clone(),
                password: passwords::from_optional_file(flags.provisioner_password_file.as_deref())?,
                key: flags.key.clone(),
                x5c_certificate: flags.x5c_cert.clone(),
                x5c_key: flags.x5c_key.clone(),
                management: flags.kms.token()?,
            },
            not_before,
            not_after,
            bind_to: flags.cnf_file.clone(),
            confirm: flags.cnf.clone(),
            user_data: flags.template.data()?,
            certifier,
        };
        loop {
            match token::make(&options, Timestamp::now()).await {
                Ok(token) => return Ok(token),
                Err(error) => grant::answer(error, &mut options.provisioning)?,
            }
        }
    })?;
    match &flags.output_file {
        Some(path) => {
            files::replace(path, token.as_bytes(), Secrecy::Private)?;
            setting.voice.done("Token", path.display());
            setting.voice.json(&json!({"token": null, "file": path}))?;
        }
        None => {
            setting.voice.result(&token)?;
            setting.voice.json(&json!({"token": token, "file": null}))?;
        }
    }
    DONE
}

impl Flags {
    fn purpose(&self) -> Outcome<Purpose> {
        let exclusive =
            |first: &str, second: &str| Failure::usage(format!("flag '{first}' is incompatible with '{second}'"));
        let purpose = match (self.revoke, self.renew, self.rekey) {
            (false, false, false) => Purpose::Sign,
            (true, false, false) => Purpose::Revoke,
            (false, true, false) => Purpose::Renew,
            (false, false, true) => Purpose::Rekey,
            (true, true, _) => return Err(exclusive("--revoke", "--renew")),
            (true, _, true) => return Err(exclusive("--revoke", "--rekey")),
            (false, true, true) => return Err(exclusive("--renew", "--rekey")),
        };
        match (&self.x5c_cert, &self.x5c_key, purpose) {
            (Some(_), None, _) => Err(Failure::usage("flag '--x5c-cert' requires the '--x5c-key' flag")),
            (None, Some(_), _) => Err(Failure::usage("flag '--x5c-key' requires the '--x5c-cert' flag")),
            (None, _, Purpose::Renew) => Err(Failure::usage("flag '--renew' requires the '--x5c-cert' flag")),
            (None, _, Purpose::Rekey) => Err(Failure::usage("flag '--rekey' requires the '--x5c-cert' flag")),
            _ if self.cnf.is_some() && self.cnf_file.is_some() => Err(exclusive("--cnf", "--cnf-file")),
            _ => Ok(purpose),
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

    fn purpose(words: &str) -> Outcome<Purpose> {
        Line::parse_from(std::iter::once("token").chain(words.split_whitespace())).flags.purpose()
    }

    #[test]
    fn a_token_is_for_one_purpose_that_the_flags_name() {
        assert_eq!(purpose("s").unwrap(), Purpose::Sign);
        assert_eq!(purpose("s --revoke").unwrap(), Purpose::Revoke);
        assert_eq!(purpose("s --renew --x5c-cert c --x5c-key k").unwrap(), Purpose::Renew);
        // The reference makes a sign token of this one.
        assert_eq!(purpose("s --rekey --x5c-cert c --x5c-key k").unwrap(), Purpose::Rekey);
    }

    #[test]
    fn purposes_and_proofs_that_do_not_fit_together_are_refused() {
        for (words, message) in [
            ("s --revoke --renew", "flag '--revoke' is incompatible with '--renew'"),
            ("s --revoke --rekey", "flag '--revoke' is incompatible with '--rekey'"),
            ("s --renew --rekey", "flag '--renew' is incompatible with '--rekey'"),
            ("s --rekey", "flag '--rekey' requires the '--x5c-cert' flag"),
            ("s --x5c-cert c", "flag '--x5c-cert' requires the '--x5c-key' flag"),
            ("s --x5c-key k", "flag '--x5c-key' requires the '--x5c-cert' flag"),
            ("s --cnf a --cnf-file b", "flag '--cnf' is incompatible with '--cnf-file'"),
        ] {
            assert_eq!(purpose(words).unwrap_err().message(), message, "{words}");
        }
    }
}
