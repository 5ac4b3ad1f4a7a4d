//! A first certificate: a new key, a request and a token, the new files in place together.

use std::path::PathBuf;

use jiff::Timestamp;
use keywheel_reach::files::pair::{Intent, Pair};
use keywheel_signer::file_key::FileKey;
use keywheel_wire::private_key::{Encoding, KeyKind};
use keywheel_wire::signer::Signer;
use keywheel_wire::step::messages;
use keywheel_wire::x509::certificate::{Certificate, chain_to_pem};
use keywheel_wire::x509::extension::alt_name::{self, GeneralName};
use keywheel_wire::x509::name::Name;
use keywheel_wire::x509::request;
use serde_json::Value;
use zeroize::Zeroizing;

use super::access::{Certifier, LocalRequest};
use super::ask;
use super::error::ClientError;
use super::key_choice::KeyChoice;
use super::load;
use super::place;
use super::rekey::CertificateSummary;
use super::token::{Issuer, Provisioning, Purpose, names_or};

/// Room for a chain and for a key of any kind.
const ROOM_FOR_CHAIN: usize = 32 * 1024;
const ROOM_FOR_KEY: usize = 16 * 1024;

/// What is asked for.
#[derive(Clone)]
pub struct CertificateOptions {
    /// The common name.
    pub subject: String,
    /// The other names; the subject if there are none.
    pub sans: Vec<String>,
    /// Where the certificate goes.
    pub certificate: PathBuf,
    /// Where the key goes.
    pub key: PathBuf,
    /// The kind of key to generate.
    pub key_choice: KeyChoice,
    /// Encrypts the new key.
    pub key_password: Option<Zeroizing<Vec<u8>>>,
    /// A token, or who makes one.
    pub authorization: Authorization,
    /// RFC 3339, a Go duration, or empty.
    pub not_before: String,
    /// RFC 3339, a Go duration, or empty.
    pub not_after: String,
    /// Data for the template, from `--set`.
    pub template_data: serde_json::Map<String, serde_json::Value>,
    /// Who certifies.
    pub certifier: Certifier,
}

/// What lets the authority sign.
#[derive(Clone)]
pub enum Authorization {
    /// A token that somebody else made.
    Token(String),
    /// A provisioner whose key makes one.
    Provisioner(Provisioning),
}

/// What was done.
#[derive(Debug, Clone)]
pub struct CertificateReport {
    /// Where the certificate is.
    pub certificate: PathBuf,
    /// Where the key is, where one was written.
    pub key: Option<PathBuf>,
    /// The certificate.
    pub new: CertificateSummary,
    /// The authority.
    pub authority: String,
}

/// Everything that could be known beforehand was checked; nothing was changed yet.
pub struct CertificatePlan {
    options: CertificateOptions,
    kind: KeyKind,
    authority: Authority,
    overwrites: Vec<PathBuf>,
}

/// What lets the authority sign, opened.
pub(super) enum Authority {
    /// A token that somebody else made.
    Token(String),
    /// Who makes one.
    Issuer(Issuer),
}

/// What is signed, and for how long.
pub(super) struct Wish<'a> {
    pub(super) request_der: &'a [u8],
    pub(super) not_before: &'a str,
    pub(super) not_after: &'a str,
    pub(super) template_data: &'a serde_json::Map<String, Value>,
}

/// Checks everything that can be known beforehand, the provisioner's password included.
pub async fn check(options: &CertificateOptions) -> Result<CertificatePlan, ClientError> {
    let kind = options.key_choice.kind()?;
    if options.subject.trim().is_empty() {
        return Err(ClientError::Usage("the subject of a certificate cannot be empty".to_owned()));
    }
    extensions(options)?;
    let pair = take(options)?;
    let authority = Authority::open(&options.authorization, &options.certifier).await?;
    let overwrites = place::existing([pair.certificate(), pair.key()]);
    Ok(CertificatePlan { options: options.clone(), kind, authority, overwrites })
}

/// Takes the pair; nobody else replaces it until it is dropped.
fn take(options: &CertificateOptions) -> Result<Pair, ClientError> {
    let pair = place::open(&options.certificate, &options.key, None)?;
    place::recover(&pair, &mut Vec::new())?;
    pair.rehearse(ROOM_FOR_CHAIN, ROOM_FOR_KEY).map_err(|error| place::refused(&pair, error))?;
    Ok(pair)
}

impl CertificatePlan {
    /// The files that exist and will be replaced.
    pub fn overwrites(&self) -> &[PathBuf] {
        &self.overwrites
    }

