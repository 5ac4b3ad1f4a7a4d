//! Tokens that `step` made, tokens of ours, and tokens that nobody should make.

use std::process::{Command, Stdio};

use keywheel_core::token::{Purpose, TokenRules, audiences, check};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::jose::jwk::PrivateJwk;
use crate::jose::tests::{MemoryKey, keys};

/// What `step ca token web.lab --san web.lab --san 10.0.0.7 --offline` printed.
const FROM_STEP: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjdvUmFiSWw4cGtZaUNIb3RKMUd2dVVIcUZvTHlYS1VqY0tYeXd3RXQ2RjAiLCJ0eXAiOiJKV1QifQ.eyJhdWQiOiJodHRwczovL2NhLmxhYi9zaWduIiwiZXhwIjoxNzk1MjI5NjM1LCJpYXQiOjE3OTUyMjkzMzUsImlzcyI6ImFkbWluIiwianRpIjoiMDllMThkZDM4NGY4Yzk0NGZlMmEwNDY3NTQxOTI0NmYzZDk4MTg1MTQ5ODU5OTA4YjAzZWFlMzk3NzRkODY5NiIsIm5iZiI6MTc5NTIyOTMzNSwic2FucyI6WyJ3ZWIubGFiIiwiMTAuMC4wLjciXSwic2hhIjoiYWM0NjU0MjUyZGM0YTk5YTA3NTQyNjJiNjY4Yzc5OTQwY2I5MGE1YTlhNjE3MzViMThlNzhiOWY2MTY4OTJmYiIsInN1YiI6IndlYi5sYWIifQ.5leZw5yb6NuPFML3f7F0tF2fRBj-K1G8-CMiOuODTu4tnO2FEiXsrF0y17fOL02uXO22J1zeYjhlzl3WMtKLnw";

fn step_key() -> PublicJwk {
    PublicJwk::from_object(
        json!({
            "use": "sig", "kty": "EC", "kid": "7oRabIl8pkYiCHotJ1GvuUHqFoLyXKUjcKXywwEt6F0", "crv": "P-256", "alg": "ES256",
            "x": "8mIWTGizVV9pUye89ngDwwHap9d6iisJaGayZZdF9aM",
            "y": "oOug_b5bvn3zBl64PyN2xDRQ8jvslel6IK49BSkxNgw"
        })
        .as_object()
        .unwrap(),
    )
    .unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_795_229_335).unwrap()
}

fn contents() -> Contents {
    Contents {
        sans: Some(vec!["web.lab".into(), "10.0.0.7".into()]),
        root_fingerprint: Some("ac46".into()),
        id: Some("09e1".into()),
        ..Contents::new("https://ca.lab/1.0/sign", "admin", "web.lab", now())
    }
}

#[test]
fn a_token_of_step_is_verified_and_read() {
    let token = Jws::parse(FROM_STEP).unwrap();
    token.verify(&step_key().to_spki().unwrap()).unwrap();
    assert_eq!(token.key_id(), step_key().key_id.as_deref());
    let claims = Claims::read(&token).unwrap();
    assert_eq!(claims.registered.issuer, "admin");
    assert_eq!(claims.registered.audience, ["https://ca.lab/sign"]);
    assert_eq!(claims.sans.as_deref(), Some(&["web.lab".to_owned(), "10.0.0.7".to_owned()][..]));
    assert_eq!(claims.id.as_deref(), Some("09e18dd384f8c944fe2a04675419246f3d98185149859908b03eae39774d8696"));
    let accepted = audiences(&["ca.lab".to_owned()], Purpose::Sign, None);
    let rules = TokenRules { now: now(), issuer: Some("admin"), audiences: &accepted, max_lifetime: None };
    check(&claims.registered, &rules).unwrap();
}

