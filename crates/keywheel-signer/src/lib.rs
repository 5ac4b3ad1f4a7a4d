//! Signs: the only room that sees a CA key.

pub mod file_key;
pub mod issue;
pub mod pkcs11;
pub mod random;
