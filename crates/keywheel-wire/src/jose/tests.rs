//! JOSE against the examples of its RFCs, texts that `step` made, and bytes that nobody made on purpose.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::jwe::{self, JweError};
use super::jwk::{JwkError, PrivateJwk, PublicJwk};
use super::jws::{self, Algorithm, Jws, JwsError};
use super::{bytes, jwk};
use crate::private_key::{KeyKind, PrivateKey};
use crate::signer::{SignError, SignatureScheme, Signer};

/// A key in memory that signs.
pub(crate) struct MemoryKey(pub(crate) PrivateKey);

impl Signer for MemoryKey {
    fn public_key(&self) -> &[u8] {
        self.0.public_key()
    }

    fn kind(&self) -> KeyKind {
        self.0.kind()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let der = self.0.pkcs8_der();
        let random = SystemRandom::new();
        let ecdsa = |algorithm: &'static signature::EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_pkcs8(algorithm, der).unwrap().sign(&random, message).unwrap().as_ref().to_vec()
        };
        let rsa = |padding: &'static dyn signature::RsaEncoding| {
            let key = RsaKeyPair::from_pkcs8(der).unwrap();
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign(padding, &random, message, &mut signature).unwrap();
            signature
        };
        Ok(match scheme {
            SignatureScheme::EcdsaSha256 => ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING),
            SignatureScheme::EcdsaSha384 => ecdsa(&signature::ECDSA_P384_SHA384_ASN1_SIGNING),
            SignatureScheme::EcdsaSha512 => ecdsa(&signature::ECDSA_P521_SHA512_ASN1_SIGNING),
            SignatureScheme::Ed25519 => {
                let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).unwrap();
                assert_eq!(key.public_key().as_ref().len(), 32);
                key.sign(message).as_ref().to_vec()
            }
            SignatureScheme::RsaPkcs1Sha256 => rsa(&signature::RSA_PKCS1_SHA256),
            SignatureScheme::RsaPssSha256 => rsa(&signature::RSA_PSS_SHA256),
            other => return Err(SignError::SchemeDoesNotFit { kind: self.kind(), scheme: other }),
        })
    }
}

/// One key of each kind.
pub(crate) fn keys() -> Vec<MemoryKey> {
    let random = SystemRandom::new();
    let ecdsa = |algorithm| EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap().as_ref().to_vec();
    let rsa = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let rsa: aws_lc_rs::encoding::Pkcs8V1Der<'_> = aws_lc_rs::encoding::AsDer::as_der(&rsa).unwrap();
    [
        ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING),
        ecdsa(&signature::ECDSA_P384_SHA384_ASN1_SIGNING),
        ecdsa(&signature::ECDSA_P521_SHA512_ASN1_SIGNING),
        Ed25519KeyPair::generate_pkcs8v1(&random).unwrap().as_ref().to_vec(),
        rsa.as_ref().to_vec(),
    ]
    .iter()
    .map(|der| MemoryKey(PrivateKey::from_pkcs8_der(der).unwrap()))
    .collect()
}

fn public(json: Value) -> Result<PublicJwk, JwkError> {
    PublicJwk::from_object(json.as_object().unwrap())
}

/// RFC 7515 appendix A.3.
const RFC7515_ES256: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

fn rfc7515_key() -> Value {
    json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
    })
}

#[test]
fn the_es256_example_of_rfc_7515_verifies() {
    let token = Jws::parse(RFC7515_ES256).unwrap();
    assert_eq!(token.claims().unwrap()["iss"], "joe");
    token.verify(&public(rfc7515_key()).unwrap().to_spki().unwrap()).unwrap();
}

#[test]
fn the_ed25519_example_of_rfc_8037_verifies_and_its_thumbprint_is_right() {
    let key = public(json!({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})).unwrap();
    assert_eq!(key.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let token = Jws::parse("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg").unwrap();
    token.verify(&key.to_spki().unwrap()).unwrap();
    assert_eq!(token.payload(), b"Example of Ed25519 signing");
}

#[test]
fn the_thumbprint_example_of_rfc_7638_is_right() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let key = public(json!({"kty":"RSA","n":n,"e":"AQAB","alg":"RS256","kid":"2011-04-29"})).unwrap();
    assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert_eq!(key.key_id.as_deref(), Some("2011-04-29"));
}

