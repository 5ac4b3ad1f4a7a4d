//! `ca certificate`: make a key and get a certificate for it.

use std::path::PathBuf;

use clap::Args;
use keywheel_engine::client::certificate::{self, CertificateOptions};

use super::grant::{self, GrantFlags, LifetimeFlags, TemplateFlags};
use super::offline::CertifierFlags;
use super::report;
use crate::commands::{DONE, Setting, wait_for};
use crate::failure::{Failure, Outcome};
use crate::key_choice::KeyFlags;
use crate::{passwords, prompt};

/// Flags of `ca certificate`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  keywheel ca certificate svc.example.com svc.crt svc.key
  keywheel ca certificate --san svc.example.com --san 10.1.2.3 svc svc.crt svc.key
  keywheel ca certificate --provisioner admin --provisioner-password-file password.txt svc svc.crt svc.key
  keywheel ca certificate --token-file token --kty OKP svc svc.crt svc.key")]
pub(crate) struct Flags {
    /// The common name; also the only other name, unless --san is given
    #[arg(value_name = "subject")]
    subject: String,
    /// Where the certificate goes
    #[arg(value_name = "crt-file")]
    certificate: PathBuf,
    /// Where the key goes
    #[arg(value_name = "key-file")]
    key: PathBuf,
    /// A DNS name, IP address, e-mail address or URI of the certificate; can be given several times
    #[arg(long, value_name = "name", action = clap::ArgAction::Append)]
    san: Vec<String>,
    #[command(flatten)]
    grant: GrantFlags,
    #[command(flatten)]
    lifetime: LifetimeFlags,
    #[command(flatten)]
    template: TemplateFlags,
    #[command(flatten)]
    new_key: KeyFlags,
    /// The file with a password that encrypts the new key
    #[arg(long, value_name = "file")]
    password_file: Option<PathBuf>,
    /// Overwrite files without asking
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    ca: CertifierFlags,
}

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    flags.new_key.kind()?;
    let (not_before, not_after) = flags.lifetime.check()?;
    if flags.grant.has_token() && !flags.san.is_empty() {
        return Err(Failure::usage("flag '--san' is incompatible with '--token'"));
    }
    wait_for(async {
        let key_password = passwords::from_optional_file(flags.password_file.as_deref())?;
        let certifier = flags.ca.certifier("ca certificate", key_password.as_ref(), None, setting).await?;
        let mut options = CertificateOptions {
            subject: flags.subject.clone(),
            sans: flags.san.clone(),
            certificate: flags.certificate.clone(),
            key: flags.key.clone(),
            key_choice: flags.new_key.choice(),
            // With --offline the password file is that of the CA's key, as in the reference.
            key_password: key_password.filter(|_| !flags.ca.offline),
            authorization: flags.grant.authorization()?,
            not_before,
            not_after,
            template_data: flags.template.data()?,
            certifier,
        };
        let plan = loop {
            match certificate::check(&options).await {
                Ok(plan) => break plan,
                Err(error) => grant::answer_for(error, &mut options.authorization)?,
            }
        };
        prompt::may_overwrite(flags.force, plan.overwrites().iter().map(PathBuf::as_path))?;
        report::first(&plan.run().await?, setting.voice)?;
        DONE
    })
}
