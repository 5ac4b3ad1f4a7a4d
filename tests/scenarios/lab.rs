//! A CA whose own keys are at hand, so that any certificate and any token of it can be made; questions go to it by curl.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::{SignedDuration, Timestamp};
use keywheel_core::serial::Serial;
use keywheel_signer::file_key::FileKey;
use keywheel_signer::random;
use keywheel_tests::ca::{Ca, PASSWORD, configuration, serve};
use keywheel_tests::place::Place;
use keywheel_tests::provisioner::{Provisioner, new_key, rekey_body};
use keywheel_wire::private_key::{Encoding, KeyKind};
use keywheel_wire::signer::{SignatureScheme, Signer};
use keywheel_wire::x509::certificate::{self, Certificate};
use keywheel_wire::x509::crl::Crl;
use keywheel_wire::x509::extension::Extension;
use keywheel_wire::x509::extension::alt_name::{self, GeneralName};
use keywheel_wire::x509::extension::key_identifier;
use keywheel_wire::x509::extension::provisioner::ProvisionerExtension;
use keywheel_wire::x509::extension::usage::{self, KeyUsage};
use keywheel_wire::x509::name::Name;
use keywheel_wire::x509::oid::{self, Oid};
use keywheel_wire::x509::tbs::TbsBuilder;
use serde_json::{Value, json};

/// Counts the files that questions and answers need.
static FILES: AtomicU32 = AtomicU32::new(0);

/// A running CA and its keys.
pub struct Lab {
    pub ca: Ca,
    /// The issuing certificate and its key.
    pub issuer: (Certificate, FileKey),
    /// Who makes its tokens.
    pub provisioner: Provisioner,
}

/// A certificate, its issuers and its key, in files and in memory.
pub struct Pair {
    pub certificate: Certificate,
    /// Leaf first.
    pub chain: Vec<Vec<u8>>,
    pub key: FileKey,
    files: (PathBuf, PathBuf),
}

/// A certificate that is made at will, by the CA's key but not by the CA.
pub struct Leaf<'a> {
    pub name: &'a str,
    /// From now.
    pub begins: SignedDuration,
    pub ends: SignedDuration,
    pub kind: KeyKind,
    /// Type, name and credential of the provisioner extension.
    pub provisioner: Option<(u64, &'a str, &'a str)>,
    pub usages: Vec<Oid>,
    /// Further extensions, after all others.
    pub more: Vec<Extension>,
}

impl Lab {
    /// Starts a CA with what our `init` writes.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with more flags of `ca init`.
    pub fn start_with(flags: &[&str]) -> Self {
        let ca = Ca::start_with(flags);
        let read = |name: &str| std::fs::read(ca.place.file(name)).expect("init wrote it");
        let issuer = Certificate::from_pem(&read("step/certs/intermediate_ca.crt")).expect("init writes certificates");
        let key = FileKey::load(&ca.place.file("step/secrets/intermediate_ca_key"), Some(PASSWORD.as_bytes()));
        Self { issuer: (issuer, key.expect("init writes keys").0), provisioner: Provisioner::of(&ca), ca }
    }

    /// Starts one whose `ca.json` was changed.
    pub fn start_changed(change: impl FnOnce(&mut Value)) -> Self {
        let mut lab = Self::start();
        lab.change(change);
        lab
    }

    /// Changes `ca.json` and lets the server read it again.
    pub fn change(&mut self, change: impl FnOnce(&mut Value)) {
        let mut configuration = configuration(&self.ca.place);
        change(&mut configuration);
        self.ca.place.write("step/config/ca.json", configuration.to_string());
        self.reload();
    }

    /// The same for the first provisioner.
    pub fn change_provisioner(&mut self, change: impl FnOnce(&mut Value)) {
        self.change(|configuration| change(&mut configuration["authority"]["provisioners"][0]));
    }

    /// Lets the server read `ca.json` again.
    pub fn reload(&mut self) {
        self.ca.server.signal("HUP");
        self.ca.server.wait_for("the configuration was read again");
    }

