//! PEM as it is found in the wild: bundles with text between the blocks, and the headers of legacy encryption.

use zeroize::Zeroizing;

/// The largest text that is read.
pub const MAX_TEXT: usize = 1 << 20;

/// One PEM block.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    /// What stands between `-----BEGIN ` and `-----`.
    pub label: String,
    /// `Name: value` lines before the body, in order.
    pub headers: Vec<(String, String)>,
    /// The decoded body. It may be a private key, so it is wiped when the block goes.
    pub der: Zeroizing<Vec<u8>>,
}

/// Why a text is not usable PEM.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// The text is over the limit.
    #[error("the PEM text is larger than {MAX_TEXT} bytes")]
    TooLarge,
    /// A block begins and does not end.
    #[error("the '{label}' block that begins on line {line} has no matching END line")]
    Unterminated {
        /// The block's label.
        label: String,
        /// The line of its BEGIN, from 1.
        line: usize,
    },
    /// A block's body is not base64.
    #[error("the '{label}' block that begins on line {line} is not valid base64")]
    NotBase64 {
        /// The block's label.
        label: String,
        /// The line of its BEGIN, from 1.
        line: usize,
    },
}

/// Reads every block of a text, in order; what stands outside of blocks is skipped.
///
/// # Errors
/// When the text is too large, a block does not end, or a body is not base64.
pub fn parse(text: &[u8]) -> Result<Vec<Block>, PemError> {
    let _ = text;
    todo!()
}

/// Writes one block, 64 characters to a line.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let _ = (label, der);
    todo!()
}
