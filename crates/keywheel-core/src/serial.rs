//! Certificate serial numbers: unsigned, at most 20 octets, compared by value.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use num_bigint::BigUint;

/// The most octets that RFC 5280 lets a serial number have.
pub const MAX_OCTETS: usize = 20;

/// A serial number as an unsigned integer.
///
/// Zero is representable, because certificates of others may carry it; what we sign ourselves is linted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial {
    /// Right-aligned, so that the derived order is the numeric one.
    octets: [u8; MAX_OCTETS],
}

/// Why a text or octet string is no serial number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SerialError {
    /// Nothing was given.
    #[error("the serial number is empty")]
    Empty,
    /// More than 20 octets.
    #[error("the serial number is longer than 20 octets")]
    TooLong,
    /// Neither decimal nor 0x-prefixed hexadecimal.
    #[error("{text:?} is not a serial number; write it in decimal, or in hexadecimal after 0x")]
    NotANumber {
        /// What was given.
        text: String,
    },
}

impl Serial {
    /// Takes big-endian octets; leading zero octets do not count.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SerialError> {
        if bytes.is_empty() {
            return Err(SerialError::Empty);
        }
        let significant = strip_zeros(bytes);
        let Some(start) = MAX_OCTETS.checked_sub(significant.len()) else {
            return Err(SerialError::TooLong);
        };
        let mut octets = [0; MAX_OCTETS];
        octets[start..].copy_from_slice(significant);
        Ok(Self { octets })
    }

    /// Makes a positive serial number of exactly 16 octets with 126 bits of the given chance.
    pub fn from_random(mut random: [u8; 16]) -> Self {
        // The top bit would make the DER integer negative; the next one fixes the length and excludes zero.
        random[0] = (random[0] & 0x3f) | 0x40;
        let mut octets = [0; MAX_OCTETS];
        octets[MAX_OCTETS - 16..].copy_from_slice(&random);
        Self { octets }
    }

    /// Reads decimal, or hexadecimal after `0x`.
    pub fn parse(text: &str) -> Result<Self, SerialError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(SerialError::Empty);
        }
        let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(hex) => (hex, 16),
            None => (text, 10),
        };
        // 2^160 has 49 decimal digits; the generous limit only keeps hostile input from costing time.
        if digits.len() > 128 {
            return Err(SerialError::TooLong);
        }
        if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
            return Err(SerialError::NotANumber { text: text.to_string() });
        }
        match BigUint::parse_bytes(digits.as_bytes(), radix) {
            Some(number) => Self::from_bytes(&number.to_bytes_be()),
            None => Err(SerialError::NotANumber { text: text.to_string() }),
        }
    }

    /// The shortest big-endian form; one zero octet for zero.
    pub fn as_bytes(&self) -> &[u8] {
        let significant = strip_zeros(&self.octets);
        if significant.is_empty() { &self.octets[MAX_OCTETS - 1..] } else { significant }
    }

    /// Lower-case hexadecimal of [`Self::as_bytes`], two digits per octet, without a prefix.
    pub fn to_hex(&self) -> String {
        crate::fingerprint::hex(self.as_bytes())
    }

    /// Whether the number is zero, which RFC 5280 forbids.
    pub fn is_zero(&self) -> bool {
        self.octets == [0; MAX_OCTETS]
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&BigUint::from_bytes_be(&self.octets).to_string())
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

impl FromStr for Serial {
    type Err = SerialError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

fn strip_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|octet| **octet == 0).count();
    &bytes[zeros..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimal_and_hexadecimal_name_the_same_number() {
        let decimal = Serial::parse("340282366920938463463374607431768211455").unwrap();
        assert_eq!(decimal, Serial::parse("0xffffffffffffffffffffffffffffffff").unwrap());
        assert_eq!(decimal.as_bytes(), [0xff; 16]);
        assert_eq!(decimal.to_hex(), "ffffffffffffffffffffffffffffffff");
    }

    #[test]
    fn what_is_no_number_of_at_most_twenty_octets_is_refused() {
        assert_eq!(Serial::parse(" "), Err(SerialError::Empty));
        assert_eq!(Serial::from_bytes(&[]), Err(SerialError::Empty));
        for text in ["0x", "12a", "-1", "+1", "1_0", "1 2", "0xgg", "0x+1"] {
            assert_eq!(Serial::parse(text), Err(SerialError::NotANumber { text: text.into() }), "{text}");
        }
        assert_eq!(Serial::from_bytes(&[1; 21]), Err(SerialError::TooLong));
        assert_eq!(Serial::parse("1461501637330902918203684832716283019655932542976"), Err(SerialError::TooLong));
        assert!(Serial::parse("1461501637330902918203684832716283019655932542975").is_ok());
        assert_eq!(Serial::parse(&"9".repeat(100_000)), Err(SerialError::TooLong));
    }

    #[test]
    fn zero_is_one_octet_and_says_so() {
        let zero = Serial::from_bytes(&[0, 0, 0]).unwrap();
        assert!(zero.is_zero());
        assert_eq!(zero.as_bytes(), [0]);
        assert_eq!(zero.to_string(), "0");
    }

    proptest! {
        #[test]
        fn a_random_serial_is_positive_and_sixteen_octets(random: [u8; 16]) {
            let serial = Serial::from_random(random);
            prop_assert_eq!(serial.as_bytes().len(), 16);
            prop_assert!(serial.as_bytes()[0] & 0x80 == 0);
            prop_assert!(!serial.is_zero());
        }

        #[test]
        fn text_forms_read_back_as_the_same_number(bytes in proptest::collection::vec(any::<u8>(), 1..=20)) {
            let serial = Serial::from_bytes(&bytes).unwrap();
            prop_assert_eq!(Serial::parse(&serial.to_string()).unwrap(), serial);
            prop_assert_eq!(Serial::parse(&std::format!("0x{}", serial.to_hex())).unwrap(), serial);
        }

        #[test]
        fn order_is_numeric(a: u128, b: u128) {
            let serial = |n: u128| Serial::from_bytes(&n.to_be_bytes()).unwrap();
            prop_assert_eq!(serial(a).cmp(&serial(b)), a.cmp(&b));
        }
    }
}
