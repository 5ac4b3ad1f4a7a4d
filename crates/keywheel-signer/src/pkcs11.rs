//! Keys in a PKCS#11 token: made there, and used there. Their private halves are never in this process.

mod error;
pub mod key;
mod module;
mod sessions;
pub mod token;

pub use error::TokenError;
