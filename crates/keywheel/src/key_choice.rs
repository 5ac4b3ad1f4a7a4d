//! Which key is to be made: `--kty`, `--curve`, `--size`.

use clap::Args;
use keywheel_engine::client::key_choice::KeyChoice;
use keywheel_wire::private_key::KeyKind;

use crate::failure::Outcome;

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
    /// What was typed. Zero and the empty string are the reference's way to say "not given".
    pub(crate) fn choice(&self) -> KeyChoice {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        KeyChoice { kty: text(&self.kty), curve: text(&self.curve), size: self.size.filter(|size| *size != 0) }
    }

    /// The kind of key that the flags name. Checked completely, also where the reference would look at them only later.
    pub(crate) fn kind(&self) -> Outcome<KeyKind> {
        Ok(self.choice().kind()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_the_empty_string_count_as_not_given() {
        let flags = KeyFlags { kty: Some(String::new()), curve: Some(String::new()), size: Some(0) };
        assert_eq!(flags.choice(), KeyChoice::default());
        assert_eq!(flags.kind().unwrap(), KeyKind::EcP256);
        let rsa = KeyFlags { kty: Some("RSA".into()), ..flags };
        assert_eq!(rsa.kind().unwrap(), KeyKind::Rsa(2048));
    }

    #[test]
    fn a_wrong_choice_is_a_usage_error_in_the_words_of_the_reference() {
        let failure = KeyFlags { kty: Some("FOO".into()), ..KeyFlags::default() }.kind().unwrap_err();
        assert_eq!(failure.message(), "invalid value 'FOO' for flag '--kty'; options are RSA, EC, OKP");
        assert_eq!(failure.exit(), crate::exit::Exit::Usage);
    }
}
