//! What may stand between a client and its CA: a proxy that ends TLS.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use keywheel_tests::ca::Ca;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

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
