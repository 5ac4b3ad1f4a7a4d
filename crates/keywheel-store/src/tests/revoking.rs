//! Revocations, lists and leases.

use keywheel_core::revocation::ReasonCode;

use super::*;
use crate::{NewCrl, Revocation, RevokeOutcome, StoreError};

on_each_database! {
    a_certificate_is_revoked_once_and_the_first_reason_stands
    a_revocation_and_its_token_go_together
    a_list_carries_a_revocation_until_one_list_after_the_certificates_end
    the_number_of_a_revoked_certificate_is_not_given_out_again
    lists_are_recorded_before_they_are_signed_and_their_numbers_grow
    numbers_of_lists_are_drawn_once_by_several_nodes
    a_lease_is_held_by_one_until_it_ends
}

fn revocation(number: u64, expires_at: Option<Timestamp>) -> Revocation {
    Revocation {
        serial: serial(number),
        revoked_at: at(50),
        reason: ReasonCode::KeyCompromise,
        text: "laptop stolen".to_owned(),
        by: "admin".to_owned(),
        expires_at,
    }
}

async fn a_certificate_is_revoked_once_and_the_first_reason_stands(world: World) {
    let store = world.open().await;
    issue(&store, 1, 1).await;
    assert_eq!(store.revoke(revocation(1, None)).await.unwrap(), RevokeOutcome::Revoked);
    let second = Revocation { reason: ReasonCode::Superseded, revoked_at: at(60), ..revocation(1, None) };
    assert_eq!(store.revoke(second).await.unwrap(), RevokeOutcome::AlreadyRevoked);
    drop(store);
    let stored = world.open().await.revocation(serial(1)).await.unwrap();
    assert_eq!(stored, Some(revocation(1, Some(validity().not_after))));
}

async fn a_revocation_and_its_token_go_together(world: World) {
    let store = world.open().await;
    let first = store.revoke_with_token(revocation(1, None), token("a")).await.unwrap();
    assert_eq!(first, Some(RevokeOutcome::Revoked));
    assert_eq!(store.revoke_with_token(revocation(2, None), token("a")).await.unwrap(), None);
    assert_eq!(store.revocation(serial(2)).await.unwrap(), None);
}

async fn a_list_carries_a_revocation_until_one_list_after_the_certificates_end(world: World) {
    let store = world.open().await;
    let imported = vec![revocation(1, Some(at(1000))), revocation(2, None), revocation(3, Some(at(9000)))];
    assert_eq!(store.import_revocations(imported.clone()).await.unwrap(), 3);
    assert_eq!(store.import_revocations(imported).await.unwrap(), 0);
    let listed = async |now| -> Vec<Serial> {
        store.revocations_for_crl(at(now)).await.unwrap().into_iter().map(|revocation| revocation.serial).collect()
    };
    assert_eq!(listed(500).await, [serial(1), serial(2), serial(3)]);
    publish(&store, 500).await;
    assert_eq!(listed(1500).await, [serial(1), serial(2), serial(3)]);
    publish(&store, 1500).await;
    assert_eq!(listed(2000).await, [serial(2), serial(3)]);
}

async fn publish(store: &Store, seconds: i64) -> u64 {
    let number = store.reserve_crl_number(at(seconds)).await.unwrap();
    let tbs = tbs_of(number);
    let new = NewCrl { number, tbs: tbs.clone(), this_update: at(seconds), next_update: at(seconds + 3600) };
    store.record_crl(new).await.unwrap();
    store.complete_crl(number, signed(&tbs, 1)).await.unwrap();
    number
}

async fn the_number_of_a_revoked_certificate_is_not_given_out_again(world: World) {
    let store = world.open().await;
    store.revoke(revocation(1, None)).await.unwrap();
    let outcome = store.record_issue(new_certificate(1, 1), None, at(1)).await.unwrap();
    assert_eq!(outcome, crate::IssueOutcome::SerialTaken);
}

async fn lists_are_recorded_before_they_are_signed_and_their_numbers_grow(world: World) {
    let store = world.open().await;
    assert_eq!(store.current_crl().await.unwrap(), None);
    let first = publish(&store, 0).await;
    assert_eq!(i64::try_from(first).unwrap(), at(0).as_second());
    let second = publish(&store, 0).await;
    assert_eq!(second, first + 1);

    let unknown = store.complete_crl(second + 1, signed(&tbs_of(1), 1)).await;
    assert!(matches!(unknown, Err(StoreError::NotRecorded { .. })), "{unknown:?}");
    let never_drawn = NewCrl { number: u64::MAX, tbs: tbs_of(1), this_update: at(0), next_update: at(1) };
    for number in [second + 1, u64::MAX] {
        let refused = store.record_crl(NewCrl { number, ..never_drawn.clone() }).await;
        assert!(matches!(refused, Err(StoreError::NotRecorded { .. })), "{refused:?}");
    }
    for _ in 0..20 {
        publish(&store, 0).await;
    }
    store.raise_crl_number(first + 1000).await.unwrap();
    store.raise_crl_number(first).await.unwrap();
    assert_eq!(publish(&store, 0).await, first + 1001);
    // Drawn, but not signed: the newest signed one is still the current one.
    store.reserve_crl_number(at(0)).await.unwrap();
    drop(store);
    let current = world.open().await.current_crl().await.unwrap().unwrap();
    assert_eq!(current.number, first + 1001);
    assert_eq!(current.der, signed(&tbs_of(first + 1001), 1));
    assert_eq!((current.this_update, current.next_update), (at(0), at(3600)));
}

async fn numbers_of_lists_are_drawn_once_by_several_nodes(world: World) {
    let nodes = [world.open().await, world.open().await];
    let mut draws = Vec::new();
    for node in nodes.iter().cycle().take(20) {
        let node = node.clone();
        draws.push(tokio::spawn(async move { node.reserve_crl_number(at(0)).await.unwrap() }));
    }
    let mut numbers = std::collections::BTreeSet::new();
    for draw in draws {
        assert!(numbers.insert(draw.await.unwrap()));
    }
    assert_eq!(numbers.len(), 20);
}

async fn a_lease_is_held_by_one_until_it_ends(world: World) {
    let nodes = [world.open().await, world.open().await];
    let minute = SignedDuration::from_secs(60);
    let first = nodes[0].try_lease("crl", "a", at(0), minute).await.unwrap().unwrap();
    assert_eq!(first.expires_at, at(60));
    assert_eq!(nodes[1].try_lease("crl", "b", at(59), minute).await.unwrap(), None);
    assert!(nodes[1].try_lease("other", "b", at(59), minute).await.unwrap().is_some());
    let prolonged = nodes[0].try_lease("crl", "a", at(50), minute).await.unwrap().unwrap();
    assert_eq!((prolonged.fence, prolonged.expires_at), (first.fence, at(110)));
    let taken = nodes[1].try_lease("crl", "b", at(110), minute).await.unwrap().unwrap();
    assert!(taken.fence > first.fence);
    nodes[0].release_lease("crl", "a").await.unwrap();
    assert_eq!(nodes[0].try_lease("crl", "a", at(120), minute).await.unwrap(), None, "not its own to release");
    nodes[1].release_lease("crl", "b").await.unwrap();
    let last = nodes[0].try_lease("crl", "a", at(120), minute).await.unwrap().unwrap();
    assert!(last.fence > taken.fence);
}
