//! Two nodes on one PostgreSQL are one CA.

use std::collections::BTreeSet;

use keywheel_tests::ca::{Background, configuration, free_port, serve};
use keywheel_tests::postgres::Postgres;
use keywheel_tests::provisioner::{REFUSED, new_key, rekey_body};
use keywheel_wire::private_key::KeyKind;
use serde_json::json;

use crate::lab::{Door, Lab};

/// A CA of two nodes.
struct Two {
    lab: Lab,
    second: (Background, u16),
    _postgres: Postgres,
}

impl Two {
    fn start() -> Self {
        let postgres = Postgres::start();
        let lab = Lab::start_with(&["--database", &postgres.database("ca")]);
        let port = free_port();
        let mut configuration = configuration(&lab.ca.place);
        configuration["address"] = json!(format!("127.0.0.1:{port}"));
        lab.ca.place.write("step/config/second.json", configuration.to_string());
        let second = serve(&lab.ca.place, &["step/config/second.json"]);
        Self { lab, second: (second, port), _postgres: postgres }
    }

    fn doors(&self) -> [Door<'_>; 2] {
        let first = self.lab.door();
        let second = Door { url: format!("https://localhost:{}", self.second.1), ..first.clone() };
        [first, second]
    }
}

#[test]
fn a_token_that_was_used_at_one_node_is_refused_at_the_other() {
    let two = Two::start();
    let doors = two.doors();
    for (used, other) in [(0, 1), (1, 0)] {
        let [one, another] = with_one_token(&two.lab);
        let first = doors[used].post("/sign", one.clone()).ask().is(201, "").chain();
        doors[other].post("/sign", another).ask().is(401, REFUSED);
        // Whoever asks the very same again has not heard the answer.
        assert_eq!(doors[other].post("/sign", one).ask().is(201, "").chain(), first);
    }
    // Asked at both at once it is good for one of them.
    for _ in 0..5 {
        let bodies = std::sync::Mutex::new(with_one_token(&two.lab).to_vec());
        let body = || bodies.lock().expect("nobody panics here").pop().expect("one for each");
        let mut statuses = at_once(&doors, |door| door.post("/sign", body()).ask().status);
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 401]);
        let [same, _] = with_one_token(&two.lab);
        let answers = at_once(&doors, |door| door.post("/sign", same.clone()).ask().is(201, "").chain());
        assert_eq!(answers[0], answers[1]);
    }
}

#[test]
fn a_rekey_that_is_asked_at_both_nodes_gets_the_same_certificate() {
    let two = Two::start();
    let doors = two.doors();
    let old = two.lab.issue("svc.local");
    let body = rekey_body(&new_key(KeyKind::EcP256));
    let first = doors[0].post("/rekey", body.clone()).by(&old).ask().is(201, "").chain();
    assert_eq!(doors[1].post("/rekey", body).by(&old).ask().is(201, "").chain(), first);
    for _ in 0..5 {
        let old = two.lab.issue("svc.local");
        let body = rekey_body(&new_key(KeyKind::EcP256));
        let answers = at_once(&doors, |door| door.post("/rekey", body.clone()).by(&old).ask().is(201, "").chain());
        assert_eq!(answers[0], answers[1]);
    }
    // One key is never certified for two.
    let key = new_key(KeyKind::EcP256);
    let olds = [two.lab.issue("a.local"), two.lab.issue("b.local")];
    let answers = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..2)
            .map(|one| {
                let (door, old, key) = (&doors[one], &olds[one], &key);
                scope.spawn(move || door.rekey(old, key).status)
            })
            .collect();
        asked.into_iter().map(|one| one.join().expect("asked")).collect::<BTreeSet<u16>>()
    });
    assert_eq!(answers, BTreeSet::from([201, 403]));
}

#[test]
fn a_revocation_at_one_node_holds_at_the_other() {
    let two = Two::start();
    let doors = two.doors();
    let old = two.lab.issue("svc.local");
    let serial = old.certificate.serial();
    let body = json!({ "serial": serial.to_string(), "passive": true }).to_string();
    doors[0].post("/revoke", body.clone()).by(&old).ask().is(200, "ok");
    doors[1].rekey(&old, &new_key(KeyKind::EcP256)).is(401, REFUSED);
    doors[1].renew(&old).is(401, REFUSED);
    doors[1].post("/revoke", body).by(&old).ask().is(400, "is already revoked");
    for door in &doors {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while door.reason_on_list(&serial).is_none() {
            assert!(std::time::Instant::now() < until, "the list of {} never held it", door.url);
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }
    // A successor that is seen at one node retires the old certificate at the other.
    let old = two.lab.issue("svc.local");
    let new = doors[0].rekeyed(&old);
    doors[1].get("/health").by(&new).ask().is(200, "ok");
    doors[0].rekey(&old, &new_key(KeyKind::EcP256)).is(401, REFUSED);
}

#[test]
fn a_revocation_list_number_is_given_once_and_only_grows_whichever_node_makes_the_list() {
    let mut two = Two::start();
    let mut lists = std::collections::BTreeMap::new();
    let mut last = 0;
    for round in 0..8 {
        let doors = two.doors();
        let door = &doors[round % 2];
        let pair = two.lab.issue("svc.local");
        let serial = pair.certificate.serial();
        let body = json!({ "serial": serial.to_string(), "passive": true }).to_string();
        door.post("/revoke", body).by(&pair).ask().is(200, "ok");
        let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let found = [doors[0].list(), doors[1].list()];
            for list in &found {
                let number = list.parts().number().expect("it has a number");
                let known = lists.entry(number).or_insert_with(|| list.der().to_vec());
                assert_eq!(known, list.der(), "two lists have the number {number}");
            }
            let number = found[0].parts().number().expect("it has a number");
            assert!(number >= last, "{number} comes after {last}");
            last = number;
            if found.iter().all(|list| list.parts().revoked().iter().any(|entry| entry.serial == serial)) {
                break;
            }
            assert!(std::time::Instant::now() < until, "the revocation never stood on both lists");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        // The node that makes the lists goes away in the middle; the other takes over.
        if round == 3 {
            two.lab.kill();
            two.lab.serve(&[]);
        }
    }
    assert!(lists.len() >= 8, "{} lists were seen", lists.len());
}

/// Bodies of `/sign` for two keys with the same token.
fn with_one_token(lab: &Lab) -> [String; 2] {
    let one = lab.sign_body(&new_key(KeyKind::EcP256), "svc.local");
    let mut another = lab.sign_body(&new_key(KeyKind::EcP256), "svc.local");
    another["ott"] = one["ott"].clone();
    [one.to_string(), another.to_string()]
}

/// Asks both nodes at the same time.
fn at_once<T: Send>(doors: &[Door<'_>; 2], ask: impl Fn(&Door<'_>) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = doors.iter().map(|door| scope.spawn(|| ask(door))).collect();
        asked.into_iter().map(|one| one.join().expect("it was asked")).collect()
    })
}
