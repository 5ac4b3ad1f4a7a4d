//! Which key is to be made: `--kty`, `--curve`, `--size`.

use clap::Args;
use keywheel_wire::private_key::KeyKind;

use crate::failure::{Failure, Outcome};

/// The flags that choose a key.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct KeyFlags {
    /// The type of the new key: EC (the default), OKP (Ed25519) or RSA
    #[arg(long, value_name = "kty")]
    pub(crate) kty: Option<String>,
    /// The curve of the new key: P-256 (the default for EC), P-384, P-521, or Ed25519 (for OKP)
    #[arg(long = "crv", visible_alias = "curve", value_name = "curve")]
    pub(crate) curve: Option<String>,
    /// The size of a new RSA key in bits; 2048 (the default), 3072 or 4096
    #[arg(long, value_name = "bits")]
    pub(crate) size: Option<u32>,
}

impl KeyFlags {
    /// The kind of key that the flags name. Checked completely, also where the reference would look at them only later.
    pub(crate) fn kind(&self) -> Outcome<KeyKind> {
        // Zero and the empty string are the reference's way to say "not given".
        let size = self.size.filter(|size| *size != 0);
        let curve = self.curve.as_deref().filter(|curve| !curve.is_empty());
        let kty = match self.kty.as_deref().filter(|kty| !kty.is_empty()) {
            Some(kty @ ("EC" | "OKP" | "RSA")) => kty,
            Some(kty) => {
                return Err(Failure::usage(format!(
                    "invalid value '{kty}' for flag '--kty'; options are RSA, EC, OKP"
                )));
            }
            None if curve.is_some() => return Err(Failure::usage("flag '--curve' requires the '--kty' flag")),
            None if size.is_some() => return Err(Failure::usage("flag '--size' requires the '--kty' flag")),
            None => return Ok(KeyKind::EcP256),
        };
        match kty {
            "RSA" => match (curve, size) {
                (Some(_), _) => Err(Failure::usage("flag '--curve' is incompatible with flag '--kty RSA'")),
                (None, None) => Ok(KeyKind::Rsa(2048)),
                (None, Some(0..2048)) => Err(Failure::usage("flag '--size' requires at least 2048")),
                (None, Some(size @ (2048 | 3072 | 4096))) => Ok(KeyKind::Rsa(size)),
                (None, Some(size)) => Err(Failure::usage(format!(
                    "invalid value '{size}' for flag '--size'; options are 2048, 3072, 4096"
                ))),
            },
            _ if size.is_some() => {
                Err(Failure::usage(format!("flag '--size' is incompatible with flag '--kty {kty}'")))
            }
            "EC" => match curve.unwrap_or("P-256") {
                "P-256" => Ok(KeyKind::EcP256),
                "P-384" => Ok(KeyKind::EcP384),
                "P-521" => Ok(KeyKind::EcP521),
                other => Err(wrong_curve(kty, other, "P-256, P-384, P-521")),
            },
            _ => match curve.unwrap_or("Ed25519") {
                "Ed25519" => Ok(KeyKind::Ed25519),
                other => Err(wrong_curve(kty, other, "Ed25519")),
            },
        }
    }
}

fn wrong_curve(kty: &str, curve: &str, options: &str) -> Failure {
    Failure::usage(format!(
        "flag '--kty {kty}' is incompatible with flag '--curve {curve}'\n\n  Option(s): --curve {options}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(kty: &str, curve: &str, size: u32) -> KeyFlags {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        KeyFlags { kty: text(kty), curve: text(curve), size: (size != 0).then_some(size) }
    }

    #[test]
    fn every_choice_that_is_offered_is_taken() {
        for (kty, curve, size, kind) in [
            ("", "", 0, KeyKind::EcP256),
            ("EC", "", 0, KeyKind::EcP256),
            ("EC", "P-384", 0, KeyKind::EcP384),
            ("EC", "P-521", 0, KeyKind::EcP521),
            ("OKP", "", 0, KeyKind::Ed25519),
            ("OKP", "Ed25519", 0, KeyKind::Ed25519),
            ("RSA", "", 0, KeyKind::Rsa(2048)),
            ("RSA", "", 3072, KeyKind::Rsa(3072)),
        ] {
            assert_eq!(flags(kty, curve, size).kind().unwrap(), kind);
        }
    }

    #[test]
    fn every_wrong_choice_is_refused_in_the_words_of_the_reference() {
        for (kty, curve, size, message) in [
            ("FOO", "", 0, "invalid value 'FOO' for flag '--kty'; options are RSA, EC, OKP"),
            ("ec", "", 0, "invalid value 'ec' for flag '--kty'; options are RSA, EC, OKP"),
            ("", "P-256", 0, "flag '--curve' requires the '--kty' flag"),
            ("", "", 2048, "flag '--size' requires the '--kty' flag"),
            ("RSA", "", 1024, "flag '--size' requires at least 2048"),
            ("RSA", "", 2049, "invalid value '2049' for flag '--size'; options are 2048, 3072, 4096"),
            ("RSA", "P-256", 0, "flag '--curve' is incompatible with flag '--kty RSA'"),
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
            let failure = flags(kty, curve, size).kind().unwrap_err();
            assert_eq!(failure.message(), message);
            assert_eq!(failure.exit(), crate::exit::Exit::Usage);
        }
    }
}
