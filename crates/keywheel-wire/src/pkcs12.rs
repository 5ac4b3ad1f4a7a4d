//! PKCS#12 (RFC 7292): a key and its certificates, or certificates to be trusted, in one file with a password.
//!
//! The container is written here, on the PBES2 that private keys in files have already: the one library for it stands on
//! pre-releases, draws its own chance and leaves the key in memory. Both parts are encrypted with AES-256-CBC under a key from
//! PBKDF2-HMAC-SHA256, and the whole is protected by HMAC-SHA256: OpenSSL 1.1.1, Java 8u301, 11.0.12 and 12, Windows Server 2019
//! and Windows 10 1709 and all later ones read it.

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::hmac;
use der::Encode;
use der::asn1::ObjectIdentifier;
use zeroize::Zeroizing;

use crate::private_key::encode::{element, oid, pbes2};
use crate::private_key::{Encryption, PrivateKey, PrivateKeyError};
use crate::x509::certificate::Certificate;

/// Octets of chance that a file needs. Never use them twice.
pub const CHANCE: usize = 80;

/// The same for all three derivations, as the weakest one is what an attacker tries passwords on. .NET reads no more than
/// 300,000 for each, and Windows no more than 600,000 for all.
const ITERATIONS: u32 = 100_000;

/// No chain is longer.
const MAX_CERTIFICATES: usize = 256;

const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const ENCRYPTED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.6");
const KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.2");
const CERTIFICATE_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.3");
const X509: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.22.1");
const FRIENDLY_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.20");
const LOCAL_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.21");
const OID_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// Java takes a certificate for trusted only where it carries this, with a purpose.
const JAVA_TRUSTED: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113894.746875.1.1");
const ANY_PURPOSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const NULL: &[u8] = &[0x05, 0x00];
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTEXT_0: u8 = 0x80;
const CONTEXT_0_CONSTRUCTED: u8 = 0xa0;

/// Why there is no PKCS#12 file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Pkcs12Error {
    /// There is nothing to put in.
    #[error("a PKCS#12 file without a certificate would be of no use")]
    NoCertificate,
    /// There is too much to put in.
    #[error("more than {MAX_CERTIFICATES} certificates are too many for a PKCS#12 file")]
    TooMany,
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// The password cannot be expressed.
    #[error("a password for PKCS#12 must be text in UTF-8")]
    PasswordNotText,
    /// The encryption did not work.
    #[error("the PKCS#12 file could not be encrypted")]
    Encrypt(#[source] PrivateKeyError),
    /// A number could not be expressed.
    #[error("the PKCS#12 file could not be written as DER")]
    Der,
}

/// A key with the chain of its certificate, leaf first. The name, which may be empty, is what programs show for the pair, and
/// what Java calls its alias. The password may be empty.
pub fn encode(
    key: &PrivateKey,
    chain: &[Certificate],
    friendly_name: &str,
    password: &[u8],
    chance: &[u8; CHANCE],
) -> Result<Zeroizing<Vec<u8>>, Pkcs12Error> {
    let (leaf, others) = chain.split_first().ok_or(Pkcs12Error::NoCertificate)?;
    if leaf.spki() != key.public_key() {
        return Err(Pkcs12Error::KeyMismatch);
    }
    let Chance { key: key_chance, certificates: certificate_chance, mac } = Chance::of(chance);
    let mut attributes = vec![local_key_id(leaf)];
    if !friendly_name.is_empty() {
        attributes.push(attribute(FRIENDLY_NAME, &element(BMP_STRING, &[&utf16(friendly_name)])));
    }
    let attributes = set_of(attributes);
    let mut bags = certificate_bag(leaf, &attributes);
    for other in others {
        bags.extend_from_slice(&certificate_bag(other, &[]));
    }
    let (scheme, encrypted) =
        pbes2(key.pkcs8_der(), &key_chance.with(password), ITERATIONS).map_err(Pkcs12Error::Encrypt)?;
    let shrouded = element(SEQUENCE, &[&scheme, &element(OCTET_STRING, &[&encrypted])]);
    let key_bag = element(SEQUENCE, &[&oid(KEY_BAG), &element(CONTEXT_0_CONSTRUCTED, &[&shrouded]), &attributes]);
    let certificates = encrypted_part(chain.len(), &bags, &certificate_chance.with(password))?;
    let content = element(SEQUENCE, &[&certificates, &plain_part(&element(SEQUENCE, &[&key_bag]))]);
    protected(&content, password, &mac)
}

