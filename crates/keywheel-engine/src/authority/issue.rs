//! How a certificate is issued: lint the very bytes, record them, sign them, record the signature.

use jiff::Timestamp;
use keywheel_core::lint::{self, Approved, Issuer, LintFinding, Profile, Role};
use keywheel_core::serial::Serial;
use keywheel_signer::issue::{self as signer, IssueError};
use keywheel_signer::random;
use keywheel_store::{CertificateBody, IssueOutcome, NewCertificate, Store, TokenUse};
use keywheel_wire::signer::{SignError, SignatureScheme, Signer};
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::tbs::{TbsBuilder, TbsCertificate};
use keywheel_wire::x509::{Malformed, facts};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::settings::Settings;
use super::{AuthorityError, Issued};

/// Why a to-be-signed certificate was not approved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotApproved {
    /// It cannot be read.
    #[error("the certificate to sign cannot be read")]
    Unreadable(#[source] Malformed),
    /// It breaks rules.
    #[error("the certificate would break the rule {}", .0.first().map_or_else(String::new, ToString::to_string))]
    Findings(Vec<LintFinding>),
}

/// Lints the bytes of a certificate that `issuer` is to sign; none means that it signs itself.
pub(crate) fn approve(
    tbs: Vec<u8>,
    role: Role,
    issuer: Option<&Certificate>,
    scheme: SignatureScheme,
) -> Result<Approved, NotApproved> {
    let own = TbsCertificate::from_der(&tbs).map_err(NotApproved::Unreadable)?;
    approve_parts(&own, role, issuer, scheme)
}

/// The same for bytes that were taken apart already.
fn approve_parts(
    own: &TbsCertificate,
    role: Role,
    issuer: Option<&Certificate>,
    scheme: SignatureScheme,
) -> Result<Approved, NotApproved> {
    let facts = facts::facts_of(own).map_err(NotApproved::Unreadable)?;
    let above = issuer.map_or(own, Certificate::parts);
    let key_id = above.subject_key_id().map_err(NotApproved::Unreadable)?;
    let constraints = above.basic_constraints().map_err(NotApproved::Unreadable)?;
    let issuer = Issuer {
        name: above.subject().as_der(),
        key_id: key_id.as_deref(),
        not_after: issuer.map(Certificate::not_after),
        path_length: constraints.and_then(|constraints| constraints.path_len),
    };
    let profile = Profile { role, issuer, signature_algorithm: scheme.algorithm_identifier() };
    lint::approve(facts, &profile).map_err(NotApproved::Findings)
}

/// What is wanted of a certificate, but its serial number.
pub(super) struct Draft {
    /// All of it; its serial number is drawn anew for each try.
    pub(super) tbs: TbsBuilder,
    /// Whether it is a leaf.
    pub(super) role: Role,
    /// By whose authority.
    pub(super) issuer: Option<keywheel_store::Issuer>,
}

/// A draft with its number, linted.
pub(super) struct Prepared {
    /// What may be signed.
    pub(super) approved: Approved,
    /// What is to be recorded first.
    pub(super) record: NewCertificate,
}

