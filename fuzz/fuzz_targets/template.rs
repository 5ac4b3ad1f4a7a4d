//! Certificate templates: rendered within their limits, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    let _ = keywheel_wire::template::check(data);
});
