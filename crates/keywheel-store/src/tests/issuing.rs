//! Intents, tokens and signed certificates.

use keywheel_core::revocation::ReasonCode;

use super::*;
use crate::{CertificateBody, IssueOutcome, Revocation, StoreError, TokenOutcome};

on_each_database! {
    an_intent_is_remembered_before_it_is_signed_and_the_certificate_after
    a_signature_over_other_bytes_than_those_recorded_is_not_stored
    the_same_intent_signed_twice_hands_out_the_first_certificate
    a_token_is_good_once_even_after_a_restart
    a_token_is_spent_with_its_certificate_or_not_at_all
    the_same_request_with_the_same_token_gets_the_same_certificate_while_that_is_good
    of_two_nodes_with_one_token_exactly_one_wins
    of_many_with_one_serial_number_exactly_one_wins
    tokens_are_forgotten_only_after_their_end
    certificates_are_found_by_key_name_and_number
    a_name_with_a_zero_character_or_a_line_break_is_stored
}

async fn an_intent_is_remembered_before_it_is_signed_and_the_certificate_after(world: World) {
    let store = world.open().await;
    assert_eq!(store.record_issue(new_certificate(1, 1), None, at(10)).await.unwrap(), IssueOutcome::Recorded);
    drop(store);

    let store = world.open().await;
    let intended = store.certificate(serial(1)).await.unwrap().unwrap();
    assert_eq!(intended.body, CertificateBody::Intended(tbs_of(1)));
    assert_eq!((intended.issued_at, intended.recorded_at), (None, at(10)));
    assert_eq!(store.unsigned_certificates(at(11), 10).await.unwrap(), vec![intended]);
    let der = signed(&tbs_of(1), 1);
    assert_eq!(store.complete(serial(1), der.clone(), at(12)).await.unwrap(), der);
    store.close().await;

    let stored = world.open().await.certificate(serial(1)).await.unwrap().unwrap();
    let new = new_certificate(1, 1);
    assert_eq!(stored.body, CertificateBody::Signed(der));
    assert_eq!(stored.issued_at, Some(at(12)));
    assert_eq!((stored.subject, stored.names, stored.key), (new.subject, new.names, new.key));
    assert_eq!((stored.not_before, stored.not_after, stored.issuer), (new.not_before, new.not_after, new.issuer));
    assert_eq!((stored.predecessor, stored.lineage, stored.first_seen_at), (None, serial(1), None));
}

async fn a_signature_over_other_bytes_than_those_recorded_is_not_stored(world: World) {
    let store = world.open().await;
    store.record_issue(new_certificate(1, 1), None, at(10)).await.unwrap();
    for der in [signed(&tbs_of(2), 1), tbs_of(1), Vec::new()] {
        let refused = store.complete(serial(1), der, at(11)).await;
        assert!(matches!(refused, Err(StoreError::NotRecorded { .. })), "{refused:?}");
    }
    let unknown = store.complete(serial(9), signed(&tbs_of(9), 1), at(11)).await;
    assert!(matches!(unknown, Err(StoreError::NotRecorded { .. })), "{unknown:?}");
    assert_eq!(store.certificate(serial(1)).await.unwrap().unwrap().body, CertificateBody::Intended(tbs_of(1)));
}

async fn the_same_intent_signed_twice_hands_out_the_first_certificate(world: World) {
    let store = world.open().await;
    store.record_issue(new_certificate(1, 1), None, at(10)).await.unwrap();
    let first = signed(&tbs_of(1), 1);
    store.complete(serial(1), first.clone(), at(11)).await.unwrap();
    assert_eq!(store.complete(serial(1), signed(&tbs_of(1), 2), at(12)).await.unwrap(), first);
    let other = store.complete(serial(1), signed(&tbs_of(2), 2), at(12)).await;
    assert!(matches!(other, Err(StoreError::NotRecorded { .. })), "{other:?}");
}

