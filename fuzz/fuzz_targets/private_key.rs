//! Private keys, encrypted or not; what is read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;

use keywheel_wire::private_key::{Encoding, PrivateKey};

fuzz_target!(|data: &[u8]| {
    for encoding in [Encoding::Pkcs1, Encoding::Sec1, Encoding::Pkcs8] {
        if let Ok(key) = PrivateKey::from_der(data, encoding) {
            let again = PrivateKey::from_pkcs8_der(key.pkcs8_der()).expect("what was read can be read again");
            assert_eq!(again.public_key(), key.public_key());
        }
    }
    let _ = PrivateKey::parse_pem(data, Some(b"password"));
});
