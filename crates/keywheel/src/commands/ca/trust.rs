//! `ca health`, `ca root`, `ca roots`: whether the CA works, and whom it is trusted by.

use std::path::{Path, PathBuf};

use clap::Args;
use keywheel_engine::client::access::{self, CaAccess};
use serde_json::json;

use super::address::AddressFlags;
use crate::commands::files::{self, Secrecy};
use crate::commands::{DONE, Setting, wait_for};
use crate::failure::{Failure, Outcome};
use crate::prompt;

/// Flags of `ca health`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  keywheel ca health\n  keywheel ca health --ca-url https://ca.example.com:9000 --root root_ca.crt"
)]
pub(crate) struct HealthFlags {
    #[command(flatten)]
    address: AddressFlags,
}

/// Flags of `ca root`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  keywheel ca root root_ca.crt\n  keywheel ca root --ca-url https://ca.example.com --fingerprint 0d7d3834cf187726cf331c40a31aa7ef6b29ba4df601416c9788f6ee01058cf3"
)]
pub(crate) struct RootFlags {
    /// Where the root certificate goes; without it, to stdout
    #[arg(value_name = "root-file")]
    file: Option<PathBuf>,
    /// The URL of the CA
    #[arg(long, value_name = "URI")]
    ca_url: Option<String>,
    /// The SHA-256 fingerprint of the root certificate, hexadecimal
    #[arg(long, value_name = "fingerprint")]
    fingerprint: Option<String>,
    /// Overwrite files without asking
    #[arg(long, short)]
    force: bool,
}

/// Flags of `ca roots`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  keywheel ca roots roots.crt\n  keywheel ca roots --force roots.crt")]
pub(crate) struct RootsFlags {
    /// Where the root certificates go; without it, to stdout
    #[arg(value_name = "roots-file")]
    file: Option<PathBuf>,
    /// Overwrite files without asking
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    address: AddressFlags,
}

pub(crate) fn health(flags: &HealthFlags, setting: &Setting<'_>) -> Outcome {
    let address = flags.address.resolve("ca health", setting)?;
    let status = wait_for(async { Ok(access::health(&CaAccess::new(&address.url, address.root)?).await?) })?;
    setting.voice.result(&status)?;
    setting.voice.json(&json!({"status": status, "ca_url": address.url}))?;
    DONE
}

pub(crate) fn root(flags: &RootFlags, setting: &Setting<'_>) -> Outcome {
    let address = AddressFlags { ca_url: flags.ca_url.clone(), root: None };
    let url = address.url("ca root", setting)?;
    let Some(fingerprint) = flags.fingerprint.as_deref().filter(|text| !text.is_empty()) else {
        return Err(Failure::usage(format!("'{} ca root' requires the '--fingerprint' flag", setting.program)));
    };
    prompt::may_overwrite(flags.force, flags.file.as_deref())?;
    let pem = wait_for(async { Ok(access::root_by_fingerprint(&url, fingerprint).await?) })?;
    save(flags.file.as_deref(), vec![pem], "The root certificate has been saved in", setting)
}

pub(crate) fn roots(flags: &RootsFlags, setting: &Setting<'_>) -> Outcome {
    let address = flags.address.resolve("ca roots", setting)?;
    prompt::may_overwrite(flags.force, flags.file.as_deref())?;
    let roots = wait_for(async { Ok(access::roots(&CaAccess::new(&address.url, address.root)?).await?) })?;
    save(flags.file.as_deref(), roots, "The root certificate bundle has been saved in", setting)
}

fn save(file: Option<&Path>, certificates: Vec<String>, saved: &str, setting: &Setting<'_>) -> Outcome {
    let mut text = String::new();
    for pem in &certificates {
        text.push_str(pem.trim_end());
        text.push('\n');
    }
    match file {
        Some(path) => {
            files::replace(path, text.as_bytes(), Secrecy::Private)?;
            setting.voice.say(format!("{saved} {}.", path.display()));
        }
        None => setting.voice.result(text.trim_end())?,
    }
    setting.voice.json(&json!({"certificates": certificates, "file": file}))?;
    DONE
}
