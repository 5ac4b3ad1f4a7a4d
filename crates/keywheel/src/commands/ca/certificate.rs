//! `ca certificate`: make a key and get a certificate for it.

use std::path::PathBuf;

use clap::Args;
use keywheel_engine::client::certificate::{self, CertificateOptions};
use keywheel_engine::client::error::ClientError;
use keywheel_engine::client::first_in_token;
use keywheel_engine::client::in_token::KeyPlace;

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
  keywheel ca certificate --token-file token --kty OKP svc svc.crt svc.key
  keywheel ca certificate --kms 'pkcs11:module-path=/usr/lib/softhsm/libsofthsm2.so;token=web?pin-source=/etc/web.pin' svc svc.crt 'pkcs11:object=web-1'")]
pub(crate) struct Flags {
    /// The common name; also the only other name, unless --san is given
    #[arg(value_name = "subject")]
    subject: String,
    /// Where the certificate goes
    #[arg(value_name = "crt-file")]
    certificate: PathBuf,
    /// Where the key goes, or the pkcs11: URI of a key that is in a token already
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
    let in_token = flags.grant.kms.places(&flags.key, None, setting)?;
    if in_token.is_some() && (flags.new_key.kty.is_some() || flags.password_file.is_some() && !flags.ca.offline) {
        return Err(Failure::usage(
            "a key in a token is incompatible with flags '--kty' and '--password-file': it is there already",
        ));
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
        if let Some((key, _)) = in_token {
            return in_a_token(options, &key, flags.force, setting).await;
        }
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

/// The same for a key that is in a token already.
async fn in_a_token(mut options: CertificateOptions, key: &KeyPlace, force: bool, setting: &Setting<'_>) -> Outcome {
    let mut pin = None;
    let plan = loop {
        match first_in_token::check(&options, key, pin.as_ref()).await {
            Ok(plan) => break plan,
            Err(ClientError::PinRequired { token }) if pin.is_none() && prompt::somebody_is_there() => {
                let question = format!("Please enter the PIN of the token '{token}'");
                pin = Some(prompt::password(&question, "--kms", None)?);
            }
            Err(error) => grant::answer_for(error, &mut options.authorization)?,
        }
    };
    prompt::may_overwrite(force, plan.overwrites().iter().map(PathBuf::as_path))?;
    report::first(&plan.run().await?, setting.voice)?;
    DONE
}
