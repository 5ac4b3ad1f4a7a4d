//! JSON web keys; what is read has a thumbprint and a public key.
#![no_main]

use libfuzzer_sys::fuzz_target;

use keywheel_wire::jose::jwk::{PrivateJwk, PublicJwk};

fuzz_target!(|data: &str| {
    if let Ok(key) = PublicJwk::parse(data) {
        let _ = key.thumbprint();
        let _ = key.to_spki();
    }
    let _ = PrivateJwk::parse(data.as_bytes());
});
