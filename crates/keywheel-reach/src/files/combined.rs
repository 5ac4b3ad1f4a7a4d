//! One PEM file for the key and the chain: what is in it, and what a new one must hold.

use std::path::Path;

use keywheel_wire::pem::{self, Block};
use zeroize::Zeroizing;

use super::pair::{PairError, read};

const CERTIFICATE: &str = "CERTIFICATE";

/// Elliptic curve parameters belong to the key that follows them.
const EC_PARAMETERS: &str = "EC PARAMETERS";

/// The content of a combined file: the key first, since some readers (Postfix) want it so and none minds, then the chain,
/// then whatever else the old file held, such as Diffie-Hellman parameters.
pub fn join(key_pem: &[u8], chain_pem: &[u8], old: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(key_pem.len() + chain_pem.len() + old.len() + 2));
    text.extend_from_slice(key_pem);
    end_line(&mut text);
    text.extend_from_slice(chain_pem);
    end_line(&mut text);
    for block in pem::parse(old).unwrap_or_default() {
        if is_of_neither(&block) {
            text.extend_from_slice(pem::encode(&block.label, &block.der).as_bytes());
        }
    }
    text
}

/// The key's part and the chain's part of a combined file, as they stand there.
pub fn split(text: &[u8]) -> (Zeroizing<Vec<u8>>, Vec<u8>) {
    let (mut key, mut chain) = (Zeroizing::new(Vec::new()), Vec::new());
    let mut label: Option<Vec<u8>> = None;
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        if let Some(begun) = line.strip_prefix(b"-----BEGIN ") {
            label = begun.split(|octet| *octet == b'-').next().map(<[u8]>::to_vec);
        }
        match label.as_deref() {
            Some(inside) if inside == CERTIFICATE.as_bytes() => chain.extend_from_slice(line),
            Some(inside) if inside.ends_with(b"PRIVATE KEY") => key.extend_from_slice(line),
            _ => {}
        }
        if line.starts_with(b"-----END ") {
            label = None;
        }
    }
    end_line(&mut key);
    if !chain.ends_with(b"\n") && !chain.is_empty() {
        chain.push(b'\n');
    }
    (key, chain)
}

/// Whether a file holds a certificate and a key.
pub(super) fn holds_both(file: &Path) -> Result<bool, PairError> {
    let text = read(file)?;
    let blocks = pem::parse(&text).unwrap_or_default();
    Ok(blocks.iter().any(is_key) && blocks.iter().any(|block| block.label == CERTIFICATE))
}

/// Whether a file holds something that is no part of a pair, such as Diffie-Hellman parameters.
pub(super) fn holds_more(file: &Path) -> Result<bool, PairError> {
    let blocks = pem::parse(&read(file)?).unwrap_or_default();
    Ok(blocks.iter().any(is_of_neither))
}

fn is_of_neither(block: &Block) -> bool {
    !is_key(block) && block.label != CERTIFICATE && block.label != EC_PARAMETERS
}

fn is_key(block: &Block) -> bool {
    block.label.ends_with("PRIVATE KEY")
}

fn end_line(text: &mut Vec<u8>) {
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    const NEW_KEY: &str = "-----BEGIN EC PRIVATE KEY-----\nBBBB\n-----END EC PRIVATE KEY-----\n";
    const CHAIN: &str = "-----BEGIN CERTIFICATE-----\nCCCC\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nDDDD\n-----END CERTIFICATE-----\n";
    const PARAMETERS: &str = "-----BEGIN DH PARAMETERS-----\nEEEE\n-----END DH PARAMETERS-----\n";

    #[test]
    fn what_is_neither_key_nor_certificate_stays() {
        let old = format!("notes of a person\n{KEY}{CHAIN}{PARAMETERS}");
        let new = join(NEW_KEY.as_bytes(), CHAIN.as_bytes(), old.as_bytes());
        assert_eq!(*new, format!("{NEW_KEY}{CHAIN}{PARAMETERS}").into_bytes());
    }

    #[test]
    fn what_was_joined_is_split_into_the_same_parts() {
        let (key, chain) = split(&join(KEY.as_bytes(), CHAIN.as_bytes(), PARAMETERS.as_bytes()));
        assert_eq!(*key, KEY.as_bytes());
        assert_eq!(chain, CHAIN.as_bytes());
    }

    #[test]
    fn parts_without_a_last_newline_do_not_run_into_each_other() {
        let joined = join(KEY.trim_end().as_bytes(), CHAIN.trim_end().as_bytes(), b"");
        assert_eq!(*joined, format!("{KEY}{CHAIN}").into_bytes());
        assert_eq!(split(&joined), (Zeroizing::new(KEY.into()), CHAIN.into()));
    }
}
