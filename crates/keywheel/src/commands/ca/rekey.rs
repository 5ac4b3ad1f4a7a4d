//! `ca rekey`: replace a certificate and its key, once or again and again.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use keywheel_engine::client::daemon::{self, DaemonOptions, Job};
use keywheel_engine::client::in_token::{InTokenOptions, KeyPlace};
use keywheel_engine::client::rekey::{self, RekeyOptions, RekeyPlan};
use keywheel_wire::pkcs11::uri::is_pkcs11;
use serde_json::json;

use super::afterwards::{Afterwards, AfterwardsFlags};
use super::offline::CertifierFlags;
use super::token_flags::{self, KmsFlag};
use super::{report, watch};
use crate::commands::{DONE, Setting, wait_for};
use crate::failure::{Failure, Outcome};
use crate::key_choice::KeyFlags;
use crate::{passwords, prompt};

/// Flags of `ca rekey`.
#[derive(Args, Debug)]
#[command(
    long_about = "Replace a certificate and its key by a request to the certificate authority.\n\n\
        Everything that can be checked is checked first. Then the new key is made durable, then the authority is asked, \
        then certificate and key are replaced together; a run that was cut off is finished or undone by the next one. \
        An encrypted key stays encrypted.",
    after_help = "Examples:
  keywheel ca rekey svc.crt svc.key
  keywheel ca rekey --force svc.crt svc.key
  keywheel ca rekey --out-cert new.crt --out-key new.key svc.crt svc.key
  keywheel ca rekey --expires-in 8h svc.crt svc.key
  keywheel ca rekey --kty RSA --size 3072 svc.crt svc.key
  keywheel ca rekey --dry-run svc.crt svc.key
  keywheel ca rekey --layout generations --exec 'nginx -s reload' svc.crt svc.key
  keywheel ca rekey --combined --exec 'systemctl reload haproxy' svc.pem
  keywheel ca rekey --exec 'nginx -s reload' --verify tls://localhost:443 --rollback svc.crt svc.key
  keywheel ca rekey --daemon --exec 'nginx -s reload' svc.crt svc.key
  keywheel ca rekey --daemon --rekey-period 16h svc.crt svc.key
  keywheel ca rekey --offline svc.crt svc.key
  keywheel ca rekey --kms 'pkcs11:module-path=/usr/lib/softhsm/libsofthsm2.so;token=web?pin-source=/etc/web.pin' --private-key 'pkcs11:object=web-2' web.crt 'pkcs11:object=web-1'"
)]
pub(crate) struct Flags {
    /// The certificate to replace, PEM
    #[arg(value_name = "crt-file")]
    certificate: PathBuf,
    /// Its key, a file or the pkcs11: URI of a key in a token; left out with --combined
    #[arg(value_name = "key-file", required_unless_present = "combined")]
    key: Option<PathBuf>,
    /// Where the new certificate goes [default: <crt-file>]
    #[arg(long, alias = "out-crt", value_name = "file")]
    out_cert: Option<PathBuf>,
    /// Where the new key goes [default: <key-file>]
    #[arg(long, value_name = "file")]
    out_key: Option<PathBuf>,
    /// The key for the new certificate, instead of a new one: a file, or the pkcs11: URI of a key in a token
    #[arg(long, alias = "key", value_name = "file")]
    private_key: Option<PathBuf>,
    /// With --daemon: a fixed time between two replacements, such as 16h
    #[arg(long, value_name = "duration", allow_hyphen_values = true)]
    rekey_period: Option<String>,
    #[command(flatten)]
    afterwards: AfterwardsFlags,
    #[command(flatten)]
    new_key: KeyFlags,
    #[command(flatten)]
    kms: KmsFlag,
    /// Overwrite files without asking
    #[arg(long, short)]
    force: bool,
    /// Check everything and say what would be done, but change nothing
    #[arg(long)]
    dry_run: bool,
    /// Authenticate with the old certificate over TLS; --mtls=false: with a signed token, for proxies that end TLS
    #[arg(long, value_name = "bool", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    mtls: bool,
    /// The file with the password of the keys
    #[arg(long, value_name = "file")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    ca: CertifierFlags,
}

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    let afterwards = check(flags, setting)?;
    if let Some((key, new_key)) = flags.kms.places(flags.key(), flags.private_key.as_deref(), setting)? {
        return wait_for(async {
            let options = in_token(flags, key, new_key, &afterwards, setting).await?;
            token_flags::replace(options, report::REKEY, flags.force, flags.dry_run, setting).await
        });
    }
    wait_for(async {
        let mut options = options(flags, &afterwards, setting).await?;
        // The questions come once, at the start: what a daemon does later must not need an answer.
        let plan = loop {
            match rekey::check(&options, Timestamp::now()).await {
                Ok(plan) => break plan,
                Err(error) => passwords::answer(error, &mut options.password)?,
            }
        };
        if afterwards.daemon && !flags.dry_run {
            drop(plan);
            let options = DaemonOptions { job: Job::Rekey(options), period: afterwards.period };
            daemon::check(&options, Timestamp::now()).await?;
            return watch::run(options, report::REKEY, setting).await;
        }
        if flags.dry_run {
            return would(&plan, setting);
        }
        if let Some(remaining) = plan.not_yet() {
            report::not_yet(remaining, report::REKEY, setting.voice)?;
            return DONE;
        }
        prompt::may_overwrite(flags.force, plan.overwrites().iter().map(PathBuf::as_path))?;
        report::ended(plan.run().await, report::REKEY, setting.voice)
    })
}

