//! Speaks: bytes to types and back, without I/O, clock or chance.

pub mod jose;
mod json;
pub mod pem;
pub mod pkcs11;
pub mod pkcs12;
pub mod private_key;
pub mod signer;
pub mod ssh;
pub mod step;
pub mod template;
pub mod x509;
