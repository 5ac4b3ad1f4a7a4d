//! Private keys judged by openssl in both directions, and by the real step where it is installed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const PASSWORD: &[u8] = b"correct horse \xc3\xa4";

struct Openssl {
    folder: TempDir,
}

impl Openssl {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs openssl in the folder; the password is in `$PW`.
    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.try_run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn try_run(&self, arguments: &[&str]) -> std::process::Output {
        Command::new("openssl")
            .args(arguments)
            .current_dir(self.folder.path())
            .env("PW", OsStr::new(std::str::from_utf8(PASSWORD).unwrap()))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn generate(&self, kind: KeyKind) {
        let options: &[&str] = match kind {
            KeyKind::EcP256 => &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            KeyKind::EcP384 => &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            KeyKind::EcP521 => &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
            KeyKind::Ed25519 => &["Ed25519"],
            KeyKind::Rsa(2048) => &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            KeyKind::Rsa(_) => &["RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
        };
        self.run(&[&["genpkey", "-algorithm"], options, &["-out", "key"]].concat());
    }

    fn public_key(&self, file: &str) -> Vec<u8> {
        self.run(&["pkey", "-in", file, "-passin", "env:PW", "-pubout", "-outform", "DER"])
    }

    fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.path(file)).unwrap()
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).unwrap();
    }
}

const KINDS: [KeyKind; 6] =
    [KeyKind::EcP256, KeyKind::EcP384, KeyKind::EcP521, KeyKind::Ed25519, KeyKind::Rsa(2048), KeyKind::Rsa(3072)];

fn step() -> Option<PathBuf> {
    let path = Path::new(&std::env::var_os("HOME")?).join("go/bin/step");
    path.exists().then_some(path)
}

#[test]
fn what_openssl_writes_plain_is_read_with_the_same_public_half() {
    let openssl = Openssl::new();
    for kind in KINDS {
        openssl.generate(kind);
        let parsed = PrivateKey::parse_pem(&openssl.read("key"), None).unwrap();
        assert_eq!((parsed.encoding, parsed.encrypted, parsed.key.kind()), (Encoding::Pkcs8, false, kind));
        assert_eq!(parsed.key.public_key(), openssl.public_key("key"));

        if kind != KeyKind::Ed25519 {
            openssl.run(&["pkey", "-in", "key", "-traditional", "-out", "traditional"]);
            let traditional = PrivateKey::parse_pem(&openssl.read("traditional"), None).unwrap();
            assert_eq!(traditional.encoding, Encoding::traditional(kind));
            assert_eq!(traditional.key.pkcs8_der(), parsed.key.pkcs8_der());
        }
    }
}

#[test]
fn what_is_written_plain_is_read_by_openssl_and_by_ourselves() {
    let openssl = Openssl::new();
    for kind in KINDS {
        openssl.generate(kind);
        let key = PrivateKey::parse_pem(&openssl.read("key"), None).unwrap().key;
        for encoding in [Encoding::Pkcs8, Encoding::Sec1, Encoding::Pkcs1] {
            let text = match key.to_pem(encoding) {
                Ok(text) => text,
                Err(error) => {
                    assert_eq!(error, PrivateKeyError::EncodingDoesNotFit { kind, encoding });
                    assert_ne!(encoding, Encoding::Pkcs8);
                    assert_ne!(encoding, Encoding::traditional(kind));
                    continue;
                }
            };
            openssl.write("ours", &text);
            assert_eq!(openssl.public_key("ours"), key.public_key());
            openssl.run(&["pkey", "-in", "ours", "-check", "-noout"]);
            let again = PrivateKey::parse_pem(text.as_bytes(), None).unwrap();
            assert_eq!((again.encoding, again.key.pkcs8_der()), (encoding, key.pkcs8_der()));
            if encoding == Encoding::traditional(kind) && kind != KeyKind::Ed25519 {
                openssl.run(&["pkey", "-in", "key", "-traditional", "-out", "theirs"]);
                assert_eq!(text.as_bytes(), openssl.read("theirs"), "{kind} as {encoding}");
            }
        }
    }
}