impl Flags {
    /// The name of the key; with --combined that of the one file.
    fn key(&self) -> &Path {
        self.key.as_deref().unwrap_or(&self.certificate)
    }
}

/// A key in a token is neither made nor written here: it must be there, and only the certificate is replaced.
fn check_token(flags: &Flags) -> Outcome<()> {
    let is_uri = |name: &Path| name.to_str().is_some_and(is_pkcs11) && !name.exists();
    let new_key_in_token = flags.private_key.as_deref().is_some_and(is_uri);
    if !flags.kms.is_given() && !is_uri(flags.key()) && !new_key_in_token {
        return Ok(());
    }
    if flags.private_key.is_none() {
        return Err(Failure::usage("flag '--kms' requires the '--private-key' flag").hint(
            "make the new key in the token first, for example: pkcs11-tool --module <library> --token-label <label> --login \
             --keypairgen --key-type EC:prime256v1 --id 02 --label <name>",
        ));
    }
    let others = [
        ("--out-key", flags.out_key.is_some()),
        ("--daemon", flags.afterwards.daemon),
        ("--combined", flags.afterwards.combined),
        ("--layout", flags.afterwards.layout.is_some()),
    ];
    match others.into_iter().find(|(_, given)| *given) {
        Some((other, _)) => Err(Failure::usage(format!("flag '--kms' is incompatible with '{other}'"))),
        None => Ok(()),
    }
}

/// The rules that can be judged from the command line alone, in the order of the reference.
fn check(flags: &Flags, setting: &Setting<'_>) -> Outcome<Afterwards> {
    check_token(flags)?;
    flags.ca.check("ca rekey", setting)?;
    let afterwards = flags.afterwards.check(flags.rekey_period.as_deref(), "--rekey-period")?;
    flags.new_key.kind()?;
    if flags.private_key.is_some() {
        if flags.new_key.kty.is_some() {
            return Err(Failure::usage("flag '--kty' is incompatible with '--private-key'"));
        }
        if afterwards.daemon {
            // A daemon that turns to the same key each time would only pretend.
            return Err(Failure::usage("flag '--private-key' is incompatible with '--daemon'"));
        }
    }
    let (certificate, key) = flags.afterwards.pair(&flags.certificate, flags.key.as_deref())?;
    if flags.afterwards.combined && flags.out_cert != flags.out_key {
        return Err(Failure::usage(
            "with flag '--combined' one file is written: '--out-cert' and '--out-key' must be the same",
        ));
    }
    let out_cert = flags.out_cert.as_ref().unwrap_or(&certificate);
    let out_key = flags.out_key.as_ref().unwrap_or(&key);
    if out_cert == out_key && !flags.afterwards.combined {
        return Err(Failure::usage(format!(
            "certificate and key would both be written to {}; nothing was changed",
            out_key.display()
        )));
    }
    Ok(afterwards)
}

async fn in_token(
    flags: &Flags,
    key: KeyPlace,
    new_key: Option<KeyPlace>,
    afterwards: &Afterwards,
    setting: &Setting<'_>,
) -> Outcome<InTokenOptions> {
    let password = passwords::from_optional_file(flags.password_file.as_deref())?;
    let certifier = flags.ca.certifier("ca rekey", password.as_ref(), afterwards.time_limit, setting).await?;
    let mut then = afterwards.then.clone();
    then.hook.output_to_stderr = setting.voice.speaks_json();
    Ok(InTokenOptions {
        certificate: flags.certificate.clone(),
        out: flags.out_cert.clone(),
        key,
        new_key,
        password,
        pin: None,
        expires_in: afterwards.expires_in,
        certifier,
        mtls: flags.mtls,
        afterwards: then,
    })
}

