//! Object identifiers of any length, and the ones that certificates use.

use super::{Malformed, tlv};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// An object identifier, kept as its encoded content so that arcs of any size survive.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid(Cow<'static, [u8]>);

impl Oid {
    /// From the content octets of its encoding, known to be right.
    pub(crate) const fn known(content: &'static [u8]) -> Self {
        Self(Cow::Borrowed(content))
    }

    /// From the content octets of its encoding.
    pub fn from_content(content: &[u8]) -> Result<Self, Malformed> {
        let malformed = |problem| Malformed::new("object identifier", problem);
        if content.len() > MAX_CONTENT {
            return Err(malformed("it is too long"));
        }
        if content.last().is_none_or(|last| *last >= 0x80) {
            return Err(malformed("its last arc is cut off"));
        }
        let mut at_start = true;
        for byte in content {
            if at_start && *byte == 0x80 {
                return Err(malformed("an arc is not minimal"));
            }
            at_start = *byte < 0x80;
        }
        Ok(Self(Cow::Owned(content.to_vec())))
    }

    /// The content octets of its encoding.
    pub fn content(&self) -> &[u8] {
        &self.0
    }

    /// The whole encoding.
    pub fn to_der(&self) -> Vec<u8> {
        tlv::tlv(tlv::OID, &self.0)
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut arcs = self.0.split_inclusive(|byte| *byte < 0x80);
        if let Some(first) = arcs.next() {
            let (root, rest) = first_arcs(decimal(first));
            write!(f, "{root}.{rest}")?;
        }
        for arc in arcs {
            f.write_str(".")?;
            f.write_str(&decimal(arc))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Oid {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed::new("object identifier", "it is not numbers with dots between them");
        if text.len() > MAX_TEXT {
            return Err(malformed());
        }
        let arcs: Vec<u128> = text
            .split('.')
            .map(|arc| {
                let plain = !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit());
                plain.then(|| arc.parse().ok()).flatten()
            })
            .collect::<Option<_>>()
            .ok_or_else(malformed)?;
        let (root, second, rest) = match arcs.as_slice() {
            [root @ 0..=1, second @ 0..=39, rest @ ..] => (root, second, rest),
            [root @ 2, second, rest @ ..] => (root, second, rest),
            _ => return Err(malformed()),
        };
        let first = second.checked_add(root * 40).ok_or_else(malformed)?;
        let mut content = Vec::new();
        for arc in std::iter::once(&first).chain(rest) {
            push_arc(&mut content, *arc);
        }
        Self::from_content(&content)
    }
}

macro_rules! known {
    ($($(#[$doc:meta])* $name:ident = [$($byte:expr),*];)*) => {
        $($(#[$doc])* pub const $name: Oid = Oid::known(&[$($byte),*]);)*
    };
}

known! {
    /// 2.5.29.14
    SUBJECT_KEY_IDENTIFIER = [0x55, 0x1d, 14];
    /// 2.5.29.15
    KEY_USAGE = [0x55, 0x1d, 15];
    /// 2.5.29.17
    SUBJECT_ALT_NAME = [0x55, 0x1d, 17];
    /// 2.5.29.19
    BASIC_CONSTRAINTS = [0x55, 0x1d, 19];
    /// 2.5.29.20
    CRL_NUMBER = [0x55, 0x1d, 20];
    /// 2.5.29.21
    REASON_CODE = [0x55, 0x1d, 21];
    /// 2.5.29.24
    INVALIDITY_DATE = [0x55, 0x1d, 24];
    /// 2.5.29.28
    ISSUING_DISTRIBUTION_POINT = [0x55, 0x1d, 28];
    /// 2.5.29.30
    NAME_CONSTRAINTS = [0x55, 0x1d, 30];
    /// 2.5.29.31
    CRL_DISTRIBUTION_POINTS = [0x55, 0x1d, 31];
    /// 2.5.29.32
    CERTIFICATE_POLICIES = [0x55, 0x1d, 32];
    /// 2.5.29.35
    AUTHORITY_KEY_IDENTIFIER = [0x55, 0x1d, 35];
    /// 2.5.29.37
    EXTENDED_KEY_USAGE = [0x55, 0x1d, 37];
    /// 1.3.6.1.5.5.7.1.1
    AUTHORITY_INFORMATION_ACCESS = [0x2b, 6, 1, 5, 5, 7, 1, 1];
    /// 1.3.6.1.4.1.37476.9000.64.1, which provisioner vouched for the certificate
    PROVISIONER = [0x2b, 6, 1, 4, 1, 0x82, 0xa4, 0x64, 0xc6, 0x28, 0x40, 1];
    /// 1.2.840.113549.1.9.14, the extensions that a request asks for
    EXTENSION_REQUEST = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];
    /// 1.2.840.113549.1.9.7
    CHALLENGE_PASSWORD = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 7];

    /// 2.5.29.37.0
    ANY_EXTENDED_KEY_USAGE = [0x55, 0x1d, 37, 0];
    /// 1.3.6.1.5.5.7.3.1
    SERVER_AUTH = [0x2b, 6, 1, 5, 5, 7, 3, 1];
    /// 1.3.6.1.5.5.7.3.2
    CLIENT_AUTH = [0x2b, 6, 1, 5, 5, 7, 3, 2];
    /// 1.3.6.1.5.5.7.3.3
    CODE_SIGNING = [0x2b, 6, 1, 5, 5, 7, 3, 3];
    /// 1.3.6.1.5.5.7.3.4
    EMAIL_PROTECTION = [0x2b, 6, 1, 5, 5, 7, 3, 4];
    /// 1.3.6.1.5.5.7.3.5
    IPSEC_END_SYSTEM = [0x2b, 6, 1, 5, 5, 7, 3, 5];
    /// 1.3.6.1.5.5.7.3.6
    IPSEC_TUNNEL = [0x2b, 6, 1, 5, 5, 7, 3, 6];
    /// 1.3.6.1.5.5.7.3.7
    IPSEC_USER = [0x2b, 6, 1, 5, 5, 7, 3, 7];
    /// 1.3.6.1.5.5.7.3.8
    TIME_STAMPING = [0x2b, 6, 1, 5, 5, 7, 3, 8];
    /// 1.3.6.1.5.5.7.3.9
    OCSP_SIGNING = [0x2b, 6, 1, 5, 5, 7, 3, 9];

    /// 2.5.4.3
    COMMON_NAME = [0x55, 4, 3];
    /// 2.5.4.4
    SURNAME = [0x55, 4, 4];
    /// 2.5.4.5
    SERIAL_NUMBER = [0x55, 4, 5];
    /// 2.5.4.6
    COUNTRY = [0x55, 4, 6];
    /// 2.5.4.7
    LOCALITY = [0x55, 4, 7];
    /// 2.5.4.8
    STATE = [0x55, 4, 8];
    /// 2.5.4.9
    STREET = [0x55, 4, 9];
    /// 2.5.4.10
    ORGANIZATION = [0x55, 4, 10];
    /// 2.5.4.11
    ORGANIZATIONAL_UNIT = [0x55, 4, 11];
    /// 2.5.4.12
    TITLE = [0x55, 4, 12];
    /// 2.5.4.17
    POSTAL_CODE = [0x55, 4, 17];
    /// 2.5.4.42
    GIVEN_NAME = [0x55, 4, 42];
    /// 0.9.2342.19200300.100.1.1
    USER_ID = [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1];
    /// 0.9.2342.19200300.100.1.25
    DOMAIN_COMPONENT = [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25];
    /// 1.2.840.113549.1.9.1
    EMAIL_ADDRESS = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];

    /// 1.2.840.10045.2.1
    EC_PUBLIC_KEY = [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    /// 1.2.840.10045.3.1.7
    P256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    /// 1.3.132.0.34
    P384 = [0x2b, 0x81, 4, 0, 34];
    /// 1.3.132.0.35
    P521 = [0x2b, 0x81, 4, 0, 35];
    /// 1.3.101.112
    ED25519 = [0x2b, 0x65, 0x70];
    /// 1.2.840.113549.1.1.1
    RSA = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
}

const MAX_CONTENT: usize = 128;
const MAX_TEXT: usize = 512;

fn push_arc(out: &mut Vec<u8>, arc: u128) {
    let mut groups = vec![(arc & 0x7f) as u8];
    let mut rest = arc >> 7;
    while rest > 0 {
        groups.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    out.extend(groups.iter().rev());
}

/// The decimal digits of a base-128 number of any length.
fn decimal(arc: &[u8]) -> String {
    let mut digits: Vec<u8> = vec![0];
    for byte in arc {
        let mut carry = u32::from(byte & 0x7f);
        for digit in &mut digits {
            let value = u32::from(*digit) * 128 + carry;
            *digit = (value % 10) as u8;
            carry = value / 10;
        }
        while carry > 0 {
            digits.push((carry % 10) as u8);
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}

/// The first encoded number holds two arcs: 40 times the root, plus the second.
fn first_arcs(number: String) -> (u8, String) {
    match number.parse::<u64>() {
        Ok(small) => {
            let root = (small / 40).min(2);
            (root as u8, (small - root * 40).to_string())
        }
        Err(_) => (2, less_eighty(&number)),
    }
}

fn less_eighty(number: &str) -> String {
    let mut digits: Vec<u8> = number.bytes().rev().map(|digit| digit - b'0').collect();
    let mut place = 1;
    if let Some(tens) = digits.get_mut(1) {
        if *tens >= 8 {
            *tens -= 8;
            place = digits.len();
        } else {
            *tens += 2;
            place = 2;
        }
    }
    while place < digits.len() {
        if digits[place] > 0 {
            digits[place] -= 1;
            break;
        }
        digits[place] = 9;
        place += 1;
    }
    let text: String = digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect();
    text.trim_start_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_identifiers_read_as_numbers() {
        assert_eq!(PROVISIONER.to_string(), "1.3.6.1.4.1.37476.9000.64.1");
        assert_eq!(EXTENSION_REQUEST.to_string(), "1.2.840.113549.1.9.14");
        assert_eq!(DOMAIN_COMPONENT.to_string(), "0.9.2342.19200300.100.1.25");
        assert_eq!(P521.to_string(), "1.3.132.0.35");
    }

    #[test]
    fn arcs_of_a_uuid_survive() {
        let text = "2.25.329800735698586629295641978511506172918";
        assert_eq!(text.parse::<Oid>().unwrap().to_string(), text);
        let huge = Oid::from_content(&[&[0xff; 30][..], &[0x7f]].concat()).unwrap();
        // 2^217 - 1 - 80
        assert_eq!(huge.to_string(), "2.210624583337114373395836055367340864637790190801098222508621954991");
    }

    #[test]
    fn text_that_is_no_identifier_is_refused() {
        for text in ["", "1", "1.40", "3.1", "1.2.", "1..2", "1.+2", "1.2.a", "-1.2"] {
            assert!(text.parse::<Oid>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_and_bytes_agree(first in 0u128..40, rest in proptest::collection::vec(any::<u128>(), 0..5)) {
            let mut text = format!("1.{first}");
            for arc in &rest {
                text.push_str(&format!(".{arc}"));
            }
            let oid: Oid = text.parse().unwrap();
            prop_assert_eq!(oid.to_string(), text);
            prop_assert_eq!(Oid::from_content(oid.content()).unwrap(), oid);
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..140)) {
            if let Ok(oid) = Oid::from_content(&bytes) {
                prop_assert!(!oid.to_string().is_empty());
            }
        }
    }
}
