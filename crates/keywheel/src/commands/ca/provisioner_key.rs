//! The keys of provisioners: made, read from files, encrypted for `ca.json`.

use std::path::Path;

use keywheel_signer::file_key::FileKey;
use keywheel_signer::random;
use keywheel_wire::jose::jwe::{self, Randomness};
use keywheel_wire::jose::jwk::{PrivateJwk, PublicJwk};
use keywheel_wire::pem;
use keywheel_wire::private_key::{KeyKind, PrivateKey};
use keywheel_wire::x509::certificate::Certificate;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::commands::base64::{self, Alphabet};
use crate::commands::files;
use crate::failure::{Classed, Failure, Outcome};

/// A public key as JWK object, and its private half encrypted.
type Pair = (Value, Option<String>);

/// A new P-256 key.
pub(super) fn create(password: &[u8]) -> Outcome<Pair> {
    let key = FileKey::generate(KeyKind::EcP256).or_failed(|| "make the provisioner's key".into())?;
    encrypted(&jwk_of(key.private_key())?, password)
}

/// The private key in a file.
pub(super) fn import(path: &Path, password: &[u8]) -> Outcome<Pair> {
    let doing = || format!("read the provisioner's key {}", path.display());
    let text = Zeroizing::new(files::read(path)?);
    let trimmed = text.trim_ascii();
    let jwk = if trimmed.starts_with(b"eyJ") || jwe::is_flattened(trimmed) {
        let encrypted = std::str::from_utf8(trimmed).or_usage(doing)?;
        PrivateJwk::parse(&jwe::decrypt(encrypted, password).or_usage(doing)?).or_usage(doing)?
    } else if trimmed.starts_with(b"{") {
        PrivateJwk::parse(&text).or_usage(doing)?
    } else {
        let parsed = PrivateKey::parse_pem(&text, Some(password)).or_usage(doing)?;
        jwk_of(&parsed.key)?
    };
    encrypted(&jwk, password)
}

/// The public key in a file.
pub(super) fn public(path: &Path) -> Outcome<Value> {
    let doing = || format!("read the provisioner's public key {}", path.display());
    let text = files::read(path)?;
    let jwk = if text.trim_ascii_start().starts_with(b"{") {
        let text = std::str::from_utf8(&text).or_usage(doing)?;
        PublicJwk::parse(text).or_usage(doing)?
    } else {
        let blocks = pem::parse(&text).or_usage(doing)?;
        let Some(block) = blocks.into_iter().find(|block| block.label == "PUBLIC KEY") else {
            return Err(Failure::usage(format!("{} holds no PUBLIC KEY", path.display())));
        };
        PublicJwk::from_spki(&block.der).or_usage(doing)?
    };
    Ok(named(&jwk))
}

/// Whether two JWK objects are the same key, whatever they are named.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    ["kty", "crv", "x", "y", "n", "e"].iter().all(|member| one.get(member) == other.get(member))
}

/// The roots of an X5C provisioner as the reference keeps them: base64 of their PEM text.
pub(super) fn roots(text: &[u8], path: &Path) -> Outcome<String> {
    let chain =
        Certificate::chain_from_pem(text).or_usage(|| format!("read the root certificates {}", path.display()))?;
    let pem: String = chain.iter().map(Certificate::to_pem).collect();
    Ok(base64::encode(pem.as_bytes(), Alphabet::Standard))
}

fn jwk_of(key: &PrivateKey) -> Outcome<PrivateJwk> {
    PrivateJwk::from_private_key(key).or_usage(|| "use the key for a provisioner".into())
}

fn encrypted(jwk: &PrivateJwk, password: &[u8]) -> Outcome<Pair> {
    if password.is_empty() {
        return Err(Failure::usage("the password of a provisioner's key must not be empty"));
    }
    let doing = || "encrypt the provisioner's key".to_owned();
    let randomness = Randomness {
        salt: random::bytes().or_failed(doing)?,
        content_key: Zeroizing::new(random::bytes().or_failed(doing)?),
        nonce: random::bytes().or_failed(doing)?,
    };
    let text = jwk.to_json().or_failed(doing)?;
    let compact = jwe::encrypt(text.as_bytes(), password, "jwk+json", &randomness).or_failed(doing)?;
    Ok((named(jwk.public()), Some(compact)))
}

/// With its thumbprint as name, where it has none.
fn named(jwk: &PublicJwk) -> Value {
    let mut jwk = jwk.clone();
    if jwk.key_id.is_none() {
        jwk.key_id = Some(jwk.thumbprint());
    }
    jwk.usage = Some("sig".to_owned());
    Value::Object(jwk.to_object())
}
