//! What a file holds: certificates and keys in PEM or DER, or the torn rest of them.

use keywheel_core::doctor::{Certificate as CertificateFacts, Content, Key};
use keywheel_core::fingerprint::KeyDigest;
use keywheel_core::key_strength::PublicKeyFacts;
use keywheel_wire::pem::{self, Block, PemError};
use keywheel_wire::private_key::{Encoding, PrivateKey, PrivateKeyError};
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::extension::alt_name::GeneralName;
use keywheel_wire::x509::facts;

use super::Note;
use super::walk::Name;

/// The first octet of everything in DER that matters here.
const SEQUENCE: u8 = 0x30;

/// Reads a file's content; what is strange but not torn is noted.
pub(super) fn of(name: &Name, bytes: &[u8], password: Option<&[u8]>, notes: &mut Vec<Note>) -> Content {
    let is_pair = is_pair_name(name.file_name());
    if bytes.is_empty() {
        return Content::Empty;
    }
    if is_pair && bytes.iter().all(|octet| *octet == 0 || octet.is_ascii_whitespace()) {
        return torn("it holds nothing but zeros or white space");
    }
    if bytes.first() == Some(&SEQUENCE) {
        return if is_pair && is_shorter_than_it_says(bytes) {
            torn("it is shorter than it says")
        } else {
            of_der(bytes)
        };
    }
    if !bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        return if is_pair && b"-----BEGIN ".starts_with(bytes) {
            torn("it ends in its first line")
        } else {
            Content::Other
        };
    }
    if is_pair && ends_in_a_half_line(bytes) {
        return torn("it ends in the first line of a block");
    }
    match pem::parse(bytes) {
        Ok(blocks) => of_blocks(name, bytes, &blocks, password, notes),
        // A key of PGP, or a list of parameters.
        Err(PemError::Unterminated { label, .. } | PemError::NotBase64 { label, .. }) if !matters(&label) => {
            Content::Other
        }
        Err(error) => torn(&error.to_string()),
    }
}

/// Whether a file of this name should hold a certificate or a key.
pub(super) fn is_pair_name(name: &str) -> bool {
    let ends = ["crt", "cer", "cert", "pem", "key", "der"];
    name.ends_with("_key") || name.rsplit_once('.').is_some_and(|(_, end)| ends.contains(&end))
}

/// What stands outside of blocks is skipped by the parser, and so would be the beginning of one.
fn ends_in_a_half_line(bytes: &[u8]) -> bool {
    let last = bytes.trim_ascii_end().rsplit(|octet| *octet == b'\n').next().unwrap_or_default().trim_ascii();
    let begins = last.starts_with(b"-----BEGIN ") && !(last.len() > 16 && last.ends_with(b"-----"));
    begins || (!last.is_empty() && b"-----BEGIN ".starts_with(last))
}

fn matters(label: &str) -> bool {
    label == "CERTIFICATE" || label.ends_with("PRIVATE KEY")
}

fn torn(problem: &str) -> Content {
    Content::Torn { problem: problem.to_owned() }
}

/// The length that DER begins with, in its long form.
fn is_shorter_than_it_says(bytes: &[u8]) -> bool {
    let (length, head) = match bytes {
        [_, 0x81, length, ..] => (usize::from(*length), 3),
        [_, 0x82, high, low, ..] => (usize::from(*high) << 8 | usize::from(*low), 4),
        [_, 0x81] | [_, 0x82, ..] | [_] => return true,
        _ => return false,
    };
    bytes.len() < head + length
}

fn of_der(bytes: &[u8]) -> Content {
    if let Ok(certificate) = Certificate::from_der(bytes) {
        return Content::Held { certificates: vec![certificate_facts(&certificate)], keys: Vec::new() };
    }
    let encodings = [Encoding::Pkcs8, Encoding::Pkcs1, Encoding::Sec1];
    let key = encodings.into_iter().find_map(|encoding| PrivateKey::from_der(bytes, encoding).ok());
    key.map_or(Content::Other, |key| Content::Held { certificates: Vec::new(), keys: vec![open_key(&key)] })
}

