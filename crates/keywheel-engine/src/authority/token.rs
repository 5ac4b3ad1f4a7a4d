//! Who holds a token: the one-time tokens of provisioners, and tokens that carry the certificate that is to be replaced.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use keywheel_core::provisioner::ProvisionerKind;
use keywheel_core::token::{self as rules, Purpose, TokenRules};
use keywheel_store::{Store, TokenUse};
use keywheel_wire::jose::jws::Jws;
use keywheel_wire::step::token::{CLIENT_ISSUER, Claims, token_hash};
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::chain::{self, Usage};
use keywheel_wire::x509::extension::usage::KeyUsage;

use super::issue::not_stored;
use super::settings::{Entry, Settings};
use super::{AuthorityError, chain as causes};

/// A one-time token that was found good; it is used up by recording what it asked for.
pub(super) struct Authorized {
    /// The provisioner that signed it.
    pub(super) entry: Arc<Entry>,
    /// What it says.
    pub(super) claims: Claims,
    /// How it is remembered.
    pub(super) one_time: TokenUse,
    /// The certificate that authorised it and its issuers, with X5C.
    pub(super) chain: Vec<Certificate>,
}

/// Judges a one-time token.
pub(super) fn authorize(
    settings: &Settings,
    compact: &str,
    purpose: Purpose,
    now: Timestamp,
) -> Result<Authorized, AuthorityError> {
    let token = Jws::parse(compact).map_err(refused)?;
    let claims = Claims::read(&token).map_err(refused)?;
    let entry = provisioner_of(settings, &token, &claims)?.clone();
    let mut chain = Vec::new();
    let fragment = match &entry.provisioner.kind {
        ProvisionerKind::Jwk { .. } => {
            let key = entry.key.as_ref().ok_or_else(|| refused_because("the provisioner has no key"))?;
            token.verify(&key.to_spki().map_err(refused)?).map_err(refused)?;
            None
        }
        ProvisionerKind::X5c { .. } => {
            chain = carried(&token, "x5c")?;
            let (leaf, rest) =
                chain.split_first().ok_or_else(|| refused_because("the token carries no certificate"))?;
            chain::verify(leaf, rest, &entry.roots, now, Usage::ClientAuth).map_err(refused)?;
            signs(leaf)?;
            token.verify(leaf.spki()).map_err(refused)?;
            Some(entry.provisioner.id())
        }
        _ => return Err(refused_because("provisioners of this type issue no tokens for this request")),
    };
    let audiences = rules::audiences(&settings.config.dns_names, purpose, fragment.as_deref());
    let rules = TokenRules { now, issuer: Some(&entry.provisioner.name), audiences: &audiences, max_lifetime: None };
    let expires_at = rules::check(&claims.registered, &rules).map_err(refused)?;
    let one_time = TokenUse { token: remembered(&claims, &entry.provisioner.id(), &token), request: None, expires_at };
    Ok(Authorized { entry, claims, one_time, chain })
}

/// A certificate that a token carries and whose key signed the token.
pub(super) struct Carried {
    /// The certificate; its end is still to be judged.
    pub(super) certificate: Certificate,
    /// How the token is remembered.
    pub(super) one_time: TokenUse,
}

/// Judges a token that carries the certificate to be replaced (`x5cInsecure`); `csr` is what a rekey token must be bound to.
pub(super) fn authorize_carried(
    settings: &Settings,
    compact: &str,
    csr: Option<&[u8]>,
    now: Timestamp,
) -> Result<Carried, AuthorityError> {
    let token = Jws::parse(compact).map_err(refused)?;
    let claims = Claims::read(&token).map_err(refused)?;
    let certificate = led_to_root(settings, carried(&token, "x5cInsecure")?, now)?;
    signs(&certificate)?;
    token.verify(certificate.spki()).map_err(refused)?;

    let purpose = if csr.is_some() { Purpose::Rekey } else { Purpose::Renew };
    let audiences = rules::audiences(&settings.config.dns_names, purpose, None);
    let rules = TokenRules { now, issuer: None, audiences: &audiences, max_lifetime: None };
    let expires_at = rules::check(&claims.registered, &rules).map_err(refused)?;
    let issuer = &claims.registered.issuer;
    let named = certificate.provisioner().ok().flatten().is_some_and(|provisioner| provisioner.name == *issuer);
    if issuer != CLIENT_ISSUER && !named {
        return Err(refused_because("the token was issued neither by a client nor by the certificate's provisioner"));
    }
    if !names_of(&certificate).contains(&claims.registered.subject) {
        return Err(refused_because("the token's subject is not the certificate's"));
    }
    if let Some(csr) = csr {
        if claims.id.is_none() {
            return Err(refused_because("a token for a rekey needs an identifier ('jti')"));
        }
        if claims.confirmation.is_none() {
            return Err(refused_because("the token is not bound to a request ('cnf')"));
        }
        check_binding(&claims, csr)?;
    }
    // A renewal token of the reference has no identifier of its own: the whole is remembered.
    let signer = certificate.digest().to_string();
    let token = if csr.is_some() { remembered(&claims, &signer, &token) } else { token.identity() };
    Ok(Carried { certificate, one_time: TokenUse { token, request: None, expires_at } })
}

