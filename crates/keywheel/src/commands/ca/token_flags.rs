//! `--kms`: the token in which the keys of a new CA are made, or in which the key of a certificate is.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use keywheel_engine::client::error::ClientError;
use keywheel_engine::client::in_token::{self, InTokenOptions, InTokenPlan, KeyPlace};
use keywheel_engine::home::token::TokenOptions;
use keywheel_wire::pkcs11::uri::{Pin, Pkcs11Uri};

use super::report::{self, Deed};
use crate::commands::{DONE, Setting};
use crate::failure::{Failure, Outcome};
use crate::{passwords, prompt};

/// Where the keys of a new CA are made, and how they are called there.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TokenFlags {
    /// Make the keys in this PKCS#11 token, which they never leave: pkcs11:module-path=<library>;token=<label>?pin-source=<file>
    #[arg(long, value_name = "uri")]
    kms: Option<String>,
    /// How the root's key is called in the token [default: pkcs11:id=7330;object=root-key]
    #[arg(long, value_name = "uri", requires = "kms")]
    kms_root: Option<String>,
    /// How the issuing key is called in the token [default: pkcs11:id=7331;object=intermediate-key]
    #[arg(long, value_name = "uri", requires = "kms")]
    kms_intermediate: Option<String>,
    /// How the key for SSH host certificates is called in the token [default: pkcs11:id=7332;object=ssh-host-key]
    #[arg(long, value_name = "uri", requires = "kms")]
    kms_ssh_host: Option<String>,
    /// How the key for SSH user certificates is called in the token [default: pkcs11:id=7333;object=ssh-user-key]
    #[arg(long, value_name = "uri", requires = "kms")]
    kms_ssh_user: Option<String>,
}

impl TokenFlags {
    /// Whether the keys shall be made in a token.
    pub(crate) fn is_given(&self) -> bool {
        self.kms.is_some()
    }

    /// What was asked for.
    pub(crate) fn options(&self, setting: &Setting<'_>) -> Outcome<Option<TokenOptions>> {
        let Some(token) = uri(self.kms.as_ref(), "--kms")? else { return Ok(None) };
        warn_of_pin(&token, setting);
        Ok(Some(TokenOptions {
            token,
            pin: None,
            root: uri(self.kms_root.as_ref(), "--kms-root")?,
            intermediate: uri(self.kms_intermediate.as_ref(), "--kms-intermediate")?,
            ssh_host: uri(self.kms_ssh_host.as_ref(), "--kms-ssh-host")?,
            ssh_user: uri(self.kms_ssh_user.as_ref(), "--kms-ssh-user")?,
        }))
    }
}

/// The token with the key of a certificate.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct KmsFlag {
    /// The PKCS#11 token with the keys that are named by a pkcs11: URI: pkcs11:module-path=<library>;token=<label>?pin-source=<file>
    #[arg(long, value_name = "uri")]
    kms: Option<String>,
}

impl KmsFlag {
    /// Whether it was given.
    pub(crate) fn is_given(&self) -> bool {
        self.kms.is_some()
    }

    /// The token, if one was named.
    pub(crate) fn token(&self) -> Outcome<Option<Box<Pkcs11Uri>>> {
        Ok(uri(self.kms.as_ref(), "--kms")?.map(Box::new))
    }

    /// Where the keys are, if one of them is in a token.
    pub(crate) fn places(
        &self,
        key: &Path,
        new_key: Option<&Path>,
        setting: &Setting<'_>,
    ) -> Outcome<Option<(KeyPlace, Option<KeyPlace>)>> {
        let management = self.token()?;
        let key = KeyPlace::of(key, management.as_deref())?;
        let new_key = new_key.map(|name| KeyPlace::of(name, management.as_deref())).transpose()?;
        let token = key.token().or(new_key.as_ref().and_then(KeyPlace::token));
        let Some(first) = token else { return Ok(None) };
        warn_of_pin(first, setting);
        Ok(Some((key, new_key)))
    }
}

/// Checks everything; passwords and PINs that are missing are asked for.
pub(crate) async fn checked(options: &mut InTokenOptions) -> Outcome<InTokenPlan> {
    loop {
        match in_token::check(options, Timestamp::now()).await {
            Ok(plan) => return Ok(plan),
            Err(ClientError::PinRequired { token }) if options.pin.is_none() && prompt::somebody_is_there() => {
                let question = format!("Please enter the PIN of the token '{token}'");
                options.pin = Some(prompt::password(&question, "--kms", None)?);
            }
            Err(error) => passwords::answer(error, &mut options.password)?,
        }
    }
}

/// Replaces a certificate whose key is in a token, once.
pub(crate) async fn replace(
    mut options: InTokenOptions,
    deed: Deed,
    force: bool,
    dry_run: bool,
    setting: &Setting<'_>,
) -> Outcome {
    let plan = checked(&mut options).await?;
    if let Some(remaining) = plan.not_yet() {
        report::not_yet(remaining, deed, setting.voice)?;
        return DONE;
    }
    if dry_run {
        return would(&plan, &options, setting);
    }
    prompt::may_overwrite(force, plan.overwrites().iter().map(PathBuf::as_path))?;
    report::ended(plan.run().await, deed, setting.voice)
}

fn would(plan: &InTokenPlan, options: &InTokenOptions, setting: &Setting<'_>) -> Outcome {
    let key = options.new_key.as_ref().unwrap_or(&options.key).to_string();
    setting.voice.result(format!(
        "would replace the certificate of '{}' (serial {}) by one for another key:\n  {}\n  {key}\nnothing was changed",
        plan.old().subject,
        plan.old().serial,
        plan.certificate_target().display(),
    ))?;
    setting.voice.json(&serde_json::json!({
        "rekeyed": false,
        "dry_run": true,
        "certificate": plan.certificate_target(),
        "key": key,
        "old": report::summary(plan.old()),
        "resumes": plan.resumes(),
    }))?;
    DONE
}

fn warn_of_pin(token: &Pkcs11Uri, setting: &Setting<'_>) {
    if matches!(token.pin, Some(Pin::Value(_))) {
        setting.voice.warn(
            "--kms: everybody on this machine can read a pin-value in the list of processes while this runs; pin-source \
             names a file instead",
        );
    }
}

/// A URI of the command line; what is wrong with it is said without repeating it, since it may hold a PIN.
fn uri(given: Option<&String>, flag: &str) -> Outcome<Option<Pkcs11Uri>> {
    let read = given.map(|text| Pkcs11Uri::parse(text)).transpose();
    read.map_err(|error| Failure::usage(format!("the value of flag '{flag}' is not a PKCS#11 URI: {error}")))
}
