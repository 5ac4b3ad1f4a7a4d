//! Base64 as JOSE writes it, and ECDSA signatures from DER to JOSE's fixed width and back.

use base64ct::{Base64UrlUnpadded, Encoding};
use der::asn1::UintRef;
use der::{Decode, Encode, Reader, SliceReader};

/// Base64url without padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// Strict base64url without padding.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    Base64UrlUnpadded::decode_vec(text).ok()
}

/// `r || s`, each `width` octets, as the DER that X.509 and the signer speak.
pub(crate) fn fixed_to_der(signature: &[u8], width: usize) -> Option<Vec<u8>> {
    if signature.len() != width.checked_mul(2)? {
        return None;
    }
    let (r, s) = signature.split_at(width);
    let body = [UintRef::new(r).ok()?.to_der().ok()?, UintRef::new(s).ok()?.to_der().ok()?].concat();
    let mut der = vec![0x30];
    der.extend(der::Length::try_from(body.len()).ok()?.to_der().ok()?);
    der.extend(body);
    Some(der)
}

/// The DER of an ECDSA signature as `r || s`, each `width` octets.
pub(super) fn der_to_fixed(signature: &[u8], width: usize) -> Option<Vec<u8>> {
    let mut reader = SliceReader::new(signature).ok()?;
    let (r, s) = reader
        .sequence(|inner| -> Result<_, der::Error> { Ok((UintRef::decode(inner)?, UintRef::decode(inner)?)) })
        .ok()?;
    reader.finish().ok()?;
    let mut fixed = left_pad(r.as_bytes(), width)?;
    fixed.extend(left_pad(s.as_bytes(), width)?);
    Some(fixed)
}

/// An unsigned number without leading zeros.
pub(super) fn minimal(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|octet| *octet != 0).unwrap_or(number.len());
    &number[start..]
}

fn left_pad(number: &[u8], width: usize) -> Option<Vec<u8>> {
    let number = minimal(number);
    let mut padded = vec![0; width.checked_sub(number.len())?];
    padded.extend_from_slice(number);
    Some(padded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_signature_survives_the_way_to_der_and_back(fixed in proptest::collection::vec(any::<u8>(), 64)) {
            prop_assert_eq!(der_to_fixed(&fixed_to_der(&fixed, 32).unwrap(), 32), Some(fixed));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = der_to_fixed(&bytes, 32);
            let _ = fixed_to_der(&bytes, 66);
        }
    }

    #[test]
    fn small_numbers_are_padded_to_the_width_of_the_curve() {
        let der = [0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x7f];
        let fixed = der_to_fixed(&der, 32).unwrap();
        assert_eq!((fixed[31], fixed[63], fixed.len()), (1, 0x7f, 64));
    }
}
