//! SoftHSM: a PKCS#11 token in a folder, as real as one that is plugged in but for the plug.

use std::path::Path;

use crate::place::Place;

/// Its library, where Debian puts it.
pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// The PIN of every token in the tests.
pub const PIN: &str = "824 193";

/// Makes a token of that label in the place, whose commands find it from now on, with its PIN in the file `pin`; returns its URI.
pub fn token(place: &mut Place, label: &str) -> String {
    assert!(Path::new(MODULE).exists(), "softhsm2 is not installed; `cargo xtask prepare` installs it");
    let tokens = place.file("tokens");
    if !tokens.exists() {
        std::fs::create_dir(&tokens).expect("a folder for tokens can be made");
        let configuration = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        let configuration = place.write("softhsm2.conf", configuration);
        place.set("SOFTHSM2_CONF", configuration.to_string_lossy());
        place.write("pin", format!("{PIN}\n"));
    }
    place
        .run("softhsm2-util", &["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "so 824 193"])
        .ok();
    format!("pkcs11:module-path={MODULE};token={label}?pin-source={}", place.file("pin").display())
}
