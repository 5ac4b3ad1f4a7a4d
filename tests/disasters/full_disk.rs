//! A disk that is full stops issuing, and nothing else: what was promised stays, what needs no room is served, every start works.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keywheel_tests::ca::Background;
use keywheel_tests::https::{Answer, Door, Pair};
use keywheel_tests::peer;
use keywheel_tests::provisioner::{Provisioner, new_key};
use keywheel_tests::report;
use keywheel_tests::step_ca::StepCa;
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::x509::certificate::Certificate;
use serde_json::{Value, json};

use crate::books::Books;
use crate::disk::Disk;
use crate::load::Load;
use crate::site::{Site, in_turn, median_and_longest, room, started};

const CLIENTS: usize = 3;

/// How many answers are awaited before the disk is filled.
const PER_ROUND: usize = 8;

/// How many certificates are there to be renewed and revoked.
const STOCK: usize = 20;

/// How long a condition is awaited.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens once the disk is full; one after the other in the rounds.
#[derive(Clone, Copy)]
enum Then {
    /// It is killed, room is made, it is started.
    Killed,
    /// Room is made, and it issues again by itself; killed, it is started.
    Freed,
    /// It is killed and started on the full disk; room is made, and it issues again by itself; killed, it is started.
    StartedFull,
}

#[test]
fn on_a_full_disk_nothing_is_issued_everything_else_is_served_and_every_start_works() {
    let _alone = in_turn();
    let Some(disk) = Disk::mount() else { return };
    let cycles = report::count(6, 50);
    let mut site = Site::start_in(disk.place(), &[]);
    let (mut all, mut recovered, mut started_full) = (Books::default(), Vec::new(), Vec::new());
    for cycle in 0..cycles {
        let mut books = Books::default();
        books.lists.append(&mut all.lists);
        wait_for_reserve(&site);
        until_full(&site, &disk, &mut books);
        let then = [Then::Killed, Then::Freed, Then::StartedFull][cycle % 3];
        match then {
            Then::Killed => {
                site.kill();
                disk.free();
            }
            Then::Freed => {
                disk.free();
                recovered.push(until_issued(&site, &mut books));
                site.kill();
            }
            Then::StartedFull => {
                site.kill();
                let (server, ready) = started(&site.ca.place, &site.door, &[]);
                site.ca.server = server;
                started_full.push(ready);
                disk.fill();
                serves_what_needs_no_room(&site, &mut books);
                disk.free();
                recovered.push(until_issued(&site, &mut books));
                site.kill();
            }
        }
        site.restart();
        books.sample(&site.door);
        all.extend(books);
    }
    assert!(all.acknowledged() >= PER_ROUND * cycles, "the load was too small to say anything");
    site.check();
    let known = all.balance(&site.ca.place, &[]);
    let (median, longest) = median_and_longest(&site.ready);
    let (again, again_longest) = median_and_longest(&recovered);
    let (full, full_longest) = median_and_longest(&started_full);
    println!("{cycles} full disks: {} acknowledged, {known} certificates in the database", all.acknowledged());
    println!("ready after {median} ms, at most {longest} ms; on the full disk {full} ms, at most {full_longest} ms");
    println!("issues again after {again} ms, at most {again_longest} ms");
    let mut rows = vec![json!({
        "CA": "Keywheel, SQLite",
        "full disks": cycles,
        "starts refused": 0,
        "acknowledged": all.acknowledged(),
        "missing": 0,
        "ready, median (ms)": median,
        "ready, longest (ms)": longest,
        "starts on the full disk": started_full.len(),
        "issues again without a start, longest (ms)": again_longest,
    })];
    if report::full() {
        rows.extend(the_reference());
    }
    report::record("ca-disk-full", &Value::Array(rows));
}

