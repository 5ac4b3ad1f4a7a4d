//! The certificate authority: authorises, decides, records, signs, and records again.

mod carry_over;
mod crl;
mod database;
mod describe;
mod error;
mod identity;
pub(crate) mod issue;
mod loops;
mod replace;
mod revoke;
mod settings;
mod sign;
mod token;

pub use error::{AuthorityError, OpenError};

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Timestamp;
use keywheel_core::provisioner::ProvisionerKind;
use keywheel_core::serial::Serial;
use keywheel_store::Store;
use keywheel_wire::private_key::PrivateKey;
use keywheel_wire::step::messages::TlsOptions;
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::request::Request;
use tokio::sync::{Notify, watch};
use zeroize::Zeroizing;

use settings::Settings;

/// What is needed to open a certificate authority.
pub struct AuthorityOptions {
    /// The `ca.json` to read; read again by [`Authority::reload`].
    pub config_file: PathBuf,
    /// The password of the issuing CA's key, where it is encrypted.
    pub password: Option<Zeroizing<Vec<u8>>>,
    /// The database to use instead of the one that `ca.json` names (`sqlite:<path>` or `postgres://…`).
    pub database: Option<String>,
    /// Start with an empty database although `ca.json` names one that cannot be read.
    pub fresh_database: bool,
}

/// A certificate authority that is open: its settings, its keys and its store.
#[derive(Clone)]
pub struct Authority {
    inner: Arc<Inner>,
}

struct Inner {
    options: AuthorityOptions,
    store: Store,
    settings: RwLock<Arc<Settings>>,
    generation: watch::Sender<u64>,
    /// Wakes the loops for a new revocation list.
    list_wanted: Notify,
    list_due: AtomicBool,
    /// One list at a time is made on demand.
    making_list: tokio::sync::Mutex<()>,
    /// Certificates whose first use was noted already: most requests need not ask the store again.
    seen: Mutex<HashSet<Serial>>,
}

/// The most serial numbers that are kept in memory as seen.
const MAX_SEEN: usize = 100_000;

/// A certificate that was issued (or issued before and asked for again).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Leaf first, then the intermediates, each DER; never the root.
    pub chain: Vec<Vec<u8>>,
    /// True where the same request was answered before with this certificate.
    pub replayed: bool,
}

/// A request for a first certificate.
#[derive(Clone, Debug, Default)]
pub struct SignRequest {
    /// The certificate signing request, DER.
    pub csr: Vec<u8>,
    /// The one-time token.
    pub token: String,
    /// Wanted start: RFC 3339 time, Go duration from now, or empty.
    pub not_before: String,
    /// Wanted end: RFC 3339 time, Go duration from now, or empty.
    pub not_after: String,
    /// Data of the user for the template (`.Insecure.User`).
    pub template_data: Option<serde_json::Value>,
}

/// Who asks for a renewal or a new key.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The certificate of a TLS client: its chain was verified, and the client proved to hold its key.
    Tls(Arc<Certificate>),
    /// A certificate chain in the hands of who runs this process (`--offline`), leaf first; it is verified here.
    Held(Vec<Vec<u8>>),
    /// A token that carries and is signed by the certificate.
    Token(String),
}

/// Who asks for a revocation.
#[derive(Clone, Debug)]
pub enum Revoker {
    /// The certificate chain of a TLS client, leaf first: revokes itself.
    Tls(Vec<Vec<u8>>),
    /// A certificate chain in the hands of who runs this process (`--offline`), leaf first: revokes itself.
    Held(Vec<Vec<u8>>),
    /// A one-time token of a provisioner.
    Token(String),
}

/// A request to revoke a certificate.
#[derive(Clone, Debug, Default)]
pub struct RevokeRequest {
    /// Serial number, decimal or 0x-hexadecimal.
    pub serial: String,
    /// Reason code of RFC 5280.
    pub reason_code: i64,
    /// Why, in the words of the one who asks.
    pub reason: String,
    /// Must be true: only passive revocation exists.
    pub passive: bool,
}

