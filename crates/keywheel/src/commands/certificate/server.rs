//! Certificates of servers: fetched by a TLS handshake, judged before they are believed.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use keywheel_reach::tls::{self, TlsError};
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::chain::{self, Usage};

use super::source::{self, Found};
use crate::commands::Setting;
use crate::exit::Exit;
use crate::failure::{Classed, Failure, Outcome};

/// How a server is asked, and what its certificate is judged by.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServerFlags {
    /// The roots that judge the certificate of a server: a file, several with commas between them, or a folder
    /// [default: those of the system and certs/root_ca.crt]
    #[arg(long, value_name = "roots")]
    pub(crate) roots: Option<String>,
    /// The name that the server is asked for, where it is not the one of its address
    #[arg(long, value_name = "name")]
    pub(crate) servername: Option<String>,
}

/// Whether a server's certificate must be good before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Belief {
    /// It must be good now.
    Verified,
    /// It must have been good until its end.
    VerifiedWhileValid,
    /// It may be any.
    Insecure,
}

const TIME_LIMIT: Duration = Duration::from_secs(15);

impl ServerFlags {
    /// What a file holds, or the chain of the server whose address was given instead of a file.
    pub(crate) fn find(&self, given: &Path, belief: Belief, setting: &Setting<'_>) -> Outcome<Found> {
        match address(given)? {
            Some((host, port)) => Ok(Found::Certificates(self.ask(&host, port, belief, setting)?)),
            None => source::find(given),
        }
    }

    fn ask(&self, host: &str, port: u16, belief: Belief, setting: &Setting<'_>) -> Outcome<Vec<Certificate>> {
        let name = self.servername.as_deref().filter(|name| !name.is_empty()).unwrap_or(host);
        let shown = tls::shown_by(host, port, name, TIME_LIMIT).map_err(|error| {
            let exit = if matches!(error, TlsError::Connection { .. }) { Exit::TryAgain } else { Exit::Usage };
            Failure::of(exit, error)
        })?;
        let doing = || format!("read the certificates of {host}:{port}");
        let all = shown.iter().map(|der| Certificate::from_der(der)).collect::<Result<Vec<_>, _>>().or_failed(doing)?;
        let Some((leaf, intermediates)) = all.split_first() else {
            return Err(Failure::of(Exit::Failed, std::io::Error::other("it shows none")).context(doing()));
        };
        if belief != Belief::Insecure {
            let now = Timestamp::now();
            let moment = if belief == Belief::Verified { now } else { now.min(leaf.not_after()) };
            chain::verify(leaf, intermediates, &roots(self.roots.as_deref(), setting)?, moment, Usage::Any)
                .and_then(|()| chain::verify_host(leaf, name))
                .map_err(|error| {
                    Failure::of(Exit::Failed, error)
                        .context(format!("failed to verify the certificate of {host}:{port}"))
                        .hint("name its roots with --roots")
                })?;
        }
        Ok(all)
    }
}

/// The roots that `--roots` names, else those of the system and of the home.
pub(crate) fn roots(given: Option<&str>, setting: &Setting<'_>) -> Outcome<Vec<Certificate>> {
    if let Some(given) = given.filter(|roots| !roots.is_empty()) {
        return source::roots(given);
    }
    let own = setting.home.root_certificate();
    let mut all = if own.exists() { source::certificates(&own)? } else { Vec::new() };
    all.extend(source::system_roots());
    if all.is_empty() {
        return Err(Failure::usage("there are no root certificates to judge by").hint("name the roots with --roots"));
    }
    Ok(all)
}

/// The host of a server's address; nothing for a file.
pub(crate) fn host(given: &Path) -> Option<String> {
    address(given).ok().flatten().map(|(host, _port)| host)
}

/// The host and port of `https://host[:port]`, `tls://host[:port]` or `tcp://host[:port]`.
fn address(given: &Path) -> Outcome<Option<(String, u16)>> {
    let Some((scheme, rest)) = given.to_str().and_then(|text| text.split_once("://")) else { return Ok(None) };
    if !matches!(scheme, "https" | "tls" | "tcp") {
        return Ok(None);
    }
    let wrong = || Failure::usage(format!("'{}' is no address of a server", given.display()));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, after)) => (host, Some(after.strip_prefix(':').ok_or_else(wrong)?)),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(wrong());
    }
    let port = port.map_or(Ok(443), |port| port.parse().map_err(|_| wrong()))?;
    Ok(Some((host.to_owned(), port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_from_a_file() {
        let of = |text: &str| address(Path::new(text)).unwrap();
        assert_eq!(of("svc.crt"), None);
        assert_eq!(of("dir/svc.crt"), None);
        assert_eq!(of("https://a.example"), Some(("a.example".into(), 443)));
        assert_eq!(of("https://a.example:8443/path"), Some(("a.example".into(), 8443)));
        assert_eq!(of("tls://[::1]:99"), Some(("::1".into(), 99)));
        assert!(address(Path::new("https://:1")).is_err());
        assert!(address(Path::new("https://a:port")).is_err());
    }
}
