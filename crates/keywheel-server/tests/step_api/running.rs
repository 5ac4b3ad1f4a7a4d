//! A CA in this process with a home of its own, and clients for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keywheel_engine::authority::{Authority, AuthorityOptions};
use keywheel_engine::home::{InitOptions, init};
use keywheel_reach::tls::{Identity, Trust, client_config};
use keywheel_server::{Limits, Listeners, Settings, serve};
use keywheel_signer::file_key::FileKey;
use keywheel_signer::random;
use keywheel_wire::jose::jwk::PublicJwk;
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::signer::Signer;
use keywheel_wire::step::token::{self, Contents};
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::name::Name;
use keywheel_wire::x509::request;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

/// A certificate and its key, in the hands of a client.
#[derive(Clone)]
pub(crate) struct Holder {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Arc<FileKey>,
}

/// A running CA.
pub(crate) struct Ca {
    pub(crate) url: String,
    pub(crate) insecure_url: String,
    pub(crate) metrics_url: String,
    pub(crate) home: PathBuf,
    pub(crate) root: Vec<u8>,
    pub(crate) authority: Authority,
    pub(crate) provisioner_key: Arc<FileKey>,
    pub(crate) kid: String,
    _place: Arc<TempDir>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Ca {
    /// A CA as `init` makes it, with a provisioner key that the test knows.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// As [`Ca::start`], with a change to `ca.json`.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Value)) -> Self {
        let place = tempfile::tempdir().unwrap();
        let home = place.path().join("home");
        let options = InitOptions {
            home: home.clone(),
            name: "Test".into(),
            dns_names: vec!["localhost".into(), "127.0.0.1".into()],
            address: "127.0.0.1:0".into(),
            ca_url: None,
            provisioner: "admin".into(),
            password: Zeroizing::new(b"password".to_vec()),
            provisioner_password: None,
            key_kind: KeyKind::EcP256,
            token: None,
            ssh: false,
            database: None,
            force: false,
            made_by_up: false,
        };
        tokio::task::spawn_blocking(move || init(&options, Timestamp::now()).unwrap()).await.unwrap();
        let provisioner_key = Arc::new(FileKey::generate(KeyKind::EcP256).unwrap());
        let jwk = PublicJwk::from_spki(provisioner_key.public_key()).unwrap();
        let path = home.join("config/ca.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config["authority"]["provisioners"][0]["key"] = Value::Object(jwk.to_object());
        change(&mut config);
        std::fs::write(&path, serde_json::to_vec_pretty(&config).unwrap()).unwrap();
        Self::run(Arc::new(place), home, provisioner_key, jwk.thumbprint()).await
    }

    async fn run(place: Arc<TempDir>, home: PathBuf, provisioner_key: Arc<FileKey>, kid: String) -> Self {
        let options = AuthorityOptions {
            config_file: home.join("config/ca.json"),
            password: Some(Zeroizing::new(b"password".to_vec())),
            database: None,
            fresh_database: false,
        };
        let authority = Authority::open(options, Timestamp::now()).await.unwrap();
        let https = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://127.0.0.1:{}", https.local_addr().unwrap().port());
        let insecure_url = format!("http://127.0.0.1:{}", http.local_addr().unwrap().port());
        let metrics = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let metrics_url = format!("http://127.0.0.1:{}/metrics", metrics.local_addr().unwrap().port());
        let root = authority.roots().remove(0);
        let (stop, told) = watch::channel(false);
        let listeners = Listeners { https, http: Some(http), metrics: Some(metrics) };
        let limits = Limits { drain: Duration::from_secs(2), ..Limits::default() };
        let settings = Settings { version: "0.0.1".into(), limits };
        let server = tokio::spawn({
            let authority = authority.clone();
            async move { serve(authority, listeners, settings, told).await.unwrap() }
        });
        Self {
            url,
            insecure_url,
            metrics_url,
            home,
            root,
            authority,
            provisioner_key,
            kid,
            _place: place,
            stop,
            server,
        }
    }

    /// Stops the CA and starts it again on what it left on disk.
    pub(crate) async fn restart(self) -> Self {
        let Self { home, authority, provisioner_key, kid, _place, stop, server, .. } = self;
        stop.send(true).unwrap();
        server.await.unwrap();
        authority.store().close().await;
        drop(authority);
        Self::run(_place, home, provisioner_key, kid).await
    }

    /// A client that trusts this CA and shows `holder`'s certificate.
    pub(crate) fn client(&self, holder: Option<&Holder>) -> Client {
        let identity = holder.map(|holder| Identity { chain: holder.chain.clone(), signer: holder.key.clone() });
        let config = client_config(&Trust::Roots(vec![self.root.clone()]), identity.as_ref()).unwrap();
        Client::builder().tls_backend_preconfigured(config).timeout(Duration::from_secs(20)).no_proxy().build().unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        reply(self.client(None).get(format!("{}{path}", self.url))).await
    }

    pub(crate) async fn post(&self, holder: Option<&Holder>, path: &str, body: &Value) -> Reply {
        reply(self.client(holder).post(format!("{}{path}", self.url)).body(body.to_string())).await
    }

    pub(crate) async fn post_with_token(&self, token: &str, path: &str, body: &Value) -> Reply {
        let request = self.client(None).post(format!("{}{path}", self.url)).body(body.to_string());
        reply(request.header("authorization", format!("Bearer {token}"))).await
    }

    /// A one-time token for a route.
    pub(crate) fn token(&self, route: &str, subject: &str, change: impl FnOnce(&mut Contents)) -> String {
        let mut contents = Contents::new(&format!("{}/1.0{route}", self.url), "admin", subject, Timestamp::now());
        contents.id = Some(hex(&random::bytes::<16>().unwrap()));
        change(&mut contents);
        token::sign_with_jwk(&contents, &self.kid, self.provisioner_key.as_ref()).unwrap()
    }

    /// Asks for a first certificate.
    pub(crate) async fn sign(&self, name: &str, more: Value) -> (Reply, Arc<FileKey>) {
        let key = Arc::new(FileKey::generate(KeyKind::EcP256).unwrap());
        let token = self.token("/sign", name, |_| {});
        let mut body = json!({ "csr": csr(&key, name), "ott": token });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        (self.post(None, "/sign", &body).await, key)
    }

    /// A first certificate for a name.
    pub(crate) async fn holder(&self, name: &str) -> Holder {
        let (reply, key) = self.sign(name, json!({})).await;
        reply.holder(key)
    }

    pub(crate) async fn rekey(&self, holder: &Holder, key: &Arc<FileKey>) -> Reply {
        self.post(Some(holder), "/rekey", &json!({ "csr": csr(key, "") })).await
    }

    /// The shape of a rekey that went well.
    pub(crate) async fn rekeyed(&self, holder: &Holder) -> Holder {
        let key = new_key();
        self.rekey(holder, &key).await.holder(key)
    }

    pub(crate) async fn is_revoked(&self, holder: &Holder) -> bool {
        self.authority.store().revocation(holder.leaf().serial()).await.unwrap().is_some()
    }
}

impl Holder {
    pub(crate) fn leaf(&self) -> Certificate {
        Certificate::from_der(&self.chain[0]).unwrap()
    }

