//! Durations; what is read and printed is read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

use keywheel_core::go_duration::{format, parse};

fuzz_target!(|data: &str| {
    if let Ok(duration) = parse(data) {
        assert_eq!(parse(&format(duration)), Ok(duration));
    }
});
