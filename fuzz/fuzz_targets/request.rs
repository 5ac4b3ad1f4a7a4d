//! Certificate signing requests, and the proof that their key is held.
#![no_main]

use libfuzzer_sys::fuzz_target;

use keywheel_wire::x509::request::Request;

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = Request::from_der(data) {
        assert_eq!(request.der(), data);
        let _ = request.subject_alt_names();
        let _ = request.verify();
    }
    let _ = Request::from_pem(data);
});
