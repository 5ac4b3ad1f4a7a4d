//! The keys and certificates of a new CA.

use jiff::{SignedDuration, Timestamp};
use keywheel_core::lint::Role;
use keywheel_core::serial::Serial;
use keywheel_signer::random::{self, NoRandomness};
use keywheel_wire::signer::{SignatureScheme, Signer};
use keywheel_wire::x509::Malformed;
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::extension::Extension;
use keywheel_wire::x509::extension::constraints::BasicConstraints;
use keywheel_wire::x509::extension::key_identifier;
use keywheel_wire::x509::extension::usage::KeyUsage;
use keywheel_wire::x509::name::{Name, NameParts};
use keywheel_wire::x509::tbs::TbsBuilder;

use crate::authority::issue::{NotApproved, approve};

/// How long root and issuer live: ten years, as in the reference.
const LIFE: SignedDuration = SignedDuration::from_hours(24 * 3650);

/// The certificates of a CA of two levels.
pub(super) struct Pair {
    pub(super) root: Certificate,
    pub(super) intermediate: Certificate,
}

/// Why there is no CA.
#[derive(Debug, thiserror::Error)]
pub(super) enum CeremonyError {
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    NotApproved(#[from] NotApproved),
    #[error(transparent)]
    NotSigned(#[from] keywheel_signer::issue::IssueError),
}

/// Certifies a root (path length 1) and an issuing CA below it (path length 0), wherever their keys are.
pub(super) fn pair(name: &str, root_key: &dyn Signer, key: &dyn Signer, now: Timestamp) -> Result<Pair, CeremonyError> {
    let root = certificate(&subject(name, "Root CA"), root_key.public_key(), 1, None, root_key, now)?;
    let name = subject(name, "Intermediate CA");
    let intermediate = certificate(&name, key.public_key(), 0, Some(&root), root_key, now)?;
    Ok(Pair { root, intermediate })
}

fn subject(name: &str, what: &str) -> Name {
    NameParts { organization: vec![name.to_owned()], common_name: format!("{name} {what}"), ..NameParts::default() }
        .to_name()
}

fn certificate(
    subject: &Name,
    spki: &[u8],
    path_len: u32,
    issuer: Option<&Certificate>,
    signer: &dyn Signer,
    now: Timestamp,
) -> Result<Certificate, CeremonyError> {
    let not_before = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let not_after = issuer.map_or(not_before.saturating_add(LIFE).unwrap_or(Timestamp::MAX), Certificate::not_after);
    let scheme = SignatureScheme::default_for(signer.kind());
    let tbs = TbsBuilder {
        serial: Serial::from_random(random::bytes()?),
        scheme,
        issuer: issuer.map_or(subject, Certificate::subject).clone(),
        not_before,
        not_after,
        subject: subject.clone(),
        spki: spki.to_vec(),
        extensions: extensions(spki, path_len, issuer)?,
    };
    let role = if issuer.is_some() { Role::Intermediate } else { Role::Root };
    let approved = approve(tbs.build()?, role, issuer, scheme)?;
    Ok(Certificate::from_der(&keywheel_signer::issue::issue(&approved, signer)?)?)
}

fn extensions(spki: &[u8], path_len: u32, issuer: Option<&Certificate>) -> Result<Vec<Extension>, Malformed> {
    let mut extensions = vec![
        KeyUsage::CERT_SIGN.with(KeyUsage::CRL_SIGN).extension(),
        BasicConstraints { ca: true, path_len: Some(path_len) }.extension(),
        key_identifier::subject(&key_identifier::of_key(spki)?),
    ];
    if let Some(issuer) = issuer {
        extensions.push(key_identifier::authority(&key_identifier::of_key(issuer.spki())?));
    }
    Ok(extensions)
}
