//! A power cut loses nothing that was acknowledged.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keywheel_signer::file_key::FileKey;
use keywheel_tests::postgres::Postgres;
use keywheel_tests::provisioner::{Provisioner, new_key};
use keywheel_wire::private_key::KeyKind;

use crate::lab::{Door, Lab, Pair};

const CLIENTS: usize = 6;

/// How many answers are awaited before a kill.
const PER_ROUND: usize = 10;

/// What the clients of a round have in common.
#[derive(Default)]
struct Load {
    /// The cut is made or about to be made: from here on no answer, or one that puts off, is none.
    cut: AtomicBool,
    /// Certificates that were acknowledged in it.
    acknowledged: AtomicUsize,
}

/// What one client has got, and what it asked for last.
#[derive(Default)]
struct Client {
    /// Certificates that were acknowledged and not replaced since.
    good: Vec<Pair>,
    /// Rekeys that were acknowledged: the old pair, the key, the answer.
    rekeys: Vec<(Pair, FileKey, Vec<Vec<u8>>)>,
    /// A rekey whose answer never came.
    lost: Vec<(Pair, FileKey)>,
    /// Bodies of `/sign` whose tokens are used up.
    used: Vec<String>,
}

#[test]
fn certificates_that_were_acknowledged_survive_20_kills_under_load_and_so_does_what_was_promised_with_them() {
    let mut lab = Lab::start();
    let all = under_load(&mut lab, 20, &|lab| lab.ca.server.signal("KILL"), &|lab| {
        lab.ca.server.wait();
        lab.serve(&[]);
    });
    assert!(all.good.len() + all.rekeys.len() >= 80, "the load was too small to say anything");
    lab.ca.server.signal("TERM");
    lab.ca.server.wait();
    lab.ca.place.keywheel(&["db", "check"]).ok();
}

#[test]
fn certificates_that_were_acknowledged_survive_crashes_of_postgresql_and_the_server_goes_on_by_itself() {
    let postgres = Postgres::start();
    let mut lab = Lab::start_with(&["--database", &postgres.database("ca")]);
    let all = under_load(&mut lab, 5, &|_| postgres.stop(), &|lab| {
        postgres.resume();
        let until = Instant::now() + Duration::from_secs(30);
        while lab.door().get("/health").ask().status != 200 {
            assert!(Instant::now() < until, "the server did not find its database again");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    assert!(all.good.len() + all.rekeys.len() >= 20, "the load was too small to say anything");
    lab.ca.place.keywheel(&["db", "check"]).ok();
}

/// So many times: puts load on the CA, cuts it, mends it, and sees that all promises are kept; at the end those of all rounds.
fn under_load(lab: &mut Lab, rounds: u64, cut: &dyn Fn(&Lab), mend: &dyn Fn(&mut Lab)) -> Client {
    let mut all = Client::default();
    for round in 0..rounds {
        let load = Load::default();
        let (door, provisioner, load) = (&lab.door(), &lab.provisioner, &load);
        let clients = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(move || work(door, provisioner, load))).collect();
            let until = Instant::now() + Duration::from_secs(30);
            while load.acknowledged.load(Ordering::Relaxed) < PER_ROUND && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
            // Never at the same point of what the clients do.
            std::thread::sleep(Duration::from_millis(round * 7 % 60));
            load.cut.store(true, Ordering::Relaxed);
            cut(lab);
            clients.into_iter().map(|client| client.join().expect("a client ended")).collect::<Vec<_>>()
        });
        mend(lab);
        for client in clients {
            keep_promises(lab, &client);
            all.good.extend(client.good);
            all.rekeys.extend(client.rekeys);
            all.lost.extend(client.lost);
            all.used.extend(client.used);
        }
    }
    let (good, rekeys, lost) = (all.good.len(), all.rekeys.len(), all.lost.len());
    println!("{rounds} cuts: {good} certificates, {rekeys} rekeys acknowledged, {lost} without an answer");
    // Nothing that was promised in the first rounds is forgotten in the last.
    for (old, key, answer) in &all.rekeys {
        let again = lab.door().rekey(old, key);
        assert_eq!(&again.is(201, "").chain(), answer, "a rekey that was acknowledged is answered otherwise");
    }
    for pair in all.good.iter().take(20) {
        lab.door().rekeyed(pair);
    }
    all
}

/// Issues and rekeys until it is told to stop or the server is gone.
fn work(door: &Door<'_>, provisioner: &Provisioner, load: &Load) -> Client {
    let mut client = Client::default();
    while !load.cut.load(Ordering::Relaxed) {
        let key = new_key(KeyKind::EcP256);
        let body = provisioner.sign_body(&key, "svc.local").to_string();
        let answer = door.post("/sign", body.clone()).ask();
        match answer.status {
            201 => {
                load.acknowledged.fetch_add(1, Ordering::Relaxed);
                client.used.push(body);
            }
            0 | 500 | 503 if load.cut.load(Ordering::Relaxed) => break,
            other => panic!("{other}: {}", answer.text()),
        }
        let old = answer.pair(door.place, key);
        let key = new_key(KeyKind::EcP256);
        let answer = door.rekey(&old, &key);
        match answer.status {
            201 => {
                load.acknowledged.fetch_add(1, Ordering::Relaxed);
                client.rekeys.push((old, key, answer.chain()));
                let key = new_key(KeyKind::EcP256);
                let body = provisioner.sign_body(&key, "other.local").to_string();
                let answer = door.post("/sign", body).ask();
                if answer.status == 201 {
                    client.good.push(answer.pair(door.place, key));
                }
            }
            0 | 500 | 503 if load.cut.load(Ordering::Relaxed) => client.lost.push((old, key)),
            other => panic!("{other}: {}", answer.text()),
        }
    }
    client
}

/// What the server said before it was killed holds after.
fn keep_promises(lab: &Lab, client: &Client) {
    for body in client.used.iter().take(2) {
        lab.door().post("/sign", body.clone()).ask().is(201, "");
    }
    for (old, key, answer) in client.rekeys.iter().take(2) {
        assert_eq!(&lab.door().rekey(old, key).is(201, "").chain(), answer);
    }
    for (old, key) in &client.lost {
        // Whether it was recorded or not: the next run goes on with the same key and is answered, always alike.
        let first = lab.door().rekey(old, key).is(201, "").chain();
        assert_eq!(lab.door().rekey(old, key).is(201, "").chain(), first);
    }
    if let Some(pair) = client.good.last() {
        lab.door().renew(pair).is(201, "");
    }
}
