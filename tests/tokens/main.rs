//! Keys in a PKCS#11 token: SoftHSM, opened by the real binary; OpenSSL and the real step-ca judge what comes of it.

mod authority;
mod client;
mod kills;
mod reference;
mod troubles;
