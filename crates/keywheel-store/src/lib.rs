//! Remembers: everything that a certificate authority must still know tomorrow, in SQLite or PostgreSQL; the only SQL.
//!
//! [`Store`] is the way in. Each of its methods is one transaction, and what a method has answered survives a power cut.
//! Both databases run the same statements through one session type; what differs is how transactions share the
//! database: on SQLite one writer commits the requests that have arrived together, on PostgreSQL each request has its
//! own transaction and locks the keys and serial numbers that it judges by.

mod backup;
mod certificate;
mod check;
mod crl;
mod error;
mod issue;
mod lease;
mod operation;
mod postgres;
mod rekey;
mod reserve;
mod revocation;
mod schema;
mod session;
mod sqlite;
mod store;
mod token;

pub use certificate::{CertificateBody, Issuer, NewCertificate, StoredCertificate};
pub use check::CheckReport;
pub use crl::{NewCrl, StoredCrl};
pub use error::StoreError;
pub use issue::IssueOutcome;
pub use lease::Lease;
pub use rekey::{OldCertificate, RekeyOutcome, RekeyRequest, RenewalOutcome, RenewalRequest};
pub use revocation::{Revocation, RevokeOutcome, Supersession};
pub use store::{DatabaseKind, OpenMode, Store};
pub use token::{TokenOutcome, TokenUse};

#[cfg(test)]
mod tests;
