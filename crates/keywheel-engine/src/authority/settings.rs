//! What `ca.json` and the files that it names say, read and checked at once: either all of it is right or nothing is taken.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keywheel_core::claims::EffectiveClaims;
use keywheel_core::key_blocklist::KeyBlocklist;
use keywheel_core::names::{NameConstraints, NamePolicy};
use keywheel_core::provisioner::{AfterRekey, Provisioner, ProvisionerKind, TemplateSource};
use keywheel_signer::file_key::{FileKey, KeyError};
use keywheel_signer::pkcs11::TokenError;
use keywheel_signer::pkcs11::key::TokenKey;
use keywheel_signer::pkcs11::token::Token;
use keywheel_wire::jose::jwk::PublicJwk;
use keywheel_wire::private_key::PrivateKeyError;
use keywheel_wire::signer::{SignatureScheme, Signer};
use keywheel_wire::step::ca_json::{self, CaJson};
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::facts;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::OpenError;
use crate::home::kept;

/// Everything that is read from `ca.json` and the files that it names.
pub(super) struct Settings {
    /// `ca.json` itself.
    pub(super) config: ca_json::Settings,
    /// The roots.
    pub(super) roots: Vec<Certificate>,
    /// The roots of federated CAs.
    pub(super) federated: Vec<Certificate>,
    /// The issuing certificate, and those above it but the root.
    pub(super) chain: Vec<Certificate>,
    /// The key of the issuing certificate.
    pub(super) signer: Arc<dyn Signer>,
    /// The names that this CA certifies.
    pub(super) policy: NamePolicy,
    /// The name constraints of the issuing chain.
    pub(super) constraints: Vec<NameConstraints>,
    /// The provisioners that are served, in order.
    pub(super) provisioners: Vec<Arc<Entry>>,
    /// All provisioners as `/provisioners` shows them.
    pub(super) objects: Vec<Map<String, Value>>,
    /// Whether a revocation list is made and served.
    pub(super) crl: bool,
    /// Keys that are known to the world and never certified.
    pub(super) blocklist: Option<KeyBlocklist>,
}

/// The list that badkeys publishes has some 20 MB; ten times that is no list of keys.
const MAX_BLOCKLIST: u64 = 256 * 1024 * 1024;

/// A provisioner, ready for use.
pub(super) struct Entry {
    /// What `ca.json` says of it.
    pub(super) provisioner: Provisioner,
    /// Its claims over those of the CA.
    pub(super) claims: EffectiveClaims,
    /// The key that signs its tokens, for a JWK provisioner.
    pub(super) key: Option<PublicJwk>,
    /// The roots that it trusts, for an X5C provisioner.
    pub(super) roots: Vec<Certificate>,
    /// The text of its template.
    pub(super) template: Option<String>,
    /// Data for its template.
    pub(super) template_data: Option<Value>,
}

impl Settings {
    /// Reads `ca.json` and all that it names. Blocking: an encrypted key takes time.
    pub(super) fn read(path: &Path, password: Option<&Zeroizing<Vec<u8>>>) -> Result<Self, OpenError> {
        let text = String::from_utf8(read(path)?).map_err(|_| wrong(path, "it is not text in UTF-8"))?;
        let text = match kept::restored(path, &text) {
            Some(restored) => {
                tracing::warn!(
                    "ca.json has lost its 'keywheel' settings, as when the reference's step changes it: those kept in \
                     keywheel.json beside it are used; any 'keywheel ca provisioner' or 'policy' change writes them back"
                );
                restored
            }
            None => text,
        };
        let document = CaJson::parse(&text).map_err(|error| wrong(path, error))?;
        document.validate().map_err(|error| wrong(path, error))?;
        let config = document.settings().map_err(|error| wrong(path, error))?;
        refuse_what_is_not_served(path, &config)?;

        let roots = certificates(config.roots.iter())?;
        let federated = certificates(config.federated_roots.iter())?;
        let chain = certificates(std::iter::once(&config.certificate))?;
        let chain: Vec<_> = chain.into_iter().filter(|one| !roots.iter().any(|root| root.der() == one.der())).collect();
        let Some(issuer) = chain.first() else {
            return Err(wrong(Path::new(&config.certificate), "it holds no intermediate certificate"));
        };
        if !issuer.is_ca() {
            return Err(wrong(Path::new(&config.certificate), "its first certificate is not that of a CA"));
        }
        let signer = signer(&config, password)?;
        if signer.public_key() != issuer.spki() {
            let place = match &config.key_in_token {
                Some(uri) => uri.key_only().to_string(),
                None => config.key.clone(),
            };
            let reason = format!("it is not the key of the certificate {}", config.certificate);
            return Err(wrong(Path::new(&place), reason));
        }

        let policy = document.policy().map_err(|error| wrong(path, error))?;
        let mut provisioners = Vec::new();
        let mut objects = Vec::new();
        for configured in document.provisioners().map_err(|error| wrong(path, error))? {
            objects.push(public(configured.object));
            if let Some(entry) = entry(path, configured.provisioner, &config)? {
                provisioners.push(Arc::new(entry));
            }
        }
        kept::keep(path, &text);
        let blocklist = blocklist(path, config.keywheel.other.get("keyBlocklist"))?;
        let own_crl = config.keywheel.other.get("crl").and_then(Value::as_bool).unwrap_or_default();
        Ok(Self {
            constraints: constraints(&config.certificate, roots.iter().chain(&chain))?,
            crl: config.crl.enabled || own_crl,
            blocklist,
            signer,
            config,
            roots,
            federated,
            chain,
            policy,
            provisioners,
            objects,
        })
    }

