//! The certificate that a service shows to a new connection, and the proof that it is the one that should be there.

mod endpoint;
mod starttls;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keywheel_wire::x509::certificate::Certificate;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub use self::endpoint::{Endpoint, EndpointError};
pub use self::starttls::StartTlsError;

/// One connection of a proof may take so long, so that one that hangs leaves time for others.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);

/// A host may have several addresses, and one that swallows everything must leave time for the next.
const ADDRESS_LIMIT: Duration = Duration::from_secs(4);

/// Saying goodbye is a courtesy that no proof waits for.
const GOODBYE_LIMIT: Duration = Duration::from_millis(500);

/// What a service showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The DER of each certificate, leaf first; never empty.
    pub chain: Vec<Vec<u8>>,
}

/// What counts as proof.
#[derive(Debug, Clone)]
pub struct Proof {
    /// So many new connections, one after the other, must show the certificate.
    pub handshakes: u32,
    /// How long it may take until they did.
    pub time_limit: Duration,
    /// The time between two connections.
    pub pause: Duration,
}

impl Default for Proof {
    fn default() -> Self {
        Self { handshakes: 5, time_limit: Duration::from_secs(30), pause: Duration::from_millis(100) }
    }
}

/// Why a service did not show a certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The name of the host is not known.
    #[error("the address of the host {host} was not found")]
    Address {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nobody answers there.
    #[error("no connection to {host} port {port}")]
    Connection {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The dialogue before TLS went wrong.
    #[error("TLS was not begun")]
    StartTls(#[source] StartTlsError),
    /// The TLS library refuses the settings.
    #[error("the TLS settings cannot be used")]
    Settings(#[source] rustls::Error),
    /// The handshake failed, or the service did not prove that it has the key.
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// It took too long.
    #[error("there was no TLS handshake within {} s", .0.as_secs_f32())]
    TimeLimit(Duration),
}

/// Why it is not proved that a service uses the certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotProven {
    /// It uses another one.
    #[error("{endpoint} still showed another certificate after {} s: {certificate}", .after.as_secs())]
    Another {
        /// The service.
        endpoint: Box<Endpoint>,
        /// How long it was asked.
        after: Duration,
        /// What it shows, in words.
        certificate: String,
    },
    /// It could not be asked.
    #[error("{endpoint} showed no certificate, and was asked for {} s", .after.as_secs())]
    Unanswered {
        /// The service.
        endpoint: Box<Endpoint>,
        /// How long it was asked.
        after: Duration,
        /// What happened the last time.
        #[source]
        source: ProbeError,
    },
    /// The time was over before it had shown the certificate often enough.
    #[error(
        "{endpoint} showed the new certificate {times} times in a row within {} s, and {wanted} times are wanted",
        .after.as_secs()
    )]
    TooSeldom {
        /// The service.
        endpoint: Box<Endpoint>,
        /// How often in a row at the end.
        times: u32,
        /// How often it should.
        wanted: u32,
        /// How long it was asked.
        after: Duration,
    },
}

/// The certificates that the service shows to one new connection, whatever they are worth; that it has the key of the first
/// is verified.
pub async fn served(endpoint: &Endpoint, time_limit: Duration) -> Result<Served, ProbeError> {
    let asked = ask(endpoint);
    tokio::time::timeout(time_limit, asked).await.unwrap_or(Err(ProbeError::TimeLimit(time_limit)))
}

