//! The authority's configuration; what is read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;

use keywheel_wire::step::ca_json::CaJson;

fuzz_target!(|data: &str| {
    if let Ok(configuration) = CaJson::parse(data) {
        let _ = configuration.validate();
        let again = CaJson::parse(&configuration.to_text()).expect("what was written can be read");
        assert_eq!(again.document(), configuration.document());
    }
});
