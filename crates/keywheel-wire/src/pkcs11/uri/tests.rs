//! URIs of the reference, of RFC 7512, and wrong ones.

use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Pkcs11Uri {
    Pkcs11Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_references_own_examples_are_read() {
    let uri = parsed("pkcs11:module-path=/usr/lib/softhsm/libsofthsm2.so;token=smallstep?pin-value=password");
    assert_eq!(uri.module_path.as_deref(), Some("/usr/lib/softhsm/libsofthsm2.so"));
    assert_eq!(uri.token.as_deref(), Some("smallstep"));
    assert_eq!(uri.pin, Some(Pin::Value(Zeroizing::new("password".to_owned()))));
    let uri = parsed("pkcs11:serial=1a2b3c4d5e6f?pin-source=/path/to/pin.txt");
    assert_eq!(uri.serial.as_deref(), Some("1a2b3c4d5e6f"));
    assert_eq!(uri.pin, Some(Pin::File("/path/to/pin.txt".to_owned())));
    assert_eq!(parsed("pkcs11:slot-id=5?pin-value=x").slot_id, Some(5));
    assert_eq!(parsed("pkcs11:token=smallstep;max-sessions=100?pin-value=password").max_sessions, Some(100));
    let uri = parsed("pkcs11:id=7331;object=intermediate-key");
    assert_eq!((uri.id.as_deref(), uri.object.as_deref()), (Some(&[0x73, 0x31][..]), Some("intermediate-key")));
    assert!(uri.names_key() && !uri.names_token());
}

#[test]
fn what_p11tool_prints_is_read() {
    let uri = parsed(
        "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=d1a8;token=My%20token;id=%01%a0;object=a%2fb;type=private",
    );
    assert_eq!(uri.model.as_deref(), Some("SoftHSM v2"));
    assert_eq!(uri.manufacturer.as_deref(), Some("SoftHSM project"));
    assert_eq!((uri.id.as_deref(), uri.object.as_deref()), (Some(&[1, 0xa0][..]), Some("a/b")));
    let uri = parsed("PKCS11:token=x?module-path=/m.so&pin-source=file:///run/pin%20file&x-vendor=1");
    assert_eq!(uri.module_path.as_deref(), Some("/m.so"));
    assert_eq!(uri.pin, Some(Pin::File("/run/pin file".to_owned())));
}

#[test]
fn an_id_is_hexadecimal_where_it_can_be_and_exact_where_it_is_percent_encoded() {
    for (written, id) in [
        ("0a10", &[0x0a, 0x10][..]),
        ("0x0A10", &[0x0a, 0x10]),
        ("0a:10", &[0x0a, 0x10]),
        ("a10", &[0x0a, 0x10]),
        ("%0a%10", &[0x0a, 0x10]),
        ("%30%31", b"01"),
        ("my-key", b"my-key"),
    ] {
        assert_eq!(parsed(&format!("pkcs11:id={written}")).id.as_deref(), Some(id), "{written}");
    }
}

#[test]
fn wrong_uris_are_refused_with_a_reason_that_never_shows_the_pin() {
    let long = format!("pkcs11:object={}", "x".repeat(MAX_TEXT));
    let id = format!("pkcs11:id={}", "ab".repeat(300));
    for (text, expected) in [
        ("file:x", "does not begin"),
        ("pkcs11", "does not begin"),
        (&long, "longer than 8 KiB"),
        (&id, "1 to 255 octets"),
        ("pkcs11:id=", "1 to 255 octets"),
        ("pkcs11:token", "part 1 is not of the form"),
        ("pkcs11:token=a;secret", "part 2 is not of the form"),
        ("pkcs11:token=a;token=b", "token twice"),
        ("pkcs11:tokn=a", "attribute 'tokn' that is not supported"),
        ("pkcs11:library-version=3", "not supported"),
        ("pkcs11:token=", "expected a value"),
        ("pkcs11:token=%zz", "two hexadecimal digits"),
        ("pkcs11:token=%4", "two hexadecimal digits"),
        ("pkcs11:token=%ff", "UTF-8"),
        ("pkcs11:token=a%00b", "control characters"),
        ("pkcs11:slot-id=one", "expected a number"),
        ("pkcs11:max-sessions=1", "from 2 on"),
        ("pkcs11:type=cert;object=x", "private or public"),
        ("pkcs11:token=a?pin-source=|secret", "path of a file"),
        ("pkcs11:token=a?pin-source=file:", "path of a file"),
        ("pkcs11:token=a?pin-value=12&secret", "part 3 is not of the form"),
        ("pkcs11:token=a?pin-value=12&secret=4", "after its '?'"),
        ("pkcs11:token=a?pin-value=secret%zz", "two hexadecimal digits"),
        ("pkcs11:token=a?pin-value=secret&pin-source=/x", "both pin-value and pin-source"),
    ] {
        let error = Pkcs11Uri::parse(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn neither_debug_nor_display_show_the_pin() {
    let uri = parsed("pkcs11:token=a;object=b?pin-value=secret");
    assert!(!format!("{uri:?} {uri}").contains("secret"));
    assert_eq!(uri.to_string(), "pkcs11:token=a;object=b");
    assert_eq!(parsed("pkcs11:?pin-source=/a b").to_string(), "pkcs11:?pin-source=/a%20b");
    assert_eq!(parsed("pkcs11:token=a?pin-prompt").to_string(), "pkcs11:token=a?pin-prompt=");
}

#[test]
fn a_key_is_completed_by_its_management_and_never_taken_to_another_token() {
    let management = parsed("pkcs11:module-path=/m.so;token=a?pin-source=/pin");
    let key = parsed("pkcs11:id=01;object=b").within(&management).unwrap();
    assert_eq!(key.to_string(), "pkcs11:module-path=/m.so;token=a;id=01;object=b?pin-source=/pin");
    assert_eq!(key.key_only().to_string(), "pkcs11:id=01;object=b");
    let other = parsed("pkcs11:token=other;object=b").within(&management);
    assert_eq!(other, Err(Pkcs11UriError::Contradiction("token")));
    let own = parsed("pkcs11:serial=1;object=b?pin-value=x").within(&management).unwrap();
    assert_eq!((own.serial.as_deref(), own.token.as_deref()), (Some("1"), Some("a")));
    assert_eq!(own.pin, Some(Pin::Value(Zeroizing::new("x".to_owned()))));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        token in "[^\\p{C}]{1,20}", object in "[^\\p{C}]{1,20}", id in proptest::collection::vec(any::<u8>(), 1..20),
        pin in "/[^\\p{C}]{1,20}",
    ) {
        let uri = Pkcs11Uri {
            token: Some(token), object: Some(object), id: Some(id), slot_id: None,
            pin: Some(Pin::File(pin)), ..Pkcs11Uri::default()
        };
        prop_assert_eq!(Pkcs11Uri::parse(&uri.to_string()), Ok(uri));
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "pkcs11:(.{0,40}|[a-z;=%?&0-9-]{0,60})") {
        let _ = Pkcs11Uri::parse(&text);
    }
}
