//! Where a service shows its certificate: a protocol, a host, a port, and the name that it is asked by.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use rustls::pki_types::{DnsName, ServerName};

use super::starttls::Kind;

/// No host, port and name together are longer.
const MAX_LENGTH: usize = 1024;

/// A protocol by its name, and its port where it has one.
const KINDS: &[(&str, Kind, Option<u16>)] = &[
    ("tls", Kind::Tls, None),
    ("smtp", Kind::Smtp, Some(25)),
    ("lmtp", Kind::Lmtp, Some(24)),
    ("imap", Kind::Imap, Some(143)),
    ("pop3", Kind::Pop3, Some(110)),
    ("sieve", Kind::Sieve, Some(4190)),
    ("ftp", Kind::Ftp, Some(21)),
    ("nntp", Kind::Nntp, Some(119)),
    ("ldap", Kind::Ldap, Some(389)),
    ("postgres", Kind::Postgres, Some(5432)),
    ("mysql", Kind::Mysql, Some(3306)),
    ("xmpp", Kind::XmppClient, Some(5222)),
    ("xmpp-server", Kind::XmppServer, Some(5269)),
];

/// Where a service shows its certificate, such as `tls://www.example.com:443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    kind: Kind,
    /// An IPv6 address without brackets.
    host: String,
    port: u16,
    asked_as: ServerName<'static>,
}

/// Why a text names no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// There is no protocol.
    #[error("'{0}' has no protocol; write tls://host:port, or with STARTTLS one of {list}", list = names())]
    NoScheme(String),
    /// The protocol is not known.
    #[error("the protocol '{0}' is not known; there are {list}", list = names())]
    UnknownScheme(String),
    /// There is more than host, port and query.
    #[error("'{0}' has more than a host and a port; write tls://host:port, without user and path")]
    TooMuch(String),
    /// The host is none.
    #[error("'{0}' is neither the name nor the address of a host; an IPv6 address stands in brackets")]
    Host(String),
    /// The port is none.
    #[error("'{0}' is no port; write a number from 1 to 65535")]
    Port(String),
    /// The port is missing.
    #[error("'{0}' has no port; write tls://host:port")]
    NoPort(String),
    /// The part after the question mark is not known.
    #[error("'{0}' is not known after the question mark; there is ?servername=name")]
    UnknownQuery(String),
    /// A service cannot be asked by this name.
    #[error("'{0}' is no name that a service could be asked by")]
    ServerName(String),
    /// Nobody needs so much.
    #[error("the endpoint is longer than {MAX_LENGTH} characters")]
    TooLong,
}

impl Endpoint {
    /// Reads `protocol://host[:port][?servername=name]`.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        if text.len() > MAX_LENGTH {
            return Err(EndpointError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| EndpointError::NoScheme(text.to_owned()))?;
        let known = KINDS.iter().find(|(name, ..)| name.eq_ignore_ascii_case(scheme));
        let (_, kind, default) = *known.ok_or_else(|| EndpointError::UnknownScheme(scheme.to_owned()))?;
        let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
        if place.contains(['@', '/', '#']) {
            return Err(EndpointError::TooMuch(text.to_owned()));
        }
        let (host, port) = split_port(place)?;
        let (host, asked_as) = parse_host(host)?;
        let port = match port {
            Some(port) => {
                port.parse().ok().filter(|port| *port != 0).ok_or_else(|| EndpointError::Port(port.to_owned()))?
            }
            None => default.ok_or_else(|| EndpointError::NoPort(text.to_owned()))?,
        };
        Ok(Self { kind, host, port, asked_as: query.map(parse_query).transpose()?.unwrap_or(asked_as) })
    }

    /// What is spoken before TLS.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The host, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The name that the service is asked by, or the address where there is no name.
    pub fn name(&self) -> &str {
        match &self.asked_as {
            ServerName::DnsName(name) => name.as_ref(),
            _ => &self.host,
        }
    }

    pub(super) fn server_name(&self) -> ServerName<'static> {
        self.asked_as.clone()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = KINDS.iter().find(|(_, kind, _)| *kind == self.kind).map_or("", |(name, ..)| name);
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)?;
        if self.name() == self.host { Ok(()) } else { write!(f, "?servername={}", self.name()) }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// The host in its one spelling, and the name or address that it is asked by.