    /// A token that carries this certificate, for a route.
    pub(crate) fn token(&self, ca: &Ca, route: &str, change: impl FnOnce(&mut Contents)) -> String {
        let subject = self.leaf().subject().common_name().unwrap_or_default();
        let audience = format!("{}{route}", ca.url);
        let mut contents = Contents::new(&audience, token::CLIENT_ISSUER, &subject, Timestamp::now());
        contents.id = Some(hex(&random::bytes::<16>().unwrap()));
        change(&mut contents);
        token::sign_with_chain(&contents, "x5cInsecure", &self.chain, self.key.as_ref()).unwrap()
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn holder(&self, key: Arc<FileKey>) -> Holder {
        assert_eq!(self.status, 201, "{}", self.text());
        let body = self.json();
        let chain = body["certChain"].as_array().unwrap().iter();
        let der = |pem: &Value| Certificate::from_pem(pem.as_str().unwrap().as_bytes()).unwrap().der().to_vec();
        let holder = Holder { chain: chain.map(der).collect(), key };
        assert_eq!(holder.leaf().spki(), holder.key.public_key());
        holder
    }

    #[track_caller]
    pub(crate) fn refused(&self, status: u16, message: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.json()["status"], status);
        let told = self.json()["message"].as_str().unwrap().to_owned();
        assert!(told.contains(message), "{told:?} does not say {message:?}");
    }
}

pub(crate) fn new_key() -> Arc<FileKey> {
    Arc::new(FileKey::generate(KeyKind::EcP256).unwrap())
}

/// A request, PEM; an empty name asks for nothing but the key.
pub(crate) fn csr(key: &FileKey, name: &str) -> String {
    request::to_pem(&csr_der(key, name)).to_string()
}

pub(crate) fn csr_der(key: &FileKey, name: &str) -> Vec<u8> {
    let subject = if name.is_empty() { Name::empty() } else { Name::with_common_name(name) };
    request::create(key, &subject, &[]).unwrap()
}

pub(crate) async fn reply(request: reqwest::RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Reply { status, headers, body: response.bytes().await.unwrap().to_vec() }
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Waits until something holds, at most ten seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let until = Timestamp::now() + SignedDuration::from_secs(10);
    while !holds().await {
        assert!(Timestamp::now() < until, "{what}: not within ten seconds");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
