//! The client's defaults.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    let _ = keywheel_wire::step::defaults_json::DefaultsJson::parse(data);
});
