//! A first certificate for a one-time token.

use aws_lc_rs::digest;
use jiff::Timestamp;
use keywheel_core::go_duration;
use keywheel_core::key_blocklist;
use keywheel_core::key_strength;
use keywheel_core::names::{self, Names};
use keywheel_core::serial::Serial;
use keywheel_core::token::Purpose;
use keywheel_core::validity::{self, RequestedTime, Validity, ValidityRefusal, ValidityRequest};
use keywheel_store::{Store, TokenOutcome};
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::extension::alt_name::GeneralName;
use keywheel_wire::x509::facts;
use keywheel_wire::x509::request::Request;
use keywheel_wire::x509::tbs::TbsBuilder;

use super::describe::{Described, describe};
use super::issue::{self, Draft, broken};
use super::settings::{Entry, Settings};
use super::token::{self, Authorized};
use super::{AuthorityError, Issued, SignRequest};

/// Issues a first certificate.
pub(super) async fn sign(
    store: &Store,
    settings: &Settings,
    request: SignRequest,
    now: Timestamp,
) -> Result<Issued, AuthorityError> {
    let csr = read_request(&request.csr)?;
    let times =
        ValidityRequest { not_before: requested(&request.not_before)?, not_after: requested(&request.not_after)? };
    let mut authorized = token::authorize(settings, &request.token, Purpose::Sign, now)?;
    authorized.one_time.request = Some(digest_of(&request));
    let one_time = authorized.one_time.clone();
    let outcome = certify(store, settings, authorized, &csr, times, request.template_data, now).await;
    // As in the reference, a token that was shown and found good is used up also where its request is refused. A fault of
    // ours leaves it good: the same request may then be sent again.
    if matches!(outcome, Err(AuthorityError::Malformed(_) | AuthorityError::Forbidden(_)))
        && store.consume_token(one_time).await.map_err(issue::not_stored)? == TokenOutcome::AlreadyUsed
    {
        return Err(issue::token_used());
    }
    outcome
}

