//! The decision table, exhaustive over its inputs.

use std::vec::Vec;

use super::*;

const NOW: i64 = 1_000_000;
const OVERLAP: SignedDuration = SignedDuration::from_hours(24);
const LATEST: SignedDuration = SignedDuration::from_mins(10);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn serial(n: u8) -> Serial {
    Serial::from_bytes(&[n]).unwrap()
}

const AFTERS: [AfterRekey; 3] = [
    AfterRekey::OldStays,
    AfterRekey::RevokeAfterOverlap(OVERLAP),
    AfterRekey::RevokeWhenSuccessorSeen { at_latest: LATEST },
];

fn successor(seen: bool) -> Successor {
    Successor { serial: serial(2), key: KeyDigest([2; 32]), seen }
}

/// Every combination of what the decision looks at.
fn all_facts() -> Vec<RekeyFacts> {
    let validities = [(NOW - 10, NOW + 10), (NOW + 1, NOW + 10), (NOW - 10, NOW - 1)];
    let reasons = [None, Some(ReasonCode::Superseded), Some(ReasonCode::KeyCompromise)];
    let successors = [None, Some(successor(false)), Some(successor(true))];
    let mut answers = std::vec![None];
    for answer in [2, 3] {
        for (not_after, revoked) in [(NOW + 5, false), (NOW - 1, false), (NOW + 5, true)] {
            answers.push(Some(EarlierAnswer { serial: serial(answer), not_after: at(not_after), revoked }));
        }
    }
    let mut all = Vec::new();
    for (start, end) in validities {
        for revoked in reasons {
            for successor in successors {
                for same_request in &answers {
                    for after in AFTERS {
                        for switches in 0..16_u8 {
                            all.push(RekeyFacts {
                                now: at(NOW),
                                old: OldCertificate {
                                    validity: Validity { not_before: at(start), not_after: at(end) },
                                    revoked,
                                    successor,
                                },
                                same_request: *same_request,
                                new_key_certified_before: switches & 1 != 0,
                                new_key_is_old_key: switches & 2 != 0,
                                renewal_disabled: switches & 4 != 0,
                                allow_after_expiry: switches & 8 != 0,
                                after,
                            });
                        }
                    }
                }
            }
        }
    }
    all
}

fn issues(facts: &RekeyFacts) -> bool {
    matches!(decide(facts), RekeyDecision::Issue { .. })
}

#[test]
fn nothing_is_issued_unless_every_condition_holds() {
    let mut issued = 0;
    for facts in all_facts() {
        let expired = facts.old.validity.not_after < facts.now;
        let conditions = !facts.new_key_is_old_key
            && !facts.new_key_certified_before
            && facts.same_request.is_none()
            && facts.old.revoked.is_none()
            && !facts.renewal_disabled
            && facts.old.validity.not_before <= facts.now
            && (!expired || facts.allow_after_expiry)
            && (facts.after == AfterRekey::OldStays || !facts.old.successor.is_some_and(|s| s.seen));
        assert_eq!(issues(&facts), conditions, "{facts:?}");
        issued += usize::from(conditions);
    }
    assert!(issued > 10, "{issued}");
}

#[test]
fn an_earlier_answer_is_given_again_exactly_while_it_lives_and_the_old_one_fell_to_nothing_else() {
    let mut replayed = 0;
    for facts in all_facts() {
        let expected = match facts.same_request {
            Some(answer) if !facts.new_key_is_old_key && !answer.revoked && answer.not_after >= facts.now => {
                let by_this_answer = facts.old.revoked == Some(ReasonCode::Superseded)
                    && facts.old.successor.is_some_and(|newest| newest.serial == answer.serial);
                (facts.old.revoked.is_none() || by_this_answer).then_some(answer.serial)
            }
            _ => None,
        };
        let found = match decide(&facts) {
            RekeyDecision::Replay { serial } => Some(serial),
            _ => None,
        };
        assert_eq!(found, expected, "{facts:?}");
        replayed += usize::from(expected.is_some());
    }
    assert!(replayed > 10, "{replayed}");
}

#[test]
fn the_same_key_is_never_answered() {
    for facts in all_facts().iter().filter(|facts| facts.new_key_is_old_key) {
        assert_eq!(decide(facts), RekeyDecision::Refuse(RekeyRefusal::SameKey));
    }
}

