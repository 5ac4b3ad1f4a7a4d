//! Certificates: read with their exact bytes, and assembled from what was signed and its signature.

use super::Malformed;
use super::extension::Extension;
use super::extension::alt_name::GeneralName;
use super::extension::provisioner::ProvisionerExtension;
use super::name::Name;
use super::oid::Oid;
use super::tbs::{TbsCertificate, sha256};
use super::tlv::{self, Element};
use crate::pem;
use crate::signer::{self, SignatureScheme, VerifyError};
use jiff::Timestamp;
use keywheel_core::fingerprint::{CertificateDigest, KeyDigest};
use keywheel_core::serial::Serial;

/// A certificate as it was encoded, and what it says.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    tbs: TbsCertificate,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

/// Why a file holds no certificate that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The text is no PEM.
    #[error("the certificate file is not readable")]
    Pem(#[source] pem::PemError),
    /// There is no certificate in it.
    #[error("there is no certificate in the file")]
    None,
    /// One certificate in it cannot be read.
    #[error("certificate {position} in the file cannot be read")]
    Malformed {
        /// Its position, the first being 1.
        position: usize,
        /// What is wrong with it.
        source: Malformed,
    },
    /// There are more than anybody needs.
    #[error("the file has more than {MAX_CHAIN} certificates")]
    TooMany,
}

/// Why a certificate is not signed by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Its algorithm is not one that Keywheel accepts.
    #[error("its signature algorithm is not supported")]
    UnsupportedAlgorithm,
    /// It states one algorithm inside and another outside.
    #[error("it states two different signature algorithms")]
    AlgorithmsDiffer,
    /// The signature does not verify.
    #[error("its signature is not by the key of its issuer")]
    Invalid(#[source] VerifyError),
}

impl Certificate {
    /// From its whole encoding, which is kept.
    pub fn from_der(der: &[u8]) -> Result<Self, Malformed> {
        if der.len() > MAX_CERTIFICATE {
            return Err(Malformed::new("certificate", "it is too long"));
        }
        let Signed { content: tbs, algorithm, signature } = Signed::read(der, "certificate")?;
        Ok(Self {
            der: der.to_vec(),
            tbs: TbsCertificate::from_der(tbs)?,
            algorithm: algorithm.to_vec(),
            signature: signature.to_vec(),
        })
    }

