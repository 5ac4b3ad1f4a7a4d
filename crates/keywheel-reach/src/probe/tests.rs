//! Judged by OpenSSL's server, and by servers that do what no honest one does.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use keywheel_wire::pem;
use proptest::prelude::*;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::starttls::Kind;
use super::*;

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_new_connection_shows_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let (leaf, other) = (issue(folder.path(), "leaf"), issue(folder.path(), "other"));
    for version in ["-tls1_2", "-tls1_3"] {
        let server = OpenSsl::start(folder.path(), &["-cert_chain", "other.crt", version]);
        let served = served(&server.endpoint(), LIMIT).await.unwrap();
        assert_eq!(served.chain, [leaf.clone(), other.clone()], "{version}");
    }
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_has_shown_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let leaf = issue(folder.path(), "leaf");
    for version in ["-tls1_2", "-tls1_3"] {
        let server = OpenSsl::start(folder.path(), &["-Verify", "1", "-verify_return_error", version]);
        let served = served(&server.endpoint(), LIMIT).await.unwrap();
        assert_eq!(served.leaf(), leaf, "{version}");
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (leaf, _) = (issue(folder.path(), "leaf"), issue(folder.path(), "other"));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let endpoint = serve(vec![certified(leaf.clone(), &folder.path().join("other.key"))], version).await;
        let refused = served(&endpoint, LIMIT).await.unwrap_err();
        assert!(matches!(&refused, ProbeError::Handshake(_)), "{refused:?}");
    }
}

#[tokio::test]
async fn one_old_certificate_among_new_ones_starts_the_count_again() {
    let folder = tempfile::tempdir().unwrap();
    let (new, old) = (issue(folder.path(), "new"), issue(folder.path(), "old"));
    let keyed = |name: &str, der: &Vec<u8>| certified(der.clone(), &folder.path().join(format!("{name}.key")));
    let (n, o) = (keyed("new", &new), keyed("old", &old));
    let shown = vec![o.clone(), n.clone(), n.clone(), o, n.clone(), n.clone(), n];
    let endpoint = serve(shown.clone(), &rustls::version::TLS13).await;
    let settings = Proof { handshakes: 3, time_limit: LIMIT, pause: Duration::from_millis(1) };
    proves(&endpoint, &new, &settings).await.unwrap();
    // The seven that the list holds were needed, and no more: the next one would be the first of the list again.
    let next = served(&endpoint, LIMIT).await.unwrap();
    assert_eq!(next.leaf(), old);
}

#[tokio::test]
async fn what_is_not_proved_in_time_is_told_with_the_certificate_that_is_shown_instead() {
    let folder = tempfile::tempdir().unwrap();
    let (new, old) = (issue(folder.path(), "new"), issue(folder.path(), "leaf"));
    let server = OpenSsl::start(folder.path(), &[]);
    let settings = Proof { handshakes: 2, time_limit: Duration::from_millis(1500), pause: Duration::from_millis(100) };
    let not = proves(&server.endpoint(), &new, &settings).await.unwrap_err();
    let parsed = Certificate::from_der(&old).unwrap();
    let said = not.to_string();
    for part in [server.endpoint().to_string(), parsed.digest().to_string(), parsed.serial().to_string()] {
        assert!(said.contains(&part), "{said}");
    }
    let settings = Proof { handshakes: u32::MAX, ..settings };
    let not = proves(&server.endpoint(), &old, &settings).await.unwrap_err();
    assert!(matches!(not, NotProven::TooSeldom { times: 1.., .. }), "{not:?}");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_told_as_such() {
    let port = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let endpoint = Endpoint::parse(&format!("tls://127.0.0.1:{port}")).unwrap();
    let settings = Proof { time_limit: Duration::from_millis(300), ..Proof::default() };
    let not = proves(&endpoint, &[1], &settings).await.unwrap_err();
    assert!(matches!(&not, NotProven::Unanswered { source: ProbeError::Connection { .. }, .. }), "{not:?}");
}

#[tokio::test]
async fn a_service_that_says_nothing_is_left_when_the_time_is_over() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for scheme in ["tls", "smtp", "ldap", "postgres", "mysql", "xmpp"] {
        let endpoint = Endpoint::parse(&format!("{scheme}://127.0.0.1:{port}")).unwrap();
        let refused = served(&endpoint, Duration::from_millis(100)).await.unwrap_err();
        assert!(matches!(refused, ProbeError::TimeLimit(_)), "{refused:?}");
    }
}

