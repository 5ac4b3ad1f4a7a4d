//! The last look before a signature: what is linted is what is signed.

use alloc::string::String;
use alloc::vec::Vec;

use jiff::Timestamp;

use crate::fingerprint::KeyDigest;
use crate::key_strength::PublicKeyFacts;
use crate::serial::Serial;
use crate::validity::Validity;

/// What is known of a to-be-signed certificate; it owns the bytes that it was read from.
#[derive(Clone, Debug)]
pub struct CertificateFacts {
    /// TBSCertificate in DER.
    pub tbs: Vec<u8>,
    /// The version as a person counts: 3.
    pub version: u8,
    /// The content octets of the serial number's INTEGER, as encoded.
    pub serial_octets: Vec<u8>,
    /// The AlgorithmIdentifier inside the TBSCertificate, in DER.
    pub signature_algorithm: Vec<u8>,
    /// The issuer.
    pub issuer: NameFacts,
    /// The subject.
    pub subject: NameFacts,
    /// Its validity.
    pub validity: Validity,
    /// How notBefore is encoded.
    pub not_before_encoding: TimeEncoding,
    /// How notAfter is encoded.
    pub not_after_encoding: TimeEncoding,
    /// The public key.
    pub key: PublicKeyFacts,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub key_digest: KeyDigest,
    /// Whether an issuerUniqueID or subjectUniqueID is present.
    pub has_unique_id: bool,
    /// All extensions in their order.
    pub extensions: Vec<ExtensionFacts>,
    /// The subject alternative names; none without the extension.
    pub alternative_names: Option<Vec<AlternativeName>>,
    /// Basic constraints; none without the extension.
    pub basic_constraints: Option<BasicConstraints>,
    /// Key usage; none without the extension.
    pub key_usage: Option<KeyUsage>,
    /// Extended key usage as dotted object identifiers; none without the extension.
    pub extended_key_usage: Option<Vec<String>>,
    /// Subject key identifier; none without the extension.
    pub subject_key_id: Option<Vec<u8>>,
    /// The keyIdentifier of the authority key identifier; none without the extension or the field.
    pub authority_key_id: Option<Vec<u8>>,
}

/// What is known of a distinguished name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameFacts {
    /// The name in DER.
    pub der: Vec<u8>,
    /// Its attributes in order.
    pub attributes: Vec<AttributeFacts>,
}

/// One attribute of a distinguished name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeFacts {
    /// Its type as dotted object identifier.
    pub oid: String,
    /// The tag number of its value.
    pub tag: u8,
    /// Its value as text; none where it is no readable string.
    pub value: Option<String>,
}

/// How a time is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeEncoding {
    /// UTCTime, two digits for the year.
    Utc,
    /// GeneralizedTime, four digits for the year.
    Generalized,
}

/// One extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionFacts {
    /// Its dotted object identifier.
    pub oid: String,
    /// Whether it is critical.
    pub critical: bool,
}

/// One subject alternative name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    /// A DNS name.
    Dns(String),
    /// An address in octets, 4 or 16.
    Ip(Vec<u8>),
    /// An e-mail address.
    Email(String),
    /// A URI.
    Uri(String),
    /// Another kind; its tag number.
    Other(u8),
}

/// Basic constraints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BasicConstraints {
    /// Whether it is a CA.
    pub ca: bool,
    /// How many CAs may follow below.
    pub path_length: Option<u32>,
}

/// Key usage bits; bit 0 (digitalSignature) is the least significant one here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyUsage(pub u16);

/// What the certificate is to be.
#[derive(Clone, Debug)]
pub struct Profile<'a> {
    /// What it is for.
    pub role: Role,
    /// Who signs it.
    pub issuer: Issuer<'a>,
    /// The AlgorithmIdentifier that the outer certificate will carry, in DER.
    pub signature_algorithm: &'a [u8],
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A certificate of a service or person.
    Leaf,
    /// A CA below another.
    Intermediate,
    /// A self-signed CA.
    Root,
}

/// Who signs.
#[derive(Clone, Debug)]
pub struct Issuer<'a> {
    /// The subject of the issuing certificate, in DER.
    pub name: &'a [u8],
    /// Its subject key identifier.
    pub key_id: Option<&'a [u8]>,
    /// Its end; none for a root, which signs itself.
    pub not_after: Option<Timestamp>,
    /// Its path length.
    pub path_length: Option<u32>,
}

/// A to-be-signed certificate that was linted without a finding. Only [`approve`] makes one; only this is signed.
#[derive(Debug)]
pub struct Approved {
    tbs: Vec<u8>,
    signature_algorithm: Vec<u8>,
    serial: Serial,
    key_digest: KeyDigest,
    validity: Validity,
}

/// A rule that a to-be-signed object breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {detail}")]
pub struct LintFinding {
    /// The rule, by a short fixed name.
    pub rule: &'static str,
    /// What is wrong.
    pub detail: String,
}

