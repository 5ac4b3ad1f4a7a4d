//! Asking the authority, whichever it is, and judging its answer before anything is made of it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use keywheel_reach::step_client::CallError;
use keywheel_reach::tls::Identity;
use keywheel_signer::random;
use keywheel_wire::signer::Signer;
use keywheel_wire::step::messages::{RekeyRequest, SignResponse};
use keywheel_wire::step::token::{CLIENT_ISSUER, Contents, confirmation, sign_with_chain};
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::request;

use super::access::{Certifier, LocalRequest};
use super::error::ClientError;
use super::load;

/// The certificate that asks, and its key.
pub(super) struct Asker<'a> {
    pub(super) chain: &'a [Certificate],
    pub(super) signer: Arc<dyn Signer>,
    /// Whether the certificate authenticates the connection; else a token speaks for it.
    pub(super) mtls: bool,
}

impl Asker<'_> {
    /// A certificate for another key. `request_pem` is sent as it is.
    pub(super) async fn rekey(
        &self,
        certifier: &Certifier,
        request_der: &[u8],
        request_pem: &str,
        now: Timestamp,
    ) -> Result<Vec<Certificate>, ClientError> {
        let access = match certifier {
            Certifier::Remote(access) => access,
            Certifier::Local(authority) => {
                let request = LocalRequest::Rekey { chain_der: self.chain_der(), request_der: request_der.to_vec() };
                return parse_chain(authority.ask(request).await?);
            }
        };
        let body = RekeyRequest { csr: request_pem.to_owned() };
        let answer = if self.mtls {
            access.client(Some(&self.identity()))?.rekey(&body, None).await
        } else {
            let token = self.bearer(&format!("{}/rekey", access.url()), Some(request_der), now)?;
            access.client(None)?.rekey(&body, Some(&token)).await
        };
        chain_of(&answer.map_err(|error| self.explain(error, now))?)
    }

    /// A certificate for the same key.
    pub(super) async fn renew(&self, certifier: &Certifier, now: Timestamp) -> Result<Vec<Certificate>, ClientError> {
        let access = match certifier {
            Certifier::Remote(access) => access,
            Certifier::Local(authority) => {
                return parse_chain(authority.ask(LocalRequest::Renew { chain_der: self.chain_der() }).await?);
            }
        };
        let answer = if self.mtls {
            access.client(Some(&self.identity()))?.renew(None).await
        } else {
            let token = self.bearer(&format!("{}/renew", access.url()), None, now)?;
            access.client(None)?.renew(Some(&token)).await
        };
        chain_of(&answer.map_err(|error| self.explain(error, now))?)
    }

    pub(super) fn identity(&self) -> Identity {
        Identity { chain: self.chain_der(), signer: self.signer.clone() }
    }

    pub(super) fn chain_der(&self) -> Vec<Vec<u8>> {
        self.chain.iter().map(|certificate| certificate.der().to_vec()).collect()
    }

    /// The token that speaks for the certificate where a proxy ends TLS; bound to the request where there is one.
    pub(super) fn bearer(
        &self,
        audience: &str,
        request_der: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<String, ClientError> {
        self.bearer_for(audience, request_der.map(confirmation), now)
    }

    /// The same, bound to a request by what [`confirmation`] made of it.
    pub(super) fn bearer_for(
        &self,
        audience: &str,
        confirmation: Option<String>,
        now: Timestamp,
    ) -> Result<String, ClientError> {
        let leaf = load::leaf(self.chain)?;
        let subject = leaf.subject().common_name().unwrap_or_else(|| leaf.serial().to_string());
        let mut contents = Contents::new(audience, CLIENT_ISSUER, &subject, now);
        if confirmation.is_some() {
            contents.id = Some(token_id()?);
            contents.confirmation = confirmation;
        }
        sign_with_chain(&contents, "x5cInsecure", &self.chain_der(), self.signer.as_ref())
            .map_err(|error| ClientError::Speak { what: "the token", source: error.into() })
    }

    fn explain(&self, error: CallError, now: Timestamp) -> ClientError {
        let expired = self.chain.first().is_some_and(|leaf| leaf.not_after() < now);
        let refused_in_handshake = matches!(error, CallError::ClientCertificate { .. });
        let mut error = failed(error);
        if let ClientError::Refused { hint, .. } = &mut error {
            *hint = if expired && refused_in_handshake {
                Some(
                    "the certificate has expired, and this authority admits no expired certificate to a connection \
                     (a step-ca never does); get a new one with 'ca certificate'"
                        .to_owned(),
                )
            } else if refused_in_handshake {
                Some(
                    "it must be of this authority, not be revoked, and be good for client authentication; behind a \
                     proxy that ends TLS use '--mtls=false'"
                        .to_owned(),
                )
            } else if !self.mtls && hint.is_some() {
                Some(
                    "this authority takes no token here (a step-ca takes one for a renewal only): use '--mtls=true' \
                     and a way to it without a proxy that ends TLS"
                        .to_owned(),
                )
            } else {
                hint.take()
            };
        }
        error
    }
}