    /// Where questions go.
    pub fn door(&self) -> Door<'_> {
        Door { place: &self.ca.place, url: self.ca.url() }
    }

    /// A one-time token of the provisioner for a route such as `/1.0/sign`.
    pub fn token(&self, route: &str, subject: &str, names: Option<&[&str]>) -> String {
        self.provisioner.token(route, subject, names)
    }

    /// The key id of the provisioner.
    pub fn key_id(&self) -> &str {
        self.provisioner.key_id()
    }

    /// A body of `/sign` for this key and name, with a good token.
    pub fn sign_body(&self, key: &FileKey, name: &str) -> Value {
        self.provisioner.sign_body(key, name)
    }

    /// A first certificate for a name, with the life that the CA gives by itself.
    #[track_caller]
    pub fn issue(&self, name: &str) -> Pair {
        self.issue_with(name, json!({}))
    }

    /// The same with more fields in the body, such as `notAfter`.
    #[track_caller]
    pub fn issue_with(&self, name: &str, more: Value) -> Pair {
        let key = new_key(KeyKind::EcP256);
        let mut body = self.sign_body(&key, name);
        for (field, value) in more.as_object().expect("fields") {
            body[field] = value.clone();
        }
        self.door().post("/sign", body.to_string()).ask().is(201, "").pair(&self.ca.place, key)
    }

    /// Makes a certificate by the CA's key.
    pub fn make(&self, leaf: &Leaf<'_>) -> Pair {
        let (issuer, issuer_key) = &self.issuer;
        let key = new_key(leaf.kind);
        let names = [GeneralName::Dns(leaf.name.to_owned())];
        let usage = match leaf.kind {
            KeyKind::Rsa(_) => KeyUsage::DIGITAL_SIGNATURE.with(KeyUsage::KEY_ENCIPHERMENT),
            _ => KeyUsage::DIGITAL_SIGNATURE,
        };
        let issuer_id = issuer.parts().subject_key_id().expect("it is read").expect("init writes it");
        let mut extensions = vec![
            usage.extension(),
            usage::extended(&leaf.usages),
            key_identifier::subject(&key_identifier::of_key(key.public_key()).expect("a public key")),
            key_identifier::authority(&issuer_id),
            alt_name::extension(&names, false).expect("plain names"),
        ];
        if let Some((kind, name, credential)) = leaf.provisioner {
            let (name, credential_id) = (name.to_owned(), credential.to_owned());
            extensions
                .push(ProvisionerExtension { kind, name, credential_id, key_value_pairs: Vec::new() }.extension());
        }
        extensions.extend(leaf.more.iter().cloned());
        let scheme = SignatureScheme::default_for(issuer_key.kind());
        let now = Timestamp::from_second(Timestamp::now().as_second()).expect("now is a time");
        let tbs = TbsBuilder {
            serial: Serial::from_random(random::bytes().expect("the machine has chance")),
            scheme,
            issuer: issuer.subject().clone(),
            not_before: now + leaf.begins,
            not_after: now + leaf.ends,
            subject: Name::with_common_name(leaf.name),
            spki: key.public_key().to_vec(),
            extensions,
        };
        let tbs = tbs.build().expect("it can be written");
        let signature = issuer_key.sign(scheme, &tbs).expect("the CA's key signs");
        let chain = vec![certificate::assemble(&tbs, scheme, &signature), issuer.der().to_vec()];
        Pair::keep(&self.ca.place, chain, key)
    }

    /// A certificate as the CA itself would make it, valid from an hour ago for two.
    pub fn leaf<'a>(&'a self, name: &'a str) -> Leaf<'a> {
        Leaf {
            name,
            begins: SignedDuration::from_hours(-1),
            ends: SignedDuration::from_hours(1),
            kind: KeyKind::EcP256,
            provisioner: Some((1, "admin", self.key_id())),
            usages: vec![oid::SERVER_AUTH, oid::CLIENT_AUTH],
            more: Vec::new(),
        }
    }

    /// Waits until a certificate stands on the list; answers its reason code.
    #[track_caller]
    pub fn wait_until_revoked(&self, serial: &Serial) -> Option<String> {
        let until = Timestamp::now() + SignedDuration::from_secs(20);
        loop {
            if let Some(reason) = self.door().reason_on_list(serial) {
                return reason;
            }
            assert!(Timestamp::now() < until, "{serial} never stood on the revocation list");
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }

    /// Whether a certificate stands on the current list.
    #[track_caller]
    pub fn is_revoked(&self, serial: &Serial) -> bool {
        self.door().reason_on_list(serial).is_some()
    }

    /// Ends the server without a word, as a power cut would.
    pub fn kill(&mut self) {
        self.ca.server.signal("KILL");
        self.ca.server.wait();
    }

    /// Starts a server on the home again; the one before must have ended.
    pub fn serve(&mut self, flags: &[&str]) {
        self.ca.server = serve(&self.ca.place, flags);
    }
}

