//! CRL distribution points, and the issuing distribution point inside a CRL.

use super::Extension;
use super::alt_name::GeneralName;
use crate::x509::Malformed;
use crate::x509::oid;
use crate::x509::tlv;

/// The URIs in the value of a CRL distribution points extension.
pub fn read(value: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut points = super::value_sequence(value, WHAT)?;
    let mut uris = Vec::new();
    while !points.is_empty() {
        let mut point = points.expect(tlv::SEQUENCE)?.read(WHAT);
        if let Some(name) = point.optional(tlv::context_constructed(0))? {
            let mut name = name.read(WHAT);
            if let Some(full) = name.optional(tlv::context_constructed(0))? {
                let mut names = full.read(WHAT);
                while !names.is_empty() {
                    if let GeneralName::Uri(uri) = GeneralName::read(&names.element()?)? {
                        uris.push(uri);
                    }
                }
            }
        }
        if uris.len() > MAX_URIS {
            return Err(points.malformed("there are too many"));
        }
    }
    Ok(uris)
}

/// The CRL distribution points extension with one point for each URI.
pub fn extension(uris: &[String]) -> Result<Extension, Malformed> {
    let points: Vec<Vec<u8>> =
        uris.iter().map(|uri| Ok(tlv::sequence(&[full_name(uri)?]))).collect::<Result<_, Malformed>>()?;
    Ok(Extension::new(oid::CRL_DISTRIBUTION_POINTS, false, tlv::sequence(&points)))
}

/// The critical extension that says in a CRL where that CRL is published.
pub fn issuing(uri: &str) -> Result<Extension, Malformed> {
    Ok(Extension::new(oid::ISSUING_DISTRIBUTION_POINT, true, tlv::sequence(&[full_name(uri)?])))
}

const WHAT: &str = "CRL distribution points";
const MAX_URIS: usize = 100;

/// `distributionPoint [0] { fullName [0] { uniformResourceIdentifier [6] } }`
fn full_name(uri: &str) -> Result<Vec<u8>, Malformed> {
    let uri = GeneralName::Uri(uri.to_owned()).to_der()?;
    let full = tlv::tlv(tlv::context_constructed(0), &uri);
    Ok(tlv::tlv(tlv::context_constructed(0), &full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn uris_survive_writing_and_reading() {
        let uris = vec!["http://a/crl".to_owned(), "http://b/crl".to_owned()];
        assert_eq!(read(extension(&uris).unwrap().value()).unwrap(), uris);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = read(&tlv::sequence(&[tlv::sequence(&[bytes])]));
        }
    }
}