/// A certificate revocation list.
#[derive(Clone, Debug)]
pub struct Crl {
    /// The signed list, DER.
    pub der: Vec<u8>,
    /// When the next one is due.
    pub expires: Timestamp,
}

/// What the server shows to its clients: a certificate of this authority for its own names.
pub struct ServerIdentity {
    /// Leaf first, then the intermediates, DER.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's private key.
    pub key: PrivateKey,
    /// When the leaf begins and ends.
    pub validity: (Timestamp, Timestamp),
}

/// Where `ca.json` wants the server to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The step API over TLS (`:443`, `127.0.0.1:8443`).
    pub https: String,
    /// Plain HTTP.
    pub http: Option<String>,
    /// Metrics.
    pub metrics: Option<String>,
}

/// A page of provisioners.
#[derive(Clone, Debug)]
pub struct ProvisionerPage {
    /// The objects as they stand in `ca.json`.
    pub provisioners: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Where the next page starts; empty on the last one.
    pub next_cursor: String,
}

impl Authority {
    /// Reads `ca.json`, opens keys and store.
    ///
    /// # Errors
    /// Where a file cannot be read or is wrong, the password does not open the key, or the store cannot be opened.
    pub async fn open(options: AuthorityOptions, now: Timestamp) -> Result<Self, OpenError> {
        let (options, settings) = tokio::task::spawn_blocking(move || {
            let settings = Settings::read(&options.config_file, options.password.as_ref());
            (options, settings)
        })
        .await
        .map_err(|error| OpenError::Store(Box::new(error)))?;
        let settings = settings?;
        if settings.issuer().not_after() <= now {
            tracing::error!(not_after = %settings.issuer().not_after(), "the issuing certificate is over: nothing can be signed");
        }
        let store = database::open(&options, &settings).await?;
        let inner = Inner {
            options,
            store,
            settings: RwLock::new(Arc::new(settings)),
            generation: watch::Sender::new(0),
            list_wanted: Notify::new(),
            // The issuing key may be another one than when the stored list was signed.
            list_due: AtomicBool::new(true),
            making_list: tokio::sync::Mutex::new(()),
            seen: Mutex::new(HashSet::new()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Reads `ca.json` again and, where all of it is right, goes on with it; else nothing is changed.
    ///
    /// The database and the addresses stay what they were.
    ///
    /// # Errors
    /// Where a file cannot be read or is wrong.
    pub async fn reload(&self) -> Result<(), OpenError> {
        let inner = self.inner.clone();
        let settings = tokio::task::spawn_blocking(move || {
            Settings::read(&inner.options.config_file, inner.options.password.as_ref())
        })
        .await
        .map_err(|error| OpenError::Store(Box::new(error)))??;
        *self.inner.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.inner.generation.send_modify(|generation| *generation += 1);
        // Another issuing key may sign from now on, or the list name another place of its own.
        self.want_list();
        tracing::info!("the configuration was read again");
        Ok(())
    }

    /// Issues a first certificate for a one-time token.
    ///
    /// # Errors
    /// See [`AuthorityError`]; so for every request below.
    pub async fn sign(&self, request: SignRequest, now: Timestamp) -> Result<Issued, AuthorityError> {
        let issued = sign::sign(&self.inner.store, &self.settings(), request, now).await?;
        log("sign", &issued);
        Ok(issued)
    }

    /// Issues a certificate with the same key and a new lifetime.
    ///
    /// # Errors
    /// Where it is not renewed.
    pub async fn renew(&self, caller: Caller, now: Timestamp) -> Result<Issued, AuthorityError> {
        let issued = replace::renew(&self.inner.store, &self.settings(), caller, now).await?;
        log("renew", &issued);
        Ok(issued)
    }

    /// Issues a certificate with the key of `csr` in place of the caller's. The same request gets the same answer again.
    ///
    /// # Errors
    /// Where it is not rekeyed.
    pub async fn rekey(&self, caller: Caller, csr: Request, now: Timestamp) -> Result<Issued, AuthorityError> {
        let settings = self.settings();
        let issued = replace::rekey(&self.inner.store, &settings, caller, &csr, now).await?;
        // It may have revoked a successor that nobody saw, or been the first use of the certificate that asked.
        if !issued.replayed && settings.supersedes() {
            self.inner.list_due.store(true, Ordering::Relaxed);
        }
        log("rekey", &issued);
        Ok(issued)
    }

    /// Revokes a certificate; it stands on the next revocation list.
    ///
    /// # Errors
    /// Where it is not revoked, or was before.
    pub async fn revoke(&self, revoker: Revoker, request: RevokeRequest, now: Timestamp) -> Result<(), AuthorityError> {
        let serial = request.serial.clone();
        revoke::revoke(&self.inner.store, &self.settings(), revoker, request, now).await?;
        tracing::info!(serial, "a certificate was revoked");
        self.want_list();
        Ok(())
    }

    /// Notes that a client holds this certificate and its key: the first use of a successor retires what it replaced.
    ///
    /// The caller has verified the chain. Certificates that are over or revoked are not noted.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn note_use(&self, certificate: &Certificate, now: Timestamp) -> Result<(), AuthorityError> {
        let serial = certificate.serial();
        if now > certificate.not_after() || now < certificate.not_before() || self.seen().contains(&serial) {
            return Ok(());
        }
        if self.inner.store.mark_seen(serial, now).await.map_err(issue::not_stored)? {
            tracing::info!(%serial, "a successor was seen in use for the first time");
            self.want_list();
        }
        let mut seen = self.seen();
        if seen.len() >= MAX_SEEN {
            seen.clear();
        }
        seen.insert(serial);
        Ok(())
    }

    /// The root certificates, DER.
    pub fn roots(&self) -> Vec<Vec<u8>> {
        ders(&self.settings().roots)
    }

    /// The root certificate with this SHA-256 fingerprint (hexadecimal in any case, dashes ignored).
    ///
    /// # Errors
    /// Where there is none.
    pub fn root(&self, fingerprint: &str) -> Result<Vec<u8>, AuthorityError> {
        let wanted = fingerprint.replace('-', "").to_ascii_lowercase();
        let settings = self.settings();
        let mut all = settings.roots.iter().chain(&settings.federated);
        all.find(|root| root.digest().to_string() == wanted).map(|root| root.der().to_vec()).ok_or_else(|| {
            let shown: String = fingerprint.chars().filter(|letter| letter.is_ascii_graphic()).take(128).collect();
            AuthorityError::NotFound(format!("root certificate with fingerprint \"{shown}\" was not found"))
        })
    }

    /// The intermediate certificates, issuing one first, DER.
    pub fn intermediates(&self) -> Vec<Vec<u8>> {
        ders(&self.settings().chain)
    }

    /// The roots and the federated roots, DER.
    pub fn federation(&self) -> Vec<Vec<u8>> {
        let settings = self.settings();
        settings.roots.iter().chain(&settings.federated).map(|root| root.der().to_vec()).collect()
    }

    /// A page of the provisioners; a cursor that was never given out starts at the beginning.
    pub fn provisioners(&self, cursor: &str, limit: usize) -> ProvisionerPage {
        let settings = self.settings();
        let start = cursor.parse::<usize>().unwrap_or(0).min(settings.objects.len());
        let end = start.saturating_add(limit.max(1)).min(settings.objects.len());
        let next_cursor = if end < settings.objects.len() { format!("{end:08}") } else { String::new() };
        ProvisionerPage { provisioners: settings.objects[start..end].to_vec(), next_cursor }
    }

    /// The encrypted key (compact JWE) of the provisioner with this key id.
    ///
    /// # Errors
    /// Where there is no such provisioner, or it has no encrypted key.
    pub fn encrypted_key(&self, wanted: &str) -> Result<String, AuthorityError> {
        let settings = self.settings();
        let mut keys = settings.provisioners.iter().filter_map(|entry| match &entry.provisioner.kind {
            ProvisionerKind::Jwk { kid, encrypted_key: Some(key), .. } if kid == wanted => Some(key.clone()),
            _ => None,
        });
        keys.next().ok_or_else(|| AuthorityError::NotFound(String::new()))
    }

    /// The current revocation list; one is made where none is there.
    ///
    /// # Errors
    /// Where this authority makes none.
    pub async fn crl(&self, now: Timestamp) -> Result<Crl, AuthorityError> {
        let settings = self.settings();
        if !settings.crl {
            return Err(AuthorityError::NotFound(String::new()));
        }
        if let Some(list) = crl::current(&self.inner.store, now).await? {
            return Ok(list);
        }
        let _alone = self.inner.making_list.lock().await;
        match crl::current(&self.inner.store, now).await? {
            Some(list) => Ok(list),
            None => crl::make(&self.inner.store, &settings, now).await,
        }
    }

    /// A fresh certificate for the server's own names.
    ///
    /// # Errors
    /// Where it cannot be issued.
    pub async fn server_identity(&self, now: Timestamp) -> Result<ServerIdentity, AuthorityError> {
        let settings = self.settings();
        match identity::make(&self.inner.store, &settings, now).await {
            // Without it nothing is served, not even what needs no room: what was kept aside is for this.
            Err(AuthorityError::Full { source, .. }) if self.inner.store.give_up_reserve() => {
                let why = chain(source.as_ref());
                tracing::error!(why, "the disk is full: the room kept aside goes to the server's own certificate");
                identity::make(&self.inner.store, &settings, now).await
            }
            outcome => outcome,
        }
    }

    /// The TLS settings of `ca.json`.
    pub fn tls_options(&self) -> TlsOptions {
        let tls = &self.settings().config.tls;
        TlsOptions {
            cipher_suites: tls.cipher_suites.clone(),
            min_version: tls.min_version,
            max_version: tls.max_version,
            renegotiation: tls.renegotiation,
        }
    }

    /// Counts up at each reload.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.inner.generation.subscribe()
    }

    /// Where to listen: `address`, `insecureAddress`, `metricsAddress` of `ca.json`.
    pub fn addresses(&self) -> Addresses {
        let config = &self.settings().config;
        Addresses {
            https: config.address.clone(),
            http: config.insecure_address.clone(),
            metrics: config.metrics_address.clone(),
        }
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn health(&self) -> Result<(), AuthorityError> {
        self.inner.store.ping().await.map_err(issue::not_stored)
    }

    /// The names of the CA itself.
    pub fn dns_names(&self) -> Vec<String> {
        self.settings().config.dns_names.clone()
    }

    /// The store, for reading and for administration.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Runs the loops (revocation list, superseded certificates, used tokens) until `shutdown` turns true.
    pub async fn run(&self, shutdown: watch::Receiver<bool>) {
        loops::run(self, shutdown).await;
    }

    fn settings(&self) -> Arc<Settings> {
        self.inner.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, HashSet<Serial>> {
        self.inner.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn want_list(&self) {
        self.inner.list_due.store(true, Ordering::Relaxed);
        self.inner.list_wanted.notify_one();
    }
}

fn ders(certificates: &[Certificate]) -> Vec<Vec<u8>> {
    certificates.iter().map(|certificate| certificate.der().to_vec()).collect()
}

/// An error with all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn log(by: &'static str, issued: &Issued) {
    let certificate = issued.chain.first().and_then(|der| Certificate::from_der(der).ok());
    if let Some(certificate) = certificate {
        tracing::info!(
            by,
            serial = %certificate.serial(),
            subject = %certificate.subject(),
            not_after = %certificate.not_after(),
            replayed = issued.replayed,
            "a certificate was issued"
        );
    }
}
