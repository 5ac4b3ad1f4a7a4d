//! A client of the step API in this process: cheap enough for thousands of questions, and able to hang up at any moment.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keywheel_signer::file_key::FileKey;
use keywheel_wire::signer::Signer;
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::crl::Crl;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::provisioner::rekey_body;

/// How long an answer is awaited.
const PATIENCE: Duration = Duration::from_secs(60);

/// More than the ticket that follows a handshake, less than an answer with a certificate.
const AN_ANSWER: usize = 1024;

/// A certificate and its key.
pub struct Pair {
    /// The leaf.
    pub certificate: Certificate,
    /// Leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's key.
    pub key: FileKey,
}

/// A server of this machine to ask.
#[derive(Clone)]
pub struct Door {
    /// Where it listens.
    pub port: u16,
    roots: Arc<RootCertStore>,
    anonymous: Arc<ClientConfig>,
}

/// When a client hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUp {
    /// The request is on its way.
    WhenAsked,
    /// The server has begun to answer; nothing of that is read.
    WhenAnswered,
    /// Half of the answer is read.
    InTheMiddle,
}

/// What was answered; status 0 where there was no answer, or not all of it.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Door {
    /// The door at a port whose server is certified by the root in this file.
    pub fn new(port: u16, root: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        let root = std::fs::read(root).expect("the root is there");
        let root = Certificate::from_pem(&root).expect("it is a certificate");
        roots.add(CertificateDer::from(root.der().to_vec())).expect("it is a root");
        let roots = Arc::new(roots);
        let mut anonymous = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
        anonymous.resumption = Resumption::disabled();
        Self { port, roots, anonymous: Arc::new(anonymous) }
    }

    /// The same at another port.
    pub fn at(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }

    /// Asks without a body.
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", None, None)
    }

    /// Asks with one.
    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, body, None, None)
    }

    /// Asks with one and a client certificate.
    pub fn post_by(&self, pair: &Pair, path: &str, body: &str) -> Answer {
        self.ask("POST", path, body, Some(pair), None)
    }

    /// Asks for a new key in place of a pair's.
    pub fn rekey(&self, old: &Pair, key: &FileKey) -> Answer {
        self.post_by(old, "/rekey", &rekey_body(key))
    }

    /// Asks for a new lifetime.
    pub fn renew(&self, old: &Pair) -> Answer {
        self.post_by(old, "/renew", "")
    }

    /// Asks that a pair's certificate be revoked, by itself.
    pub fn revoke(&self, pair: &Pair) -> Answer {
        let body = serde_json::json!({ "serial": pair.certificate.serial().to_string(), "passive": true });
        self.post_by(pair, "/revoke", &body.to_string())
    }

    /// The current revocation list.
    #[track_caller]
    pub fn list(&self) -> Crl {
        Crl::from_der(&self.get("/crl").is(200, "").body).expect("the list can be read")
    }

    /// Asks anything by anybody, and may hang up.
    pub fn ask(&self, method: &str, path: &str, body: &str, by: Option<&Pair>, hang_up: Option<HangUp>) -> Answer {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        let config = by.map_or_else(|| self.anonymous.clone(), |pair| self.with_certificate(pair));
        let read = self.talk(&config, &[head.as_bytes(), body.as_bytes()].concat(), hang_up).unwrap_or_default();
        Answer::read(&read).unwrap_or_else(|| Answer { status: 0, head: String::new(), body: read })
    }

    fn with_certificate(&self, pair: &Pair) -> Arc<ClientConfig> {
        let chain = pair.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let key = PrivateKeyDer::Pkcs8(pair.key.private_key().pkcs8_der().to_vec().into());
        let config = ClientConfig::builder().with_root_certificates(self.roots.clone());
        let mut config = config.with_client_auth_cert(chain, key).expect("the pair belongs together");
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }

    /// All that was answered until the server closed, or nothing where it went away.
    fn talk(&self, config: &Arc<ClientConfig>, request: &[u8], hang_up: Option<HangUp>) -> std::io::Result<Vec<u8>> {
        let socket = TcpStream::connect(("127.0.0.1", self.port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(config.clone(), name).expect("a configuration that works");
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        stream.write_all(request)?;
        stream.flush()?;
        let mut read = Vec::new();
        match hang_up {
            None => {
                stream.read_to_end(&mut read)?;
            }
            Some(HangUp::WhenAsked) => {}
            Some(HangUp::WhenAnswered) => {
                let until = Instant::now() + PATIENCE;
                while stream.sock.peek(&mut [0; 2048])? < AN_ANSWER && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Some(HangUp::InTheMiddle) => {
                read.resize(600, 0);
                stream.read_exact(&mut read)?;
            }
        }
        stream.sock.shutdown(Shutdown::Both)?;
        Ok(read)
    }
}

impl Answer {
    fn read(octets: &[u8]) -> Option<Self> {
        let end = octets.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&octets[..end]).into_owned();
        let body = octets[end + 4..].to_vec();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let answer = Self { status, head, body };
        let whole = match answer.header("content-length") {
            Some(length) => length.parse().is_ok_and(|length: usize| length == answer.body.len()),
            None => answer.body.ends_with(b"0\r\n\r\n"),
        };
        whole.then_some(answer)
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// Panics unless this is the status and the body holds this text; answers itself for more questions.
    #[track_caller]
    pub fn is(self, status: u16, says: &str) -> Self {
        let text = self.text();
        assert_eq!(self.status, status, "another status was expected; the answer is {} {text}", self.head);
        assert!(text.contains(says), "the answer should say {says:?}; it says {text}");
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
    pub fn pair(&self, key: FileKey) -> Pair {
        let chain = self.chain();
        let certificate = Certificate::from_der(&chain[0]).expect("a certificate");
        assert_eq!(certificate.spki(), key.public_key(), "the certificate is for another key");
        Pair { certificate, chain, key }
    }
}