#[test]
fn what_is_written_encrypted_is_read_by_openssl() {
    let openssl = Openssl::new();
    for kind in KINDS {
        openssl.generate(kind);
        let key = PrivateKey::parse_pem(&openssl.read("key"), None).unwrap().key;
        let text = key.to_encrypted_pem(&Encryption { password: PASSWORD, salt: [7; 16], iv: [9; 16] }).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        openssl.write("ours", &text);
        assert_eq!(openssl.public_key("ours"), key.public_key());
        let shown = openssl.run(&["asn1parse", "-in", "ours"]);
        let shown = String::from_utf8_lossy(&shown).into_owned();
        for expected in ["PBES2", "PBKDF2", "hmacWithSHA256", "aes-256-cbc", ":0927C0"] {
            assert!(shown.contains(expected), "{expected} in {shown}");
        }
        let parsed = PrivateKey::parse_pem(text.as_bytes(), Some(PASSWORD)).unwrap();
        assert!(parsed.encrypted);
        assert_eq!(parsed.key.pkcs8_der(), key.pkcs8_der());
        assert_eq!(PrivateKey::parse_pem(text.as_bytes(), None).unwrap_err(), PrivateKeyError::PasswordRequired);
    }
}

#[test]
fn every_pkcs8_encryption_of_openssl_is_opened() {
    let openssl = Openssl::new();
    openssl.generate(KeyKind::EcP256);
    let expected = openssl.public_key("key");
    let schemes: [&[&str]; 12] = [
        &["-v2", "aes-128-cbc"],
        &["-v2", "aes-192-cbc"],
        &["-v2", "aes-256-cbc"],
        &["-v2", "des3"],
        &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1"],
        &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA224"],
        &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA384"],
        &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512"],
        &["-v2", "des3", "-v2prf", "hmacWithSHA224"],
        &["-v2", "aes-256-cbc", "-iter", "100000"],
        &["-scrypt"],
        &["-scrypt", "-scrypt_N", "4096", "-scrypt_r", "4", "-scrypt_p", "2"],
    ];
    for scheme in schemes {
        openssl.run(&[&["pkcs8", "-topk8", "-in", "key", "-out", "encrypted", "-passout", "env:PW"], scheme].concat());
        let text = openssl.read("encrypted");
        let parsed = PrivateKey::parse_pem(&text, Some(PASSWORD)).unwrap_or_else(|error| panic!("{scheme:?}: {error}"));
        assert_eq!(parsed.key.public_key(), expected, "{scheme:?}");
        assert!(parsed.encrypted);
        assert_eq!(PrivateKey::parse_pem(&text, None).unwrap_err(), PrivateKeyError::PasswordRequired);
        assert_eq!(PrivateKey::parse_pem(&text, Some(b"")).unwrap_err(), PrivateKeyError::WrongPassword);
    }
}

#[test]
fn every_legacy_encryption_of_openssl_is_opened() {
    let openssl = Openssl::new();
    for kind in [KeyKind::EcP256, KeyKind::EcP521, KeyKind::Rsa(2048)] {
        openssl.generate(kind);
        let expected = openssl.public_key("key");
        for cipher in ["-aes128", "-aes192", "-aes256", "-des3"] {
            openssl.run(&["pkey", "-in", "key", "-traditional", cipher, "-out", "encrypted", "-passout", "env:PW"]);
            let text = openssl.read("encrypted");
            assert!(text.windows(8).any(|window| window == b"DEK-Info"));
            let parsed = PrivateKey::parse_pem(&text, Some(PASSWORD)).unwrap();
            assert_eq!(parsed.key.public_key(), expected, "{kind} {cipher}");
            assert_eq!((parsed.encrypted, parsed.encoding), (true, Encoding::traditional(kind)));
            assert_eq!(PrivateKey::parse_pem(&text, None).unwrap_err(), PrivateKeyError::PasswordRequired);
        }
    }
}