/// All that a request says, but its token: whoever sends the very same again has not heard the answer.
fn digest_of(request: &SignRequest) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    let data = request.template_data.as_ref().map(ToString::to_string).unwrap_or_default();
    for part in [&request.csr, request.not_before.as_bytes(), request.not_after.as_bytes(), data.as_bytes()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// Issues what a good token asks for.
async fn certify(
    store: &Store,
    settings: &Settings,
    authorized: Authorized,
    csr: &Request,
    times: ValidityRequest,
    template_data: Option<serde_json::Value>,
    now: Timestamp,
) -> Result<Issued, AuthorityError> {
    token::check_binding(&authorized.claims, csr.der())?;
    token::note_voucher(store, settings, &authorized, now).await?;
    check_key(settings, csr.spki())?;
    let sans = authorised_names(&authorized, csr)?;
    let issuer = settings.issuer();
    let described = describe(&authorized, csr, &sans, template_data, &settings.config.subject_defaults, issuer)?;
    let Described { subject, names, extensions, role } = described;
    check_names(settings, Some(&authorized.entry), &facts::names(&subject, &names))?;
    let validity = validity(settings, &authorized, times, now)?;
    let tbs = TbsBuilder {
        serial: Serial::from_random([0; 16]),
        scheme: settings.scheme(),
        issuer: issuer.subject().clone(),
        not_before: validity.not_before,
        not_after: validity.not_after,
        subject,
        spki: csr.spki().to_vec(),
        extensions,
    };
    let draft = Draft { tbs, role, issuer: Some(recorded(&authorized.entry)) };
    issue::first(store, settings, draft, Some(authorized.one_time), now).await
}

/// Reads a request and checks that who made it holds its key.
pub(super) fn read_request(der: &[u8]) -> Result<Request, AuthorityError> {
    let request = Request::from_der(der).map_err(|error| invalid(&error))?;
    check_proof(&request)?;
    Ok(request)
}

/// Checks that who made a request holds its key.
pub(super) fn check_proof(request: &Request) -> Result<(), AuthorityError> {
    if let Err(error) = request.verify() {
        // A key too short to verify anything: its length is what the requester must hear of.
        if let Ok(facts) = facts::public_key_facts(request.spki()) {
            key_strength::check(&facts).map_err(|weak| AuthorityError::Forbidden(weak.to_string()))?;
        }
        return Err(invalid(&error));
    }
    Ok(())
}

fn invalid(error: &dyn std::error::Error) -> AuthorityError {
    tracing::debug!(error = super::chain(error), "the certificate request is not accepted");
    AuthorityError::Malformed("invalid csr".to_owned())
}

/// Refuses keys that are known to be weak.
pub(super) fn check_key(settings: &Settings, spki: &[u8]) -> Result<(), AuthorityError> {
    let facts = facts::public_key_facts(spki).map_err(|error| AuthorityError::Malformed(error.to_string()))?;
    let refused = |weak: key_strength::WeakKey| AuthorityError::Forbidden(weak.to_string());
    key_strength::check(&facts).map_err(refused)?;
    match (&settings.blocklist, key_blocklist::hashed_part(&facts)) {
        (Some(list), Some(part)) => {
            let mut digest = [0; 32];
            digest.copy_from_slice(digest::digest(&digest::SHA256, part).as_ref());
            list.check(&digest).map_err(refused)
        }
        _ => Ok(()),
    }
}

/// Whether the policy of this CA, that of the provisioner and the constraints of the chain let all names be certified.
pub(super) fn check_names(settings: &Settings, entry: Option<&Entry>, names: &Names) -> Result<(), AuthorityError> {
    let refused = |refusal: names::NameRefusal| AuthorityError::Forbidden(refusal.to_string());
    names::check(&settings.policy, names).map_err(refused)?;
    if let Some(entry) = entry {
        names::check(&entry.provisioner.name_policy, names).map_err(refused)?;
    }
    names::check_constraints(&settings.constraints, names).map_err(refused)
}

/// A provisioner as the store remembers it.
pub(super) fn recorded(entry: &Entry) -> keywheel_store::Issuer {
    let provisioner = &entry.provisioner;
    keywheel_store::Issuer {
        kind: provisioner.kind.type_name().to_owned(),
        name: provisioner.name.clone(),
        id: provisioner.credential_id().to_owned(),
    }
}

/// The names that the token grants; what the request names must be among them.
fn authorised_names(authorized: &Authorized, csr: &Request) -> Result<Vec<String>, AuthorityError> {
    let subject = &authorized.claims.registered.subject;
    let sans = match &authorized.claims.sans {
        Some(sans) if !sans.is_empty() => sans.clone(),
        _ => vec![subject.clone()],
    };
    let common_name = csr.subject().common_name().unwrap_or_default();
    if !common_name.is_empty() && common_name != *subject && !sans.contains(&common_name) {
        return Err(AuthorityError::Forbidden(format!(
            "certificate request does not contain the valid common name - got {common_name}, want {subject}"
        )));
    }
    let wanted: Vec<GeneralName> = sans.iter().map(|name| GeneralName::from_text(name)).collect();
    let asked = csr.subject_alt_names().map_err(|error| AuthorityError::Malformed(error.to_string()))?;
    for kind in ["DNS names", "IP addresses", "email addresses", "URIs", "other names"] {
        let of_kind = |names: &[GeneralName]| {
            let mut texts: Vec<String> = names.iter().filter(|name| kind_of(name) == kind).map(text).collect();
            texts.sort();
            texts.dedup();
            texts
        };
        let (asked, wanted) = (of_kind(&asked), of_kind(&wanted));
        // A request that names nothing of a kind leaves it to the token.
        if !asked.is_empty() && asked != wanted {
            return Err(AuthorityError::Forbidden(format!(
                "certificate request does not contain the valid {kind} - got [{}], want [{}]",
                asked.join(" "),
                wanted.join(" ")
            )));
        }
    }
    Ok(sans)
}

fn kind_of(name: &GeneralName) -> &'static str {
    match name {
        GeneralName::Dns(_) => "DNS names",
        GeneralName::Ip(_) => "IP addresses",
        GeneralName::Email(_) => "email addresses",
        GeneralName::Uri(_) => "URIs",
        _ => "other names",
    }
}

/// Host names are compared without regard to case.
fn text(name: &GeneralName) -> String {
    match name {
        GeneralName::Dns(text) => text.to_ascii_lowercase(),
        name => name.as_text().unwrap_or_else(|| "(not a text)".to_owned()),
    }
}

fn requested(text: &str) -> Result<RequestedTime, AuthorityError> {
    if text.is_empty() {
        return Ok(RequestedTime::Unset);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(RequestedTime::At(at));
    }
    go_duration::parse(text).map(RequestedTime::After).map_err(|_| {
        let shown: String = text.chars().filter(|letter| !letter.is_control()).take(64).collect();
        AuthorityError::Malformed(format!("'{shown}' is neither a time of RFC 3339 nor a duration"))
    })
}

fn validity(
    settings: &Settings,
    authorized: &Authorized,
    times: ValidityRequest,
    now: Timestamp,
) -> Result<Validity, AuthorityError> {
    // What a certificate vouches for does not outlive it.
    let voucher = authorized.chain.first().map(Certificate::not_after);
    let end = settings.issuer().not_after();
    let end = voucher.map_or(end, |voucher| end.min(voucher));
    validity::for_sign(times, now, &authorized.entry.claims, settings.config.backdate, end).map_err(|refusal| {
        match refusal {
            ValidityRefusal::TooShort { .. }
            | ValidityRefusal::TooLong { .. }
            | ValidityRefusal::OutlivesIssuer { .. } => AuthorityError::Forbidden(refusal.to_string()),
            ValidityRefusal::IssuerExpired { .. } => broken("choosing the validity", refusal),
            refusal => AuthorityError::Malformed(refusal.to_string()),
        }
    })
}
