//! The first contact with an authority: its root is fetched, compared with a fingerprint and kept.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use keywheel_core::fingerprint::CertificateDigest;
use keywheel_reach::files::write::Target;
use keywheel_wire::step::defaults_json::DefaultsJson;

use super::access::{self, CaAccess};
use super::error::ClientError;
use super::load;

/// Mode of the defaults: they hold no secret, and other users' programs may read them.
const READABLE: u32 = 0o644;

const PRIVATE: u32 = 0o600;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct BootstrapOptions {
    /// Where the authority is.
    pub url: String,
    /// The SHA-256 of its root certificate, in hexadecimal.
    pub fingerprint: String,
    /// Where the root goes (`certs/root_ca.crt`).
    pub root: PathBuf,
    /// Where the defaults go (`config/defaults.json`).
    pub defaults: PathBuf,
}

/// Everything that could be known beforehand was checked, the root was fetched; nothing was changed yet.
#[derive(Debug)]
pub struct BootstrapPlan {
    options: BootstrapOptions,
    root_pem: String,
    defaults_text: String,
    overwrites: Vec<PathBuf>,
}

/// Fetches the root without any trust and compares it with the fingerprint.
pub async fn check(options: &BootstrapOptions) -> Result<BootstrapPlan, ClientError> {
    let root_pem = access::root_by_fingerprint(&options.url, &options.fingerprint).await?;
    let access = CaAccess::new(&options.url, options.root.clone())?;
    let fingerprint =
        CertificateDigest::parse(options.fingerprint.trim()).map_err(|error| ClientError::Usage(error.to_string()))?;
    let unusable = |source| ClientError::Input { what: "the defaults", file: options.defaults.clone(), source };
    let mut defaults = if options.defaults.exists() {
        let text = load::content("the defaults", &options.defaults)?;
        DefaultsJson::parse(&String::from_utf8_lossy(&text)).map_err(|error| unusable(error.into()))?
    } else {
        DefaultsJson::default()
    };
    let root = std::path::absolute(&options.root).unwrap_or_else(|_| options.root.clone());
    defaults.set("ca-url", access.url());
    defaults.set("fingerprint", &fingerprint.to_string());
    defaults.set("root", &root.to_string_lossy());
    let defaults_text = defaults.to_text("  ");
    let changed = |file: &Path, content: &str| {
        file.exists()
            && std::fs::read(file).ok().is_none_or(|found| found.trim_ascii() != content.as_bytes().trim_ascii())
    };
    let mut overwrites = Vec::new();
    if changed(&options.root, &root_pem) {
        overwrites.push(options.root.clone());
    }
    if changed(&options.defaults, &defaults_text) {
        overwrites.push(options.defaults.clone());
    }
    Ok(BootstrapPlan { options: options.clone(), root_pem, defaults_text, overwrites })
}

impl BootstrapPlan {
    /// The files that exist with another content and will be replaced.
    pub fn overwrites(&self) -> &[PathBuf] {
        &self.overwrites
    }

    /// Writes the root and the defaults; other settings that the defaults hold stay.
    pub async fn run(self) -> Result<(), ClientError> {
        write(&self.options.root, PRIVATE, self.root_pem.as_bytes())?;
        write(&self.options.defaults, READABLE, self.defaults_text.as_bytes())
    }
}

fn write(file: &Path, mode: u32, content: &[u8]) -> Result<(), ClientError> {
    if let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| ClientError::Target { file: directory.to_owned(), source: source.into() })?;
    }
    Target::resolve(file, mode)
        .and_then(|target| target.replace(content))
        .map_err(|error| ClientError::Target { file: file.to_owned(), source: error.into() })
}