fn of_blocks(name: &Name, bytes: &[u8], blocks: &[Block], password: Option<&[u8]>, notes: &mut Vec<Note>) -> Content {
    let mut certificates = Vec::new();
    for block in blocks.iter().filter(|block| block.label == "CERTIFICATE") {
        match Certificate::from_der(&block.der) {
            Ok(certificate) => certificates.push(certificate_facts(&certificate)),
            Err(error) => notes.push(Note { path: name.path.clone(), reason: error.to_string() }),
        }
    }
    let closed = Key { digest: None, closed: true };
    let unknown = Key { digest: None, closed: false };
    let keys = match PrivateKey::parse_pem(bytes, password) {
        Ok(parsed) => vec![open_key(&parsed.key)],
        Err(PrivateKeyError::NotFound) => Vec::new(),
        Err(PrivateKeyError::PasswordRequired | PrivateKeyError::WrongPassword) => vec![closed],
        Err(PrivateKeyError::UnsupportedEncryption(_)) => vec![closed],
        // A key of SSH is nobody's certificate; others may read it no more than any other key.
        Err(PrivateKeyError::UnsupportedFormat(_)) => return Content::Other,
        Err(PrivateKeyError::Malformed) => return torn("the private key is malformed"),
        Err(error) => {
            notes.push(Note { path: name.path.clone(), reason: error.to_string() });
            vec![unknown]
        }
    };
    if certificates.is_empty() && keys.is_empty() { Content::Other } else { Content::Held { certificates, keys } }
}

fn open_key(key: &PrivateKey) -> Key {
    Key { digest: Some(digest_of(key.public_key())), closed: false }
}

fn digest_of(spki: &[u8]) -> KeyDigest {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, spki);
    let mut octets = [0; 32];
    octets.copy_from_slice(digest.as_ref());
    KeyDigest(octets)
}

fn certificate_facts(certificate: &Certificate) -> CertificateFacts {
    let alternative = certificate.subject_alt_names().unwrap_or_default();
    let names: Vec<String> = alternative.iter().filter_map(GeneralName::as_text).collect();
    let subject = certificate.subject().common_name().or_else(|| names.first().cloned());
    let unreadable = |_| PublicKeyFacts::Other { algorithm: "unknown".to_owned() };
    CertificateFacts {
        digest: certificate.digest(),
        key: certificate.key_digest(),
        public_key: facts::public_key_facts(certificate.spki()).unwrap_or_else(unreadable),
        subject: plain(&subject.unwrap_or_else(|| certificate.subject().to_string())),
        names: names.iter().map(|name| plain(name)).collect(),
        is_ca: certificate.is_ca(),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
    }
}

/// Whoever had a certificate signed does not write to our reader's terminal.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).take(256).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_torn(name: &str, bytes: &[u8]) -> bool {
        matches!(of(&Name::for_test(name), bytes, None, &mut Vec::new()), Content::Torn { .. })
    }

    #[test]
    fn what_is_cut_off_is_told_from_what_is_something_else() {
        for bytes in [
            &b"--"[..],
            b"-----BEGIN",
            b"-----BEGIN CERTIFICATE",
            b"-----BEGIN CERTIFICATE-----\nMII",
            b"\0\0\0",
            b" \n",
        ] {
            assert!(is_torn("/e/svc.crt", bytes), "{bytes:?}");
        }
        for bytes in [&[0x30][..], &[0x30, 0x82, 1], &[0x30, 0x82, 1, 0, 1, 2, 3], &[0x30, 0x81, 9, 1]] {
            assert!(is_torn("/e/svc.cer", bytes), "{bytes:?}");
            assert!(!is_torn("/e/notes", bytes), "{bytes:?}");
        }
        for bytes in [&b"hello"[..], b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nx", &[0x30, 0x03, 1, 2, 3]] {
            assert!(!is_torn("/e/svc.key", bytes), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), pem: bool) {
            let bytes = if pem { [b"-----BEGIN CERTIFICATE-----\n", bytes.as_slice()].concat() } else { bytes };
            let _ = of(&Name::for_test("/e/svc.crt"), &bytes, Some(b"x"), &mut Vec::new());
            for name in ["/r/renewal/a.conf", "/e/a.json", "/e/a.toml", "/e/Caddyfile", "/e/.lego.yml"] {
                let _ = super::super::settings::of(&Name::for_test(name), &bytes);
            }
        }
    }
}
