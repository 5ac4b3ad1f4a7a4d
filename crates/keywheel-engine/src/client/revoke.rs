//! The end of a certificate before its time.

use std::path::PathBuf;

use jiff::Timestamp;
use keywheel_core::serial::Serial;
use keywheel_wire::pkcs11::uri::Pkcs11Uri;
use keywheel_wire::step::messages::RevokeRequest;
use zeroize::Zeroizing;

use super::access::{Certifier, LocalRequest};
use super::ask::{self, Asker};
use super::certificate::{Authority, Authorization};
use super::error::ClientError;
use super::token::Purpose;
use super::{in_token, load};

/// What is asked for.
#[derive(Clone)]
pub struct RevokeOptions {
    /// Which certificate, and what authorises its end.
    pub target: RevokeTarget,
    /// The reason code of RFC 5280.
    pub reason_code: u8,
    /// The reason in words.
    pub reason: String,
    /// Who revokes.
    pub certifier: Certifier,
}

/// Which certificate.
#[derive(Clone)]
pub enum RevokeTarget {
    /// Any, by its serial number (decimal or 0x-hexadecimal).
    Serial {
        /// The number.
        serial: String,
        /// A token, or who makes one.
        authorization: Authorization,
    },
    /// One that revokes itself.
    Itself {
        /// The certificate.
        certificate: PathBuf,
        /// Its key, a file or the URI of a key in a token.
        key: PathBuf,
        /// The token, where it is named apart from the key.
        management: Option<Box<Pkcs11Uri>>,
        /// Opens the key.
        password: Option<Zeroizing<Vec<u8>>>,
    },
}

/// Revokes; the answer is the serial number, decimal.
pub async fn revoke(options: &RevokeOptions) -> Result<String, ClientError> {
    match &options.target {
        RevokeTarget::Serial { serial, authorization } => {
            let serial = Serial::parse(serial)
                .map_err(|_| ClientError::Usage(format!("invalid value '{serial}' for the serial number")))?
                .to_string();
            let token = match Authority::open(authorization, &options.certifier).await? {
                Authority::Token(token) => token,
                Authority::Issuer(issuer) => {
                    let now = Timestamp::now();
                    issuer.sign(&issuer.contents(Purpose::Revoke, &serial, &options.certifier, now)?)?
                }
            };
            send(options, &serial, Some(token), None).await?;
            Ok(serial)
        }
        RevokeTarget::Itself { certificate, key, management, password } => {
            let (chain, signer) = in_token::pair(certificate, key, management.as_deref(), password.as_ref())?;
            let serial = load::leaf(&chain)?.serial().to_string();
            let asker = Asker { chain: &chain, signer, mtls: true };
            send(options, &serial, None, Some(&asker)).await?;
            Ok(serial)
        }
    }
}

async fn send(
    options: &RevokeOptions,
    serial: &str,
    token: Option<String>,
    asker: Option<&Asker<'_>>,
) -> Result<(), ClientError> {
    match &options.certifier {
        Certifier::Remote(access) => {
            let body = RevokeRequest {
                serial: serial.to_owned(),
                ott: token.unwrap_or_default(),
                reason_code: i64::from(options.reason_code),
                reason: options.reason.clone(),
                passive: true,
            };
            let identity = asker.map(Asker::identity);
            access.client(identity.as_ref())?.revoke(&body).await.map_err(ask::failed)?;
        }
        Certifier::Local(authority) => {
            let request = LocalRequest::Revoke {
                serial: serial.to_owned(),
                token,
                chain_der: asker.map(Asker::chain_der).unwrap_or_default(),
                reason_code: options.reason_code,
                reason: options.reason.clone(),
            };
            authority.ask(request).await?;
        }
    }
    Ok(())
}
