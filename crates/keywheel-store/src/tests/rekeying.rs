//! Rekeys, renewals and what becomes of the old certificate.

use keywheel_core::rekey::RekeyRefusal;
use keywheel_core::revocation::ReasonCode;

use super::*;
use crate::{CertificateBody, RekeyOutcome, RenewalOutcome, RenewalRequest, Revocation};

on_each_database! {
    the_same_rekey_twice_gets_the_same_certificate
    a_rekey_cut_off_before_its_signature_is_answered_with_what_was_recorded
    the_same_rekey_at_once_on_two_nodes_makes_one_certificate
    two_certificates_cannot_get_the_same_new_key_at_once
    of_many_new_keys_asked_for_at_once_one_lives
    a_successor_is_either_seen_or_revoked_never_both
    a_key_that_was_certified_before_is_refused
    a_line_is_remembered_from_its_first_certificate
    the_first_use_of_a_successor_revokes_its_predecessor
    an_unseen_successor_is_revoked_when_its_predecessor_rekeys_again
    a_successor_in_use_bars_its_predecessor_from_rekeying
    an_old_certificate_is_revoked_when_its_time_has_come_and_its_successor_was_issued
    a_rekey_by_a_certificate_of_another_store_begins_a_line
    a_renewal_that_is_asked_for_again_at_once_gets_the_same_certificate
    a_revoked_certificate_is_not_renewed
}

async fn rekeyed(store: &Store, old: (u64, u8), new: (u64, u8)) {
    assert_eq!(store.record_rekey(rekey(old, new)).await.unwrap(), RekeyOutcome::Recorded);
    complete(store, new.0).await;
}

fn replayed(outcome: RekeyOutcome) -> (Serial, CertificateBody) {
    match outcome {
        RekeyOutcome::Replay(stored) => (stored.serial, stored.body),
        other => panic!("no replay but {other:?}"),
    }
}

async fn reason(store: &Store, number: u64) -> Option<ReasonCode> {
    store.revocation(serial(number)).await.unwrap().map(|revocation| revocation.reason)
}

async fn the_same_rekey_twice_gets_the_same_certificate(world: World) {
    let store = world.open().await;
    issue(&store, 1, 1).await;
    rekeyed(&store, (1, 1), (2, 2)).await;
    drop(store);
    let store = world.open().await;
    let again = store.record_rekey(rekey((1, 1), (3, 2))).await.unwrap();
    assert_eq!(replayed(again), (serial(2), CertificateBody::Signed(signed(&tbs_of(2), 1))));
    assert_eq!(store.certificate(serial(3)).await.unwrap(), None);

    // Even after the successor was seen and the old certificate revoked for it.
    assert!(store.mark_seen(serial(2), at(120)).await.unwrap());
    assert_eq!(reason(&store, 1).await, Some(ReasonCode::Superseded));
    assert_eq!(replayed(store.record_rekey(rekey((1, 1), (4, 2))).await.unwrap()).0, serial(2));
}

async fn a_rekey_cut_off_before_its_signature_is_answered_with_what_was_recorded(world: World) {
    let store = world.open().await;
    issue(&store, 1, 1).await;
    store.record_rekey(rekey((1, 1), (2, 2))).await.unwrap();
    let again = store.record_rekey(rekey((1, 1), (3, 2))).await.unwrap();
    assert_eq!(replayed(again), (serial(2), CertificateBody::Intended(tbs_of(2))));
}

async fn the_same_rekey_at_once_on_two_nodes_makes_one_certificate(world: World) {
    let nodes = [world.open().await, world.open().await];
    for round in 0..10u64 {
        let (old, old_key) = (1000 + round, 100 + round as u8);
        issue(&nodes[0], old, old_key).await;
        let mut attempts = Vec::new();
        for (place, node) in nodes.iter().cycle().take(8).enumerate() {
            let node = node.clone();
            let request = rekey((old, old_key), (10_000 + 100 * round + place as u64, 1 + round as u8));
            attempts.push(tokio::spawn(async move { node.record_rekey(request).await.unwrap() }));
        }
        let mut recorded = 0;
        for attempt in attempts {
            match attempt.await.unwrap() {
                RekeyOutcome::Recorded => recorded += 1,
                other => assert!(matches!(other, RekeyOutcome::Replay(_)), "{other:?}"),
            }
        }
        assert_eq!(recorded, 1);
        assert_eq!(nodes[1].certificates_by_key(key(1 + round as u8)).await.unwrap().len(), 1);
    }
}

