//! The home of a CA on disk: making one, and the first use of `up`.

mod ceremony;
mod content;
pub mod kept;
mod layout;
pub mod token;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use keywheel_wire::private_key::KeyKind;
use zeroize::Zeroizing;

use content::{CaKeys, Keys};
use layout::{Layout, write};
use token::{Names, TokenOptions};

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
    /// Encrypts the keys of root and issuer (and of the SSH CA), where they are files.
    pub password: Zeroizing<Vec<u8>>,
    /// Encrypts the provisioner's key; absent: the same password.
    pub provisioner_password: Option<Zeroizing<Vec<u8>>>,
    /// Key of root and issuer.
    pub key_kind: KeyKind,
    /// The token to make the keys in; absent: files.
    pub token: Option<TokenOptions>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitReport {
    /// SHA-256 of the root certificate, hexadecimal.
    pub fingerprint: String,
    /// The root certificate file.
    pub root: PathBuf,
    /// The root's key: its file, or its URI in a token.
    pub root_key: String,
    /// The issuing CA's certificate file.
    pub intermediate: PathBuf,
    /// The issuing CA's key: its file, or its URI in a token.
    pub intermediate_key: String,
    /// The file with the PIN of the token, where one was made.
    pub pin: Option<PathBuf>,
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
    /// The token wants its PIN.
    #[error(
        "the token '{token}' wants its PIN: add ?pin-source= with the path of a file that holds it to --kms; nothing was written"
    )]
    PinRequired {
        /// The label of the token.
        token: String,
    },
    /// The token cannot be used.
    #[error("the keys were not made in the token; nothing was written")]
    Token(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Keys that were made could not be deleted again.
    #[error("the CA was not made, and the new keys {keys} are still in the token: delete them before the next try")]
    KeysLeft {
        /// Which.
        keys: String,
        /// What went wrong first.
        #[source]
        source: Box<InitError>,
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
///
/// # Errors
/// Where an option is wrong, a file is there already, or something cannot be made or written.
pub fn init(options: &InitOptions, now: Timestamp) -> Result<InitReport, InitError> {
    check(options)?;
    let home = std::path::absolute(&options.home)
        .map_err(|source| InitError::Write { path: options.home.clone(), source: Box::new(source) })?;
    let layout = Layout::of(&home);
    let force = options.force || is_unfinished(&layout);
    if !force && let Some(path) = layout.all(options.ssh).into_iter().find(|path| path.exists()) {
        return Err(InitError::Exists { path });
    }
    let names = options.token.as_ref().map(|token| Names::of(token, options.ssh, &layout)).transpose()?;
    let ca_json = content::ca_json(options, &layout, names.as_ref())?;
    let keys = match (&options.token, &names) {
        (Some(token), Some(names)) => CaKeys::Token(Box::new(Keys::make(token, names, options.key_kind)?)),
        _ => CaKeys::generate(options)?,
    };
    let pin = names.as_ref().and_then(|names| names.pin.clone());
    let has_pin = pin.is_some();
    let written = content::contents(options, &layout, &ca_json, &keys, now).and_then(|mut files| {
        files.secrets.extend(pin.map(|pin| (layout.pin.clone(), pin)));
        write(&layout, options, &files).map(|()| files)
    });
    let files = match (written, keys) {
        (Ok(files), _) => files,
        (Err(error), CaKeys::Token(keys)) => return Err(keys.undo(error)),
        (Err(error), CaKeys::Files(_)) => return Err(error),
    };
    let place = |uri: Option<String>, file: &Path| uri.unwrap_or_else(|| file.to_string_lossy().into_owned());
    let names = names.as_ref();
    Ok(InitReport {
        fingerprint: files.fingerprint,
        root_key: place(names.map(|names| names.root.to_string()), &layout.root_key),
        intermediate_key: place(names.map(|names| names.intermediate.to_string()), &layout.intermediate_key),
        pin: has_pin.then_some(layout.pin),
        root: layout.root,
        intermediate: layout.intermediate,
        ca_json: layout.ca_json,
        defaults_json: layout.defaults_json,
        ssh: options.ssh.then_some((layout.ssh_host_pub, layout.ssh_user_pub)),
        ca_url: files.ca_url,
    })
}

/// Says what `up` finds in `home`. A home that `up` began and did not finish is fresh: nothing of it was used yet.
///
/// # Errors
/// Where the folder cannot be read.
pub fn first_use(home: &Path) -> std::io::Result<FirstUse> {
    match std::fs::read_dir(home) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(FirstUse::Fresh),
        Err(error) => Err(error),
        Ok(mut entries) => {
            let layout = Layout::of(home);
            if entries.next().is_none() || is_unfinished(&layout) {
                return Ok(FirstUse::Fresh);
            }
            Ok(if layout.marker.try_exists()? { FirstUse::Ours } else { FirstUse::Foreign })
        }
    }
}

/// `ca.json` is written last: where only the mark of `up` is there, a crash cut the making.
fn is_unfinished(layout: &Layout) -> bool {
    layout.marker.exists() && !layout.ca_json.exists()
}

fn check(options: &InitOptions) -> Result<(), InitError> {
    let invalid = |text: &str| Err(InitError::Invalid(text.to_owned()));
    if options.name.trim().is_empty() {
        return invalid("the CA needs a name");
    }
    if options.name.chars().count() > 64 - " Intermediate CA".len() {
        return invalid("the name of the CA is longer than 48 characters");
    }
    if options.dns_names.iter().all(|name| name.trim().is_empty()) {
        return invalid("the CA needs at least one DNS name or address");
    }
    if port(&options.address).is_none() {
        return invalid("the address is not host:port, for example \":443\" or \"127.0.0.1:8443\"");
    }
    if options.provisioner.trim().is_empty() {
        return invalid("the first provisioner needs a name");
    }
    if options.password.is_empty() {
        return invalid("the password of the CA's keys must not be empty");
    }
    if options.provisioner_password.as_ref().is_some_and(|password| password.is_empty()) {
        return invalid("the password of the provisioner's key must not be empty");
    }
    Ok(())
}

/// The port of `host:port`.
fn port(address: &str) -> Option<u16> {
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use keywheel_signer::file_key::FileKey;
    use keywheel_wire::step::ca_json::CaJson;
    use keywheel_wire::x509::certificate::Certificate;

    fn options(home: &Path) -> InitOptions {
        InitOptions {
            home: home.to_owned(),
            name: "Lab".into(),
            dns_names: vec!["ca.lab".into(), "::1".into()],
            address: ":9443".into(),
            ca_url: None,
            provisioner: "admin@lab".into(),
            password: Zeroizing::new(b"secret".to_vec()),
            provisioner_password: Some(Zeroizing::new(b"other".to_vec())),
            key_kind: KeyKind::EcP256,
            token: None,
            ssh: true,
            database: None,
            force: false,
            made_by_up: false,
        }
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_home_has_the_reference_layout_and_its_keys_open_with_their_passwords() {
        let place = tempfile::tempdir().unwrap();
        let home = place.path().join("step");
        let report = init(&options(&home), Timestamp::now()).unwrap();
        assert_eq!(report.ca_url, "https://ca.lab:9443");
        for folder in ["", "certs", "secrets", "config", "db"] {
            assert_eq!(mode(&home.join(folder)), 0o700, "{folder}");
        }
        for file in [&report.root, &report.intermediate] {
            assert_eq!(mode(file), 0o600);
        }
        for file in [&report.root_key, &report.intermediate_key] {
            assert_eq!(mode(Path::new(file)), 0o600);
        }
        assert_eq!(mode(&report.ca_json), 0o644);
        assert_eq!(mode(&report.defaults_json), 0o644);

        let root = Certificate::from_pem(&std::fs::read(&report.root).unwrap()).unwrap();
        assert_eq!(root.digest().to_string(), report.fingerprint);
        assert_eq!(root.subject().to_string(), "CN=Lab Root CA,O=Lab");
        assert_eq!(root.parts().basic_constraints().unwrap().unwrap().path_len, Some(1));
        let defaults = std::fs::read_to_string(&report.defaults_json).unwrap();
        assert!(defaults.contains(&format!("\t\"fingerprint\": \"{}\"", report.fingerprint)), "{defaults}");
        let config = CaJson::parse(&std::fs::read_to_string(&report.ca_json).unwrap()).unwrap();
        config.validate().unwrap();
        assert_eq!(config.settings().unwrap().dns_names, ["ca.lab", "::1"]);
        assert_eq!(config.provisioners().unwrap().len(), 2);
        let (host, _) = report.ssh.unwrap();
        assert!(std::fs::read_to_string(host).unwrap().starts_with("ecdsa-sha2-nistp256 "));

        let openssl = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let (root, key) = (report.root.to_str().unwrap(), report.intermediate_key.as_str());
        let intermediate = report.intermediate.to_str().unwrap();
        openssl(&["verify", "-x509_strict", "-CAfile", root, intermediate]);
        let public = openssl(&["pkey", "-in", key, "-passin", "pass:secret", "-pubout"]);
        assert_eq!(openssl(&["x509", "-in", intermediate, "-noout", "-pubkey"]), public);
    }

    #[test]
    fn a_home_is_not_made_over_another() {
        let place = tempfile::tempdir().unwrap();
        let options = options(place.path());
        let first = init(&options, Timestamp::now()).unwrap();
        let before = std::fs::read(&first.root).unwrap();
        assert!(matches!(init(&options, Timestamp::now()), Err(InitError::Exists { .. })));
        assert_eq!(std::fs::read(&first.root).unwrap(), before);
        let forced = InitOptions { force: true, ..options };
        assert_ne!(init(&forced, Timestamp::now()).unwrap().fingerprint, first.fingerprint);
    }

    #[test]
    fn every_kind_of_ca_key_makes_a_chain() {
        for kind in [KeyKind::EcP384, KeyKind::Ed25519, KeyKind::Rsa(2048)] {
            let keys = [FileKey::generate(kind).unwrap(), FileKey::generate(kind).unwrap()];
            ceremony::pair("Lab", &keys[0], &keys[1], Timestamp::now()).unwrap();
        }
    }

    #[test]
    fn wrong_options_write_nothing() {
        let place = tempfile::tempdir().unwrap();
        let home = place.path().join("step");
        let wrong = [
            InitOptions { name: " ".into(), ..options(&home) },
            InitOptions { name: "x".repeat(60), ..options(&home) },
            InitOptions { dns_names: Vec::new(), ..options(&home) },
            InitOptions { address: "nowhere".into(), ..options(&home) },
            InitOptions { provisioner: String::new(), ..options(&home) },
            InitOptions { password: Zeroizing::new(Vec::new()), ..options(&home) },
            InitOptions { database: Some("mysql://x".into()), ..options(&home) },
        ];
        for options in &wrong {
            assert!(matches!(init(options, Timestamp::now()), Err(InitError::Invalid(_))));
            assert!(!home.exists());
        }
    }

    #[test]
    fn up_serves_only_homes_that_it_made_and_begins_again_where_a_crash_cut_it() {
        let place = tempfile::tempdir().unwrap();
        let (fresh, ours, foreign) = (place.path().join("a"), place.path().join("b"), place.path().join("c"));
        assert_eq!(first_use(&fresh).unwrap(), FirstUse::Fresh);
        let made_by_up = InitOptions { made_by_up: true, ..options(&ours) };
        let report = init(&made_by_up, Timestamp::now()).unwrap();
        assert_eq!(first_use(&ours).unwrap(), FirstUse::Ours);
        init(&options(&foreign), Timestamp::now()).unwrap();
        assert_eq!(first_use(&foreign).unwrap(), FirstUse::Foreign);
        std::fs::remove_file(report.ca_json).unwrap();
        assert_eq!(first_use(&ours).unwrap(), FirstUse::Fresh);
        init(&made_by_up, Timestamp::now()).unwrap();
        assert_eq!(first_use(&ours).unwrap(), FirstUse::Ours);
    }
}
