//! A certificate in place of another: with the same key (renewal) or with a new one (rekey).

use std::sync::Arc;

use jiff::Timestamp;
use keywheel_core::claims::{Claims, EffectiveClaims};
use keywheel_core::lint::Role;
use keywheel_core::names;
use keywheel_core::provisioner::{AfterRekey, type_name};
use keywheel_core::rekey::RekeyRefusal;
use keywheel_core::serial::Serial;
use keywheel_core::validity;
use keywheel_store::{OldCertificate, RekeyOutcome, RekeyRequest, RenewalOutcome, RenewalRequest, Store, TokenUse};
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::facts;
use keywheel_wire::x509::request::Request;
use keywheel_wire::x509::tbs::TbsBuilder;

use super::carry_over;
use super::issue::{self, Draft, broken, not_stored};
use super::settings::{Entry, Settings};
use super::sign::{check_key, check_names, check_proof};
use super::token::{Carried, authorize_carried, led_to_root};
use super::{AuthorityError, Caller, Issued};

/// Issues a certificate with the key of `csr` in place of the caller's.
pub(super) async fn rekey(
    store: &Store,
    settings: &Settings,
    caller: Caller,
    csr: &Request,
    now: Timestamp,
) -> Result<Issued, AuthorityError> {
    let (old, token) = identify(settings, caller, Some(csr.der()), now)?;
    check_proof(csr)?;
    let vouched = vouched(store, settings, &old).await?;
    check_key(settings, csr.spki())?;
    // The rules may have changed since the old certificate was issued; the new one obeys those of today.
    check_names(settings, vouched.entry.as_deref(), &names_of(&old)?)?;
    for _ in 0..3 {
        let mut draft = successor(settings, &vouched, &old, csr.spki(), now)?;
        let prepared = draft.prepare(settings)?;
        let request = RekeyRequest {
            old: shown(&old),
            new: prepared.record,
            token: token.clone(),
            renewal_disabled: vouched.claims.disable_renewal,
            allow_after_expiry: vouched.claims.allow_renewal_after_expiry,
            after: vouched.after,
            now,
        };
        match store.record_rekey(request).await.map_err(not_stored)? {
            RekeyOutcome::Recorded => {
                let chain = issue::finish(store, settings, &prepared.approved, now).await?;
                return Ok(Issued { chain, replayed: false });
            }
            RekeyOutcome::Replay(stored) => {
                let chain = issue::again(store, settings, stored.body, now).await?;
                return Ok(Issued { chain, replayed: true });
            }
            RekeyOutcome::Refused(refusal) => return Err(refused(refusal)),
            RekeyOutcome::TokenUsed => return Err(issue::token_used()),
            RekeyOutcome::SerialTaken => {}
        }
    }
    Err(issue::numbers_taken())
}

/// Issues a certificate with the caller's key and a new lifetime.
pub(super) async fn renew(
    store: &Store,
    settings: &Settings,
    caller: Caller,
    now: Timestamp,
) -> Result<Issued, AuthorityError> {
    let (old, mut token) = identify(settings, caller, None, now)?;
    let vouched = vouched(store, settings, &old).await?;
    // As in the reference: the policy is not asked again for a key that it has let pass.
    names::check_constraints(&settings.constraints, &names_of(&old)?)
        .map_err(|refusal| AuthorityError::Forbidden(refusal.to_string()))?;
    let mut replay = true;
    for _ in 0..3 {
        let mut draft = successor(settings, &vouched, &old, old.spki(), now)?;
        let prepared = draft.prepare(settings)?;
        let request = RenewalRequest {
            old: shown(&old),
            new: prepared.record,
            token: token.clone(),
            renewal_disabled: vouched.claims.disable_renewal,
            allow_after_expiry: vouched.claims.allow_renewal_after_expiry,
            after: vouched.after,
            replay,
            now,
        };
        match store.record_renewal(request).await.map_err(not_stored)? {
            RenewalOutcome::Recorded => {
                let chain = issue::finish(store, settings, &prepared.approved, now).await?;
                return Ok(Issued { chain, replayed: false });
            }
            RenewalOutcome::Replay(stored) => match issue::again(store, settings, stored.body, now).await {
                Ok(chain) => return Ok(Issued { chain, replayed: true }),
                // An answer of an earlier issuer cannot be given again; here another one costs nothing.
                Err(AuthorityError::Forbidden(_)) => (replay, token) = (false, None),
                Err(error) => return Err(error),
            },
            RenewalOutcome::Refused(refusal) => return Err(refused(refusal)),
            RenewalOutcome::TokenUsed => return Err(issue::token_used()),
            RenewalOutcome::SerialTaken => {}
        }
    }
    Err(issue::numbers_taken())
}

/// Who vouched for a certificate, and what that allows.
struct Vouched {
    entry: Option<Arc<Entry>>,
    claims: EffectiveClaims,
    after: AfterRekey,
}