async fn two_certificates_cannot_get_the_same_new_key_at_once(world: World) {
    let nodes = [world.open().await, world.open().await];
    for round in 0..10u8 {
        let (one, other) = (u64::from(round) * 2 + 1, u64::from(round) * 2 + 2);
        let (one_key, other_key, new_key) = (round * 3 + 1, round * 3 + 2, round * 3 + 3);
        issue(&nodes[0], one, one_key).await;
        issue(&nodes[0], other, other_key).await;
        let (left, right) = tokio::join!(
            nodes[0].record_rekey(rekey((one, one_key), (one + 1000, new_key))),
            nodes[1].record_rekey(rekey((other, other_key), (other + 1000, new_key))),
        );
        let outcomes = [left.unwrap(), right.unwrap()];
        let refused = RekeyOutcome::Refused(RekeyRefusal::KeyCertifiedBefore);
        assert!(outcomes.contains(&RekeyOutcome::Recorded) && outcomes.contains(&refused), "{outcomes:?}");
    }
}

async fn of_many_new_keys_asked_for_at_once_one_lives(world: World) {
    let nodes = [world.open().await, world.open().await];
    for round in 0..5u64 {
        let (old, old_key) = (round + 1, 200 + round as u8);
        // The others were issued before this store was made.
        if round % 2 == 0 {
            issue(&nodes[0], old, old_key).await;
        }
        let mut attempts = Vec::new();
        for (place, node) in nodes.iter().cycle().take(8).enumerate() {
            let node = node.clone();
            let request = rekey((old, old_key), (1000 * (round + 1) + place as u64, round as u8 * 8 + place as u8));
            attempts.push(tokio::spawn(async move { node.record_rekey(request).await.unwrap() }));
        }
        for attempt in attempts {
            assert_eq!(attempt.await.unwrap(), RekeyOutcome::Recorded);
        }
        let mut living = 0;
        for place in 0..8 {
            living += usize::from(reason(&nodes[1], 1000 * (round + 1) + place).await.is_none());
        }
        assert_eq!(living, 1);
    }
}

async fn a_successor_is_either_seen_or_revoked_never_both(world: World) {
    let nodes = [world.open().await, world.open().await];
    for round in 0..20u8 {
        let (old, first, second) = (u64::from(round) + 1, u64::from(round) + 1001, u64::from(round) + 2001);
        let (old_key, first_key, second_key) = (round * 3 + 1, round * 3 + 2, round * 3 + 3);
        issue(&nodes[0], old, old_key).await;
        rekeyed(&nodes[0], (old, old_key), (first, first_key)).await;
        let (seen, again) = tokio::join!(
            nodes[0].mark_seen(serial(first), at(110)),
            nodes[1].record_rekey(rekey((old, old_key), (second, second_key))),
        );
        let first_revoked = reason(&nodes[0], first).await.is_some();
        if seen.unwrap() {
            // Its first use revoked the old one, which then asked in vain.
            let refused = RekeyRefusal::Revoked { reason: ReasonCode::Superseded };
            assert_eq!((again.unwrap(), first_revoked), (RekeyOutcome::Refused(refused), false));
        } else {
            assert_eq!((again.unwrap(), first_revoked), (RekeyOutcome::Recorded, true));
        }
    }
}

async fn a_key_that_was_certified_before_is_refused(world: World) {
    let store = world.open().await;
    issue(&store, 1, 1).await;
    issue(&store, 2, 2).await;
    let mut request = rekey((1, 1), (3, 2));
    request.token = Some(token("rekey"));
    let outcome = store.record_rekey(request).await.unwrap();
    assert_eq!(outcome, RekeyOutcome::Refused(RekeyRefusal::KeyCertifiedBefore));
    assert_eq!(store.certificate(serial(3)).await.unwrap(), None);
    assert_eq!(store.record_rekey(rekey((1, 1), (3, 1))).await.unwrap(), RekeyOutcome::Refused(RekeyRefusal::SameKey));
    let mut request = rekey((1, 1), (4, 4));
    request.token = Some(token("rekey"));
    assert_eq!(store.record_rekey(request).await.unwrap(), RekeyOutcome::TokenUsed);
    assert_eq!(store.record_rekey(rekey((1, 1), (2, 5))).await.unwrap(), RekeyOutcome::SerialTaken);
}

