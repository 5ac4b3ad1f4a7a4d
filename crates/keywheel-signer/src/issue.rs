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