    /// The first certificate in a PEM file, or the one that a DER file is.
    pub fn from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        Self::chain_from_pem(text)?.into_iter().next().ok_or(CertificateError::None)
    }

    /// All certificates in a PEM file in order (at least one), or the one that a DER file is.
    ///
    /// Other blocks and text between them are skipped.
    pub fn chain_from_pem(text: &[u8]) -> Result<Vec<Self>, CertificateError> {
        if text.first() == Some(&tlv::SEQUENCE) {
            return Self::from_der(text)
                .map(|one| vec![one])
                .map_err(|source| CertificateError::Malformed { position: 1, source });
        }
        let mut chain = Vec::new();
        for block in pem::parse(text).map_err(CertificateError::Pem)? {
            if block.label != PEM_LABEL {
                continue;
            }
            if chain.len() == MAX_CHAIN {
                return Err(CertificateError::TooMany);
            }
            let one = Self::from_der(&block.der)
                .map_err(|source| CertificateError::Malformed { position: chain.len() + 1, source })?;
            chain.push(one);
        }
        if chain.is_empty() {
            return Err(CertificateError::None);
        }
        Ok(chain)
    }

    /// The exact bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// As a PEM block.
    pub fn to_pem(&self) -> String {
        pem::encode(PEM_LABEL, &self.der).to_string()
    }

    /// The exact bytes that were signed.
    pub fn tbs(&self) -> &[u8] {
        self.tbs.der()
    }

    /// The part that was signed, with all that it says.
    pub fn parts(&self) -> &TbsCertificate {
        &self.tbs
    }

    /// SHA-256 of the whole.
    pub fn digest(&self) -> CertificateDigest {
        CertificateDigest(sha256(&self.der))
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn key_digest(&self) -> KeyDigest {
        self.tbs.key_digest()
    }

    /// The serial number.
    pub fn serial(&self) -> Serial {
        self.tbs.serial()
    }

    /// Who signed.
    pub fn issuer(&self) -> &Name {
        self.tbs.issuer()
    }

    /// Whom it certifies.
    pub fn subject(&self) -> &Name {
        self.tbs.subject()
    }

    /// First second of its validity.
    pub fn not_before(&self) -> Timestamp {
        self.tbs.not_before()
    }

    /// Last second of its validity.
    pub fn not_after(&self) -> Timestamp {
        self.tbs.not_after()
    }

    /// The whole SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        self.tbs.spki()
    }

    /// The extensions in order.
    pub fn extensions(&self) -> &[Extension] {
        self.tbs.extensions()
    }

    /// The extension of this type.
    pub fn extension(&self, oid: &Oid) -> Option<&Extension> {
        self.tbs.extension(oid)
    }

    /// The alternative names; empty where there is no such extension.
    pub fn subject_alt_names(&self) -> Result<Vec<GeneralName>, Malformed> {
        self.tbs.subject_alt_names()
    }

    /// Whether it says that it is a CA.
    pub fn is_ca(&self) -> bool {
        self.tbs.is_ca()
    }

    /// Which provisioner vouched for it; `None` where nothing is said.
    pub fn provisioner(&self) -> Result<Option<ProvisionerExtension>, Malformed> {
        self.tbs.provisioner()
    }

    /// The AlgorithmIdentifier of the signature.
    pub fn algorithm(&self) -> &[u8] {
        &self.algorithm
    }

    /// The scheme of the signature; `None` for what Keywheel does not verify.
    pub fn scheme(&self) -> Option<SignatureScheme> {
        SignatureScheme::from_algorithm_identifier(&self.algorithm)
    }

    /// The signature.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Whether issuer and subject are the same name.
    pub fn is_self_issued(&self) -> bool {
        self.issuer() == self.subject()
    }

    /// Checks that the holder of this public key signed it. Nothing else is checked: see [`super::chain`].
    pub fn verify_signed_by(&self, issuer_spki: &[u8]) -> Result<(), SignatureError> {
        if self.algorithm != self.tbs.algorithm() {
            return Err(SignatureError::AlgorithmsDiffer);
        }
        let scheme = self.scheme().ok_or(SignatureError::UnsupportedAlgorithm)?;
        signer::verify(issuer_spki, scheme, self.tbs(), &self.signature).map_err(SignatureError::Invalid)
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("serial", &self.serial())
            .field("subject", self.subject())
            .field("digest", &self.digest())
            .finish_non_exhaustive()
    }
}

/// The certificate from what was signed and its signature. Nothing is changed on the way.
pub fn assemble(tbs: &[u8], scheme: SignatureScheme, signature: &[u8]) -> Vec<u8> {
    tlv::sequence(&[tbs, scheme.algorithm_identifier(), &tlv::bit_string(signature)])
}

/// A chain as PEM blocks, one after the other.
pub fn chain_to_pem(chain: &[Certificate]) -> String {
    chain.iter().map(Certificate::to_pem).collect()
}

/// A signed structure taken apart.
pub(crate) struct Signed<'a> {
    pub(crate) content: &'a [u8],
    pub(crate) algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(crate) fn read(der: &'a [u8], what: &'static str) -> Result<Self, Malformed> {
        let mut reader = Element::only_tagged(der, tlv::SEQUENCE, what)?.read(what);
        let content = reader.expect(tlv::SEQUENCE)?.whole;
        let algorithm = reader.expect(tlv::SEQUENCE)?.whole;
        let signature = tlv::whole_bytes(reader.expect(tlv::BIT_STRING)?.content, what)?;
        reader.end()?;
        Ok(Self { content, algorithm, signature })
    }
}

/// One CA certificate with thousands of names still fits; nothing honest is larger.
const MAX_CERTIFICATE: usize = 256 * 1024;

