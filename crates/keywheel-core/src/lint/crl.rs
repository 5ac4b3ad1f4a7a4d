//! The rules for revocation lists, mostly from RFC 5280.

use alloc::collections::BTreeSet;
use alloc::format;

use super::{CrlFacts, Findings, Issuer};
use crate::revocation::ReasonCode;

const CRL_NUMBER: &str = "2.5.29.20";
const ISSUING_DISTRIBUTION_POINT: &str = "2.5.29.28";
const AUTHORITY_KEY_ID: &str = "2.5.29.35";

pub(super) fn lint(facts: &CrlFacts, issuer: &Issuer<'_>, signature_algorithm: &[u8], findings: &mut Findings) {
    findings.require(!facts.tbs.is_empty(), "tbs", || "there is nothing to sign".into());
    findings.require(facts.version == 2, "version", || format!("the version is {}, not 2", facts.version));
    findings.require(facts.signature_algorithm == signature_algorithm, "signature_algorithm", || {
        "the algorithm inside is not the one that signs".into()
    });
    findings.require(!issuer.name.is_empty() && facts.issuer == issuer.name, "issuer", || {
        "the issuer is not the subject of the issuing certificate".into()
    });
    times(facts, findings);
    extensions(facts, issuer, findings);
    entries(facts, findings);
}

fn times(facts: &CrlFacts, findings: &mut Findings) {
    findings.require_time_encoding("thisUpdate", facts.this_update, facts.this_update_encoding);
    match (facts.next_update, facts.next_update_encoding) {
        (Some(next_update), Some(encoding)) => {
            findings.require(next_update > facts.this_update, "next_update", || {
                format!("nextUpdate {next_update} is not after thisUpdate {}", facts.this_update)
            });
            findings.require_time_encoding("nextUpdate", next_update, encoding);
        }
        _ => findings.require(false, "next_update", || "nextUpdate is missing".into()),
    }
}

fn extensions(facts: &CrlFacts, issuer: &Issuer<'_>, findings: &mut Findings) {
    findings.require_unique_extensions(&facts.extensions);
    findings.require_criticality(&facts.extensions, CRL_NUMBER, false);
    findings.require_criticality(&facts.extensions, AUTHORITY_KEY_ID, false);
    findings.require_criticality(&facts.extensions, ISSUING_DISTRIBUTION_POINT, true);
    match &facts.number_octets {
        Some(octets) => findings.require_number("crl_number", octets),
        None => findings.require(false, "crl_number", || "the CRL number is missing".into()),
    }
    match (&facts.authority_key_id, issuer.key_id) {
        (None, _) => findings.require(false, "authority_key_id", || "the authority key identifier is missing".into()),
        (Some(found), Some(wanted)) => findings.require(found == wanted, "authority_key_id", || {
            "the authority key identifier is not that of the issuing key".into()
        }),
        (Some(_), None) => {}
    }
}

fn entries(facts: &CrlFacts, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for entry in &facts.entries {
        let serial = entry.serial;
        findings.require(seen.insert(serial), "entry", || format!("the certificate {serial} is listed twice"));
        findings.require(entry.revoked_at <= facts.this_update, "entry", || {
            format!("the certificate {serial} is revoked at {}, after the list was made", entry.revoked_at)
        });
        findings.require_time_encoding("revocationDate", entry.revoked_at, entry.revoked_at_encoding);
        // "unspecified" is said by leaving the reason out, and holds are only lifted in delta lists.
        let sound = entry.reason.is_none_or(|code| {
            !matches!(
                ReasonCode::from_code(i64::from(code)),
                Err(_) | Ok(ReasonCode::Unspecified | ReasonCode::RemoveFromCrl)
            )
        });
        findings.require(sound, "entry", || {
            format!("the certificate {serial} has the reason {:?}, which may not stand here", entry.reason)
        });
    }
}
