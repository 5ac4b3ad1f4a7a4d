//! An authority that is opened in this process (`--offline`), asked in the same words as one over HTTPS.

use std::sync::Arc;

use jiff::Timestamp;
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::chain::{self, Usage};
use keywheel_wire::x509::request::Request;

use super::access::{LocalAnswer, LocalAuthority, LocalRequest};
use super::error::ClientError;
use super::{ask, load};
use crate::authority::{Authority, AuthorityError, Caller, RevokeRequest, Revoker, SignRequest};

/// So many provisioners are looked at.
const MAX_PROVISIONERS: usize = 10_000;

impl LocalAuthority {
    /// Plugs an open authority in.
    pub fn from_authority(authority: Authority) -> Self {
        let name = authority.dns_names().into_iter().next().unwrap_or_else(|| "localhost".to_owned());
        let provisioners = authority.provisioners("", MAX_PROVISIONERS).provisioners;
        let root = authority.roots().first().and_then(|root| Certificate::from_der(root).ok());
        let asked = authority;
        let local = Self::new(name, move |request| answer(asked.clone(), request)).with_provisioners(provisioners);
        match root.map(|root: Certificate| root.digest()) {
            Some(digest) => local.with_root_fingerprint(digest.to_string()),
            None => local,
        }
    }
}

fn answer(authority: Authority, request: LocalRequest) -> LocalAnswer {
    Box::pin(async move {
        let now = Timestamp::now();
        let chain = match request {
            LocalRequest::Sign { request_der, token, not_before, not_after, template_data } => {
                let request = SignRequest { csr: request_der, token, not_before, not_after, template_data };
                authority.sign(request, now).await.map_err(refused)?.chain
            }
            LocalRequest::Renew { chain_der } => {
                let leaf = belongs(&authority, &chain_der, now)?;
                authority.renew(Caller::Tls(leaf), now).await.map_err(refused)?.chain
            }
            LocalRequest::Rekey { chain_der, request_der } => {
                let leaf = belongs(&authority, &chain_der, now)?;
                let request = Request::from_der(&request_der).map_err(|error| ClientError::Garbled(error.into()))?;
                authority.rekey(Caller::Tls(leaf), request, now).await.map_err(refused)?.chain
            }
            LocalRequest::Revoke { serial, token, chain_der, reason_code, reason } => {
                let revoker = match token {
                    Some(token) => Revoker::Token(token),
                    None => {
                        belongs(&authority, &chain_der, now)?;
                        Revoker::Tls(chain_der)
                    }
                };
                let request = RevokeRequest { serial, reason_code: i64::from(reason_code), reason, passive: true };
                authority.revoke(revoker, request, now).await.map_err(refused)?;
                Vec::new()
            }
        };
        Ok(chain)
    })
}

/// What a TLS handshake would find out: whether the chain is one of this authority. Expiry is judged by the authority.
fn belongs(authority: &Authority, chain: &[Vec<u8>], now: Timestamp) -> Result<Arc<Certificate>, ClientError> {
    let parse = |ders: &[Vec<u8>]| ask::parse_chain(ders.to_vec());
    let own = parse(chain)?;
    let leaf = load::leaf(&own)?.clone();
    let mut between = own.iter().skip(1).cloned().collect::<Vec<_>>();
    between.extend(parse(&authority.intermediates())?);
    let at = now.min(leaf.not_after());
    chain::verify(&leaf, &between, &parse(&authority.roots())?, at, Usage::ClientAuth).map_err(|error| {
        ClientError::Refused {
            message: format!("the certificate is not one of this authority, or not good for clients: {error}"),
            status: None,
            hint: None,
        }
    })?;
    Ok(Arc::new(leaf))
}

/// The owner of the authority asks: nothing need be hidden from them.
fn refused(error: AuthorityError) -> ClientError {
    match error {
        AuthorityError::Busy { .. } | AuthorityError::Full { .. } | AuthorityError::KeyAway { .. } => {
            ClientError::Unreachable(error.into())
        }
        AuthorityError::Broken { .. } => ClientError::Garbled(error.into()),
        told => ClientError::Refused { message: told.to_string(), status: None, hint: None },
    }
}