#[tokio::test]
async fn a_server_that_agrees_leads_to_tls() {
    for (kind, said) in [
        (Kind::Tls, &b""[..]),
        (Kind::Smtp, b"220-a\r\n220 b ESMTP\r\n250-a\r\n250-StartTLS\r\n250 OK\r\n220 go\r\n"),
        (Kind::Lmtp, b"220 a LMTP\r\n250-STARTTLS\r\n250 OK\r\n220 go\r\n"),
        (Kind::Imap, b"* OK [CAPABILITY IMAP4rev1 STARTTLS] hello\r\n* CAPABILITY x\r\na OK go\r\n"),
        (Kind::Pop3, b"+OK hello\r\n+OK\r\n"),
        (Kind::Sieve, b"\"IMPLEMENTATION\" \"x\"\r\n\"STARTTLS\"\r\nOK\r\nOK \"go\"\r\n"),
        (Kind::Ftp, b"220-hello\r\n all\r\n220 ready\r\n234 go\r\n"),
        (Kind::Nntp, b"201 no posting\r\n382 go\r\n"),
        (Kind::Ldap, b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"),
        (Kind::Ldap, b"\x30\x84\x00\x00\x00\x10\x02\x01\x01\x78\x84\x00\x00\x00\x07\x0a\x01\x00\x04\x00\x04\x00"),
        (Kind::Postgres, b"S"),
        (Kind::Mysql, b"\x15\x00\x00\x00\x0a8\x00\x01\x02\x03\x04nonces89\x00\xff\xffabc"),
        (Kind::XmppClient, b"<stream:stream><stream:features><starttls/></stream:features><proceed/>"),
        (Kind::XmppServer, b"<stream:stream>\n<stream:features><starttls/></stream:features><proceed xmlns='x'/>"),
    ] {
        let outcome = dialogue(kind, said).await;
        assert!(outcome.is_ok(), "{kind:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_as_such() {
    for (kind, said) in [
        (Kind::Smtp, &b"220 a\r\n250-PIPELINING\r\n250 STARTTLSX\r\n"[..]),
        (Kind::Sieve, b"\"SASL\" \"PLAIN\"\r\nOK\r\n"),
        (Kind::Postgres, b"N"),
        (Kind::Mysql, b"\x15\x00\x00\x00\x0a8\x00\x01\x02\x03\x04nonces89\x00\xff\xf7abc"),
        (Kind::XmppClient, b"<stream:stream><stream:features><bind/></stream:features>"),
        (Kind::XmppClient, b"<stream:stream><stream:features/>"),
    ] {
        let outcome = dialogue(kind, said).await;
        assert!(matches!(outcome, Err(StartTlsError::NotOffered)), "{kind:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_repeated_in_the_message() {
    for (kind, said, says) in [
        (Kind::Smtp, &b"554 go away\r\n"[..], "554 go away"),
        (Kind::Smtp, b"220 a\r\n250 STARTTLS\r\n454 not now\r\n", "454 not now"),
        (Kind::Imap, b"* PREAUTH hello\r\n", "* PREAUTH"),
        (Kind::Imap, b"* OK hello\r\na NO never\r\n", "a NO never"),
        (Kind::Pop3, b"+OK hello\r\n-ERR no TLS\r\n", "-ERR no TLS"),
        (Kind::Sieve, b"\"STARTTLS\"\r\nOK\r\nNO \"later\"\r\n", "later"),
        (Kind::Ftp, b"220 a\r\n502 what\r\n", "502 what"),
        (Kind::Nntp, b"200 a\r\n580 no\r\n", "580 no"),
        (Kind::Ldap, b"\x30\x11\x02\x01\x01\x78\x0c\x0a\x01\x02\x04\x00\x04\x05never", "result 2 never"),
        (Kind::Ldap, b"\x30\x03\x02\x01\x07", "not LDAP"),
        (Kind::Ldap, b"HTTP/1.1 400 Bad Request\r\n", "not LDAP"),
        (Kind::Postgres, b"E", "error"),
        (Kind::Mysql, b"\x0c\x00\x00\x00\xff\x6a\x04not today", "not today"),
        (Kind::Mysql, b"\x04\x00\x00\x00\x0aabc", "not a MySQL greeting"),
        (
            Kind::XmppClient,
            b"<stream:stream><stream:error><host-unknown/></stream:error></stream:stream>",
            "host-unknown",
        ),
        (Kind::XmppServer, b"<stream:features><starttls/></stream:features><failure/>", "failure"),
    ] {
        let outcome = dialogue(kind, said).await;
        let Err(StartTlsError::Answer(answer)) = &outcome else { panic!("{kind:?}: {outcome:?}") };
        assert!(answer.contains(says), "{kind:?}: {answer}");
    }
}

/// CVE-2011-0411 and its kin: what was sent in the clear must not be read as if it had come through TLS.
#[tokio::test]
async fn what_follows_the_agreement_unprotected_is_refused() {
    for (kind, said) in [
        (Kind::Smtp, &b"220 a\r\n250 STARTTLS\r\n220 go\r\n250 injected\r\n"[..]),
        (Kind::Imap, b"* OK hello\r\na OK go\r\n* BYE injected\r\n"),
        (Kind::Postgres, b"SX"),
    ] {
        let outcome = dialogue(kind, said).await;
        assert!(matches!(outcome, Err(StartTlsError::Trailing)), "{kind:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_server_that_talks_without_end_or_stops_is_left() {
    let lines = |line: &str| line.repeat(100_000).into_bytes();
    for (kind, said) in [
        (Kind::Smtp, lines("220-a\r\n")),
        (Kind::Smtp, lines("220-a")),
        (Kind::Imap, [&b"* OK\r\n"[..], &lines("* x\r\n")].concat()),
        (Kind::Sieve, lines("\"x\"\r\n")),
        (Kind::Ldap, [&b"\x30\x84\x7f\xff\xff\xff"[..], &lines("x")].concat()),
        (Kind::Mysql, [&b"\xff\xff\xff\x00"[..], &lines("x")].concat()),
        (Kind::XmppClient, lines("<stream:stream>")),
    ] {
        let outcome = dialogue(kind, &said).await;
        assert!(matches!(outcome, Err(StartTlsError::TooMuch)), "{kind:?}: {outcome:?}");
        let outcome = dialogue(kind, &said[..2]).await;
        assert!(matches!(outcome, Err(StartTlsError::Closed)), "{kind:?}: {outcome:?}");
    }
}

proptest! {
    #[test]
    fn whatever_a_server_says_the_dialogue_ends(said in proptest::collection::vec(any::<u8>(), 0..200), at in 0..13_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let begin = OPENINGS[at % OPENINGS.len()];
        for kind in KINDS {
            // What begins as the protocol wants goes deeper.
            for said in [said.clone(), [begin, &said].concat()] {
                let _ = runtime.block_on(dialogue(kind, &said));
            }
        }
    }

    #[test]
    fn whatever_is_read_as_an_endpoint_is_printed_so_that_it_reads_back(text in "[a-z]{0,5}(tls|smtp|imap)://[a-z0-9.:\\[\\]@/-]{0,20}(:[0-9]{1,6})?([?]servername=[a-zA-Z0-9._-]{0,9})?") {
        if let Ok(endpoint) = Endpoint::parse(&text) {
            prop_assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint));
        }
    }
}

const KINDS: [Kind; 12] = [
    Kind::Smtp,
    Kind::Lmtp,
    Kind::Imap,
    Kind::Pop3,
    Kind::Sieve,
    Kind::Ftp,
    Kind::Nntp,
    Kind::Ldap,
    Kind::Postgres,
    Kind::Mysql,
    Kind::XmppClient,
    Kind::XmppServer,
];

const OPENINGS: [&[u8]; 8] = [
    b"220 a\r\n250 STARTTLS\r\n",
    b"* OK\r\na ",
    b"+OK\r\n",
    b"\"STARTTLS\"\r\nOK\r\n",
    b"\x30\x20\x02\x01\x01\x78",
    b"\x30\x0c\x02\x01\x01\x78\x07\x0a",
    b"\x20\x00\x00\x00\x0a8.0\x00",
    b"<stream:features><starttls/></stream:features>",
];

/// One end speaks as the protocol wants; the other says this, whatever it hears, and then closes.
async fn dialogue(kind: Kind, said: &[u8]) -> Result<(), StartTlsError> {
    let (ours, mut theirs) = tokio::io::duplex(4 << 20);
    theirs.write_all(said).await.unwrap();
    theirs.shutdown().await.unwrap();
    starttls::begin(kind, ours, Ipv4Addr::LOCALHOST.into(), "host.example").await.map(drop)
}

/// Makes `<name>.crt` and `<name>.key`, and returns the certificate in DER.
fn issue(folder: &Path, name: &str) -> Vec<u8> {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
    let mut words =
        vec!["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    words.extend(["-subj", "/CN=host.example", "-keyout", &key, "-out", &certificate]);
    let made = Command::new("openssl").args(words).current_dir(folder).stderr(Stdio::null()).status().unwrap();
    assert!(made.success(), "openssl req failed");
    Certificate::from_pem(&std::fs::read(folder.join(certificate)).unwrap()).unwrap().der().to_vec()
}

fn certified(leaf: Vec<u8>, key: &Path) -> Arc<CertifiedKey> {
    let blocks = pem::parse(&std::fs::read(key).unwrap()).unwrap();
    let key = PrivateKeyDer::try_from(blocks[0].der.to_vec()).unwrap();
    let signing = aws_lc_rs::sign::any_supported_type(&key).unwrap();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(leaf)], signing))
}

/// A server that shows these certificates one after the other, each to one connection, and begins anew after the last.
async fn serve(shown: Vec<Arc<CertifiedKey>>, version: &'static SupportedProtocolVersion) -> Endpoint {
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(InTurn { shown, next: AtomicUsize::new(0) }));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    Endpoint::parse(&format!("tls://127.0.0.1:{port}?servername=host.example")).unwrap()
}

#[derive(Debug)]
struct InTurn {
    shown: Vec<Arc<CertifiedKey>>,
    next: AtomicUsize,
}

impl ResolvesServerCert for InTurn {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.shown.get(self.next.fetch_add(1, Ordering::Relaxed) % self.shown.len()).cloned()
    }
}

/// OpenSSL's own server, with `leaf.crt` and `leaf.key`.
struct OpenSsl {
    child: Child,
    port: u16,
}

impl OpenSsl {
    fn start(folder: &Path, more: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "leaf.crt", "-key", "leaf.key"])
            .args(more)
            .current_dir(folder)
            // It ends when its input does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines
            .by_ref()
            .find_map(|line| line.strip_prefix("ACCEPT ")?.rsplit_once(':')?.1.trim().parse().ok())
            .expect("openssl s_server says where it listens");
        // The rest is read away, so that the server never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&format!("tls://127.0.0.1:{}?servername=host.example", self.port)).unwrap()
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
