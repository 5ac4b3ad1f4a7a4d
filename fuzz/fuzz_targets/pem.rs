//! PEM bundles of any kind are read or refused, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = keywheel_wire::pem::parse(data);
});
