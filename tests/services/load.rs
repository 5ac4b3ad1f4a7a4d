//! Clients that never stop: new connections from several threads, every handshake and every answer judged.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use keywheel_core::fingerprint::CertificateDigest;
use keywheel_tests::place::Place;
use keywheel_wire::x509::certificate::Certificate;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};

/// The name in the certificates.
pub const NAME: &str = "svc.example.com";

/// What the services answer.
pub const BODY: &str = "served by the service\n";

/// As many as keep a machine of two processors busy.
const THREADS: usize = 3;

/// So many failures of a thread are told.
const REASONS: usize = 5;

/// An answer that takes longer is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Clients that go on until they are stopped.
pub struct Load {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Tally>>,
}

/// What the clients saw.
#[derive(Default)]
pub struct Tally {
    /// Handshakes after which the request was answered, too.
    pub good: usize,
    /// The others.
    pub bad: usize,
    /// What went wrong with the first of them.
    pub reasons: Vec<String>,
    /// The certificates that were shown.
    pub seen: BTreeSet<CertificateDigest>,
}

impl Load {
    /// Starts them against a service of this machine whose certificates lead to the CA of this place.
    pub fn start(place: &Place, port: u16) -> Self {
        let config = trusting(place);
        let over = Arc::new(AtomicBool::new(false));
        let threads = (0..THREADS).map(|_| {
            let (config, over) = (config.clone(), over.clone());
            std::thread::spawn(move || {
                let mut tally = Tally::default();
                while !over.load(Ordering::Relaxed) {
                    match visit(&config, port) {
                        Ok(leaf) => {
                            tally.good += 1;
                            tally.seen.insert(leaf);
                        }
                        Err(error) => {
                            tally.bad += 1;
                            if tally.reasons.len() < REASONS {
                                tally.reasons.push(error.to_string());
                            }
                        }
                    }
                }
                tally
            })
        });
        Self { threads: threads.collect(), over }
    }

    /// Stops them and counts.
    pub fn stop(self) -> Tally {
        self.over.store(true, Ordering::Relaxed);
        self.threads.into_iter().fold(Tally::default(), |mut all, thread| {
            let one = thread.join().expect("a client does not panic");
            all.good += one.good;
            all.bad += one.bad;
            all.reasons.extend(one.reasons);
            all.seen.extend(one.seen);
            all
        })
    }
}

/// The certificate that a new connection shows, by its fingerprint. It must lead to the root; the service must prove its key.
pub fn shown(place: &Place, port: u16) -> CertificateDigest {
    visit(&trusting(place), port).expect("the service answers")
}

/// The certificate in a file of the place, by its fingerprint.
pub fn fingerprint(place: &Place, file: &str) -> CertificateDigest {
    Certificate::from_pem(place.read(file).as_bytes()).expect("the file holds a certificate").digest()
}

fn trusting(place: &Place) -> Arc<ClientConfig> {
    let root = Certificate::from_pem(place.read("step/certs/root_ca.crt").as_bytes()).expect("the root is one");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(root.der().to_vec())).expect("it is a root");
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has both versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// One connection, one request, one answer.
fn visit(config: &Arc<ClientConfig>, port: u16) -> std::io::Result<CertificateDigest> {
    let name = ServerName::try_from(NAME).map_err(std::io::Error::other)?;
    let mut session = ClientConnection::new(config.clone(), name).map_err(std::io::Error::other)?;
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let mut stream = Stream::new(&mut session, &mut socket);
    write!(stream, "GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        // The length of the answer says whether it is whole.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
        Err(error) => return Err(error),
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if !answer.starts_with("HTTP/1.1 200") || !answer.ends_with(BODY) {
        return Err(std::io::Error::other(format!("the answer was {answer:?}")));
    }
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    let leaf = leaf.ok_or_else(|| std::io::Error::other("no certificate was shown"))?;
    Ok(Certificate::from_der(leaf).map_err(std::io::Error::other)?.digest())
}
