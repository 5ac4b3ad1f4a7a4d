//! A rekey that is killed, or refused by the system, at every call that changes anything, and killed at any moment: no
//! certificate ever loses its key, and what is said of it is true.
//!
//! strace counts the calls of the client and kills it at the first, the second, the third … of each kind. After each death the
//! files are looked at as a service would that starts now; then the client is started again, and everything must be right.

mod client;
mod judge;
mod peers;
mod points;
mod random;
mod sweep;

use std::sync::{Arc, Mutex};

use client::{Client, OTHERS, REKEYS, Subject};
use keywheel_tests::ca::Ca;
use keywheel_tests::peer;
use keywheel_tests::place::Place;
use keywheel_tests::report;
use libtest_mimic::{Arguments, Trial};
use random::Chance;
use serde_json::Value;

/// Kills at random moments, of all subjects together.
const RANDOM_KILLS: (usize, usize) = (100, 10_000);

/// Pairs of one subject that are killed side by side.
const WORKERS: usize = 2;

/// What the report is made of.
const TABLES: [&str; 4] = ["crash-kills", "crash-errors", "crash-random", "crash-peers"];

/// The rows of the tables of the report, each with its place.
type Rows = Arc<Mutex<Vec<(&'static str, usize, Value)>>>;

fn main() {
    let arguments = Arguments::from_args();
    let Ca { place, server, .. } = Ca::start();
    let place = Arc::new(place);
    let seed = report::seed();
    let rows = Rows::default();
    let mut trials = Vec::new();
    for (index, &subject) in REKEYS.iter().chain(OTHERS).enumerate() {
        let name = subject.name();
        let mut add = |table: &'static str, what: &str, test: fn(&Place, Subject, &str, usize, u64) -> Value| {
            let (place, rows, folder) = (place.clone(), rows.clone(), format!("{table}-{index}"));
            trials.push(Trial::test(format!("{name}: {what}"), move || {
                let row = test(&place, subject, &folder, index, seed);
                rows.lock().expect("no test panics with it").push((table, index, row));
                Ok(())
            }));
        };
        add("crash-kills", "killed at every call it loses no key", |place, subject, folder, _, _| {
            sweep::killed(&Client::new(place, subject, folder))
        });
        add("crash-errors", "refused at every call it loses no key and says so", |place, subject, folder, _, _| {
            sweep::refused(&Client::new(place, subject, folder))
        });
        if REKEYS.contains(&subject) {
            add("crash-random", "killed at random moments it loses no key", killed_at_random);
        }
    }
    if let Some(step) = peer::step() {
        let (place, rows) = (place.clone(), rows.clone());
        trials.push(Trial::test(
            "step, killed and refused at every call on its two files, is judged by the same judge",
            move || {
                let row = peers::step(Client::new(&place, REKEYS[0], "crash-peers"), &step, seed);
                rows.lock().expect("no test panics with it").push(("crash-peers", 0, row));
                Ok(())
            },
        ));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // The process ends without dropping anything else.
    drop(server);
    let mut rows = rows.lock().expect("no test panics with it");
    rows.sort_by_key(|(table, index, _)| (*table, *index));
    record(&rows);
    drop(place);
    conclusion.exit();
}

fn killed_at_random(place: &Place, subject: Subject, folder: &str, index: usize, seed: u64) -> Value {
    let (short, long) = RANDOM_KILLS;
    let kills = report::count(short, long).div_ceil(REKEYS.len() * WORKERS);
    let tallies = std::thread::scope(|scope| {
        let begun: Vec<_> = (0..WORKERS)
            .map(|worker| {
                scope.spawn(move || {
                    let client = Client::new(place, subject, &format!("{folder}-{worker}"));
                    random::kill(&client, kills, &mut Chance::new(seed, index * WORKERS + worker))
                })
            })
            .collect();
        begun.into_iter().map(|worker| worker.join().expect("a worker failed")).collect::<Vec<_>>()
    });
    let all = tallies.iter().fold(random::Tally::default(), |all, one| all.and(one));
    all.row(&subject.name(), seed)
}

fn record(rows: &[(&'static str, usize, Value)]) {
    for table in TABLES {
        let of_it: Vec<&Value> = rows.iter().filter(|(of, ..)| *of == table).map(|(.., row)| row).collect();
        if !of_it.is_empty() {
            report::record(table, &serde_json::json!(of_it));
        }
        for row in of_it {
            println!("{table}: {row}");
        }
    }
}
