//! Base64 for what the program shows and writes; reading it is the wire room's.

/// Which 64 letters.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Alphabet {
    /// With `+` and `/`.
    Standard,
    /// With `-` and `_`.
    Url,
}

/// With padding.
pub(crate) fn encode(bytes: &[u8], alphabet: Alphabet) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            if position <= chunk.len() {
                text.push(letter(group >> (18 - 6 * position) & 63, alphabet));
            } else {
                text.push('=');
            }
        }
    }
    text
}

fn letter(value: u32, alphabet: Alphabet) -> char {
    let byte = u8::try_from(value).unwrap_or_default();
    char::from(match (byte, alphabet) {
        (0..26, _) => b'A' + byte,
        (26..52, _) => b'a' + byte - 26,
        (52..62, _) => b'0' + byte - 52,
        (62, Alphabet::Standard) => b'+',
        (62, Alphabet::Url) => b'-',
        (_, Alphabet::Standard) => b'/',
        (_, Alphabet::Url) => b'_',
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_4648_come_out() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes(), Alphabet::Standard), text);
        }
        assert_eq!(encode(&[0xfb, 0xff], Alphabet::Url), "-_8=");
    }
}
