//! The command `openssl` as the judge of what Keywheel reads and writes, and as a source of keys and certificates.

use crate::private_key::KeyKind;
use crate::signer::{SignError, SignatureScheme, Signer};
use crate::x509::certificate::{self, Certificate};
use crate::x509::extension::alt_name::{self, GeneralName};
use crate::x509::extension::constraints::BasicConstraints;
use crate::x509::extension::usage::{self, KeyUsage};
use crate::x509::extension::{Extension, key_identifier};
use crate::x509::name::Name;
use crate::x509::oid::Oid;
use crate::x509::tbs::TbsBuilder;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature as aws;
use jiff::Timestamp;
use keywheel_core::serial::Serial;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A folder in which openssl works.
pub(crate) struct Judge {
    folder: TempDir,
}

/// A key that openssl made and aws-lc-rs signs with.
pub(crate) struct Key {
    pkcs8: Vec<u8>,
    spki: Vec<u8>,
    kind: KeyKind,
}

pub(crate) const KINDS: [KeyKind; 5] =
    [KeyKind::EcP256, KeyKind::EcP384, KeyKind::EcP521, KeyKind::Ed25519, KeyKind::Rsa(2048)];

impl Judge {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// What openssl says, on both streams; fails the test where openssl fails.
    pub(crate) fn accepts(&self, arguments: &str) -> String {
        let (good, said) = self.run(arguments);
        assert!(good, "openssl {arguments}\n{said}");
        said
    }

    /// What openssl says when it must fail.
    pub(crate) fn refuses(&self, arguments: &str) -> String {
        let (good, said) = self.run(arguments);
        assert!(!good, "openssl {arguments}\n{said}");
        said
    }

    fn run(&self, arguments: &str) -> (bool, String) {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .env("OPENSSL_CONF", "/dev/null")
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// A fresh key, also as `NAME.key` (PEM).
    pub(crate) fn key(&self, name: &str, kind: KeyKind) -> Key {
        let options = match kind {
            KeyKind::EcP256 => "EC -pkeyopt ec_paramgen_curve:P-256".to_owned(),
            KeyKind::EcP384 => "EC -pkeyopt ec_paramgen_curve:P-384".to_owned(),
            KeyKind::EcP521 => "EC -pkeyopt ec_paramgen_curve:P-521".to_owned(),
            KeyKind::Ed25519 => "ED25519".to_owned(),
            KeyKind::Rsa(bits) => format!("RSA -pkeyopt rsa_keygen_bits:{bits}"),
        };
        self.accepts(&format!("genpkey -algorithm {options} -out {name}.key"));
        self.accepts(&format!("pkcs8 -topk8 -nocrypt -in {name}.key -outform DER -out {name}.p8"));
        self.accepts(&format!("pkey -in {name}.key -pubout -outform DER -out {name}.pub"));
        Key { pkcs8: self.read(&format!("{name}.p8")), spki: self.read(&format!("{name}.pub")), kind }
    }

    /// A root, also as `NAME.crt`.
    pub(crate) fn root(&self, name: &str, kind: KeyKind, extra: &[Extension]) -> (Key, Certificate) {
        let key = self.key(name, kind);
        let mut extensions = ca_extensions(&key, &key, Some(1));
        extensions.extend_from_slice(extra);
        let subject = Name::with_common_name(name);
        let root = issue(&key, &subject, &subject, &key.spki, extensions);
        self.write(&format!("{name}.crt"), root.to_pem());
        (key, root)
    }
}

impl Signer for Key {
    fn public_key(&self) -> &[u8] {
        &self.spki
    }

    fn kind(&self) -> KeyKind {
        self.kind
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, SignError> {
        assert_eq!(scheme, SignatureScheme::default_for(self.kind));
        let random = SystemRandom::new();
        let ecdsa = |algorithm| {
            let pair = aws::EcdsaKeyPair::from_pkcs8(algorithm, &self.pkcs8).unwrap();
            pair.sign(&random, message).unwrap().as_ref().to_vec()
        };
        Ok(match self.kind {
            KeyKind::EcP256 => ecdsa(&aws::ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyKind::EcP384 => ecdsa(&aws::ECDSA_P384_SHA384_ASN1_SIGNING),
            KeyKind::EcP521 => ecdsa(&aws::ECDSA_P521_SHA512_ASN1_SIGNING),
            KeyKind::Ed25519 => {
                let pair = aws::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&self.pkcs8).unwrap();
                pair.sign(message).as_ref().to_vec()
            }
            KeyKind::Rsa(_) => {
                let pair = aws::RsaKeyPair::from_pkcs8(&self.pkcs8).unwrap();
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&aws::RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
        })
    }
}

/// A certificate from 2026 to 2036.
pub(crate) fn issue(
    signer: &Key,
    issuer: &Name,
    subject: &Name,
    spki: &[u8],
    extensions: Vec<Extension>,
) -> Certificate {
    issue_between(signer, issuer, subject, spki, extensions, ("2026-01-01T00:00:00Z", "2036-01-01T00:00:00Z"))
}

pub(crate) fn issue_between(
    signer: &Key,
    issuer: &Name,
    subject: &Name,
    spki: &[u8],
    extensions: Vec<Extension>,
    (from, until): (&str, &str),
) -> Certificate {
    let scheme = SignatureScheme::default_for(signer.kind);
    let tbs = TbsBuilder {
        serial: Serial::from_random([7; 16]),
        scheme,
        issuer: issuer.clone(),
        not_before: at(from),
        not_after: at(until),
        subject: subject.clone(),
        spki: spki.to_vec(),
        extensions,
    }
    .build()
    .unwrap();
    let signature = signer.sign(scheme, &tbs).unwrap();
    Certificate::from_der(&certificate::assemble(&tbs, scheme, &signature)).unwrap()
}

pub(crate) fn ca_extensions(key: &Key, issuer: &Key, path_len: Option<u32>) -> Vec<Extension> {
    vec![
        BasicConstraints { ca: true, path_len }.extension(),
        KeyUsage::CERT_SIGN.with(KeyUsage::CRL_SIGN).extension(),
        key_identifier::subject(&key_identifier::of_key(&key.spki).unwrap()),
        key_identifier::authority(&key_identifier::of_key(&issuer.spki).unwrap()),
    ]
}

pub(crate) fn leaf_extensions(key: &Key, issuer: &Key, usages: &[Oid], names: &[&str]) -> Vec<Extension> {
    let names: Vec<GeneralName> = names.iter().map(|name| GeneralName::from_text(name)).collect();
    vec![
        KeyUsage::DIGITAL_SIGNATURE.extension(),
        usage::extended(usages),
        key_identifier::subject(&key_identifier::of_key(&key.spki).unwrap()),
        key_identifier::authority(&key_identifier::of_key(&issuer.spki).unwrap()),
        alt_name::extension(&names, false).unwrap(),
    ]
}

pub(crate) fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
