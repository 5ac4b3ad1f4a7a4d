//! X.509: certificates, requests and revocation lists as the exact bytes that were signed, and what they say.
//!
//! Everything that was signed is kept as raw slices: no part of a parsed certificate is ever written again from its meaning.

pub mod certificate;
pub mod chain;
pub mod crl;
pub mod extension;
pub mod facts;
pub mod inspect;
pub mod name;
pub mod oid;
#[cfg(test)]
mod openssl;
pub mod request;
pub mod tbs;
pub(crate) mod time;
pub(crate) mod tlv;

/// Bytes that are not the X.509 structure that they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}: {problem}")]
pub struct Malformed {
    /// The structure that was being read, for example `certificate`.
    pub what: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Malformed {
    pub(crate) const fn new(what: &'static str, problem: &'static str) -> Self {
        Self { what, problem }
    }
}
