//! Chains of certificates: whether one leads from a certificate to a trusted root, at a given time and for a given usage.

use super::certificate::Certificate;
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, IpAddr, ServerName, TrustAnchor, UnixTime};
use std::time::Duration;
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};

/// What a certificate must be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// To be shown by a TLS server.
    ServerAuth,
    /// To be shown by a TLS client.
    ClientAuth,
    /// Anything: the extended key usage is not looked at.
    Any,
}

/// Why a chain is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// A certificate of the chain is over.
    #[error("a certificate of the chain expired at {not_after}")]
    Expired {
        /// Its last second.
        not_after: Timestamp,
    },
    /// A certificate of the chain has not begun.
    #[error("a certificate of the chain is not valid before {not_before}")]
    NotYetValid {
        /// Its first second.
        not_before: Timestamp,
    },
    /// No chain leads to a trusted root.
    #[error("no chain of certificates leads to a trusted root")]
    UnknownIssuer,
    /// It may not be used for this.
    #[error("its extended key usage does not allow {wanted}")]
    Usage {
        /// What it would have to allow.
        wanted: &'static str,
    },
    /// A name is outside of what a CA of the chain may certify.
    #[error("one of its names is outside the name constraints of its issuers")]
    NameConstraints,
    /// A CA of the chain has more CAs below it than it may.
    #[error("the chain is longer than one of its CAs allows")]
    PathLength,
    /// A signature of the chain does not verify.
    #[error("a signature of the chain does not verify")]
    Signature,
    /// A certificate that is no CA signed another.
    #[error("a certificate of the chain was signed by one that is no CA")]
    IssuerIsNoCa,
    /// It is not for this host.
    #[error("it is not valid for the name {name}")]
    Host {
        /// The host's name.
        name: String,
    },
    /// A critical extension is unknown.
    #[error("it has a critical extension that is not understood")]
    UnknownCriticalExtension,
    /// Something else.
    #[error("the chain is not acceptable: {0}")]
    Other(String),
}

/// Checks that a chain leads from `leaf` over `intermediates` to one of `roots`, with everything valid at `at`.
///
/// The leaf may be a CA itself (then [`Usage`] is not looked at), but it is never its own root unless it stands in `roots`.
pub fn verify(
    leaf: &Certificate,
    intermediates: &[Certificate],
    roots: &[Certificate],
    at: Timestamp,
    usage: Usage,
) -> Result<(), ChainError> {
    if leaf.is_ca() {
        return verify_ca(leaf, intermediates, roots, at);
    }
    let current: Vec<&Certificate> = roots.iter().filter(|root| is_valid(root, at)).collect();
    let outcome = verify_leaf(leaf, intermediates, &current, at, usage);
    if outcome == Err(ChainError::UnknownIssuer) && current.len() < roots.len() {
        // With all roots it may be seen that time is what is wrong.
        let all: Vec<&Certificate> = roots.iter().collect();
        verify_leaf(leaf, intermediates, &all, at, usage)?;
        let stale = roots.iter().find(|root| !is_valid(root, at));
        return stale.map_or(outcome, |root| check_time(root, at));
    }
    outcome
}

/// Checks that a certificate is for this host, a DNS name or an IP address.
pub fn verify_host(leaf: &Certificate, host: &str) -> Result<(), ChainError> {
    let refused = || ChainError::Host { name: host.to_owned() };
    let der = CertificateDer::from(leaf.der());
    let end_entity = EndEntityCert::try_from(&der).map_err(reason)?;
    let name = match host.parse::<std::net::IpAddr>() {
        Ok(ip) => ServerName::IpAddress(IpAddr::from(ip)),
        Err(_) => ServerName::try_from(host).map_err(|_| refused())?,
    };
    end_entity.verify_is_valid_for_subject_name(&name).map_err(|_| refused())
}

/// Longer chains than this are not followed.
const MAX_DEPTH: usize = 8;

struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