/// What is known of a to-be-signed revocation list; it owns the bytes that it was read from.
#[derive(Clone, Debug)]
pub struct CrlFacts {
    /// TBSCertList in DER.
    pub tbs: Vec<u8>,
    /// The version as a person counts: 2.
    pub version: u8,
    /// The AlgorithmIdentifier inside the TBSCertList, in DER.
    pub signature_algorithm: Vec<u8>,
    /// The issuer's name in DER.
    pub issuer: Vec<u8>,
    /// When it was made.
    pub this_update: Timestamp,
    /// How that is encoded.
    pub this_update_encoding: TimeEncoding,
    /// When the next one comes.
    pub next_update: Option<Timestamp>,
    /// How that is encoded.
    pub next_update_encoding: Option<TimeEncoding>,
    /// All extensions of the list in their order.
    pub extensions: Vec<ExtensionFacts>,
    /// The content octets of the CRL number's INTEGER.
    pub number_octets: Option<Vec<u8>>,
    /// The keyIdentifier of the authority key identifier.
    pub authority_key_id: Option<Vec<u8>>,
    /// Its entries in order.
    pub entries: Vec<CrlEntryFacts>,
}

/// One entry of a revocation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlEntryFacts {
    /// The revoked certificate.
    pub serial: Serial,
    /// When.
    pub revoked_at: Timestamp,
    /// How that is encoded.
    pub revoked_at_encoding: TimeEncoding,
    /// The reason code as encoded; none without the extension.
    pub reason: Option<u8>,
}

/// A to-be-signed revocation list that was linted without a finding. Only [`approve_crl`] makes one.
#[derive(Debug)]
pub struct ApprovedCrl {
    tbs: Vec<u8>,
    signature_algorithm: Vec<u8>,
}

impl KeyUsage {
    /// digitalSignature.
    pub const DIGITAL_SIGNATURE: Self = Self(1);
    /// nonRepudiation (contentCommitment).
    pub const CONTENT_COMMITMENT: Self = Self(1 << 1);
    /// keyEncipherment.
    pub const KEY_ENCIPHERMENT: Self = Self(1 << 2);
    /// dataEncipherment.
    pub const DATA_ENCIPHERMENT: Self = Self(1 << 3);
    /// keyAgreement.
    pub const KEY_AGREEMENT: Self = Self(1 << 4);
    /// keyCertSign.
    pub const CERT_SIGN: Self = Self(1 << 5);
    /// cRLSign.
    pub const CRL_SIGN: Self = Self(1 << 6);
    /// encipherOnly.
    pub const ENCIPHER_ONLY: Self = Self(1 << 7);
    /// decipherOnly.
    pub const DECIPHER_ONLY: Self = Self(1 << 8);

    /// Whether all bits of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits without those of `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The usage that fits a key of the given kind, where an old certificate had this usage for another kind: RSA
    /// keys also encipher keys, others cannot.
    #[must_use]
    pub fn for_key(self, key: &PublicKeyFacts) -> Self {
        match key {
            PublicKeyFacts::Rsa { .. } if self.contains(Self::DIGITAL_SIGNATURE) && !self.contains(Self::CERT_SIGN) => {
                self.without(Self::KEY_AGREEMENT.union(Self::ENCIPHER_ONLY).union(Self::DECIPHER_ONLY))
                    .union(Self::KEY_ENCIPHERMENT)
            }
            PublicKeyFacts::Rsa { .. } => {
                self.without(Self::KEY_AGREEMENT.union(Self::ENCIPHER_ONLY).union(Self::DECIPHER_ONLY))
            }
            PublicKeyFacts::Ec { .. } => self.without(Self::KEY_ENCIPHERMENT.union(Self::DATA_ENCIPHERMENT)),
            PublicKeyFacts::Ed25519 => self
                .without(Self::KEY_ENCIPHERMENT.union(Self::DATA_ENCIPHERMENT))
                .without(Self::KEY_AGREEMENT.union(Self::ENCIPHER_ONLY).union(Self::DECIPHER_ONLY)),
            PublicKeyFacts::Other { .. } => self,
        }
    }
}

impl Approved {
    /// TBSCertificate in DER: the bytes to sign.
    pub fn tbs(&self) -> &[u8] {
        &self.tbs
    }

    /// The AlgorithmIdentifier in DER that the outer certificate must carry.
    pub fn signature_algorithm(&self) -> &[u8] {
        &self.signature_algorithm
    }

    /// Its serial number.
    pub fn serial(&self) -> Serial {
        self.serial
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    pub fn key_digest(&self) -> KeyDigest {
        self.key_digest
    }

    /// Its validity.
    pub fn validity(&self) -> Validity {
        self.validity
    }
}

impl ApprovedCrl {
    /// TBSCertList in DER: the bytes to sign.
    pub fn tbs(&self) -> &[u8] {
        &self.tbs
    }

    /// The AlgorithmIdentifier in DER that the outer list must carry.
    pub fn signature_algorithm(&self) -> &[u8] {
        &self.signature_algorithm
    }
}

/// Judges a to-be-signed certificate; all findings are given at once.
pub fn approve(_facts: CertificateFacts, _profile: &Profile<'_>) -> Result<Approved, Vec<LintFinding>> {
    todo!()
}

/// Judges a to-be-signed revocation list; all findings are given at once.
pub fn approve_crl(
    _facts: CrlFacts,
    _issuer: &Issuer<'_>,
    _signature_algorithm: &[u8],
) -> Result<ApprovedCrl, Vec<LintFinding>> {
    todo!()
}