fn parse_host(text: &str) -> Result<(String, ServerName<'static>), EndpointError> {
    let refused = || EndpointError::Host(text.to_owned());
    let address = match text.strip_prefix('[') {
        Some(inner) => {
            let inner = inner.strip_suffix(']').ok_or_else(refused)?;
            Some(IpAddr::V6(inner.parse().map_err(|_| refused())?))
        }
        None => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    match address {
        Some(address) => Ok((address.to_string(), ServerName::from(address))),
        None => DnsName::try_from(text.to_owned())
            .map(|name| (text.to_owned(), ServerName::DnsName(name)))
            .map_err(|_| refused()),
    }
}

/// The host with its brackets, and what stands after the colon.
fn split_port(place: &str) -> Result<(&str, Option<&str>), EndpointError> {
    if place.starts_with('[') {
        let end = place.find(']').ok_or_else(|| EndpointError::Host(place.to_owned()))?;
        let (host, rest) = place.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(EndpointError::Host(place.to_owned())),
        };
    }
    match place.split_once(':') {
        // More than one colon is an IPv6 address without its brackets.
        Some((_, rest)) if rest.contains(':') => Err(EndpointError::Host(place.to_owned())),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((place, None)),
    }
}

fn parse_query(query: &str) -> Result<ServerName<'static>, EndpointError> {
    let name = query.strip_prefix("servername=").ok_or_else(|| EndpointError::UnknownQuery(query.to_owned()))?;
    // TLS has no way to ask for an address.
    match ServerName::try_from(name.to_owned()) {
        Ok(asked @ ServerName::DnsName(_)) => Ok(asked),
        _ => Err(EndpointError::ServerName(name.to_owned())),
    }
}

/// All protocols, for a message.
fn names() -> String {
    KINDS.iter().map(|(name, ..)| format!("{name}://")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_has_its_port_and_tls_must_be_given_one() {
        for (name, _, port) in KINDS {
            let parsed = Endpoint::parse(&format!("{name}://host.example"));
            match port {
                Some(port) => assert_eq!(parsed.unwrap().to_string(), format!("{name}://host.example:{port}")),
                None => assert!(matches!(parsed, Err(EndpointError::NoPort(_)))),
            }
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for text in [
            "tls://www.example.com:443",
            "tls://127.0.0.1:8443?servername=www.example.com",
            "smtp://mail.example.com:587",
            "imap://[::1]:143",
            "ldap://[2001:db8::1]:3890?servername=ldap.example.com",
            "xmpp-server://a_b.example:5269",
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.to_string(), text);
            assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint));
        }
    }

    #[test]
    fn the_service_is_asked_by_its_host_unless_another_name_is_given() {
        let name = |text: &str| Endpoint::parse(text).unwrap().name().to_owned();
        assert_eq!(name("tls://www.example.com:1"), "www.example.com");
        assert_eq!(name("tls://10.0.0.1:1?servername=www.example.com"), "www.example.com");
        assert_eq!(name("tls://[::1]:1"), "::1");
    }

    #[test]
    fn what_is_no_endpoint_is_refused_and_the_message_lists_what_there_is() {
        for text in [
            "",
            "localhost:443",
            "https://localhost",
            "tls://localhost",
            "tls://localhost:0",
            "tls://localhost:65536",
            "tls://localhost:",
            "tls://:443",
            "tls://::1:443",
            "tls://[::1:443",
            "tls://[::1]443",
            "tls://[localhost]:443",
            "tls://user@localhost:443",
            "tls://localhost:443/",
            "tls://localhost:443#part",
            "tls://local host:443",
            "tls://localhost:443?sni=a",
            "tls://localhost:443?servername=",
            "tls://localhost:443?servername=127.0.0.1",
            "tls://localhost:443?servername=a&servername=b",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
        assert_eq!(Endpoint::parse(&format!("tls://{}:1", "a".repeat(2000))), Err(EndpointError::TooLong));
        let unknown = Endpoint::parse("https://localhost:443").unwrap_err().to_string();
        assert!(unknown.contains("'https'") && unknown.contains("tls://, smtp://"), "{unknown}");
        let query = Endpoint::parse("tls://localhost:443?sni=a").unwrap_err().to_string();
        assert!(query.contains("servername="), "{query}");
    }
}