/// A token that is bound to a request is good for no other; what it says then is no secret to who made both.
pub(super) fn check_binding(claims: &Claims, csr: &[u8]) -> Result<(), AuthorityError> {
    if claims.confirms(csr) {
        return Ok(());
    }
    Err(AuthorityError::Forbidden("certificate request fingerprint does not match the token".to_owned()))
}

/// A certificate of our own that vouches for a token (X5C) is in use: it must not be revoked, and retires what it replaced.
pub(super) async fn note_voucher(
    store: &Store,
    settings: &Settings,
    authorized: &Authorized,
    now: Timestamp,
) -> Result<(), AuthorityError> {
    let Some(voucher) = authorized.chain.first() else { return Ok(()) };
    let issuer = settings.issuer();
    // Another CA's serial numbers say nothing to our store.
    if voucher.issuer() != issuer.subject() || voucher.verify_signed_by(issuer.spki()).is_err() {
        return Ok(());
    }
    if store.revocation(voucher.serial()).await.map_err(not_stored)?.is_some() {
        return Err(refused_because("the certificate in the token was revoked"));
    }
    store.mark_seen(voucher.serial(), now).await.map_err(not_stored).map(|_| ())
}

/// The first certificate of a chain that leads to a root of this CA. Whether it has expired is not judged here.
pub(super) fn led_to_root(
    settings: &Settings,
    mut chain: Vec<Certificate>,
    now: Timestamp,
) -> Result<Certificate, AuthorityError> {
    if chain.is_empty() {
        return Err(refused_because("there is no certificate"));
    }
    let certificate = chain.remove(0);
    let between: Vec<_> = chain.into_iter().chain(settings.chain.iter().cloned()).collect();
    // One second before its end at the latest: whether an expired certificate is replaced is for the provisioner to say.
    let last = certificate.not_after().checked_sub(SignedDuration::from_secs(1)).unwrap_or(now);
    chain::verify(&certificate, &between, &settings.roots, now.min(last), Usage::ClientAuth).map_err(refused)?;
    Ok(certificate)
}

/// What the store remembers of a token. An identifier is unique only among the tokens of one signer: with another's it must
/// not collide, neither by chance nor by malice. And it may be of any length, which an index of the store may not.
fn remembered(claims: &Claims, signer: &str, token: &Jws) -> String {
    match &claims.id {
        Some(id) => token_hash(&format!("{signer}\n{id}")),
        None => token.identity(),
    }
}

fn refused(error: impl std::error::Error + 'static) -> AuthorityError {
    AuthorityError::NotAuthenticated(causes(&error))
}

fn refused_because(reason: &str) -> AuthorityError {
    AuthorityError::NotAuthenticated(reason.to_owned())
}

/// By issuer and key id, or by the fragment of the audience.
fn provisioner_of<'a>(settings: &'a Settings, token: &Jws, claims: &Claims) -> Result<&'a Arc<Entry>, AuthorityError> {
    let by_key = token.key_id().map(|kid| format!("{}:{kid}", claims.registered.issuer));
    let fragments = claims.registered.audience.iter().filter_map(|audience| audience.split_once('#'));
    let wanted: Vec<String> = by_key.into_iter().chain(fragments.map(|(_, fragment)| fragment.to_owned())).collect();
    settings
        .provisioners
        .iter()
        .find(|entry| wanted.contains(&entry.provisioner.id()))
        .ok_or_else(|| refused_because("no provisioner of this CA issued the token"))
}

fn carried(token: &Jws, header: &str) -> Result<Vec<Certificate>, AuthorityError> {
    let chain =
        token.certificate_chain(header).ok_or_else(|| refused_because("the token carries no certificate chain"))?;
    chain.iter().map(|der| Certificate::from_der(der).map_err(refused)).collect()
}

fn signs(leaf: &Certificate) -> Result<(), AuthorityError> {
    match leaf.parts().key_usage().map_err(refused)? {
        Some(usage) if !usage.contains(KeyUsage::DIGITAL_SIGNATURE) => {
            Err(refused_because("the certificate's key is not for digital signatures"))
        }
        _ => Ok(()),
    }
}

/// What a token may call a certificate; one without a common name is called by another of its names.
fn names_of(certificate: &Certificate) -> Vec<String> {
    let mut names: Vec<String> = certificate.subject().common_name().into_iter().collect();
    names.extend(certificate.subject_alt_names().unwrap_or_default().iter().filter_map(|name| name.as_text()));
    names.push(certificate.serial().to_string());
    names
}
