//! `ca sign`: get a certificate for a certificate signing request.

use std::path::PathBuf;

use clap::Args;
use keywheel_engine::client::sign::{self, SignOptions};

use super::grant::{self, GrantFlags, LifetimeFlags, TemplateFlags};
use super::offline::CertifierFlags;
use super::report;
use crate::commands::{DONE, Setting, wait_for};
use crate::failure::Outcome;
use crate::{passwords, prompt};

/// Flags of `ca sign`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  keywheel ca sign svc.csr svc.crt
  keywheel ca sign --token-file token svc.csr svc.crt
  keywheel ca sign --offline --not-after 1h svc.csr svc.crt")]
pub(crate) struct Flags {
    /// The certificate signing request, PEM
    #[arg(value_name = "csr-file")]
    request: PathBuf,
    /// Where the certificate goes
    #[arg(value_name = "crt-file")]
    certificate: PathBuf,
    #[command(flatten)]
    grant: GrantFlags,
    #[command(flatten)]
    lifetime: LifetimeFlags,
    #[command(flatten)]
    template: TemplateFlags,
    /// With --offline: the file with the password of the CA's key
    #[arg(long, value_name = "file")]
    password_file: Option<PathBuf>,
    /// Overwrite files without asking
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    ca: CertifierFlags,
}

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    let (not_before, not_after) = flags.lifetime.check()?;
    wait_for(async {
        let password = passwords::from_optional_file(flags.password_file.as_deref())?;
        let certifier = flags.ca.certifier("ca sign", password.as_ref(), None, setting).await?;
        let mut options = SignOptions {
            request: flags.request.clone(),
            certificate: flags.certificate.clone(),
            authorization: flags.grant.authorization()?,
            not_before,
            not_after,
            template_data: flags.template.data()?,
            certifier,
        };
        let plan = loop {
            match sign::check(&options).await {
                Ok(plan) => break plan,
                Err(error) => grant::answer_for(error, &mut options.authorization)?,
            }
        };
        prompt::may_overwrite(flags.force, plan.overwrites().iter().map(PathBuf::as_path))?;
        report::first(&plan.run().await?, setting.voice)?;
        DONE
    })
}
