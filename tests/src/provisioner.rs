//! What a CA is asked for: new keys, requests for them, and the one-time tokens of a provisioner whose key is at hand.

use jiff::Timestamp;
use keywheel_signer::file_key::FileKey;
use keywheel_signer::random;
use keywheel_wire::jose::{jwe, jwk::PrivateJwk};
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::step::token::{Contents, sign_with_jwk};
use keywheel_wire::x509::name::Name;
use keywheel_wire::x509::request;
use serde_json::{Value, json};

use crate::ca::{Ca, PASSWORD, configuration};
use crate::place::Place;

/// What the reference says where it does not say why.
pub const REFUSED: &str =
    "The request lacked necessary authorization to be completed. Please see the certificate authority logs";

/// The provisioner of a CA, who makes one-time tokens.
pub struct Provisioner {
    url: String,
    key: FileKey,
    key_id: String,
}

impl Provisioner {
    /// The first one of a CA of ours.
    pub fn of(ca: &Ca) -> Self {
        Self::at(&ca.place, ca.url())
    }

    /// The first one of a CA, whosoever, whose home stands in this place.
    pub fn at(place: &Place, url: String) -> Self {
        let object = &configuration(place)["authority"]["provisioners"][0];
        let encrypted = object["encryptedKey"].as_str().expect("the key is there");
        let clear = jwe::decrypt(encrypted, PASSWORD.as_bytes()).expect("the password opens it");
        let key = PrivateJwk::parse(&clear).expect("it holds a key");
        let key_id = object["key"]["kid"].as_str().expect("the key has an id").to_owned();
        let key = FileKey::from_private_key(key.private_key().clone()).expect("the key signs");
        Self { url, key, key_id }
    }

    /// Its key id.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// A one-time token for a route such as `/1.0/sign`.
    pub fn token(&self, route: &str, subject: &str, names: Option<&[&str]>) -> String {
        let mut contents = Contents::new(&format!("{}{route}", self.url), "admin", subject, Timestamp::now());
        contents.sans = names.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        contents.id = Some(chance());
        sign_with_jwk(&contents, &self.key_id, &self.key).expect("the key signs")
    }

    /// A body of `/sign` for this key and name, with a good token.
    pub fn sign_body(&self, key: &FileKey, name: &str) -> Value {
        json!({ "csr": csr(key), "ott": self.token("/1.0/sign", name, Some(&[name])) })
    }
}

/// A new key.
pub fn new_key(kind: KeyKind) -> FileKey {
    FileKey::generate(kind).expect("a key can be made")
}

/// A request that names nothing, as a rekey's is.
pub fn csr(key: &FileKey) -> String {
    request::to_pem(&request_der(key))
}

/// Its bytes.
pub fn request_der(key: &FileKey) -> Vec<u8> {
    request::create(key, &Name::empty(), &[]).expect("the key signs")
}

/// A body of `/rekey`.
pub fn rekey_body(key: &FileKey) -> String {
    json!({ "csr": csr(key) }).to_string()
}

/// A text that was never there before.
pub fn chance() -> String {
    let octets: [u8; 16] = random::bytes().expect("the machine has chance");
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
