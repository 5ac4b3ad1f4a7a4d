//! Certificate signing requests: read with their exact bytes, judged by their signature, and made.

use super::Malformed;
use super::certificate::{SignatureError, Signed};
use super::extension::alt_name::{self, GeneralName};
use super::extension::{self, Extension};
use super::name::Name;
use super::oid::{self, Oid};
use super::tbs;
use super::tlv::{self, Element};
use crate::pem;
use crate::signer::{self, SignError, SignatureScheme, Signer};
use keywheel_core::fingerprint::KeyDigest;

/// A certificate signing request as it was encoded, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    der: Vec<u8>,
    info: Vec<u8>,
    subject: Name,
    spki: Vec<u8>,
    extensions: Vec<Extension>,
    challenge_password: Option<String>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

/// Why a file holds no request that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The text is no PEM.
    #[error("the certificate request is not readable")]
    Pem(#[source] pem::PemError),
    /// There is no request in it.
    #[error("there is no certificate request in the text")]
    None,
    /// It cannot be read.
    #[error("the certificate request cannot be read")]
    Malformed(#[source] Malformed),
}

impl Request {
    /// From its whole encoding, which is kept.
    pub fn from_der(der: &[u8]) -> Result<Self, Malformed> {
        if der.len() > MAX_REQUEST {
            return Err(Malformed::new(WHAT, "it is too long"));
        }
        let Signed { content: info, algorithm, signature } = Signed::read(der, WHAT)?;
        let mut reader = Element::only_tagged(info, tlv::SEQUENCE, WHAT)?.read(WHAT);
        if reader.expect(tlv::INTEGER)?.content != [0] {
            return Err(reader.malformed("its version is unknown"));
        }
        let subject = Name::from_der(reader.expect(tlv::SEQUENCE)?.whole)?;
        let spki = reader.expect(tlv::SEQUENCE)?.whole.to_vec();
        let mut request = Self {
            der: der.to_vec(),
            info: info.to_vec(),
            subject,
            spki,
            extensions: Vec::new(),
            challenge_password: None,
            algorithm: algorithm.to_vec(),
            signature: signature.to_vec(),
        };
        // Some makers leave the empty attributes out.
        if let Some(attributes) = reader.optional(tlv::context_constructed(0))? {
            request.read_attributes(&attributes)?;
        }
        reader.end()?;
        Ok(request)
    }

    /// The first request in a PEM text (`CERTIFICATE REQUEST` or `NEW CERTIFICATE REQUEST`), or the one that a DER file is.
    pub fn from_pem(text: &[u8]) -> Result<Self, RequestError> {
        if text.first() == Some(&tlv::SEQUENCE) {
            return Self::from_der(text).map_err(RequestError::Malformed);
        }
        let block = pem::parse(text)
            .map_err(RequestError::Pem)?
            .into_iter()
            .find(|block| block.label == PEM_LABEL || block.label == OLD_PEM_LABEL)
            .ok_or(RequestError::None)?;
        Self::from_der(&block.der).map_err(RequestError::Malformed)
    }

    /// The exact bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// As a PEM block.
    pub fn to_pem(&self) -> String {
        to_pem(&self.der)
    }

    /// SHA-256 of the whole.
    pub fn digest(&self) -> [u8; 32] {
        tbs::sha256(&self.der)
    }

    /// The exact bytes that were signed.
    pub fn info(&self) -> &[u8] {
        &self.info
    }

    /// The subject that is asked for.
    pub fn subject(&self) -> &Name {
        &self.subject
    }

    /// The whole SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    pub fn key_digest(&self) -> KeyDigest {
        tbs::key_digest(&self.spki)
    }

    /// The extensions that are asked for, in order.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The extension of this type.
    pub fn extension(&self, oid: &Oid) -> Option<&Extension> {
        extension::find(&self.extensions, oid)
    }

    /// The alternative names that are asked for.
    pub fn subject_alt_names(&self) -> Result<Vec<GeneralName>, Malformed> {
        self.extension(&oid::SUBJECT_ALT_NAME)
            .map(|extension| alt_name::read(extension.value()))
            .transpose()
            .map(Option::unwrap_or_default)
    }

    /// The challenge password, where one is given as text.
    pub fn challenge_password(&self) -> Option<&str> {
        self.challenge_password.as_deref()
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

    /// Checks that the holder of the private key made it.
    pub fn verify(&self) -> Result<(), SignatureError> {
        let scheme = self.scheme().ok_or(SignatureError::UnsupportedAlgorithm)?;
        signer::verify(&self.spki, scheme, &self.info, &self.signature).map_err(SignatureError::Invalid)
    }

    fn read_attributes(&mut self, attributes: &Element<'_>) -> Result<(), Malformed> {
        let mut reader = attributes.read(WHAT);
        let mut has_extensions = false;
        while !reader.is_empty() {
            let mut attribute = reader.expect(tlv::SEQUENCE)?.read(WHAT);
            let oid = Oid::from_content(attribute.expect(tlv::OID)?.content)?;
            let values = attribute.expect(tlv::SET)?;
            attribute.end()?;
            if oid == oid::EXTENSION_REQUEST {
                // Two lists could be read differently by two readers.
                if has_extensions {
                    return Err(reader.malformed("it asks for extensions twice"));
                }
                has_extensions = true;
                let list = Element::only_tagged(values.content, tlv::SEQUENCE, WHAT)?;
                self.extensions = extension::read_all(&list, WHAT)?;
                if extension::has_duplicates(&self.extensions) {
                    return Err(reader.malformed("it asks for one extension twice"));
                }
            } else if oid == oid::CHALLENGE_PASSWORD {
                let value = Element::only(values.content, WHAT)?;
                self.challenge_password = String::from_utf8(value.content.to_vec()).ok();
            }
        }
        Ok(())
    }
}

/// A request for `subject` with these extensions, signed by `signer` with the usual scheme of its kind.
pub fn create(signer: &dyn Signer, subject: &Name, extensions: &[Extension]) -> Result<Vec<u8>, SignError> {
    let scheme = SignatureScheme::default_for(signer.kind());
    let attributes = if extensions.is_empty() {
        Vec::new()
    } else {
        tlv::sequence(&[
            oid::EXTENSION_REQUEST.to_der(),
            tlv::constructed(tlv::SET, &[extension::write_all(extensions)]),
        ])
    };
    let info = tlv::sequence(&[
        &[tlv::INTEGER, 1, 0],
        subject.as_der(),
        signer.public_key(),
        &tlv::tlv(tlv::context_constructed(0), &attributes),
    ]);
    let signature = signer.sign(scheme, &info)?;
    Ok(super::certificate::assemble(&info, scheme, &signature))
}

/// A request's encoding as a PEM block.
pub fn to_pem(der: &[u8]) -> String {
    pem::encode(PEM_LABEL, der).to_string()
}

const WHAT: &str = "certificate request";
const PEM_LABEL: &str = "CERTIFICATE REQUEST";
const OLD_PEM_LABEL: &str = "NEW CERTIFICATE REQUEST";
const MAX_REQUEST: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::extension::key_identifier;
    use crate::x509::openssl::{Judge, KINDS, contains, issue};
    use proptest::prelude::*;

    /// Extensions as odd as requests have them: bytes that are no ASN.1, an indefinite length, an explicit order.
    const ODD_REQUEST: &str = "
[req]
prompt = no
distinguished_name = dn
req_extensions = ext
[dn]
C = CH
0.OU = one
1.OU = two
2.OU = one
O = Läb
+CN = svc
[ext]
subjectAltName = critical,DNS:svc.lab,IP:10.0.0.1,IP:fe80::1,email:a@b.c,URI:spiffe://lab/svc,RID:1.2.3.4,otherName:1.2.3.4;UTF8:odd,dirName:dn
keyUsage = critical,digitalSignature,keyAgreement
extendedKeyUsage = serverAuth,1.2.3.4.5
1.2.3.4.1 = DER:DEADBEEF
1.2.3.4.2 = critical,DER:30800000
1.3.6.1.4.1.37476.9000.64.1 = DER:300C02010104046E616D65040131
certificatePolicies = 1.2.3.4
nsComment = hello
";

    #[test]
    fn odd_requests_of_every_key_keep_their_bytes_through_a_certificate_of_every_ca() {
        let judge = Judge::new();
        judge.write("odd.cnf", ODD_REQUEST);
        for ca_kind in KINDS {
            let (ca, root) = judge.root("ca", ca_kind, &[]);
            for kind in KINDS {
                let key = judge.key("leaf", kind);
                judge.accepts("req -new -utf8 -config odd.cnf -key leaf.key -out leaf.csr");
                let request = Request::from_pem(&judge.read("leaf.csr")).unwrap();
                request.verify().unwrap();
                assert_eq!(request.spki(), key.public_key());
                assert_eq!(request.extensions().len(), 8);
                assert_eq!(request.subject_alt_names().unwrap().len(), 8);
                assert_eq!(request.subject().values(&oid::ORGANIZATIONAL_UNIT), ["one", "two", "one"]);
                assert_eq!(request.subject().common_name().as_deref(), Some("svc"));
                assert_eq!(request.subject().to_string(), "CN=svc+O=Läb,OU=one,OU=two,OU=one,C=CH");

                let mut extensions = request.extensions().to_vec();
                extensions.push(key_identifier::subject(&key_identifier::of_key(request.spki()).unwrap()));
                extensions.push(key_identifier::authority(&key_identifier::of_key(root.spki()).unwrap()));
                let leaf = issue(&ca, root.subject(), request.subject(), request.spki(), extensions.clone());
                for extension in &extensions {
                    assert!(contains(leaf.der(), extension.tlv()), "{extension:?}");
                }
                assert!(contains(leaf.der(), request.subject().as_der()));
                assert_eq!(leaf.extensions(), extensions);
                judge.write("leaf.crt", leaf.to_pem());
                judge.accepts("verify -ignore_critical -CAfile ca.crt leaf.crt");
                let text = judge.accepts("x509 -in leaf.crt -noout -text");
                assert!(text.contains("DNS:svc.lab, IP Address:10.0.0.1"), "{text}");
            }
        }
    }

    #[test]
    fn openssl_verifies_the_requests_that_we_make() {
        let judge = Judge::new();
        for kind in KINDS {
            let key = judge.key("k", kind);
            let names = alt_name::extension(&[GeneralName::from_text("svc.lab"), GeneralName::from_text("::1")], false);
            let der = create(&key, &Name::with_common_name("svc"), &[names.unwrap()]).unwrap();
            judge.write("k.csr", to_pem(&der));
            let text = judge.accepts("req -in k.csr -noout -verify -text");
            assert!(text.contains("DNS:svc.lab, IP Address:0:0:0:0:0:0:0:1"), "{text}");
            assert!(text.contains("self-signature verify OK"), "{text}");
            Request::from_der(&der).unwrap().verify().unwrap();

            let empty = create(&key, &Name::empty(), &[]).unwrap();
            judge.write("e.csr", to_pem(&empty));
            judge.accepts("req -in e.csr -noout -verify");
            assert!(Request::from_der(&empty).unwrap().subject().is_empty());
        }
    }

    #[test]
    fn a_request_whose_key_was_exchanged_proves_nothing() {
        let judge = Judge::new();
        let (one, other) = (judge.key("one", KINDS[0]), judge.key("other", KINDS[0]));
        let der = create(&one, &Name::empty(), &[]).unwrap();
        let at = der.windows(one.public_key().len()).position(|window| window == one.public_key()).unwrap();
        let mut forged = der.clone();
        forged[at..at + other.public_key().len()].copy_from_slice(other.public_key());
        let request = Request::from_der(&forged).unwrap();
        assert_eq!(request.spki(), other.public_key());
        assert!(matches!(request.verify(), Err(SignatureError::Invalid(_))));
    }

    #[test]
    fn a_request_that_asks_twice_for_the_same_is_refused() {
        let judge = Judge::new();
        let key = judge.key("k", KINDS[0]);
        let one = alt_name::extension(&[GeneralName::from_text("a")], false).unwrap();
        let two = alt_name::extension(&[GeneralName::from_text("b")], false).unwrap();
        let der = create(&key, &Name::empty(), &[one, two]).unwrap();
        assert_eq!(Request::from_der(&der).unwrap_err().problem, "it asks for one extension twice");
    }

    #[test]
    fn a_file_without_a_request_says_so() {
        assert!(matches!(Request::from_pem(b"hello"), Err(RequestError::None)));
    }

    proptest! {
        #[test]
        fn mutated_requests_never_panic(at in 0usize..400, byte: u8, cut in 0usize..400) {
            static REQUEST: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
                let names = [GeneralName::from_text("svc.lab"), GeneralName::from_text("10.0.0.1")];
                let names = alt_name::extension(&names, true).unwrap();
                create(&Judge::new().key("k", KINDS[0]), &Name::with_common_name("svc"), &[names]).unwrap()
            });
            let mut der = REQUEST.clone();
            let length = der.len();
            der[at % length] = byte;
            if let Ok(request) = Request::from_der(&der) {
                let _ = request.subject_alt_names();
                let _ = request.verify();
                prop_assert_eq!(request.der(), der.as_slice());
            }
            prop_assert!(Request::from_der(&der[..cut % length]).is_err());
        }
    }
}
