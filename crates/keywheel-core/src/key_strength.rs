//! Which public keys are too weak to be certified.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use num_bigint::BigUint;

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
    /// An RSA exponent that is even, below 65537 (the least that FIPS 186-5 allows) or above 32 bits.
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
    /// A key whose private half is known to the world, by [`crate::key_blocklist`].
    #[error("the private half of the key is publicly known (list {list} of the key blocklist)")]
    Known {
        /// The number of the list that names it.
        list: u8,
    },
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
pub fn check(key: &PublicKeyFacts) -> Result<(), WeakKey> {
    match key {
        PublicKeyFacts::Rsa { modulus, exponent } => check_rsa(modulus, exponent),
        PublicKeyFacts::Ec { curve: Curve::P256 | Curve::P384 | Curve::P521 } | PublicKeyFacts::Ed25519 => Ok(()),
        PublicKeyFacts::Other { algorithm } => {
            Err(WeakKey::UnsupportedAlgorithm { algorithm: algorithm.chars().take(64).collect() })
        }
    }
}

const MIN_BITS: u64 = 2048;
const MAX_BITS: u64 = 8192;
/// FIPS 186-5, A.1.1: more than 2^16. Smaller ones have made sloppy padding checks forgeable.
const MIN_EXPONENT: u64 = (1 << 16) + 1;
const MAX_EXPONENT: u32 = u32::MAX;
const FERMAT_ROUNDS: u32 = 100;
/// The primes up to here show the structure of the flaw in keys of every size, with one false alarm in 2^27.
const ROCA_LAST_PRIME: u32 = 167;
const ROCA_GENERATOR: u32 = 65_537;

fn check_rsa(modulus: &[u8], exponent: &[u8]) -> Result<(), WeakKey> {
    // Before any arithmetic: a modulus from outside may be megabytes long.
    let significant = modulus.iter().skip_while(|octet| **octet == 0).count();
    if significant > 1 + (MAX_BITS / 8) as usize {
        return Err(WeakKey::TooLong { bits: 8 * significant as u64 });
    }
    let modulus = BigUint::from_bytes_be(modulus);
    let bits = modulus.bits();
    if bits < MIN_BITS {
        return Err(WeakKey::TooShort { bits });
    }
    if bits > MAX_BITS {
        return Err(WeakKey::TooLong { bits });
    }
    check_exponent(exponent)?;
    if let Some(factor) = SMALL_PRIMES.into_iter().find(|prime| residue(&modulus, *prime) == 0) {
        return Err(WeakKey::SmallFactor { factor });
    }
    if has_roca_structure(&modulus) {
        return Err(WeakKey::Roca);
    }
    if has_close_primes(&modulus) {
        return Err(WeakKey::ClosePrimes);
    }
    Ok(())
}

fn check_exponent(exponent: &[u8]) -> Result<(), WeakKey> {
    let significant: Vec<u8> = exponent.iter().copied().skip_while(|octet| *octet == 0).collect();
    let small = match significant.len() {
        0..=4 => significant.iter().fold(0_u64, |value, octet| (value << 8) | u64::from(*octet)),
        _ => u64::MAX,
    };
    if small < MIN_EXPONENT || small % 2 == 0 || small > u64::from(MAX_EXPONENT) {
        let shown = if small == u64::MAX { "of more than 32 bits".to_string() } else { small.to_string() };
        return Err(WeakKey::BadExponent { exponent: shown });
    }
    Ok(())
}

/// Whether the modulus is a power of 65537 modulo each small prime, as both primes of a flawed key are, hence also
/// their product (Nemec and others, "The Return of Coppersmith's Attack", section 2.3).
fn has_roca_structure(modulus: &BigUint) -> bool {
    SMALL_PRIMES
        .into_iter()
        .filter(|prime| (3..=ROCA_LAST_PRIME).contains(prime))
        .all(|prime| is_power_of_generator(residue(modulus, prime), prime))
}

fn is_power_of_generator(value: u32, prime: u32) -> bool {
    let mut power = 1;
    loop {
        if power == value {
            return true;
        }
        power = power * (ROCA_GENERATOR % prime) % prime;
        if power <= 1 {
            return false;
        }
    }
}

/// Fermat's method: a product of close primes is a square less a small square.
fn has_close_primes(modulus: &BigUint) -> bool {
    let mut root = modulus.sqrt();
    if &root * &root == *modulus {
        return true;
    }
    root += 1_u32;
    let mut difference = &root * &root - modulus;
    for _ in 0..FERMAT_ROUNDS {
        if is_square(&difference) {
            return true;
        }
        // (root + 1)^2 = root^2 + 2 root + 1
        difference += &root * 2_u32 + 1_u32;
        root += 1_u32;
    }
    false
}

fn is_square(number: &BigUint) -> bool {
    // Squares have few residues; most numbers need no root.
    const SIXTY_FOURTHS: u64 = 0x0202_0212_0203_0213;
    if SIXTY_FOURTHS >> residue(number, 64) & 1 == 0 {
        return false;
    }
    let root = number.sqrt();
    &root * &root == *number
}

fn residue(number: &BigUint, divisor: u32) -> u32 {
    (number % divisor).iter_u32_digits().next().unwrap_or(0)
}

/// The primes below 1000.
const SMALL_PRIMES: [u32; 168] = small_primes();

const fn small_primes() -> [u32; 168] {
    let mut primes = [0; 168];
    let mut count = 0;
    let mut candidate = 2;
    while count < primes.len() {
        let mut index = 0;
        let mut prime = true;
        while index < count {
            if candidate % primes[index] == 0 {
                prime = false;
            }
            index += 1;
        }
        if prime {
            primes[count] = candidate;
            count += 1;
        }
        candidate += 1;
    }
    primes
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod vectors;
