//! What may stand between a client and its CA: a network that loses answers, and a proxy that ends TLS.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use keywheel_tests::ca::Ca;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// More than handshake and session tickets take, less than an answer with a certificate.
const AN_ANSWER: usize = 3000;

/// More than a change-cipher-spec record, less than a request.
const MORE_THAN_A_HANDSHAKE_WORD: usize = 64;

/// A way to the CA on which the first answers get lost, after the CA gave them.
pub struct Lossy {
    /// The address of the way.
    pub url: String,
    lost: Arc<AtomicUsize>,
}

impl Lossy {
    /// A way to a port of this machine that loses so many answers.
    pub fn to(port: u16, losses: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let url = format!("https://localhost:{}", listener.local_addr().expect("it is bound").port());
        let lost = Arc::new(AtomicUsize::new(0));
        let counter = lost.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                if counter.load(Ordering::SeqCst) < losses {
                    lose_the_answer(client, server, counter.clone());
                } else {
                    pass(client, server);
                }
            }
        });
        Self { url, lost }
    }

    /// How many answers were lost.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }
}

/// Lets the handshake and the request through, waits for the answer and cuts the connection instead of passing it on.
fn lose_the_answer(client: TcpStream, server: TcpStream, lost: Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicBool::new(false));
    let server_spoke = Arc::new(AtomicBool::new(false));
    let (mut from_client, mut to_server) = (copy(&client), copy(&server));
    let (asking, spoke) = (asked.clone(), server_spoke.clone());
    thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(length @ 1..) = from_client.read(&mut buffer) {
            if spoke.load(Ordering::SeqCst) && length > MORE_THAN_A_HANDSHAKE_WORD {
                asking.store(true, Ordering::SeqCst);
            }
            if to_server.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let (mut from_server, mut to_client) = (server, client);
    thread::spawn(move || {
        let (mut buffer, mut withheld) = ([0; 65536], 0);
        while let Ok(length @ 1..) = from_server.read(&mut buffer) {
            if asked.load(Ordering::SeqCst) {
                withheld += length;
                if withheld >= AN_ANSWER {
                    lost.fetch_add(1, Ordering::SeqCst);
                    break;
                }
            } else {
                server_spoke.store(true, Ordering::SeqCst);
                if to_client.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
        let _ = from_server.shutdown(Shutdown::Both);
    });
}

fn pass(client: TcpStream, server: TcpStream) {
    for (mut from, mut to) in [(copy(&client), copy(&server)), (server, client)] {
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

fn copy(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a socket can be shared")
}

/// A proxy that ends TLS with a certificate of the CA and asks the CA itself, without any client certificate.
pub fn ending_tls(ca: &Ca) -> String {
    let (certificate, key) = ca.certificate("localhost");
    let (certificate, key) = (ca.place.file(&certificate), ca.place.file(&key));
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect).expect("the CA gives certificates");
    let key = PrivateKeyDer::from_pem_file(key).expect("the client writes keys");
    let outside = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let outside = Arc::new(outside.expect("they belong together"));
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_file(ca.place.file("step/certs/root_ca.crt")).expect("init writes it");
    roots.add(root).expect("a root");
    let inside = Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth());

    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let url = format!("https://localhost:{}", listener.local_addr().expect("it is bound").port());
    let port = ca.port;
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (outside, inside) = (outside.clone(), inside.clone());
            thread::spawn(move || relay(client, port, outside, inside));
        }
    });
    url
}

/// One request and its answer.
fn relay(
    client: TcpStream,
    port: u16,
    outside: Arc<rustls::ServerConfig>,
    inside: Arc<rustls::ClientConfig>,
) -> Option<()> {
    let mut client = rustls::StreamOwned::new(rustls::ServerConnection::new(outside).ok()?, client);
    let (head, body) = request(&mut client)?;
    let name = ServerName::try_from("localhost").ok()?;
    let server = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let mut server = rustls::StreamOwned::new(rustls::ClientConnection::new(inside, name).ok()?, server);
    let head = head.trim_end().to_owned() + "\r\nConnection: close\r\n\r\n";
    server.write_all(&[head.as_bytes(), &body].concat()).ok()?;
    let mut answer = Vec::new();
    let _ = server.read_to_end(&mut answer);
    client.write_all(&answer).ok()?;
    client.conn.send_close_notify();
    client.flush().ok()
}

/// The head and the body of a request.
fn request(client: &mut impl Read) -> Option<(String, Vec<u8>)> {
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let length = client.read(&mut buffer).ok().filter(|length| *length > 0)?;
        seen.extend_from_slice(&buffer[..length]);
        let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&seen[..end + 4]).into_owned();
        let announced = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let mut body = seen.split_off(end + 4);
        while body.len() < announced.unwrap_or(0) {
            let length = client.read(&mut buffer).ok().filter(|length| *length > 0)?;
            body.extend_from_slice(&buffer[..length]);
        }
        return Some((head, body));
    }
}
