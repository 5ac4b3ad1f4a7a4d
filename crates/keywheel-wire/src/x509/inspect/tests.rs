//! What is shown, compared with what the real step shows of the same files, and with files made to deceive.

use proptest::prelude::*;
use serde_json::Value;

use super::{json, short, text};
use crate::x509::certificate::Certificate;
use crate::x509::extension::Extension;
use crate::x509::extension::alt_name::{self, GeneralName};
use crate::x509::name::Name;
use crate::x509::oid::Oid;
use crate::x509::request::Request;

/// A file, and the three views of it that step v0.30.6 printed.
struct Sample {
    file: &'static [u8],
    text: &'static str,
    short: &'static str,
    json: &'static str,
}

macro_rules! sample {
    ($name:literal, $extension:literal) => {
        Sample {
            file: include_bytes!(concat!("testdata/", $name, $extension)),
            text: include_str!(concat!("testdata/", $name, ".txt")),
            short: include_str!(concat!("testdata/", $name, ".short.txt")),
            json: include_str!(concat!("testdata/", $name, ".json")),
        }
    };
}

const CERTIFICATES: [Sample; 4] =
    [sample!("root", ".crt"), sample!("intermediate", ".crt"), sample!("leaf", ".crt"), sample!("many", ".crt")];
const REQUEST: Sample = sample!("request", ".csr");

/// Members of step's JSON that we leave out (constants of the curve) or tell more truthfully.
const OURS_DIFFERS: [&str; 8] = ["b", "gx", "gy", "n", "p", "valid", "tbs_noct_fingerprint", "PublicKey"];

/// Every member of `theirs` is in `ours` with the same value.
fn assert_contains(path: &str, ours: &Value, theirs: &Value) {
    let (Value::Object(ours), Value::Object(theirs)) = (ours, theirs) else {
        assert_eq!(ours, theirs, "{path}");
        return;
    };
    for (name, value) in theirs {
        if OURS_DIFFERS.contains(&name.as_str()) {
            continue;
        }
        let own = ours.get(name).unwrap_or_else(|| panic!("{path}.{name} is missing"));
        if name == "names" {
            // Theirs forgets IPv6 addresses.
            let own = own.as_array().unwrap();
            assert!(value.as_array().unwrap().iter().all(|name| own.contains(name)), "{own:?} {value}");
            continue;
        }
        assert_contains(&format!("{path}.{name}"), own, value);
    }
}

#[test]
fn certificates_read_as_step_prints_them() {
    for sample in CERTIFICATES {
        let certificate = Certificate::from_pem(sample.file).unwrap();
        assert_eq!(text::certificate(&certificate), sample.text);
        assert_eq!(short::certificate(&certificate), sample.short);
        let theirs = serde_json::from_str(sample.json).unwrap();
        assert_contains("", &json::certificate(&certificate), &theirs);
    }
}

#[test]
fn requests_read_as_step_prints_them() {
    let request = Request::from_pem(REQUEST.file).unwrap();
    assert_eq!(text::request(&request), REQUEST.text);
    assert_eq!(short::request(&request), REQUEST.short);
    let ours = json::request(&request);
    let mut theirs: Value = serde_json::from_str(REQUEST.json).unwrap();
    let members = theirs.as_object_mut().unwrap();
    // Go's own structures, which say the same twice.
    members.remove("Attributes");
    members.remove("ExtraExtensions");
    assert_contains("", &ours, &theirs);
    assert_eq!(ours["SignatureValid"], true);
}

#[test]
fn only_a_root_whose_signature_verifies_is_called_self_signed() {
    let [root, intermediate, ..] = CERTIFICATES.map(|sample| Certificate::from_pem(sample.file).unwrap());
    assert_eq!(json::certificate(&root)["signature"]["self_signed"], true);
    assert_eq!(json::certificate(&intermediate)["signature"]["self_signed"], false);

    let mut forged = root.der().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let forged = Certificate::from_der(&forged).unwrap();
    assert_eq!(json::certificate(&forged)["signature"]["self_signed"], false);
}

