//! A power cut loses nothing that was acknowledged, and a crash of the database's server neither.

use std::time::{Duration, Instant};

use keywheel_tests::postgres::Postgres;
use keywheel_tests::report;
use serde_json::json;

use crate::books::Books;
use crate::chance::Chance;
use crate::load::Load;
use crate::site::{Site, in_turn, median_and_longest};

const CLIENTS: usize = 6;

/// How many answers are awaited before a cut.
const PER_ROUND: usize = 10;

#[test]
fn what_was_acknowledged_survives_kills_under_load_and_is_always_answered_alike() {
    let _alone = in_turn();
    let kills = report::count(20, 1000);
    let mut site = Site::start_with(&[]);
    let start = Instant::now();
    let books = under_load(&mut site, kills, Site::kill, Site::restart);
    assert!(books.acknowledged() >= 8 * kills, "the load was too small to say anything");
    site.check();
    let known = books.balance(&site.ca.place, &[]);
    let (median, longest) = median_and_longest(&site.ready);
    println!("ready after {median} ms, at most {longest} ms; {known} certificates in the database");
    let row = json!({
        "kills": kills,
        "acknowledged": books.acknowledged(),
        "missing": 0,
        "serials twice": 0,
        "answered otherwise": 0,
        "ready, median (ms)": median,
        "ready, longest (ms)": longest,
        "took (s)": start.elapsed().as_secs(),
    });
    report::record("ca-kills-sqlite", &json!([row]));
}

#[test]
fn what_was_acknowledged_survives_crashes_of_postgresql_and_the_server_goes_on_by_itself() {
    let _alone = in_turn();
    let postgres = Postgres::start();
    let database = postgres.database("ca");
    let mut site = Site::start_with(&["--database", &database]);
    let cuts = report::count(5, 20);
    let books = under_load(
        &mut site,
        cuts,
        |_| postgres.stop(),
        |site| {
            postgres.resume();
            let until = Instant::now() + Duration::from_secs(30);
            while site.door.get("/health").status != 200 {
                assert!(Instant::now() < until, "the server did not find its database again");
                std::thread::sleep(Duration::from_millis(20));
            }
        },
    );
    assert!(books.acknowledged() >= 8 * cuts, "the load was too small to say anything");
    site.check();
    books.balance(&site.ca.place, &[]);
    let row = json!({
        "crashes of PostgreSQL": cuts,
        "acknowledged": books.acknowledged(),
        "missing": 0,
        "serials twice": 0,
        "answered otherwise": 0,
    });
    report::record("ca-postgres-crashes", &json!([row]));
}

/// So many times: puts load on the CA, cuts it, mends it, and sees that promises are kept.
fn under_load(site: &mut Site, rounds: usize, cut: impl Fn(&mut Site), mend: impl Fn(&mut Site)) -> Books {
    let mut chance = Chance::new();
    let mut all = Books::default();
    let mut lost = 0;
    for _ in 0..rounds {
        let load = &Load::new(vec![site.door.clone()], site.provisioner.clone());
        let mut books = Books::default();
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || load.work(number))).collect();
            load.wait_for(PER_ROUND);
            // Never at the same point of what the clients do.
            std::thread::sleep(Duration::from_millis(chance.below(40)));
            load.cut();
            cut(site);
            for client in clients {
                books.extend(client.join().expect("a client ended").books);
            }
        });
        mend(site);
        lost += books.lost.len();
        books.lists.append(&mut all.lists);
        books.sample(&site.door);
        all.extend(books);
    }
    println!("{rounds} cuts: {} acknowledged, {lost} without an answer", all.acknowledged());
    // Nothing that was promised in the first rounds is forgotten in the last.
    for (old, key, answer) in &all.rekeyed {
        assert_eq!(&site.door.rekey(old, key).is(201, "").chain()[0], answer, "a rekey is answered otherwise");
    }
    all
}