/// Certificates to be trusted, each with the name that programs show for it: what Java takes as a trust store.
pub fn encode_trusted(
    certificates: &[(String, Certificate)],
    password: &[u8],
    chance: &[u8; CHANCE],
) -> Result<Zeroizing<Vec<u8>>, Pkcs12Error> {
    if certificates.is_empty() {
        return Err(Pkcs12Error::NoCertificate);
    }
    let Chance { certificates: certificate_chance, mac, .. } = Chance::of(chance);
    let mut bags = Zeroizing::new(Vec::new());
    for (name, certificate) in certificates {
        let attributes = set_of(vec![
            attribute(FRIENDLY_NAME, &element(BMP_STRING, &[&utf16(name)])),
            attribute(JAVA_TRUSTED, &oid(ANY_PURPOSE)),
        ]);
        bags.extend_from_slice(&certificate_bag(certificate, &attributes));
    }
    let part = encrypted_part(certificates.len(), &bags, &certificate_chance.with(password))?;
    protected(&element(SEQUENCE, &[&part]), password, &mac)
}

/// The chance of one file, by its uses.
struct Chance {
    key: Pair,
    certificates: Pair,
    mac: [u8; 16],
}

#[derive(Clone, Copy)]
struct Pair {
    salt: [u8; 16],
    iv: [u8; 16],
}

impl Chance {
    fn of(octets: &[u8; CHANCE]) -> Self {
        let at = |number: usize| {
            let mut part = [0; 16];
            part.copy_from_slice(&octets[16 * number..16 * (number + 1)]);
            part
        };
        Self { key: Pair { salt: at(0), iv: at(1) }, certificates: Pair { salt: at(2), iv: at(3) }, mac: at(4) }
    }
}

impl Pair {
    fn with<'a>(&self, password: &'a [u8]) -> Encryption<'a> {
        Encryption { password, salt: self.salt, iv: self.iv }
    }
}

fn certificate_bag(certificate: &Certificate, attributes: &[u8]) -> Zeroizing<Vec<u8>> {
    let value = element(CONTEXT_0_CONSTRUCTED, &[&element(OCTET_STRING, &[certificate.der()])]);
    let content = element(CONTEXT_0_CONSTRUCTED, &[&element(SEQUENCE, &[&oid(X509), &value])]);
    element(SEQUENCE, &[&oid(CERTIFICATE_BAG), &content, attributes])
}

/// What tells a reader which certificate is that of the key.
fn local_key_id(leaf: &Certificate) -> Zeroizing<Vec<u8>> {
    attribute(LOCAL_KEY_ID, &element(OCTET_STRING, &[leaf.digest().as_bytes()]))
}

fn attribute(kind: ObjectIdentifier, value: &[u8]) -> Zeroizing<Vec<u8>> {
    element(SEQUENCE, &[&oid(kind), &element(SET, &[value])])
}

fn set_of(mut elements: Vec<Zeroizing<Vec<u8>>>) -> Zeroizing<Vec<u8>> {
    elements.sort_by(|one, other| one.as_slice().cmp(other.as_slice()));
    element(SET, &elements.iter().map(|one| one.as_slice()).collect::<Vec<_>>())
}

/// A ContentInfo whose content is there for all to read.
fn plain_part(content: &[u8]) -> Zeroizing<Vec<u8>> {
    let octets = element(CONTEXT_0_CONSTRUCTED, &[&element(OCTET_STRING, &[content])]);
    element(SEQUENCE, &[&oid(DATA), &octets])
}

