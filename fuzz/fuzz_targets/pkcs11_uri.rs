//! URIs of tokens and their keys; what is read can be written and read again, but for a PIN, which is never written.
#![no_main]

use libfuzzer_sys::fuzz_target;

use keywheel_wire::pkcs11::uri::{Pin, Pkcs11Uri};

fuzz_target!(|data: &str| {
    if let Ok(mut uri) = Pkcs11Uri::parse(data) {
        let written = uri.to_string();
        if matches!(uri.pin, Some(Pin::Value(_))) {
            uri.pin = None;
        }
        assert_eq!(Pkcs11Uri::parse(&written), Ok(uri));
    }
});