/// What a failed call means to the caller.
pub(super) fn failed(error: CallError) -> ClientError {
    match error {
        CallError::Refused { status, message } => {
            let hint = (status == 400 && message.contains("missing client certificate")).then(|| {
                "the authority did not see the certificate: behind a proxy that ends TLS use '--mtls=false'".to_owned()
            });
            ClientError::Refused { message, status: Some(status), hint }
        }
        CallError::ClientCertificate { .. } => {
            ClientError::Refused { message: error.to_string(), status: None, hint: None }
        }
        CallError::NotTrusted { .. } => ClientError::Untrusted(error.into()),
        CallError::Garbled { .. } => ClientError::Garbled(error.into()),
        CallError::Tls(_) => ClientError::Usage(format!("the root certificates cannot be used: {}", deepest(&error))),
        _ => ClientError::Unreachable(error.into()),
    }
}

/// How long the authority wants to be left alone, if it said so.
pub(super) fn wanted_pause(error: &ClientError) -> Option<SignedDuration> {
    match error {
        ClientError::Unreachable(cause) | ClientError::NotRenewed(cause) | ClientError::Unanswered(cause) => {
            match cause.downcast_ref::<CallError>() {
                Some(CallError::Busy { retry_after, .. }) => *retry_after,
                _ => None,
            }
        }
        _ => None,
    }
}

/// The certificates of an answer, leaf first.
pub(super) fn chain_of(answer: &SignResponse) -> Result<Vec<Certificate>, ClientError> {
    let text = answer.chain().join("\n");
    Certificate::chain_from_pem(text.as_bytes()).map_err(|error| ClientError::Garbled(error.into()))
}

/// The certificates of an answer in DER.
pub(super) fn parse_chain(chain: Vec<Vec<u8>>) -> Result<Vec<Certificate>, ClientError> {
    chain.iter().map(|der| Certificate::from_der(der).map_err(|error| ClientError::Garbled(error.into()))).collect()
}

/// Refuses a chain that is not for this key, or whose parts do not follow from one another.
pub(super) fn check_chain(chain: &[Certificate], spki: &[u8]) -> Result<(), ClientError> {
    let leaf = load::leaf(chain)?;
    if leaf.spki() != spki {
        return Err(ClientError::Garbled("it holds a certificate for another key".into()));
    }
    for (certificate, issuer) in chain.iter().zip(chain.iter().skip(1)) {
        certificate
            .verify_signed_by(issuer.spki())
            .map_err(|error| ClientError::Garbled(format!("its chain is broken: {error}").into()))?;
    }
    Ok(())
}

/// The `jti` of a token: 256 bits of chance in hexadecimal.
pub(super) fn token_id() -> Result<String, ClientError> {
    let chance =
        random::bytes::<32>().map_err(|error| ClientError::Speak { what: "the token", source: error.into() })?;
    Ok(chance.iter().map(|octet| format!("{octet:02x}")).collect())
}

/// A request with an empty subject: the authority takes nothing but the key from it.
pub(super) fn empty_request(signer: &dyn Signer) -> Result<Vec<u8>, ClientError> {
    request::create(signer, &keywheel_wire::x509::name::Name::empty(), &[])
        .map_err(|error| ClientError::Speak { what: "the request", source: error.into() })
}

fn deepest(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}