impl Pair {
    fn keep(place: &Place, chain: Vec<Vec<u8>>, key: FileKey) -> Self {
        let certificates: Vec<_> = chain.iter().map(|der| Certificate::from_der(der).expect("a certificate")).collect();
        let stem = format!("pair-{}", FILES.fetch_add(1, Ordering::Relaxed));
        let text = key.to_pem(Encoding::Pkcs8, None).expect("the key can be written");
        let files = (
            place.write(&format!("{stem}.crt"), certificate::chain_to_pem(&certificates)),
            place.write(&format!("{stem}.key"), text.as_bytes()),
        );
        Self { certificate: certificates[0].clone(), chain, key, files }
    }

    /// The file with the certificate chain.
    pub fn certificate_file(&self) -> &str {
        self.files.0.to_str().expect("UTF-8")
    }

    /// The file with the key.
    pub fn key_file(&self) -> &str {
        self.files.1.to_str().expect("UTF-8")
    }

    /// How long the certificate is valid in all.
    pub fn duration(&self) -> SignedDuration {
        self.certificate.not_after().duration_since(self.certificate.not_before())
    }
}

/// A server to ask.
#[derive(Clone)]
pub struct Door<'a> {
    pub place: &'a Place,
    pub url: String,
}

/// A question.
pub struct Question<'a> {
    door: Door<'a>,
    method: &'a str,
    path: String,
    body: Option<Vec<u8>>,
    headers: Vec<String>,
    client: Option<(String, String)>,
}

/// What was answered; status 0 where there was no answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Header lines.
    pub headers: String,
    pub body: Vec<u8>,
    /// What curl complained of.
    pub trouble: String,
}

impl<'a> Door<'a> {
    /// A question without a body.
    pub fn get(&self, path: &str) -> Question<'a> {
        Question {
            door: self.clone(),
            method: "GET",
            path: path.to_owned(),
            body: None,
            headers: Vec::new(),
            client: None,
        }
    }

    /// A question with one.
    pub fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Question<'a> {
        Question { method: "POST", body: Some(body.into()), ..self.get(path) }
    }

    /// A rekey of a pair to a new key, by TLS.
    pub fn rekey(&self, old: &Pair, key: &FileKey) -> Answer {
        self.post("/rekey", rekey_body(key)).by(old).ask()
    }

    /// A successful rekey to a fresh key.
    #[track_caller]
    pub fn rekeyed(&self, old: &Pair) -> Pair {
        let key = new_key(KeyKind::EcP256);
        self.rekey(old, &key).is(201, "").pair(self.place, key)
    }

    /// A renewal, by TLS.
    pub fn renew(&self, old: &Pair) -> Answer {
        self.post("/renew", "").by(old).ask()
    }

    /// The current revocation list.
    #[track_caller]
    pub fn list(&self) -> Crl {
        let answer = self.get("/crl").ask().is(200, "");
        Crl::from_der(&answer.body).expect("the list can be read")
    }

    /// The reason, where a certificate stands on the current list.
    #[track_caller]
    pub fn reason_on_list(&self, serial: &Serial) -> Option<Option<String>> {
        let list = self.list();
        let entry = list.parts().revoked().iter().find(|entry| entry.serial == *serial)?;
        Some(entry.reason.map(|reason| reason.to_string()))
    }
}