    /// The certificate that signs.
    pub(super) fn issuer(&self) -> &Certificate {
        // `read` made sure that there is one.
        &self.chain[0]
    }

    /// How the issuing key signs.
    pub(super) fn scheme(&self) -> SignatureScheme {
        SignatureScheme::default_for(self.signer.kind())
    }

    /// Whether a rekey may revoke anything.
    pub(super) fn supersedes(&self) -> bool {
        self.provisioners.iter().any(|entry| entry.provisioner.rekey.after != AfterRekey::OldStays)
    }

    /// The database to use, if `ca.json` names one of ours.
    pub(super) fn database(&self) -> Option<&str> {
        self.config.keywheel.database.as_ref().map(|url| url.as_str())
    }

    /// The provisioner that vouched for a certificate, if it is still there.
    pub(super) fn provisioner_named(&self, kind: &str, name: &str, credential: &str) -> Option<&Arc<Entry>> {
        let of_kind = |entry: &&Arc<Entry>| {
            entry.provisioner.kind.type_name().eq_ignore_ascii_case(kind) && entry.provisioner.name == name
        };
        let same = |entry: &&Arc<Entry>| of_kind(entry) && entry.provisioner.credential_id() == credential;
        // As the reference does: by name. The key of a provisioner may have been replaced since.
        self.provisioners.iter().find(same).or_else(|| self.provisioners.iter().find(of_kind))
    }
}

/// Where a file that `ca.json` names stands.
pub(super) fn file(name: &str) -> PathBuf {
    PathBuf::from(name.strip_prefix("file:").unwrap_or(name))
}

fn read(path: &Path) -> Result<Vec<u8>, OpenError> {
    std::fs::read(path).map_err(|source| OpenError::Read { path: path.to_owned(), source })
}

/// What everybody may see of a provisioner. A `ca.json` of the reference may hold secrets, also of kinds that are not served
/// here; the reference hides the first few of them in the same words.
fn public(mut object: Map<String, Value>) -> Map<String, Value> {
    const SCEP: [&str; 5] =
        ["challenge", "decrypterCertificate", "decrypterKeyPEM", "decrypterKey", "decrypterKeyPassword"];
    const PRIVATE_HALF: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    const WEBHOOK: [&str; 3] = ["secret", "bearerToken", "basicAuth"];
    // The reference reads field names whatever their case.
    let is_one_of = |names: &[&str], name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    for (name, value) in &mut object {
        if is_one_of(&SCEP, name) {
            *value = "*** REDACTED ***".into();
        } else if name.eq_ignore_ascii_case("key")
            && let Value::Object(key) = value
        {
            key.retain(|name, _| !is_one_of(&PRIVATE_HALF, name));
        } else if name.eq_ignore_ascii_case("options")
            && let Some(Value::Array(hooks)) = value.get_mut("webhooks")
        {
            for hook in hooks.iter_mut().filter_map(Value::as_object_mut) {
                hook.retain(|name, _| !is_one_of(&WEBHOOK, name));
            }
        }
    }
    object
}

/// Reads the list of `keywheel.keyBlocklist`: a file as `badkeys --update-bl` downloads it.
fn blocklist(config: &Path, name: Option<&Value>) -> Result<Option<KeyBlocklist>, OpenError> {
    let Some(name) = name.filter(|name| !name.is_null()) else { return Ok(None) };
    let Some(name) = name.as_str().filter(|name| !name.is_empty()) else {
        return Err(wrong(config, "keywheel.keyBlocklist must be the path of a file"));
    };
    let path = file(name);
    let failed = |source| OpenError::Read { path: path.clone(), source };
    let mut records = Vec::new();
    let list = std::fs::File::open(&path).map_err(failed)?;
    // One octet more than is allowed tells a file that is too large from one that just fits.
    list.take(MAX_BLOCKLIST + 1).read_to_end(&mut records).map_err(failed)?;
    if records.len() as u64 > MAX_BLOCKLIST {
        return Err(wrong(&path, format!("the key blocklist is larger than {MAX_BLOCKLIST} octets")));
    }
    KeyBlocklist::new(records).map(Some).map_err(|error| wrong(&path, error))
}