#[test]
fn a_start_on_a_disk_that_is_full_to_the_last_page_fails_truly_and_harms_nothing() {
    let _alone = in_turn();
    let Some(disk) = Disk::mount() else { return };
    let mut site = Site::start_in(disk.place(), &[]);
    let mut books = Books::default();
    wait_for_reserve(&site);
    until_full(&site, &disk, &mut books);
    site.kill();
    std::fs::remove_file(site.ca.place.file("step/db/keywheel.db-reserve")).expect("the reserve is there");
    disk.fill();
    let place = &site.ca.place;
    for _ in 0..2 {
        let refused = place.keywheel(&["ca", "serve", "--password-file", "password"]);
        refused.fails(4, "full").fails(4, "make room and try again");
    }
    disk.free();
    site.restart();
    books.sample(&site.door);
    site.check();
    books.balance(&site.ca.place, &[]);
}

/// The room that is kept aside comes back by itself.
fn wait_for_reserve(site: &Site) {
    let reserve = site.ca.place.file("step/db/keywheel.db-reserve");
    let until = Instant::now() + PATIENCE;
    while !reserve.exists() {
        assert!(Instant::now() < until, "no room is kept aside:\n{}", room(&site.ca.place));
        // It is made beside the next checkpoint.
        let body = site.provisioner.sign_body(&new_key(KeyKind::EcP256), "reserve.local").to_string();
        let answer = site.door.post("/sign", &body);
        assert_eq!(answer.status, 201, "{}\n{}", answer.text(), room(&site.ca.place));
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Fills the disk under load, and sees what is answered then.
fn until_full(site: &Site, disk: &Disk, books: &mut Books) {
    let load = &Load::new(vec![site.door.clone()], site.provisioner.clone());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || load.work(number))).collect();
        load.wait_for(PER_ROUND);
        load.expect_losses();
        disk.fill();
        // Each goes on until it is told that the disk is full.
        for client in clients {
            books.extend(client.join().expect("a client ended").books);
        }
    });
    serves_what_needs_no_room(site, books);
    issues_nothing(site, disk, books);
    serves_what_needs_no_room(site, books);
}

fn serves_what_needs_no_room(site: &Site, books: &mut Books) {
    let root = std::fs::read(site.ca.place.file("step/certs/root_ca.crt")).expect("init wrote it");
    let digest = Certificate::from_pem(&root).expect("a certificate").digest();
    for path in ["/health", "/version", "/roots", "/roots.pem", "/intermediates", "/federation", "/provisioners"] {
        for path in [path.to_owned(), format!("/1.0{path}")] {
            let answer = site.door.get(&path);
            // As in the reference some lists are answered with 201.
            assert!(matches!(answer.status, 200 | 201), "{path}: {} {}", answer.head, answer.text());
        }
    }
    site.door.get(&format!("/root/{digest}")).is(200, "BEGIN CERTIFICATE");
    books.see_list(&site.door.list());
}

/// Every kind of question that needs room is told that there is none. The log of the database may have room left from before:
/// what is recorded there is acknowledged, and counts.
fn issues_nothing(site: &Site, disk: &Disk, books: &mut Books) {
    disk.free();
    let mut pairs: Vec<Pair> = (0..STOCK).map(|_| issued(site, books)).collect();
    disk.fill();
    let sign =
        || site.door.post("/sign", &site.provisioner.sign_body(&new_key(KeyKind::EcP256), "full.local").to_string());
    until_told(books, sign);
    let old = pairs.pop().expect("there are some");
    until_told(books, || site.door.rekey(&old, &new_key(KeyKind::EcP256)));
    let to_renew = pairs.split_off(STOCK / 2);
    // A renewal that was answered is answered again, which needs no room: each time another certificate asks.
    let told = to_renew.iter().any(|pair| {
        until_told(books, sign);
        let answer = site.door.renew(pair);
        if answer.status == 503 {
            return is_told(answer);
        }
        books.certificates.push((answer.is(201, "").chain().remove(0), "while full"));
        false
    });
    assert!(told, "the full disk never ended the renewing");
    // A revocation takes the least room: perhaps there is some for a few.
    let told = pairs.into_iter().any(|pair| {
        until_told(books, sign);
        let answer = site.door.revoke(&pair);
        if answer.status == 503 {
            return is_told(answer);
        }
        answer.is(200, "");
        books.revoked.push(Arc::new(pair));
        false
    });
    assert!(told, "the full disk never ended the revoking");
}

