//! Random bytes for serials, salts and identifiers: chance is an argument everywhere else.

use aws_lc_rs::rand;

/// The operating system gave no random bytes; nothing can be made without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes; nothing was made")]
pub struct NoRandomness;

/// So many random bytes.
///
/// # Errors
/// When the operating system has none.
pub fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Fills a buffer with random bytes.
///
/// # Errors
/// When the operating system has none.
pub fn fill(buffer: &mut [u8]) -> Result<(), NoRandomness> {
    rand::fill(buffer).map_err(|_| NoRandomness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(bytes::<32>(), bytes::<32>());
    }
}
