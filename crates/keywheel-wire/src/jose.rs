//! JOSE: signed tokens (JWS), keys (JWK) and encrypted keys (JWE), as far as the step API and ACME need them.

pub(crate) mod bytes;
pub mod jwe;
pub mod jwk;
pub mod jws;

#[cfg(test)]
pub(crate) mod tests;
