//! Chains of certificates: whether one leads from a certificate to a trusted root, at a given time and for a given usage.

use super::certificate::Certificate;
use super::oid::{self, Oid};
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
/// The leaf may be a CA itself, which may also be one of `roots`.
pub fn verify(
    leaf: &Certificate,
    intermediates: &[Certificate],
    roots: &[Certificate],
    at: Timestamp,
    usage: Usage,
) -> Result<(), ChainError> {
    if leaf.is_ca() {
        return verify_ca(leaf, intermediates, roots, at, usage);
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

impl Usage {
    fn oid(self) -> Option<Oid> {
        match self {
            Self::ServerAuth => Some(oid::SERVER_AUTH),
            Self::ClientAuth => Some(oid::CLIENT_AUTH),
            Self::Any => None,
        }
    }

    fn refused(self) -> ChainError {
        ChainError::Usage {
            wanted: match self {
                Self::ServerAuth => "serverAuth",
                Self::ClientAuth => "clientAuth",
                Self::Any => "any use",
            },
        }
    }
}

/// Longer chains than this are not followed.
const MAX_DEPTH: usize = 8;

/// More certificates of one name than this are not tried.
const MAX_CANDIDATES: usize = 32;

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
    // A root that webpki cannot read is a root that leads nowhere; the others still may.
    let (readable, anchors): (Vec<&Certificate>, Vec<TrustAnchor<'_>>) = roots
        .iter()
        .zip(&root_ders)
        .filter_map(|(root, der)| Some((*root, webpki::anchor_from_trusted_cert(der).ok()?)))
        .unzip();
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
        webpki::Error::RequiredEkuNotFoundContext(_) => usage.refused(),
        other => reason(other),
    })?;
    // webpki takes a root for a bare key: whether it is a CA and how deep it allows is ours to check.
    let index = anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor()));
    let root = index.and_then(|index| readable.get(index)).ok_or(ChainError::UnknownIssuer)?;
    check_issuer(root, true, path.intermediate_certificates().count())
}

/// Follows the chain of a CA certificate upwards: webpki accepts none at the end of a chain.
fn verify_ca(
    leaf: &Certificate,
    intermediates: &[Certificate],
    roots: &[Certificate],
    at: Timestamp,
    usage: Usage,
) -> Result<(), ChainError> {
    let malformed = |error: super::Malformed| ChainError::Other(error.to_string());
    if let (Some(wanted), Some(allowed)) = (usage.oid(), leaf.parts().extended_key_usage().map_err(malformed)?)
        && !allowed.contains(&wanted)
    {
        return Err(usage.refused());
    }
    let mut current = leaf;
    check_time(current, at)?;
    for depth in 0..MAX_DEPTH {
        if roots.iter().any(|root| root.der() == current.der()) {
            return Ok(());
        }
        let is_root = |one: &Certificate| roots.iter().any(|root| root.der() == one.der());
        let named: Vec<&Certificate> = roots
            .iter()
            .chain(intermediates)
            .filter(|one| one.subject() == current.issuer() && one.der() != current.der())
            .take(MAX_CANDIDATES)
            .collect();
        let signers: Vec<&&Certificate> =
            named.iter().filter(|one| current.verify_signed_by(one.spki()).is_ok()).collect();
        // Of several certificates of one issuer the first that is good; where none is, the first says why.
        let good = |one: &Certificate| is_valid(one, at) && check_issuer(one, is_root(one), depth).is_ok();
        let issuer = signers.iter().find(|one| good(one)).or(signers.first()).ok_or(if named.is_empty() {
            ChainError::UnknownIssuer
        } else {
            ChainError::Signature
        })?;
        check_time(issuer, at)?;
        check_issuer(issuer, is_root(issuer), depth)?;
        current = issuer;
    }
    Err(ChainError::PathLength)
}

