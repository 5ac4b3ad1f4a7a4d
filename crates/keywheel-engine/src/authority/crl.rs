//! The certificate revocation list: made, numbered, recorded, signed, and made again in time.

use jiff::{SignedDuration, Timestamp};
use keywheel_core::lint::{self, Issuer};
use keywheel_core::revocation::ReasonCode;
use keywheel_store::{NewCrl, Store, StoredCrl};
use keywheel_wire::x509::crl::{CrlBuilder, RevokedCertificate};
use keywheel_wire::x509::extension::key_identifier;
use keywheel_wire::x509::facts;

use super::issue::{broken, not_stored, signed};
use super::settings::Settings;
use super::{AuthorityError, Crl};

/// How long a list is valid where `crl.cacheDuration` does not say.
const VALIDITY: SignedDuration = SignedDuration::from_hours(24);

/// The current list, if there is one that has not ended.
pub(super) async fn current(store: &Store, now: Timestamp) -> Result<Option<Crl>, AuthorityError> {
    let stored = store.current_crl().await.map_err(not_stored)?;
    Ok(stored.filter(|list| list.next_update > now).map(|list| Crl { der: list.der, expires: list.next_update }))
}

/// Whether it is time for a new list.
pub(super) async fn is_due(store: &Store, settings: &Settings, now: Timestamp) -> Result<bool, AuthorityError> {
    let stored = store.current_crl().await.map_err(not_stored)?;
    Ok(stored.is_none_or(|list: StoredCrl| now >= list.this_update + renew_after(settings) || now < list.this_update))
}

/// Makes and signs a new list.
pub(super) async fn make(store: &Store, settings: &Settings, now: Timestamp) -> Result<Crl, AuthorityError> {
    let issuer = settings.issuer();
    let unreadable = |error| broken("reading the issuing certificate", error);
    let key_id = match issuer.parts().subject_key_id().map_err(unreadable)? {
        Some(identifier) => identifier,
        None => key_identifier::of_key(issuer.spki()).map_err(unreadable)?,
    };
    let number = store.reserve_crl_number(now).await.map_err(not_stored)?;
    let revocations = store.revocations_for_crl(now).await.map_err(not_stored)?;
    let this_update = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let next_update = this_update + valid_for(settings);
    let tbs = CrlBuilder {
        scheme: settings.scheme(),
        issuer: issuer.subject().clone(),
        this_update,
        next_update,
        number,
        authority_key_id: key_id.clone(),
        distribution_point: settings.config.crl.idp_url.clone(),
        revoked: revocations
            .into_iter()
            .map(|revocation| RevokedCertificate {
                serial: revocation.serial,
                // Another node's clock may be ahead of this one's, or this one's was put back: that must not keep the list
                // from being made.
                revoked_at: Timestamp::from_second(revocation.revoked_at.as_second())
                    .unwrap_or(this_update)
                    .min(this_update),
                reason: Some(revocation.reason).filter(|reason| *reason != ReasonCode::Unspecified),
            })
            .collect(),
    }
    .build()
    .map_err(|error| broken("building the revocation list", error))?;
    let facts = facts::crl_facts(tbs.clone()).map_err(|error| broken("reading the revocation list to sign", error))?;
    let by = Issuer {
        name: issuer.subject().as_der(),
        key_id: Some(&key_id),
        not_after: Some(issuer.not_after()),
        path_length: None,
    };
    let approved = lint::approve_crl(facts, &by, settings.scheme().algorithm_identifier()).map_err(|findings| {
        let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
        broken("approving the revocation list", std::io::Error::other(text.join("; ")))
    })?;
    store.record_crl(NewCrl { number, tbs, this_update, next_update }).await.map_err(not_stored)?;
    let der =
        signed(settings, "signing the revocation list", |signer| keywheel_signer::issue::issue_crl(&approved, signer))?;
    store.complete_crl(number, der.clone()).await.map_err(not_stored)?;
    tracing::info!(number, "a revocation list was made");
    Ok(Crl { der, expires: next_update })
}

fn valid_for(settings: &Settings) -> SignedDuration {
    settings.config.crl.cache_duration.unwrap_or(VALIDITY).max(SignedDuration::from_mins(1))
}

/// As the reference does: after two thirds of its life, where `crl.renewPeriod` does not say.
fn renew_after(settings: &Settings) -> SignedDuration {
    settings.config.crl.renew_period.unwrap_or_else(|| (valid_for(settings) / 3) * 2)
}
