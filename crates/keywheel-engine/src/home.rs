//! The home of a CA on disk: making one, and the first use of `up`.

use std::path::PathBuf;

use jiff::Timestamp;
use keywheel_wire::private_key::KeyKind;
use zeroize::Zeroizing;

/// What a new home shall hold.
pub struct InitOptions {
    /// The folder (`$STEPPATH`).
    pub home: PathBuf,
    /// The name of the CA: `<name> Root CA`.
    pub name: String,
    /// Names and addresses under which the CA is reached; the first makes the URL of `defaults.json`.
    pub dns_names: Vec<String>,
    /// Where the CA listens (`:443`, `127.0.0.1:8443`).
    pub address: String,
    /// The URL for `defaults.json`, where it is not made from the first name and the port.
    pub ca_url: Option<String>,
    /// The name of the first JWK provisioner.
    pub provisioner: String,
    /// Encrypts the keys of root and issuer (and of the SSH CA).
    pub password: Zeroizing<Vec<u8>>,
    /// Encrypts the provisioner's key; absent: the same password.
    pub provisioner_password: Option<Zeroizing<Vec<u8>>>,
    /// Key of root and issuer.
    pub key_kind: KeyKind,
    /// Make the keys of an SSH CA too.
    pub ssh: bool,
    /// The database for `ca.json` (`sqlite:<path>` or `postgres://…`); absent: `sqlite:<home>/db/keywheel.db`.
    pub database: Option<String>,
    /// Replace what an earlier init left; else existing files are refused.
    pub force: bool,
    /// Mark the home as made by `up`.
    pub made_by_up: bool,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct InitReport {
    /// SHA-256 of the root certificate, hexadecimal.
    pub fingerprint: String,
    /// The root certificate file.
    pub root: PathBuf,
    /// The root's key file.
    pub root_key: PathBuf,
    /// The issuing CA's certificate file.
    pub intermediate: PathBuf,
    /// The issuing CA's key file.
    pub intermediate_key: PathBuf,
    /// `config/ca.json`.
    pub ca_json: PathBuf,
    /// `config/defaults.json`.
    pub defaults_json: PathBuf,
    /// Public keys of the SSH CA (host, user), where made.
    pub ssh: Option<(PathBuf, PathBuf)>,
    /// The URL of the CA.
    pub ca_url: String,
}

/// What `up` finds in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstUse {
    /// Nothing there: make a home.
    Fresh,
    /// A home that `up` made.
    Ours,
    /// Something else is there: `up` does not touch it.
    Foreign,
}

/// Why a home could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// An option is wrong.
    #[error("{0}; nothing was written")]
    Invalid(String),
    /// A file is there already.
    #[error("{path} exists already; nothing was written: choose another folder or use --force")]
    Exists {
        /// The first such file.
        path: PathBuf,
    },
    /// A key or certificate could not be made.
    #[error("making {what} failed; nothing was written")]
    Make {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file could not be written.
    #[error("cannot write {path}; the home is incomplete: remove it and start again")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Makes the home of a new CA: keys, certificates, `ca.json` and `defaults.json`. Blocking: derives keys from passwords.
pub fn init(_options: &InitOptions, _now: Timestamp) -> Result<InitReport, InitError> {
    todo!()
}

/// Says what `up` finds in `home`.
pub fn first_use(_home: &std::path::Path) -> std::io::Result<FirstUse> {
    todo!()
}
