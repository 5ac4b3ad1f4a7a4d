//! `ca.json` as the administration commands edit it: everything that is not understood stays as it is.

use std::path::{Path, PathBuf};

use keywheel_engine::home::kept;
use keywheel_wire::step::ca_json::CaJson;
use keywheel_wire::x509::certificate::Certificate;

use crate::commands::Setting;
use crate::commands::files::{self, Secrecy};
use crate::failure::{Classed, Failure, Outcome};

/// The configuration of a CA, and where it came from.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where it came from.
    pub(crate) path: PathBuf,
    /// What it says.
    pub(crate) json: CaJson,
}

impl Config {
    /// Reads the file that a flag names, or that of the home.
    pub(crate) fn read(flag: Option<&Path>, setting: &Setting<'_>) -> Outcome<Self> {
        let path = flag.map_or_else(|| setting.home.ca_json(), Path::to_owned);
        let doing = || format!("read the CA configuration {}", path.display());
        let text = std::fs::read_to_string(&path).or_usage(doing).map_err(|failure| {
            if path.exists() {
                return failure;
            }
            failure
                .hint(format!("make a CA with '{program} ca init', or try '{program} up'", program = setting.program))
        })?;
        // Another program may have dropped our own settings; a change that is written brings them back.
        let text = kept::restored(&path, &text).unwrap_or(text);
        let json = CaJson::parse(&text).or_usage(doing)?;
        Ok(Self { path, json })
    }

    /// Checks what was changed, and replaces the file whole or not at all.
    pub(crate) fn write(&self, setting: &Setting<'_>) -> Outcome<()> {
        self.json.validate().or_usage(|| format!("{} would be wrong, nothing was changed", self.path.display()))?;
        files::replace(&self.path, self.json.to_text().as_bytes(), Secrecy::Public)?;
        setting
            .voice
            .say(format!("{} was changed; a running CA takes it over when it gets SIGHUP", self.path.display()));
        Ok(())
    }

    /// The first of its DNS names, which tokens are addressed to.
    pub(crate) fn first_name(&self) -> Outcome<String> {
        self.json
            .document()
            .get("dnsNames")
            .and_then(|names| Some(names.get(0)?.as_str()?.to_owned()))
            .ok_or_else(|| Failure::usage(format!("{} names no dnsNames", self.path.display())))
    }

    /// The SHA-256 of its first root, hexadecimal.
    pub(crate) fn root_fingerprint(&self) -> Outcome<String> {
        let root = self.json.document().get("root");
        let path = root.and_then(|root| root.get(0).or(Some(root))?.as_str());
        let path = path.ok_or_else(|| Failure::usage(format!("{} names no root", self.path.display())))?;
        let root = Certificate::from_pem(&files::read(Path::new(path))?)
            .or_usage(|| format!("read the root certificate {path}"))?;
        Ok(root.digest().to_string())
    }
}
