//! The cryptographic bound of a rekey: what the operations that no CA can leave out cost on this machine, and nothing else.
//!
//! `bound` prints one line of JSON: nanoseconds of CPU for each operation, all with the keys that the benchmark uses (P-256
//! certificates, X25519 or X25519MLKEM768 for the handshake). It calls the cryptographic library without anything around it.

use aws_lc_rs::agreement::{self, EphemeralPrivateKey, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::kem;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// As long as a to-be-signed leaf certificate with a name or two.
const CERTIFICATE: [u8; 450] = [0x5a; 450];
/// As long as the inside of a certificate request.
const REQUEST: [u8; 180] = [0x5a; 180];
/// What TLS 1.3 signs: 64 spaces, a text, a zero, a digest.
const TRANSCRIPT: [u8; 130] = [0x20; 130];

/// How long each operation is repeated, in nanoseconds of CPU.
const LONG_ENOUGH: u64 = 150_000_000;

fn main() -> Result<(), Failure> {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
    let public = pair.public_key().as_ref().to_vec();
    let parsed = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &public)?;
    let peer = PrivateKey::generate(&agreement::X25519)?.compute_public_key()?;
    let lattice = kem::DecapsulationKey::generate(&kem::ML_KEM_768)?.encapsulation_key()?;
    let lattice = lattice.key_bytes()?.as_ref().to_vec();
    let (on_transcript, on_request, on_certificate) =
        (pair.sign(&random, &TRANSCRIPT)?, pair.sign(&random, &REQUEST)?, pair.sign(&random, &CERTIFICATE)?);
    let verify = |message: &[u8], signature: &signature::Signature| -> Result<(), Failure> {
        // The key of a client is met for the first time: it is read each time.
        signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &public).verify(message, signature.as_ref())?;
        Ok(())
    };
    let report = serde_json::json!({
        "x25519": cost(|| {
            let own = EphemeralPrivateKey::generate(&agreement::X25519, &random)?;
            own.compute_public_key()?;
            let peer = UnparsedPublicKey::new(&agreement::X25519, peer.as_ref());
            agreement::agree_ephemeral(own, peer, aws_lc_rs::error::Unspecified, |_| Ok(()))?;
            Ok(())
        })?,
        "mlkem768": cost(|| {
            kem::EncapsulationKey::new(&kem::ML_KEM_768, &lattice)?.encapsulate()?;
            Ok(())
        })?,
        "handshake_signature": cost(|| {
            pair.sign(&random, &TRANSCRIPT)?;
            Ok(())
        })?,
        "client_proof": cost(|| verify(&TRANSCRIPT, &on_transcript))?,
        "client_chain": cost(|| verify(&CERTIFICATE, &on_certificate))?,
        "request": cost(|| verify(&REQUEST, &on_request))?,
        "certificate_signature": cost(|| {
            pair.sign(&random, &CERTIFICATE)?;
            Ok(())
        })?,
        "own_signature_verified": cost(|| Ok(parsed.verify_sig(&CERTIFICATE, on_certificate.as_ref())?))?,
    });
    println!("{report}");
    Ok(())
}

/// Nanoseconds of this thread's CPU for one run.
fn cost(mut run: impl FnMut() -> Result<(), Failure>) -> Result<u64, Failure> {
    let (start, mut runs) = (cpu()?, 0);
    loop {
        for _ in 0..50 {
            run()?;
        }
        runs += 50;
        let spent = cpu()? - start;
        if spent > LONG_ENOUGH {
            return Ok(spent / runs);
        }
    }
}

/// Nanoseconds that this thread has run; there is no other.
fn cpu() -> Result<u64, Failure> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}