#[test]
fn of_three_hundred_wrong_passwords_none_passes_or_is_called_anything_else() {
    // One in 256 decrypts to valid padding by accident; this many make sure that the case comes up.
    let openssl = Openssl::new();
    openssl.generate(KeyKind::EcP256);
    openssl.run(&["pkey", "-in", "key", "-traditional", "-des3", "-out", "legacy", "-passout", "env:PW"]);
    openssl.run(&["pkcs8", "-topk8", "-in", "key", "-iter", "1", "-out", "pbes2", "-passout", "env:PW"]);
    for file in ["legacy", "pbes2"] {
        let text = openssl.read(file);
        for number in 0..300 {
            let wrong = format!("wrong {number}");
            assert_eq!(
                PrivateKey::parse_pem(&text, Some(wrong.as_bytes())).unwrap_err(),
                PrivateKeyError::WrongPassword
            );
        }
    }
}

#[test]
fn a_key_is_found_behind_ec_parameters_and_certificates() {
    let openssl = Openssl::new();
    openssl.run(&["ecparam", "-name", "prime256v1", "-genkey", "-out", "key"]);
    let text = openssl.read("key");
    assert!(text.starts_with(b"-----BEGIN EC PARAMETERS-----"));
    let parsed = PrivateKey::parse_pem(&text, None).unwrap();
    assert_eq!(parsed.encoding, Encoding::Sec1);
    assert_eq!(parsed.key.public_key(), openssl.public_key("key"));

    openssl.run(&["req", "-x509", "-key", "key", "-subj", "/CN=x", "-out", "certificate"]);
    let bundle = [openssl.read("certificate"), b"some text\n".to_vec(), text].concat();
    assert_eq!(PrivateKey::parse_pem(&bundle, None).unwrap().key.pkcs8_der(), parsed.key.pkcs8_der());
    assert_eq!(PrivateKey::parse_pem(&openssl.read("certificate"), None).unwrap_err(), PrivateKeyError::NotFound);
}

#[test]
fn version_two_keys_are_read_and_their_public_half_is_checked() {
    let openssl = Openssl::new();
    openssl.generate(KeyKind::Ed25519);
    let key = PrivateKey::parse_pem(&openssl.read("key"), None).unwrap().key;
    let seed = &key.pkcs8_der()[16..];
    let public = &key.public_key()[12..];
    let version_two = |public: &[u8]| {
        encode::element(
            0x30,
            &[
                &encode::element(0x02, &[&[1]]),
                &encode::algorithm(crate::signer::OID_ED25519, &[]),
                &encode::element(0x04, &[&encode::element(0x04, &[seed])]),
                &encode::element(0x81, &[&[0], public]),
            ],
        )
    };
    let parsed = PrivateKey::from_pkcs8_der(&version_two(public)).unwrap();
    assert_eq!(parsed.pkcs8_der(), key.pkcs8_der());
    assert_eq!(PrivateKey::from_pkcs8_der(&version_two(&[1; 32])).unwrap_err(), PrivateKeyError::Malformed);
}

#[test]
fn a_public_point_that_belongs_to_another_key_is_refused() {
    let one = PrivateKey::from_ec_scalar(KeyKind::EcP256, &[1; 32]).unwrap();
    let other = PrivateKey::from_ec_scalar(KeyKind::EcP256, &[2; 32]).unwrap();
    let point = |key: &PrivateKey| key.public_key()[26..].to_vec();
    let curve = crate::signer::curve_of_kind(KeyKind::EcP256);
    let sec1 = |point: &[u8]| encode::sec1(&[1; 32], curve, Some(point));
    assert_eq!(PrivateKey::from_sec1_der(&sec1(&point(&one))).unwrap().pkcs8_der(), one.pkcs8_der());
    assert_eq!(PrivateKey::from_sec1_der(&sec1(&point(&other))).unwrap_err(), PrivateKeyError::Malformed);

    let uncompressed = point(&one);
    let parity = 2 + (uncompressed[64] & 1);
    let compressed = |parity: u8| [&[parity][..], &uncompressed[1..33]].concat();
    assert!(PrivateKey::from_sec1_der(&sec1(&compressed(parity))).is_ok());
    assert_eq!(PrivateKey::from_sec1_der(&sec1(&compressed(5 - parity))).unwrap_err(), PrivateKeyError::Malformed);
}

