//! `ca renew`: a new certificate for the same key, once or again and again.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use keywheel_engine::client::daemon::{self, DaemonOptions, Job};
use keywheel_engine::client::in_token::InTokenOptions;
use keywheel_engine::client::renew::{self, RenewOptions};

use super::afterwards::AfterwardsFlags;
use super::offline::CertifierFlags;
use super::token_flags::{self, KmsFlag};
use super::{report, watch};
use crate::commands::{DONE, Setting, wait_for};
use crate::failure::{Failure, Outcome};
use crate::{passwords, prompt};

/// Flags of `ca renew`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  keywheel ca renew svc.crt svc.key
  keywheel ca renew --force --expires-in 8h svc.crt svc.key
  keywheel ca renew --mtls=false svc.crt svc.key
  keywheel ca renew --daemon --exec 'nginx -s reload' svc.crt svc.key
  keywheel ca renew --kms 'pkcs11:module-path=/usr/lib/softhsm/libsofthsm2.so;token=web?pin-source=/etc/web.pin' web.crt 'pkcs11:object=web-1'")]
pub(crate) struct Flags {
    /// The certificate to replace, PEM
    #[arg(value_name = "crt-file")]
    certificate: PathBuf,
    /// Its key, a file or the pkcs11: URI of a key in a token; left out with --combined
    #[arg(value_name = "key-file", required_unless_present = "combined")]
    key: Option<PathBuf>,
    /// Where the new certificate goes [default: <crt-file>]
    #[arg(long, visible_alias = "output-file", value_name = "file")]
    out: Option<PathBuf>,
    /// With --daemon: a fixed time between two renewals, such as 16h
    #[arg(long, value_name = "duration", allow_hyphen_values = true)]
    renew_period: Option<String>,
    #[command(flatten)]
    afterwards: AfterwardsFlags,
    #[command(flatten)]
    kms: KmsFlag,
    /// Overwrite files without asking
    #[arg(long, short)]
    force: bool,
    /// Authenticate with the old certificate over TLS; --mtls=false: with a signed token, for proxies that end TLS
    #[arg(long, value_name = "bool", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    mtls: bool,
    /// The file with the password of the key
    #[arg(long, value_name = "file")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    ca: CertifierFlags,
}

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    flags.ca.check("ca renew", setting)?;
    let afterwards = flags.afterwards.check(flags.renew_period.as_deref(), "--renew-period")?;
    let (certificate, key) = flags.afterwards.pair(&flags.certificate, flags.key.as_deref())?;
    if flags.out.is_some() && afterwards.layout.is_some() {
        return Err(Failure::usage(
            "flag '--out' is incompatible with '--layout' and '--combined': the key stays where it is",
        ));
    }
    let in_token = flags.kms.places(&key, None, setting)?;
    if in_token.is_some() && afterwards.layout.is_some() {
        return Err(Failure::usage("a key in a token is incompatible with flags '--layout' and '--combined'"));
    }
    wait_for(async {
        let password = passwords::from_optional_file(flags.password_file.as_deref())?;
        let certifier = flags.ca.certifier("ca renew", password.as_ref(), afterwards.time_limit, setting).await?;
        let mut then = afterwards.then.clone();
        then.hook.output_to_stderr = setting.voice.speaks_json();
        if let Some((key, new_key)) = in_token {
            let mut options = InTokenOptions {
                certificate,
                out: flags.out.clone(),
                key,
                new_key,
                password,
                pin: None,
                expires_in: afterwards.expires_in,
                certifier,
                mtls: flags.mtls,
                afterwards: then,
            };
            if afterwards.daemon {
                token_flags::checked(&mut options).await?;
                let options = DaemonOptions { job: Job::RenewInToken(Box::new(options)), period: afterwards.period };
                daemon::check(&options, Timestamp::now()).await?;
                return watch::run(options, report::RENEWAL, setting).await;
            }
            return token_flags::replace(options, report::RENEWAL, flags.force, false, setting).await;
        }
        let mut options = RenewOptions {
            certificate,
            key,
            out: flags.out.clone(),
            password,
            expires_in: afterwards.expires_in,
            certifier,
            mtls: flags.mtls,
            layout: afterwards.layout,
            afterwards: then,
        };
        let plan = loop {
            match renew::check(&options, Timestamp::now()).await {
                Ok(plan) => break plan,
                Err(error) => passwords::answer(error, &mut options.password)?,
            }
        };
        if afterwards.daemon {
            let options = DaemonOptions { job: Job::Renew(options), period: afterwards.period };
            daemon::check(&options, Timestamp::now()).await?;
            return watch::run(options, report::RENEWAL, setting).await;
        }
        if let Some(remaining) = plan.not_yet() {
            report::not_yet(remaining, report::RENEWAL, setting.voice)?;
            return DONE;
        }
        prompt::may_overwrite(flags.force, plan.overwrites().iter().map(PathBuf::as_path))?;
        report::ended(plan.run().await, report::RENEWAL, setting.voice)
    })
}
