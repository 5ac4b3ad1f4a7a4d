//! The last look before a signature: what is linted is what is signed.

mod certificate;
mod crl;

use alloc::format;
use alloc::string::{String, ToString};
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

    /// The usage that fits a key of the given kind, made from one that may have been for another kind: RSA keys also
    /// encipher keys, EC keys may agree on keys, Ed25519 keys only sign. Never empty.
    #[must_use]
    pub fn for_key(self, key: &PublicKeyFacts) -> Self {
        let enciphering = Self::KEY_ENCIPHERMENT.union(Self::DATA_ENCIPHERMENT);
        let agreement_only = Self::ENCIPHER_ONLY.union(Self::DECIPHER_ONLY);
        let agreeing = Self::KEY_AGREEMENT.union(agreement_only);
        let fitting = match key {
            PublicKeyFacts::Rsa { .. } if self.contains(Self::DIGITAL_SIGNATURE) && !self.contains(Self::CERT_SIGN) => {
                self.without(agreeing).union(Self::KEY_ENCIPHERMENT)
            }
            PublicKeyFacts::Rsa { .. } => self.without(agreeing),
            PublicKeyFacts::Ec { .. } if self.contains(Self::KEY_AGREEMENT) => self.without(enciphering),
            PublicKeyFacts::Ec { .. } => self.without(enciphering.union(agreement_only)),
            PublicKeyFacts::Ed25519 => self.without(enciphering.union(agreeing)),
            PublicKeyFacts::Other { .. } => self,
        };
        // All that was allowed is impossible with the new kind of key; signing is what every kind can do.
        if fitting.0 == 0 { Self::DIGITAL_SIGNATURE } else { fitting }
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
pub fn approve(facts: CertificateFacts, profile: &Profile<'_>) -> Result<Approved, Vec<LintFinding>> {
    let mut findings = Findings::default();
    certificate::lint(&facts, profile, &mut findings);
    match (findings.0.is_empty(), Serial::from_bytes(&facts.serial_octets)) {
        (true, Ok(serial)) => Ok(Approved {
            tbs: facts.tbs,
            signature_algorithm: facts.signature_algorithm,
            serial,
            key_digest: facts.key_digest,
            validity: facts.validity,
        }),
        _ => Err(findings.0),
    }
}

/// Judges a to-be-signed revocation list; all findings are given at once.
pub fn approve_crl(
    facts: CrlFacts,
    issuer: &Issuer<'_>,
    signature_algorithm: &[u8],
) -> Result<ApprovedCrl, Vec<LintFinding>> {
    let mut findings = Findings::default();
    crl::lint(&facts, issuer, signature_algorithm, &mut findings);
    if findings.0.is_empty() {
        Ok(ApprovedCrl { tbs: facts.tbs, signature_algorithm: facts.signature_algorithm })
    } else {
        Err(findings.0)
    }
}

/// All findings in one sentence, for a message or a log line.
pub fn summary(findings: &[LintFinding]) -> String {
    let mut text = String::new();
    for finding in findings {
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(&finding.to_string());
    }
    text
}

/// What was found so far.
#[derive(Default)]
struct Findings(Vec<LintFinding>);

impl Findings {
    /// Notes a broken rule unless `holds`.
    fn require(&mut self, holds: bool, rule: &'static str, detail: impl FnOnce() -> String) {
        if !holds {
            self.0.push(LintFinding { rule, detail: detail() });
        }
    }

    /// Times up to 2049 are UTCTime, later ones GeneralizedTime (RFC 5280, section 4.1.2.5).
    fn require_time_encoding(&mut self, what: &str, at: Timestamp, encoding: TimeEncoding) {
        const YEAR_2050: i64 = 2_524_608_000;
        let wanted = if at.as_second() < YEAR_2050 { TimeEncoding::Utc } else { TimeEncoding::Generalized };
        self.require(encoding == wanted, "time_encoding", || format!("{what} {at} must be encoded as {wanted:?} time"));
        self.require(at.subsec_nanosecond() == 0, "time_encoding", || {
            format!("{what} {at} has a fraction of a second")
        });
    }

    /// A minimal INTEGER of at most 20 octets that is not negative.
    fn require_number(&mut self, rule: &'static str, octets: &[u8]) {
        let negative = octets.first().is_some_and(|first| first & 0x80 != 0);
        let padded = matches!(octets, [0, second, ..] if second & 0x80 == 0);
        self.require(!octets.is_empty(), rule, || "the number has no octets".into());
        self.require(octets.len() <= 20, rule, || format!("the number has {} octets; 20 are allowed", octets.len()));
        self.require(!negative, rule, || "the number is negative".into());
        self.require(!padded, rule, || "the number is not encoded in its shortest form".into());
    }

    fn require_unique_extensions(&mut self, extensions: &[ExtensionFacts]) {
        for (index, extension) in extensions.iter().enumerate() {
            let repeated = extensions[..index].iter().any(|earlier| earlier.oid == extension.oid);
            self.require(!repeated, "extension_duplicate", || format!("the extension {} appears twice", extension.oid));
        }
    }

    fn require_criticality(&mut self, extensions: &[ExtensionFacts], oid: &str, critical: bool) {
        let wrong = extensions.iter().any(|extension| extension.oid == oid && extension.critical != critical);
        let word = if critical { "critical" } else { "non-critical" };
        self.require(!wrong, "extension_criticality", || format!("the extension {oid} must be {word}"));
    }
}

#[cfg(test)]
mod tests;