#[test]
fn names_cannot_drive_a_terminal_or_fake_a_line() {
    let evil = "a\n        Subject: CN=bank\u{1b}[2J\u{202e}";
    let name = Name::with_common_name(evil);
    let shown = super::field::distinguished_name(&name, ",");
    assert_eq!(shown, "CN=a\\u{a}        Subject: CN\\=bank\\u{1b}[2J\\u{202e}");

    let certificate = certificate_with(&name, vec![GeneralName::Dns("x\r\n\u{7}y".to_owned())]);
    let parsed = Certificate::from_der(&certificate).unwrap();
    for page in [text::certificate(&parsed), short::certificate(&parsed)] {
        assert!(page.lines().all(|line| !line.chars().any(char::is_control)), "{page}");
        assert!(!page.contains('\u{202e}'));
        assert!(!page.lines().any(|line| line.trim_start().starts_with("Subject: CN=bank")), "{page}");
    }
}

#[test]
fn an_extension_that_cannot_be_read_is_shown_as_it_is() {
    let broken = Extension::new(crate::x509::oid::KEY_USAGE, true, vec![0xde, 0xad]);
    let unknown = Extension::new("1.2.3.4".parse::<Oid>().unwrap(), false, vec![0xbe; 20]);
    let der = assemble(&Name::with_common_name("x"), vec![broken, unknown]);
    let certificate = Certificate::from_der(&der).unwrap();
    let page = text::certificate(&certificate);
    assert!(page.contains("X509v3 Key Usage: critical\n"), "{page}");
    assert!(page.contains("                de:ad\n"), "{page}");
    assert!(page.contains("            1.2.3.4:\n                be:be:"), "{page}");
    let json = json::certificate(&certificate);
    assert_eq!(json["unknown_extensions"].as_array().unwrap().len(), 2);
    assert_eq!(json["unknown_extensions"][0]["value"], "3q0=");
}

fn certificate_with(subject: &Name, names: Vec<GeneralName>) -> Vec<u8> {
    assemble(subject, vec![alt_name::extension(&names, false).unwrap()])
}

/// A certificate with the root's key and a signature that means nothing.
fn assemble(subject: &Name, extensions: Vec<Extension>) -> Vec<u8> {
    let root = Certificate::from_pem(CERTIFICATES[0].file).unwrap();
    let scheme = root.scheme().unwrap();
    let tbs = crate::x509::tbs::TbsBuilder {
        serial: root.serial(),
        scheme,
        issuer: root.subject().clone(),
        not_before: root.not_before(),
        not_after: root.not_after(),
        subject: subject.clone(),
        spki: root.spki().to_vec(),
        extensions,
    };
    crate::x509::certificate::assemble(&tbs.build().unwrap(), scheme, root.signature())
}

proptest! {
    #[test]
    fn no_damage_to_a_certificate_makes_showing_it_panic(
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let mut der = Certificate::from_pem(CERTIFICATES[3].file).unwrap().der().to_vec();
        for (index, octet) in damage {
            let index = index % der.len();
            der[index] = octet;
        }
        if let Ok(certificate) = Certificate::from_der(&der) {
            prop_assert!(!text::certificate(&certificate).is_empty());
            prop_assert!(!short::certificate(&certificate).is_empty());
            prop_assert!(json::certificate(&certificate).is_object());
        }
    }

    #[test]
    fn no_damage_to_a_request_makes_showing_it_panic(
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let mut der = Request::from_pem(REQUEST.file).unwrap().der().to_vec();
        for (index, octet) in damage {
            let index = index % der.len();
            der[index] = octet;
        }
        if let Ok(request) = Request::from_der(&der) {
            prop_assert!(!text::request(&request).is_empty());
            prop_assert!(!short::request(&request).is_empty());
            prop_assert!(json::request(&request).is_object());
        }
    }
}
