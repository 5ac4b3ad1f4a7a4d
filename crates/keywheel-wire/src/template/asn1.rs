//! The template functions that make DER: `asn1Enc`, `asn1Marshal`, `asn1Seq` and `asn1Set`, all in base64.

use base64ct::{Base64, Encoding};
use der::Encode;
use der::asn1::{GeneralizedTime, Ia5StringRef, PrintableStringRef, UtcTime};
use jiff::Timestamp;

use crate::json::short;
use crate::x509::oid::Oid;
use crate::x509::tlv::{self, tlv};

/// Encodes a text such as `utf8:héllo`, `int:17` or `oid:1.2.3`; without a known type in front it is a string.
pub(super) fn encode(text: &str) -> Result<String, String> {
    let (kind, value) = match text.split_once(':') {
        Some((kind, value)) if KINDS.contains(&kind) => (kind, value),
        _ => ("", text),
    };
    let wrong = |_| format!("asn1Enc: '{}' is not a valid value of type '{kind}'", short(value));
    let der = match kind {
        "" => string(value),
        "printable" => PrintableStringRef::new(value).and_then(|text| text.to_der()).map_err(wrong)?,
        "utf8" => tlv(0x0c, value.as_bytes()),
        "ia5" => Ia5StringRef::new(value).and_then(|text| text.to_der()).map_err(wrong)?,
        "numeric" if value.bytes().all(|octet| octet.is_ascii_digit() || octet == b' ') => tlv(0x12, value.as_bytes()),
        "int" => integer(value.parse().map_err(|_| format!("asn1Enc: '{}' is not an integer", short(value)))?),
        "oid" => value
            .parse::<Oid>()
            .map_err(|_| format!("asn1Enc: '{}' is not an object identifier", short(value)))?
            .to_der(),
        "bool" => boolean(value.parse().map_err(|_| format!("asn1Enc: '{}' is not true or false", short(value)))?),
        "utc" => UtcTime::from_unix_duration(seconds(value)?).and_then(|time| time.to_der()).map_err(wrong)?,
        "generalized" => {
            GeneralizedTime::from_unix_duration(seconds(value)?).and_then(|time| time.to_der()).map_err(wrong)?
        }
        "raw" => decode(value)?,
        _ => return Err(format!("asn1Enc: '{}' is not a valid value of type '{kind}'", short(value))),
    };
    Ok(Base64::encode_string(&der))
}

/// Encodes a string as the reference does: PrintableString where it can be one, else UTF8String.
pub(super) fn string(value: &str) -> Vec<u8> {
    match PrintableStringRef::new(value).and_then(|text| text.to_der()) {
        Ok(der) => der,
        Err(_) => tlv(0x0c, value.as_bytes()),
    }
}

/// Encodes an INTEGER.
pub(super) fn integer(value: i64) -> Vec<u8> {
    let octets = value.to_be_bytes();
    // DER wants no leading octet that says nothing but the sign.
    let spare = octets
        .windows(2)
        .take_while(|pair| (pair[0] == 0 && pair[1] < 0x80) || (pair[0] == 0xff && pair[1] >= 0x80))
        .count();
    tlv(tlv::INTEGER, &octets[spare..])
}

/// Encodes a BOOLEAN.
pub(super) fn boolean(value: bool) -> Vec<u8> {
    tlv(tlv::BOOLEAN, &[if value { 0xff } else { 0 }])
}

/// Puts base64 DER values into a SEQUENCE (`0x30`) or SET (`0x31`).
pub(super) fn constructed(tag: u8, parts: &[String]) -> Result<String, String> {
    let mut body = Vec::new();
    for part in parts {
        body.extend(decode(part)?);
    }
    Ok(Base64::encode_string(&tlv(tag, &body)))
}

fn decode(text: &str) -> Result<Vec<u8>, String> {
    Base64::decode_vec(text).map_err(|_| format!("'{}' is not base64", short(text)))
}

fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("asn1Enc: '{}' is not an RFC 3339 time after 1970", short(text));
    let time: Timestamp = text.parse().map_err(|_| wrong())?;
    u64::try_from(time.as_second()).map(std::time::Duration::from_secs).map_err(|_| wrong())
}

const KINDS: [&str; 10] = ["printable", "utf8", "ia5", "numeric", "int", "oid", "bool", "utc", "generalized", "raw"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_the_der_that_openssl_shows_for_it() {
        let cases = [
            ("utf8:h\u{e9}", &b"\x0c\x03h\xc3\xa9"[..]),
            ("int:128", b"\x02\x02\x00\x80"),
            ("int:-1", b"\x02\x01\xff"),
            ("oid:1.2.840.113549", b"\x06\x06\x2a\x86\x48\x86\xf7\x0d"),
            ("bool:true", b"\x01\x01\xff"),
            ("ia5:a@b", b"\x16\x03a@b"),
            ("numeric:12", b"\x12\x0212"),
            ("plain", b"\x13\x05plain"),
            ("a@b", b"\x0c\x03a@b"),
            ("raw:BQA=", b"\x05\x00"),
            ("utc:2026-11-21T02:00:00Z", b"\x17\x0d261121020000Z"),
            ("generalized:2026-11-21T02:00:00Z", b"\x18\x0f20261121020000Z"),
        ];
        for (text, der) in cases {
            assert_eq!(encode(text).unwrap(), Base64::encode_string(der), "{text}");
        }
    }

    #[test]
    fn a_long_value_has_a_long_length() {
        let der = Base64::decode_vec(&encode(&format!("utf8:{}", "a".repeat(300))).unwrap()).unwrap();
        assert_eq!(&der[..4], b"\x0c\x82\x01\x2c");
    }

    #[test]
    fn what_does_not_fit_its_type_is_refused() {
        for text in ["int:x", "oid:9.9.9", "bool:perhaps", "numeric:a", "raw:!", "utc:yesterday", "ia5:\u{e9}"] {
            assert!(encode(text).is_err(), "{text}");
        }
    }
}
