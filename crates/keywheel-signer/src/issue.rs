//! The signature itself: of approved bytes and of nothing else, and verified before it leaves.

use keywheel_core::lint::{Approved, ApprovedCrl};
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::signer::{self, SignError, SignatureScheme, Signer, VerifyError};
use keywheel_wire::x509::certificate;

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The approved bytes name an algorithm that the issuing key does not sign with.
    #[error("the signature algorithm that was approved does not fit the issuing {kind} key; nothing was issued")]
    AlgorithmDoesNotFit {
        /// The kind of the issuing key.
        kind: KeyKind,
    },
    /// The key did not sign.
    #[error("the issuing key did not sign; nothing was issued")]
    Sign(#[source] SignError),
    /// The key's own signature does not verify: its memory or its hardware is faulty, or its halves do not belong together.
    #[error(
        "the issuing key made a signature that does not verify; nothing was issued, and the key must not be used before its files and its machine were checked"
    )]
    Faulty(#[source] VerifyError),
}

/// Signs a certificate. What was approved is what is signed; the result is the DER of the certificate.
///
/// # Errors
/// When the key does not fit or does not sign, or its signature is faulty.
pub fn issue(approved: &Approved, issuer: &dyn Signer) -> Result<Vec<u8>, IssueError> {
    sign(approved.tbs(), approved.signature_algorithm(), issuer)
}

/// Signs a revocation list. What was approved is what is signed; the result is the DER of the list.
///
/// # Errors
/// When the key does not fit or does not sign, or its signature is faulty.
pub fn issue_crl(approved: &ApprovedCrl, issuer: &dyn Signer) -> Result<Vec<u8>, IssueError> {
    sign(approved.tbs(), approved.signature_algorithm(), issuer)
}

