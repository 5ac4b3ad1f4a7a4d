//! What the files of a new home hold.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use keywheel_core::provisioner::RekeyPolicy;
use keywheel_signer::file_key::FileKey;
use keywheel_signer::pkcs11::key::TokenKey;
use keywheel_signer::random;
use keywheel_wire::jose::jwe::{self, Randomness};
use keywheel_wire::jose::jwk::PrivateJwk;
use keywheel_wire::pkcs11::uri::Pkcs11Uri;
use keywheel_wire::private_key::{Encoding, KeyKind};
use keywheel_wire::signer::Signer;
use keywheel_wire::ssh;
use keywheel_wire::step::ca_json::{CaJson, rekey_settings};
use keywheel_wire::step::defaults_json::DefaultsJson;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::ceremony;
use super::layout::Layout;
use super::token::Names;
use super::{InitError, InitOptions, port};

/// The texts of all files.
pub(super) struct Files {
    pub(super) fingerprint: String,
    pub(super) ca_url: String,
    pub(super) root: String,
    pub(super) intermediate: String,
    /// Keys and the PIN, each with its file.
    pub(super) secrets: Vec<(PathBuf, Zeroizing<String>)>,
    pub(super) ssh: Option<Ssh>,
    pub(super) ca_json: String,
    pub(super) defaults_json: String,
}

/// The public keys of an SSH CA.
pub(super) struct Ssh {
    pub(super) host_pub: String,
    pub(super) user_pub: String,
}

/// The keys of a new CA.
pub(super) struct Keys<K> {
    pub(super) root: K,
    pub(super) intermediate: K,
    /// Those of the SSH CA, for hosts and for users.
    pub(super) ssh: Option<(K, K)>,
}

/// The same, and where they are or shall be.
pub(super) enum CaKeys {
    /// To be written to files.
    Files(Box<Keys<FileKey>>),
    /// Made in a token.
    Token(Box<Keys<TokenKey>>),
}

/// Those who sign with two keys.
type Signers<'a> = (&'a dyn Signer, &'a dyn Signer);

impl<K: Signer> Keys<K> {
    fn signers(&self) -> (Signers<'_>, Option<Signers<'_>>) {
        let ssh = self.ssh.as_ref().map(|(host, user)| (host as &dyn Signer, user as &dyn Signer));
        ((&self.root, &self.intermediate), ssh)
    }
}

impl CaKeys {
    /// Makes keys that are to be written to files.
    pub(super) fn generate(options: &InitOptions) -> Result<Self, InitError> {
        let ca = || FileKey::generate(options.key_kind).map_err(|error| make("the CA", error));
        let ssh = || FileKey::generate(KeyKind::EcP256).map_err(|error| make("an SSH key", error));
        let both = options.ssh.then(|| Ok((ssh()?, ssh()?))).transpose()?;
        Ok(Self::Files(Box::new(Keys { root: ca()?, intermediate: ca()?, ssh: both })))
    }

    /// Root and intermediate, then hosts and users.
    fn signers(&self) -> (Signers<'_>, Option<Signers<'_>>) {
        match self {
            Self::Files(keys) => keys.signers(),
            Self::Token(keys) => keys.signers(),
        }
    }
}

/// Certifies the keys, and makes the texts of all files.
pub(super) fn contents(
    options: &InitOptions,
    layout: &Layout,
    ca_json: &CaJson,
    keys: &CaKeys,
    now: Timestamp,
) -> Result<Files, InitError> {
    let ((root, intermediate), ssh) = keys.signers();
    let pair = ceremony::pair(&options.name, root, intermediate, now).map_err(|error| make("the CA", error))?;
    let fingerprint = pair.root.digest().to_string();
    let ca_url = url(options);
    let mut defaults = DefaultsJson::default();
    defaults.set("ca-url", &ca_url);
    defaults.set("ca-config", &layout.ca_json.to_string_lossy());
    defaults.set("fingerprint", &fingerprint);
    defaults.set("root", &layout.root.to_string_lossy());
    let line =
        |key: &dyn Signer| ssh::public_key_line(key.public_key(), "").map_err(|error| make("an SSH public key", error));
    let ssh = ssh.map(|(host, user)| Ok(Ssh { host_pub: line(host)?, user_pub: line(user)? })).transpose()?;
    Ok(Files {
        fingerprint,
        ca_url,
        root: pair.root.to_pem(),
        intermediate: pair.intermediate.to_pem(),
        secrets: secrets(options, layout, keys)?,
        ssh,
        ca_json: ca_json.to_text(),
        defaults_json: defaults.to_text("\t"),
    })
}