/// A ContentInfo whose content, bags of so many certificates, needs the password.
fn encrypted_part(count: usize, bags: &[u8], encryption: &Encryption<'_>) -> Result<Zeroizing<Vec<u8>>, Pkcs12Error> {
    if count > MAX_CERTIFICATES {
        return Err(Pkcs12Error::TooMany);
    }
    let (scheme, encrypted) =
        pbes2(&element(SEQUENCE, &[bags]), encryption, ITERATIONS).map_err(Pkcs12Error::Encrypt)?;
    let content = element(SEQUENCE, &[&oid(DATA), &scheme, &element(CONTEXT_0, &[&encrypted])]);
    let data = element(SEQUENCE, &[&element(INTEGER, &[&[0]]), &content]);
    Ok(element(SEQUENCE, &[&oid(ENCRYPTED_DATA), &element(CONTEXT_0_CONSTRUCTED, &[&data])]))
}

/// The file: version 3, the parts, and the MAC over them.
fn protected(parts: &[u8], password: &[u8], salt: &[u8; 16]) -> Result<Zeroizing<Vec<u8>>, Pkcs12Error> {
    let password = std::str::from_utf8(password).map_err(|_| Pkcs12Error::PasswordNotText)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, mac_key(password, salt).as_slice());
    let tag = hmac::sign(&key, parts);
    let algorithm = element(SEQUENCE, &[&oid(OID_SHA256), NULL]);
    let digest = element(SEQUENCE, &[&algorithm, &element(OCTET_STRING, &[tag.as_ref()])]);
    let iterations = ITERATIONS.to_der().map_err(|_| Pkcs12Error::Der)?;
    let mac = element(SEQUENCE, &[&digest, &element(OCTET_STRING, &[salt]), &iterations]);
    Ok(element(SEQUENCE, &[&element(INTEGER, &[&[3]]), &plain_part(parts), &mac]))
}

/// RFC 7292, appendix B.2, for one block of SHA-256 and the purpose 3.
fn mac_key(password: &str, salt: &[u8; 16]) -> Zeroizing<[u8; 32]> {
    const BLOCK: usize = 64;
    let mut text = utf16(password);
    text.extend_from_slice(&[0, 0]);
    let length = text.len().div_ceil(BLOCK) * BLOCK;
    let mut input = Zeroizing::new(Vec::with_capacity(2 * BLOCK + length));
    input.extend_from_slice(&[3; BLOCK]);
    input.extend(salt.iter().cycle().take(BLOCK));
    input.extend(text.iter().cycle().take(length));
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(digest::digest(&SHA256, &input).as_ref());
    for _ in 1..ITERATIONS {
        let next = digest::digest(&SHA256, key.as_slice());
        key.copy_from_slice(next.as_ref());
    }
    key
}

