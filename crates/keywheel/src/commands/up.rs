//! `up`: a CA on first use, served at once, with a rotation from end to end to look at.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use keywheel_engine::client::access::{CaAccess, Certifier};
use keywheel_engine::client::afterwards::Afterwards;
use keywheel_engine::client::certificate::{self, Authorization, CertificateOptions};
use keywheel_engine::client::key_choice::KeyChoice;
use keywheel_engine::client::rekey::{self, CertificateSummary, RekeyOptions, RekeyOutcome};
use keywheel_engine::client::token::Provisioning;
use keywheel_engine::home::{FirstUse, InitOptions, first_use};
use keywheel_wire::private_key::KeyKind;
use serde_json::json;
use zeroize::Zeroizing;

use super::ca::{self, Config, LogFormat, ServePlan};
use super::files::{self, Secrecy};
use super::{DONE, Setting, wait_for};
use crate::failure::{Classed, Failure, Outcome};
use crate::passwords;

/// Flags of `up`.
#[derive(Args, Debug)]
#[command(
    long_about = "Make a CA on first use and serve it until Ctrl-C.\n\n\
        On first use it also gets a certificate for a demo service, replaces its key, and shows what changed. \
        A home that something else made is refused: serve that one with 'ca serve'.",
    after_help = "Examples:\n  keywheel up\n  keywheel up --home /tmp/try --address 127.0.0.1:9443"
)]
pub(crate) struct Flags {
    /// Where the CA listens; used on first use only [default: 127.0.0.1:8443, or a free port]
    #[arg(long, value_name = "address")]
    address: Option<String>,
    /// The name of the CA; used on first use only
    #[arg(long, value_name = "name", default_value = "Keywheel")]
    name: String,
}

const PROVISIONER: &str = "admin";
const DEMO: &str = "demo.localhost";

pub(crate) fn run(flags: Flags, setting: &Setting<'_>) -> Outcome {
    let home = setting.home.path();
    let fresh = match first_use(&home).or_failed(|| format!("look into {}", home.display()))? {
        FirstUse::Fresh => true,
        FirstUse::Ours => false,
        FirstUse::Foreign => {
            return Err(Failure::usage(format!("{} was not made by 'up', so 'up' leaves it alone", home.display()))
                .hint(format!(
                    "serve it with '{} ca serve', or try 'up' elsewhere: {} up --home {}-try",
                    setting.program,
                    setting.program,
                    home.display()
                )));
        }
    };
    if fresh {
        make(&flags, &home, setting)?;
    }
    let config = Config::read(None, setting)?;
    // Between the lines for the person, only warnings.
    let format = if setting.voice.speaks_json() { LogFormat::Json } else { LogFormat::Text };
    ca::start_log_at("warn", format);
    let password_file = password_file(&home);
    let password = passwords::from_file(&password_file)?;
    wait_for(async {
        let plan = ServePlan {
            config,
            password: Some(password.clone()),
            database: None,
            fresh_database: false,
            pidfile: None,
            metrics_address: None,
        };
        let serving = ca::serve(plan).await?;
        // A first use that was cut off shows its rotation the next time.
        let shown_before = home.join("demo").join("demo.crt").exists();
        let rotation = if shown_before { None } else { Some(demo(&home, password, setting).await?) };
        let signals = ca::Signals::listen()?;
        tell(&home, rotation.as_ref(), setting)?;
        serving.until_told_to_stop(signals).await?;
        DONE
    })
}

fn make(flags: &Flags, home: &Path, setting: &Setting<'_>) -> Outcome<()> {
    setting.voice.say(format!("Making a CA in {} ...", home.display()));
    let password = passwords::random()?;
    let options = InitOptions {
        home: home.to_owned(),
        name: flags.name.clone(),
        dns_names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        address: match &flags.address {
            Some(address) => address.clone(),
            None => free_address()?,
        },
        ca_url: None,
        provisioner: PROVISIONER.to_owned(),
        password: Zeroizing::new(password.as_bytes().to_vec()),
        provisioner_password: None,
        key_kind: KeyKind::EcP256,
        token: None,
        ssh: false,
        database: None,
        force: false,
        made_by_up: true,
    };
    ca::init(&options)?;
    files::replace(&password_file(home), format!("{}\n", password.as_str()).as_bytes(), Secrecy::Private)
}

/// What the demo did.
struct Rotation {
    first: CertificateSummary,
    second: CertificateSummary,
    certificate: PathBuf,
    key: PathBuf,
}

