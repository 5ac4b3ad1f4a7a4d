//! Keys that are known to the world, such as those of Debian's broken generator of 2008, looked up in a list that the
//! operator supplies.
//!
//! The list has the format that badkeys publishes: records of 16 octets in ascending order, each of them the first 15
//! octets of the SHA-256 of an RSA modulus (or of an EC key's x coordinate) and the number of the list it came from.
//! It is large, and its sources carry no common licence, so it is not part of this program.

use alloc::vec::Vec;

use crate::key_strength::{PublicKeyFacts, WeakKey};

const RECORD: usize = 16;
const HASH: usize = 15;

/// A list of known keys.
#[derive(Clone, Default)]
pub struct KeyBlocklist {
    records: Vec<u8>,
}

/// A list that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlocklistError {
    /// Not made of whole records.
    #[error("the key blocklist has {octets} octets, which is no multiple of 16; fetch it again")]
    BrokenLength {
        /// Its size.
        octets: usize,
    },
    /// Not in order, so that a lookup would miss keys.
    #[error("the key blocklist is out of order at record {record}; fetch it again")]
    OutOfOrder {
        /// The first record that is less than the one before.
        record: usize,
    },
}

impl KeyBlocklist {
    /// Takes the content of a list and checks that it can be searched.
    pub fn new(records: Vec<u8>) -> Result<Self, BlocklistError> {
        if !records.len().is_multiple_of(RECORD) {
            return Err(BlocklistError::BrokenLength { octets: records.len() });
        }
        let list = Self { records };
        match (1..list.len()).find(|index| list.hash(index - 1) > list.hash(*index)) {
            Some(record) => Err(BlocklistError::OutOfOrder { record }),
            None => Ok(list),
        }
    }

    /// How many keys it knows.
    pub fn len(&self) -> usize {
        self.records.len() / RECORD
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether a key is unknown to the list. `sha256` is that of [`hashed_part`].
    pub fn check(&self, sha256: &[u8; 32]) -> Result<(), WeakKey> {
        let wanted = &sha256[..HASH];
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.hash(middle) < wanted { low = middle + 1 } else { high = middle }
        }
        if low < self.len() && self.hash(low) == wanted {
            return Err(WeakKey::Known { list: self.records[low * RECORD + HASH] });
        }
        Ok(())
    }

    fn hash(&self, record: usize) -> &[u8] {
        &self.records[record * RECORD..record * RECORD + HASH]
    }
}

/// The octets of a key whose SHA-256 is looked up: an RSA modulus without leading zeros; none for other keys.
pub fn hashed_part(key: &PublicKeyFacts) -> Option<&[u8]> {
    match key {
        PublicKeyFacts::Rsa { modulus, .. } => {
            let zeros = modulus.iter().take_while(|octet| **octet == 0).count();
            Some(&modulus[zeros..])
        }
        PublicKeyFacts::Ec { .. } | PublicKeyFacts::Ed25519 | PublicKeyFacts::Other { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use proptest::prelude::*;

    use super::*;

    fn list(hashes: &[[u8; HASH]]) -> Vec<u8> {
        hashes.iter().flat_map(|hash| hash.iter().copied().chain([hash[0]])).collect()
    }

    fn digest(hash: [u8; HASH]) -> [u8; 32] {
        let mut digest = [0xee; 32];
        digest[..HASH].copy_from_slice(&hash);
        digest
    }

    #[test]
    fn a_broken_list_is_refused_instead_of_missing_keys() {
        assert_eq!(KeyBlocklist::new(vec![0; 17]).err(), Some(BlocklistError::BrokenLength { octets: 17 }));
        let unordered = list(&[[1; HASH], [3; HASH], [2; HASH]]);
        assert_eq!(KeyBlocklist::new(unordered).err(), Some(BlocklistError::OutOfOrder { record: 2 }));
    }

    #[test]
    fn an_empty_list_knows_nothing() {
        let list = KeyBlocklist::new(vec![]).unwrap();
        assert!(list.is_empty());
        assert_eq!(list.check(&[0; 32]), Ok(()));
    }

    #[test]
    fn leading_zeros_of_a_modulus_are_not_hashed() {
        let key = PublicKeyFacts::Rsa { modulus: vec![0, 0, 7, 0], exponent: vec![3] };
        assert_eq!(hashed_part(&key), Some(&[7, 0][..]));
        assert_eq!(hashed_part(&PublicKeyFacts::Ed25519), None);
    }

    proptest! {
        #[test]
        fn exactly_the_listed_keys_are_found(hashes in proptest::collection::btree_set(any::<[u8; HASH]>(), 0..40), other: [u8; HASH]) {
            let ordered: Vec<[u8; HASH]> = hashes.iter().copied().collect();
            let known = KeyBlocklist::new(list(&ordered)).unwrap();
            prop_assert_eq!(known.len(), ordered.len());
            for hash in &ordered {
                prop_assert_eq!(known.check(&digest(*hash)), Err(WeakKey::Known { list: hash[0] }));
            }
            prop_assert_eq!(known.check(&digest(other)).is_ok(), !hashes.contains(&other));
        }
    }
}
