//! SHA-256 fingerprints of keys and certificates, kept apart by type so that one is never compared with the other.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

/// SHA-256 of a SubjectPublicKeyInfo in DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyDigest(pub [u8; 32]);

/// SHA-256 of a whole certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateDigest(pub [u8; 32]);

/// A text is no SHA-256 fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a SHA-256 fingerprint; it needs 64 hexadecimal digits")]
pub struct FingerprintError {
    /// What was given.
    pub text: String,
}

/// Lower-case hexadecimal, two digits per octet.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

macro_rules! digest_text {
    ($name:ident) => {
        impl $name {
            /// The 32 octets.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Reads 64 hexadecimal digits of either case; `:` and `-` between them do not count.
            pub fn parse(text: &str) -> Result<Self, FingerprintError> {
                parse_sha256(text).map(Self).ok_or_else(|| FingerprintError { text: text.chars().take(128).collect() })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name).to_string())
            }
        }

        impl FromStr for $name {
            type Err = FingerprintError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
    };
}

digest_text!(KeyDigest);
digest_text!(CertificateDigest);

fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let mut count = 0;
    for c in text.chars().filter(|c| !matches!(c, ':' | '-')) {
        let digit = u8::try_from(c.to_digit(16)?).ok()?;
        let octet = digest.get_mut(count / 2)?;
        *octet = (*octet << 4) | digit;
        count += 1;
    }
    (count == 64).then_some(digest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn separators_and_case_do_not_count() {
        let plain = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
        let digest = CertificateDigest::parse(plain).unwrap();
        assert_eq!(digest.to_string(), plain);
        assert_eq!(CertificateDigest::parse(&plain.to_uppercase()), Ok(digest));
        let colons: std::vec::Vec<&str> = (0..32).map(|i| &plain[2 * i..2 * i + 2]).collect();
        assert_eq!(CertificateDigest::parse(&colons.join(":")), Ok(digest));
    }

    #[test]
    fn another_length_or_alphabet_is_refused() {
        for text in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(64)] {
            assert!(KeyDigest::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_text_of_a_digest_reads_back(octets: [u8; 32]) {
            let digest = KeyDigest(octets);
            prop_assert_eq!(KeyDigest::parse(&digest.to_string()), Ok(digest));
        }
    }
}