#[test]
fn an_issue_says_what_becomes_of_the_old_certificate_and_of_an_unseen_successor() {
    for facts in all_facts() {
        let RekeyDecision::Issue { revoke_unseen_successor, old_revocation } = decide(&facts) else { continue };
        let stays = facts.after == AfterRekey::OldStays;
        let unseen = facts.old.successor.filter(|successor| !successor.seen && !stays);
        assert_eq!(revoke_unseen_successor, unseen.map(|successor| successor.serial), "{facts:?}");
        let expected = match facts.after {
            AfterRekey::OldStays => None,
            AfterRekey::RevokeAfterOverlap(_) => Some(Due { at: at(NOW + 86_400), when_successor_seen: false }),
            AfterRekey::RevokeWhenSuccessorSeen { .. } => Some(Due { at: at(NOW + 600), when_successor_seen: true }),
        };
        assert_eq!(old_revocation, expected, "{facts:?}");
    }
}

#[test]
fn a_refusal_names_the_first_thing_that_is_wrong() {
    let good = RekeyFacts {
        now: at(NOW),
        old: OldCertificate {
            validity: Validity { not_before: at(NOW - 10), not_after: at(NOW + 10) },
            revoked: None,
            successor: None,
        },
        same_request: None,
        new_key_certified_before: false,
        new_key_is_old_key: false,
        renewal_disabled: false,
        allow_after_expiry: false,
        after: AFTERS[2],
    };
    assert!(issues(&good));
    let refusal = |change: &dyn Fn(&mut RekeyFacts)| {
        let mut facts = good.clone();
        change(&mut facts);
        match decide(&facts) {
            RekeyDecision::Refuse(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        refusal(&|f| f.old.revoked = Some(ReasonCode::KeyCompromise)),
        RekeyRefusal::Revoked { reason: ReasonCode::KeyCompromise }
    );
    assert_eq!(refusal(&|f| f.renewal_disabled = true), RekeyRefusal::Disabled);
    assert_eq!(
        refusal(&|f| f.old.validity.not_before = at(NOW + 1)),
        RekeyRefusal::NotYetValid { not_before: at(NOW + 1) }
    );
    assert_eq!(refusal(&|f| f.old.validity.not_after = at(NOW - 1)), RekeyRefusal::Expired { not_after: at(NOW - 1) });
    assert_eq!(refusal(&|f| f.new_key_certified_before = true), RekeyRefusal::KeyCertifiedBefore);
    assert_eq!(refusal(&|f| f.old.successor = Some(successor(true))), RekeyRefusal::Superseded { serial: serial(2) });
}

#[test]
fn both_ends_of_the_validity_belong_to_it() {
    for (start, end) in [(NOW, NOW + 5), (NOW - 5, NOW)] {
        let facts = RenewFacts {
            now: at(NOW),
            old: OldCertificate {
                validity: Validity { not_before: at(start), not_after: at(end) },
                revoked: None,
                successor: None,
            },
            just_now: None,
            renewal_disabled: false,
            allow_after_expiry: false,
            after: AfterRekey::OldStays,
        };
        assert_eq!(decide_renewal(&facts), Ok(RenewalDecision::Issue));
    }
}

#[test]
fn a_renewal_is_granted_exactly_when_a_rekey_with_a_fresh_key_would_be_and_nothing_has_superseded_it() {
    for facts in all_facts() {
        let renewal = RenewFacts {
            now: facts.now,
            old: facts.old,
            just_now: facts.same_request,
            renewal_disabled: facts.renewal_disabled,
            allow_after_expiry: facts.allow_after_expiry,
            after: facts.after,
        };
        let fresh = RekeyFacts {
            same_request: None,
            new_key_certified_before: false,
            new_key_is_old_key: false,
            ..facts.clone()
        };
        let superseded = facts.after != AfterRekey::OldStays && facts.old.successor.is_some();
        assert_eq!(decide_renewal(&renewal).is_ok(), issues(&fresh) && !superseded, "{facts:?}");
        // Asked again at once it gets what it got, unless that is dead.
        let alive = facts.same_request.filter(|earlier| !earlier.revoked && earlier.not_after >= facts.now);
        if let Ok(decision) = decide_renewal(&renewal) {
            let again =
                alive.map_or(RenewalDecision::Issue, |earlier| RenewalDecision::Replay { serial: earlier.serial });
            assert_eq!(decision, again, "{facts:?}");
        }
    }
}

#[test]
fn a_delay_beyond_the_calendar_does_not_break_the_decision() {
    for (delay, expected) in [(SignedDuration::MAX, Timestamp::MAX), (SignedDuration::MIN, at(NOW))] {
        assert_eq!(
            due(at(NOW), AfterRekey::RevokeAfterOverlap(delay)),
            Some(Due { at: expected, when_successor_seen: false })
        );
    }
}
