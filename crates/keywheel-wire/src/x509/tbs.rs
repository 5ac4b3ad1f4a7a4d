//! The part of a certificate that is signed: read with its exact bytes, and assembled from raw parts.

use super::Malformed;
use super::extension::alt_name::{self, GeneralName};
use super::extension::constraints::{BasicConstraints, NameConstraints};
use super::extension::provisioner::ProvisionerExtension;
use super::extension::usage::{self, KeyUsage};
use super::extension::{self, Extension, crl_distribution, key_identifier};
use super::name::Name;
use super::oid::{self, Oid};
use super::time;
use super::tlv::{self, Element, Reader};
use crate::signer::SignatureScheme;
use aws_lc_rs::digest;
use jiff::Timestamp;
use keywheel_core::fingerprint::KeyDigest;
use keywheel_core::serial::Serial;

/// What a certificate to sign is made of.
#[derive(Clone, Debug)]
pub struct TbsBuilder {
    /// Its serial number.
    pub serial: Serial,
    /// The scheme that it will be signed with.
    pub scheme: SignatureScheme,
    /// The subject of who signs it.
    pub issuer: Name,
    /// First second of its validity.
    pub not_before: Timestamp,
    /// Last second of its validity.
    pub not_after: Timestamp,
    /// Its subject.
    pub subject: Name,
    /// Its public key, a whole SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// Its extensions in order, each written as it was read.
    pub extensions: Vec<Extension>,
}

impl TbsBuilder {
    /// The bytes to sign.
    pub fn build(&self) -> Result<Vec<u8>, Malformed> {
        Element::only_tagged(&self.spki, tlv::SEQUENCE, "public key")?;
        let mut parts = vec![
            tlv::tlv(tlv::context_constructed(0), &[tlv::INTEGER, 1, 2]),
            tlv::unsigned_integer(self.serial.as_bytes()),
            self.scheme.algorithm_identifier().to_vec(),
            self.issuer.as_der().to_vec(),
            tlv::sequence(&[time::write(self.not_before), time::write(self.not_after)]),
            self.subject.as_der().to_vec(),
            self.spki.clone(),
        ];
        if !self.extensions.is_empty() {
            let extensions = extension::write_all(&self.extensions);
            parts.push(tlv::tlv(tlv::context_constructed(3), &extensions));
        }
        Ok(tlv::sequence(&parts))
    }
}

/// A TBSCertificate as it was encoded, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TbsCertificate {
    der: Vec<u8>,
    version: u8,
    serial: Serial,
    serial_octets: Vec<u8>,
    algorithm: Vec<u8>,
    issuer: Name,
    not_before: Timestamp,
    not_after: Timestamp,
    generalized: (bool, bool),
    subject: Name,
    spki: Vec<u8>,
    has_unique_id: bool,
    extensions: Vec<Extension>,
}

impl TbsCertificate {
    /// From its whole encoding, which is kept.
    pub fn from_der(der: &[u8]) -> Result<Self, Malformed> {
        if der.len() > MAX_TBS {
            return Err(Malformed::new(WHAT, "it is too long"));
        }
        let mut reader = Element::only_tagged(der, tlv::SEQUENCE, WHAT)?.read(WHAT);
        let version = read_version(&mut reader)?;
        let serial_octets = reader.expect(tlv::INTEGER)?.content.to_vec();
        let algorithm = reader.expect(tlv::SEQUENCE)?.whole.to_vec();
        let issuer = Name::from_der(reader.expect(tlv::SEQUENCE)?.whole)?;
        let mut validity = reader.expect(tlv::SEQUENCE)?.read("validity");
        let (start, end) = (validity.element()?, validity.element()?);
        validity.end()?;
        let subject = Name::from_der(reader.expect(tlv::SEQUENCE)?.whole)?;
        let spki = reader.expect(tlv::SEQUENCE)?.whole.to_vec();
        let issuer_id = reader.optional(tlv::context(1))?;
        let subject_id = reader.optional(tlv::context(2))?;
        let extensions = match reader.optional(tlv::context_constructed(3))? {
            None => Vec::new(),
            Some(element) => {
                let list = Element::only_tagged(element.content, tlv::SEQUENCE, WHAT)?;
                extension::read_all(&list, WHAT)?
            }
        };
        reader.end()?;
        Ok(Self {
            der: der.to_vec(),
            version,
            serial: read_serial(&serial_octets)?,
            serial_octets,
            algorithm,
            issuer,
            not_before: time::read(&start)?,
            not_after: time::read(&end)?,
            generalized: (start.tag == tlv::GENERALIZED_TIME, end.tag == tlv::GENERALIZED_TIME),
            subject,
            spki,
            has_unique_id: issuer_id.is_some() || subject_id.is_some(),
            extensions,
        })
    }

    /// The exact bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The version as people count it: 1, 2 or 3.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The serial number.
    pub fn serial(&self) -> Serial {
        self.serial
    }

