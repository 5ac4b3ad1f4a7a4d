//! One load generator for every CA that speaks the step API: `/rekey` by many clients at once, every answer checked.
//!
//! `load <url> <root> <client certificate> <client key> <new|kept> <clients at once> <rekeys>` prints one line of JSON:
//! rekeys per second and the latencies' median and 99th percentile in milliseconds. The requests are made before the clock
//! starts, so that the generator costs the server's cores as little as possible. With `LOAD_HYBRID=1` the key exchange is
//! X25519MLKEM768, else X25519.
//!
//! `load ready <url> <root>` prints a line, asks for `/health` until the answer is 200, and prints another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keywheel_signer::file_key::FileKey;
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::signer::Signer;
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::name::Name;
use keywheel_wire::x509::request;
use rustls::client::WantsClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What to ask whom, and how.
struct Load {
    address: String,
    host: ServerName<'static>,
    connector: TlsConnector,
    kept: bool,
    requests: Vec<Rekey>,
    next: AtomicUsize,
}

/// One request, ready to be sent, and the public key that its answer must certify.
struct Rekey {
    bytes: Vec<u8>,
    spki: Vec<u8>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, url, root] = words.as_slice()
        && word == "ready"
    {
        return ready(url.trim_start_matches("https://"), root).await;
    }
    let [url, root, certificate, key, connections, at_once, rekeys] = words.as_slice() else {
        return Err("usage: load <url> <root> <certificate> <key> <new|kept> <at once> <rekeys>".into());
    };
    let address = url.trim_start_matches("https://").to_owned();
    let host = address.split(':').next().unwrap_or_default().to_owned();
    let (at_once, rekeys): (usize, usize) = (at_once.parse()?, rekeys.parse()?);
    let load = Arc::new(Load {
        host: ServerName::try_from(host)?,
        connector: connector(root, certificate, key)?,
        kept: connections == "kept",
        requests: (0..rekeys).map(|_| rekey(&address)).collect::<Result<_, _>>()?,
        next: AtomicUsize::new(0),
        address,
    });
    let start = Instant::now();
    let clients: Vec<_> = (0..at_once).map(|_| tokio::spawn(client(load.clone()))).collect();
    let mut latencies = Vec::with_capacity(rekeys);
    for client in clients {
        latencies.extend(client.await??);
    }
    let seconds = start.elapsed().as_secs_f64();
    latencies.sort();
    let share =
        |part: usize| latencies[(latencies.len() * part / 1000).min(latencies.len() - 1)].as_secs_f64() * 1000.0;
    let report = serde_json::json!({
        "rekeys": latencies.len(),
        "per_second": latencies.len() as f64 / seconds,
        "p50_ms": share(500),
        "p99_ms": share(990),
    });
    println!("{report}");
    Ok(())
}

/// Asks until no request is left.
async fn client(load: Arc<Load>) -> Result<Vec<Duration>, Failure> {
    let mut latencies = Vec::new();
    let mut connection = None;
    while let Some(rekey) = load.requests.get(load.next.fetch_add(1, Ordering::Relaxed)) {
        let start = Instant::now();
        let mut stream = match connection.take() {
            Some(stream) => stream,
            None => connect(&load).await?,
        };
        stream.write_all(&rekey.bytes).await?;
        let body = answer(&mut stream).await?;
        latencies.push(start.elapsed());
        check(&body, &rekey.spki)?;
        if load.kept {
            connection = Some(stream);
        }
    }
    Ok(latencies)
}

async fn connect(load: &Load) -> Result<TlsStream<TcpStream>, Failure> {
    let tcp = TcpStream::connect(&load.address).await?;
    tcp.set_nodelay(true)?;
    Ok(load.connector.connect(load.host.clone(), tcp).await?)
}

/// Reads one answer of HTTP/1.1 with a length, and refuses every status but 201.
async fn answer(stream: &mut TlsStream<TcpStream>) -> Result<Vec<u8>, Failure> {
    let mut read = Vec::with_capacity(4096);
    let (head, length) = loop {
        more(stream, &mut read).await?;
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
            if !head.starts_with("http/1.1 201") {
                return Err(format!("not issued: {}", String::from_utf8_lossy(&read)).into());
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            match length {
                Some(length) => break (end + 4, length.trim().parse::<usize>()?),
                None if head.contains("transfer-encoding: chunked") => {
                    return chunks(stream, read.split_off(end + 4)).await;
                }
                None => return Err("the answer has no length".into()),
            }
        }
    };
    while read.len() < head + length {
        more(stream, &mut read).await?;
    }
    Ok(read.split_off(head))
}