async fn a_line_is_remembered_from_its_first_certificate(world: World) {
    let store = world.open().await;
    issue(&store, 1, 1).await;
    issue(&store, 50, 50).await;
    rekeyed(&store, (1, 1), (2, 2)).await;
    rekeyed(&store, (2, 2), (3, 3)).await;
    let line = store.lineage(serial(2)).await.unwrap();
    let links: Vec<_> = line.iter().map(|link| (link.serial, link.predecessor, link.lineage)).collect();
    let first = serial(1);
    assert_eq!(links.len(), 3, "{links:?}");
    assert!(links.contains(&(first, None, first)));
    assert!(links.contains(&(serial(2), Some(first), first)));
    assert!(links.contains(&(serial(3), Some(serial(2)), first)));
}

async fn the_first_use_of_a_successor_revokes_its_predecessor(world: World) {
    let store = world.open().await;
    issue(&store, 1, 1).await;
    rekeyed(&store, (1, 1), (2, 2)).await;
    assert_eq!(reason(&store, 1).await, None);
    assert!(!store.mark_seen(serial(1), at(110)).await.unwrap());
    assert!(store.mark_seen(serial(2), at(111)).await.unwrap());
    let revocation = store.revocation(serial(1)).await.unwrap().unwrap();
    assert_eq!((revocation.reason, revocation.revoked_at), (ReasonCode::Superseded, at(111)));
    assert_eq!(revocation.expires_at, Some(validity().not_after));
    assert!(!store.mark_seen(serial(2), at(112)).await.unwrap());
    assert_eq!(store.certificate(serial(2)).await.unwrap().unwrap().first_seen_at, Some(at(111)));

    // A rekey is a use too: the answer to it need not wait for another.
    rekeyed(&store, (2, 2), (3, 3)).await;
    rekeyed(&store, (3, 3), (4, 4)).await;
    assert_eq!(reason(&store, 2).await, Some(ReasonCode::Superseded));
    assert_eq!(reason(&store, 3).await, None);
}

async fn an_unseen_successor_is_revoked_when_its_predecessor_rekeys_again(world: World) {
    let store = world.open().await;
    issue(&store, 1, 1).await;
    rekeyed(&store, (1, 1), (2, 2)).await;
    rekeyed(&store, (1, 1), (3, 3)).await;
    assert_eq!(reason(&store, 2).await, Some(ReasonCode::Superseded));
    // The revoked one is no longer anybody's successor.
    assert!(!store.mark_seen(serial(2), at(120)).await.unwrap());
    assert_eq!(reason(&store, 1).await, None);
    assert!(store.mark_seen(serial(3), at(121)).await.unwrap());
    assert_eq!(reason(&store, 1).await, Some(ReasonCode::Superseded));
}

async fn a_successor_in_use_bars_its_predecessor_from_rekeying(world: World) {
    let store = world.open().await;
    issue(&store, 1, 1).await;
    let mut request = rekey((1, 1), (2, 2));
    request.after = AfterRekey::RevokeAfterOverlap(SignedDuration::from_hours(1));
    assert_eq!(store.record_rekey(request.clone()).await.unwrap(), RekeyOutcome::Recorded);
    complete(&store, 2).await;
    assert!(store.mark_seen(serial(2), at(110)).await.unwrap());
    assert_eq!(reason(&store, 1).await, None, "the overlap is not over");
    request.new = new_certificate(3, 3);
    let outcome = store.record_rekey(request).await.unwrap();
    assert_eq!(outcome, RekeyOutcome::Refused(RekeyRefusal::Superseded { serial: serial(2) }));
}

