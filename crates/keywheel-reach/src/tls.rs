//! TLS as a client of an authority: which roots are trusted, and a client key that stays behind its `Signer`.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use keywheel_wire::private_key::KeyKind;
use keywheel_wire::signer::{SignatureScheme as WireScheme, Signer};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureAlgorithm, SignatureScheme};

/// A certificate chain and the key of its leaf.
#[derive(Clone)]
pub struct Identity {
    /// The DER of each certificate, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The key.
    pub signer: Arc<dyn Signer>,
}

/// Whom the client trusts.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Servers whose certificates lead to one of these (DER).
    Roots(Vec<Vec<u8>>),
    /// Everybody: only for fetching what is compared with a fingerprint afterwards.
    Anybody,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A root cannot be used.
    #[error("a root certificate cannot be used as one")]
    Root(#[source] rustls::Error),
    /// The library refuses the settings.
    #[error("the TLS settings cannot be used")]
    Settings(#[source] rustls::Error),
    /// A server is asked for by a name that is none.
    #[error("'{0}' is no name of a server")]
    ServerName(String),
    /// A server cannot be reached, or does not speak TLS.
    #[error("no TLS connection to {host}:{port}")]
    Connection {
        /// The server.
        host: String,
        /// Its port.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The settings of a client, HTTP/2 offered first.
pub fn client_config(trust: &Trust, identity: Option<&Identity>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Settings)?;
    let builder = match trust {
        Trust::Roots(roots) => {
            let mut store = RootCertStore::empty();
            for root in roots {
                store.add(CertificateDer::from(root.clone())).map_err(TlsError::Root)?;
            }
            builder.with_root_certificates(store)
        }
        Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
    };
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified_key(identity)))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Resumption would skip the client certificate: each connection shows it, so that each is judged by it.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// The certificates that a server shows, leaf first, whatever they are worth: whoever asks judges them.
///
/// `name` is the name that the server is asked for; every wait of the connection ends after `time_limit`.
pub fn shown_by(host: &str, port: u16, name: &str, time_limit: Duration) -> Result<Vec<Vec<u8>>, TlsError> {
    let unreachable = |error: io::Error| TlsError::Connection { host: host.to_owned(), port, source: error };
    let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName(name.to_owned()))?;
    let config = client_config(&Trust::Anybody, None)?;
    let mut session = rustls::ClientConnection::new(Arc::new(config), name).map_err(TlsError::Settings)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs().map_err(unreachable)? {
        match TcpStream::connect_timeout(&address, time_limit) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(time_limit)).map_err(unreachable)?;
                stream.set_write_timeout(Some(time_limit)).map_err(unreachable)?;
                while session.is_handshaking() {
                    session.complete_io(&mut stream).map_err(unreachable)?;
                }
                return Ok(session.peer_certificates().unwrap_or_default().iter().map(|one| one.to_vec()).collect());
            }
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

/// A key that stays behind its `Signer`, as the TLS library wants it.
pub fn certified_key(identity: &Identity) -> CertifiedKey {
    let chain = identity.chain.iter().cloned().map(CertificateDer::from).collect();
    CertifiedKey::new(chain, Arc::new(Key(identity.signer.clone())))
}

struct Key(Arc<dyn Signer>);

struct Handshake {
    signer: Arc<dyn Signer>,
    ours: WireScheme,
    theirs: SignatureScheme,
}

/// Verifies that the server has the key of the certificate that it shows, whatever the certificate is worth.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        let (theirs, ours) = schemes(self.0.kind()).iter().copied().find(|(theirs, _)| offered.contains(theirs))?;
        Some(Box::new(Handshake { signer: self.0.clone(), ours, theirs }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.kind() {
            KeyKind::EcP256 | KeyKind::EcP384 | KeyKind::EcP521 => SignatureAlgorithm::ECDSA,
            KeyKind::Ed25519 => SignatureAlgorithm::ED25519,
            KeyKind::Rsa(_) => SignatureAlgorithm::RSA,
        }
    }
}

impl rustls::sign::Signer for Handshake {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.signer.sign(self.ours, message).map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.theirs
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kind", &self.0.kind()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("scheme", &self.theirs).finish_non_exhaustive()
    }
}

/// What a key can sign a handshake with, best first; TLS 1.3 binds a curve to one hash.
fn schemes(kind: KeyKind) -> &'static [(SignatureScheme, WireScheme)] {
    match kind {
        KeyKind::EcP256 => &[(SignatureScheme::ECDSA_NISTP256_SHA256, WireScheme::EcdsaSha256)],
        KeyKind::EcP384 => &[(SignatureScheme::ECDSA_NISTP384_SHA384, WireScheme::EcdsaSha384)],
        KeyKind::EcP521 => &[(SignatureScheme::ECDSA_NISTP521_SHA512, WireScheme::EcdsaSha512)],
        KeyKind::Ed25519 => &[(SignatureScheme::ED25519, WireScheme::Ed25519)],
        KeyKind::Rsa(_) => &[
            (SignatureScheme::RSA_PSS_SHA256, WireScheme::RsaPssSha256),
            (SignatureScheme::RSA_PSS_SHA384, WireScheme::RsaPssSha384),
            (SignatureScheme::RSA_PSS_SHA512, WireScheme::RsaPssSha512),
            (SignatureScheme::RSA_PKCS1_SHA256, WireScheme::RsaPkcs1Sha256),
            (SignatureScheme::RSA_PKCS1_SHA384, WireScheme::RsaPkcs1Sha384),
            (SignatureScheme::RSA_PKCS1_SHA512, WireScheme::RsaPkcs1Sha512),
        ],
    }
}
