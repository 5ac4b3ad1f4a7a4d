//! Certificates; what is read keeps every byte.
#![no_main]

use libfuzzer_sys::fuzz_target;

use keywheel_wire::x509::certificate::Certificate;

fuzz_target!(|data: &[u8]| {
    if let Ok(certificate) = Certificate::from_der(data) {
        assert_eq!(certificate.der(), data);
        let _ = certificate.subject_alt_names();
        let _ = certificate.provisioner();
        let _ = certificate.subject().attributes();
        for extension in certificate.extensions() {
            assert!(data.windows(extension.tlv().len()).any(|window| window == extension.tlv()));
        }
    }
    let _ = Certificate::chain_from_pem(data);
});
