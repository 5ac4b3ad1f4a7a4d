//! The id of a request: the client's own, or a fresh UUID.

use axum::http::HeaderValue;

/// The header that carries it, both ways.
pub(crate) const HEADER: &str = "x-request-id";

/// Takes the client's id where it is short and plain (it goes to the log), else makes one.
pub(crate) fn choose(offered: Option<&HeaderValue>) -> String {
    let plain = |id: &&str| !id.is_empty() && id.len() <= 128 && id.bytes().all(|octet| octet.is_ascii_graphic());
    match offered.and_then(|value| value.to_str().ok()).filter(plain) {
        Some(id) => id.to_owned(),
        None => fresh(),
    }
}

/// A random UUID (version 4).
fn fresh() -> String {
    let mut octets = [0u8; 16];
    // An id is not a secret: where chance fails all zeros still make an id, and TLS would have failed before.
    if rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut octets).is_err() {
        octets = [0; 16];
    }
    octets[6] = octets[6] & 0x0f | 0x40;
    octets[8] = octets[8] & 0x3f | 0x80;
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_id_of_the_client_is_kept() {
        assert_eq!(choose(Some(&HeaderValue::from_static("abc-1"))), "abc-1");
    }

    #[test]
    fn an_id_that_could_confuse_a_log_is_replaced_by_a_uuid() {
        for odd in ["", "a b", "x\ty", &"a".repeat(129)] {
            let id = choose(HeaderValue::from_str(odd).ok().as_ref());
            assert_eq!(id.len(), 36);
            assert_eq!(&id[14..15], "4");
        }
        assert_ne!(choose(None), choose(None));
    }
}