impl Question<'_> {
    /// Asked with this client certificate.
    pub fn by(mut self, pair: &Pair) -> Self {
        self.client = Some((pair.certificate_file().to_owned(), pair.key_file().to_owned()));
        self
    }

    /// Asked with this token.
    pub fn bearer(self, token: &str) -> Self {
        self.header(&format!("Authorization: Bearer {token}"))
    }

    /// With another header line.
    pub fn header(mut self, line: &str) -> Self {
        self.headers.push(line.to_owned());
        self
    }

    /// Asks.
    pub fn ask(self) -> Answer {
        let place = self.door.place;
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| place.file(&format!("{kind}-{number}"));
        let (headers, answer) = (file("headers"), file("answer"));
        let mut words: Vec<String> =
            ["-sS", "--max-time", "60", "-w", "%{http_code}", "-X", self.method].map(String::from).to_vec();
        let shown = |path: &Path| path.display().to_string();
        words.extend(["--cacert".into(), shown(&place.file("step/certs/root_ca.crt"))]);
        words.extend(["-D".into(), shown(&headers), "-o".into(), shown(&answer)]);
        if let Some(body) = &self.body {
            let body = place.write(&format!("question-{number}"), body);
            words.extend(["--data-binary".into(), format!("@{}", shown(&body))]);
        }
        for line in &self.headers {
            words.extend(["-H".into(), line.clone()]);
        }
        if let Some((certificate, key)) = &self.client {
            words.extend(["--cert".into(), certificate.clone(), "--key".into(), key.clone()]);
        }
        words.push(format!("{}{}", self.door.url, self.path));
        let done = place.run("curl", &words.iter().map(String::as_str).collect::<Vec<_>>());
        let read = |path: &Path| std::fs::read(path).unwrap_or_default();
        Answer {
            // An answer that was cut off is none.
            status: if done.code == 0 { done.stdout.trim().parse().unwrap_or(0) } else { 0 },
            headers: String::from_utf8_lossy(&read(&headers)).into_owned(),
            body: read(&answer),
            trouble: done.stderr,
        }
    }
}

impl Answer {
    /// Panics unless this is the status and the body holds this text; answers itself for more questions.
    #[track_caller]
    pub fn is(self, status: u16, says: &str) -> Self {
        let text = self.text();
        assert_eq!(self.status, status, "another status was expected; the answer is {text}{}", self.trouble);
        assert!(text.contains(says), "the answer should say {says:?}; it says {text}");
        if status >= 400 && !text.starts_with("404 page") && status != 405 {
            let body = self.json();
            assert_eq!(body["status"], status, "{text}");
            assert!(body["message"].is_string(), "{text}");
        }
        self
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The certificates of the answer, leaf first, DER.
    #[track_caller]
    pub fn chain(&self) -> Vec<Vec<u8>> {
        let body = self.json();
        let chain = body["certChain"].as_array().expect("the answer has a chain");
        let read = |text: &Value| Certificate::from_pem(text.as_str().expect("PEM").as_bytes()).expect("a certificate");
        chain.iter().map(|one| read(one).der().to_vec()).collect()
    }

    /// The certificate of the answer with its key, for further questions.
    #[track_caller]
    pub fn pair(&self, place: &Place, key: FileKey) -> Pair {
        let pair = Pair::keep(place, self.chain(), key);
        assert_eq!(pair.certificate.spki(), pair.key.public_key(), "the certificate is for another key");
        pair
    }
}