async fn an_old_certificate_is_revoked_when_its_time_has_come_and_its_successor_was_issued(world: World) {
    let store = world.open().await;
    issue(&store, 1, 1).await;
    store.record_rekey(rekey((1, 1), (2, 2))).await.unwrap();
    let due = at(100 + 600);
    assert_eq!(store.apply_due_supersessions(due).await.unwrap(), [], "nobody has the successor yet");
    complete(&store, 2).await;
    assert_eq!(store.due_supersessions(at(100 + 599)).await.unwrap(), []);
    let [supersession] = store.due_supersessions(due).await.unwrap().try_into().unwrap();
    assert_eq!((supersession.old, supersession.successor, supersession.when_seen), (serial(1), serial(2), true));
    assert_eq!(store.apply_due_supersessions(due).await.unwrap(), [serial(1)]);
    assert_eq!(reason(&store, 1).await, Some(ReasonCode::Superseded));
    assert_eq!(store.apply_due_supersessions(due).await.unwrap(), []);
}

async fn a_rekey_by_a_certificate_of_another_store_begins_a_line(world: World) {
    let store = world.open().await;
    rekeyed(&store, (900, 9), (2, 2)).await;
    let stored = store.certificate(serial(2)).await.unwrap().unwrap();
    assert_eq!((stored.predecessor, stored.lineage), (Some(serial(900)), serial(900)));
    assert!(store.mark_seen(serial(2), at(120)).await.unwrap());
    assert_eq!(reason(&store, 900).await, Some(ReasonCode::Superseded));
    assert!(store.check().await.unwrap().is_sound());
}

async fn a_renewal_that_is_asked_for_again_at_once_gets_the_same_certificate(world: World) {
    let store = world.open().await;
    issue(&store, 1, 1).await;
    let RekeyRequest { old, after, now, .. } = rekey((1, 1), (2, 1));
    let renewal = |number, seconds| RenewalRequest {
        old: old.clone(),
        new: new_certificate(number, 1),
        token: None,
        renewal_disabled: false,
        allow_after_expiry: false,
        after,
        replay: true,
        now: now + SignedDuration::from_secs(seconds),
    };
    let ask = async |request| store.record_renewal(request).await.unwrap();
    assert_eq!(ask(renewal(2, 0)).await, RenewalOutcome::Recorded);
    let twentieth = 86_400 / 20;
    for seconds in [1, twentieth] {
        let again = ask(renewal(3, seconds)).await;
        let RenewalOutcome::Replay(stored) = again else { panic!("{again:?}") };
        assert_eq!(stored.serial, serial(2));
    }
    // Later, or where it is not wanted, there is another one; and the newest is the one to be told again.
    assert_eq!(ask(renewal(3, twentieth + 1)).await, RenewalOutcome::Recorded);
    assert_eq!(ask(RenewalRequest { replay: false, ..renewal(4, twentieth + 2) }).await, RenewalOutcome::Recorded);
    let again = ask(renewal(5, twentieth + 3)).await;
    let RenewalOutcome::Replay(stored) = again else { panic!("{again:?}") };
    assert_eq!(stored.serial, serial(4));
}

async fn a_revoked_certificate_is_not_renewed(world: World) {
    let store = world.open().await;
    issue(&store, 1, 1).await;
    let RekeyRequest { old, after, now, .. } = rekey((1, 1), (2, 1));
    let renewal = |number| RenewalRequest {
        old: old.clone(),
        new: new_certificate(number, 1),
        token: None,
        renewal_disabled: false,
        allow_after_expiry: false,
        after,
        replay: true,
        now,
    };
    assert_eq!(store.record_renewal(renewal(2)).await.unwrap(), RenewalOutcome::Recorded);
    assert_eq!(store.certificate(serial(2)).await.unwrap().unwrap().predecessor, Some(serial(1)));
    let revocation = Revocation {
        serial: serial(1),
        revoked_at: at(110),
        reason: ReasonCode::KeyCompromise,
        text: String::new(),
        by: "admin".to_owned(),
        expires_at: None,
    };
    store.revoke(revocation).await.unwrap();
    let refused = RekeyRefusal::Revoked { reason: ReasonCode::KeyCompromise };
    assert_eq!(store.record_renewal(renewal(3)).await.unwrap(), RenewalOutcome::Refused(refused.clone()));
    assert_eq!(store.record_rekey(rekey((1, 1), (4, 4))).await.unwrap(), RekeyOutcome::Refused(refused));
}
