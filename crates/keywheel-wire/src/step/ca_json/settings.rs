//! The settings in a `ca.json` outside its provisioners, typed.

use jiff::SignedDuration;
use keywheel_core::claims::Claims;
use serde_json::Value;
use zeroize::Zeroizing;

use super::fields::{CaJsonError, Fields};
use super::{CaJson, provisioners};
use crate::pkcs11::uri::{Pin, Pkcs11Uri, is_pkcs11};

/// Everything in a `ca.json` that is not a provisioner or a policy.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Files of the root certificates.
    pub roots: Vec<String>,
    /// Files of the roots of federated CAs.
    pub federated_roots: Vec<String>,
    /// File of the intermediate certificate (and those above it).
    pub certificate: String,
    /// File or URI of the intermediate's key.
    pub key: String,
    /// The same where it is in a token: which token, which key, and where the PIN is.
    pub key_in_token: Option<Pkcs11Uri>,
    /// Where to listen with TLS: `host:port` or `:port`.
    pub address: String,
    /// Where to listen without TLS; the CRL is served there.
    pub insecure_address: Option<String>,
    /// Where to serve metrics.
    pub metrics_address: Option<String>,
    /// The names of the CA itself: its own certificate's names and the accepted audiences.
    pub dns_names: Vec<String>,
    /// The key management that holds the keys; absent means files.
    pub kms: Option<KmsSettings>,
    /// The SSH CA.
    pub ssh: Option<SshSettings>,
    /// `text`, `json` or `common`.
    pub logger_format: Option<String>,
    /// The reference's own database, if one is named.
    pub database: Option<DatabaseSettings>,
    /// Whether a `monitoring` stanza is there; it is not acted upon.
    pub monitoring: bool,
    /// What the listener speaks.
    pub tls: TlsSettings,
    /// The password of the keys, where it stands in the file itself.
    pub password: Option<Zeroizing<String>>,
    /// The common name of the CA's own certificate.
    pub common_name: String,
    /// The revocation list.
    pub crl: CrlSettings,
    /// Subject fields for certificates whose request lacks them.
    pub subject_defaults: SubjectDefaults,
    /// The claims that hold unless a provisioner says otherwise.
    pub claims: Claims,
    /// How far in the past validity begins.
    pub backdate: SignedDuration,
    /// The authority's identity, with a remote management.
    pub authority_id: Option<String>,
    /// `authority.type`: absent and `softcas` mean that this CA signs by itself.
    pub authority_type: Option<String>,
    /// Tokens from before the CA's start are accepted.
    pub disable_issued_at_check: bool,
    /// Provisioners are managed in the reference's database instead of here.
    pub enable_admin: bool,
    /// `/ssh/hosts` is off.
    pub disable_get_ssh_hosts: bool,
    /// Ours.
    pub keywheel: KeywheelSettings,
}

/// `kms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsSettings {
    /// `softkms`, `pkcs11` and others; lower case.
    pub kind: String,
    /// The token with the keys, where the kind is `pkcs11`; with the `pin` that stands beside the URI, if it has none.
    pub token: Option<Pkcs11Uri>,
}

/// `ssh`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshSettings {
    /// File of the key that signs host certificates.
    pub host_key: Option<String>,
    /// File of the key that signs user certificates.
    pub user_key: Option<String>,
    /// Further public keys.
    pub keys: Vec<SshKeySettings>,
    /// The principal of the certificate that may add users.
    pub add_user_principal: Option<String>,
    /// The command that adds users.
    pub add_user_command: Option<String>,
    /// The bastion, as it stands in the file.
    pub bastion: Option<Value>,
}

/// One of `ssh.keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshKeySettings {
    /// `host` or `user`.
    pub kind: String,
    /// Belongs to another CA: published, not accepted.
    pub federated: bool,
    /// The public key as JWK.
    pub key: Value,
}

/// `db`: the reference's database, which is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// `badgerv2`, `bbolt`, `mysql`, `postgresql`…; lower case.
    pub kind: String,
    /// A folder, file or connection string. Not shown in messages: it may hold a password.
    pub data_source: Zeroizing<String>,
    /// Badger's second folder.
    pub value_dir: Option<String>,
    /// The database's name.
    pub database: Option<String>,
    /// Badger's way of loading.
    pub badger_file_loading_mode: Option<String>,
}

