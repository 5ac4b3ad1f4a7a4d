//! `db …`: look after the database of the CA.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use keywheel_core::revocation::ReasonCode;
use keywheel_core::serial::Serial;
use keywheel_engine::home::kept;
use keywheel_store::{OpenMode, Revocation, Store, StoreError};
use keywheel_wire::pem;
use keywheel_wire::step::ca_json::CaJson;
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::crl::Crl;
use serde_json::json;

use super::{DONE, Setting, files, wait_for};
use crate::exit::Exit;
use crate::failure::{Classed, Failure, Outcome};

/// What is to be done to the database.
#[derive(Debug, Subcommand)]
pub(crate) enum Words {
    /// Bring the database to the schema of this program, or make it
    #[command(after_help = "Examples:\n  keywheel db migrate\n  keywheel db migrate --database postgres://ca@db/ca")]
    Migrate(DatabaseFlags),
    /// Look for damage and contradictions
    #[command(after_help = "Examples:\n  keywheel db check")]
    Check(DatabaseFlags),
    /// Write everything into a new file, while the CA serves
    Backup(BackupFlags),
    /// Read a backup into an empty database
    Restore(RestoreFlags),
    /// Take over the revocations of another CA with the same issuer, before serving its ca.json
    Import(ImportFlags),
}

/// Which database.
#[derive(Args, Debug)]
pub(crate) struct DatabaseFlags {
    /// The database: sqlite:<path> or postgres://<user>@<host>/<name> [default: that of ca.json, else db/keywheel.db]
    #[arg(long, value_name = "url")]
    database: Option<String>,
    /// The configuration of the CA [default: config/ca.json]
    #[arg(long, value_name = "file")]
    ca_config: Option<PathBuf>,
}

/// Flags of `backup`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  keywheel db backup ca-2030-01-31.db")]
pub(crate) struct BackupFlags {
    /// The new file
    #[arg(value_name = "file")]
    file: PathBuf,
    #[command(flatten)]
    database: DatabaseFlags,
}

/// Flags of `restore`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  keywheel db restore ca-2030-01-31.db\n  keywheel db restore ca-2030-01-31.db --database postgres://ca@db/ca"
)]
pub(crate) struct RestoreFlags {
    /// The backup
    #[arg(value_name = "file")]
    file: PathBuf,
    #[command(flatten)]
    database: DatabaseFlags,
}

/// Flags of `import`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  keywheel db import --crl old.crl
  keywheel db import --serials revoked.txt
  keywheel db import --crl old.crl --serials revoked.txt")]
pub(crate) struct ImportFlags {
    /// The last revocation list of the earlier CA, PEM or DER; its signature is checked with the issuing CA's certificate
    #[arg(long, value_name = "file")]
    crl: Option<PathBuf>,
    /// A file with the serial numbers of revoked certificates, decimal or 0x-hexadecimal, one per line; # starts a comment
    #[arg(long, value_name = "file")]
    serials: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseFlags,
}

pub(crate) fn run(words: Words, setting: &Setting<'_>) -> Outcome {
    match words {
        Words::Migrate(flags) => migrate(&flags, setting),
        Words::Check(flags) => check(&flags, setting),
        Words::Backup(flags) => backup(&flags, setting),
        Words::Restore(flags) => restore(&flags, setting),
        Words::Import(flags) => import(&flags, setting),
    }
}

fn migrate(flags: &DatabaseFlags, setting: &Setting<'_>) -> Outcome {
    let url = flags.url(setting)?;
    make_folder(&url)?;
    wait_for(async {
        let store = open(&url, OpenMode::Create).await?;
        let (found, now) = (store.schema_found(), Store::schema_known());
        store.close().await;
        let text = if found == now {
            format!("{} has schema {now} already", shown(&url))
        } else {
            format!("{} was brought from schema {found} to {now}", shown(&url))
        };
        setting.voice.result(text)?;
        setting.voice.json(&json!({"database": shown(&url), "from": found, "to": now}))?;
        DONE
    })
}