fn wrong(path: &Path, reason: impl ToString) -> OpenError {
    // What reads `ca.json` ends its own sentences so, and the error would say it a second time.
    let reason =
        reason.to_string().trim_end_matches("nothing was changed").trim_end_matches([' ', ',', ';']).to_owned();
    OpenError::Config { path: path.to_owned(), reason }
}

/// Settings that would be ignored silently are refused instead.
fn refuse_what_is_not_served(path: &Path, config: &ca_json::Settings) -> Result<(), OpenError> {
    if let Some(kms) = &config.kms
        && !matches!(kms.kind.as_str(), "" | "softkms" | "sshagentkms" | "pkcs11")
    {
        let reason =
            format!("kms.type {:?} is not served: the CA's keys must be files or in a PKCS#11 token", kms.kind);
        return Err(wrong(path, reason));
    }
    if let Some(kind) = &config.authority_type
        && !kind.is_empty()
        && !kind.eq_ignore_ascii_case("softcas")
    {
        return Err(wrong(path, format!("authority.type {kind:?} is not served: this CA signs by itself")));
    }
    if config.enable_admin {
        let reason = "authority.enableAdmin is not served: the provisioners stand in the reference's database; export them to ca.json";
        return Err(wrong(path, reason));
    }
    Ok(())
}

fn certificates<'a>(names: impl Iterator<Item = &'a String>) -> Result<Vec<Certificate>, OpenError> {
    let mut found = Vec::new();
    for name in names {
        let path = file(name);
        found.extend(
            Certificate::chain_from_pem(&read(&path)?)
                .map_err(|error| wrong(&path, crate::authority::chain(&error)))?,
        );
    }
    Ok(found)
}

/// The key that issues: in a token if `kms` names one, else in a file.
fn signer(config: &ca_json::Settings, password: Option<&Zeroizing<Vec<u8>>>) -> Result<Arc<dyn Signer>, OpenError> {
    let Some(uri) = &config.key_in_token else {
        let own_password = config.password.as_ref().map(|text| Zeroizing::new(text.as_bytes().to_vec()));
        return Ok(Arc::new(key(Path::new(&config.key), password.or(own_password.as_ref()))?));
    };
    let token = Token::open(uri, password.map(|pin| pin.as_slice()));
    match token.and_then(|token| TokenKey::find(&token, uri)) {
        Ok(key) => Ok(Arc::new(key)),
        Err(TokenError::PinRequired { token }) => Err(OpenError::PinRequired { token }),
        Err(error) => Err(OpenError::Token(Box::new(error))),
    }
}

fn key(path: &Path, password: Option<&Zeroizing<Vec<u8>>>) -> Result<FileKey, OpenError> {
    let path = file(&path.to_string_lossy());
    let text = Zeroizing::new(read(&path)?);
    match FileKey::from_pem(&text, password.map(|password| password.as_slice())) {
        Ok((key, _)) => Ok(key),
        Err(KeyError::Key(PrivateKeyError::PasswordRequired)) => Err(OpenError::PasswordRequired { path }),
        Err(KeyError::Key(PrivateKeyError::WrongPassword)) => Err(OpenError::WrongPassword { path }),
        Err(error) => Err(wrong(&path, crate::authority::chain(&error))),
    }
}

/// Makes a provisioner ready; none where its type is not served.
fn entry(path: &Path, provisioner: Provisioner, config: &ca_json::Settings) -> Result<Option<Entry>, OpenError> {
    let mut key = None;
    let mut roots = Vec::new();
    let place = |reason: String| wrong(path, format!("provisioner {:?}: {reason}", provisioner.name));
    match &provisioner.kind {
        ProvisionerKind::Jwk { public_jwk_json, .. } => {
            key = Some(PublicJwk::parse(public_jwk_json).map_err(|error| place(error.to_string()))?);
        }
        ProvisionerKind::X5c { roots_der } => {
            for der in roots_der {
                roots.push(Certificate::from_der(der).map_err(|error| place(error.to_string()))?);
            }
        }
        ProvisionerKind::Sshpop | ProvisionerKind::Other { .. } => {}
    }
    let template = match &provisioner.x509_template {
        None => None,
        Some(TemplateSource::Inline(text)) => Some(text.clone()),
        Some(TemplateSource::File(name)) => {
            let text = String::from_utf8(read(&file(name))?);
            Some(text.map_err(|_| place(format!("the template {name} is not text in UTF-8")))?)
        }
    };
    let template_data = match &provisioner.x509_template_data {
        None => None,
        Some(text) => Some(serde_json::from_str(text).map_err(|error| place(format!("templateData: {error}")))?),
    };
    let claims = provisioner.claims.over(&config.claims);
    Ok(Some(Entry { claims, key, roots, template, template_data, provisioner }))
}

fn constraints<'a>(
    file: &str,
    chain: impl Iterator<Item = &'a Certificate>,
) -> Result<Vec<NameConstraints>, OpenError> {
    let stated: Result<Vec<_>, _> = chain.map(facts::name_constraints).collect();
    Ok(stated.map_err(|error| wrong(Path::new(file), error))?.into_iter().flatten().collect())
}