/// `tls`.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsSettings {
    /// IANA names of the TLS 1.2 suites.
    pub cipher_suites: Vec<String>,
    /// 1.2 or 1.3.
    pub min_version: f64,
    /// 1.2 or 1.3.
    pub max_version: f64,
    /// Never done; kept for the answer.
    pub renegotiation: bool,
}

/// `crl`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrlSettings {
    /// Whether a list is made and served.
    pub enabled: bool,
    /// Whether a revocation makes a new list at once.
    pub generate_on_revoke: bool,
    /// How long a list is valid.
    pub cache_duration: Option<SignedDuration>,
    /// How long after its making a list is made again.
    pub renew_period: Option<SignedDuration>,
    /// The URL in the list's issuing distribution point.
    pub idp_url: Option<String>,
}

/// `authority.template`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectDefaults {
    /// C.
    pub country: Option<String>,
    /// O.
    pub organization: Option<String>,
    /// OU.
    pub organizational_unit: Option<String>,
    /// L.
    pub locality: Option<String>,
    /// ST.
    pub province: Option<String>,
    /// Street.
    pub street_address: Option<String>,
    /// The subject's serial number.
    pub serial_number: Option<String>,
    /// CN.
    pub common_name: Option<String>,
}

/// `keywheel`: our own settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeywheelSettings {
    /// `sqlite:<path>` or `postgres://…`.
    pub database: Option<Zeroizing<String>>,
    /// Further settings, as they stand in the file.
    pub other: serde_json::Map<String, Value>,
}

impl CaJson {
    /// Reads the settings.
    ///
    /// # Errors
    /// The first field that is wrong or missing, with its place.
    pub fn settings(&self) -> Result<Settings, CaJsonError> {
        let root = Fields::root(&self.document);
        let authority = root.object("authority")?;
        let authority = authority.as_ref();
        let roots = root.texts("root")?;
        if roots.is_empty() {
            return Err(root.wrong("root", "the file of the root certificate, or a list of them"));
        }
        let dns_names = root.texts("dnsNames")?;
        if dns_names.is_empty() {
            return Err(root.wrong("dnsNames", "a list with the CA's own names"));
        }
        let flag = |name| authority.map_or(Ok(None), |fields| fields.flag(name)).map(Option::unwrap_or_default);
        let backdate = authority.map_or(Ok(None), |fields| fields.duration("backdate"))?;
        if let (Some(fields), Some(given)) = (authority, backdate)
            && given.is_negative()
        {
            return Err(fields.wrong("backdate", "a duration that is not negative"));
        }
        let kms = kms(&root)?;
        Ok(Settings {
            roots,
            federated_roots: root.texts("federatedRoots")?,
            certificate: root.required_text("crt", "the file of the intermediate certificate")?,
            key: root.required_text("key", "the file of the intermediate's key")?,
            address: root.required_text("address", "an address such as \":9000\"")?,
            insecure_address: root.text("insecureAddress")?,
            metrics_address: root.text("metricsAddress")?,
            dns_names,
            key_in_token: key_in_token(&root, kms.as_ref())?,
            kms,
            ssh: ssh(&root)?,
            logger_format: root.object("logger")?.map_or(Ok(None), |logger| logger.text("format"))?,
            database: database(&root)?,
            monitoring: root.get("monitoring").is_some(),
            tls: tls(&root)?,
            password: root.text("password").map_err(|_| root.wrong_secret("password", "a text"))?.map(Zeroizing::new),
            common_name: root.text("commonName")?.unwrap_or_else(|| "Step Online CA".to_owned()),
            crl: crl(&root)?,
            subject_defaults: subject_defaults(authority)?,
            claims: match authority {
                Some(fields) => provisioners::claims(fields)?,
                None => Claims::default(),
            },
            backdate: backdate.unwrap_or(SignedDuration::from_mins(1)),
            authority_id: authority.map_or(Ok(None), |fields| fields.text("authorityId"))?,
            authority_type: authority.map_or(Ok(None), |fields| fields.text("type"))?,
            disable_issued_at_check: flag("disableIssuedAtCheck")?,
            enable_admin: flag("enableAdmin")?,
            disable_get_ssh_hosts: flag("disableGetSSHHosts")?,
            keywheel: keywheel(&root)?,
        })
    }
}