#[test]
fn private_numbers_without_their_leading_zeros_are_read() {
    let mut scalar = [0x11; 32];
    scalar[0] = 0;
    let whole = PrivateKey::from_ec_scalar(KeyKind::EcP256, &scalar).unwrap();
    let short = PrivateKey::from_ec_scalar(KeyKind::EcP256, &scalar[1..]).unwrap();
    assert_eq!(whole.pkcs8_der(), short.pkcs8_der());
    assert_eq!(PrivateKey::from_ec_scalar(KeyKind::EcP256, &[0; 32]).unwrap_err(), PrivateKeyError::Malformed);
    assert_eq!(PrivateKey::from_ec_scalar(KeyKind::EcP256, &[0xff; 32]).unwrap_err(), PrivateKeyError::Malformed);
    assert_eq!(PrivateKey::from_ec_scalar(KeyKind::EcP256, &[1; 33]).unwrap_err(), PrivateKeyError::Malformed);
}

#[test]
fn what_is_not_supported_is_said_to_be() {
    let openssl = Openssl::new();
    openssl.run(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024", "-out", "weak"]);
    openssl.run(&["genpkey", "-algorithm", "X25519", "-out", "exchange"]);
    openssl.run(&["ecparam", "-name", "secp256k1", "-genkey", "-noout", "-out", "koblitz"]);
    openssl.run(&["ecparam", "-name", "prime256v1", "-param_enc", "explicit", "-genkey", "-noout", "-out", "explicit"]);
    for file in ["weak", "exchange", "koblitz", "explicit"] {
        assert_eq!(
            PrivateKey::parse_pem(&openssl.read(file), None).unwrap_err(),
            PrivateKeyError::UnsupportedKind,
            "{file}"
        );
    }
    openssl.generate(KeyKind::EcP256);
    openssl.run(&["pkcs8", "-topk8", "-in", "key", "-v1", "PBE-SHA1-3DES", "-out", "pkcs12", "-passout", "env:PW"]);
    assert_eq!(
        PrivateKey::parse_pem(&openssl.read("pkcs12"), Some(PASSWORD)).unwrap_err(),
        PrivateKeyError::UnsupportedEncryption("1.2.840.113549.1.12.1.3".into())
    );
    openssl.run(&["pkey", "-in", "key", "-traditional", "-camellia256", "-out", "other", "-passout", "env:PW"]);
    assert_eq!(
        PrivateKey::parse_pem(&openssl.read("other"), Some(PASSWORD)).unwrap_err(),
        PrivateKeyError::UnsupportedEncryption("CAMELLIA-256-CBC".into())
    );
    let openssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    assert_eq!(
        PrivateKey::parse_pem(openssh.as_bytes(), None).unwrap_err(),
        PrivateKeyError::UnsupportedFormat("OPENSSH PRIVATE KEY".into())
    );
}

#[test]
fn a_file_cannot_make_us_work_for_minutes() {
    let key = PrivateKey::from_ec_scalar(KeyKind::EcP256, &[1; 32]).unwrap();
    let text = key.to_encrypted_pem(&Encryption { password: PASSWORD, salt: [7; 16], iv: [9; 16] }).unwrap();
    let der = pem::parse(text.as_bytes()).unwrap().remove(0).der;
    // 600,000 iterations are 0x0927c0; the same length holds 8,388,607 and, one octet longer, billions.
    let at = der.windows(5).position(|window| window == [0x02, 0x03, 0x09, 0x27, 0xc0]).unwrap();
    let too_many = [&[0x02, 0x04, 0x7f, 0xff][..], &[0xff, 0xff]].concat();
    // The lengths of what surrounds the number grow by one as well; every one of them is below 128 here.
    let mut patched = [&der[..at], &too_many, &der[at + 5..]].concat();
    for (index, octet) in der[..at].iter().enumerate() {
        let is_length = index > 0 && der[index - 1] == 0x30 && *octet < 0x80;
        if is_length && index + 1 + usize::from(*octet) > at {
            patched[index] += 1;
        }
    }
    patched[2] += 1;
    let openssl = Openssl::new();
    std::fs::write(openssl.path("patched"), &patched).unwrap();
    let shown = openssl.run(&["asn1parse", "-inform", "DER", "-in", "patched"]);
    assert!(String::from_utf8_lossy(&shown).contains(":7FFFFFFF"), "the patch must be sound, or this proves nothing");

    let started = std::time::Instant::now();
    let error = PrivateKey::parse_pem(pem::encode("ENCRYPTED PRIVATE KEY", &patched).as_bytes(), Some(PASSWORD));
    assert!(
        matches!(&error, Err(PrivateKeyError::UnsupportedEncryption(what)) if what.contains("out of bounds")),
        "{error:?}"
    );
    assert!(started.elapsed().as_secs() < 5);
}

#[test]
fn scrypt_gets_neither_all_memory_nor_all_time() {
    let element = encode::element;
    let number = |number: u64| {
        let octets: Vec<u8> = number.to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
        element(0x02, &[&[0][..octets.first().map_or(1, |first| usize::from(first >> 7))], &octets])
    };
    for (cost, block, parallelization) in
        [(1 << 30, 8, 1), (1 << 14, 8, 1 << 20), (1 << 14, 1 << 40, 1), (0, 8, 1), (3, 8, 1), (16, 0, 1), (16, 8, 0)]
    {
        let salt = element(0x04, &[&[1; 8]]);
        let parameters = element(0x30, &[&salt, &number(cost), &number(block), &number(parallelization)]);
        let scrypt = element(0x30, &[b"\x06\x09\x2b\x06\x01\x04\x01\xda\x47\x04\x0b", &parameters]);
        let cipher = element(0x30, &[b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01\x2a", &element(0x04, &[&[2; 16]])]);
        let pbes2 =
            element(0x30, &[b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d", &element(0x30, &[&scrypt, &cipher])]);
        let whole = element(0x30, &[&pbes2, &element(0x04, &[&[3; 32]])]);
        let error = PrivateKey::parse_pem(pem::encode("ENCRYPTED PRIVATE KEY", &whole).as_bytes(), Some(PASSWORD));
        assert!(
            matches!(&error, Err(PrivateKeyError::UnsupportedEncryption(what)) if what.contains("out of bounds")),
            "{cost} {block} {parallelization}: {error:?}"
        );
    }
}

#[test]
fn nothing_secret_is_shown_by_debug() {
    let key = PrivateKey::from_ec_scalar(KeyKind::EcP256, &[0x41; 32]).unwrap();
    assert_eq!(format!("{key:?}"), "PrivateKey { kind: EcP256, .. }");
}

#[test]
fn the_real_step_reads_our_keys_and_we_read_its() {
    let Some(step) = step() else {
        eprintln!("SKIPPED: ~/go/bin/step is not installed");
        return;
    };
    let openssl = Openssl::new();
    openssl.write("password", std::str::from_utf8(PASSWORD).unwrap());
    let run = |arguments: &[&str]| {
        let output = Command::new(&step)
            .args(arguments)
            .current_dir(openssl.folder.path())
            .env("STEPPATH", openssl.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let kinds: [(&[&str], KeyKind); 5] = [
        (&["--kty", "EC", "--curve", "P-256"], KeyKind::EcP256),
        (&["--kty", "EC", "--curve", "P-384"], KeyKind::EcP384),
        (&["--kty", "EC", "--curve", "P-521"], KeyKind::EcP521),
        (&["--kty", "OKP", "--curve", "Ed25519"], KeyKind::Ed25519),
        (&["--kty", "RSA", "--size", "2048"], KeyKind::Rsa(2048)),
    ];
    for (options, kind) in kinds {
        for protection in [&["--no-password", "--insecure"][..], &["--password-file", "password"]] {
            run(&[&["crypto", "keypair", "public", "private", "--force"], options, protection].concat());
            let password = (protection.len() == 2 && protection[0] == "--password-file").then_some(PASSWORD);
            let parsed = PrivateKey::parse_pem(&openssl.read("private"), password).unwrap();
            let public = pem::parse(&openssl.read("public")).unwrap().remove(0).der;
            assert_eq!((parsed.key.kind(), parsed.key.public_key()), (kind, public.as_slice()));
            assert_eq!(parsed.encrypted, password.is_some());

            let encryption = Encryption { password: PASSWORD, salt: [1; 16], iv: [2; 16] };
            openssl.write("ours", &parsed.key.to_encrypted_pem(&encryption).unwrap());
            let shown = run(&["crypto", "key", "public", "ours", "--password-file", "password"]);
            assert_eq!(pem::parse(&shown).unwrap().remove(0).der, public, "{kind}");
            for encoding in [Encoding::Pkcs8, Encoding::traditional(kind)] {
                openssl.write("ours", &parsed.key.to_pem(encoding).unwrap());
                assert_eq!(pem::parse(&run(&["crypto", "key", "public", "ours"])).unwrap().remove(0).der, public);
                let formatted = run(&["crypto", "key", "format", "--pem", "--no-password", "--insecure", "ours"]);
                let again = PrivateKey::parse_pem(&formatted, None).unwrap();
                assert_eq!(again.key.pkcs8_der(), parsed.key.pkcs8_der());
            }
        }
    }
}

#[test]
fn keys_of_a_ca_that_the_real_step_made_are_opened() {
    let Some(step) = step() else {
        eprintln!("SKIPPED: ~/go/bin/step is not installed");
        return;
    };
    let openssl = Openssl::new();
    openssl.write("password", std::str::from_utf8(PASSWORD).unwrap());
    let output = Command::new(step)
        .args(["ca", "init", "--name", "Lab", "--dns", "localhost", "--address", ":9000", "--provisioner", "admin"])
        .args(["--password-file", "password", "--deployment-type", "standalone", "--ssh"])
        .current_dir(openssl.folder.path())
        .env("STEPPATH", openssl.folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (key, certificate) in [("root_ca_key", "root_ca.crt"), ("intermediate_ca_key", "intermediate_ca.crt")] {
        let text = openssl.read(&format!("secrets/{key}"));
        let parsed = PrivateKey::parse_pem(&text, Some(PASSWORD)).unwrap();
        assert!(parsed.encrypted);
        let certificate = openssl.read(&format!("certs/{certificate}"));
        let certificate = crate::x509::certificate::Certificate::from_pem(&certificate).unwrap();
        assert_eq!(parsed.key.public_key(), certificate.spki());
        assert_eq!(PrivateKey::parse_pem(&text, Some(b"wrong")).unwrap_err(), PrivateKeyError::WrongPassword);
    }
    for (key, line) in [("ssh_host_ca_key", "ssh_host_ca_key.pub"), ("ssh_user_ca_key", "ssh_user_ca_key.pub")] {
        let parsed = PrivateKey::parse_pem(&openssl.read(&format!("secrets/{key}")), Some(PASSWORD)).unwrap();
        let theirs = String::from_utf8(openssl.read(&format!("certs/{line}"))).unwrap();
        let ours = crate::ssh::public_key_line(parsed.key.public_key(), "").unwrap();
        assert_eq!(ours.trim_end(), theirs.trim_end());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn garbage_in_any_block_never_panics(
        der in proptest::collection::vec(any::<u8>(), 0..200),
        password in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..8)),
    ) {
        for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
            let _ = PrivateKey::parse_pem(pem::encode(label, &der).as_bytes(), password.as_deref());
        }
        let _ = PrivateKey::parse_pem(&der, password.as_deref());
    }

    #[test]
    fn a_damaged_key_is_refused_or_is_still_one_whole_key(
        index in 0_usize..138,
        octet in any::<u8>(),
    ) {
        let key = PrivateKey::from_ec_scalar(KeyKind::EcP256, &[1; 32]).unwrap();
        let mut der = key.pkcs8_der().to_vec();
        prop_assert_eq!(der.len(), 138);
        der[index] = octet;
        if let Ok(read) = PrivateKey::from_pkcs8_der(&der) {
            prop_assert_eq!(read.public_key(), key.public_key());
        }
    }

    #[test]
    fn a_damaged_encrypted_key_is_refused_without_a_panic(index in 0_usize..160, octet in any::<u8>()) {
        let openssl_like = include_bytes!("testdata/pbes2.der");
        let mut der = openssl_like.to_vec();
        let index = index % der.len();
        der[index] = octet;
        let _ = PrivateKey::parse_pem(pem::encode("ENCRYPTED PRIVATE KEY", &der).as_bytes(), Some(b"x"));
    }
}