/// What `step crypto jwk create` wrote under the password `pw`.
const STEP_JWE: &str = "eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJjdHkiOiJqd2sranNvbiIsImVuYyI6IkEyNTZHQ00iLCJwMmMiOjYwMDAwMCwicDJzIjoiQ0g1RTBmdEFUQWhIb0xPOU81RzJrdyJ9.xLFksq6W1QHiqkcyQfjBqbENFBbAdBIksrHRESfCqWzrFV2rCkQkcA.VQTE584VVlUOMSG_.Q30FwfrpZfzK4vj7YtHC-D6yg5tdbMthm-rR7VeGhD2WZApp2nYogeBwVcs9VxFThg7xJzsbhNeMbX6AoQqH6fLYCtOjYWlx_TQbwHBKM_XkQh7YvdRr3r6Na7qEoNIShCEsCsfgzIAPrf6lA_RJxWNwg-vt2ffGVRXtn0J8NdJY4aC2josHGsmZKsoDS_mHV2KMrUFeZjzATWJfMnj3GI8ReqZO7WNMRIOBhd2YNitVRgXGkM01mk120jW1bDIgyrR1GISHkbBaSAviE4OI2q5pXR8XCRbUvZ4yy4lnWP4rHiqSHjwuaJjbI50xoN_w-DLqfKtP3WfUU7LmwB8.EkNT2fbUtXiBSGPdbuBnZg";

#[test]
fn a_key_that_step_encrypted_is_opened_and_named_as_step_names_it() {
    let text = jwe::decrypt(STEP_JWE, b"pw").unwrap();
    let key = PrivateJwk::parse(&text).unwrap();
    assert_eq!(key.public().key_id.as_deref(), Some("-ZH5irFi_CRMZdfSzBxGMRJU2BRekE4vu6Ad2VmvIUU"));
    assert_eq!(key.public().thumbprint(), "-ZH5irFi_CRMZdfSzBxGMRJU2BRekE4vu6Ad2VmvIUU");
    assert_eq!(key.public().algorithm.as_deref(), Some("ES256"));
}

#[test]
fn the_json_form_that_step_writes_to_files_is_opened_too() {
    let parts: Vec<&str> = STEP_JWE.split('.').collect();
    let json = json!({"protected": parts[0], "encrypted_key": parts[1], "iv": parts[2], "ciphertext": parts[3], "tag": parts[4]});
    assert!(jwe::decrypt(&json.to_string(), b"pw").is_ok());
}

#[test]
fn a_wrong_password_and_a_changed_text_are_told_apart() {
    assert!(matches!(jwe::decrypt(STEP_JWE, b"no"), Err(JweError::WrongPassword)));
    let mut parts: Vec<String> = STEP_JWE.split('.').map(str::to_owned).collect();
    parts[3].replace_range(0..1, "A");
    assert!(matches!(jwe::decrypt(&parts.join("."), b"pw"), Err(JweError::Tampered)));
}

#[test]
fn what_we_encrypt_we_decrypt() {
    let randomness = jwe::Randomness { salt: [1; 16], content_key: Zeroizing::new([2; 32]), nonce: [3; 12] };
    let text = jwe::encrypt(b"secret", b"pw", "jwk+json", &randomness).unwrap();
    assert_eq!(jwe::decrypt(&text, b"pw").unwrap().as_slice(), b"secret");
}

#[test]
fn a_text_that_asks_for_too_many_rounds_is_refused_at_once() {
    for (rounds, header) in [
        (
            u64::from(jwe::MAX_ROUNDS) + 1,
            json!({"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":jwe::MAX_ROUNDS + 1,"p2s":"AAAA"}),
        ),
        (0, json!({"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2s":"AAAA"})),
        (u64::MAX, json!({"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":u64::MAX,"p2s":"AAAA"})),
    ] {
        let text = format!("{}.AA.AA.AA.AA", bytes::encode(header.to_string().as_bytes()));
        assert!(matches!(jwe::decrypt(&text, b"pw"), Err(JweError::Rounds(asked)) if asked == rounds));
    }
}