/// UTF-16, the octet of higher value first: what the standard calls BMPString, and readers take for all of Unicode.
fn utf16(text: &str) -> Zeroizing<Vec<u8>> {
    let mut octets = Zeroizing::new(Vec::with_capacity(2 * text.len() + 2));
    octets.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
    octets
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::slice;

    use super::*;
    use crate::private_key::PrivateKey;

    const PASSWORDS: [&str; 4] =
        ["", "changeit", "grüß Gott 日本 \u{1f511}", "a password that needs more than one block"];

    struct Made {
        folder: tempfile::TempDir,
        key: PrivateKey,
        certificate: Certificate,
    }

    impl Made {
        fn new(kind: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let words = format!("req -x509 -newkey {kind} -nodes -keyout a.key -out a.crt -days 9 -subj /CN=svc");
            openssl(&folder, &words.split(' ').collect::<Vec<_>>());
            let read = |name| std::fs::read(folder.path().join(name)).unwrap();
            let key = PrivateKey::parse_pem(&read("a.key"), None).unwrap().key;
            let certificate = Certificate::from_pem(&read("a.crt")).unwrap();
            Self { folder, key, certificate }
        }
    }

    fn openssl(folder: &tempfile::TempDir, words: &[&str]) -> String {
        let mut command = Command::new("openssl");
        let done = command.args(words).current_dir(folder.path()).stderr(Stdio::piped()).output().unwrap();
        assert!(done.status.success(), "openssl {words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned()
    }

    #[test]
    fn openssl_reads_key_and_certificates_of_every_kind() {
        for kind in ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-256", "ed25519"] {
            let made = Made::new(kind);
            let other = Made::new("ed25519").certificate;
            let chain = [made.certificate.clone(), other.clone()];
            let der = encode(&made.key, &chain, "svc.example", b"changeit", &[7; CHANCE]).unwrap();
            std::fs::write(made.folder.path().join("a.p12"), &der).unwrap();
            let text = openssl(&made.folder, &["pkcs12", "-in", "a.p12", "-passin", "pass:changeit", "-nodes"]);
            let back = PrivateKey::parse_pem(text.as_bytes(), None).unwrap().key;
            assert_eq!(back.pkcs8_der(), made.key.pkcs8_der());
            let certificates = Certificate::chain_from_pem(text.as_bytes()).unwrap();
            assert_eq!(certificates, chain, "{text}");
            assert!(text.contains("friendlyName: svc.example"), "{text}");
        }
    }

    #[test]
    fn openssl_takes_every_password_and_no_other() {
        let made = Made::new("ed25519");
        for password in PASSWORDS {
            let der =
                encode(&made.key, slice::from_ref(&made.certificate), "", password.as_bytes(), &[9; CHANCE]).unwrap();
            std::fs::write(made.folder.path().join("a.p12"), &der).unwrap();
            let given = format!("pass:{password}");
            let info = openssl(&made.folder, &["pkcs12", "-in", "a.p12", "-passin", &given, "-noout", "-info"]);
            for part in ["MAC: sha256", "AES-256-CBC", "hmacWithSHA256", "Iteration 100000"] {
                assert!(info.contains(part), "{part}: {info}");
            }
            let words = ["pkcs12", "-in", "a.p12", "-passin", "pass:other", "-noout"];
            let refused = Command::new("openssl").args(words).current_dir(made.folder.path()).output().unwrap();
            assert!(!refused.status.success());
        }
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let (one, other) = (Made::new("ed25519"), Made::new("ed25519"));
        let refused =
            |chain: &[Certificate], password| encode(&one.key, chain, "", password, &[0; CHANCE]).unwrap_err();
        assert_eq!(refused(&[other.certificate], b""), Pkcs12Error::KeyMismatch);
        assert_eq!(refused(&[], b""), Pkcs12Error::NoCertificate);
        assert_eq!(refused(slice::from_ref(&one.certificate), b"\xff"), Pkcs12Error::PasswordNotText);
        assert_eq!(refused(&vec![one.certificate.clone(); MAX_CERTIFICATES + 1], b""), Pkcs12Error::TooMany);
        assert_eq!(encode_trusted(&[], b"", &[0; CHANCE]).unwrap_err(), Pkcs12Error::NoCertificate);
    }

    #[test]
    fn trusted_certificates_come_with_their_names_and_the_mark_that_java_wants() {
        let made = Made::new("ed25519");
        let named = [("my root".to_owned(), made.certificate.clone())];
        let der = encode_trusted(&named, b"changeit", &[3; CHANCE]).unwrap();
        std::fs::write(made.folder.path().join("a.p12"), &der).unwrap();
        let text = openssl(&made.folder, &["pkcs12", "-in", "a.p12", "-passin", "pass:changeit", "-nokeys"]);
        assert!(text.contains("friendlyName: my root"), "{text}");
        assert!(text.contains("2.16.840.1.113894.746875.1.1"), "{text}");
        assert_eq!(Certificate::chain_from_pem(text.as_bytes()).unwrap(), [made.certificate]);
    }
}