async fn a_token_is_good_once_even_after_a_restart(world: World) {
    let store = world.open().await;
    assert_eq!(store.consume_token(token("a")).await.unwrap(), TokenOutcome::Consumed);
    assert_eq!(store.consume_token(token("a")).await.unwrap(), TokenOutcome::AlreadyUsed);
    drop(store);
    let store = world.open().await;
    assert_eq!(store.consume_token(token("a")).await.unwrap(), TokenOutcome::AlreadyUsed);
    assert_eq!(store.consume_token(token("b")).await.unwrap(), TokenOutcome::Consumed);
}

async fn a_token_is_spent_with_its_certificate_or_not_at_all(world: World) {
    let store = world.open().await;
    issue(&store, 1, 1).await;
    let taken = store.record_issue(new_certificate(1, 2), Some(token("a")), at(10)).await.unwrap();
    assert_eq!(taken, IssueOutcome::SerialTaken);
    let recorded = store.record_issue(new_certificate(2, 2), Some(token("a")), at(10)).await.unwrap();
    assert_eq!(recorded, IssueOutcome::Recorded);
    let used = store.record_issue(new_certificate(3, 3), Some(token("a")), at(10)).await.unwrap();
    assert_eq!(used, IssueOutcome::TokenUsed);
    assert_eq!(store.certificate(serial(3)).await.unwrap(), None);
}

async fn the_same_request_with_the_same_token_gets_the_same_certificate_while_that_is_good(world: World) {
    let store = world.open().await;
    let asked = |request: u8| Some(TokenUse { request: Some([request; 32]), ..token("a") });
    assert_eq!(store.record_issue(new_certificate(1, 1), asked(7), at(10)).await.unwrap(), IssueOutcome::Recorded);
    drop(store);
    let store = world.open().await;
    for _ in 0..2 {
        let again = store.record_issue(new_certificate(2, 1), asked(7), at(11)).await.unwrap();
        let IssueOutcome::Replay(stored) = again else { panic!("{again:?}") };
        assert_eq!((stored.serial, &stored.body), (serial(1), &CertificateBody::Intended(tbs_of(1))));
    }
    // Another request, or one of which nothing is known, is none of it; nor is one for something else than a certificate.
    for other in [asked(8), Some(token("a"))] {
        let refused = store.record_issue(new_certificate(2, 1), other, at(11)).await.unwrap();
        assert_eq!(refused, IssueOutcome::TokenUsed);
    }
    assert_eq!(store.consume_token(asked(7).unwrap()).await.unwrap(), TokenOutcome::AlreadyUsed);
    assert_eq!(store.certificate(serial(2)).await.unwrap(), None);
    // A certificate that is over or revoked is no answer.
    let over = new_certificate(1, 1).not_after + jiff::SignedDuration::from_secs(1);
    assert_eq!(store.record_issue(new_certificate(2, 1), asked(7), over).await.unwrap(), IssueOutcome::TokenUsed);
    let revocation = Revocation {
        serial: serial(1),
        revoked_at: at(12),
        reason: ReasonCode::KeyCompromise,
        text: String::new(),
        by: "admin".to_owned(),
        expires_at: None,
    };
    store.revoke(revocation).await.unwrap();
    assert_eq!(store.record_issue(new_certificate(2, 1), asked(7), at(13)).await.unwrap(), IssueOutcome::TokenUsed);
}

async fn of_two_nodes_with_one_token_exactly_one_wins(world: World) {
    let nodes = [world.open().await, world.open().await];
    for round in 0..20u64 {
        let mut attempts = Vec::new();
        for (place, node) in nodes.iter().cycle().take(8).enumerate() {
            let node = node.clone();
            let new = new_certificate(100 * round + place as u64 + 1, 1);
            let used = token(&format!("token {round}"));
            attempts.push(tokio::spawn(async move { node.record_issue(new, Some(used), at(10)).await.unwrap() }));
        }
        let mut outcomes = Vec::new();
        for attempt in attempts {
            outcomes.push(attempt.await.unwrap());
        }
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == IssueOutcome::Recorded).count(), 1, "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == IssueOutcome::TokenUsed).count(), 7, "{outcomes:?}");
    }
    assert_eq!(nodes[0].certificates_by_key(key(1)).await.unwrap().len(), 20);
}

