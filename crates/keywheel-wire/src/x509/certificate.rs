//! Certificates: read with their exact bytes, and assembled from what was signed and its signature.

use super::Malformed;
use super::extension::Extension;
use super::extension::alt_name::GeneralName;
use super::extension::provisioner::ProvisionerExtension;
use super::name::Name;
use super::oid::Oid;
use super::tbs::{TbsCertificate, sha256};
use super::tlv::{self, Element};
use crate::pem;
use crate::signer::{self, SignatureScheme, VerifyError};
use jiff::Timestamp;
use keywheel_core::fingerprint::{CertificateDigest, KeyDigest};
use keywheel_core::serial::Serial;

/// A certificate as it was encoded, and what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    tbs: TbsCertificate,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

/// Why a file holds no certificate that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The text is no PEM.
    #[error("the certificate file is not readable")]
    Pem(#[source] pem::PemError),
    /// There is no certificate in it.
    #[error("there is no certificate in the file")]
    None,
    /// One certificate in it cannot be read.
    #[error("certificate {position} in the file cannot be read")]
    Malformed {
        /// Its position, the first being 1.
        position: usize,
        /// What is wrong with it.
        source: Malformed,
    },
    /// There are more than anybody needs.
    #[error("the file has more than {MAX_CHAIN} certificates")]
    TooMany,
}

/// Why a certificate is not signed by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Its algorithm is not one that Keywheel accepts.
    #[error("its signature algorithm is not supported")]
    UnsupportedAlgorithm,
    /// It states one algorithm inside and another outside.
    #[error("it states two different signature algorithms")]
    AlgorithmsDiffer,
    /// The signature does not verify.
    #[error("its signature is not by the key of its issuer")]
    Invalid(#[source] VerifyError),
}

impl Certificate {
    /// From its whole encoding, which is kept.
    pub fn from_der(der: &[u8]) -> Result<Self, Malformed> {
        let (tbs, algorithm, signature) = split_signed(der, "certificate")?;
        Ok(Self {
            der: der.to_vec(),
            tbs: TbsCertificate::from_der(tbs)?,
            algorithm: algorithm.to_vec(),
            signature: signature.to_vec(),
        })
    }

