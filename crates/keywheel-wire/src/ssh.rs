//! OpenSSH's one-line form of a public key.

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
    let _ = (spki, comment);
    todo!()
}
