//! OpenSSH's one-line form of a public key.

use base64ct::{Base64, Encoding as _};

use crate::private_key::KeyKind;
use crate::signer::public_key_bits;

/// Why a public key has no OpenSSH line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SshKeyError {
    /// The key is malformed or of a kind that is not supported.
    #[error("the public key is malformed or of a kind that OpenSSH does not know")]
    UnsupportedKey,
    /// The comment would break the line.
    #[error("the comment of an OpenSSH public key must be one line")]
    BadComment,
}

/// The line that an `id_*.pub` file holds, with a newline at its end. `spki` is the DER of a SubjectPublicKeyInfo.
///
/// # Errors
/// When the key is not supported or the comment is more than one line.
pub fn public_key_line(spki: &[u8], comment: &str) -> Result<String, SshKeyError> {
    if comment.chars().any(char::is_control) {
        return Err(SshKeyError::BadComment);
    }
    let (kind, bits) = public_key_bits(spki).ok_or(SshKeyError::UnsupportedKey)?;
    let name = key_type(kind);
    let mut blob = Vec::with_capacity(bits.len() + 64);
    put(&mut blob, name.as_bytes());
    match kind {
        KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521 => {
            // The curve's name is the end of the type's.
            put(&mut blob, name.trim_start_matches("ecdsa-sha2-").as_bytes());
            put(&mut blob, bits);
        }
        KeyKind::Ed25519 => put(&mut blob, bits),
        KeyKind::Rsa(_) => {
            let key = pkcs1::RsaPublicKeyRef::try_from(bits).map_err(|_| SshKeyError::UnsupportedKey)?;
            put_number(&mut blob, key.public_exponent.as_bytes());
            put_number(&mut blob, key.modulus.as_bytes());
        }
    }
    let blob = Base64::encode_string(&blob);
    Ok(if comment.is_empty() { format!("{name} {blob}\n") } else { format!("{name} {blob} {comment}\n") })
}

/// OpenSSH's name for a kind of key.
#[must_use]
pub fn key_type(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::EcP256 => "ecdsa-sha2-nistp256",
        KeyKind::EcP384 => "ecdsa-sha2-nistp384",
        KeyKind::EcP521 => "ecdsa-sha2-nistp521",
        KeyKind::Ed25519 => "ssh-ed25519",
        KeyKind::Rsa(_) => "ssh-rsa",
    }
}

/// A string: its length in four octets, then itself.
fn put(blob: &mut Vec<u8>, value: &[u8]) {
    // Keys are far below 4 GiB.
    blob.extend_from_slice(&(value.len() as u32).to_be_bytes());
    blob.extend_from_slice(value);
}

/// An mpint: a string that starts with a zero octet where the number would look negative.
fn put_number(blob: &mut Vec<u8>, number: &[u8]) {
    if number.first().is_some_and(|octet| octet & 0x80 != 0) {
        put(blob, &[&[0], number].concat());
    } else {
        put(blob, number);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::pem;

    #[test]
    fn the_line_is_what_ssh_keygen_makes_of_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        for options in [
            &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"][..],
            &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
            &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            &["-algorithm", "Ed25519"],
        ] {
            let private = folder.path().join("key");
            let public = folder.path().join("public");
            let run = |program: &str, arguments: &[&str]| {
                let output = Command::new(program).args(arguments).output().unwrap();
                assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
                output.stdout
            };
            run("openssl", &[&["genpkey"], options, &["-out", private.to_str().unwrap()]].concat());
            run("openssl", &["pkey", "-in", private.to_str().unwrap(), "-pubout", "-out", public.to_str().unwrap()]);
            let spki = pem::parse(&std::fs::read(&public).unwrap()).unwrap().remove(0).der;
            let line = public_key_line(&spki, "a comment").unwrap();
            if options[1] == "Ed25519" {
                // ssh-keygen reads no Ed25519 key out of PKCS#8: it judges the line alone.
                let file = folder.path().join("line.pub");
                std::fs::write(&file, &line).unwrap();
                let shown = run("ssh-keygen", &["-l", "-f", file.to_str().unwrap()]);
                assert!(String::from_utf8(shown).unwrap().contains("a comment (ED25519)"));
                let blob = Base64::decode_vec(line.split(' ').nth(1).unwrap()).unwrap();
                assert_eq!(blob[blob.len() - 32..], spki[spki.len() - 32..]);
            } else {
                let theirs = run("ssh-keygen", &["-i", "-m", "PKCS8", "-f", public.to_str().unwrap()]);
                let theirs = String::from_utf8(theirs).unwrap();
                assert_eq!(line, format!("{} a comment\n", theirs.trim_end()));
                assert_eq!(public_key_line(&spki, "").unwrap(), theirs);
            }
        }
    }

    #[test]
    fn a_comment_that_would_start_a_new_line_is_refused() {
        assert_eq!(public_key_line(&[], "a\nb"), Err(SshKeyError::BadComment));
        assert_eq!(public_key_line(&[0x30, 0], "a"), Err(SshKeyError::UnsupportedKey));
    }
}
