//! badkeys and our CA read the same list of known keys and find the same keys in it.

use keywheel_tests::ca::Ca;
use keywheel_tests::peer;
use keywheel_tests::place::Place;
use serde_json::{Value, json};

/// The first 15 octets of the SHA-256 of a key's modulus, by OpenSSL alone, in hexadecimal.
fn record(place: &Place, key: &str) -> String {
    let modulus = place.run("openssl", &["rsa", "-in", key, "-noout", "-modulus"]).ok().stdout;
    let modulus = modulus.trim().strip_prefix("Modulus=").expect("OpenSSL prints the modulus");
    place.write("modulus", octets(modulus));
    let digest = place.run("openssl", &["dgst", "-sha256", "-r", "modulus"]).ok().stdout;
    digest[..30].to_owned()
}

fn octets(hexadecimal: &str) -> Vec<u8> {
    let digit = |place: usize| hexadecimal.get(place..place + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..hexadecimal.len()).step_by(2).map(|place| digit(place).expect("hexadecimal")).collect()
}

#[test]
fn badkeys_and_our_ca_find_the_same_keys_in_one_list() {
    let Some(badkeys) = peer::badkeys() else { return };
    let mut ca = Ca::start();
    let names = ["known", "unknown", "known-too"];
    for name in names {
        let words = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout"];
        let (key, request, subject) = (format!("{name}.key"), format!("{name}.csr"), format!("/CN={name}.local"));
        ca.place.run("openssl", &[&words[..], &[&key, "-out", &request, "-subj", &subject]].concat()).ok();
    }
    let mut records = vec![format!("{}07", record(&ca.place, "known.key"))];
    records.push(format!("{}08", record(&ca.place, "known-too.key")));
    // Strangers, so that there is something to search.
    records.extend((0..500_u32).map(|number| format!("{:08x}{:022x}09", number.wrapping_mul(2_654_435_761), number)));
    records.sort();
    ca.place.set("XDG_CACHE_HOME", ca.place.file("cache").to_string_lossy());
    let list = ca.place.write("cache/badkeys/blocklist.dat", octets(&records.concat()));
    let lists = json!({ "bkformat": 0, "blocklists": [{ "id": 7, "name": "seven" }, { "id": 8, "name": "eight" }] });
    ca.place.write("cache/badkeys/badkeysdata.json", lists.to_string());

    let path = "step/config/ca.json";
    let mut configuration: Value = serde_json::from_str(&ca.place.read(path)).expect("our init writes JSON");
    configuration["keywheel"]["keyBlocklist"] = json!(list);
    ca.place.write(path, configuration.to_string());
    ca.server.signal("HUP");
    ca.server.wait_for("the configuration was read again");

    for name in names {
        let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
        let theirs = ca.place.run(&badkeys, &["-c", "blocklist", &key]);
        let found = theirs.stdout.contains("blocklist");
        assert_eq!(found, name != "unknown", "badkeys: {} {}", theirs.stdout, theirs.stderr);
        let words = ["ca", "sign", &request, "signed.crt", "-f", "--provisioner-password-file", "password"];
        let ours = ca.place.keywheel(&words);
        if found {
            ours.fails(3, "the private half of the key is publicly known");
        } else {
            ours.ok();
        }
    }
}
