//! Serial numbers; what is read and printed is read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

use keywheel_core::serial::Serial;

fuzz_target!(|data: &str| {
    if let Ok(serial) = Serial::parse(data) {
        assert_eq!(Serial::parse(&serial.to_string()).ok(), Some(serial));
    }
});