fn kms(root: &Fields<'_>) -> Result<Option<KmsSettings>, CaJsonError> {
    let Some(fields) = root.object("kms")? else { return Ok(None) };
    let uri = fields.text("uri").map_err(|_| fields.wrong_secret("uri", "a text"))?.map(Zeroizing::new);
    let kind = match (fields.text("type")?, &uri) {
        (Some(kind), _) => kind.to_lowercase(),
        (None, Some(uri)) => uri.split(':').next().unwrap_or_default().to_lowercase(),
        (None, None) => String::new(),
    };
    if kind != "pkcs11" {
        return Ok(Some(KmsSettings { kind, token: None }));
    }
    let Some(uri) = uri else { return Err(fields.wrong("uri", "the PKCS#11 URI of a token")) };
    let wrong = |error| fields.wrong_secret("uri", format!("the PKCS#11 URI of a token, but {error}"));
    let mut token = Pkcs11Uri::parse(&uri).map_err(wrong)?;
    let pin = fields.text("pin").map_err(|_| fields.wrong_secret("pin", "a text"))?;
    token.pin = token.pin.or(pin.map(|pin| Pin::Value(Zeroizing::new(pin))));
    Ok(Some(KmsSettings { kind, token: Some(token) }))
}

/// A key in a token is named within the token that `kms` names.
fn key_in_token(root: &Fields<'_>, kms: Option<&KmsSettings>) -> Result<Option<Pkcs11Uri>, CaJsonError> {
    let text = root.text("key")?.unwrap_or_default();
    let Some(token) = kms.and_then(|kms| kms.token.as_ref()) else {
        if is_pkcs11(&text) {
            let expected = "an object with \"type\": \"pkcs11\" and the \"uri\" of the token, since key is in one";
            return Err(root.wrong("kms", expected));
        }
        return Ok(None);
    };
    let wrong = |why: String| {
        let example =
            "the PKCS#11 URI of a key such as \"pkcs11:id=7331;object=intermediate-key\", since kms names a token";
        root.wrong_secret("key", format!("{example}{why}"))
    };
    let key = Pkcs11Uri::parse(&text).map_err(|error| wrong(format!(", but {error}")))?;
    if !key.names_key() {
        return Err(wrong(String::new()));
    }
    key.within(token).map(Some).map_err(|error| wrong(format!(", but {error}")))
}

fn ssh(root: &Fields<'_>) -> Result<Option<SshSettings>, CaJsonError> {
    let Some(fields) = root.object("ssh")? else { return Ok(None) };
    let mut keys = Vec::new();
    for (index, entry) in fields.list("keys")?.iter().enumerate() {
        let place = format!("ssh.keys[{index}]");
        let Value::Object(map) = entry else {
            return Err(CaJsonError::Field {
                place,
                expected: "an object".into(),
                found: crate::json::describe(entry),
            });
        };
        let entry = Fields::at(place, map);
        let kind = entry.required_text("type", "\"host\" or \"user\"")?.to_lowercase();
        if kind != "host" && kind != "user" {
            return Err(entry.wrong("type", "\"host\" or \"user\""));
        }
        let key = entry.get("key").cloned().ok_or_else(|| entry.wrong("key", "a public key as JWK"))?;
        keys.push(SshKeySettings { kind, federated: entry.flag("federated")?.unwrap_or_default(), key });
    }
    Ok(Some(SshSettings {
        host_key: fields.text("hostKey")?,
        user_key: fields.text("userKey")?,
        keys,
        add_user_principal: fields.text("addUserPrincipal")?,
        add_user_command: fields.text("addUserCommand")?,
        bastion: fields.get("bastion").cloned(),
    }))
}

fn database(root: &Fields<'_>) -> Result<Option<DatabaseSettings>, CaJsonError> {
    let Some(fields) = root.object("db")? else { return Ok(None) };
    let Some(kind) = fields.text("type")? else { return Ok(None) };
    let source = fields.text("dataSource").map_err(|_| fields.wrong_secret("dataSource", "a text"))?;
    Ok(Some(DatabaseSettings {
        kind: kind.to_lowercase(),
        data_source: Zeroizing::new(source.unwrap_or_default()),
        value_dir: fields.text("valueDir")?,
        database: fields.text("database")?,
        badger_file_loading_mode: fields.text("badgerFileLoadingMode")?,
    }))
}

