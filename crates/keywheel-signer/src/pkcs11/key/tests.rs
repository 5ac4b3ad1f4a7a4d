//! Keys in a real token: SoftHSM, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use keywheel_wire::signer::verify;

use super::*;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const INSIDE: &str = "KEYWHEEL_TOKEN_FOLDER";
const KINDS: [KeyKind; 6] =
    [KeyKind::EcP256, KeyKind::EcP384, KeyKind::EcP521, KeyKind::Ed25519, KeyKind::Rsa(2048), KeyKind::Rsa(3072)];

/// A folder with a token 'lab' whose PIN is 1234, in a process whose environment names it. In the process of the test itself,
/// where it cannot be set, the same test is run once more in one of its own, and there is nothing else to do.
fn inside(test: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(INSIDE) {
        return Some(folder.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let configuration = folder.path().join("softhsm2.conf");
    let tokens = folder.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    std::fs::write(&configuration, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display()))
        .unwrap();
    new_token(&configuration, "lab");
    let name = format!("pkcs11::key::tests::{test}");
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env("SOFTHSM2_CONF", &configuration)
        .env(INSIDE, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
    None
}

fn new_token(configuration: &Path, label: &str) {
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", label, "--pin", "1234", "--so-pin", "5678"])
        .env("SOFTHSM2_CONF", configuration)
        .output()
        .expect("softhsm2-util runs; 'cargo xtask test' installs it");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn uri(rest: &str) -> Pkcs11Uri {
    Pkcs11Uri::parse(&format!("pkcs11:module-path={MODULE};{rest}")).unwrap()
}

fn lab() -> Arc<Token> {
    Token::open(&uri("token=lab?pin-value=1234"), None).unwrap()
}

#[test]
fn every_kind_is_made_in_the_token_and_signs_with_every_scheme_that_fits() {
    let Some(_) = inside("every_kind_is_made_in_the_token_and_signs_with_every_scheme_that_fits") else { return };
    let token = lab();
    for (number, kind) in KINDS.into_iter().enumerate() {
        let name = uri(&format!("id=0{number};object=key-{number}"));
        let made = TokenKey::generate(&token, &name, kind).unwrap();
        let found = TokenKey::find(&token, &uri(&format!("object=key-{number}"))).unwrap();
        assert_eq!((made.kind(), found.kind()), (kind, kind));
        assert_eq!(made.public_key(), found.public_key());
        for scheme in SignatureScheme::ALL {
            for length in [0, 20, 5000] {
                let message = vec![7; length];
                match found.sign(scheme, &message) {
                    Ok(signature) => {
                        assert!(scheme.fits(kind), "{kind} {scheme:?}");
                        verify(made.public_key(), scheme, &message, &signature).unwrap();
                    }
                    Err(SignError::SchemeDoesNotFit { .. }) => assert!(!scheme.fits(kind), "{kind} {scheme:?}"),
                    Err(error) => panic!("{kind} {scheme:?} {error}"),
                }
            }
        }
        made.delete().unwrap();
        assert!(matches!(TokenKey::find(&token, &name), Err(TokenError::NoKey { .. })));
    }
}

#[test]
fn a_name_that_is_taken_makes_no_key() {
    let Some(_) = inside("a_name_that_is_taken_makes_no_key") else { return };
    let token = lab();
    let first = TokenKey::generate(&token, &uri("id=01;object=one"), KeyKind::EcP256).unwrap();
    for taken in ["id=01;object=two", "id=02;object=one", "id=01;object=one"] {
        let error = TokenKey::generate(&token, &uri(taken), KeyKind::EcP256).unwrap_err();
        assert!(matches!(error, TokenError::Exists { .. }), "{error}");
    }
    assert!(matches!(TokenKey::generate(&token, &uri("id=05"), KeyKind::EcP256), Err(TokenError::KeyNotNamed)));
    assert!(matches!(TokenKey::find(&token, &uri("id=02")), Err(TokenError::NoKey { .. })));
    assert_eq!(TokenKey::find(&token, &uri("id=01")).unwrap().public_key(), first.public_key());
}

#[test]
fn a_wrong_pin_is_tried_once_and_each_thing_that_is_missing_is_named() {
    let Some(folder) = inside("a_wrong_pin_is_tried_once_and_each_thing_that_is_missing_is_named") else { return };
    let says = |rest: &str, pin: Option<&[u8]>| Token::open(&uri(rest), pin).unwrap_err().to_string();
    assert!(says("token=lab?pin-value=9999", None).contains("the PIN does not open the token 'lab'"));
    assert!(says("token=lab", Some(b"9999")).contains("the PIN does not open the token 'lab'"));
    assert!(says("token=lab", None).contains("the token 'lab' wants its PIN"));
    let other = says("token=other", Some(b"1234"));
    assert!(other.contains("shows no token with token=other; it shows 'lab' with serial="), "{other}");
    assert!(says("id=01", None).contains("does not say which token"));
    let file = folder.join("pin");
    let source = format!("token=lab?pin-source=file:{}", file.display());
    assert!(says(&source, None).contains("could not be read"));
    std::fs::write(&file, "\n").unwrap();
    assert!(says(&source, None).contains("could not be read"));
    std::fs::write(&file, "1234\n").unwrap();
    Token::open(&uri(&source), None).unwrap();
    // From here on the token is open; a wrong PIN would not even be asked for.
    assert!(says("token=lab?pin-value=9999", None).contains("with another PIN"));
    let missing = Pkcs11Uri::parse("pkcs11:module-path=/nowhere.so;token=lab").unwrap();
    assert!(matches!(Token::open(&missing, None), Err(TokenError::Module { .. })));
    let no_module = Pkcs11Uri::parse("pkcs11:module-path=libc.so.6;token=lab").unwrap();
    let said = Token::open(&no_module, None).unwrap_err().to_string();
    assert!(said.contains("it is no PKCS#11 module"), "{said}");
}

#[test]
fn two_tokens_of_one_name_are_told_apart_by_their_serial() {
    let Some(folder) = inside("two_tokens_of_one_name_are_told_apart_by_their_serial") else { return };
    new_token(&folder.join("softhsm2.conf"), "lab");
    let error = Token::open(&uri("token=lab?pin-value=1234"), None).unwrap_err();
    assert!(matches!(error, TokenError::SeveralTokens { .. }), "{error}");
}

#[test]
fn many_threads_sign_at_once_with_few_sessions() {
    let Some(_) = inside("many_threads_sign_at_once_with_few_sessions") else { return };
    let token = Token::open(&uri("token=lab;max-sessions=3?pin-value=1234"), None).unwrap();
    let key = TokenKey::generate(&token, &uri("id=01;object=one"), KeyKind::EcP256).unwrap();
    let signed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..12_u8 {
            let (key, signed) = (&key, &signed);
            scope.spawn(move || {
                for round in 0..40 {
                    let message = [thread, round];
                    let signature = key.sign(SignatureScheme::EcdsaSha256, &message).unwrap();
                    verify(key.public_key(), SignatureScheme::EcdsaSha256, &message, &signature).unwrap();
                    signed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(signed.into_inner(), 480);
}

#[test]
fn sessions_that_were_lost_are_opened_again() {
    let Some(_) = inside("sessions_that_were_lost_are_opened_again") else { return };
    let token = lab();
    let key = TokenKey::generate(&token, &uri("id=01;object=one"), KeyKind::EcP256).unwrap();
    let (_, module) = super::super::module::load(Some(MODULE)).unwrap();
    // All sessions of the process end, and with them the login, as when a token is drawn out and put back.
    module.clone().finalize().unwrap();
    let signature = key.sign(SignatureScheme::EcdsaSha256, b"x").unwrap();
    verify(key.public_key(), SignatureScheme::EcdsaSha256, b"x", &signature).unwrap();
}

#[test]
fn another_key_under_the_same_name_is_not_used_after_the_token_came_back() {
    let Some(_) = inside("another_key_under_the_same_name_is_not_used_after_the_token_came_back") else { return };
    let token = lab();
    let name = uri("id=01;object=one");
    let key = TokenKey::generate(&token, &name, KeyKind::EcP256).unwrap();
    key.delete().unwrap();
    let other = TokenKey::generate(&token, &name, KeyKind::EcP256).unwrap();
    let (_, module) = super::super::module::load(Some(MODULE)).unwrap();
    module.finalize().unwrap();
    let error = key.sign(SignatureScheme::EcdsaSha256, b"x").unwrap_err().to_string();
    assert!(error.contains("came back with another key"), "{error}");
    other.sign(SignatureScheme::EcdsaSha256, b"x").unwrap();
}

#[test]
fn a_token_that_is_gone_says_so_and_is_used_again_when_it_is_back() {
    let Some(folder) = inside("a_token_that_is_gone_says_so_and_is_used_again_when_it_is_back") else { return };
    let token = lab();
    let key = TokenKey::generate(&token, &uri("id=01;object=one"), KeyKind::EcP256).unwrap();
    let (_, module) = super::super::module::load(Some(MODULE)).unwrap();
    let (there, away) = (folder.join("tokens"), folder.join("away"));
    std::fs::rename(&there, &away).unwrap();
    std::fs::create_dir(&there).unwrap();
    module.clone().finalize().unwrap();
    let error = key.sign(SignatureScheme::EcdsaSha256, b"x").unwrap_err();
    assert!(matches!(&error, SignError::Away { reason, .. } if reason.contains("shows no token")), "{error}");
    std::fs::remove_dir(&there).unwrap();
    std::fs::rename(&away, &there).unwrap();
    module.finalize().unwrap();
    key.sign(SignatureScheme::EcdsaSha256, b"x").unwrap();
}