/// Waits until new connections show exactly this certificate, as many in a row as `settings` want; one that shows another
/// starts the count again.
pub async fn proves(endpoint: &Endpoint, leaf_der: &[u8], settings: &Proof) -> Result<(), NotProven> {
    let begin = Instant::now();
    let wanted = settings.handshakes.max(1);
    let mut times = 0;
    let mut otherwise: Option<Result<Served, ProbeError>> = None;
    loop {
        let left = settings.time_limit.saturating_sub(begin.elapsed());
        match served(endpoint, left.min(CONNECTION_LIMIT)).await {
            Ok(served) if served.leaf() == leaf_der => {
                times += 1;
                otherwise = None;
            }
            // That our own time was over says less of the service than what it did before.
            Err(ProbeError::TimeLimit(_)) if left < CONNECTION_LIMIT && otherwise.is_some() => times = 0,
            other => {
                times = 0;
                otherwise = Some(other);
            }
        }
        if times >= wanted {
            return Ok(());
        }
        if begin.elapsed().saturating_add(settings.pause) >= settings.time_limit {
            let (endpoint, after) = (Box::new(endpoint.clone()), settings.time_limit);
            return Err(match otherwise {
                Some(Ok(served)) => NotProven::Another { endpoint, after, certificate: describe(served.leaf()) },
                Some(Err(source)) => NotProven::Unanswered { endpoint, after, source },
                None => NotProven::TooSeldom { endpoint, times, wanted, after },
            });
        }
        tokio::time::sleep(settings.pause).await;
    }
}

impl Served {
    /// The certificate of the service itself.
    pub fn leaf(&self) -> &[u8] {
        self.chain.first().map(Vec::as_slice).unwrap_or_default()
    }
}

/// What was seen of the handshake, kept where it outlives one that fails later.
#[derive(Debug)]
struct Witness {
    algorithms: WebPkiSupportedAlgorithms,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    chain: Vec<Vec<u8>>,
    key_proved: bool,
    wants_client_certificate: bool,
}

/// Has no certificate, and tells the witness that one was asked for.
#[derive(Debug)]
struct NoClientCertificate(Arc<Witness>);

async fn ask(endpoint: &Endpoint) -> Result<Served, ProbeError> {
    let stream = connect(endpoint).await?;
    let own_address = stream.local_addr().map_err(|source| endpoint.unconnected(source))?;
    let stream = starttls::begin(endpoint.kind(), stream, own_address.ip(), endpoint.name())
        .await
        .map_err(ProbeError::StartTls)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let witness = Arc::new(Witness { algorithms: provider.signature_verification_algorithms, seen: Mutex::default() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ProbeError::Settings)?
        .dangerous()
        .with_custom_certificate_verifier(witness.clone())
        .with_client_cert_resolver(Arc::new(NoClientCertificate(witness.clone())));
    // A resumed session shows no certificate.
    config.resumption = Resumption::disabled();
    let outcome = TlsConnector::from(Arc::new(config)).connect(endpoint.server_name(), stream).await;
    let seen = std::mem::take(&mut *witness.lock());
    match outcome {
        Ok(mut session) => {
            let _ = tokio::time::timeout(GOODBYE_LIMIT, session.shutdown()).await;
            Ok(Served { chain: seen.chain })
        }
        // TLS 1.2 tells a client without a certificate to go within the handshake; by then the service has proved its key.
        Err(_) if seen.key_proved && seen.wants_client_certificate => Ok(Served { chain: seen.chain }),
        Err(error) => Err(ProbeError::Handshake(error)),
    }
}

async fn connect(endpoint: &Endpoint) -> Result<TcpStream, ProbeError> {
    let (host, port) = (endpoint.host(), endpoint.port());
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses = found.map_err(|source| ProbeError::Address { host: host.to_owned(), source })?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match tokio::time::timeout(ADDRESS_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(|source| endpoint.unconnected(source))?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(endpoint.unconnected(last))
}

impl Endpoint {
    fn unconnected(&self, source: io::Error) -> ProbeError {
        ProbeError::Connection { host: self.host().to_owned(), port: self.port(), source }
    }
}

/// A certificate by what tells it from others.
fn describe(der: &[u8]) -> String {
    Certificate::from_der(der).map_or_else(
        |_| "one that cannot be read".to_owned(),
        |certificate| {
            format!(
                "serial number {}, valid until {}, SHA-256 fingerprint {}",
                certificate.serial(),
                certificate.not_after(),
                certificate.digest()
            )
        },
    )
}

impl Witness {
    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(
        &self,
        verified: Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.lock().key_proved = verified.is_ok();
        verified
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.lock().chain = std::iter::once(leaf).chain(others).map(|one| one.to_vec()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.note(rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.note(rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl rustls::client::ResolvesClientCert for NoClientCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.lock().wants_client_certificate = true;
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
