//! Encrypted keys of provisioners.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    let _ = keywheel_wire::jose::jwe::decrypt(data, b"password");
});