/// That it is a CA, and allows so many CAs between it and the end of the chain.
fn check_issuer(issuer: &Certificate, is_root: bool, cas_below: usize) -> Result<(), ChainError> {
    // Version 1 roots know no extensions; whoever trusts one as a root says that it is a CA.
    let is_old_root = is_root && issuer.parts().version() == 1;
    if !issuer.is_ca() && !is_old_root {
        return Err(ChainError::IssuerIsNoCa);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_key::KeyKind;
    use crate::signer::Signer;
    use crate::x509::extension::constraints::{NameConstraints, Subtrees};
    use crate::x509::extension::{Extension, usage};
    use crate::x509::name::Name;
    use crate::x509::openssl::{Judge, KINDS, Key, at, ca_extensions, issue, issue_between, leaf_extensions};

    struct Family {
        judge: Judge,
        root: Certificate,
        issuing_key: Key,
        issuing: Certificate,
        leaf_key: Key,
    }

    const NOW: &str = "2026-06-01T00:00:00Z";

    impl Family {
        fn new(kind: KeyKind, root_extra: &[Extension]) -> Self {
            let judge = Judge::new();
            let (root_key, root) = judge.root("root", kind, root_extra);
            let issuing_key = judge.key("issuing", kind);
            let extensions = ca_extensions(&issuing_key, &root_key, Some(0));
            let name = Name::with_common_name("Issuing");
            let issuing = issue(&root_key, root.subject(), &name, issuing_key.public_key(), extensions);
            judge.write("issuing.crt", issuing.to_pem());
            let leaf_key = judge.key("leaf", kind);
            Self { judge, root, issuing_key, issuing, leaf_key }
        }

        fn leaf(&self, usages: &[Oid], names: &[&str], span: (&str, &str)) -> Certificate {
            let extensions = leaf_extensions(&self.leaf_key, &self.issuing_key, usages, names);
            let (issuer, subject) = (self.issuing.subject(), Name::with_common_name("svc"));
            let spki = self.leaf_key.public_key();
            let leaf = issue_between(&self.issuing_key, issuer, &subject, spki, extensions, span);
            self.judge.write("leaf.crt", leaf.to_pem());
            leaf
        }

        fn check(&self, leaf: &Certificate, time: &str, usage: Usage) -> Result<(), ChainError> {
            let (between, roots) = (std::slice::from_ref(&self.issuing), std::slice::from_ref(&self.root));
            verify(leaf, between, roots, at(time), usage)
        }
    }

    const SPAN: (&str, &str) = ("2026-01-01T00:00:00Z", "2030-01-01T00:00:00Z");

    #[test]
    fn chains_of_every_key_are_accepted_as_openssl_accepts_them() {
        for kind in KINDS {
            let family = Family::new(kind, &[]);
            let leaf = family.leaf(&[oid::SERVER_AUTH, oid::CLIENT_AUTH], &["svc.lab", "10.0.0.1"], SPAN);
            for usage in [Usage::ServerAuth, Usage::ClientAuth, Usage::Any] {
                assert_eq!(family.check(&leaf, NOW, usage), Ok(()));
            }
            family.judge.accepts("verify -x509_strict -CAfile root.crt -untrusted issuing.crt leaf.crt");
            for host in ["svc.lab", "10.0.0.1"] {
                assert_eq!(verify_host(&leaf, host), Ok(()));
            }
            for host in ["other.lab", "10.0.0.2", "", "svc lab"] {
                assert_eq!(verify_host(&leaf, host), Err(ChainError::Host { name: host.to_owned() }));
            }
        }
    }

    #[test]
    fn time_is_judged_at_the_second() {
        let family = Family::new(KINDS[0], &[]);
        let leaf = family.leaf(&[oid::CLIENT_AUTH], &["svc.lab"], ("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"));
        let check = |time| family.check(&leaf, time, Usage::ClientAuth);
        assert_eq!(check("2026-02-01T00:00:00Z"), Ok(()));
        assert_eq!(check("2026-03-01T00:00:00.9Z"), Ok(()));
        let not_after = at("2026-03-01T00:00:00Z");
        assert_eq!(check("2026-03-01T00:00:01Z"), Err(ChainError::Expired { not_after }));
        let not_before = at("2026-02-01T00:00:00Z");
        assert_eq!(check("2026-01-31T23:59:59Z"), Err(ChainError::NotYetValid { not_before }));
    }

    #[test]
    fn an_expired_root_is_named_as_the_cause() {
        let family = Family::new(KINDS[0], &[]);
        let leaf = family.leaf(&[oid::CLIENT_AUTH], &["svc.lab"], ("2026-01-01T00:00:00Z", "2040-01-01T00:00:00Z"));
        let key = family.judge.key("r2", KINDS[0]);
        let name = family.issuing.subject();
        // The issuing CA certified again by a root that is over, while it is not.
        let old = issue_between(
            &key,
            &Name::with_common_name("old"),
            &Name::with_common_name("old"),
            key.public_key(),
            ca_extensions(&key, &key, None),
            ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        );
        let extensions = ca_extensions(&family.issuing_key, &key, Some(0));
        let crossed = issue(&key, old.subject(), name, family.issuing_key.public_key(), extensions);
        let not_after = at("2027-01-01T00:00:00Z");
        let late = at("2028-01-01T00:00:00Z");
        let outcome = verify(&leaf, std::slice::from_ref(&crossed), std::slice::from_ref(&old), late, Usage::Any);
        assert_eq!(outcome, Err(ChainError::Expired { not_after }));
        let both = [old, family.root.clone()];
        assert_eq!(verify(&leaf, &[crossed, family.issuing.clone()], &both, late, Usage::Any), Ok(()));
    }

    #[test]
    fn a_certificate_for_something_else_is_refused() {
        let family = Family::new(KINDS[0], &[]);
        let leaf = family.leaf(&[oid::SERVER_AUTH], &["svc.lab"], SPAN);
        let refused = Err(ChainError::Usage { wanted: "clientAuth" });
        assert_eq!(family.check(&leaf, NOW, Usage::ClientAuth), refused);
        assert_eq!(family.check(&leaf, NOW, Usage::Any), Ok(()));
    }

    #[test]
    fn a_stranger_and_a_forgery_are_told_apart() {
        let family = Family::new(KINDS[0], &[]);
        let leaf = family.leaf(&[oid::CLIENT_AUTH], &["svc.lab"], SPAN);
        let (_, stranger) = Judge::new().root("stranger", KINDS[0], &[]);
        let outcome = verify(&leaf, std::slice::from_ref(&family.issuing), &[stranger], at(NOW), Usage::ClientAuth);
        assert_eq!(outcome, Err(ChainError::UnknownIssuer));
        assert_eq!(
            verify(&leaf, &[], std::slice::from_ref(&family.root), at(NOW), Usage::Any),
            Err(ChainError::UnknownIssuer)
        );
        let mut forged = leaf.der().to_vec();
        let at_name = forged.windows(7).position(|window| window == b"svc.lab").unwrap();
        forged[at_name] = b'x';
        let forged = Certificate::from_der(&forged).unwrap();
        assert_eq!(family.check(&forged, NOW, Usage::ClientAuth), Err(ChainError::Signature));
    }

    #[test]
    fn name_constraints_of_root_and_issuer_hold() {
        let permitted = Subtrees { dns: vec!["lab".into()], ..Subtrees::default() };
        let excluded = Subtrees { dns: vec!["secret.lab".into()], ..Subtrees::default() };
        let constraints = NameConstraints { permitted, excluded }.extension().unwrap();
        let family = Family::new(KINDS[0], &[constraints]);
        for (name, outcome) in [
            ("svc.lab", Ok(())),
            ("svc.evil", Err(ChainError::NameConstraints)),
            ("svc.secret.lab", Err(ChainError::NameConstraints)),
        ] {
            let leaf = family.leaf(&[oid::CLIENT_AUTH], &[name], SPAN);
            assert_eq!(family.check(&leaf, NOW, Usage::ClientAuth), outcome, "{name}");
            let command = "verify -CAfile root.crt -untrusted issuing.crt leaf.crt";
            match outcome {
                Ok(()) => family.judge.accepts(command),
                Err(_) => family.judge.refuses(command),
            };
        }
    }

    #[test]
    fn a_leaf_signs_nothing() {
        let family = Family::new(KINDS[0], &[]);
        let leaf = family.leaf(&[oid::CLIENT_AUTH], &["svc.lab"], SPAN);
        let key = family.judge.key("below", KINDS[0]);
        let extensions = leaf_extensions(&key, &family.leaf_key, &[oid::CLIENT_AUTH], &["evil.lab"]);
        let name = Name::with_common_name("evil");
        let below = issue(&family.leaf_key, leaf.subject(), &name, key.public_key(), extensions.clone());
        let between = [leaf.clone(), family.issuing.clone()];
        let roots = std::slice::from_ref(&family.root);
        assert_eq!(verify(&below, &between, roots, at(NOW), Usage::Any), Err(ChainError::IssuerIsNoCa));
        // Nor where somebody trusts a leaf as if it were a root.
        assert_eq!(
            verify(&below, &[], std::slice::from_ref(&leaf), at(NOW), Usage::Any),
            Err(ChainError::IssuerIsNoCa)
        );
    }

    #[test]
    fn ca_certificates_have_chains_too() {
        let family = Family::new(KINDS[0], &[]);
        let roots = std::slice::from_ref(&family.root);
        assert_eq!(verify(&family.issuing, &[], roots, at(NOW), Usage::ServerAuth), Ok(()));
        assert_eq!(verify(&family.root, &[], roots, at(NOW), Usage::Any), Ok(()));
        assert_eq!(verify(&family.issuing, &[], &[], at(NOW), Usage::Any), Err(ChainError::UnknownIssuer));
        assert!(verify(&family.issuing, &[], roots, at("2040-01-01T00:00:00Z"), Usage::Any).is_err());
        let mut forged = family.issuing.der().to_vec();
        *forged.last_mut().unwrap() ^= 1;
        let forged = Certificate::from_der(&forged).unwrap();
        assert_eq!(verify(&forged, &[], roots, at(NOW), Usage::Any), Err(ChainError::Signature));

        // The issuing CA has path length 0: no CA below it.
        let key = family.judge.key("deep", KINDS[0]);
        let extensions = ca_extensions(&key, &family.issuing_key, None);
        let name = Name::with_common_name("deep");
        let deep = issue(&family.issuing_key, family.issuing.subject(), &name, key.public_key(), extensions);
        let below_key = family.judge.key("below", KINDS[0]);
        let extensions = leaf_extensions(&below_key, &key, &[oid::CLIENT_AUTH], &["x.lab"]);
        let below = issue(&key, deep.subject(), &Name::empty(), below_key.public_key(), extensions);
        let between = [deep, family.issuing.clone()];
        assert_eq!(verify(&below, &between, roots, at(NOW), Usage::Any), Err(ChainError::PathLength));
    }

    #[test]
    fn the_path_length_of_the_root_counts() {
        let judge = Judge::new();
        let root_key = judge.key("root", KINDS[0]);
        let name = Name::with_common_name("root");
        let root = issue(&root_key, &name, &name, root_key.public_key(), ca_extensions(&root_key, &root_key, Some(0)));
        let ca_key = judge.key("ca", KINDS[0]);
        let ca_name = Name::with_common_name("ca");
        let ca = issue(&root_key, &name, &ca_name, ca_key.public_key(), ca_extensions(&ca_key, &root_key, None));
        let key = judge.key("leaf", KINDS[0]);
        let extensions = leaf_extensions(&key, &ca_key, &[oid::CLIENT_AUTH], &["x.lab"]);
        let leaf = issue(&ca_key, &ca_name, &Name::empty(), key.public_key(), extensions);
        assert_eq!(verify(&leaf, &[ca], &[root], at(NOW), Usage::Any), Err(ChainError::PathLength));
    }

    #[test]
    fn a_ca_for_servers_is_no_client() {
        let judge = Judge::new();
        let (root_key, root) = judge.root("root", KINDS[0], &[]);
        let key = judge.key("ca", KINDS[0]);
        let mut extensions = ca_extensions(&key, &root_key, None);
        extensions.push(usage::extended(&[oid::SERVER_AUTH]));
        let name = Name::with_common_name("ca");
        let ca = issue(&root_key, root.subject(), &name, key.public_key(), extensions);
        let roots = [root];
        assert_eq!(verify(&ca, &[], &roots, at(NOW), Usage::ServerAuth), Ok(()));
        assert_eq!(
            verify(&ca, &[], &roots, at(NOW), Usage::ClientAuth),
            Err(ChainError::Usage { wanted: "clientAuth" })
        );
    }

    #[test]
    fn an_unknown_critical_extension_stops_the_chain() {
        let family = Family::new(KINDS[0], &[]);
        let mut extensions = leaf_extensions(&family.leaf_key, &family.issuing_key, &[oid::CLIENT_AUTH], &["x.lab"]);
        extensions.push(Extension::new("1.2.3.4".parse().unwrap(), true, vec![5, 0]));
        let (key, spki) = (&family.issuing_key, family.leaf_key.public_key());
        let leaf = issue(key, family.issuing.subject(), &Name::empty(), spki, extensions);
        assert_eq!(family.check(&leaf, NOW, Usage::Any), Err(ChainError::UnknownCriticalExtension));
    }
}
