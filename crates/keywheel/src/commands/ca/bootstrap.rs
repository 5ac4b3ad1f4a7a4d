//! `ca bootstrap`: trust a CA by the fingerprint of its root, and remember where it is.

use std::path::PathBuf;

use clap::Args;
use keywheel_engine::client::bootstrap::{self, BootstrapOptions};
use serde_json::json;

use super::address::AddressFlags;
use crate::commands::files;
use crate::commands::{DONE, Setting, wait_for};
use crate::failure::{Failure, Outcome};
use crate::prompt;

/// Flags of `ca bootstrap`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  keywheel ca bootstrap --ca-url https://ca.example.com:9000 --fingerprint 0d7d3834cf187726cf331c40a31aa7ef6b29ba4df601416c9788f6ee01058cf3"
)]
pub(crate) struct Flags {
    /// The URL of the CA
    #[arg(long, value_name = "URI")]
    ca_url: Option<String>,
    /// The SHA-256 fingerprint of its root certificate, hexadecimal
    #[arg(long, value_name = "fingerprint")]
    fingerprint: Option<String>,
    /// Overwrite files without asking
    #[arg(long, short)]
    force: bool,
}

pub(crate) fn run(flags: &Flags, setting: &Setting<'_>) -> Outcome {
    let address = AddressFlags { ca_url: flags.ca_url.clone(), root: None };
    let url = address.url("ca bootstrap", setting)?;
    let Some(fingerprint) = flags.fingerprint.clone().filter(|text| !text.is_empty()) else {
        return Err(Failure::usage(format!("'{} ca bootstrap' requires the '--fingerprint' flag", setting.program)));
    };
    let options = BootstrapOptions {
        url: url.clone(),
        fingerprint,
        root: setting.home.root_certificate(),
        defaults: setting.home.defaults_json(),
    };
    for file in [&options.root, &options.defaults] {
        if let Some(folder) = file.parent() {
            files::make_private_folder(folder)?;
        }
    }
    wait_for(async {
        let plan = bootstrap::check(&options).await?;
        prompt::may_overwrite(flags.force, plan.overwrites().iter().map(PathBuf::as_path))?;
        Ok(plan.run().await?)
    })?;
    setting.voice.say(format!("The root certificate has been saved in {}.", options.root.display()));
    setting.voice.say(format!("The authority configuration has been saved in {}.", options.defaults.display()));
    if let Some(name) = setting.home.remember_context()? {
        setting.voice.say(format!("The context '{name}' is the current one now."));
    }
    setting.voice.json(&json!({
        "ca_url": url,
        "fingerprint": options.fingerprint,
        "root": options.root,
        "defaults_json": options.defaults,
    }))?;
    DONE
}
