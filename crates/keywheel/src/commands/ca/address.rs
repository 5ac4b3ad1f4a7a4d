//! Where the CA is, and by which root it is known: `--ca-url` and `--root`.

use std::path::PathBuf;

use clap::Args;

use crate::commands::Setting;
use crate::failure::{Failure, Outcome};

/// The flags that every command has that talks to a CA.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct AddressFlags {
    /// The URL of the CA, such as https://ca.example.com:9000
    #[arg(long, value_name = "URI")]
    pub(crate) ca_url: Option<String>,
    /// The PEM file with the root certificates by which the CA is known [default: certs/root_ca.crt]
    #[arg(long, value_name = "file")]
    pub(crate) root: Option<PathBuf>,
}

/// A CA that can be spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// `https://host[:port]`
    pub(crate) url: String,
    /// The file with its roots.
    pub(crate) root: PathBuf,
}

impl AddressFlags {
    /// The address; `command` is who needs it, such as `ca rekey`.
    pub(crate) fn resolve(&self, command: &str, setting: &Setting<'_>) -> Outcome<Address> {
        let url = self.url(command, setting)?;
        let root = self.root.clone().unwrap_or_else(|| setting.home.root_certificate());
        if let Err(error) = std::fs::File::open(&root) {
            let advice = format!(
                "trust the CA first: {} ca bootstrap --ca-url {url} --fingerprint <fingerprint>",
                setting.program
            );
            return Err(Failure::of(crate::exit::Exit::Usage, error)
                .context(format!("open the root certificate {}", root.display()))
                .hint(advice));
        }
        Ok(Address { url, root })
    }

    /// The URL alone.
    pub(crate) fn url(&self, command: &str, setting: &Setting<'_>) -> Outcome<String> {
        match self.ca_url.as_deref().map(str::trim).filter(|url| !url.is_empty()) {
            Some(url) => normalise(url),
            None => Err(Failure::usage(format!("'{} {command}' requires the '--ca-url' flag", setting.program)).hint(
                format!(
                    "trust a CA once, and no command needs it: {} ca bootstrap --ca-url <URI> --fingerprint <fingerprint>",
                    setting.program
                ),
            )),
        }
    }
}

/// `https://` before a bare host, brackets around a bare IPv6 address, and nothing after host and port.
pub(crate) fn normalise(given: &str) -> Outcome<String> {
    let wrong = |why: &str| Failure::usage(format!("invalid value '{given}' for flag '--ca-url'{why}"));
    let rest = match given.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
        Some(_) => return Err(wrong("; must have https scheme")),
        None => given,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(format!("https://[{authority}]"));
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, after)) => {
            host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong(""))?;
            match after {
                "" => (host, None),
                _ => (host, Some(after.strip_prefix(':').ok_or_else(|| wrong(""))?)),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let host_is_plain = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'));
    let port_is_plain = port.is_none_or(|port| port.parse::<u16>().is_ok());
    if host.is_empty() || !host_is_plain || !port_is_plain {
        return Err(wrong(""));
    }
    Ok(format!("https://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_reduced_to_scheme_host_and_port() {
        for (given, url) in [
            ("https://ca.example.com", "https://ca.example.com"),
            ("HTTPS://ca.example.com:9000", "https://ca.example.com:9000"),
            ("ca.example.com", "https://ca.example.com"),
            ("ca.example.com:443/path?query#fragment", "https://ca.example.com:443"),
            ("::1", "https://[::1]"),
            ("[::1]:9000", "https://[::1]:9000"),
            ("https://[2001:db8::1]", "https://[2001:db8::1]"),
            ("127.0.0.1:8443", "https://127.0.0.1:8443"),
        ] {
            assert_eq!(normalise(given).unwrap(), url);
        }
    }

    #[test]
    fn another_scheme_is_refused_in_the_words_of_the_reference() {
        for given in ["http://ca.example.com", "ftp://x"] {
            assert_eq!(
                normalise(given).unwrap_err().message(),
                format!("invalid value '{given}' for flag '--ca-url'; must have https scheme")
            );
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for given in ["https://", "https://a b", "https://[::1", "https://host:port", "https://u:p@host", "[zz]:1"] {
            assert!(normalise(given).is_err(), "{given}");
        }
    }
}
