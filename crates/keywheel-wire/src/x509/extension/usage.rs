//! Key usage and extended key usage.

use super::Extension;
use crate::x509::Malformed;
use crate::x509::oid::{self, Oid};
use crate::x509::tlv::{self, Element};

/// What a key may be used for, as a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyUsage(u16);

impl KeyUsage {
    /// digitalSignature
    pub const DIGITAL_SIGNATURE: Self = Self(1);
    /// contentCommitment, once nonRepudiation
    pub const CONTENT_COMMITMENT: Self = Self(1 << 1);
    /// keyEncipherment
    pub const KEY_ENCIPHERMENT: Self = Self(1 << 2);
    /// dataEncipherment
    pub const DATA_ENCIPHERMENT: Self = Self(1 << 3);
    /// keyAgreement
    pub const KEY_AGREEMENT: Self = Self(1 << 4);
    /// keyCertSign
    pub const CERT_SIGN: Self = Self(1 << 5);
    /// cRLSign
    pub const CRL_SIGN: Self = Self(1 << 6);
    /// encipherOnly
    pub const ENCIPHER_ONLY: Self = Self(1 << 7);
    /// decipherOnly
    pub const DECIPHER_ONLY: Self = Self(1 << 8);

    /// No use at all.
    pub const fn none() -> Self {
        Self(0)
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` is in here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing is in here.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The bits, bit 0 (value 1) being digitalSignature.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// From such bits.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 0x1ff)
    }

    /// The names in the set as RFC 5280 spells them.
    pub fn names(self) -> Vec<&'static str> {
        NAMES.iter().filter(|(usage, _)| self.contains(*usage)).map(|(_, name)| *name).collect()
    }

    /// The use with this name, spelt as RFC 5280 does (or `nonRepudiation`), in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("nonRepudiation") {
            return Some(Self::CONTENT_COMMITMENT);
        }
        NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(usage, _)| *usage)
    }

    /// Reads the value of a key usage extension.
    pub fn read(value: &[u8]) -> Result<Self, Malformed> {
        let bits = Element::only_tagged(value, tlv::BIT_STRING, "key usage")?.content;
        let malformed = || Malformed::new("key usage", "it is no string of at most 9 bits");
        let (unused, bytes) = bits.split_first().ok_or_else(malformed)?;
        if *unused > 7 || (bytes.is_empty() && *unused > 0) || bytes.len() > 2 {
            return Err(malformed());
        }
        let first = bytes.first().map_or(0, |byte| byte.reverse_bits());
        let second = bytes.get(1).map_or(0, |byte| byte.reverse_bits());
        Ok(Self::from_bits(u16::from(first) | u16::from(second) << 8))
    }

    /// The extension, critical as RFC 5280 wants it.
    pub fn extension(self) -> Extension {
        Extension::new(oid::KEY_USAGE, true, self.value())
    }

    fn value(self) -> Vec<u8> {
        let [first, second] = self.0.to_le_bytes().map(u8::reverse_bits);
        let content = match (first, second) {
            (0, 0) => vec![0],
            (first, 0) => vec![first.trailing_zeros() as u8, first],
            (first, second) => vec![second.trailing_zeros() as u8, first, second],
        };
        tlv::tlv(tlv::BIT_STRING, &content)
    }
}

/// Reads the value of an extended key usage extension.
pub fn read_extended(value: &[u8]) -> Result<Vec<Oid>, Malformed> {
    let mut reader = super::value_sequence(value, "extended key usage")?;
    let mut usages = Vec::new();
    while !reader.is_empty() {
        usages.push(Oid::from_content(reader.expect(tlv::OID)?.content)?);
    }
    Ok(usages)
}

/// The extended key usage extension with these usages.
pub fn extended(usages: &[Oid]) -> Extension {
    let usages: Vec<Vec<u8>> = usages.iter().map(Oid::to_der).collect();
    Extension::new(oid::EXTENDED_KEY_USAGE, false, tlv::sequence(&usages))
}

/// The extended usage with this name (`serverAuth`, …), in any case; `None` for unknown names.
pub fn extended_from_name(name: &str) -> Option<Oid> {
    EXTENDED_NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(oid, _)| oid.clone())
}

/// The name of an extended usage, or its numbers.
pub fn extended_name(usage: &Oid) -> String {
    EXTENDED_NAMES
        .iter()
        .find(|(known, _)| known == usage)
        .map_or_else(|| usage.to_string(), |(_, name)| (*name).to_owned())
}

const NAMES: [(KeyUsage, &str); 9] = [
    (KeyUsage::DIGITAL_SIGNATURE, "digitalSignature"),
    (KeyUsage::CONTENT_COMMITMENT, "contentCommitment"),
    (KeyUsage::KEY_ENCIPHERMENT, "keyEncipherment"),
    (KeyUsage::DATA_ENCIPHERMENT, "dataEncipherment"),
    (KeyUsage::KEY_AGREEMENT, "keyAgreement"),
    (KeyUsage::CERT_SIGN, "keyCertSign"),
    (KeyUsage::CRL_SIGN, "cRLSign"),
    (KeyUsage::ENCIPHER_ONLY, "encipherOnly"),
    (KeyUsage::DECIPHER_ONLY, "decipherOnly"),
];

static EXTENDED_NAMES: [(Oid, &str); 10] = [
    (oid::ANY_EXTENDED_KEY_USAGE, "any"),
    (oid::SERVER_AUTH, "serverAuth"),
    (oid::CLIENT_AUTH, "clientAuth"),
    (oid::CODE_SIGNING, "codeSigning"),
    (oid::EMAIL_PROTECTION, "emailProtection"),
    (oid::IPSEC_END_SYSTEM, "ipsecEndSystem"),
    (oid::IPSEC_TUNNEL, "ipsecTunnel"),
    (oid::IPSEC_USER, "ipsecUser"),
    (oid::TIME_STAMPING, "timeStamping"),
    (oid::OCSP_SIGNING, "ocspSigning"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usages_are_written_as_openssl_writes_them() {
        let both = KeyUsage::DIGITAL_SIGNATURE.with(KeyUsage::KEY_ENCIPHERMENT);
        assert_eq!(both.value(), [3, 2, 5, 0xa0]);
        let ca = KeyUsage::CERT_SIGN.with(KeyUsage::CRL_SIGN);
        assert_eq!(ca.value(), [3, 2, 1, 6]);
        let odd = KeyUsage::KEY_AGREEMENT.with(KeyUsage::DECIPHER_ONLY);
        assert_eq!(odd.value(), [3, 3, 7, 0x08, 0x80]);
    }

    proptest! {
        #[test]
        fn every_set_survives_writing_and_reading(bits in 0u16..0x200) {
            let usage = KeyUsage::from_bits(bits);
            prop_assert_eq!(KeyUsage::read(&usage.value()).unwrap(), usage);
            let again = usage.names().into_iter().map(|name| KeyUsage::from_name(name).unwrap());
            prop_assert_eq!(again.fold(KeyUsage::none(), KeyUsage::with), usage);
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..8)) {
            let _ = KeyUsage::read(&bytes);
            let _ = KeyUsage::read(&tlv::tlv(tlv::BIT_STRING, &bytes));
            let _ = read_extended(&tlv::sequence(&[bytes]));
        }
    }
}