fn sign(tbs: &[u8], algorithm: &[u8], issuer: &dyn Signer) -> Result<Vec<u8>, IssueError> {
    let kind = issuer.kind();
    let scheme = SignatureScheme::from_algorithm_identifier(algorithm)
        // Another spelling of the same algorithm would make the outer field differ from the one that was linted.
        .filter(|scheme| scheme.algorithm_identifier() == algorithm && scheme.fits(kind))
        .ok_or(IssueError::AlgorithmDoesNotFit { kind })?;
    let signature = issuer.sign(scheme, tbs).map_err(IssueError::Sign)?;
    signer::verify(issuer.public_key(), scheme, tbs, &signature).map_err(IssueError::Faulty)?;
    Ok(certificate::assemble(tbs, scheme, &signature))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use jiff::{SignedDuration, Timestamp};
    use keywheel_core::lint::{Issuer, Profile, Role, approve, approve_crl};
    use keywheel_core::revocation::ReasonCode;
    use keywheel_core::serial::Serial;
    use keywheel_wire::x509::certificate::Certificate;
    use keywheel_wire::x509::crl::{self, CrlBuilder, RevokedCertificate};
    use keywheel_wire::x509::extension::alt_name::{self, GeneralName};
    use keywheel_wire::x509::extension::constraints::BasicConstraints;
    use keywheel_wire::x509::extension::key_identifier;
    use keywheel_wire::x509::extension::usage::{self, KeyUsage};
    use keywheel_wire::x509::name::Name;
    use keywheel_wire::x509::tbs::TbsBuilder;
    use keywheel_wire::x509::{facts, oid};

    use super::*;
    use crate::file_key::FileKey;
    use crate::random;

    const KINDS: [KeyKind; 5] =
        [KeyKind::EcP256, KeyKind::EcP384, KeyKind::EcP521, KeyKind::Ed25519, KeyKind::Rsa(2048)];

    /// A key with the certificate of its CA.
    struct Ca {
        key: FileKey,
        certificate: Certificate,
    }

    fn now() -> Timestamp {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        Timestamp::from_second(i64::try_from(since.as_secs()).unwrap()).unwrap()
    }

    fn tbs(role: Role, subject: &str, spki: &[u8], issuer: &FileKey, issuer_name: &Name) -> Vec<u8> {
        let issuer_id = key_identifier::of_key(issuer.public_key()).unwrap();
        let mut extensions = match role {
            Role::Leaf => vec![
                KeyUsage::DIGITAL_SIGNATURE.extension(),
                usage::extended(&[oid::SERVER_AUTH, oid::CLIENT_AUTH]),
                alt_name::extension(&[GeneralName::Dns(subject.to_owned())], false).unwrap(),
            ],
            Role::Root | Role::Intermediate => vec![
                KeyUsage::CERT_SIGN.with(KeyUsage::CRL_SIGN).extension(),
                BasicConstraints { ca: true, path_len: Some(u32::from(matches!(role, Role::Root))) }.extension(),
            ],
        };
        extensions.push(key_identifier::subject(&key_identifier::of_key(spki).unwrap()));
        extensions.push(key_identifier::authority(&issuer_id));
        let days = match role {
            Role::Leaf => 1,
            Role::Intermediate => 100,
            Role::Root => 200,
        };
        TbsBuilder {
            serial: Serial::from_random(random::bytes().unwrap()),
            scheme: SignatureScheme::default_for(issuer.kind()),
            issuer: issuer_name.clone(),
            not_before: now(),
            not_after: now() + SignedDuration::from_hours(24 * days),
            subject: Name::with_common_name(subject),
            spki: spki.to_vec(),
            extensions,
        }
        .build()
        .unwrap()
    }

    fn approved(role: Role, tbs: Vec<u8>, issuer: &FileKey, issuer_certificate: Option<&Certificate>) -> Approved {
        let key_id = key_identifier::of_key(issuer.public_key()).unwrap();
        let facts = facts::certificate_facts(tbs).unwrap();
        let name = facts.issuer.der.clone();
        let profile = Profile {
            role,
            issuer: Issuer {
                name: &name,
                key_id: Some(&key_id),
                not_after: issuer_certificate.map(Certificate::not_after),
                path_length: issuer_certificate
                    .and_then(|certificate| certificate.parts().basic_constraints().unwrap())
                    .and_then(|constraints| constraints.path_len),
            },
            signature_algorithm: SignatureScheme::default_for(issuer.kind()).algorithm_identifier(),
        };
        approve(facts, &profile).unwrap()
    }

    fn root(kind: KeyKind) -> Ca {
        let key = FileKey::generate(kind).unwrap();
        let tbs = tbs(Role::Root, "Root", key.public_key(), &key, &Name::with_common_name("Root"));
        let der = issue(&approved(Role::Root, tbs, &key, None), &key).unwrap();
        Ca { certificate: Certificate::from_der(&der).unwrap(), key }
    }

    fn below(ca: &Ca, role: Role, subject: &str, spki: &[u8]) -> (Vec<u8>, Certificate) {
        let tbs = tbs(role, subject, spki, &ca.key, ca.certificate.subject());
        let der = issue(&approved(role, tbs.clone(), &ca.key, Some(&ca.certificate)), &ca.key).unwrap();
        (tbs, Certificate::from_der(&der).unwrap())
    }

    fn openssl(folder: &Path, arguments: &[&str]) -> String {
        let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    }

    #[test]
    fn chains_of_every_kind_are_verified_by_openssl_and_hold_exactly_what_was_approved() {
        let folder = tempfile::tempdir().unwrap();
        for kind in KINDS {
            let root = root(kind);
            std::fs::write(folder.path().join("root"), root.certificate.to_pem()).unwrap();
            for below_kind in KINDS {
                let key = FileKey::generate(below_kind).unwrap();
                let (_, certificate) = below(&root, Role::Intermediate, "Intermediate", key.public_key());
                std::fs::write(folder.path().join("intermediate"), certificate.to_pem()).unwrap();
                let intermediate = Ca { key, certificate };
                let leaf_key = FileKey::generate(KeyKind::EcP256).unwrap();
                let (tbs, leaf) = below(&intermediate, Role::Leaf, "svc.example", leaf_key.public_key());
                assert_eq!(leaf.tbs(), tbs, "what is linted is what is signed");
                std::fs::write(folder.path().join("leaf"), leaf.to_pem()).unwrap();
                openssl(
                    folder.path(),
                    &[
                        "verify",
                        "-x509_strict",
                        "-purpose",
                        "sslserver",
                        "-CAfile",
                        "root",
                        "-untrusted",
                        "intermediate",
                        "leaf",
                    ],
                );
            }
        }
    }

    #[test]
    fn revocation_lists_of_every_kind_are_verified_by_openssl() {
        let folder = tempfile::tempdir().unwrap();
        for kind in KINDS {
            let ca = root(kind);
            let key_id = key_identifier::of_key(ca.key.public_key()).unwrap();
            let scheme = SignatureScheme::default_for(kind);
            let tbs = CrlBuilder {
                scheme,
                issuer: ca.certificate.subject().clone(),
                this_update: now(),
                next_update: now() + SignedDuration::from_hours(24),
                number: 7,
                authority_key_id: key_id.clone(),
                distribution_point: None,
                revoked: vec![RevokedCertificate {
                    serial: Serial::from_random([1; 16]),
                    revoked_at: now(),
                    reason: Some(ReasonCode::Superseded),
                }],
            }
            .build()
            .unwrap();
            let issuer = Issuer {
                name: ca.certificate.subject().as_der(),
                key_id: Some(&key_id),
                not_after: Some(ca.certificate.not_after()),
                path_length: None,
            };
            let approved = approve_crl(facts::crl_facts(tbs).unwrap(), &issuer, scheme.algorithm_identifier()).unwrap();
            let list = issue_crl(&approved, &ca.key).unwrap();
            std::fs::write(folder.path().join("root"), ca.certificate.to_pem()).unwrap();
            std::fs::write(folder.path().join("crl"), crl::to_pem(&list)).unwrap();
            // This command succeeds whatever it finds.
            let said = openssl(folder.path(), &["crl", "-in", "crl", "-CAfile", "root", "-noout"]);
            assert!(said.contains("verify OK"), "{said}");
        }
    }

    /// A key whose signatures come out damaged, as from faulty memory.
    struct Faulty(FileKey);

    impl Signer for Faulty {
        fn public_key(&self) -> &[u8] {
            self.0.public_key()
        }

        fn kind(&self) -> KeyKind {
            self.0.kind()
        }

        fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError> {
            let mut signature = self.0.sign(scheme, message)?;
            if let Some(last) = signature.last_mut() {
                *last ^= 1;
            }
            Ok(signature)
        }
    }

    #[test]
    fn a_damaged_signature_never_leaves() {
        for kind in KINDS {
            let key = FileKey::generate(kind).unwrap();
            let tbs = tbs(Role::Root, "Root", key.public_key(), &key, &Name::with_common_name("Root"));
            let approved = approved(Role::Root, tbs, &key, None);
            assert!(issue(&approved, &key).is_ok());
            assert!(matches!(issue(&approved, &Faulty(key)), Err(IssueError::Faulty(_))), "{kind}");
        }
    }

    #[test]
    fn a_key_of_another_kind_than_was_approved_does_not_sign() {
        let key = FileKey::generate(KeyKind::EcP256).unwrap();
        let tbs = tbs(Role::Root, "Root", key.public_key(), &key, &Name::with_common_name("Root"));
        let approved = approved(Role::Root, tbs, &key, None);
        for kind in [KeyKind::EcP384, KeyKind::Ed25519, KeyKind::Rsa(2048)] {
            let other = FileKey::generate(kind).unwrap();
            assert!(matches!(issue(&approved, &other), Err(IssueError::AlgorithmDoesNotFit { .. })), "{kind}");
        }
    }
}
