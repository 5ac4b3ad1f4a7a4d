//! TLS as the step API wants it: the server's own certificate, kept fresh, and client certificates taken where they are shown.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use keywheel_core::fingerprint::CertificateDigest;
use keywheel_engine::authority::{Authority, ServerIdentity};
use keywheel_wire::x509::certificate::Certificate;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use tokio::sync::watch;

use crate::ServeError;

/// The TLS settings of the moment.
pub(crate) struct Tls {
    current: RwLock<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    /// When the server's certificate is to be replaced: after two thirds of its life.
    replace_at: Timestamp,
}

impl Tls {
    /// Makes the first certificate.
    pub(crate) async fn start(authority: &Authority) -> Result<Arc<Self>, ServeError> {
        let current = make(authority).await.map_err(ServeError::OwnCertificate)?;
        Ok(Arc::new(Self { current: RwLock::new(current) }))
    }

    /// What a new connection is to use.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).config.clone()
    }

    /// Replaces the certificate in time and after each reload of the authority.
    pub(crate) async fn keep_fresh(self: Arc<Self>, authority: Authority, mut shutdown: watch::Receiver<bool>) {
        let mut generation = authority.generation();
        generation.mark_unchanged();
        let mut reloaded = false;
        loop {
            let replace_at = self.current.read().unwrap_or_else(PoisonError::into_inner).replace_at;
            // Short steps on the wall clock: a suspended machine does not count its sleep.
            let step = Duration::from_secs(30);
            // Until a reload has come through to here it stays on the list of what is to be done.
            reloaded |= tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => return,
                changed = generation.changed() => changed.is_ok(),
                () = tokio::time::sleep(step) => false,
            };
            if !reloaded && Timestamp::now() < replace_at {
                continue;
            }
            match make(&authority).await {
                Ok(fresh) => {
                    reloaded = false;
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
                    tracing::info!("the server's own certificate was replaced");
                }
                Err(error) => {
                    let error = crate::answer::chain(error.as_ref());
                    tracing::error!(
                        error,
                        "the server's own certificate could not be replaced; the old one stays, next try in 30 s"
                    );
                }
            }
        }
    }
}

async fn make(authority: &Authority) -> Result<Current, Box<dyn std::error::Error + Send + Sync>> {
    let identity = authority.server_identity(Timestamp::now()).await?;
    let (begins, ends) = identity.validity;
    let replace_at = begins + (ends.duration_since(begins) / 3) * 2;
    metrics::gauge!("keywheel_server_certificate_not_after_seconds").set(ends.as_second() as f64);
    Ok(Current { config: Arc::new(config(authority, &identity)?), replace_at })
}

fn config(
    authority: &Authority,
    identity: &ServerIdentity,
) -> Result<ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let provider = Arc::new(provider(authority));
    let verifier = ClientVerifier::new(authority, &provider)?;
    let chain = identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.pkcs8_der().to_vec()));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(authority))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(chain, key)?;
    // Clients of this API come once a day: a ticket would be over before it is used. And with each connection the client
    // proves anew that it holds its key.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The cryptography of TLS, with those cipher suites of TLS 1.2 that `cipherSuites` names; those of TLS 1.3 are not chosen, as in
/// the reference.
fn provider(authority: &Authority) -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let named = authority.tls_options().cipher_suites;
    provider.cipher_suites.retain(|suite| {
        suite.tls13().is_some() || suite.suite().as_str().is_some_and(|name| named.iter().any(|wanted| wanted == name))
    });
    provider
}

/// The protocol versions between `minVersion` and `maxVersion`, never below TLS 1.2.
fn versions(authority: &Authority) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
    let options = authority.tls_options();
    // The versions are 1.2 and 1.3: anything between tells them apart.
    match (options.min_version > 1.25, options.max_version > 1.25) {
        (true, _) => &BOTH[..1],
        (false, false) => &BOTH[1..],
        (false, true) => &BOTH,
    }
}

/// Wants the chain of a client certificate to lead to this authority, but leaves its end to the engine: a certificate that has
/// expired may still be rekeyed where the provisioner allows it, and counts as none everywhere else.
#[derive(Debug)]
struct ClientVerifier {
    anchors: Vec<TrustAnchor<'static>>,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
    verified: Mutex<Verified>,
}

