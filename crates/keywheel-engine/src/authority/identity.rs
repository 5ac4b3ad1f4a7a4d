//! The certificate that the server shows: issued by this authority to itself, recorded like any other.

use jiff::{SignedDuration, Timestamp};
use keywheel_core::claims::Claims;
use keywheel_core::lint::Role;
use keywheel_core::serial::Serial;
use keywheel_core::validity::{self, ValidityRequest};
use keywheel_signer::file_key::FileKey;
use keywheel_store::Store;
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::x509::Malformed;
use keywheel_wire::x509::extension::alt_name::{self, GeneralName};
use keywheel_wire::x509::extension::key_identifier;
use keywheel_wire::x509::extension::usage::{self, KeyUsage};
use keywheel_wire::x509::name::Name;
use keywheel_wire::x509::oid;
use keywheel_wire::x509::tbs::TbsBuilder;

use super::carry_over::authority_key_identifier;
use super::issue::{self, Draft, broken};
use super::settings::Settings;
use super::{AuthorityError, ServerIdentity};

/// Makes a key and a certificate for the names of `ca.json`.
pub(super) async fn make(store: &Store, settings: &Settings, now: Timestamp) -> Result<ServerIdentity, AuthorityError> {
    let key = FileKey::generate(KeyKind::EcP256).map_err(|error| broken("making the server's key", error))?;
    let key = key.private_key().clone();
    let issuer = settings.issuer();
    let mut claims = Claims::default().over(&settings.config.claims);
    // As in the reference a day, whatever the claims grant to others.
    claims.default_tls_duration = SignedDuration::from_hours(24);
    claims.min_tls_duration = SignedDuration::from_mins(1);
    claims.max_tls_duration = SignedDuration::from_hours(24);
    let validity =
        validity::for_sign(ValidityRequest::default(), now, &claims, settings.config.backdate, issuer.not_after())
            .map_err(|refusal| broken("choosing the validity of the server's certificate", refusal))?;
    let extensions = || {
        let names: Vec<GeneralName> =
            settings.config.dns_names.iter().map(|name| GeneralName::from_text(name)).collect();
        Ok::<_, Malformed>(vec![
            KeyUsage::DIGITAL_SIGNATURE.extension(),
            usage::extended(&[oid::SERVER_AUTH, oid::CLIENT_AUTH]),
            key_identifier::subject(&key_identifier::of_key(key.public_key())?),
            authority_key_identifier(issuer)?,
            alt_name::extension(&names, false)?,
        ])
    };
    let tbs = TbsBuilder {
        serial: Serial::from_random([0; 16]),
        scheme: settings.scheme(),
        issuer: issuer.subject().clone(),
        not_before: validity.not_before,
        not_after: validity.not_after,
        subject: Name::with_common_name(&settings.config.common_name),
        spki: key.public_key().to_vec(),
        extensions: extensions().map_err(|error| broken("building the server's certificate", error))?,
    };
    let draft = Draft { tbs, role: Role::Leaf, issuer: None };
    let issued = issue::first(store, settings, draft, None, now).await?;
    Ok(ServerIdentity { chain: issued.chain, key, validity: (validity.not_before, validity.not_after) })
}