fn verify_leaf(
    leaf: &Certificate,
    intermediates: &[Certificate],
    roots: &[&Certificate],
    at: Timestamp,
    usage: Usage,
) -> Result<(), ChainError> {
    let der = CertificateDer::from(leaf.der());
    let end_entity = EndEntityCert::try_from(&der).map_err(reason)?;
    let between: Vec<CertificateDer<'_>> = intermediates.iter().map(|one| CertificateDer::from(one.der())).collect();
    let root_ders: Vec<CertificateDer<'_>> = roots.iter().map(|root| CertificateDer::from(root.der())).collect();
    let anchors: Vec<TrustAnchor<'_>> =
        root_ders.iter().map(webpki::anchor_from_trusted_cert).collect::<Result<_, _>>().map_err(reason)?;
    let second = u64::try_from(at.as_second()).unwrap_or(0);
    let time = UnixTime::since_unix_epoch(Duration::from_secs(second));
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    let path = match usage {
        Usage::Any => end_entity.verify_for_usage(algorithms, &anchors, &between, time, AnyUsage, None, None),
        Usage::ServerAuth | Usage::ClientAuth => {
            let usage = match usage {
                Usage::ServerAuth => webpki::KeyUsage::server_auth(),
                _ => webpki::KeyUsage::client_auth(),
            };
            end_entity.verify_for_usage(algorithms, &anchors, &between, time, usage, None, None)
        }
    }
    .map_err(|error| match error {
        webpki::Error::RequiredEkuNotFoundContext(_) => ChainError::Usage {
            wanted: match usage {
                Usage::ServerAuth => "serverAuth",
                Usage::ClientAuth => "clientAuth",
                Usage::Any => "any use",
            },
        },
        other => reason(other),
    })?;
    // webpki takes a root for a bare key: how deep it allows is ours to check.
    let depth = path.intermediate_certificates().count();
    let anchor = path.anchor();
    let root = roots.iter().find(|root| is_anchor(root, anchor)).ok_or(ChainError::UnknownIssuer)?;
    check_depth(root, depth)
}

/// Whether an anchor that webpki chose is this root: webpki keeps names and keys without their outer tag and length.
fn is_anchor(root: &Certificate, anchor: &TrustAnchor<'_>) -> bool {
    root.spki().ends_with(&anchor.subject_public_key_info) && root.subject().as_der().ends_with(&anchor.subject)
}

/// Follows the chain of a CA certificate upwards: webpki accepts none at the end of a chain.
fn verify_ca(
    leaf: &Certificate,
    intermediates: &[Certificate],
    roots: &[Certificate],
    at: Timestamp,
) -> Result<(), ChainError> {
    let mut current = leaf;
    check_time(current, at)?;
    for depth in 0..MAX_DEPTH {
        if let Some(root) = roots.iter().find(|root| root.der() == current.der()) {
            return check_depth(root, depth.saturating_sub(1));
        }
        let issuers = || {
            roots
                .iter()
                .chain(intermediates)
                .filter(|one| one.subject() == current.issuer() && one.der() != current.der())
        };
        let issuer = issuers().find(|one| current.verify_signed_by(one.spki()).is_ok()).ok_or_else(|| {
            if issuers().next().is_some() { ChainError::Signature } else { ChainError::UnknownIssuer }
        })?;
        if !issuer.is_ca() {
            return Err(ChainError::IssuerIsNoCa);
        }
        check_time(issuer, at)?;
        check_depth(issuer, depth)?;
        current = issuer;
    }
    Err(ChainError::PathLength)
}

fn check_depth(issuer: &Certificate, cas_below: usize) -> Result<(), ChainError> {
    let allowed = issuer
        .parts()
        .basic_constraints()
        .map_err(|error| ChainError::Other(error.to_string()))?
        .and_then(|constraints| constraints.path_len);
    match allowed {
        Some(allowed) if cas_below as u64 > u64::from(allowed) => Err(ChainError::PathLength),
        _ => Ok(()),
    }
}

fn is_valid(certificate: &Certificate, at: Timestamp) -> bool {
    check_time(certificate, at).is_ok()
}

fn check_time(certificate: &Certificate, at: Timestamp) -> Result<(), ChainError> {
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    let second = super::time::whole_second(at);
    if second < not_before {
        Err(ChainError::NotYetValid { not_before })
    } else if second > not_after {
        Err(ChainError::Expired { not_after })
    } else {
        Ok(())
    }
}

fn reason(error: webpki::Error) -> ChainError {
    use webpki::Error;
    let moment = |time: UnixTime| {
        i64::try_from(time.as_secs())
            .ok()
            .and_then(|second| Timestamp::from_second(second).ok())
            .unwrap_or(Timestamp::MAX)
    };
    match error {
        Error::CertExpired { not_after, .. } => ChainError::Expired { not_after: moment(not_after) },
        Error::CertNotValidYet { not_before, .. } => ChainError::NotYetValid { not_before: moment(not_before) },
        Error::UnknownIssuer => ChainError::UnknownIssuer,
        Error::NameConstraintViolation => ChainError::NameConstraints,
        Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => ChainError::PathLength,
        Error::InvalidSignatureForPublicKey => ChainError::Signature,
        Error::EndEntityUsedAsCa => ChainError::IssuerIsNoCa,
        Error::UnsupportedCriticalExtension => ChainError::UnknownCriticalExtension,
        other => ChainError::Other(other.to_string()),
    }
}