async fn demo(home: &Path, password: Zeroizing<Vec<u8>>, setting: &Setting<'_>) -> Outcome<Rotation> {
    let folder = home.join("demo");
    files::make_private_folder(&folder)?;
    let (certificate, key) = (folder.join("demo.crt"), folder.join("demo.key"));
    let access = CaAccess::new(&url(setting)?, setting.home.root_certificate())?;
    let certifier = Certifier::Remote(access);
    let options = CertificateOptions {
        subject: DEMO.to_owned(),
        sans: Vec::new(),
        certificate: certificate.clone(),
        key: key.clone(),
        key_choice: KeyChoice::default(),
        key_password: None,
        authorization: Authorization::Provisioner(Provisioning {
            name: Some(PROVISIONER.to_owned()),
            password: Some(password),
            ..Provisioning::default()
        }),
        not_before: String::new(),
        not_after: String::new(),
        template_data: serde_json::Map::new(),
        certifier: certifier.clone(),
    };
    let first = certificate::check(&options).await?.run().await?.new;
    let options = RekeyOptions {
        certificate: certificate.clone(),
        key: key.clone(),
        out_certificate: None,
        out_key: None,
        private_key: None,
        key_choice: KeyChoice::default(),
        password: None,
        expires_in: None,
        certifier,
        mtls: true,
        layout: None,
        afterwards: Afterwards::default(),
        prove: true,
    };
    match rekey::check(&options, Timestamp::now()).await?.run().await? {
        RekeyOutcome::Done(report) => Ok(Rotation { first, second: report.new, certificate, key }),
        RekeyOutcome::NotYet { .. } => Err(Failure::failed("the demo certificate was not replaced")),
    }
}

fn tell(home: &Path, rotation: Option<&Rotation>, setting: &Setting<'_>) -> Outcome<()> {
    let voice = setting.voice;
    let url = url(setting)?;
    let defaults = setting.home.defaults()?;
    let fingerprint = defaults.get("fingerprint").and_then(serde_json::Value::as_str).unwrap_or_default();
    let program = typed_name(setting);
    let mut text = String::new();
    if let Some(rotation) = rotation {
        text.push_str(&format!(
            "\nA certificate for {DEMO} was issued, and then its key was replaced:\n\n  \
             first   certificate {}\n          key         {}\n  \
             now     certificate {}\n          key         {}\n\n  {}\n  {}\n",
            rotation.first.fingerprint,
            rotation.first.key_fingerprint,
            rotation.second.fingerprint,
            rotation.second.key_fingerprint,
            rotation.certificate.display(),
            rotation.key.display(),
        ));
    }
    text.push_str(&format!(
        "\nThe CA serves at {url}. Type in another terminal:\n\n  \
         export STEPPATH={home}\n  \
         {program} ca certificate svc.localhost svc.crt svc.key --provisioner-password-file {password}\n  \
         {program} ca rekey --force svc.crt svc.key\n  \
         {program} certificate inspect --short svc.crt\n\n\
         For another user, or in another home:\n\n  \
         {program} ca bootstrap --ca-url {url} --fingerprint {fingerprint}\n\n\
         Ctrl-C ends it. This starts it again, with everything kept:\n\n  \
         {program} up --home {home}",
        home = quoted(home),
        password = quoted(&password_file(home)),
    ));
    voice.result(text)?;
    if !voice.speaks_json() {
        return Ok(());
    }
    // On one line: who reads it does not wait for an end.
    voice.json_line(&json!({
        "home": home,
        "ca_url": url,
        "fingerprint": fingerprint,
        "password_file": password_file(home),
        "demo": rotation.map(|rotation| json!({
            "certificate": rotation.certificate,
            "key": rotation.key,
            "old": ca::summary(&rotation.first),
            "new": ca::summary(&rotation.second),
        })),
    }))
}

fn password_file(home: &Path) -> PathBuf {
    home.join("secrets").join("password")
}

fn url(setting: &Setting<'_>) -> Outcome<String> {
    setting
        .home
        .defaults()?
        .get("ca-url")
        .and_then(|url| url.as_str().map(str::to_owned))
        .ok_or_else(|| Failure::usage(format!("{} names no ca-url", setting.home.defaults_json().display())))
}

/// The usual port, or one that nobody uses.
fn free_address() -> Outcome<String> {
    for port in [8443, 0] {
        if let Ok(listener) = std::net::TcpListener::bind(("127.0.0.1", port)) {
            let address = listener.local_addr().or_failed(|| "find a free port".into())?;
            return Ok(address.to_string());
        }
    }
    Err(Failure::failed("no port of 127.0.0.1 is free").hint("choose one with --address"))
}

/// The program as the person can type it again: with its path where it was started with one.
fn typed_name(setting: &Setting<'_>) -> String {
    let started = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    if started.components().count() > 1
        && let Ok(path) = std::path::absolute(&started)
    {
        return quoted(&path);
    }
    setting.program.to_owned()
}

/// A path that a shell takes as one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@%:".contains(c));
    if plain && !text.is_empty() { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_odd_letters_is_quoted_for_the_shell() {
        assert_eq!(quoted(Path::new("/tmp/try-1")), "/tmp/try-1");
        assert_eq!(quoted(Path::new("/tmp/my home")), "'/tmp/my home'");
        assert_eq!(quoted(Path::new("/tmp/it's")), r"'/tmp/it'\''s'");
    }
}
