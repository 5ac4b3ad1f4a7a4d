//! PEM as it is found in the wild: bundles with text between the blocks, and the headers of legacy encryption.

use std::fmt;

use base64ct::{Base64, Encoding as _};
use zeroize::Zeroizing;

/// The largest text that is read.
pub const MAX_TEXT: usize = 1 << 20;

/// One PEM block.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    /// What stands between `-----BEGIN ` and `-----`.
    pub label: String,
    /// The `Name: value` lines before the body, in order.
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
/// A broken block is an error rather than skipped: a bundle that silently lost a certificate is worse than none.
///
/// # Errors
/// When the text is too large, a block does not end, or a body is not base64.
pub fn parse(text: &[u8]) -> Result<Vec<Block>, PemError> {
    if text.len() > MAX_TEXT {
        return Err(PemError::TooLarge);
    }
    let mut blocks = Vec::new();
    let mut lines = lines(text).enumerate();
    while let Some((index, line)) = lines.next() {
        let Some(label) = label(line, b"-----BEGIN ") else { continue };
        let begun = Begun { label: String::from_utf8_lossy(label).into_owned(), line: index + 1 };
        let mut content = Vec::new();
        loop {
            let Some((_, line)) = lines.next() else { return Err(begun.unterminated()) };
            if let Some(end) = self::label(line, b"-----END ") {
                if end != label {
                    return Err(begun.unterminated());
                }
                break;
            }
            if self::label(line, b"-----BEGIN ").is_some() {
                return Err(begun.unterminated());
            }
            content.push(line);
        }
        blocks.push(begun.finish(&content)?);
    }
    Ok(blocks)
}

/// Writes one block, 64 characters to a line.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    // One allocation of the full size: a buffer that grows would leave copies of a private key behind.
    let base64 = Base64::encoded_len(der);
    let mut text = Zeroizing::new(String::with_capacity(base64 + base64 / 64 + 2 * label.len() + 40));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    // 48 octets make the 64 characters of a line.
    for chunk in der.chunks(48) {
        let mut line = Zeroizing::new([0_u8; 64]);
        if let Ok(encoded) = Base64::encode(chunk, line.as_mut_slice()) {
            text.push_str(encoded);
        }
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

impl Block {
    /// The value of a header; names are compared as written.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("label", &self.label).finish_non_exhaustive()
    }
}

/// A block whose BEGIN line was read.
struct Begun {
    label: String,
    line: usize,
}

impl Begun {
    fn finish(self, content: &[&[u8]]) -> Result<Block, PemError> {
        let (headers, body) = split_headers(content);
        let mut base64 = Zeroizing::new(Vec::with_capacity(body.iter().map(|line| line.len()).sum()));
        for line in body {
            base64.extend(line.iter().filter(|octet| !octet.is_ascii_whitespace()));
        }
        let mut der = Zeroizing::new(vec![0_u8; base64.len() / 4 * 3 + 3]);
        let length = match Base64::decode(base64.as_slice(), der.as_mut_slice()) {
            Ok(decoded) => decoded.len(),
            Err(_) => return Err(PemError::NotBase64 { label: self.label, line: self.line }),
        };
        der.truncate(length);
        Ok(Block { label: self.label, headers, der })
    }

    fn unterminated(self) -> PemError {
        PemError::Unterminated { label: self.label, line: self.line }
    }
}

/// Lines without their ends, whichever system wrote them, and without the byte order mark that some editors put first.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    text.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii)
}

fn label<'a>(line: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(prefix)?.strip_suffix(b"-----")
}

/// Base64 has no colon, so lines with one, and what is folded under them until an empty line, are headers.
fn split_headers<'a>(content: &'a [&'a [u8]]) -> (Vec<(String, String)>, &'a [&'a [u8]]) {
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut rest = content;
    while let Some((line, after)) = rest.split_first() {
        let Some(colon) = line.iter().position(|octet| *octet == b':') else { break };
        headers.push((lossy(&line[..colon]), lossy(&line[colon + 1..])));
        rest = after;
    }
    if !headers.is_empty()
        && let Some(empty) = rest.iter().position(|line| line.is_empty())
    {
        for folded in &rest[..empty] {
            if let Some((_, value)) = headers.last_mut() {
                value.push_str(&lossy(folded));
            }
        }
        rest = &rest[empty..];
    }
    (headers, rest)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_are_found_between_text_and_other_line_ends() {
        let text = b"\xef\xbb\xbfBag Attributes\r\n  friendlyName: x\r\n-----BEGIN CERTIFICATE-----\r\nAQID\r\n-----END CERTIFICATE-----\r\n\
            junk\n-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----  \n";
        let blocks = parse(text).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!((blocks[0].label.as_str(), blocks[0].der.as_slice()), ("CERTIFICATE", &[1_u8, 2, 3][..]));
        assert_eq!(blocks[1].label, "DH PARAMETERS");
    }

    #[test]
    fn headers_are_kept_and_folded_lines_joined() {
        let text =
            b"-----BEGIN X-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n 11\n\nAQID\n-----END X-----\n";
        let blocks = parse(text).unwrap();
        assert_eq!(blocks[0].header("Proc-Type"), Some("4,ENCRYPTED"));
        assert_eq!(blocks[0].header("DEK-Info"), Some("AES-256-CBC,0011"));
        assert_eq!(blocks[0].der.as_slice(), [1, 2, 3]);
    }

    #[test]
    fn a_broken_block_is_named_with_its_line() {
        assert_eq!(parse(b"\n-----BEGIN A-----\nAQID\n"), Err(PemError::Unterminated { label: "A".into(), line: 2 }));
        assert_eq!(
            parse(b"-----BEGIN A-----\nAQID\n-----END B-----\n"),
            Err(PemError::Unterminated { label: "A".into(), line: 1 })
        );
        assert_eq!(
            parse(b"-----BEGIN A-----\nA*ID\n-----END A-----\n"),
            Err(PemError::NotBase64 { label: "A".into(), line: 1 })
        );
        assert_eq!(parse(&vec![b' '; MAX_TEXT + 1]), Err(PemError::TooLarge));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(der in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = encode("SOME THING", &der);
            prop_assert!(text.lines().all(|line| line.len() <= 64));
            let blocks = parse(text.as_bytes()).unwrap();
            prop_assert_eq!(blocks.len(), 1);
            prop_assert_eq!(blocks[0].der.as_slice(), der.as_slice());
        }

        #[test]
        fn garbage_never_panics(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&text);
            let _ = parse(&[b"-----BEGIN A-----\n", text.as_slice(), b"\n-----END A-----\n"].concat());
        }
    }
}
