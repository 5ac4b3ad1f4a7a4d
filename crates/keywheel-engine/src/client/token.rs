//! One-time tokens: made with the key of a provisioner, or with a certificate and its key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use keywheel_core::fingerprint::CertificateDigest;
use keywheel_core::go_duration;
use keywheel_signer::file_key::FileKey;
use keywheel_wire::jose::{jwe, jwk};
use keywheel_wire::pkcs11::uri::Pkcs11Uri;
use keywheel_wire::signer::Signer;
use keywheel_wire::step::token::{Contents, confirmation, sign_with_chain, sign_with_jwk};
use keywheel_wire::x509::certificate::Certificate;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::access::Certifier;
use super::ask::{self, Asker};
use super::error::{Cause, ClientError};
use super::in_token::{self, KeyPlace};
use super::load;
use super::sign::load_request;

/// Which provisioner, and what opens its key.
#[derive(Clone, Default)]
pub struct Provisioning {
    /// Its name; may be left out where there is one only.
    pub name: Option<String>,
    /// The id of its key, where the name alone is not enough.
    pub kid: Option<String>,
    /// Opens its encrypted key.
    pub password: Option<Zeroizing<Vec<u8>>>,
    /// Its private key in a file (JWK or PEM) or a token, instead of the encrypted one that the authority keeps.
    pub key: Option<PathBuf>,
    /// The certificate of an X5C provisioner's user, with `x5c_key`.
    pub x5c_certificate: Option<PathBuf>,
    /// Its key.
    pub x5c_key: Option<PathBuf>,
    /// The token with those keys that are named by a PKCS#11 URI.
    pub management: Option<Box<Pkcs11Uri>>,
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A certificate for a request.
    Sign,
    /// The end of a certificate.
    Revoke,
    /// A certificate for the same key, behind a proxy that ends TLS; made with `x5c_certificate` and `x5c_key`.
    Renew,
    /// A certificate for another key, behind a proxy that ends TLS; made with `x5c_certificate` and `x5c_key`.
    Rekey,
}

/// What is asked for.
#[derive(Clone)]
pub struct TokenOptions {
    /// What for.
    pub purpose: Purpose,
    /// The common name of the certificate, or the serial number to revoke.
    pub subject: String,
    /// The other names; the subject if there are none.
    pub sans: Vec<String>,
    /// Who makes it.
    pub provisioning: Provisioning,
    /// When it starts to be good: RFC 3339, a Go duration, or empty.
    pub not_before: String,
    /// When it stops: RFC 3339, a Go duration, or empty (five minutes).
    pub not_after: String,
    /// Binds it to this request or key file.
    pub bind_to: Option<PathBuf>,
    /// Binds it to this fingerprint (base64url of a SHA-256).
    pub confirm: Option<String>,
    /// User data for templates, from `--set`.
    pub user_data: serde_json::Map<String, serde_json::Value>,
    /// The authority that it is addressed to.
    pub certifier: Certifier,
}

/// Makes a token.
pub async fn make(options: &TokenOptions, now: Timestamp) -> Result<String, ClientError> {
    let confirmation = match (&options.bind_to, &options.confirm) {
        (Some(_), Some(_)) => {
            return Err(ClientError::Usage("flag '--cnf' and flag '--cnf-file' are mutually exclusive".to_owned()));
        }
        (Some(file), None) => Some(confirmation(load_request(file)?.der())),
        (None, confirm) => confirm.clone(),
    };
    if matches!(options.purpose, Purpose::Renew | Purpose::Rekey) {
        return own_token(options, confirmation, now);
    }
    let issuer = Issuer::find(&options.provisioning, &options.certifier).await?;
    let mut contents = issuer.contents(options.purpose, &options.subject, &options.certifier, now)?;
    if options.purpose == Purpose::Sign {
        contents.sans = Some(names_or(&options.sans, &options.subject));
    }
    contents.not_before = moment("--not-before", &options.not_before, now)?.unwrap_or(contents.not_before);
    contents.expires_at = moment("--not-after", &options.not_after, now)?.unwrap_or(contents.expires_at);
    if contents.expires_at <= contents.not_before {
        return Err(ClientError::Usage(
            "the token would end before it starts: check '--not-before' and '--not-after'".to_owned(),
        ));
    }
    contents.confirmation = confirmation;
    if !options.user_data.is_empty() {
        contents.user = Some(Value::Object(options.user_data.clone()));
    }
    issuer.sign(&contents)
}

