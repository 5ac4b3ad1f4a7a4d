//! What the files of a new home hold.

use jiff::Timestamp;
use keywheel_core::provisioner::RekeyPolicy;
use keywheel_signer::file_key::FileKey;
use keywheel_signer::random;
use keywheel_wire::jose::jwe::{self, Randomness};
use keywheel_wire::jose::jwk::PrivateJwk;
use keywheel_wire::private_key::{Encoding, KeyKind};
use keywheel_wire::signer::Signer;
use keywheel_wire::ssh;
use keywheel_wire::step::ca_json::{CaJson, rekey_settings};
use keywheel_wire::step::defaults_json::DefaultsJson;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::ceremony::{self, Member};
use super::layout::Layout;
use super::{InitError, InitOptions, port};

/// The texts of all files.
pub(super) struct Files {
    pub(super) fingerprint: String,
    pub(super) ca_url: String,
    pub(super) root: String,
    pub(super) root_key: Zeroizing<String>,
    pub(super) intermediate: String,
    pub(super) intermediate_key: Zeroizing<String>,
    pub(super) ssh: Option<Ssh>,
    pub(super) ca_json: String,
    pub(super) defaults_json: String,
}

/// The keys of an SSH CA.
pub(super) struct Ssh {
    pub(super) host_key: Zeroizing<String>,
    pub(super) user_key: Zeroizing<String>,
    pub(super) host_pub: String,
    pub(super) user_pub: String,
}

/// Makes all keys and certificates, and the texts of all files.
pub(super) fn contents(options: &InitOptions, layout: &Layout, now: Timestamp) -> Result<Files, InitError> {
    let pair = ceremony::pair(&options.name, options.key_kind, now).map_err(|error| make("the CA", error))?;
    let fingerprint = pair.root.certificate.digest().to_string();
    let ca_url = url(options);
    let ca_json = ca_json(options, layout)?;
    let mut defaults = DefaultsJson::default();
    defaults.set("ca-url", &ca_url);
    defaults.set("ca-config", &layout.ca_json.to_string_lossy());
    defaults.set("fingerprint", &fingerprint);
    defaults.set("root", &layout.root.to_string_lossy());
    Ok(Files {
        fingerprint,
        ca_url,
        root: pair.root.certificate.to_pem(),
        root_key: member_key(&pair.root, options)?,
        intermediate: pair.intermediate.certificate.to_pem(),
        intermediate_key: member_key(&pair.intermediate, options)?,
        ssh: if options.ssh { Some(ssh_keys(options)?) } else { None },
        ca_json: ca_json.to_text(),
        defaults_json: defaults.to_text("\t"),
    })
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

fn member_key(member: &Member, options: &InitOptions) -> Result<Zeroizing<String>, InitError> {
    encrypted(&member.key, options)
}

fn encrypted(key: &FileKey, options: &InitOptions) -> Result<Zeroizing<String>, InitError> {
    key.to_pem(Encoding::Pkcs8, Some(options.password.as_slice())).map_err(|error| make("an encrypted key", error))
}

fn ssh_keys(options: &InitOptions) -> Result<Ssh, InitError> {
    let generate = || FileKey::generate(KeyKind::EcP256).map_err(|error| make("an SSH key", error));
    let (host, user) = (generate()?, generate()?);
    let line =
        |key: &FileKey| ssh::public_key_line(key.public_key(), "").map_err(|error| make("an SSH public key", error));
    Ok(Ssh {
        host_pub: line(&host)?,
        user_pub: line(&user)?,
        host_key: encrypted(&host, options)?,
        user_key: encrypted(&user, options)?,
    })
}

fn ca_json(options: &InitOptions, layout: &Layout) -> Result<CaJson, InitError> {
    let text = |path: &std::path::Path| Value::from(path.to_string_lossy().into_owned());
    let mut provisioners = vec![jwk_provisioner(options)?];
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
    put("root", text(&layout.root));
    put("federatedRoots", Value::Null);
    put("crt", text(&layout.intermediate));
    put("key", text(&layout.intermediate_key));
    put("address", Value::from(options.address.as_str()));
    put("insecureAddress", Value::from(""));
    put("dnsNames", Value::from(options.dns_names.clone()));
    if options.ssh {
        put("ssh", json!({ "hostKey": text(&layout.ssh_host_key), "userKey": text(&layout.ssh_user_key) }));
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