/// Asks until the answer is that the disk is full.
fn until_told(books: &mut Books, ask: impl Fn() -> Answer) {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if answer.status == 503 {
            assert!(is_told(answer));
            return;
        }
        books.certificates.push((answer.is(201, "").chain().remove(0), "while full"));
        assert!(Instant::now() < until, "the full disk never ended the issuing");
    }
}

/// Whether an answer says what is the matter, and when to come again.
fn is_told(answer: Answer) -> bool {
    let answer = answer.is(503, "The disk of the certificate authority is full");
    answer.header("retry-after").is_some_and(|pause| pause.parse().is_ok_and(|pause: u32| pause > 0))
}

/// A certificate of its own for a question.
fn issued(site: &Site, books: &mut Books) -> Pair {
    let key = new_key(KeyKind::EcP256);
    let body = site.provisioner.sign_body(&key, "full.local").to_string();
    let pair = until_good(site, || site.door.post("/sign", &body)).pair(key);
    books.certificates.push((pair.chain[0].clone(), "sign"));
    pair
}

fn until_good(site: &Site, ask: impl Fn() -> Answer) -> Answer {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if answer.status == 201 {
            return answer;
        }
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(Instant::now() < until, "there is room, and nothing is issued:\n{}", room(&site.ca.place));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How long it takes from making room until something is issued.
fn until_issued(site: &Site, books: &mut Books) -> Duration {
    let start = Instant::now();
    let body = site.provisioner.sign_body(&new_key(KeyKind::EcP256), "again.local").to_string();
    let answer = until_good(site, || site.door.post("/sign", &body));
    let took = start.elapsed();
    books.certificates.push((answer.chain().remove(0), "sign"));
    took
}

/// The reference with its default database on the same kind of disk: how many of 8 starts it refuses after full, killed, freed.
fn the_reference() -> Option<Value> {
    let (mut refused, mut held) = (0, 0);
    for _ in 0..8 {
        let disk = Disk::mount()?;
        let (place, port) = StepCa::initialise_in(disk.place())?;
        let start = || {
            let mut command = place.command(peer::step_ca()?);
            command.args(["step/config/ca.json", "--password-file", "password"]);
            Some(Background::start(command))
        };
        let door = Door::new(port, &place.file("step/certs/root_ca.crt"));
        let provisioner = Provisioner::at(&place, format!("https://localhost:{port}"));
        let ask = || {
            let body = provisioner.sign_body(&new_key(KeyKind::EcP256), "svc.local").to_string();
            door.post("/sign", &body).status
        };
        let mut server = start()?;
        server.wait_for("Serving HTTPS");
        for _ in 0..PER_ROUND {
            assert_eq!(ask(), 201, "the reference issues nothing");
        }
        disk.fill();
        for _ in 0..PER_ROUND {
            held += usize::from(ask() == 503);
        }
        server.signal("KILL");
        server.wait();
        disk.free();
        let mut server = start()?;
        let until = Instant::now() + Duration::from_secs(10);
        while door.get("/health").status != 200 && Instant::now() < until && !server.has_ended() {
            std::thread::sleep(Duration::from_millis(10));
        }
        refused += usize::from(door.get("/health").status != 200);
    }
    println!("the reference: {refused} of 8 starts refused after a full disk; 503 was answered {held} times");
    Some(json!({ "CA": "step-ca v0.30.2, Badger (its default)", "full disks": 8, "starts refused": refused }))
}
