//! Weak and good keys, with moduli from real flawed devices.

use std::vec;

use proptest::prelude::*;

use super::vectors::*;
use super::*;

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn rsa(modulus: &str) -> PublicKeyFacts {
    PublicKeyFacts::Rsa { modulus: unhex(modulus), exponent: vec![1, 0, 1] }
}

#[test]
fn good_keys_pass() {
    for modulus in [GOOD_2048, GOOD_3072, GOOD_4096] {
        assert_eq!(check(&rsa(modulus)), Ok(()));
    }
    for curve in [Curve::P256, Curve::P384, Curve::P521] {
        assert_eq!(check(&PublicKeyFacts::Ec { curve }), Ok(()));
    }
    assert_eq!(check(&PublicKeyFacts::Ed25519), Ok(()));
}

#[test]
fn leading_zeros_do_not_make_a_key_longer() {
    let mut modulus = vec![0; 5000];
    modulus.extend(unhex(GOOD_2048));
    assert_eq!(check(&PublicKeyFacts::Rsa { modulus, exponent: vec![0, 0, 0, 0, 0, 1, 0, 1] }), Ok(()));
}

#[test]
fn keys_of_flawed_devices_are_recognised() {
    assert_eq!(check(&rsa(ROCA_2048)), Err(WeakKey::Roca));
    assert_eq!(check(&rsa(ROCA_4096)), Err(WeakKey::Roca));
}

#[test]
fn close_primes_are_found_within_a_hundred_rounds_and_no_further() {
    assert_eq!(check(&rsa(CLOSE_FIRST_ROUND)), Err(WeakKey::ClosePrimes));
    assert_eq!(check(&rsa(CLOSE_LATE_ROUND)), Err(WeakKey::ClosePrimes));
    // Documents the limit: such a gap does not come about by accident.
    assert_eq!(check(&rsa(CLOSE_BEYOND_ROUNDS)), Ok(()));
}

#[test]
fn a_square_is_the_closest_pair_of_primes() {
    let prime_like = BigUint::from_bytes_be(&unhex(GOOD_2048));
    let modulus = (&prime_like * &prime_like).to_bytes_be();
    assert_eq!(check(&PublicKeyFacts::Rsa { modulus, exponent: vec![1, 0, 1] }), Err(WeakKey::ClosePrimes));
}

#[test]
fn sizes_are_limited_on_both_sides() {
    let bits = |bits: u32| {
        let modulus = (BigUint::from(1_u32) << (bits - 1)) + 1_u32;
        check(&PublicKeyFacts::Rsa { modulus: modulus.to_bytes_be(), exponent: vec![1, 0, 1] })
    };
    assert_eq!(bits(1024), Err(WeakKey::TooShort { bits: 1024 }));
    assert_eq!(bits(2047), Err(WeakKey::TooShort { bits: 2047 }));
    assert_eq!(bits(8193), Err(WeakKey::TooLong { bits: 8193 }));
    assert!(matches!(bits(1_000_001), Err(WeakKey::TooLong { .. })));
    assert_eq!(
        check(&PublicKeyFacts::Rsa { modulus: vec![], exponent: vec![1, 0, 1] }),
        Err(WeakKey::TooShort { bits: 0 })
    );
}

#[test]
fn bad_exponents_are_refused() {
    let table: &[(&[u8], bool)] = &[
        (&[], false),
        (&[0], false),
        (&[1], false),
        (&[2], false),
        (&[3], false),
        (&[4], false),
        (&[17], false),
        (&[1, 0, 0], false),
        (&[1, 0, 1], true),
        (&[0xff, 0xff, 0xff, 0xff], true),
        (&[1, 0, 0, 0, 1], false),
        (&[0xff; 300], false),
    ];
    for (exponent, good) in table {
        let key = PublicKeyFacts::Rsa { modulus: unhex(GOOD_2048), exponent: exponent.to_vec() };
        let verdict = check(&key);
        assert_eq!(verdict.is_ok(), *good, "{exponent:?}");
        assert!(*good || matches!(verdict, Err(WeakKey::BadExponent { .. })), "{exponent:?}");
    }
}

#[test]
fn other_algorithms_are_named() {
    let verdict = check(&PublicKeyFacts::Other { algorithm: "secp224r1".into() });
    assert_eq!(verdict, Err(WeakKey::UnsupportedAlgorithm { algorithm: "secp224r1".into() }));
}

#[test]
fn the_small_primes_are_the_primes_below_a_thousand() {
    let primes: Vec<u32> = (2..1000).filter(|n| (2..*n).all(|d| n % d != 0)).collect();
    assert_eq!(primes, SMALL_PRIMES);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_small_factor_is_found(index in 0_usize..168, octets in proptest::collection::vec(any::<u8>(), 300)) {
        let factor = SMALL_PRIMES[index];
        let modulus = (BigUint::from_bytes_be(&octets) | (BigUint::from(1_u32) << 2399_u32)) * factor;
        let verdict = check(&PublicKeyFacts::Rsa { modulus: modulus.to_bytes_be(), exponent: vec![1, 0, 1] });
        let Err(WeakKey::SmallFactor { factor: found }) = verdict else { panic!("{verdict:?}") };
        prop_assert!(found <= factor && factor_divides(&modulus, found));
    }

    #[test]
    fn every_square_is_recognised(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
        let root = BigUint::from_bytes_be(&octets);
        prop_assert!(is_square(&(&root * &root)));
        if root > BigUint::from(1_u32) {
            prop_assert!(!is_square(&(&root * &root + 1_u32)));
            prop_assert!(!is_square(&(&root * &root - 1_u32)));
        }
    }
}

fn factor_divides(modulus: &BigUint, factor: u32) -> bool {
    modulus % factor == BigUint::ZERO
}