    /// Mints, asks, writes.
    pub async fn run(self) -> Result<CertificateReport, ClientError> {
        let options = &self.options;
        // Nothing was held while a person thought about the questions.
        let pair = take(options)?;
        if place::existing([pair.certificate(), pair.key()]).iter().any(|file| !self.overwrites.contains(file)) {
            return Err(ClientError::Changed { file: options.key.clone() });
        }
        let mint = |error: keywheel_signer::file_key::KeyError| ClientError::Mint(error.into());
        let signer = FileKey::generate(self.kind).map_err(mint)?;
        let password = options.key_password.as_ref().map(|password| password.as_slice());
        let pem = signer.to_pem(Encoding::traditional(self.kind), password).map_err(mint)?;
        let request_der = request::create(&signer, &Name::with_common_name(&options.subject), &extensions(options)?)
            .map_err(|error| ClientError::Speak { what: "the request", source: error.into() })?;
        // Durable before anybody certifies it, as for a rekey: a certificate never comes without its key.
        let intent = Intent {
            key_pem: Zeroizing::new(pem.as_bytes().to_vec()),
            request_pem: request::to_pem(&request_der).into_bytes(),
            old_certificate: String::new(),
        };
        let mut pending = pair.begin(intent).map_err(|error| place::refused(&pair, error))?;
        let wish = Wish {
            request_der: &request_der,
            not_before: &options.not_before,
            not_after: &options.not_after,
            template_data: &options.template_data,
        };
        let token = self.authority.token(&options.subject, &options.sans, &options.certifier);
        let asked = match token {
            Ok(token) => sign(&options.certifier, token, &wish).await,
            Err(error) => Err(error),
        };
        let checked = asked.and_then(|chain| ask::check_chain(&chain, signer.public_key()).map(|()| chain));
        let chain = match checked {
            Ok(chain) => chain,
            Err(error) => {
                // The token is used up or refused: this key will not be certified any more.
                if let Err(error) = pair.withdraw(&pending) {
                    tracing::warn!(%error, "the request without an answer could not be removed");
                }
                return Err(error);
            }
        };
        let install = |error: keywheel_reach::files::pair::PairError| ClientError::Install(error.into());
        pair.issued(&mut pending, &chain_to_pem(&chain)).map_err(install)?;
        pair.install(&mut pending).map_err(install)?;
        place::retire(&pair)?;
        Ok(CertificateReport {
            certificate: options.certificate.clone(),
            key: Some(options.key.clone()),
            new: load::summary(load::leaf(&chain)?),
            authority: options.certifier.name().to_owned(),
        })
    }
}

impl Authority {
    pub(super) async fn open(authorization: &Authorization, certifier: &Certifier) -> Result<Self, ClientError> {
        Ok(match authorization {
            Authorization::Token(token) => Self::Token(token.trim().to_owned()),
            Authorization::Provisioner(provisioning) => Self::Issuer(Issuer::find(provisioning, certifier).await?),
        })
    }

    /// A token for a certificate of these names.
    pub(super) fn token(&self, subject: &str, sans: &[String], certifier: &Certifier) -> Result<String, ClientError> {
        match self {
            Self::Token(token) => Ok(token.clone()),
            Self::Issuer(issuer) => {
                let mut contents = issuer.contents(Purpose::Sign, subject, certifier, Timestamp::now())?;
                contents.sans = Some(names_or(sans, subject));
                issuer.sign(&contents)
            }
        }
    }
}

/// Asks for the certificate of a request.
pub(super) async fn sign(
    certifier: &Certifier,
    token: String,
    wish: &Wish<'_>,
) -> Result<Vec<Certificate>, ClientError> {
    let template_data = (!wish.template_data.is_empty()).then(|| Value::Object(wish.template_data.clone()));
    match certifier {
        Certifier::Remote(access) => {
            let body = messages::SignRequest {
                csr: request::to_pem(wish.request_der),
                ott: token,
                not_before: wish.not_before.to_owned(),
                not_after: wish.not_after.to_owned(),
                template_data,
            };
            ask::chain_of(&access.client(None)?.sign(&body).await.map_err(ask::failed)?)
        }
        Certifier::Local(authority) => {
            let request = LocalRequest::Sign {
                request_der: wish.request_der.to_vec(),
                token,
                not_before: wish.not_before.to_owned(),
                not_after: wish.not_after.to_owned(),
                template_data,
            };
            ask::parse_chain(authority.ask(request).await?)
        }
    }
}

/// The alternative names, as an extension of the request.
pub(super) fn extensions(
    options: &CertificateOptions,
) -> Result<Vec<keywheel_wire::x509::extension::Extension>, ClientError> {
    let names: Vec<_> =
        names_or(&options.sans, &options.subject).iter().map(|name| GeneralName::from_text(name)).collect();
    let extension = alt_name::extension(&names, false).map_err(|error| {
        ClientError::Usage(format!("a name of the certificate cannot be used: {}", place::with_causes(&error)))
    })?;
    Ok(vec![extension])
}