fn tls(root: &Fields<'_>) -> Result<TlsSettings, CaJsonError> {
    let mut settings = TlsSettings {
        cipher_suites: ["CHACHA20_POLY1305", "AES_128_GCM"]
            .iter()
            .map(|cipher| format!("TLS_ECDHE_ECDSA_WITH_{cipher}_SHA256"))
            .collect(),
        min_version: 1.2,
        max_version: 1.3,
        renegotiation: false,
    };
    let Some(fields) = root.object("tls")? else { return Ok(settings) };
    let suites = fields.texts("cipherSuites")?;
    if !suites.is_empty() {
        settings.cipher_suites = suites;
    }
    for (name, version) in [("minVersion", &mut settings.min_version), ("maxVersion", &mut settings.max_version)] {
        // Zero means the default, as in Go.
        let Some(given) = fields.number(name)?.filter(|given| *given != 0.0) else { continue };
        // 1.0 and 1.1 are known to the reference, but nobody should speak them: what we serve starts at 1.2.
        if ![1.0, 1.1, 1.2, 1.3].contains(&given) {
            return Err(fields.wrong(name, "1.2 or 1.3"));
        }
        *version = given.max(1.2);
    }
    if settings.min_version > settings.max_version {
        return Err(fields.wrong("minVersion", "a version not above maxVersion"));
    }
    settings.renegotiation = fields.flag("renegotiation")?.unwrap_or_default();
    Ok(settings)
}

fn crl(root: &Fields<'_>) -> Result<CrlSettings, CaJsonError> {
    let Some(fields) = root.object("crl")? else { return Ok(CrlSettings::default()) };
    let positive = |name: &str| match fields.duration(name)? {
        Some(given) if given.is_negative() => Err(fields.wrong(name, "a duration that is not negative")),
        // Zero is the reference's way of saying "the default".
        given => Ok(given.filter(|given| !given.is_zero())),
    };
    let settings = CrlSettings {
        enabled: fields.flag("enabled")?.unwrap_or_default(),
        generate_on_revoke: fields.flag("generateOnRevoke")?.unwrap_or_default(),
        cache_duration: positive("cacheDuration")?,
        renew_period: positive("renewPeriod")?,
        idp_url: fields.text("idpURL")?,
    };
    if let (Some(period), Some(cache)) = (settings.renew_period, settings.cache_duration)
        && period > cache
    {
        return Err(fields.wrong("renewPeriod", "a duration not above cacheDuration"));
    }
    Ok(settings)
}

fn subject_defaults(authority: Option<&Fields<'_>>) -> Result<SubjectDefaults, CaJsonError> {
    let Some(fields) = authority.map_or(Ok(None), |fields| fields.object("template"))? else {
        return Ok(SubjectDefaults::default());
    };
    Ok(SubjectDefaults {
        country: fields.text("country")?,
        organization: fields.text("organization")?,
        organizational_unit: fields.text("organizationalUnit")?,
        locality: fields.text("locality")?,
        province: fields.text("province")?,
        street_address: fields.text("streetAddress")?,
        serial_number: fields.text("serialNumber")?,
        common_name: fields.text("commonName")?,
    })
}

fn keywheel(root: &Fields<'_>) -> Result<KeywheelSettings, CaJsonError> {
    let Some(fields) = root.object("keywheel")? else { return Ok(KeywheelSettings::default()) };
    let expected = "\"sqlite:<path>\" or \"postgres://<host>/<name>\"";
    let database = fields.text("database").map_err(|_| fields.wrong_secret("database", expected))?;
    if let Some(url) = &database
        && !["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme))
    {
        return Err(fields.wrong_secret("database", expected));
    }
    let other = fields.map.iter().filter(|(name, _)| *name != "database");
    Ok(KeywheelSettings {
        database: database.map(Zeroizing::new),
        other: other.map(|(name, value)| (name.clone(), value.clone())).collect(),
    })
}
