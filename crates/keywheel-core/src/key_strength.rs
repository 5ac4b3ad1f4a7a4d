//! Which public keys are too weak to be certified.

use alloc::string::String;
use alloc::vec::Vec;

/// What is known of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKeyFacts {
    /// An RSA key.
    Rsa {
        /// The modulus, big-endian.
        modulus: Vec<u8>,
        /// The public exponent, big-endian.
        exponent: Vec<u8>,
    },
    /// A key on a curve that is known; that the point lies on it was checked by whoever parsed it.
    Ec {
        /// The curve.
        curve: Curve,
    },
    /// An Ed25519 key.
    Ed25519,
    /// Another algorithm or curve.
    Other {
        /// Its name or object identifier.
        algorithm: String,
    },
}

/// An elliptic curve that may be certified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
}

/// Why a key is too weak.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakKey {
    /// An RSA modulus that is too short.
    #[error("the RSA key has {bits} bits; at least 2048 are needed")]
    TooShort {
        /// The size of the modulus.
        bits: u64,
    },
    /// An RSA modulus that is too long to be handled cheaply.
    #[error("the RSA key has {bits} bits; at most 8192 are accepted")]
    TooLong {
        /// The size of the modulus.
        bits: u64,
    },
    /// An RSA exponent that is even, below 3 or above 32 bits.
    #[error("the RSA key has the bad public exponent {exponent}; 65537 is usual")]
    BadExponent {
        /// The exponent, shortened.
        exponent: String,
    },
    /// An RSA modulus that a small prime divides.
    #[error("the RSA modulus is divisible by {factor}")]
    SmallFactor {
        /// The prime.
        factor: u32,
    },
    /// An RSA key with the structure of the ROCA flaw (CVE-2017-15361).
    #[error("the RSA key was made by a generator with the ROCA flaw (CVE-2017-15361)")]
    Roca,
    /// An RSA modulus that Fermat's method factors, since its primes are close to each other (CVE-2022-26320).
    #[error("the primes of the RSA key are too close to each other (CVE-2022-26320)")]
    ClosePrimes,
    /// An algorithm or curve that is not certified.
    #[error(
        "keys of the kind {algorithm} are not certified; use EC P-256, P-384 or P-521, Ed25519, or RSA of at least 2048 bits"
    )]
    UnsupportedAlgorithm {
        /// Its name or object identifier.
        algorithm: String,
    },
}

/// Whether the key is strong enough to be certified.
pub fn check(_key: &PublicKeyFacts) -> Result<(), WeakKey> {
    todo!()
}
