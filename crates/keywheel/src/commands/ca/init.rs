//! `ca init`: make a new CA.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use keywheel_engine::home::{self, InitError, InitOptions, InitReport};
use serde_json::json;
use zeroize::Zeroizing;

use super::token_flags::TokenFlags;
use crate::commands::{DONE, Setting};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::key_choice::KeyFlags;
use crate::{passwords, prompt};

/// Flags of `ca init`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  keywheel ca init
  keywheel ca init --name Example --dns ca.example.com --dns 10.1.2.3 --address :9000 --provisioner admin --password-file password.txt
  keywheel ca init --kty OKP --name Example --dns localhost --address :9000 --provisioner admin --password-file password.txt
  keywheel ca init --kms 'pkcs11:module-path=/usr/lib/softhsm/libsofthsm2.so;token=ca?pin-source=/etc/ca.pin' --name Example --dns ca.example.com --address :443 --provisioner admin --password-file password.txt
  keywheel ca init --ssh --database postgres://ca@db/ca --name Example --dns ca.example.com --address :443 --provisioner admin --password-file password.txt")]
pub(crate) struct Flags {
    /// The name of the CA: its root will be '<name> Root CA'
    #[arg(long, value_name = "name")]
    name: Option<String>,
    /// A DNS name or IP address of the CA; can be given several times, or separated by commas
    #[arg(long, value_name = "name", action = clap::ArgAction::Append, value_delimiter = ',')]
    dns: Vec<String>,
    /// Where the CA listens, such as :443 or 127.0.0.1:8443
    #[arg(long, value_name = "address")]
    address: Option<String>,
    /// The name of the first provisioner
    #[arg(long, value_name = "name")]
    provisioner: Option<String>,
    /// The file with the password that encrypts the keys of the CA, where they are files
    #[arg(long, value_name = "file")]
    password_file: Option<PathBuf>,
    /// The file with the password that encrypts the provisioner's key [default: the same password]
    #[arg(long, value_name = "file")]
    provisioner_password_file: Option<PathBuf>,
    /// The URL of the CA to write into defaults.json, where it is not the first name and the port
    #[arg(long, value_name = "URI")]
    with_ca_url: Option<String>,
    /// Where the CA stands; only 'standalone' is known
    #[arg(long, value_name = "name")]
    deployment_type: Option<String>,
    /// Make the keys of an SSH CA too
    #[arg(long)]
    ssh: bool,
    /// Accepted for scripts: the CA keeps its database all the same, since tokens must stay one-time
    #[arg(long)]
    no_db: bool,
    /// The database: sqlite:<path> or postgres://<user>@<host>/<name> [default: db/keywheel.db]
    #[arg(long, value_name = "url")]
    database: Option<String>,
    #[command(flatten)]
    ca_key: KeyFlags,
    #[command(flatten)]
    token: TokenFlags,
    /// Replace what an earlier init left
    #[arg(long, short)]
    force: bool,
}

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    let key_kind = flags.ca_key.kind()?;
    if let Some(other) = flags.deployment_type.as_deref().filter(|kind| !kind.eq_ignore_ascii_case("standalone")) {
        return Err(Failure::usage(format!(
            "invalid value '{other}' for flag '--deployment-type'; options are standalone"
        )));
    }
    if flags.no_db {
        setting.voice.warn("--no-db: the CA keeps its database all the same, since tokens must stay one-time");
    }
    let ca_url = flags.with_ca_url.as_deref().map(super::address::normalise).transpose()?;
    let name = given_or_asked(flags.name.as_ref(), "What would you like to name your new PKI?", "--name", None)?;
    let dns_names = match names(&flags.dns) {
        names if names.is_empty() => {
            let question = "What DNS names or IP addresses will clients use to reach your CA?";
            names_in(&prompt::text(question, "--dns", Some("localhost"))?)
        }
        names => names,
    };
    let address = given_or_asked(
        flags.address.as_ref(),
        "What IP and port will your new CA bind to?",
        "--address",
        Some(":443"),
    )?;
    let question = "What would you like to name the CA's first provisioner?";
    let provisioner = given_or_asked(flags.provisioner.as_ref(), question, "--provisioner", Some("admin"))?;
    let provisioner_password = passwords::from_optional_file(flags.provisioner_password_file.as_deref())?;
    let token = flags.token.options(setting)?;
    let (password, generated) = password(flags)?;

    let mut options = InitOptions {
        home: setting.home.path(),
        name,
        dns_names,
        address,
        ca_url,
        provisioner,
        password,
        provisioner_password,
        key_kind,
        token,
        ssh: flags.ssh,
        database: flags.database.clone(),
        force: flags.force,
        made_by_up: false,
    };
    let report = init_with_pin(&mut options)?;
    setting.home.remember_context()?;
    if let Some(generated) = &generated {
        setting.voice.say(format!("Generated password (keep it, it is shown once): {}", generated.as_str()));
    }
    tell(&report, generated.as_ref().map(|password| password.as_str()), setting)
}