/// Who makes one-time tokens: found, opened and ready to sign.
pub(super) enum Issuer {
    /// A provisioner's own key.
    Jwk { name: String, kid: String, signer: Arc<dyn Signer> },
    /// A certificate that a provisioner trusts.
    X5c { name: String, chain: Vec<Certificate>, signer: Arc<dyn Signer> },
}

impl Issuer {
    /// Finds the provisioner and opens its key; what can be wrong with the password is found here.
    pub(super) async fn find(provisioning: &Provisioning, certifier: &Certifier) -> Result<Self, ClientError> {
        match (&provisioning.x5c_certificate, &provisioning.x5c_key) {
            (None, None) => {}
            (Some(certificate), Some(key)) => return Self::find_x5c(provisioning, certifier, certificate, key).await,
            (Some(_), None) => return Err(usage("flag '--x5c-cert' requires the '--x5c-key' flag")),
            (None, Some(_)) => return Err(usage("flag '--x5c-key' requires the '--x5c-cert' flag")),
        }
        // With a name and a key at hand the authority need not be asked.
        if let (Some(name), Some(file)) = (&provisioning.name, &provisioning.key) {
            let (signer, thumbprint) = given_key(file, name, provisioning)?;
            let kid = provisioning.kid.clone().unwrap_or(thumbprint);
            return Ok(Self::Jwk { name: name.clone(), kid, signer });
        }
        let all = provisioners(certifier).await?;
        let chosen = choose(&all, "JWK", provisioning)?;
        let name = text(chosen, "name");
        let kid =
            chosen.get("key").and_then(|key| key.get("kid")).and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(file) = &provisioning.key {
            let (signer, thumbprint) = given_key(file, &name, provisioning)?;
            let kid = if kid.is_empty() { thumbprint } else { kid };
            return Ok(Self::Jwk { name, kid, signer });
        }
        let encrypted = match (text(chosen, "encryptedKey"), certifier) {
            (encrypted, _) if !encrypted.is_empty() => encrypted,
            (_, Certifier::Remote(access)) => access.client(None)?.encrypted_key(&kid).await.map_err(ask::failed)?.key,
            (_, Certifier::Local(_)) => {
                return Err(ClientError::Provisioner {
                    message: format!("provisioner '{name}' keeps no encrypted key: name its private key with '--key'"),
                    names: vec![name],
                });
            }
        };
        let signer = open_jwe(&encrypted, &name, provisioning.password.as_ref())?;
        Ok(Self::Jwk { name, kid, signer })
    }

    async fn find_x5c(
        provisioning: &Provisioning,
        certifier: &Certifier,
        certificate: &Path,
        key: &Path,
    ) -> Result<Self, ClientError> {
        let (chain, signer) = pair(certificate, key, provisioning)?;
        let name = match &provisioning.name {
            Some(name) => name.clone(),
            None => text(choose(&provisioners(certifier).await?, "X5C", provisioning)?, "name"),
        };
        Ok(Self::X5c { name, chain, signer })
    }

    /// The claims of a token for this purpose, good from now on for the usual time.
    pub(super) fn contents(
        &self,
        purpose: Purpose,
        subject: &str,
        certifier: &Certifier,
        now: Timestamp,
    ) -> Result<Contents, ClientError> {
        let (base, fingerprint) = address(certifier)?;
        let route = if purpose == Purpose::Revoke { "revoke" } else { "sign" };
        let (name, fragment) = match self {
            Self::Jwk { name, .. } => (name, String::new()),
            Self::X5c { name, .. } => (name, format!("#x5c/{name}")),
        };
        let mut contents = Contents::new(&format!("{base}/1.0/{route}{fragment}"), name, subject, now);
        contents.id = Some(ask::token_id()?);
        contents.root_fingerprint = fingerprint;
        Ok(contents)
    }