    /// The first certificate in a PEM file, or the one that a DER file is.
    pub fn from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        Self::chain_from_pem(text)?.into_iter().next().ok_or(CertificateError::None)
    }

    /// All certificates in a PEM file in order (at least one), or the one that a DER file is.
    ///
    /// Other blocks and text between them are skipped.
    pub fn chain_from_pem(text: &[u8]) -> Result<Vec<Self>, CertificateError> {
        if text.first() == Some(&tlv::SEQUENCE) {
            return Self::from_der(text)
                .map(|one| vec![one])
                .map_err(|source| CertificateError::Malformed { position: 1, source });
        }
        let mut chain = Vec::new();
        for block in pem::parse(text).map_err(CertificateError::Pem)? {
            if block.label != PEM_LABEL {
                continue;
            }
            if chain.len() == MAX_CHAIN {
                return Err(CertificateError::TooMany);
            }
            let one = Self::from_der(&block.der)
                .map_err(|source| CertificateError::Malformed { position: chain.len() + 1, source })?;
            chain.push(one);
        }
        if chain.is_empty() {
            return Err(CertificateError::None);
        }
        Ok(chain)
    }

    /// The exact bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// As a PEM block.
    pub fn to_pem(&self) -> String {
        pem::encode(PEM_LABEL, &self.der).to_string()
    }

    /// The exact bytes that were signed.
    pub fn tbs(&self) -> &[u8] {
        self.tbs.der()
    }

    /// The part that was signed, with all that it says.
    pub fn parts(&self) -> &TbsCertificate {
        &self.tbs
    }

    /// SHA-256 of the whole.
    pub fn digest(&self) -> CertificateDigest {
        CertificateDigest(sha256(&self.der))
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn key_digest(&self) -> KeyDigest {
        self.tbs.key_digest()
    }

    /// The serial number.
    pub fn serial(&self) -> Serial {
        self.tbs.serial()
    }

    /// Who signed.
    pub fn issuer(&self) -> &Name {
        self.tbs.issuer()
    }

    /// Whom it certifies.
    pub fn subject(&self) -> &Name {
        self.tbs.subject()
    }

    /// First second of its validity.
    pub fn not_before(&self) -> Timestamp {
        self.tbs.not_before()
    }

    /// Last second of its validity.
    pub fn not_after(&self) -> Timestamp {
        self.tbs.not_after()
    }

    /// The whole SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        self.tbs.spki()
    }

    /// The extensions in order.
    pub fn extensions(&self) -> &[Extension] {
        self.tbs.extensions()
    }

    /// The extension of this type.
    pub fn extension(&self, oid: &Oid) -> Option<&Extension> {
        self.tbs.extension(oid)
    }

    /// The alternative names; empty where there is no such extension.
    pub fn subject_alt_names(&self) -> Result<Vec<GeneralName>, Malformed> {
        self.tbs.subject_alt_names()
    }

    /// Whether it says that it is a CA.
    pub fn is_ca(&self) -> bool {
        self.tbs.is_ca()
    }

    /// Which provisioner vouched for it; `None` where nothing is said.
    pub fn provisioner(&self) -> Result<Option<ProvisionerExtension>, Malformed> {
        self.tbs.provisioner()
    }

    /// The AlgorithmIdentifier of the signature.
    pub fn algorithm(&self) -> &[u8] {
        &self.algorithm
    }

    /// The scheme of the signature; `None` for what Keywheel does not verify.
    pub fn scheme(&self) -> Option<SignatureScheme> {
        SignatureScheme::from_algorithm_identifier(&self.algorithm)
    }

    /// The signature.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Whether issuer and subject are the same name.
    pub fn is_self_issued(&self) -> bool {
        self.issuer() == self.subject()
    }

    /// Checks that the holder of this public key signed it. Nothing else is checked: see [`super::chain`].
    pub fn verify_signed_by(&self, issuer_spki: &[u8]) -> Result<(), SignatureError> {
        if self.algorithm != self.tbs.algorithm() {
            return Err(SignatureError::AlgorithmsDiffer);
        }
        let scheme = self.scheme().ok_or(SignatureError::UnsupportedAlgorithm)?;
        signer::verify(issuer_spki, scheme, self.tbs(), &self.signature).map_err(SignatureError::Invalid)
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("serial", &self.serial())
            .field("subject", self.subject())
            .field("digest", &self.digest())
            .finish_non_exhaustive()
    }
}

/// The certificate from what was signed and its signature. Nothing is changed on the way.
pub fn assemble(tbs: &[u8], scheme: SignatureScheme, signature: &[u8]) -> Vec<u8> {
    tlv::sequence(&[tbs, scheme.algorithm_identifier(), &tlv::bit_string(signature)])
}

/// A chain as PEM blocks, one after the other.
pub fn chain_to_pem(chain: &[Certificate]) -> String {
    chain.iter().map(Certificate::to_pem).collect()
}

/// Splits a signed structure into what was signed, the AlgorithmIdentifier and the signature.
pub(crate) fn split_signed<'a>(der: &'a [u8], what: &'static str) -> Result<(&'a [u8], &'a [u8], &'a [u8]), Malformed> {
    let mut reader = Element::only_tagged(der, tlv::SEQUENCE, what)?.read(what);
    let tbs = reader.expect(tlv::SEQUENCE)?.whole;
    let algorithm = reader.expect(tlv::SEQUENCE)?.whole;
    let signature = tlv::whole_bytes(reader.expect(tlv::BIT_STRING)?.content, what)?;
    reader.end()?;
    Ok((tbs, algorithm, signature))
}

/// Bundles of system roots have a few hundred.
const MAX_CHAIN: usize = 1000;
const PEM_LABEL: &str = "CERTIFICATE";