    /// The content octets of the serial number as they were encoded, which may be padded.
    pub fn serial_octets(&self) -> &[u8] {
        &self.serial_octets
    }

    /// Whether it has an issuer or subject unique identifier, which RFC 5280 forbids.
    pub fn has_unique_id(&self) -> bool {
        self.has_unique_id
    }

    /// The signature's AlgorithmIdentifier as this part states it.
    pub fn algorithm(&self) -> &[u8] {
        &self.algorithm
    }

    /// Who signed.
    pub fn issuer(&self) -> &Name {
        &self.issuer
    }

    /// Whom it certifies.
    pub fn subject(&self) -> &Name {
        &self.subject
    }

    /// First second of its validity.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Last second of its validity.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether start and end are written as GeneralizedTime.
    pub fn generalized_times(&self) -> (bool, bool) {
        self.generalized
    }

    /// The whole SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn key_digest(&self) -> KeyDigest {
        key_digest(&self.spki)
    }

    /// The extensions in order.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The extension of this type.
    pub fn extension(&self, oid: &Oid) -> Option<&Extension> {
        extension::find(&self.extensions, oid)
    }

    /// The alternative names; empty where there is no such extension.
    pub fn subject_alt_names(&self) -> Result<Vec<GeneralName>, Malformed> {
        self.value(&oid::SUBJECT_ALT_NAME, alt_name::read).map(Option::unwrap_or_default)
    }

    /// What the key may be used for; `None` where nothing is said.
    pub fn key_usage(&self) -> Result<Option<KeyUsage>, Malformed> {
        self.value(&oid::KEY_USAGE, KeyUsage::read)
    }

    /// The extended usages; `None` where nothing is said.
    pub fn extended_key_usage(&self) -> Result<Option<Vec<Oid>>, Malformed> {
        self.value(&oid::EXTENDED_KEY_USAGE, usage::read_extended)
    }

    /// The basic constraints; `None` where nothing is said.
    pub fn basic_constraints(&self) -> Result<Option<BasicConstraints>, Malformed> {
        self.value(&oid::BASIC_CONSTRAINTS, BasicConstraints::read)
    }

    /// Whether it says that it is a CA.
    pub fn is_ca(&self) -> bool {
        matches!(self.basic_constraints(), Ok(Some(constraints)) if constraints.ca)
    }

    /// The name constraints; `None` where there are none.
    pub fn name_constraints(&self) -> Result<Option<NameConstraints>, Malformed> {
        self.value(&oid::NAME_CONSTRAINTS, NameConstraints::read)
    }

    /// The subject key identifier.
    pub fn subject_key_id(&self) -> Result<Option<Vec<u8>>, Malformed> {
        self.value(&oid::SUBJECT_KEY_IDENTIFIER, key_identifier::read_subject)
    }

    /// The key identifier of the authority.
    pub fn authority_key_id(&self) -> Result<Option<Vec<u8>>, Malformed> {
        self.value(&oid::AUTHORITY_KEY_IDENTIFIER, key_identifier::read_authority).map(Option::flatten)
    }

    /// The URIs of its CRLs.
    pub fn crl_distribution_points(&self) -> Result<Vec<String>, Malformed> {
        self.value(&oid::CRL_DISTRIBUTION_POINTS, crl_distribution::read).map(Option::unwrap_or_default)
    }

    /// Which provisioner vouched for it; `None` where nothing is said.
    pub fn provisioner(&self) -> Result<Option<ProvisionerExtension>, Malformed> {
        self.value(&oid::PROVISIONER, ProvisionerExtension::read)
    }

    fn value<T>(&self, oid: &Oid, read: impl Fn(&[u8]) -> Result<T, Malformed>) -> Result<Option<T>, Malformed> {
        self.extension(oid).map(|extension| read(extension.value())).transpose()
    }
}

/// SHA-256 of a SubjectPublicKeyInfo.
pub fn key_digest(spki: &[u8]) -> KeyDigest {
    KeyDigest(sha256(spki))
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// A serial number: positive and at most 20 octets, though it may be padded.
pub(crate) fn read_serial(content: &[u8]) -> Result<Serial, Malformed> {
    if content.first().is_some_and(|first| *first >= 0x80) {
        return Err(Malformed::new(WHAT, "its serial number is negative"));
    }
    Serial::from_bytes(content).map_err(|_| Malformed::new(WHAT, "its serial number has no or more than 20 octets"))
}

/// One CA certificate with thousands of names still fits; nothing honest is larger.
const MAX_TBS: usize = 256 * 1024;
const WHAT: &str = "certificate";

fn read_version(reader: &mut Reader<'_>) -> Result<u8, Malformed> {
    let Some(element) = reader.optional(tlv::context_constructed(0))? else {
        return Ok(1);
    };
    let number = Element::only_tagged(element.content, tlv::INTEGER, WHAT)?;
    match number.content {
        [version @ 0..=2] => Ok(version + 1),
        _ => Err(reader.malformed("its version is unknown")),
    }
}
