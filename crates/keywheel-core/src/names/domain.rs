//! Reading the host parts of names.

use alloc::string::String;
use core::net::IpAddr;

/// Lower case, without the final dot.
pub(super) fn normalised(name: &str) -> String {
    let name = name.trim();
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether a normalised name has the shape of a DNS name, perhaps with a wildcard as its first label.
pub(super) fn is_plausible(domain: &str) -> bool {
    let rest = domain.strip_prefix("*.").unwrap_or(domain);
    !rest.is_empty()
        && rest.len() <= 253
        && rest.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
}

/// The local part and the normalised host of an e-mail address.
pub(super) fn mailbox(address: &str) -> Option<(&str, String)> {
    let (local, host) = address.rsplit_once('@')?;
    let host = normalised(host);
    (!local.is_empty() && is_plausible(&host) && !host.contains('*')).then_some((local, host))
}

/// The normalised host of a URI; none where it has no authority or the host is an address or has a wildcard.
pub(super) fn uri_host(uri: &str) -> Option<String> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host_and_port.starts_with('[') {
        return None;
    }
    let host = match host_and_port.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) => return None,
        None => host_and_port,
    };
    let host = normalised(host);
    (is_plausible(&host) && !host.contains('*') && host.parse::<IpAddr>().is_err()).then_some(host)
}
