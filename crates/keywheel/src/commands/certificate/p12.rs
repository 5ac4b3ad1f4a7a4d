//! `certificate p12`: a key and its certificates, or certificates to be trusted, in one PKCS#12 file.

use std::path::{Path, PathBuf};

use clap::Args;
use keywheel_signer::random;
use keywheel_wire::pkcs12::{self, Pkcs12Error};
use keywheel_wire::private_key::{PrivateKey, PrivateKeyError};
use keywheel_wire::x509::certificate::Certificate;
use serde_json::json;
use zeroize::Zeroizing;

use super::source;
use crate::commands::files::{self, Secrecy};
use crate::commands::{DONE, Setting};
use crate::exit::Exit;
use crate::failure::{Classed, Failure, Outcome};
use crate::{passwords, prompt};

/// Flags of `certificate p12`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  keywheel certificate p12 svc.p12 svc.crt svc.key
  keywheel certificate p12 --password-file p12.password --name svc svc.p12 svc.crt svc.key
  keywheel certificate p12 trust.p12 --ca root_ca.crt")]
pub(crate) struct Flags {
    /// Where the result goes
    #[arg(value_name = "p12-file")]
    file: PathBuf,
    /// The certificate and its chain
    #[arg(value_name = "crt-file", requires = "key")]
    certificate: Option<PathBuf>,
    /// The private key of the certificate
    #[arg(value_name = "key-file")]
    key: Option<PathBuf>,
    /// Add the certificates of this file; repeat it for more. Alone, they become a trust store for Java
    #[arg(long, value_name = "file")]
    ca: Vec<PathBuf>,
    /// The name that programs show for key and certificate; what Java calls the alias
    #[arg(long, value_name = "name", default_value = "", hide_default_value = true)]
    name: String,
    /// The password of the result, in a file
    #[arg(long, value_name = "file")]
    password_file: Option<PathBuf>,
    /// The password of an encrypted key file, in a file
    #[arg(long, value_name = "file")]
    key_password_file: Option<PathBuf>,
    /// Use an empty password; requires --insecure
    #[arg(long)]
    no_password: bool,
    /// Confirm that the key is written without protection
    #[arg(long)]
    insecure: bool,
    /// Overwrite files without asking
    #[arg(long, short)]
    force: bool,
}

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    if flags.no_password && flags.password_file.is_some() {
        return Err(Failure::usage("flag '--no-password' is incompatible with '--password-file'"));
    }
    if flags.no_password && !flags.insecure {
        return Err(Failure::usage("flag '--no-password' requires the '--insecure' flag"));
    }
    if flags.certificate.is_none() && flags.ca.is_empty() {
        return Err(Failure::usage("a certificate and its key are needed, or flag '--ca'; nothing was written"));
    }
    let mut chain = flags.certificate.as_deref().map_or_else(|| Ok(Vec::new()), source::certificates)?;
    for file in &flags.ca {
        for certificate in source::certificates(file)? {
            // A chain that has its intermediate already is given it again by habit.
            if !chain.contains(&certificate) {
                chain.push(certificate);
            }
        }
    }
    let key = flags.key.as_deref().map(|file| read_key(file, flags.key_password_file.as_deref())).transpose()?;
    if let (Some(key), Some(leaf), Some(file)) = (&key, chain.first(), &flags.key)
        && key.public_key() != leaf.spki()
    {
        return Err(Failure::usage(format!(
            "{} is not the key of the first certificate; nothing was written",
            file.display()
        )));
    }
    prompt::may_overwrite(flags.force, [flags.file.as_path()])?;
    let password = password(flags)?;
    let chance = random::bytes().or_failed(|| "draw a salt".into())?;
    let packed = match &key {
        Some(key) => pkcs12::encode(key, &chain, &flags.name, &password, &chance),
        None => pkcs12::encode_trusted(&named(&chain), &password, &chance),
    };
    let packed = packed.map_err(|error| {
        let exit = if matches!(error, Pkcs12Error::PasswordNotText) { Exit::Usage } else { Exit::Failed };
        Failure::of(exit, error).context("nothing was written")
    })?;
    files::replace(&flags.file, &packed, Secrecy::Private)?;
    setting.voice.say(format!("Your .p12 bundle has been saved as {}.", flags.file.display()));
    setting.voice.json(&json!({
        "file": flags.file,
        "certificates": chain.iter().map(|one| one.digest().to_string()).collect::<Vec<_>>(),
        "has_key": key.is_some(),
    }))?;
    DONE
}

fn read_key(file: &Path, password_file: Option<&Path>) -> Outcome<PrivateKey> {
    let doing = || format!("read {}", file.display());
    let text = Zeroizing::new(files::read(file)?);
    let mut password = passwords::from_optional_file(password_file)?;
    if password.is_none() && matches!(PrivateKey::parse_pem(&text, None), Err(PrivateKeyError::PasswordRequired)) {
        let question = format!("Please enter the password of {}", file.display());
        password = Some(prompt::password(&question, "--key-password-file", None)?);
    }
    Ok(PrivateKey::parse_pem(&text, password.as_ref().map(|password| password.as_slice())).or_usage(doing)?.key)
}

fn password(flags: &Flags) -> Outcome<Zeroizing<Vec<u8>>> {
    if flags.no_password {
        return Ok(Zeroizing::default());
    }
    match &flags.password_file {
        Some(file) => {
            let password = passwords::from_file(file)?;
            if password.is_empty() {
                return Err(Failure::usage(format!("{} holds no password; nothing was written", file.display()))
                    .hint("for an empty password, give --no-password --insecure"));
            }
            Ok(password)
        }
        None => prompt::password("Please enter a password to encrypt the .p12 file", "--password-file", None),
    }
}

/// Each certificate with a name of its own, as the reference makes them.
fn named(certificates: &[Certificate]) -> Vec<(String, Certificate)> {
    let name = |one: &Certificate| format!("{} - {}", one.subject(), one.digest());
    certificates.iter().map(|one| (name(one), one.clone())).collect()
}