    /// The token.
    pub(super) fn sign(&self, contents: &Contents) -> Result<String, ClientError> {
        let token = match self {
            Self::Jwk { kid, signer, .. } => sign_with_jwk(contents, kid, signer.as_ref()),
            Self::X5c { chain, signer, .. } => {
                let chain: Vec<_> = chain.iter().map(|certificate| certificate.der().to_vec()).collect();
                sign_with_chain(contents, "x5c", &chain, signer.as_ref())
            }
        };
        token.map_err(|error| ClientError::Speak { what: "the token", source: error.into() })
    }
}

/// The given names, or the subject alone.
pub(super) fn names_or(names: &[String], subject: &str) -> Vec<String> {
    if names.is_empty() { vec![subject.to_owned()] } else { names.to_vec() }
}

/// A token that a certificate makes for itself.
fn own_token(options: &TokenOptions, confirmation: Option<String>, now: Timestamp) -> Result<String, ClientError> {
    let (Some(certificate), Some(key)) = (&options.provisioning.x5c_certificate, &options.provisioning.x5c_key) else {
        return Err(usage("a token for renewal or rekey is made with the flags '--x5c-cert' and '--x5c-key'"));
    };
    let (chain, signer) = pair(certificate, key, &options.provisioning)?;
    let asker = Asker { chain: &chain, signer, mtls: false };
    let (base, _) = address(&options.certifier)?;
    if options.purpose == Purpose::Renew {
        return asker.bearer(&format!("{base}/renew"), None, now);
    }
    let confirmation = confirmation
        .ok_or_else(|| usage("a token for a rekey is bound to its request: name it with the flag '--cnf-file'"))?;
    asker.bearer_for(&format!("{base}/rekey"), Some(confirmation), now)
}

/// The address of the authority and the fingerprint of its root.
fn address(certifier: &Certifier) -> Result<(String, Option<String>), ClientError> {
    match certifier {
        Certifier::Remote(access) => {
            let roots = load::roots(access.root())?;
            let fingerprint = roots.first().and_then(|root| Certificate::from_der(root).ok()).map(|root| root.digest());
            Ok((access.url().to_owned(), fingerprint.map(|digest: CertificateDigest| digest.to_string())))
        }
        Certifier::Local(authority) => {
            Ok((format!("https://{}", authority.name()), authority.root_fingerprint().map(str::to_owned)))
        }
    }
}

async fn provisioners(certifier: &Certifier) -> Result<Vec<Map<String, Value>>, ClientError> {
    match certifier {
        Certifier::Remote(access) => access.client(None)?.provisioners().await.map_err(ask::failed),
        Certifier::Local(authority) => Ok(authority.provisioners().to_vec()),
    }
}

/// The one provisioner of this type that is meant.
fn choose<'a>(
    all: &'a [Map<String, Value>],
    kind: &str,
    provisioning: &Provisioning,
) -> Result<&'a Map<String, Value>, ClientError> {
    let of_kind = || all.iter().filter(|one| text(one, "type").eq_ignore_ascii_case(kind));
    let mut fitting = of_kind()
        .filter(|one| provisioning.name.as_ref().is_none_or(|name| text(one, "name") == *name))
        .filter(|one| {
            let kid = one.get("key").and_then(|key| key.get("kid")).and_then(Value::as_str);
            provisioning.kid.as_deref().is_none_or(|wanted| kid == Some(wanted))
        });
    let names = || of_kind().map(|one| text(one, "name")).collect::<Vec<_>>();
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(ClientError::Provisioner {
            message:
                "the authority has several provisioners that could make the token: choose one with '--provisioner' \
                      (and '--kid')"
                    .to_owned(),
            names: names(),
        }),
        (None, _) if all.is_empty() => Err(ClientError::Provisioner {
            message: "cannot create a new token: the CA does not have any provisioner configured".to_owned(),
            names: Vec::new(),
        }),
        (None, _) => Err(ClientError::Provisioner {
            message: match (&provisioning.kid, &provisioning.name) {
                (Some(kid), _) => format!("invalid value '{kid}' for flag '--kid'"),
                (None, Some(name)) => format!("invalid value '{name}' for flag '--provisioner'"),
                (None, None) => format!("cannot create a new token: the CA does not have any {kind} provisioner"),
            },
            names: names(),
        }),
    }
}

