//! Validities within claims and issuer.

use proptest::prelude::*;

use super::*;
use crate::claims::Claims;

const NOW: i64 = 1_000_000;
const DAY: i64 = 86_400;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn seconds(n: i64) -> SignedDuration {
    SignedDuration::from_secs(n)
}

fn span(start: i64, end: i64) -> Validity {
    Validity { not_before: at(NOW + start), not_after: at(NOW + end) }
}

fn sign(not_before: RequestedTime, not_after: RequestedTime, issuer_lives: i64) -> Result<Validity, ValidityRefusal> {
    let claims = Claims::default().over(&Claims::default());
    let now = at(NOW) + SignedDuration::from_millis(700);
    for_sign(ValidityRequest { not_before, not_after }, now, &claims, DEFAULT_BACKDATE, at(NOW + issuer_lives))
}

#[test]
fn without_wishes_the_default_length_comes_after_the_backdate() {
    use RequestedTime::Unset;
    assert_eq!(sign(Unset, Unset, 9 * DAY), Ok(span(-60, DAY)));
}

#[test]
fn the_default_length_is_cut_at_the_end_of_the_issuer() {
    use RequestedTime::Unset;
    assert_eq!(sign(Unset, Unset, 3_600), Ok(span(-60, 3_600)));
}

#[test]
fn wishes_within_the_claims_are_granted_to_the_second() {
    use RequestedTime::{After, At, Unset};
    assert_eq!(sign(Unset, After(seconds(300)), 9 * DAY), Ok(span(-60, 300)));
    assert_eq!(sign(Unset, At(at(NOW + 301)), 9 * DAY), Ok(span(-60, 301)));
    assert_eq!(sign(After(seconds(600)), After(seconds(900)), 9 * DAY), Ok(span(600, 1_500)));
    assert_eq!(sign(After(seconds(-600)), After(seconds(900)), 9 * DAY), Ok(span(-600, 300)));
    assert_eq!(sign(At(at(NOW - 600)), Unset, 9 * DAY), Ok(span(-600, DAY - 600)));
}

#[test]
fn wishes_outside_the_claims_or_the_issuer_are_refused_and_never_changed() {
    use RequestedTime::{After, At, Unset};
    assert!(matches!(sign(Unset, After(seconds(299)), 9 * DAY), Err(ValidityRefusal::TooShort { .. })));
    assert_eq!(
        sign(Unset, After(seconds(DAY + 1)), 9 * DAY),
        Err(ValidityRefusal::TooLong { requested: "24h0m1s".into(), most: "24h0m0s".into() })
    );
    assert!(matches!(sign(Unset, After(seconds(7_200)), 3_600), Err(ValidityRefusal::OutlivesIssuer { .. })));
    assert!(matches!(sign(Unset, At(at(NOW - 10)), 9 * DAY), Err(ValidityRefusal::EndInPast { .. })));
    assert!(matches!(sign(Unset, At(at(NOW - 100)), 9 * DAY), Err(ValidityRefusal::EndBeforeStart { .. })));
    assert!(matches!(
        sign(After(seconds(600)), At(at(NOW + 600)), 9 * DAY),
        Err(ValidityRefusal::EndBeforeStart { .. })
    ));
    assert!(matches!(sign(Unset, After(SignedDuration::MAX), 9 * DAY), Err(ValidityRefusal::BeyondCalendar)));
    assert!(matches!(sign(Unset, Unset, 0), Err(ValidityRefusal::IssuerExpired { .. })));
}

#[test]
fn a_default_that_starts_after_the_issuer_ends_is_refused() {
    use RequestedTime::{After, Unset};
    assert!(matches!(sign(After(seconds(7_200)), Unset, 3_600), Err(ValidityRefusal::OutlivesIssuer { .. })));
}

#[test]
fn a_successor_is_as_long_as_its_predecessor() {
    let old = Validity { not_before: at(5), not_after: at(5 + DAY + 60) };
    assert_eq!(for_successor(old, at(NOW), DEFAULT_BACKDATE, at(NOW + 9 * DAY)), Ok(span(-60, DAY)));
    assert_eq!(for_successor(old, at(NOW), DEFAULT_BACKDATE, at(NOW + 3_600)), Ok(span(-60, 3_600)));
    assert!(for_successor(old, at(NOW), DEFAULT_BACKDATE, at(NOW)).is_err());
}

#[test]
fn a_predecessor_shorter_than_the_backdate_gets_a_successor_that_still_lives() {
    let old = Validity { not_before: at(5), not_after: at(35) };
    assert_eq!(for_successor(old, at(NOW), DEFAULT_BACKDATE, at(NOW + DAY)), Ok(span(-15, 15)));
    let point = Validity { not_before: at(5), not_after: at(5) };
    assert!(matches!(
        for_successor(point, at(NOW), DEFAULT_BACKDATE, at(NOW + DAY)),
        Err(ValidityRefusal::EndInPast { .. })
    ));
}

proptest! {
    #[test]
    fn what_is_granted_lies_within_claims_and_issuer(
        start in proptest::option::of(-100_000_i64..100_000),
        length in proptest::option::of(-1_000_i64..200_000),
        issuer_lives in -10_i64..200_000,
    ) {
        let wish = |n: Option<i64>| n.map_or(RequestedTime::Unset, |n| RequestedTime::After(seconds(n)));
        if let Ok(validity) = sign(wish(start), wish(length), issuer_lives) {
            prop_assert!(validity.not_before < validity.not_after);
            prop_assert!(validity.not_after > at(NOW));
            prop_assert!(validity.not_after <= at(NOW + issuer_lives));
            prop_assert!(validity.length() <= seconds(DAY + 60));
            if let Some(length) = length {
                prop_assert!((300..=DAY).contains(&length));
                prop_assert_eq!(validity.not_after, at(NOW + start.unwrap_or(0) + length));
            }
        }
    }

    #[test]
    fn a_successor_never_outlives_its_issuer(begin in -10_000_i64..10_000, length in 1_i64..10_000_000, issuer_lives in 1_i64..10_000_000, backdate in 0_i64..4_000) {
        let old = Validity { not_before: at(NOW + begin), not_after: at(NOW + begin + length) };
        let new = for_successor(old, at(NOW), seconds(backdate), at(NOW + issuer_lives)).unwrap();
        prop_assert!(new.not_after <= at(NOW + issuer_lives));
        prop_assert!(new.not_before <= at(NOW) && new.not_after > at(NOW));
        prop_assert!(new.length() <= seconds(length));
    }
}