/// Leaves whose chain was verified, with the last second at which every issuer in it is valid. It lives as long as the
/// anchors that it was verified against.
#[derive(Debug, Default)]
struct Verified(HashMap<CertificateDigest, u64>);

/// The most leaves that are remembered.
const MAX_VERIFIED: usize = 10_000;

impl Verified {
    fn holds(&self, leaf: &CertificateDigest, moment: u64) -> bool {
        self.0.get(leaf).is_some_and(|until| moment <= *until)
    }

    fn remember(&mut self, leaf: CertificateDigest, until: u64) {
        if self.0.len() >= MAX_VERIFIED {
            self.0.clear();
        }
        self.0.insert(leaf, until);
    }
}

impl ClientVerifier {
    fn new(authority: &Authority, provider: &CryptoProvider) -> Result<Self, rustls::Error> {
        let mut anchors = Vec::new();
        let mut hints = Vec::new();
        for der in authority.roots().into_iter().chain(authority.intermediates()) {
            let der = CertificateDer::from(der);
            let anchor = webpki::anchor_from_trusted_cert(&der)
                .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?
                .to_owned();
            hints.push(DistinguishedName::in_sequence(&anchor.subject));
            anchors.push(anchor);
        }
        Ok(Self { anchors, hints, algorithms: provider.signature_verification_algorithms, verified: Mutex::default() })
    }

    fn verified(&self) -> MutexGuard<'_, Verified> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> &'static [&'static dyn SignatureVerificationAlgorithm] {
        self.algorithms.all
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let bad = |_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
        let certificate = Certificate::from_der(end_entity.as_ref()).map_err(bad)?;
        // One second before its end at the latest: expiry is not judged here, everything else is.
        let end = certificate.not_after().as_second();
        let moment = u64::try_from(end.saturating_sub(1)).unwrap_or(0).min(now.as_secs());
        // A client that comes back shows the same bytes: their signatures need not be verified again. That it holds the
        // key is proved in each handshake, and whether the certificate was revoked is asked of the store.
        let digest = certificate.digest();
        if self.verified().holds(&digest, moment) {
            return Ok(ClientCertVerified::assertion());
        }
        let leaf = webpki::EndEntityCert::try_from(end_entity).map_err(refused)?;
        let path = leaf
            .verify_for_usage(
                self.all(),
                &self.anchors,
                intermediates,
                UnixTime::since_unix_epoch(Duration::from_secs(moment)),
                webpki::KeyUsage::client_auth(),
                None,
                None,
            )
            .map_err(refused)?;
        let mut until = u64::MAX;
        for issuer in path.intermediate_certificates() {
            let end = Certificate::from_der(&issuer.der()).map_err(bad)?.not_after().as_second();
            until = until.min(u64::try_from(end).unwrap_or(0));
        }
        self.verified().remember(digest, until);
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The alert that tells the client most.
fn refused(error: webpki::Error) -> rustls::Error {
    use webpki::Error as E;
    let reason = match error {
        // An issuer that only has the same name as one of ours is as unknown as any.
        E::UnknownIssuer | E::InvalidSignatureForPublicKey => CertificateError::UnknownIssuer,
        E::CertNotValidYet { .. } => CertificateError::NotValidYet,
        E::CertExpired { .. } => CertificateError::Expired,
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => CertificateError::Other(rustls::OtherError(Arc::new(other))),
    };
    rustls::Error::InvalidCertificate(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verified_leaf_is_remembered_until_one_of_its_issuers_ends() {
        let mut verified = Verified::default();
        let (one, two) = (CertificateDigest([1; 32]), CertificateDigest([2; 32]));
        verified.remember(one, 1000);
        assert!(verified.holds(&one, 1000));
        assert!(!verified.holds(&one, 1001));
        assert!(!verified.holds(&two, 0));
    }

    #[test]
    fn no_more_leaves_are_remembered_than_fit() {
        let mut verified = Verified::default();
        for number in 0..=u16::try_from(2 * MAX_VERIFIED).unwrap() {
            let mut digest = [0; 32];
            digest[..2].copy_from_slice(&number.to_be_bytes());
            verified.remember(CertificateDigest(digest), 1);
            assert!(verified.0.len() <= MAX_VERIFIED && verified.holds(&CertificateDigest(digest), 1));
        }
    }
}