fn check(flags: &DatabaseFlags, setting: &Setting<'_>) -> Outcome {
    let url = flags.url(setting)?;
    wait_for(async {
        let store = open(&url, OpenMode::Current).await?;
        let report = store.check().await.map_err(failed)?;
        store.close().await;
        setting
            .voice
            .json(&json!({"database": shown(&url), "ok": report.findings.is_empty(), "findings": report.findings}))?;
        if report.findings.is_empty() {
            setting.voice.result(format!("{} is as it should be", shown(&url)))?;
            return DONE;
        }
        for finding in &report.findings {
            setting.voice.result(finding)?;
        }
        Err(Failure::failed(format!("{} is damaged: {} findings", shown(&url), report.findings.len()))
            .hint("stop the CA and restore the last backup into a new database with 'db restore'"))
    })
}

fn backup(flags: &BackupFlags, setting: &Setting<'_>) -> Outcome {
    let url = flags.database.url(setting)?;
    wait_for(async {
        let store = open(&url, OpenMode::Current).await?;
        store.backup(&flags.file).await.map_err(failed)?;
        store.close().await;
        setting.voice.done("Backup", flags.file.display());
        setting.voice.json(&json!({"database": shown(&url), "file": flags.file}))?;
        DONE
    })
}

fn restore(flags: &RestoreFlags, setting: &Setting<'_>) -> Outcome {
    let url = flags.database.url(setting)?;
    make_folder(&url)?;
    wait_for(async {
        let store = open(&url, OpenMode::Create).await?;
        store.restore(&flags.file).await.map_err(failed)?;
        store.close().await;
        setting.voice.done("Restored", format!("{} into {}", flags.file.display(), shown(&url)));
        setting.voice.json(&json!({"database": shown(&url), "file": flags.file}))?;
        DONE
    })
}

fn import(flags: &ImportFlags, setting: &Setting<'_>) -> Outcome {
    if flags.crl.is_none() && flags.serials.is_none() {
        return Err(Failure::usage("say what to import: '--crl', '--serials' or both"));
    }
    let now = Timestamp::now();
    let mut revocations = Vec::new();
    let mut number = None;
    if let Some(path) = &flags.crl {
        let crl = read_crl(path, &flags.database, setting)?;
        number = crl.parts().number();
        revocations.extend(crl.parts().revoked().iter().map(|entry| Revocation {
            serial: entry.serial,
            revoked_at: entry.revoked_at,
            reason: entry.reason.unwrap_or_default(),
            text: format!("imported from {}", path.display()),
            by: "db import".to_owned(),
            expires_at: None,
        }));
    }
    if let Some(path) = &flags.serials {
        for serial in read_serials(path)? {
            revocations.push(Revocation {
                serial,
                revoked_at: now,
                reason: ReasonCode::Unspecified,
                text: format!("imported from {}", path.display()),
                by: "db import".to_owned(),
                expires_at: None,
            });
        }
    }
    let url = flags.database.url(setting)?;
    make_folder(&url)?;
    let total = revocations.len();
    wait_for(async {
        let store = open(&url, OpenMode::Create).await?;
        let new = store.import_revocations(revocations).await.map_err(failed)?;
        if let Some(number) = number {
            store.raise_crl_number(number).await.map_err(failed)?;
        }
        store.close().await;
        setting.voice.result(format!("revocations: {total} read, {new} of them new; {} has them all", shown(&url)))?;
        setting.voice.json(&json!({"database": shown(&url), "read": total, "new": new, "crl_number": number}))?;
        DONE
    })
}

/// The list, if the issuing CA signed it: a list of another CA would revoke the wrong certificates.
fn read_crl(path: &Path, flags: &DatabaseFlags, setting: &Setting<'_>) -> Outcome<Crl> {
    let doing = || format!("read the revocation list {}", path.display());
    let text = std::fs::read(path).or_usage(doing)?;
    let der = match pem::parse(&text).ok().and_then(|blocks| blocks.into_iter().find(|block| block.label == "X509 CRL"))
    {
        Some(block) => block.der.to_vec(),
        None => text,
    };
    let crl = Crl::from_der(&der).or_usage(doing)?;
    let config = flags.config(setting)?;
    let settings = config.settings().or_usage(|| "read ca.json".into())?;
    let issuers = Certificate::chain_from_pem(&files::read(Path::new(&settings.certificate))?)
        .or_usage(|| format!("read {}", settings.certificate))?;
    let signed = issuers.iter().any(|issuer| crl.verify_signed_by(issuer.spki()).is_ok());
    if !signed {
        return Err(Failure::usage(format!(
            "the revocation list {} was not signed by the CA of {}; nothing was imported",
            path.display(),
            settings.certificate
        )));
    }
    Ok(crl)
}