/// The certificate that is to be replaced. Its chain was verified; whether it expired or was revoked is judged later.
fn identify(
    settings: &Settings,
    caller: Caller,
    csr: Option<&[u8]>,
    now: Timestamp,
) -> Result<(Arc<Certificate>, Option<TokenUse>), AuthorityError> {
    match caller {
        Caller::Tls(leaf) => Ok((leaf, None)),
        Caller::Held(chain) => Ok((Arc::new(held(settings, &chain, now)?), None)),
        Caller::Token(compact) => {
            let Carried { certificate, one_time } = authorize_carried(settings, &compact, csr, now)?;
            Ok((Arc::new(certificate), Some(one_time)))
        }
    }
}

/// The certificate of a caller that nobody has verified yet.
pub(super) fn held(settings: &Settings, chain: &[Vec<u8>], now: Timestamp) -> Result<Certificate, AuthorityError> {
    let chain: Result<Vec<_>, _> = chain.iter().map(|der| Certificate::from_der(der)).collect();
    led_to_root(settings, chain.map_err(|error| AuthorityError::NotAuthenticated(error.to_string()))?, now)
}

/// By the extension of the certificate, else by what the store remembers; a certificate without either is nobody's, and the
/// claims of the CA hold for it, as in the reference.
async fn vouched(store: &Store, settings: &Settings, old: &Certificate) -> Result<Vouched, AuthorityError> {
    let unreadable = |error: keywheel_wire::x509::Malformed| AuthorityError::NotAuthenticated(error.to_string());
    let named = match old.provisioner().map_err(unreadable)? {
        Some(extension) => {
            let kind = i64::try_from(extension.kind).ok().and_then(type_name).unwrap_or_default();
            Some((kind.to_owned(), extension.name, extension.credential_id))
        }
        None => {
            let stored = store.certificate(old.serial()).await.map_err(not_stored)?;
            stored.and_then(|stored| stored.issuer).map(|issuer| (issuer.kind, issuer.name, issuer.id))
        }
    };
    let Some((kind, name, credential)) = named else {
        let claims = Claims::default().over(&settings.config.claims);
        return Ok(Vouched { entry: None, claims, after: AfterRekey::OldStays });
    };
    let entry = settings.provisioner_named(&kind, &name, &credential).ok_or_else(|| {
        AuthorityError::NotAuthenticated(format!(
            "the provisioner {name:?} ({kind}) of the certificate is not there any more"
        ))
    })?;
    Ok(Vouched { claims: entry.claims.clone(), after: entry.provisioner.rekey.after, entry: Some(entry.clone()) })
}

/// The draft of the certificate that takes the old one's place.
fn successor(
    settings: &Settings,
    vouched: &Vouched,
    old: &Certificate,
    spki: &[u8],
    now: Timestamp,
) -> Result<Draft, AuthorityError> {
    let issuer = settings.issuer();
    let validity = validity::for_successor(facts::validity(old), now, settings.config.backdate, issuer.not_after())
        .map_err(|refusal| match refusal {
            validity::ValidityRefusal::IssuerExpired { .. } => broken("choosing the validity", refusal),
            refusal => AuthorityError::Forbidden(refusal.to_string()),
        })?;
    let extensions =
        carry_over::extensions(old, issuer, spki).map_err(|error| AuthorityError::Malformed(error.to_string()))?;
    let tbs = TbsBuilder {
        serial: Serial::from_random([0; 16]),
        scheme: settings.scheme(),
        issuer: issuer.subject().clone(),
        not_before: validity.not_before,
        not_after: validity.not_after,
        subject: old.subject().clone(),
        spki: spki.to_vec(),
        extensions,
    };
    Ok(Draft { tbs, role: Role::Leaf, issuer: vouched.entry.as_deref().map(super::sign::recorded) })
}

fn names_of(old: &Certificate) -> Result<keywheel_core::names::Names, AuthorityError> {
    let alternative = old.subject_alt_names().map_err(|error| AuthorityError::Malformed(error.to_string()))?;
    Ok(facts::names(old.subject(), &alternative))
}

fn shown(old: &Certificate) -> OldCertificate {
    OldCertificate { serial: old.serial(), key: old.key_digest(), validity: facts::validity(old) }
}

/// What may be told: an expired certificate's end as the reference tells it, and what the client can mend.
fn refused(refusal: RekeyRefusal) -> AuthorityError {
    match refusal {
        RekeyRefusal::Expired { .. } => AuthorityError::Unauthorized(refusal.to_string()),
        RekeyRefusal::SameKey | RekeyRefusal::KeyCertifiedBefore | RekeyRefusal::Superseded { .. } => {
            AuthorityError::Forbidden(refusal.to_string())
        }
        RekeyRefusal::Revoked { .. } | RekeyRefusal::NotYetValid { .. } | RekeyRefusal::Disabled => {
            AuthorityError::NotAuthenticated(refusal.to_string())
        }
    }
}
