//! PKCS#11: the URIs that name tokens and keys in them (RFC 7512), and what tokens say of keys to and from X.509.

pub mod objects;
pub mod uri;
