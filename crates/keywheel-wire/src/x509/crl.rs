//! Certificate revocation lists: built, assembled and read.

use super::Malformed;
use super::certificate::{SignatureError, Signed};
use super::extension::{self, Extension, crl_distribution, key_identifier};
use super::name::Name;
use super::oid::{self, Oid};
use super::tbs::read_serial;
use super::time;
use super::tlv::{self, Element, Reader};
use crate::pem;
use crate::signer::{self, SignatureScheme};
use jiff::Timestamp;
use keywheel_core::revocation::ReasonCode;
use keywheel_core::serial::Serial;

pub use super::certificate::assemble;

/// One revoked certificate in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokedCertificate {
    /// Its serial number.
    pub serial: Serial,
    /// When it was revoked.
    pub revoked_at: Timestamp,
    /// Why; `None` and unspecified are both written as nothing.
    pub reason: Option<ReasonCode>,
}

/// What a list to sign is made of.
#[derive(Clone, Debug)]
pub struct CrlBuilder {
    /// The scheme that it will be signed with.
    pub scheme: SignatureScheme,
    /// The subject of who signs it.
    pub issuer: Name,
    /// When it was made.
    pub this_update: Timestamp,
    /// By when the next one will be there.
    pub next_update: Timestamp,
    /// Its number; a later list has a higher one.
    pub number: u64,
    /// The subject key identifier of who signs it.
    pub authority_key_id: Vec<u8>,
    /// Where it is published, if that is to stand in it.
    pub distribution_point: Option<String>,
    /// What is revoked.
    pub revoked: Vec<RevokedCertificate>,
}

impl CrlBuilder {
    /// The bytes to sign.
    pub fn build(&self) -> Result<Vec<u8>, Malformed> {
        let mut parts = vec![
            tlv::unsigned_integer(&[1]),
            self.scheme.algorithm_identifier().to_vec(),
            self.issuer.as_der().to_vec(),
            time::write(self.this_update),
            time::write(self.next_update),
        ];
        if !self.revoked.is_empty() {
            let entries: Vec<Vec<u8>> = self.revoked.iter().map(entry).collect();
            parts.push(tlv::sequence(&entries));
        }
        let mut extensions = vec![
            key_identifier::authority(&self.authority_key_id),
            Extension::new(oid::CRL_NUMBER, false, tlv::unsigned_integer(&self.number.to_be_bytes())),
        ];
        if let Some(uri) = &self.distribution_point {
            extensions.push(crl_distribution::issuing(uri)?);
        }
        parts.push(tlv::tlv(tlv::context_constructed(0), &extension::write_all(&extensions)));
        Ok(tlv::sequence(&parts))
    }
}

/// A TBSCertList as it was encoded, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TbsCrl {
    der: Vec<u8>,
    version: u8,
    algorithm: Vec<u8>,
    issuer: Name,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    generalized: (bool, bool),
    revoked: Vec<RevokedCertificate>,
    generalized_entries: Vec<bool>,
    extensions: Vec<Extension>,
}

/// A revocation list as it was encoded, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crl {
    der: Vec<u8>,
    tbs: TbsCrl,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