async fn options(flags: &Flags, afterwards: &Afterwards, setting: &Setting<'_>) -> Outcome<RekeyOptions> {
    let password = passwords::from_optional_file(flags.password_file.as_deref())?;
    let certifier = flags.ca.certifier("ca rekey", password.as_ref(), afterwards.time_limit, setting).await?;
    let mut then = afterwards.then.clone();
    then.hook.output_to_stderr = setting.voice.speaks_json();
    let (certificate, key) = flags.afterwards.pair(&flags.certificate, flags.key.as_deref())?;
    Ok(RekeyOptions {
        certificate,
        key,
        out_certificate: flags.out_cert.clone(),
        out_key: flags.out_key.clone(),
        private_key: flags.private_key.clone(),
        key_choice: flags.new_key.choice(),
        password,
        expires_in: afterwards.expires_in,
        certifier,
        mtls: flags.mtls,
        layout: afterwards.layout,
        afterwards: then,
        prove: true,
    })
}

fn would(plan: &RekeyPlan, setting: &Setting<'_>) -> Outcome {
    if let Some(remaining) = plan.not_yet() {
        report::not_yet(remaining, report::REKEY, setting.voice)?;
        return DONE;
    }
    let (certificate, key) = (plan.certificate_target(), plan.key_target());
    setting.voice.result(format!(
        "would replace the certificate of '{}' (serial {}) and its key:\n  {}\n  {}\nnothing was changed",
        plan.old().subject,
        plan.old().serial,
        certificate.display(),
        key.display(),
    ))?;
    setting.voice.json(&json!({
        "rekeyed": false,
        "dry_run": true,
        "certificate": certificate,
        "key": key,
        "old": report::summary(plan.old()),
        "resumes": plan.resumes(),
    }))?;
    DONE
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::exit::Exit;
    use crate::home::Home;
    use crate::voice::Voice;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn checked_line(words: &str) -> Outcome<Afterwards> {
        let flags = Line::parse_from(std::iter::once("rekey").chain(words.split_whitespace())).flags;
        let home = Home::find(Some(std::path::Path::new("/nowhere")), None, false, &|_| None)?;
        let voice = Voice::new(false);
        check(&flags, &Setting { home: &home, program: "keywheel", voice: &voice })
    }

    #[test]
    fn what_the_command_line_alone_shows_to_be_wrong_is_refused_before_any_file_is_read() {
        for (words, message) in [
            ("a.crt a.key", "'keywheel ca rekey' requires the '--ca-url' flag"),
            ("a.crt a.key --ca-url http://ca", "invalid value 'http://ca' for flag '--ca-url'; must have https scheme"),
            ("a.crt a.key --ca-url ca --expires-in 1x", "invalid value '1x' for flag '--expires-in'"),
            ("a.crt a.key --ca-url ca --rekey-period 1h", "flag '--rekey-period' requires the '--daemon' flag"),
            // The reference looks at these only where it does not run as a daemon.
            (
                "a.crt a.key --ca-url ca --daemon --kty FOO",
                "invalid value 'FOO' for flag '--kty'; options are RSA, EC, OKP",
            ),
            (
                "a.crt a.key --ca-url ca --private-key b.key --kty EC",
                "flag '--kty' is incompatible with '--private-key'",
            ),
            (
                "a.crt a.key --ca-url ca --private-key b.key --daemon",
                "flag '--private-key' is incompatible with '--daemon'",
            ),
            ("a.crt pkcs11:object=a --ca-url ca", "flag '--kms' requires the '--private-key' flag"),
            ("a.crt a.key --kms pkcs11:token=t --ca-url ca", "flag '--kms' requires the '--private-key' flag"),
            (
                "a.crt pkcs11:object=a --private-key pkcs11:object=b --out-key b --ca-url ca",
                "flag '--kms' is incompatible with '--out-key'",
            ),
            (
                "a.crt a.key --private-key pkcs11:object=b --daemon --ca-url ca",
                "flag '--kms' is incompatible with '--daemon'",
            ),
            ("a.pem a.pem --ca-url ca", "certificate and key would both be written to a.pem; nothing was changed"),
            (
                "a.crt a.key --ca-url ca --out-cert a.key",
                "certificate and key would both be written to a.key; nothing was changed",
            ),
        ] {
            let failure = checked_line(words).unwrap_err();
            assert_eq!(failure.message(), message, "{words}");
            assert_eq!(failure.exit(), Exit::Usage, "{words}");
        }
    }

    #[test]
    fn offline_needs_no_address() {
        assert!(checked_line("a.crt a.key --offline").is_ok());
    }
}
