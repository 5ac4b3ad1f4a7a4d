//! Certificate revocation lists.
#![no_main]

use libfuzzer_sys::fuzz_target;

use keywheel_wire::x509::crl::Crl;

fuzz_target!(|data: &[u8]| {
    if let Ok(list) = Crl::from_der(data) {
        assert_eq!(list.der(), data);
        let _ = list.parts().number();
    }
    let _ = Crl::from_pem(data);
});