fn read_serials(path: &Path) -> Outcome<Vec<Serial>> {
    let doing = || format!("read the serial numbers {}", path.display());
    let text = std::fs::read_to_string(path).or_usage(doing)?;
    serials(&text).map_err(|failure| failure.context(doing()))
}

fn serials(text: &str) -> Outcome<Vec<Serial>> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let word = line.split('#').next().unwrap_or_default().trim();
        if !word.is_empty() {
            found.push(
                Serial::parse(word).or_usage(|| {
                    format!("line {}: '{word}' is not a serial number; nothing was imported", index + 1)
                })?,
            );
        }
    }
    Ok(found)
}

impl DatabaseFlags {
    fn config(&self, setting: &Setting<'_>) -> Outcome<CaJson> {
        let path = self.ca_config.clone().unwrap_or_else(|| setting.home.ca_json());
        let doing = || format!("read the CA configuration {}", path.display());
        let text = std::fs::read_to_string(&path).or_usage(doing)?;
        // Another program may have dropped our own settings; a change that is written brings them back.
        let text = kept::restored(&path, &text).unwrap_or(text);
        CaJson::parse(&text).or_usage(doing)
    }

    /// The flag, else what `ca.json` says, else where the CA keeps its own.
    fn url(&self, setting: &Setting<'_>) -> Outcome<String> {
        if let Some(url) = &self.database {
            return Ok(url.clone());
        }
        let settings = self.config(setting)?.settings().or_usage(|| "read ca.json".into())?;
        match settings.keywheel.database {
            Some(url) => Ok(url.to_string()),
            None => {
                let path = self.ca_config.clone().unwrap_or_else(|| setting.home.ca_json());
                Ok(default_url(&path))
            }
        }
    }
}

/// Where a CA keeps its database if nothing else is said: the same rule as the CA's own.
fn default_url(config_file: &Path) -> String {
    let config = config_file.parent().unwrap_or(Path::new("."));
    let in_config = config.file_name().is_some_and(|name| name == "config");
    let home = if in_config { config.parent().unwrap_or(config) } else { config };
    format!("sqlite:{}", home.join("db").join("keywheel.db").display())
}

async fn open(url: &str, mode: OpenMode) -> Outcome<Store> {
    Store::open(url, mode).await.map_err(failed)
}

fn failed(error: StoreError) -> Failure {
    let exit = match &error {
        _ if error.is_retryable() => Exit::TryAgain,
        StoreError::Address { .. }
        | StoreError::Missing { .. }
        | StoreError::SchemaNewer { .. }
        | StoreError::SchemaOlder { .. }
        | StoreError::NotEmpty { .. }
        | StoreError::BackupExists { .. } => Exit::Usage,
        _ => Exit::Failed,
    };
    Failure::of(exit, error)
}

/// The folder of an embedded database.
fn make_folder(url: &str) -> Outcome<()> {
    match url.strip_prefix("sqlite:").and_then(|path| Path::new(path).parent()) {
        Some(folder) if !folder.as_os_str().is_empty() => files::make_private_folder(folder),
        _ => Ok(()),
    }
}

/// The address without its password.
fn shown(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, rest)), Some((_, host))) => {
            let user = rest.split([':', '@']).next().unwrap_or_default();
            format!("{scheme}://{user}@{host}")
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_serial_numbers_may_have_comments_and_both_notations() {
        let found = serials("# revoked\n10\n 0x0A # the same\n\n255\n").unwrap();
        let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10", "10", "255"]);
    }

    #[test]
    fn one_wrong_serial_number_spoils_the_list_and_is_named() {
        let failure = serials("10\nabc\n").unwrap_err();
        assert!(failure.message().starts_with("line 2: 'abc' is not a serial number; nothing was imported"));
    }

    #[test]
    fn the_password_of_a_database_is_not_shown() {
        assert_eq!(shown("postgres://ca:secret@db/ca"), "postgres://ca@db/ca");
        assert_eq!(shown("postgres://ca@db/ca"), "postgres://ca@db/ca");
        assert_eq!(shown("sqlite:/home/a@b/db"), "sqlite:/home/a@b/db");
    }
}
