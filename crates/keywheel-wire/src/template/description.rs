//! The description of a certificate that a template makes, typed and checked.

use serde_json::{Map, Value};

use super::data::{NameInput, San};

/// The description of a certificate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CertificateDescription {
    /// The subject.
    pub subject: NameInput,
    /// The DER of the subject, where the template brings it; it goes before `subject`.
    pub raw_subject: Option<Vec<u8>>,
    /// All subject alternative names, those of `dnsNames`, `emailAddresses`, `ipAddresses` and `uris` first.
    pub sans: Vec<San>,
    /// Key usage; none where the template leaves it out.
    pub key_usage: Vec<KeyUsageFlag>,
    /// Extended key usages as OIDs with dots, in the template's order.
    pub ext_key_usage: Vec<String>,
    /// Basic constraints; `None` where the template leaves them out.
    pub basic_constraints: Option<BasicConstraintsOutput>,
    /// Further extensions, in the template's order.
    pub extensions: Vec<ExtensionOutput>,
    /// URLs of OCSP responders.
    pub ocsp_servers: Vec<String>,
    /// URLs of the issuer's certificate.
    pub issuing_certificate_urls: Vec<String>,
    /// URLs of revocation lists.
    pub crl_distribution_points: Vec<String>,
    /// Policies as OIDs with dots.
    pub policy_identifiers: Vec<String>,
}

/// Basic constraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicConstraintsOutput {
    /// Whether it is a CA.
    pub is_ca: bool,
    /// The path length; `None` for no limit.
    pub max_path_len: Option<u32>,
}

/// An extension that a template brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionOutput {
    /// The OID with dots.
    pub id: String,
    /// Whether it is critical.
    pub critical: bool,
    /// The DER inside the octet string.
    pub value: Vec<u8>,
}

/// One bit of the key usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyUsageFlag {
    /// Bit 0.
    DigitalSignature,
    /// Bit 1, also known as non-repudiation.
    ContentCommitment,
    /// Bit 2.
    KeyEncipherment,
    /// Bit 3.
    DataEncipherment,
    /// Bit 4.
    KeyAgreement,
    /// Bit 5.
    CertSign,
    /// Bit 6.
    CrlSign,
    /// Bit 7.
    EncipherOnly,
    /// Bit 8.
    DecipherOnly,
}

/// What is wrong with a description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}, found {found}")]
pub struct DescriptionError {
    /// The field.
    pub field: String,
    /// What it takes.
    pub expected: &'static str,
    /// What it holds.
    pub found: String,
}

impl CertificateDescription {
    pub(super) fn read(_object: &Map<String, Value>) -> Result<Self, DescriptionError> {
        Ok(Self::default())
    }
}