/// Makes the home; the errors get their exit codes.
pub(crate) fn init(options: &InitOptions) -> Outcome<InitReport> {
    home::init(options, Timestamp::now()).map_err(failure)
}

/// The same; the PIN of a token is asked for where nothing says where it is.
fn init_with_pin(options: &mut InitOptions) -> Outcome<InitReport> {
    match (home::init(options, Timestamp::now()), &mut options.token) {
        (Err(InitError::PinRequired { token }), Some(into)) if prompt::somebody_is_there() => {
            let question = format!("Please enter the PIN of the token '{token}'");
            into.pin = Some(prompt::password(&question, "--kms", None)?);
            init(options)
        }
        (report, _) => report.map_err(failure),
    }
}

fn failure(error: InitError) -> Failure {
    let exit = match error {
        InitError::Invalid(_) | InitError::Exists { .. } | InitError::PinRequired { .. } | InitError::Token(_) => {
            Exit::Usage
        }
        _ => Exit::Failed,
    };
    Failure::of(exit, error)
}

fn tell(report: &InitReport, generated: Option<&str>, setting: &Setting<'_>) -> Outcome {
    let voice = setting.voice;
    voice.done("Root certificate", report.root.display());
    voice.done("Root private key", &report.root_key);
    voice.done("Root fingerprint", &report.fingerprint);
    voice.done("Intermediate certificate", report.intermediate.display());
    voice.done("Intermediate private key", &report.intermediate_key);
    if let Some((host, user)) = &report.ssh {
        voice.done("SSH host CA public key", host.display());
        voice.done("SSH user CA public key", user.display());
    }
    if let Some(pin) = &report.pin {
        voice.done("PIN of the token", pin.display());
    }
    voice.done("Default configuration", report.defaults_json.display());
    voice.done("Certificate Authority configuration", report.ca_json.display());
    voice.say(format!("\nYour CA is ready. Start it with: {} ca serve {}", setting.program, report.ca_json.display()));
    voice.json(&json!({
        "fingerprint": report.fingerprint,
        "ca_url": report.ca_url,
        "root": report.root,
        "root_key": report.root_key,
        "intermediate": report.intermediate,
        "intermediate_key": report.intermediate_key,
        "pin": report.pin,
        "ca_json": report.ca_json,
        "defaults_json": report.defaults_json,
        "password": generated,
        "ssh": report.ssh.as_ref().map(|(host, user)| json!({"host": host, "user": user})),
    }))?;
    DONE
}

fn given_or_asked(given: Option<&String>, question: &str, flag: &str, default: Option<&str>) -> Outcome<String> {
    match given.map(|text| text.trim()).filter(|text| !text.is_empty()) {
        Some(text) => Ok(text.to_owned()),
        None => prompt::text(question, flag, default),
    }
}

fn names(given: &[String]) -> Vec<String> {
    given.iter().flat_map(|list| names_in(list)).collect()
}

fn names_in(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

type Password = Zeroizing<Vec<u8>>;

/// The password, and where it was made here the same to show.
fn password(flags: &Flags) -> Outcome<(Password, Option<Zeroizing<String>>)> {
    if let Some(path) = &flags.password_file {
        let password = passwords::from_file(path)?;
        if password.is_empty() {
            return Err(Failure::usage(format!("the password file {} is empty", path.display())));
        }
        return Ok((password, None));
    }
    let question = if flags.token.is_given() {
        "Choose a password for your first provisioner"
    } else {
        "Choose a password for your CA keys and first provisioner"
    };
    let answer = prompt::password(question, "--password-file", Some("and one is generated"))?;
    if !answer.is_empty() {
        return Ok((answer, None));
    }
    let generated = passwords::random()?;
    Ok((Zeroizing::new(generated.as_bytes().to_vec()), Some(generated)))
}