/// The files that nobody else may read.
fn secrets(
    options: &InitOptions,
    layout: &Layout,
    keys: &CaKeys,
) -> Result<Vec<(PathBuf, Zeroizing<String>)>, InitError> {
    let CaKeys::Files(keys) = keys else { return Ok(Vec::new()) };
    let mut files = vec![(&layout.root_key, &keys.root), (&layout.intermediate_key, &keys.intermediate)];
    if let Some((host, user)) = &keys.ssh {
        files.extend([(&layout.ssh_host_key, host), (&layout.ssh_user_key, user)]);
    }
    files.into_iter().map(|(path, key)| Ok((path.clone(), encrypted(key, options)?))).collect()
}

fn make(what: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> InitError {
    InitError::Make { what, source: Box::new(source) }
}

fn url(options: &InitOptions) -> String {
    if let Some(url) = &options.ca_url {
        return url.clone();
    }
    let host = options.dns_names.iter().find(|name| !name.trim().is_empty()).map_or("localhost", String::as_str);
    // An IPv6 address stands in brackets in a URL.
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    match port(&options.address) {
        None | Some(443) => format!("https://{host}"),
        Some(port) => format!("https://{host}:{port}"),
    }
}

fn encrypted(key: &FileKey, options: &InitOptions) -> Result<Zeroizing<String>, InitError> {
    key.to_pem(Encoding::Pkcs8, Some(options.password.as_slice())).map_err(|error| make("an encrypted key", error))
}

/// `ca.json`, which is checked before any key is made.
pub(super) fn ca_json(options: &InitOptions, layout: &Layout, names: Option<&Names>) -> Result<CaJson, InitError> {
    let text = |path: &Path| Value::from(path.to_string_lossy().into_owned());
    let uri = |uri: &Pkcs11Uri| Value::from(uri.to_string());
    let mut provisioners = vec![jwk_provisioner(options)?];
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
    put("root", text(&layout.root));
    put("federatedRoots", Value::Null);
    put("crt", text(&layout.intermediate));
    put("key", names.map_or_else(|| text(&layout.intermediate_key), |names| uri(&names.intermediate)));
    put("address", Value::from(options.address.as_str()));
    put("insecureAddress", Value::from(""));
    put("dnsNames", Value::from(options.dns_names.clone()));
    if let Some(names) = names {
        put("kms", json!({ "type": "pkcs11", "uri": names.token.to_string() }));
    }
    if options.ssh {
        let (host, user) = match names.and_then(|names| names.ssh.as_ref()) {
            Some((host, user)) => (uri(host), uri(user)),
            None => (text(&layout.ssh_host_key), text(&layout.ssh_user_key)),
        };
        put("ssh", json!({ "hostKey": host, "userKey": user }));
        provisioners.push(json!({ "type": "SSHPOP", "name": "sshpop", "claims": { "enableSSHCA": true } }));
    }
    put("logger", json!({ "format": "text" }));
    put("authority", json!({ "provisioners": provisioners }));
    put(
        "tls",
        json!({
            "cipherSuites": ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"],
            "minVersion": 1.2,
            "maxVersion": 1.3,
            "renegotiation": false
        }),
    );
    let database = options.database.clone().unwrap_or_else(|| format!("sqlite:{}", layout.database.display()));
    // The reference's own `crl` would make its CA want a database of its own kind; ours stands with our settings.
    put("keywheel", json!({ "database": database, "crl": true }));
    let ca_json = CaJson::from_document(document);
    ca_json.validate().map_err(|error| InitError::Invalid(error.to_string()))?;
    Ok(ca_json)
}

fn jwk_provisioner(options: &InitOptions) -> Result<Value, InitError> {
    let key = FileKey::generate(KeyKind::EcP256).map_err(|error| make("the provisioner's key", error))?;
    let jwk = PrivateJwk::from_private_key(key.private_key()).map_err(|error| make("the provisioner's key", error))?;
    let plain = jwk.to_json().map_err(|error| make("the provisioner's key", error))?;
    let chance = || {
        let content_key = Zeroizing::new(random::bytes::<32>()?);
        Ok::<_, random::NoRandomness>(Randomness { salt: random::bytes()?, content_key, nonce: random::bytes()? })
    };
    let chance = chance().map_err(|error| make("the provisioner's key", error))?;
    let password = options.provisioner_password.as_ref().unwrap_or(&options.password);
    let encrypted = jwe::encrypt(plain.as_bytes(), password, "jwk+json", &chance)
        .map_err(|error| make("the provisioner's encrypted key", error))?;
    let mut provisioner = Map::new();
    provisioner.insert("type".to_owned(), Value::from("JWK"));
    provisioner.insert("name".to_owned(), Value::from(options.provisioner.as_str()));
    provisioner.insert("key".to_owned(), Value::Object(jwk.public().to_object()));
    provisioner.insert("encryptedKey".to_owned(), Value::from(encrypted));
    if options.ssh {
        provisioner.insert("claims".to_owned(), json!({ "enableSSHCA": true }));
    }
    provisioner.insert("keywheel".to_owned(), Value::Object(rekey_settings(RekeyPolicy::RECOMMENDED)));
    Ok(Value::Object(provisioner))
}