#[test]
fn each_kind_of_key_signs_verifies_and_survives_as_jwk() {
    for key in keys() {
        let token = jws::sign(json!({"kid": "k"}).as_object().unwrap(), br#"{"sub":"s"}"#, &key).unwrap();
        let read = Jws::parse(&token).unwrap();
        read.verify(key.public_key()).unwrap();
        assert_eq!(read.key_id(), Some("k"));

        let private = PrivateJwk::from_private_key(&key.0).unwrap();
        let again = PrivateJwk::parse(private.to_json().unwrap().as_bytes()).unwrap();
        assert_eq!(again.public(), private.public());
        assert_eq!(again.private_key().public_key(), key.public_key());
        assert_eq!(again.public().to_spki().unwrap(), key.public_key());
        let token = jws::sign(&Map::new(), b"{}", &MemoryKey(again.private_key().clone())).unwrap();
        Jws::parse(&token).unwrap().verify(key.public_key()).unwrap();
    }
}

#[test]
fn a_changed_token_and_another_key_are_refused() {
    let keys = keys();
    for key in &keys {
        let token = jws::sign(&Map::new(), br#"{"sub":"s"}"#, key).unwrap();
        let (head, rest) = token.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let changed = format!("{head}.{}.{signature}", bytes::encode(br#"{"sub":"t"}"#));
        assert!(matches!(Jws::parse(&changed).unwrap().verify(key.public_key()), Err(JwsError::Signature(_))));
        for other in keys.iter().filter(|other| other.kind() != key.kind()) {
            assert!(matches!(
                Jws::parse(&token).unwrap().verify(other.public_key()),
                Err(JwsError::AlgorithmDoesNotFit { .. })
            ));
        }
    }
}

#[test]
fn rsa_pss_is_spoken_too() {
    let key = keys().pop().unwrap();
    let token = jws::sign_with(Algorithm::Ps256, &Map::new(), b"{}", &key).unwrap();
    Jws::parse(&token).unwrap().verify(key.public_key()).unwrap();
}

#[test]
fn none_symmetric_and_unknown_algorithms_and_extensions_are_refused() {
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS256"}"#, r#"{"alg":"es256"}"#, r#"{}"#, r#"{"alg":7}"#] {
        let token = format!("{}.{}.", bytes::encode(header.as_bytes()), bytes::encode(b"{}"));
        assert!(matches!(Jws::parse(&token), Err(JwsError::Algorithm(_))), "{header}");
    }
    let critical = format!("{}.e30.AA", bytes::encode(br#"{"alg":"ES256","crit":["b64"],"b64":false}"#));
    assert!(matches!(Jws::parse(&critical), Err(JwsError::Critical)));
}

#[test]
fn a_jwk_with_a_point_off_its_curve_a_wrong_width_or_another_half_is_refused() {
    let mut key = rfc7515_key();
    key["y"] = json!(bytes::encode(&[7; 32]));
    let off_curve = public(key.clone()).and_then(|jwk| {
        let token = Jws::parse(RFC7515_ES256).unwrap();
        token.verify(&jwk.to_spki()?).map_err(|_| JwkError::PublicKey)
    });
    assert!(off_curve.is_err());
    key["y"] = json!(bytes::encode(&[7; 31]));
    assert!(matches!(public(key), Err(JwkError::Field("y"))));
    let mut other_half = rfc7515_key();
    other_half["d"] = json!(bytes::encode(&[9; 32]));
    assert!(PrivateJwk::parse(other_half.to_string().as_bytes()).is_err());
    assert!(matches!(public(json!({"kty":"oct","k":"AA"})), Err(JwkError::Unsupported(_))));
}

#[test]
fn a_private_jwk_never_shows_its_private_half() {
    let key = PrivateJwk::parse(rfc7515_key().to_string().as_bytes()).unwrap();
    assert!(!format!("{key:?}").contains("jpsQnnGQ"));
    assert!(!Value::Object(key.public().to_object()).to_string().contains("\"d\""));
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in ".{0,300}") {
        let _ = Jws::parse(&text);
        let _ = jwe::decrypt(&text, b"pw");
        let _ = PublicJwk::parse(&text);
        let _ = PrivateJwk::parse(text.as_bytes());
    }

    #[test]
    fn any_three_parts_are_read_without_a_panic(header in any::<Vec<u8>>(), payload in any::<Vec<u8>>(), signature in any::<Vec<u8>>()) {
        let _ = Jws::parse(&[header, payload, signature].map(|part| bytes::encode(&part)).join("."));
    }

    #[test]
    fn any_signature_is_judged_without_a_panic(signature in proptest::collection::vec(any::<u8>(), 0..140)) {
        let head = RFC7515_ES256.rsplit_once('.').unwrap().0;
        let token = Jws::parse(&format!("{head}.{}", bytes::encode(&signature))).unwrap();
        prop_assert!(token.verify(&public(rfc7515_key()).unwrap().to_spki().unwrap()).is_err());
    }

    #[test]
    fn any_numbers_make_a_jwk_or_an_error(x in any::<Vec<u8>>(), y in any::<Vec<u8>>(), kind in 0..3) {
        let (x, y) = (bytes::encode(&x), bytes::encode(&y));
        let _ = match kind {
            0 => public(json!({"kty":"EC","crv":"P-256","x":x,"y":y})),
            1 => public(json!({"kty":"OKP","crv":"Ed25519","x":x})),
            _ => public(json!({"kty":"RSA","n":x,"e":y})),
        };
        let _ = PrivateJwk::parse(json!({"kty":"RSA","n":x,"e":y,"d":x,"p":y,"q":x,"dp":y,"dq":x,"qi":y}).to_string().as_bytes());
    }
}

#[test]
fn a_jwk_text_beyond_the_limit_is_refused() {
    assert!(matches!(PublicJwk::parse(&" ".repeat(jwk::MAX_TEXT + 1)), Err(JwkError::TooLong)));
}
