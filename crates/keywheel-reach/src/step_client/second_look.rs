//! What a server says to our certificate in a TLS handshake, found out without any request.
//!
//! With TLS 1.3 a server judges the client's certificate after the client thinks that the connection stands. Its alert then
//! meets a request that is under way, and the HTTP library tells of a closed channel, a broken pipe or a cancelled request:
//! the refusal looks like trouble of the network. A handshake of our own, after which nothing is sent, brings it to light.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ClientConnection};

/// A server that has nothing to say in this time takes the certificate.
const LIMIT: Duration = Duration::from_secs(2);

/// How to ask the server once more.
#[derive(Debug, Clone)]
pub(super) struct SecondLook {
    config: Arc<ClientConfig>,
}

impl SecondLook {
    /// With the settings that the requests are sent with.
    pub(super) fn new(settings: &ClientConfig) -> Self {
        let mut config = settings.clone();
        // A resumed session would not show the certificate again.
        config.resumption = Resumption::disabled();
        Self { config: Arc::new(config) }
    }

    /// The alert with which the server ends a connection, if it does.
    pub(super) async fn alert(&self, base: &str) -> Option<AlertDescription> {
        let url = reqwest::Url::parse(base).ok()?;
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port_or_known_default()?;
        let config = self.config.clone();
        tokio::task::spawn_blocking(move || shake_hands(config, &host, port)).await.ok()?.ok()?
    }
}

fn shake_hands(config: Arc<ClientConfig>, host: &str, port: u16) -> io::Result<Option<AlertDescription>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut session = ClientConnection::new(config, name).map_err(io::Error::other)?;
    let until = Instant::now() + LIMIT;
    let mut stream = connect(host, port)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    while Instant::now() < until {
        if session.wants_write() {
            session.write_tls(&mut stream)?;
        } else if session.read_tls(&mut stream)? == 0 {
            break;
        } else if let Err(error) = session.process_new_packets() {
            return match error {
                rustls::Error::AlertReceived(alert) => Ok(Some(alert)),
                other => Err(io::Error::other(other)),
            };
        } else if session.tls13_tickets_received() > 0 {
            // Tickets are given to those who were let in.
            break;
        }
    }
    Ok(None)
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, LIMIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
