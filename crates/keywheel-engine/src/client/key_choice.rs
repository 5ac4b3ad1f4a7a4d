//! The flags `--kty`, `--curve` and `--size`, and what they mean together.

use keywheel_wire::private_key::KeyKind;

use super::error::ClientError;

/// Nobody certifies a smaller RSA key.
const MIN_RSA: u32 = 2048;

/// What the caller typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyChoice {
    /// `EC`, `OKP` or `RSA`.
    pub kty: Option<String>,
    /// `P-256`, `P-384`, `P-521` or `Ed25519`.
    pub curve: Option<String>,
    /// Bits of an RSA key.
    pub size: Option<u32>,
}

impl KeyChoice {
    /// Whether the caller said anything.
    pub fn is_explicit(&self) -> bool {
        *self != Self::default()
    }

    /// Refuses what does not fit together.
    pub fn check(&self) -> Result<(), ClientError> {
        self.kind().map(|_| ())
    }

    /// The kind of key that the flags mean together; P-256 where they say nothing.
    pub fn kind(&self) -> Result<KeyKind, ClientError> {
        let usage = |message: String| Err(ClientError::Usage(message));
        let curve = self.curve.as_deref().filter(|curve| !curve.is_empty());
        let Some(kty) = self.kty.as_deref().filter(|kty| !kty.is_empty()) else {
            return match (curve, self.size) {
                (Some(_), _) => usage("flag '--curve' requires the '--kty' flag".to_owned()),
                (_, Some(_)) => usage("flag '--size' requires the '--kty' flag".to_owned()),
                _ => Ok(KeyKind::EcP256),
            };
        };
        match kty {
            "RSA" => match (curve, self.size.unwrap_or(MIN_RSA)) {
                (Some(_), _) => usage("flag '--curve' is incompatible with flag '--kty RSA'".to_owned()),
                (_, bits @ (2048 | 3072 | 4096)) => Ok(KeyKind::Rsa(bits)),
                (_, bits) if bits < MIN_RSA => usage(format!("flag '--size' requires at least {MIN_RSA}")),
                (_, bits) => usage(format!("invalid value '{bits}' for flag '--size'; options are 2048, 3072, 4096")),
            },
            "EC" | "OKP" if self.size.is_some() => {
                usage(format!("flag '--size' is incompatible with flag '--kty {kty}'"))
            }
            "EC" => match curve.unwrap_or("P-256") {
                "P-256" => Ok(KeyKind::EcP256),
                "P-384" => Ok(KeyKind::EcP384),
                "P-521" => Ok(KeyKind::EcP521),
                other => usage(format!(
                    "flag '--kty EC' is incompatible with flag '--curve {other}'\n\n  Option(s): --curve P-256, P-384, P-521"
                )),
            },
            "OKP" => match curve.unwrap_or("Ed25519") {
                "Ed25519" => Ok(KeyKind::Ed25519),
                other => usage(format!(
                    "flag '--kty OKP' is incompatible with flag '--curve {other}'\n\n  Option(s): --curve Ed25519"
                )),
            },
            other => usage(format!("invalid value '{other}' for flag '--kty'; options are RSA, EC, OKP")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(kty: &str, curve: &str, size: u32) -> Result<KeyKind, String> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let choice = KeyChoice { kty: some(kty), curve: some(curve), size: (size > 0).then_some(size) };
        choice.kind().map_err(|error| error.to_string())
    }

    #[test]
    fn flags_that_fit_together_name_a_kind() {
        assert_eq!(kind("", "", 0), Ok(KeyKind::EcP256));
        assert_eq!(kind("EC", "", 0), Ok(KeyKind::EcP256));
        assert_eq!(kind("EC", "P-384", 0), Ok(KeyKind::EcP384));
        assert_eq!(kind("EC", "P-521", 0), Ok(KeyKind::EcP521));
        assert_eq!(kind("OKP", "", 0), Ok(KeyKind::Ed25519));
        assert_eq!(kind("OKP", "Ed25519", 0), Ok(KeyKind::Ed25519));
        assert_eq!(kind("RSA", "", 0), Ok(KeyKind::Rsa(2048)));
        assert_eq!(kind("RSA", "", 4096), Ok(KeyKind::Rsa(4096)));
    }

    #[test]
    fn flags_that_do_not_are_refused_in_the_words_of_the_reference() {
        for (kty, curve, size, message) in [
            ("FOO", "", 0, "invalid value 'FOO' for flag '--kty'; options are RSA, EC, OKP"),
            ("ec", "", 0, "invalid value 'ec' for flag '--kty'; options are RSA, EC, OKP"),
            ("", "P-256", 0, "flag '--curve' requires the '--kty' flag"),
            ("", "", 2048, "flag '--size' requires the '--kty' flag"),
            ("RSA", "P-256", 0, "flag '--curve' is incompatible with flag '--kty RSA'"),
            ("RSA", "", 1024, "flag '--size' requires at least 2048"),
            ("RSA", "", 2049, "invalid value '2049' for flag '--size'; options are 2048, 3072, 4096"),
            ("EC", "", 2048, "flag '--size' is incompatible with flag '--kty EC'"),
            ("OKP", "", 256, "flag '--size' is incompatible with flag '--kty OKP'"),
            (
                "EC",
                "P-999",
                0,
                "flag '--kty EC' is incompatible with flag '--curve P-999'\n\n  Option(s): --curve P-256, P-384, P-521",
            ),
            (
                "OKP",
                "P-256",
                0,
                "flag '--kty OKP' is incompatible with flag '--curve P-256'\n\n  Option(s): --curve Ed25519",
            ),
        ] {
            assert_eq!(kind(kty, curve, size), Err(message.to_owned()));
        }
    }
}
