//! The accept loop: one task per connection, so that nobody waits for another's handshake.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use keywheel_wire::x509::certificate::Certificate;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;

use crate::Limits;
use crate::tls::Tls;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// The certificate whose key it proved to hold, if it showed one; its chain was verified.
    pub(crate) certificate: Option<Arc<Certificate>>,
}

/// Accepts until `shutdown` turns true, then waits for what is in flight.
pub(crate) async fn run(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    limits: Arc<Limits>,
    mut shutdown: watch::Receiver<bool>,
) {
    let seats = Arc::new(Semaphore::new(limits.connections as usize));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => break,
            accepted = accept(&listener, &seats) => accepted,
        };
        let Some((stream, address, seat)) = accepted else { continue };
        let door = Door { router: router.clone(), limits: limits.clone(), shutdown: shutdown.clone() };
        let tls = tls.clone();
        tokio::spawn(async move {
            door.serve(stream, address, tls).await;
            drop(seat);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, seats.acquire_many(limits.connections)).await.is_err() {
        tracing::warn!("some connections were still open at the end of the time for them and were cut");
    }
}

async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let seat = seats.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => Some((stream, address, seat)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            // Out of file descriptors, most often: without a pause this loop would spin until one is free.
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

struct Door {
    router: Router,
    limits: Arc<Limits>,
    shutdown: watch::Receiver<bool>,
}

impl Door {
    async fn serve(self, stream: TcpStream, address: SocketAddr, tls: Option<Arc<Tls>>) {
        // Without it the last small packet of a handshake waits for the peer's delayed acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %address, "no TCP_NODELAY");
        }
        let Some(tls) = tls else {
            return self.serve_http(stream, Peer { address, certificate: None }).await;
        };
        let handshake = tokio_rustls::TlsAcceptor::from(tls.current()).accept(stream);
        match tokio::time::timeout(self.limits.handshake, handshake).await {
            Ok(Ok(stream)) => {
                let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                // What the verifier has read can be read.
                let certificate = leaf.and_then(|leaf| Certificate::from_der(leaf).ok()).map(Arc::new);
                self.serve_http(stream, Peer { address, certificate }).await;
            }
            Ok(Err(error)) => {
                metrics::counter!("keywheel_tls_handshake_failures_total").increment(1);
                tracing::debug!(%error, %address, "TLS handshake failed");
            }
            Err(_) => {
                metrics::counter!("keywheel_tls_handshake_failures_total").increment(1);
                tracing::debug!(%address, "TLS handshake took too long");
            }
        }
    }

    async fn serve_http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(mut self, stream: S, peer: Peer) {
        let activity = Arc::new(Activity::new());
        let service = {
            let (router, activity, peer) = (self.router, activity.clone(), peer.clone());
            hyper::service::service_fn(move |mut request: Request<Incoming>| {
                let busy = activity.begin();
                request.extensions_mut().insert(peer.clone());
                let answer = router.clone().oneshot(request.map(Body::new));
                async move {
                    let answer: Result<Response<Body>, Infallible> = answer.await;
                    drop(busy);
                    answer
                }
            })
        };
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.limits.headers).max_buf_size(64 * 1024);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(128)
            .max_header_list_size(32 * 1024)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut tick = tokio::time::interval(self.limits.idle / 4);
        let mut leaving = *self.shutdown.borrow_and_update();
        if leaving {
            connection.as_mut().graceful_shutdown();
        }
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(error, address = %peer.address, "connection ended");
                    }
                    return;
                }
                _ = self.shutdown.wait_for(|stop| *stop), if !leaving => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = tick.tick() => match activity.idle() {
                    // A client that does not answer the farewell either is cut.
                    idle if idle > self.limits.idle * 2 => return,
                    idle if idle > self.limits.idle => connection.as_mut().graceful_shutdown(),
                    _ => {}
                },
            }
        }
    }
}

/// How long a connection has carried no request.
struct Activity {
    start: Instant,
    in_flight: AtomicUsize,
    last: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self { start: Instant::now(), in_flight: AtomicUsize::new(0), last: AtomicU64::new(0) }
    }

    fn begin(self: &Arc<Self>) -> Busy {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    fn idle(&self) -> Duration {
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

/// Marks a request in flight until it is dropped, also when the client goes away in the middle.
struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last.store(now, Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
