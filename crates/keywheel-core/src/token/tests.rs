//! Tables of token claims and audiences.

use alloc::borrow::ToOwned;
use std::vec;

use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn good() -> TokenClaims {
    TokenClaims {
        issuer: "admin".to_owned(),
        subject: "svc.local".to_owned(),
        audience: vec!["https://ca.local:9000/1.0/sign".to_owned()],
        issued_at: Some(at(1_000)),
        not_before: Some(at(1_000)),
        expires_at: Some(at(1_300)),
    }
}

fn verdict(claims: &TokenClaims, now: i64) -> Result<Timestamp, TokenRefusal> {
    let accepted = audiences(&["ca.local".to_owned()], Purpose::Sign, None);
    let rules = TokenRules {
        now: at(now),
        issuer: Some("admin"),
        audiences: &accepted,
        max_lifetime: Some(SignedDuration::from_hours(1)),
    };
    check(claims, &rules)
}

#[test]
fn a_good_token_is_remembered_until_no_clock_accepts_it() {
    assert_eq!(verdict(&good(), 1_000), Ok(at(1_360)));
}

#[test]
fn a_minute_of_disagreement_between_clocks_is_forgiven_at_both_ends() {
    assert!(verdict(&good(), 940).is_ok());
    assert_eq!(verdict(&good(), 939), Err(TokenRefusal::NotYetValid { not_before: at(1_000) }));
    assert!(verdict(&good(), 1_360).is_ok());
    assert_eq!(verdict(&good(), 1_361), Err(TokenRefusal::Expired { expires_at: at(1_300) }));
}

#[test]
fn each_missing_or_wrong_claim_has_its_refusal() {
    let refusal = |change: &dyn Fn(&mut TokenClaims)| {
        let mut claims = good();
        change(&mut claims);
        verdict(&claims, 1_000).unwrap_err()
    };
    assert_eq!(refusal(&|c| c.issuer = "other".to_owned()), TokenRefusal::Issuer { issuer: "other".to_owned() });
    assert_eq!(refusal(&|c| c.audience.clear()), TokenRefusal::Audience { audience: vec![] });
    assert!(matches!(
        refusal(&|c| c.audience = vec!["https://ca.local/1.0/revoke".to_owned()]),
        TokenRefusal::Audience { .. }
    ));
    assert!(matches!(
        refusal(&|c| c.audience = vec!["https://other/1.0/sign".to_owned()]),
        TokenRefusal::Audience { .. }
    ));
    assert_eq!(refusal(&|c| c.subject.clear()), TokenRefusal::NoSubject);
    assert_eq!(refusal(&|c| c.expires_at = None), TokenRefusal::NoExpiry);
    assert_eq!(
        refusal(&|c| {
            c.not_before = None;
            c.issued_at = Some(at(1_061));
        }),
        TokenRefusal::IssuedInFuture { issued_at: at(1_061) }
    );
    assert_eq!(refusal(&|c| c.expires_at = Some(at(1_000 + 3_601))), TokenRefusal::LivesTooLong);
    assert_eq!(
        refusal(&|c| {
            c.issued_at = None;
            c.not_before = None;
            c.expires_at = Some(Timestamp::MAX);
        }),
        TokenRefusal::LivesTooLong
    );
}

#[test]
fn one_accepted_audience_among_several_is_enough() {
    let mut claims = good();
    claims.audience = vec!["https://other/sign".to_owned(), "https://CA.local/ssh/sign".to_owned()];
    assert!(verdict(&claims, 1_000).is_ok());
}

#[test]
fn audiences_are_compared_without_port_and_case_of_the_host() {
    let table = [
        ("https://ca.local/1.0/sign", "https://ca.local:9000/1.0/sign", true),
        ("https://ca.local:1/1.0/sign", "HTTPS://CA.LOCAL:2/1.0/sign", true),
        ("https://[::1]:9000/sign", "https://[::1]/sign", true),
        ("https://ca.local/sign#x5c/a", "https://ca.local:443/sign#x5c/a", true),
        ("https://ca.local/sign#x5c/a", "https://ca.local/sign#x5c/b", false),
        ("https://ca.local/sign#x5c/a", "https://ca.local/sign", false),
        ("https://ca.local/sign", "https://ca.local/SIGN", false),
        ("https://ca.local/sign", "http://ca.local/sign", false),
        ("https://ca.local/sign", "https://ca.local/sign/", false),
        ("https://ca.local/sign", "https://ca.local@evil/sign", false),
        ("https://ca.local/sign", "https://evil@ca.local/sign", false),
        ("https://ca.local/sign", "https://ca.local:x/sign", false),
        ("https://ca.local/sign", "https://ca.local.evil/sign", false),
        ("https://[::1]/sign", "https://[::2]/sign", false),
        ("step-certificate-authority", "step-certificate-authority", true),
        ("step-certificate-authority", "https://ca.local/sign", false),
    ];
    for (a, b, same) in table {
        assert_eq!(same_audience(a, b), same, "{a} {b}");
        assert_eq!(same_audience(b, a), same, "{b} {a}");
    }
}

#[test]
fn audiences_name_every_route_under_every_name() {
    let names = ["ca.local".to_owned(), "::1".to_owned()];
    assert_eq!(
        audiences(&names, Purpose::Rekey, None),
        ["https://ca.local/1.0/rekey", "https://ca.local/rekey", "https://[::1]/1.0/rekey", "https://[::1]/rekey"]
    );
    assert_eq!(
        audiences(&names[..1], Purpose::Revoke, Some("x5c/dev")),
        ["https://ca.local/1.0/revoke#x5c/dev", "https://ca.local/revoke#x5c/dev"]
    );
    assert!(audiences(&names, Purpose::Sign, None).contains(&"https://[::1]/1.0/ssh/sign".to_owned()));
}

#[test]
fn a_token_for_one_purpose_does_not_serve_another() {
    let names = ["ca.local".to_owned()];
    let all = [
        Purpose::Sign,
        Purpose::Renew,
        Purpose::Rekey,
        Purpose::Revoke,
        Purpose::SshRenew,
        Purpose::SshRekey,
        Purpose::SshRevoke,
    ];
    for a in all {
        for b in all.into_iter().filter(|b| *b != a) {
            let accepted = audiences(&names, b, None);
            assert!(audiences(&names, a, None).iter().all(|audience| !accepted.contains(audience)), "{a:?} {b:?}");
        }
    }
}

proptest! {
    #[test]
    fn every_audience_equals_itself(text in "\\PC{0,60}") {
        prop_assert!(same_audience(&text, &text));
    }

    #[test]
    fn no_token_is_accepted_outside_its_times(now in 0_i64..10_000, start in 0_i64..10_000, end in 0_i64..10_000) {
        let claims = TokenClaims { issued_at: Some(at(start)), not_before: Some(at(start)), expires_at: Some(at(end)), ..good() };
        let accepted = verdict(&claims, now).is_ok();
        let expected = start <= now + 60 && now <= end + 60 && end - start <= 3_600;
        prop_assert_eq!(accepted, expected);
    }
}
