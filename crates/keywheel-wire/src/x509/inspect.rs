//! Certificates and requests for people and scripts to read, in the shapes of `step certificate inspect`.
//!
//! What is shown comes from whoever made the certificate: control characters are escaped, so that no name can drive a terminal.

mod field;
pub mod json;
pub mod short;
pub mod text;

#[cfg(test)]
mod tests;
