//! The claims of one-time tokens: who issued them, for what, and when; the signature is judged by whoever parsed it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use jiff::{SignedDuration, Timestamp};

/// How far two clocks may be apart.
pub const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// The registered claims of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenClaims {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `aud`, one or several.
    pub audience: Vec<String>,
    /// `iat`.
    pub issued_at: Option<Timestamp>,
    /// `nbf`.
    pub not_before: Option<Timestamp>,
    /// `exp`.
    pub expires_at: Option<Timestamp>,
}

/// What a token must satisfy.
#[derive(Clone, Debug)]
pub struct TokenRules<'a> {
    /// The moment of the check.
    pub now: Timestamp,
    /// The issuer that must be named; none where any may be.
    pub issuer: Option<&'a str>,
    /// The audiences of which one must be named; see [`audiences`].
    pub audiences: &'a [String],
    /// The longest time from `iat` (or `nbf`) to `exp`; none where any is accepted.
    pub max_lifetime: Option<SignedDuration>,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// `/sign` and, as the reference has it, `/ssh/sign`.
    Sign,
    /// `/renew`.
    Renew,
    /// `/rekey`.
    Rekey,
    /// `/revoke`.
    Revoke,
    /// `/ssh/sign`.
    SshSign,
    /// `/ssh/renew`.
    SshRenew,
    /// `/ssh/rekey`.
    SshRekey,
    /// `/ssh/revoke`.
    SshRevoke,
}

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Another issuer.
    #[error("the token was issued by {issuer:?}, not by its provisioner")]
    Issuer {
        /// The issuer that the token names.
        issuer: String,
    },
    /// Another audience.
    #[error("the token is for {audience:?}, not for this request to this CA")]
    Audience {
        /// The audiences that the token names.
        audience: Vec<String>,
    },
    /// An empty subject.
    #[error("the token has no subject")]
    NoSubject,
    /// No end.
    #[error("the token has no expiry")]
    NoExpiry,
    /// Over.
    #[error("the token expired at {expires_at}")]
    Expired {
        /// When.
        expires_at: Timestamp,
    },
    /// Not begun.
    #[error("the token is not valid before {not_before}")]
    NotYetValid {
        /// When it starts.
        not_before: Timestamp,
    },
    /// Issued in the future.
    #[error("the token says it was issued at {issued_at}, which is in the future")]
    IssuedInFuture {
        /// When.
        issued_at: Timestamp,
    },
    /// Valid for too long.
    #[error("the token is valid for longer than a one-time token may be")]
    LivesTooLong,
}

/// The audiences that are accepted for a purpose: every route under every DNS name of the CA, with the fragment that
/// names the provisioner where there is one (such as `x5c/name`).
///
/// A name may carry a port and may be an IPv6 address with or without brackets.
pub fn audiences(dns_names: &[String], purpose: Purpose, fragment: Option<&str>) -> Vec<String> {
    let paths: &[&str] = match purpose {
        Purpose::Sign => &["/1.0/sign", "/sign", "/1.0/ssh/sign", "/ssh/sign"],
        Purpose::Renew => &["/1.0/renew", "/renew"],
        Purpose::Rekey => &["/1.0/rekey", "/rekey"],
        Purpose::Revoke => &["/1.0/revoke", "/revoke"],
        Purpose::SshSign => &["/1.0/ssh/sign", "/ssh/sign", "/1.0/sign", "/sign"],
        Purpose::SshRenew => &["/1.0/ssh/renew", "/ssh/renew"],
        Purpose::SshRekey => &["/1.0/ssh/rekey", "/ssh/rekey"],
        Purpose::SshRevoke => &["/1.0/ssh/revoke", "/ssh/revoke"],
    };
    let suffix = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    let mut accepted = Vec::with_capacity(dns_names.len() * paths.len());
    for name in dns_names {
        let host = if name.parse::<Ipv6Addr>().is_ok() { format!("[{name}]") } else { name.clone() };
        accepted.extend(paths.iter().map(|path| format!("https://{host}{path}{suffix}")));
    }
    accepted
}

/// Whether two audience URLs are the same; the port and the case of scheme and host do not count.
pub fn same_audience(a: &str, b: &str) -> bool {
    match (split_url(a), split_url(b)) {
        (Some(a), Some(b)) => {
            a.scheme.eq_ignore_ascii_case(b.scheme) && a.host.eq_ignore_ascii_case(b.host) && a.rest == b.rest
        }
        _ => a == b,
    }
}

/// Judges the claims; gives the moment after which the token is certainly refused, up to which its use must be
/// remembered.
pub fn check(claims: &TokenClaims, rules: &TokenRules<'_>) -> Result<Timestamp, TokenRefusal> {
    if rules.issuer.is_some_and(|issuer| issuer != claims.issuer) {
        return Err(TokenRefusal::Issuer { issuer: claims.issuer.clone() });
    }
    let named = |accepted: &String| claims.audience.iter().any(|audience| same_audience(audience, accepted));
    if !rules.audiences.iter().any(named) {
        return Err(TokenRefusal::Audience { audience: claims.audience.clone() });
    }
    if claims.subject.is_empty() {
        return Err(TokenRefusal::NoSubject);
    }
    let Some(expires_at) = claims.expires_at else {
        return Err(TokenRefusal::NoExpiry);
    };
    let refused_after = expires_at.checked_add(LEEWAY).unwrap_or(Timestamp::MAX);
    if rules.now > refused_after {
        return Err(TokenRefusal::Expired { expires_at });
    }
    let soon = rules.now.checked_add(LEEWAY).unwrap_or(Timestamp::MAX);
    if let Some(not_before) = claims.not_before.filter(|not_before| *not_before > soon) {
        return Err(TokenRefusal::NotYetValid { not_before });
    }
    if let Some(issued_at) = claims.issued_at.filter(|issued_at| *issued_at > soon) {
        return Err(TokenRefusal::IssuedInFuture { issued_at });
    }
    if let Some(max) = rules.max_lifetime {
        // Without iat or nbf the rest of its life is all that is known of it.
        let start = claims.issued_at.or(claims.not_before).unwrap_or(rules.now);
        if expires_at.duration_since(start) > max {
            return Err(TokenRefusal::LivesTooLong);
        }
    }
    Ok(refused_after)
}

struct Url<'a> {
    scheme: &'a str,
    host: &'a str,
    /// Path, query and fragment, as written.
    rest: &'a str,
}

fn split_url(url: &str) -> Option<Url<'_>> {
    let (scheme, after_scheme) = url.split_once("://")?;
    let (authority, rest) = after_scheme.split_at(after_scheme.find(['/', '?', '#']).unwrap_or(after_scheme.len()));
    // Credentials before the host would let one URL pass for another.
    if authority.contains('@') {
        return None;
    }
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        // The last colon belongs to an address in brackets.
        Some(_) if authority.ends_with(']') => authority,
        Some(_) => return None,
        None => authority,
    };
    Some(Url { scheme, host, rest })
}

#[cfg(test)]
mod tests;