impl Draft {
    /// Draws a serial number, writes the bytes and lints them.
    pub(super) fn prepare(&mut self, settings: &Settings) -> Result<Prepared, AuthorityError> {
        let random = random::bytes().map_err(|source| broken("drawing a serial number", source))?;
        self.tbs.serial = Serial::from_random(random);
        let tbs = self.tbs.build().map_err(|error| AuthorityError::Malformed(error.to_string()))?;
        let parts = TbsCertificate::from_der(&tbs).map_err(|error| AuthorityError::Malformed(error.to_string()))?;
        let alternative_names =
            parts.subject_alt_names().map_err(|error| AuthorityError::Malformed(error.to_string()))?;
        let mut names: Vec<String> = parts.subject().common_name().into_iter().collect();
        for name in alternative_names.iter().filter_map(|name| name.as_text()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let record = NewCertificate {
            serial: parts.serial(),
            subject: parts.subject().to_string(),
            names,
            key: parts.key_digest(),
            not_before: parts.not_before(),
            not_after: parts.not_after(),
            issuer: self.issuer.clone(),
            tbs,
        };
        let approved =
            approve_parts(&parts, self.role, Some(settings.issuer()), self.tbs.scheme).map_err(
                |error| match error {
                    // The requester chose the names and the key, so that most findings are the requester's to mend.
                    NotApproved::Findings(_) => AuthorityError::Forbidden(error.to_string()),
                    NotApproved::Unreadable(source) => AuthorityError::Malformed(source.to_string()),
                },
            )?;
        Ok(Prepared { approved, record })
    }
}

/// Issues a certificate that follows no other: records, uses the token up, signs.
pub(super) async fn first(
    store: &Store,
    settings: &Settings,
    mut draft: Draft,
    token: Option<TokenUse>,
    now: Timestamp,
) -> Result<Issued, AuthorityError> {
    // Two equal numbers of 126 random bits do not happen, unless the numbers are not random: then give up soon.
    for _ in 0..3 {
        let prepared = draft.prepare(settings)?;
        match store.record_issue(prepared.record, token.clone(), now).await.map_err(not_stored)? {
            IssueOutcome::Recorded => {
                let chain = finish(store, settings, &prepared.approved, now).await?;
                return Ok(Issued { chain, replayed: false });
            }
            IssueOutcome::Replay(stored) => {
                return Ok(Issued { chain: again(store, settings, stored.body, now).await?, replayed: true });
            }
            IssueOutcome::TokenUsed => {
                return Err(token_used());
            }
            IssueOutcome::SerialTaken => {}
        }
    }
    Err(numbers_taken())
}

/// Signs what was recorded and stores the signature; the answer is the chain.
pub(super) async fn finish(
    store: &Store,
    settings: &Settings,
    approved: &Approved,
    now: Timestamp,
) -> Result<Vec<Vec<u8>>, AuthorityError> {
    let der = signed(settings, "signing a certificate", |signer| signer::issue(approved, signer))?;
    // Where two signed the same bytes at once, everybody gets the first one's certificate.
    let stored = store.complete(approved.serial(), der, now).await.map_err(not_stored)?;
    Ok(with_issuers(settings, stored))
}

/// What the issuing key signs. A key in a token may take its time, and must not hold up what else runs on this thread.
pub(super) fn signed(
    settings: &Settings,
    doing: &'static str,
    sign: impl FnOnce(&dyn Signer) -> Result<Vec<u8>, IssueError>,
) -> Result<Vec<u8>, AuthorityError> {
    let signer = settings.signer.as_ref();
    let shares_its_thread = Handle::try_current().is_ok_and(|own| own.runtime_flavor() == RuntimeFlavor::MultiThread);
    let signature = if signer.takes_long() && shares_its_thread {
        tokio::task::block_in_place(|| sign(signer))
    } else {
        sign(signer)
    };
    signature.map_err(|error| match error {
        IssueError::Sign(SignError::Away { .. }) => {
            AuthorityError::KeyAway { retry_after: jiff::SignedDuration::from_secs(5), source: Box::new(error) }
        }
        error => broken(doing, error),
    })
}

/// Answers once more with a certificate that was recorded before; one whose signature never came back is signed now.
pub(super) async fn again(
    store: &Store,
    settings: &Settings,
    body: CertificateBody,
    now: Timestamp,
) -> Result<Vec<Vec<u8>>, AuthorityError> {
    let issuer = settings.issuer();
    match body {
        CertificateBody::Signed(der) => {
            let certificate = Certificate::from_der(&der).map_err(|source| broken("reading a certificate", source))?;
            if certificate.verify_signed_by(issuer.spki()).is_err() {
                return Err(issuer_changed());
            }
            Ok(with_issuers(settings, der))
        }
        CertificateBody::Intended(tbs) => {
            let approved = approve(tbs, Role::Leaf, Some(issuer), settings.scheme()).map_err(|source| {
                tracing::warn!(
                    error = super::chain(&source),
                    "a certificate that was recorded before is not approved any more"
                );
                issuer_changed()
            })?;
            finish(store, settings, &approved, now).await
        }
    }
}

/// An answer of an earlier issuer cannot be given again with its chain. A client that is told so makes a new key, and its
/// next rekey revokes what nobody saw.
fn issuer_changed() -> AuthorityError {
    let told =
        "this request was answered before by an issuing certificate that has been replaced since; make a new key";
    AuthorityError::Forbidden(told.to_owned())
}

fn with_issuers(settings: &Settings, der: Vec<u8>) -> Vec<Vec<u8>> {
    let issuers = settings.chain.iter().map(|certificate| certificate.der().to_vec());
    std::iter::once(der).chain(issuers).collect()
}

/// What the store's failures mean to who asks.
pub(super) fn not_stored(error: keywheel_store::StoreError) -> AuthorityError {
    if matches!(error, keywheel_store::StoreError::Full { .. }) {
        AuthorityError::Full { retry_after: jiff::SignedDuration::from_secs(10), source: Box::new(error) }
    } else if error.is_retryable() {
        AuthorityError::Busy { retry_after: jiff::SignedDuration::from_secs(1), source: Box::new(error) }
    } else {
        broken("asking the store", error)
    }
}

/// A one-time token that is shown again.
pub(super) fn token_used() -> AuthorityError {
    AuthorityError::NotAuthenticated("the token was used before".to_owned())
}

/// Chance has failed.
pub(super) fn numbers_taken() -> AuthorityError {
    broken("drawing a serial number", std::io::Error::other("every number drawn was taken"))
}

/// A fault of our own.
pub(super) fn broken(doing: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> AuthorityError {
    AuthorityError::Broken { doing, source: Box::new(source) }
}
