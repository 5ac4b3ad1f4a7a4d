//! Signed tokens and their claims.
#![no_main]

use libfuzzer_sys::fuzz_target;

use keywheel_wire::jose::jws::Jws;
use keywheel_wire::step::token::Claims;

fuzz_target!(|data: &str| {
    if let Ok(token) = Jws::parse(data) {
        let _ = Claims::read(&token);
        let _ = token.certificate_chain("x5c");
    }
});