/// Bundles of system roots have a few hundred.
const MAX_CHAIN: usize = 1000;
const PEM_LABEL: &str = "CERTIFICATE";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::Signer;
    use crate::x509::openssl::{Judge, KINDS, Key, contains};
    use crate::x509::tbs::TbsBuilder;
    use crate::x509::{extension, oid};
    use proptest::prelude::*;

    /// A certificate whose parts are given as raw bytes, for what no honest tool would write.
    fn raw(key: &Key, parts: &[&[u8]]) -> Vec<u8> {
        let scheme = SignatureScheme::default_for(key.kind());
        let tbs = tlv::sequence(parts);
        assemble(&tbs, scheme, &key.sign(scheme, &tbs).unwrap())
    }

    const VERSION_3: &[u8] = &[0xa0, 3, 2, 1, 2];
    const SERIAL: &[u8] = &[2, 2, 0, 0x85];
    const TIMES: &[u8] = b"\x30\x1e\x17\x0d260101000000Z\x17\x0d360101000000Z";
    /// SET members in the wrong order.
    const UNSORTED_NAME: &[u8] =
        b"\x30\x1a\x31\x18\x30\x0a\x06\x03\x55\x04\x0b\x0c\x03zzz\x30\x0a\x06\x03\x55\x04\x03\x13\x03svc";
    /// keyUsage with an explicit FALSE, and an unknown extension with the TRUE of careless encoders.
    const ODD_EXTENSIONS: &[u8] = b"\xa3\x21\x30\x1f\x30\x0e\x06\x03\x55\x1d\x0f\x01\x01\x00\x04\x04\x03\x02\x07\x80\
        \x30\x0d\x06\x03\x2a\x03\x04\x01\x01\x01\x04\x03\xde\xad\xbe";

    #[test]
    fn odd_certificates_are_read_and_their_extensions_written_again_byte_for_byte() {
        let key = Judge::new().key("k", KINDS[0]);
        let algorithm = SignatureScheme::EcdsaSha256.algorithm_identifier();
        let spki = key.public_key();
        let general = b"\x30\x22\x18\x0f20260101000000Z\x18\x0f20360101000000Z";
        let variants: [&[&[u8]]; 5] = [
            &[VERSION_3, SERIAL, algorithm, UNSORTED_NAME, TIMES, UNSORTED_NAME, spki, ODD_EXTENSIONS],
            &[VERSION_3, SERIAL, algorithm, UNSORTED_NAME, general, UNSORTED_NAME, spki, ODD_EXTENSIONS],
            // A version 1 that is spelt out, and none.
            &[&[0xa0, 3, 2, 1, 0], SERIAL, algorithm, UNSORTED_NAME, TIMES, UNSORTED_NAME, spki],
            &[SERIAL, algorithm, UNSORTED_NAME, TIMES, UNSORTED_NAME, spki],
            // A padded serial number.
            &[VERSION_3, &[2, 3, 0, 0, 5], algorithm, UNSORTED_NAME, TIMES, UNSORTED_NAME, spki, ODD_EXTENSIONS],
        ];
        for parts in variants {
            let der = raw(&key, parts);
            let one = Certificate::from_der(&der).unwrap();
            assert_eq!(one.der(), der);
            assert_eq!(one.tbs(), tlv::sequence(parts));
            assert_eq!(one.not_before().to_string(), "2026-01-01T00:00:00Z");
            assert_eq!(one.subject().as_der(), UNSORTED_NAME);
            assert_eq!(one.subject().common_name().as_deref(), Some("svc"));
            one.verify_signed_by(spki).unwrap();
            let again = TbsBuilder {
                serial: one.serial(),
                scheme: SignatureScheme::EcdsaSha256,
                issuer: one.issuer().clone(),
                not_before: one.not_before(),
                not_after: one.not_after(),
                subject: one.subject().clone(),
                spki: one.spki().to_vec(),
                extensions: one.extensions().to_vec(),
            }
            .build()
            .unwrap();
            assert!(contains(&again, UNSORTED_NAME));
            for extension in one.extensions() {
                assert!(contains(ODD_EXTENSIONS, extension.tlv()));
                assert!(contains(&again, extension.tlv()));
            }
        }
    }

    #[test]
    fn what_cannot_be_a_certificate_is_refused_with_its_reason() {
        let key = Judge::new().key("k", KINDS[0]);
        let algorithm = SignatureScheme::EcdsaSha256.algorithm_identifier();
        let spki = key.public_key();
        let long_serial = tlv::tlv(tlv::INTEGER, &[1; 21]);
        let name = UNSORTED_NAME;
        let cases: [(&[&[u8]], &str); 7] = [
            (
                &[VERSION_3, &long_serial, algorithm, name, TIMES, name, spki],
                "its serial number has no or more than 20 octets",
            ),
            (&[VERSION_3, &[2, 1, 0x80], algorithm, name, TIMES, name, spki], "its serial number is negative"),
            (&[&[0xa0, 3, 2, 1, 3], SERIAL, algorithm, name, TIMES, name, spki], "its version is unknown"),
            (&[VERSION_3, SERIAL, algorithm, name, TIMES, name], "an element is missing"),
            (&[VERSION_3, SERIAL, algorithm, name, TIMES, name, spki, &[5, 0]], "unexpected bytes at the end"),
            (&[VERSION_3, SERIAL, algorithm, name, &[0x30, 0], name, spki], "an element is missing"),
            (&[VERSION_3, SERIAL, algorithm, &[0x30, 2, 0x31, 0], TIMES, name, spki], "a relative name is empty"),
        ];
        for (parts, problem) in cases {
            assert_eq!(Certificate::from_der(&raw(&key, parts)).unwrap_err().problem, problem);
        }
        let good = raw(&key, &[VERSION_3, SERIAL, algorithm, name, TIMES, name, spki]);
        let trailing = [&good[..], &[0]].concat();
        assert_eq!(Certificate::from_der(&trailing).unwrap_err().problem, "unexpected bytes at the end");
    }

    #[test]
    fn two_algorithms_in_one_certificate_are_refused() {
        let key = Judge::new().key("k", KINDS[0]);
        let other = SignatureScheme::EcdsaSha384.algorithm_identifier();
        let der = raw(&key, &[VERSION_3, SERIAL, other, UNSORTED_NAME, TIMES, UNSORTED_NAME, key.public_key()]);
        let one = Certificate::from_der(&der).unwrap();
        assert_eq!(one.verify_signed_by(key.public_key()), Err(SignatureError::AlgorithmsDiffer));
    }

    #[test]
    fn certificates_that_openssl_makes_say_the_same_to_us() {
        let judge = Judge::new();
        judge.write("c.cnf", "[req]\nprompt=no\ndistinguished_name=dn\n[dn]\nC=CH\nO=Läb\nCN=svc\n");
        for kind in KINDS {
            let key = judge.key("k", kind);
            judge.accepts(
                "req -x509 -utf8 -config c.cnf -key k.key -days 30 -set_serial 0x7f00000000000000000000000000000000000001 \
                 -out c.crt -addext basicConstraints=critical,CA:TRUE,pathlen:3 -addext keyUsage=keyCertSign,cRLSign \
                 -addext extendedKeyUsage=clientAuth,emailProtection -addext subjectAltName=DNS:a.lab,IP:10.1.2.3 \
                 -addext nameConstraints=permitted;DNS:lab,excluded;IP:10.0.0.0/255.0.0.0 \
                 -addext crlDistributionPoints=URI:http://ca.lab/crl \
                 -addext subjectKeyIdentifier=hash -addext authorityKeyIdentifier=keyid:always",
            );
            let one = Certificate::from_pem(&judge.read("c.crt")).unwrap();
            one.verify_signed_by(key.public_key()).unwrap();
            assert!(one.is_self_issued());
            assert_eq!(one.subject().to_string(), "CN=svc,O=Läb,C=CH");
            assert_eq!(one.serial().to_hex(), "7f00000000000000000000000000000000000001");
            let parts = one.parts();
            let constraints = parts.basic_constraints().unwrap().unwrap();
            assert_eq!((constraints.ca, constraints.path_len), (true, Some(3)));
            assert_eq!(parts.key_usage().unwrap().unwrap().names(), ["keyCertSign", "cRLSign"]);
            let usages = [oid::CLIENT_AUTH, oid::EMAIL_PROTECTION];
            assert_eq!(parts.extended_key_usage().unwrap().unwrap(), usages);
            let names = one.subject_alt_names().unwrap();
            assert_eq!(names, [GeneralName::from_text("a.lab"), GeneralName::from_text("10.1.2.3")]);
            let constraints = parts.name_constraints().unwrap().unwrap();
            assert_eq!(constraints.permitted.dns, ["lab"]);
            assert_eq!(constraints.excluded.ip, [("10.0.0.0".parse().unwrap(), "255.0.0.0".parse().unwrap())]);
            let written = constraints.extension().unwrap();
            assert_eq!(written.value(), one.extension(&oid::NAME_CONSTRAINTS).unwrap().value());
            assert_eq!(parts.crl_distribution_points().unwrap(), ["http://ca.lab/crl"]);
            let identifier = extension::key_identifier::of_key(one.spki()).unwrap();
            assert_eq!(parts.subject_key_id().unwrap().unwrap(), identifier);
            assert_eq!(parts.authority_key_id().unwrap().unwrap(), identifier);
            let fingerprint =
                judge.accepts("x509 -in c.crt -noout -fingerprint -sha256").replace(':', "").to_lowercase();
            assert!(fingerprint.contains(&one.digest().to_string()), "{fingerprint}");
        }
    }

    #[test]
    fn a_bundle_keeps_its_order_and_skips_what_is_no_certificate() {
        let judge = Judge::new();
        let (_, one) = judge.root("one", KINDS[0], &[]);
        let (_, two) = judge.root("two", KINDS[3], &[]);
        let text =
            format!("hello\n{}# DH\n{}{}", two.to_pem(), pem::encode("DH PARAMETERS", &[1]).as_str(), one.to_pem());
        assert_eq!(Certificate::chain_from_pem(text.as_bytes()).unwrap(), [two.clone(), one.clone()]);
        assert_eq!(Certificate::from_pem(one.der()).unwrap(), one);
        assert_eq!(chain_to_pem(&[one.clone(), two.clone()]), format!("{}{}", one.to_pem(), two.to_pem()));
        assert!(matches!(Certificate::from_pem(b"nothing"), Err(CertificateError::None)));
        let broken = format!("{}{}", one.to_pem(), pem::encode("CERTIFICATE", &[0x30, 0]).as_str());
        let error = Certificate::chain_from_pem(broken.as_bytes()).unwrap_err();
        assert!(matches!(error, CertificateError::Malformed { position: 2, .. }), "{error}");
    }

    proptest! {
        #[test]
        fn mutated_certificates_never_panic(at in 0usize..900, byte: u8, cut in 0usize..900) {
            static ROOT: std::sync::LazyLock<Vec<u8>> =
                std::sync::LazyLock::new(|| Judge::new().root("root", KINDS[0], &[]).1.der().to_vec());
            let mut der = ROOT.clone();
            let length = der.len();
            der[at % length] = byte;
            if let Ok(one) = Certificate::from_der(&der) {
                let parts = one.parts();
                let _ = (parts.subject_alt_names(), parts.key_usage(), parts.extended_key_usage());
                let _ = (parts.basic_constraints(), parts.name_constraints(), parts.provisioner());
                let _ = (parts.subject_key_id(), parts.authority_key_id(), parts.crl_distribution_points());
                let _ = (one.subject().to_string(), one.verify_signed_by(one.spki()));
                let _ = crate::x509::facts::certificate_facts(one.tbs().to_vec());
                prop_assert_eq!(one.der(), der.as_slice());
            }
            prop_assert!(Certificate::from_der(&der[..cut % length]).is_err());
        }

        #[test]
        fn random_bytes_are_no_certificate(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Certificate::from_der(&bytes).is_err());
            prop_assert!(Certificate::from_der(&tlv::sequence(&[bytes])).is_err());
        }
    }
}