async fn of_many_with_one_serial_number_exactly_one_wins(world: World) {
    let nodes = [world.open().await, world.open().await];
    let mut attempts = Vec::new();
    for (place, node) in nodes.iter().cycle().take(10).enumerate() {
        let node = node.clone();
        let new = new_certificate(7, place as u8);
        attempts.push(tokio::spawn(async move { node.record_issue(new, None, at(10)).await.unwrap() }));
    }
    let mut recorded = 0;
    for attempt in attempts {
        match attempt.await.unwrap() {
            IssueOutcome::Recorded => recorded += 1,
            other => assert_eq!(other, IssueOutcome::SerialTaken),
        }
    }
    assert_eq!(recorded, 1);
}

async fn tokens_are_forgotten_only_after_their_end(world: World) {
    let store = world.open().await;
    store.consume_token(token("old")).await.unwrap();
    store.consume_token(TokenUse { token: "new".to_owned(), request: None, expires_at: at(900) }).await.unwrap();
    assert_eq!(store.prune_tokens(at(300)).await.unwrap(), 0);
    assert_eq!(store.prune_tokens(at(301)).await.unwrap(), 1);
    assert_eq!(store.consume_token(token("old")).await.unwrap(), TokenOutcome::Consumed);
    assert_eq!(store.consume_token(token("new")).await.unwrap(), TokenOutcome::AlreadyUsed);
}

async fn certificates_are_found_by_key_name_and_number(world: World) {
    let store = world.open().await;
    for number in 1..=3 {
        let mut new = new_certificate(number, 1);
        new.names.push(format!("100%_{number}"));
        let recorded_at = at(i64::try_from(number).unwrap());
        assert_eq!(store.record_issue(new, None, recorded_at).await.unwrap(), IssueOutcome::Recorded);
    }
    let numbers = |found: Vec<crate::StoredCertificate>| -> Vec<Serial> {
        found.into_iter().map(|certificate| certificate.serial).collect()
    };
    let all = store.find_certificates("EXAMPLE", 2, None).await.unwrap();
    assert_eq!(numbers(all), [serial(3), serial(2)]);
    let next = store.find_certificates("example", 2, Some(at(2))).await.unwrap();
    assert_eq!(numbers(next), [serial(1)]);
    assert_eq!(numbers(store.find_certificates("100%_2", 9, None).await.unwrap()), [serial(2)]);
    assert_eq!(numbers(store.find_certificates("1%2", 9, None).await.unwrap()), []);
    assert_eq!(numbers(store.find_certificates("0x03", 9, None).await.unwrap()), [serial(3)]);
    assert_eq!(numbers(store.certificates_by_key(key(1)).await.unwrap()), [serial(1), serial(2), serial(3)]);
    assert_eq!(numbers(store.certificates_by_key(key(2)).await.unwrap()), []);
}

async fn a_name_with_a_zero_character_or_a_line_break_is_stored(world: World) {
    let store = world.open().await;
    let mut new = new_certificate(1, 1);
    new.subject = "CN=zero\0".to_owned();
    new.names = vec!["a\0b".to_owned(), "c\nd".to_owned()];
    assert_eq!(store.record_issue(new, None, at(1)).await.unwrap(), IssueOutcome::Recorded);
    let stored = store.certificate(serial(1)).await.unwrap().unwrap();
    assert_eq!(
        (stored.subject.as_str(), stored.names),
        ("CN=zero\u{fffd}", vec!["a\u{fffd}b".to_owned(), "c d".to_owned()])
    );
}