/// A certificate and its key, in a file or a token.
fn pair(
    certificate: &Path,
    key: &Path,
    provisioning: &Provisioning,
) -> Result<(Vec<Certificate>, Arc<dyn Signer>), ClientError> {
    in_token::pair(certificate, key, provisioning.management.as_deref(), provisioning.password.as_ref())
}

/// The private key of a provisioner that was named, and the thumbprint of its public half.
fn given_key(name: &Path, owner: &str, provisioning: &Provisioning) -> Result<(Arc<dyn Signer>, String), ClientError> {
    let password = provisioning.password.as_ref();
    let signer = match KeyPlace::of(name, provisioning.management.as_deref())? {
        KeyPlace::File(file) => key_from_file(&file, owner, password)? as Arc<dyn Signer>,
        place @ KeyPlace::Token(_) => place.open("the provisioner's key", None, None)?,
    };
    let public = jwk::PublicJwk::from_spki(signer.public_key()).map_err(|error| wrong_key(name, error.into()))?;
    Ok((signer, public.thumbprint()))
}

/// The private key of a provisioner in a file: a JWK, plain or encrypted, or PEM.
fn key_from_file(file: &Path, name: &str, password: Option<&Zeroizing<Vec<u8>>>) -> Result<Arc<FileKey>, ClientError> {
    let content = load::content("the provisioner's key", file)?;
    let trimmed = content.trim_ascii();
    Ok(if trimmed.starts_with(b"{") && !jwe::is_flattened(trimmed) {
        let key = jwk::PrivateJwk::parse(trimmed).map_err(|error| wrong_key(file, error.into()))?;
        Arc::new(FileKey::from_private_key(key.private_key().clone()).map_err(|error| wrong_key(file, error.into()))?)
    } else if trimmed.starts_with(b"eyJ") || trimmed.starts_with(b"{") {
        let compact = std::str::from_utf8(trimmed).map_err(|error| wrong_key(file, error.into()))?;
        open_jwe(compact, name, password)?
    } else {
        load::key("the provisioner's key", file, password.map(|password| password.as_slice()))?.signer
    })
}

/// Opens the encrypted key of a provisioner.
fn open_jwe(compact: &str, name: &str, password: Option<&Zeroizing<Vec<u8>>>) -> Result<Arc<FileKey>, ClientError> {
    let Some(password) = password else {
        return Err(ClientError::ProvisionerPasswordRequired { name: name.to_owned() });
    };
    let unusable = |source: Cause| ClientError::Speak { what: "the token", source };
    let plain = jwe::decrypt(compact, password).map_err(|error| match error {
        jwe::JweError::WrongPassword => ClientError::WrongProvisionerPassword { name: name.to_owned() },
        other => unusable(other.into()),
    })?;
    let key = jwk::PrivateJwk::parse(&plain).map_err(|error| unusable(error.into()))?;
    let key = FileKey::from_private_key(key.private_key().clone()).map_err(|error| unusable(error.into()))?;
    Ok(Arc::new(key))
}

/// A moment as it is typed: RFC 3339, or a Go duration from now.
fn moment(flag: &str, typed: &str, now: Timestamp) -> Result<Option<Timestamp>, ClientError> {
    if typed.is_empty() {
        return Ok(None);
    }
    if let Ok(moment) = typed.parse::<Timestamp>() {
        return Ok(Some(moment));
    }
    let moment = go_duration::parse(typed).ok().and_then(|after| now.checked_add(after).ok());
    moment.map(Some).ok_or_else(|| {
        ClientError::Usage(format!("invalid value '{typed}' for flag '{flag}'; it must be a time or a duration"))
    })
}

fn text(object: &Map<String, Value>, field: &str) -> String {
    object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn usage(message: &str) -> ClientError {
    ClientError::Usage(message.to_owned())
}

fn wrong_key(file: &Path, source: Cause) -> ClientError {
    ClientError::Input { what: "the provisioner's key", file: file.to_owned(), source }
}