#[test]
fn our_token_has_the_header_and_claims_of_the_reference() {
    let key = keys().remove(0);
    let token = Jws::parse(&sign_with_jwk(&contents(), "kid", &key).unwrap()).unwrap();
    token.verify(key.public_key()).unwrap();
    assert_eq!(serde_json::to_string(token.header()).unwrap(), r#"{"alg":"ES256","kid":"kid","typ":"JWT"}"#);
    assert_eq!(
        std::str::from_utf8(token.payload()).unwrap(),
        r#"{"aud":"https://ca.lab/1.0/sign","exp":1795229635,"iat":1795229335,"iss":"admin","jti":"09e1","nbf":1795229335,"sans":["web.lab","10.0.0.7"],"sha":"ac46","sub":"web.lab"}"#
    );
    let claims = Claims::read(&token).unwrap();
    assert_eq!(claims.registered.expires_at, Some(contents().expires_at));
    assert_eq!(claims.root_fingerprint.as_deref(), Some("ac46"));
}

#[test]
fn a_token_that_carries_its_certificate_is_bound_to_one_request() {
    let key = keys().remove(3);
    let request = b"the DER of a request";
    let contents = Contents {
        confirmation: Some(confirmation(request)),
        ..Contents::new("https://ca.lab/rekey", CLIENT_ISSUER, "web.lab", now())
    };
    let chain = [b"leaf".to_vec(), b"issuer".to_vec()];
    let compact = sign_with_chain(&contents, "x5cInsecure", &chain, &key).unwrap();
    let token = Jws::parse(&compact).unwrap();
    token.verify(key.public_key()).unwrap();
    assert_eq!(token.certificate_chain("x5cInsecure").unwrap(), chain);
    assert_eq!(token.certificate_chain("x5c"), None);
    let claims = Claims::read(&token).unwrap();
    assert!(claims.confirms(request));
    assert!(!claims.confirms(b"the DER of another request"));
    assert_eq!(Jws::parse(&compact).unwrap().identity(), token.identity());
    assert_eq!(token_hash(&compact).len(), 64);
}

#[test]
fn claims_of_another_form_are_named() {
    let key = keys().remove(0);
    let cases = [
        (json!({"iss": 7}), "iss"),
        (json!({"aud": [1]}), "aud"),
        (json!({"sans": "web.lab"}), "sans"),
        (json!({"exp": "soon"}), "exp"),
        (json!({"exp": 1e300}), "exp"),
        (json!({"nbf": i64::MAX}), "nbf"),
        (json!({"cnf": "x"}), "cnf"),
    ];
    for (payload, name) in cases {
        let compact = jws::sign(&Map::new(), payload.to_string().as_bytes(), &key).unwrap();
        let read = Claims::read(&Jws::parse(&compact).unwrap());
        assert!(matches!(read, Err(ClaimsError::Claim(claim)) if claim == name), "{payload}");
    }
    let list = jws::sign(&Map::new(), b"[]", &key).unwrap();
    assert!(matches!(Claims::read(&Jws::parse(&list).unwrap()), Err(ClaimsError::Payload(_))));
    let fraction = jws::sign(&Map::new(), br#"{"exp":1795229335.9,"iat":null}"#, &key).unwrap();
    let claims = Claims::read(&Jws::parse(&fraction).unwrap()).unwrap();
    assert_eq!((claims.registered.expires_at, claims.registered.issued_at), (Some(now()), None));
}

#[test]
fn the_real_step_verifies_our_tokens_and_opens_our_keys() {
    let step = std::env::home_dir().map(|home| home.join("go/bin/step")).filter(|path| path.exists());
    let Some(step) = step else {
        eprintln!("SKIPPED: ~/go/bin/step is not installed");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], input: &str| {
        std::fs::write(folder.path().join("input"), input).unwrap();
        let output = Command::new(&step)
            .args(arguments)
            .current_dir(folder.path())
            .env("STEPPATH", folder.path())
            .stdin(Stdio::from(std::fs::File::open(folder.path().join("input")).unwrap()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    std::fs::write(folder.path().join("password"), "pw\n").unwrap();
    for key in keys() {
        let private = PrivateJwk::from_private_key(&key.0).unwrap();
        let public = serde_json::to_string(&private.public().to_object()).unwrap();
        std::fs::write(folder.path().join("public"), &public).unwrap();
        assert_eq!(run(&["crypto", "jwk", "thumbprint"], &public).trim(), private.public().thumbprint());

        let kid = private.public().thumbprint();
        let token = sign_with_jwk(&contents(), &kid, &key).unwrap();
        let shown = run(
            &[
                "crypto",
                "jwt",
                "verify",
                "--key",
                "public",
                "--iss",
                "admin",
                "--aud",
                "https://ca.lab/1.0/sign",
                "--subtle",
                "--no-exp-check",
                "--insecure",
            ],
            &token,
        );
        assert!(shown.contains("web.lab"), "{shown}");

        let randomness = crate::jose::jwe::Randomness {
            salt: [7; 16],
            content_key: zeroize::Zeroizing::new([8; 32]),
            nonce: [9; 12],
        };
        let text =
            crate::jose::jwe::encrypt(private.to_json().unwrap().as_bytes(), b"pw", "jwk+json", &randomness).unwrap();
        std::fs::write(folder.path().join("private"), &text).unwrap();
        let opened = run(
            &["crypto", "jwk", "public"],
            &run(&["crypto", "jwe", "decrypt", "--password-file", "password"], &text),
        );
        assert_eq!(PublicJwk::parse(&opened).unwrap().to_spki().unwrap(), key.public_key());

        // And the other way round: its token by that key.
        let theirs = run(
            &[
                "crypto",
                "jwt",
                "sign",
                "--key",
                "private",
                "--password-file",
                "password",
                "--iss",
                "admin",
                "--aud",
                "a",
                "--sub",
                "s",
                "--exp",
                "1795229635",
                "--subtle",
            ],
            "",
        );
        let theirs = Jws::parse(theirs.trim()).unwrap();
        theirs.verify(key.public_key()).unwrap();
        assert_eq!(Claims::read(&theirs).unwrap().registered.subject, "s");
        assert_eq!(MemoryKey(private.private_key().clone()).public_key(), key.public_key());
    }
}

proptest! {
    #[test]
    fn any_payload_is_read_without_a_panic(payload in any::<Vec<u8>>()) {
        use base64ct::Base64UrlUnpadded;
        let compact = format!("eyJhbGciOiJFUzI1NiJ9.{}.AA", Base64UrlUnpadded::encode_string(&payload));
        let token = Jws::parse(&compact).unwrap();
        let _ = Claims::read(&token);
    }

    #[test]
    fn any_numbers_as_times_are_read_without_a_panic(seconds in any::<f64>(), whole in any::<i64>()) {
        use base64ct::Base64UrlUnpadded;
        let payload = json!({"exp": seconds, "iat": whole}).to_string();
        let compact = format!("eyJhbGciOiJFUzI1NiJ9.{}.AA", Base64UrlUnpadded::encode_string(payload.as_bytes()));
        let _ = Claims::read(&Jws::parse(&compact).unwrap());
    }
}