/// Why a file holds no revocation list that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// The text is no PEM.
    #[error("the revocation list is not readable")]
    Pem(#[source] pem::PemError),
    /// There is no list in it.
    #[error("there is no revocation list in the text")]
    None,
    /// It cannot be read.
    #[error("the revocation list cannot be read")]
    Malformed(#[source] Malformed),
}

impl TbsCrl {
    /// From its whole encoding, which is kept.
    pub fn from_der(der: &[u8]) -> Result<Self, Malformed> {
        if der.len() > MAX_CRL {
            return Err(Malformed::new(WHAT, "it is too long"));
        }
        let mut reader = Element::only_tagged(der, tlv::SEQUENCE, WHAT)?.read(WHAT);
        let version = match reader.optional(tlv::INTEGER)? {
            None => 1,
            Some(Element { content: [1], .. }) => 2,
            Some(_) => return Err(reader.malformed("its version is unknown")),
        };
        let algorithm = reader.expect(tlv::SEQUENCE)?.whole.to_vec();
        let issuer = Name::from_der(reader.expect(tlv::SEQUENCE)?.whole)?;
        let start = reader.element()?;
        let end = match reader.optional(tlv::UTC_TIME)? {
            Some(end) => Some(end),
            None => reader.optional(tlv::GENERALIZED_TIME)?,
        };
        let entries = match reader.optional(tlv::SEQUENCE)? {
            None => Vec::new(),
            Some(entries) => read_entries(entries.read(WHAT))?,
        };
        let extensions = match reader.optional(tlv::context_constructed(0))? {
            None => Vec::new(),
            Some(element) => {
                let list = Element::only_tagged(element.content, tlv::SEQUENCE, WHAT)?;
                extension::read_all(&list, WHAT)?
            }
        };
        reader.end()?;
        let (revoked, generalized_entries) = entries.into_iter().unzip();
        Ok(Self {
            der: der.to_vec(),
            version,
            algorithm,
            issuer,
            this_update: time::read(&start)?,
            next_update: end.as_ref().map(time::read).transpose()?,
            generalized: (start.tag == tlv::GENERALIZED_TIME, end.is_some_and(|end| end.tag == tlv::GENERALIZED_TIME)),
            revoked,
            generalized_entries,
            extensions,
        })
    }

    /// The exact bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The version as people count it: 1 or 2.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The signature's AlgorithmIdentifier as this part states it.
    pub fn algorithm(&self) -> &[u8] {
        &self.algorithm
    }

    /// Who signed.
    pub fn issuer(&self) -> &Name {
        &self.issuer
    }

    /// When it was made.
    pub fn this_update(&self) -> Timestamp {
        self.this_update
    }

    /// By when the next one is promised.
    pub fn next_update(&self) -> Option<Timestamp> {
        self.next_update
    }

    /// Whether the two times are written as GeneralizedTime.
    pub fn generalized_times(&self) -> (bool, bool) {
        self.generalized
    }

    /// What is revoked, in the order of the list.
    pub fn revoked(&self) -> &[RevokedCertificate] {
        &self.revoked
    }

    /// Whether the time of each entry is written as GeneralizedTime.
    pub fn generalized_entries(&self) -> &[bool] {
        &self.generalized_entries
    }

    /// The extensions in order.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The extension of this type.
    pub fn extension(&self, oid: &Oid) -> Option<&Extension> {
        extension::find(&self.extensions, oid)
    }

    /// The number of the list; `None` where it has none or one that is too large to count.
    pub fn number(&self) -> Option<u64> {
        let value = self.extension(&oid::CRL_NUMBER)?.value();
        let number = Element::only_tagged(value, tlv::INTEGER, WHAT).ok()?;
        tlv::small_unsigned(number.content, WHAT).ok()
    }

    /// The key identifier of the authority.
    pub fn authority_key_id(&self) -> Result<Option<Vec<u8>>, Malformed> {
        self.extension(&oid::AUTHORITY_KEY_IDENTIFIER)
            .map(|extension| key_identifier::read_authority(extension.value()))
            .transpose()
            .map(Option::flatten)
    }
}

impl Crl {
    /// From its whole encoding, which is kept.
    pub fn from_der(der: &[u8]) -> Result<Self, Malformed> {
        let Signed { content: tbs, algorithm, signature } = Signed::read(der, WHAT)?;
        Ok(Self {
            der: der.to_vec(),
            tbs: TbsCrl::from_der(tbs)?,
            algorithm: algorithm.to_vec(),
            signature: signature.to_vec(),
        })
    }

    /// The first list in a PEM text, or the one that a DER file is.
    pub fn from_pem(text: &[u8]) -> Result<Self, CrlError> {
        if text.first() == Some(&tlv::SEQUENCE) {
            return Self::from_der(text).map_err(CrlError::Malformed);
        }
        let block = pem::parse(text)
            .map_err(CrlError::Pem)?
            .into_iter()
            .find(|block| block.label == PEM_LABEL)
            .ok_or(CrlError::None)?;
        Self::from_der(&block.der).map_err(CrlError::Malformed)
    }

    /// The exact bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// As a PEM block.
    pub fn to_pem(&self) -> String {
        to_pem(&self.der)
    }

    /// The exact bytes that were signed.
    pub fn tbs(&self) -> &[u8] {
        self.tbs.der()
    }

    /// The part that was signed, with all that it says.
    pub fn parts(&self) -> &TbsCrl {
        &self.tbs
    }

    /// The scheme of the signature; `None` for what Keywheel does not verify.
    pub fn scheme(&self) -> Option<SignatureScheme> {
        SignatureScheme::from_algorithm_identifier(&self.algorithm)
    }

    /// The signature.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Checks that the holder of this public key signed it.
    pub fn verify_signed_by(&self, issuer_spki: &[u8]) -> Result<(), SignatureError> {
        if self.algorithm != self.tbs.algorithm {
            return Err(SignatureError::AlgorithmsDiffer);
        }
        let scheme = self.scheme().ok_or(SignatureError::UnsupportedAlgorithm)?;
        signer::verify(issuer_spki, scheme, self.tbs(), &self.signature).map_err(SignatureError::Invalid)
    }
}

/// A list's encoding as the PEM block of the standard, `X509 CRL`.
pub fn to_pem(der: &[u8]) -> String {
    pem::encode(PEM_LABEL, der).to_string()
}

const WHAT: &str = "revocation list";
const PEM_LABEL: &str = "X509 CRL";

/// Room for about a million entries.
const MAX_CRL: usize = 48 * 1024 * 1024;

fn entry(revoked: &RevokedCertificate) -> Vec<u8> {
    let mut parts = vec![tlv::unsigned_integer(revoked.serial.as_bytes()), time::write(revoked.revoked_at)];
    // RFC 5280, 5.3.1: unspecified is said by saying nothing.
    if let Some(reason) = revoked.reason.filter(|reason| reason.code() != 0) {
        let value = tlv::tlv(tlv::ENUMERATED, &[reason.code()]);
        let reason = Extension::new(oid::REASON_CODE, false, value);
        parts.push(extension::write_all(&[reason]));
    }
    tlv::sequence(&parts)
}

fn read_entries(mut entries: Reader<'_>) -> Result<Vec<(RevokedCertificate, bool)>, Malformed> {
    let mut revoked = Vec::new();
    while !entries.is_empty() {
        let mut entry = entries.expect(tlv::SEQUENCE)?.read(WHAT);
        let serial = read_serial(entry.expect(tlv::INTEGER)?.content)?;
        let time = entry.element()?;
        let mut reason = None;
        if let Some(extensions) = entry.optional(tlv::SEQUENCE)? {
            let extensions = extension::read_all(&extensions, WHAT)?;
            if let Some(extension) = extension::find(&extensions, &oid::REASON_CODE) {
                reason = Some(read_reason(extension.value())?);
            }
        }
        entry.end()?;
        let one = RevokedCertificate { serial, revoked_at: time::read(&time)?, reason };
        revoked.push((one, time.tag == tlv::GENERALIZED_TIME));
    }
    Ok(revoked)
}

fn read_reason(value: &[u8]) -> Result<ReasonCode, Malformed> {
    let element = Element::only_tagged(value, tlv::ENUMERATED, WHAT)?;
    match element.content {
        [code] => ReasonCode::from_code(i64::from(*code)).ok(),
        _ => None,
    }
    .ok_or(Malformed::new(WHAT, "a reason is unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::Signer;
    use crate::x509::openssl::{Judge, KINDS, Key, at, issue, leaf_extensions};
    use proptest::prelude::*;

    fn signed(key: &Key, issuer: &Name, revoked: Vec<RevokedCertificate>, distribution_point: Option<&str>) -> Crl {
        let scheme = SignatureScheme::default_for(key.kind());
        let tbs = CrlBuilder {
            scheme,
            issuer: issuer.clone(),
            this_update: at("2026-01-02T00:00:00Z"),
            next_update: at("2051-01-02T00:00:00Z"),
            number: 300,
            authority_key_id: key_identifier::of_key(key.public_key()).unwrap(),
            distribution_point: distribution_point.map(str::to_owned),
            revoked,
        }
        .build()
        .unwrap();
        let signature = key.sign(scheme, &tbs).unwrap();
        Crl::from_der(&assemble(&tbs, scheme, &signature)).unwrap()
    }

    #[test]
    fn openssl_takes_our_lists_and_sees_who_is_revoked() {
        let judge = Judge::new();
        for kind in KINDS {
            let (ca, root) = judge.root("ca", kind, &[]);
            let key = judge.key("leaf", KINDS[0]);
            let extensions = leaf_extensions(&key, &ca, &[oid::CLIENT_AUTH], &["svc.lab"]);
            let leaf = issue(&ca, root.subject(), &Name::empty(), key.public_key(), extensions);
            judge.write("leaf.crt", leaf.to_pem());

            let empty = signed(&ca, root.subject(), Vec::new(), None);
            judge.write("ca.crl", empty.to_pem());
            judge.accepts("crl -in ca.crl -noout -CAfile ca.crt -verify");
            judge.accepts("verify -crl_check -CRLfile ca.crl -CAfile ca.crt leaf.crt");

            let entry = RevokedCertificate {
                serial: leaf.serial(),
                revoked_at: at("2026-01-01T12:00:00Z"),
                reason: Some(ReasonCode::from_code(4).unwrap()),
            };
            let unspecified = RevokedCertificate { serial: Serial::from_random([9; 16]), reason: None, ..entry };
            let list = signed(&ca, root.subject(), vec![entry, unspecified], Some("http://ca.lab/crl"));
            judge.write("ca.crl", list.to_pem());
            let text = judge.accepts("crl -in ca.crl -noout -CAfile ca.crt -verify -text");
            for part in ["verify OK", "Superseded", "URI:http://ca.lab/crl", "2051", "X509v3 CRL Number"] {
                assert!(text.contains(part), "{part} in {text}");
            }
            assert_eq!(list.parts().revoked(), [entry, unspecified]);
            assert_eq!(list.parts().number(), Some(300));
            assert_eq!(list.parts().generalized_times(), (false, true));
            list.verify_signed_by(root.spki()).unwrap();
            assert!(list.verify_signed_by(key.public_key()).is_err());

            let plain = signed(&ca, root.subject(), vec![entry], None);
            judge.write("ca.crl", plain.to_pem());
            let said = judge.refuses("verify -crl_check -CRLfile ca.crl -CAfile ca.crt leaf.crt");
            assert!(said.contains("certificate revoked"), "{said}");
        }
    }

    #[test]
    fn pem_and_der_say_the_same() {
        let judge = Judge::new();
        let (ca, root) = judge.root("ca", KINDS[0], &[]);
        let list = signed(&ca, root.subject(), Vec::new(), None);
        assert_eq!(Crl::from_pem(list.to_pem().as_bytes()).unwrap(), list);
        assert_eq!(Crl::from_pem(list.der()).unwrap(), list);
        assert!(matches!(Crl::from_pem(root.to_pem().as_bytes()), Err(CrlError::None)));
    }

    proptest! {
        #[test]
        fn mutated_lists_never_panic(at_byte in 0usize..400, byte: u8) {
            static LIST: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
                let judge = Judge::new();
                let (ca, root) = judge.root("ca", KINDS[0], &[]);
                let reason = Some(ReasonCode::from_code(1).unwrap());
                let entry = RevokedCertificate {
                    serial: Serial::from_random([9; 16]), revoked_at: at("2026-01-01T12:00:00Z"), reason,
                };
                signed(&ca, root.subject(), vec![entry; 2], Some("http://x")).der().to_vec()
            });
            let mut der = LIST.clone();
            let length = der.len();
            der[at_byte % length] = byte;
            if let Ok(list) = Crl::from_der(&der) {
                let _ = (list.parts().number(), list.parts().authority_key_id());
                prop_assert_eq!(list.der(), der.as_slice());
            }
        }
    }
}
