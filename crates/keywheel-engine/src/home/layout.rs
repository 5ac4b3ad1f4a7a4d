//! Where everything of a home stands, and how it is written.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use keywheel_reach::files::write::{self as files, Target};

use super::content::Files;
use super::{InitError, InitOptions};

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// The files of a home, named as the reference names them.
pub(super) struct Layout {
    pub(super) home: PathBuf,
    pub(super) root: PathBuf,
    pub(super) root_key: PathBuf,
    pub(super) intermediate: PathBuf,
    pub(super) intermediate_key: PathBuf,
    /// The PIN of the token that holds the keys, where there is one.
    pub(super) pin: PathBuf,
    pub(super) ssh_host_key: PathBuf,
    pub(super) ssh_user_key: PathBuf,
    pub(super) ssh_host_pub: PathBuf,
    pub(super) ssh_user_pub: PathBuf,
    pub(super) ca_json: PathBuf,
    pub(super) defaults_json: PathBuf,
    pub(super) database: PathBuf,
    /// Says that `up` made this home.
    pub(super) marker: PathBuf,
}

impl Layout {
    pub(super) fn of(home: &Path) -> Self {
        let (certs, secrets, config) = (home.join("certs"), home.join("secrets"), home.join("config"));
        Self {
            root: certs.join("root_ca.crt"),
            intermediate: certs.join("intermediate_ca.crt"),
            ssh_host_pub: certs.join("ssh_host_ca_key.pub"),
            ssh_user_pub: certs.join("ssh_user_ca_key.pub"),
            root_key: secrets.join("root_ca_key"),
            intermediate_key: secrets.join("intermediate_ca_key"),
            pin: secrets.join("pkcs11_pin"),
            ssh_host_key: secrets.join("ssh_host_ca_key"),
            ssh_user_key: secrets.join("ssh_user_ca_key"),
            ca_json: config.join("ca.json"),
            defaults_json: config.join("defaults.json"),
            database: home.join("db").join("keywheel.db"),
            marker: home.join(".made-by-keywheel-up"),
            home: home.to_owned(),
        }
    }

    /// Every file that an init writes.
    pub(super) fn all(&self, ssh: bool) -> Vec<PathBuf> {
        let mut all = vec![
            self.root.clone(),
            self.root_key.clone(),
            self.intermediate.clone(),
            self.intermediate_key.clone(),
            self.pin.clone(),
            self.ca_json.clone(),
            self.defaults_json.clone(),
        ];
        if ssh {
            all.extend(
                [&self.ssh_host_key, &self.ssh_user_key, &self.ssh_host_pub, &self.ssh_user_pub].map(Clone::clone),
            );
        }
        all
    }
}

/// Writes all files: the mark of `up` first and `ca.json` last, so that a crash in between is told from a finished home.
pub(super) fn write(layout: &Layout, options: &InitOptions, files: &Files) -> Result<(), InitError> {
    for name in ["", "certs", "secrets", "config", "db"] {
        let path = if name.is_empty() { layout.home.clone() } else { layout.home.join(name) };
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|source| InitError::Write { path, source: Box::new(source) })?;
    }
    if options.made_by_up {
        put(&layout.marker, b"This home was made by keywheel up, which serves no other.\n", PRIVATE)?;
    }
    for (path, secret) in &files.secrets {
        put(path, secret.as_bytes(), PRIVATE)?;
    }
    put(&layout.root, files.root.as_bytes(), PRIVATE)?;
    put(&layout.intermediate, files.intermediate.as_bytes(), PRIVATE)?;
    if let Some(ssh) = &files.ssh {
        put(&layout.ssh_host_pub, ssh.host_pub.as_bytes(), PRIVATE)?;
        put(&layout.ssh_user_pub, ssh.user_pub.as_bytes(), PRIVATE)?;
    }
    put(&layout.defaults_json, files.defaults_json.as_bytes(), PUBLIC)?;
    put(&layout.ca_json, files.ca_json.as_bytes(), PUBLIC)
}

fn put(path: &Path, content: &[u8], mode: u32) -> Result<(), InitError> {
    let failed = |source: files::WriteError| InitError::Write { path: path.to_owned(), source: Box::new(source) };
    Target::resolve(path, mode).map_err(failed)?.replace(content).map_err(failed)
}