/// Reads a body in chunks (RFC 9112, 7.1), without trailers.
async fn chunks(stream: &mut TlsStream<TcpStream>, mut read: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::with_capacity(read.len());
    loop {
        let line = loop {
            if let Some(end) = read.windows(2).position(|window| window == b"\r\n") {
                break end;
            }
            more(stream, &mut read).await?;
        };
        let size = usize::from_str_radix(std::str::from_utf8(&read[..line])?.trim(), 16)?;
        while read.len() < line + 2 + size + 2 {
            more(stream, &mut read).await?;
        }
        body.extend_from_slice(&read[line + 2..line + 2 + size]);
        read.drain(..line + 2 + size + 2);
        if size == 0 {
            return Ok(body);
        }
    }
}

async fn more(stream: &mut TlsStream<TcpStream>, read: &mut Vec<u8>) -> Result<(), Failure> {
    if stream.read_buf(read).await? == 0 {
        return Err("the server closed the connection in the middle of an answer".into());
    }
    Ok(())
}

/// The answer certifies the key that was sent.
fn check(body: &[u8], spki: &[u8]) -> Result<(), Failure> {
    let answer: serde_json::Value = serde_json::from_slice(body)?;
    let pem = answer["crt"].as_str().ok_or("the answer holds no certificate")?;
    let certificate = Certificate::from_pem(pem.as_bytes())?;
    if certificate.spki() != spki {
        return Err("the answer certifies another key".into());
    }
    Ok(())
}

fn rekey(address: &str) -> Result<Rekey, Failure> {
    let key = FileKey::generate(KeyKind::EcP256)?;
    let csr = request::to_pem(&request::create(&key, &Name::empty(), &[])?);
    let body = serde_json::json!({ "csr": csr }).to_string();
    let head = format!(
        "POST /rekey HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Ok(Rekey { bytes: [head.as_bytes(), body.as_bytes()].concat(), spki: key.public_key().to_vec() })
}

/// TLS 1.3 with X25519, no tickets: every new connection is a full handshake, and both CAs do the same work.
fn connector(root: &str, certificate: &str, key: &str) -> Result<TlsConnector, Failure> {
    let chain = Certificate::chain_from_pem(&std::fs::read(certificate)?)?;
    let chain = chain.iter().map(|one| CertificateDer::from(one.der().to_vec())).collect();
    let (key, _) = FileKey::load(key.as_ref(), None)?;
    let key = PrivateKeyDer::Pkcs8(key.private_key().pkcs8_der().to_vec().into());
    Ok(connected(trusting(root)?.with_client_auth_cert(chain, key)?))
}

fn connected(mut config: ClientConfig) -> TlsConnector {
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// A client of TLS 1.3 that trusts this root, with the key exchange that is measured.
fn trusting(root: &str) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Failure> {
    let hybrid = std::env::var("LOAD_HYBRID").is_ok_and(|hybrid| hybrid == "1");
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if !hybrid {
        provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    }
    // The one that Go's server takes first, whatever it is offered: both sides are to do the same work.
    provider.cipher_suites = vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let mut roots = rustls::RootCertStore::empty();
    for certificate in Certificate::chain_from_pem(&std::fs::read(root)?)? {
        roots.add(CertificateDer::from(certificate.der().to_vec()))?;
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots))
}

/// Asks until the server is there and well.
async fn ready(address: &str, root: &str) -> Result<(), Failure> {
    let host = address.split(':').next().unwrap_or_default().to_owned();
    let host = ServerName::try_from(host)?;
    let connector = connected(trusting(root)?.with_no_client_auth());
    println!("asking");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(30) {
        if well(address, &host, &connector).await.is_ok_and(|well| well) {
            println!("ready");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    Err("the server does not get ready".into())
}

async fn well(address: &str, host: &ServerName<'static>, connector: &TlsConnector) -> Result<bool, Failure> {
    let mut stream = connector.connect(host.clone(), TcpStream::connect(address).await?).await?;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    Ok(answer.ends_with(b" 200"))
}
