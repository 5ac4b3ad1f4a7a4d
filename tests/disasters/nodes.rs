//! Of two nodes on one PostgreSQL either may go away at any moment: the other goes on.

use std::time::{Duration, Instant};

use keywheel_tests::ca::{Background, configuration, free_port};
use keywheel_tests::https::Door;
use keywheel_tests::postgres::Postgres;
use keywheel_tests::provisioner::{REFUSED, new_key};
use keywheel_tests::report;
use keywheel_wire::private_key::KeyKind;
use serde_json::json;

use crate::books::{Books, with_another_key};
use crate::chance::Chance;
use crate::load::Load;
use crate::site::{Site, in_turn, median_and_longest, started};

const CLIENTS: usize = 4;

/// How many answers the node that is left gives before the other one is started again.
const ALONE: usize = 12;

/// The configuration of the second node: all the first one's but the address.
const SECOND: &str = "step/config/second.json";

/// A CA of two nodes.
struct Two {
    site: Site,
    second: (Background, Door),
    database: String,
    _postgres: Postgres,
}

impl Two {
    fn start() -> Self {
        let postgres = Postgres::start();
        let database = postgres.database("ca");
        let site = Site::start_with(&["--database", &database]);
        let door = site.door.at(free_port());
        let mut configuration = configuration(&site.ca.place);
        configuration["address"] = json!(format!("127.0.0.1:{}", door.port));
        site.ca.place.write(SECOND, configuration.to_string());
        let (server, _) = started(&site.ca.place, &door, &[SECOND]);
        Self { site, second: (server, door), database, _postgres: postgres }
    }

    fn doors(&self) -> [Door; 2] {
        [self.site.door.clone(), self.second.1.clone()]
    }

    fn kill(&mut self, node: usize) {
        match node {
            0 => self.site.kill(),
            _ => {
                self.second.0.signal("KILL");
                self.second.0.wait();
            }
        }
    }

    fn restart(&mut self, node: usize) {
        match node {
            0 => self.site.restart(),
            _ => {
                let (server, ready) = started(&self.site.ca.place, &self.second.1, &[SECOND]);
                self.second.0 = server;
                self.site.ready.push(ready);
            }
        }
    }
}

#[test]
fn one_of_two_nodes_is_killed_again_and_again_and_the_other_goes_on_without_a_gap_in_the_books() {
    let _alone = in_turn();
    let kills = report::count(15, 1000);
    let mut two = Two::start();
    let doors = two.doors();
    let mut chance = Chance::new();
    let start = Instant::now();
    let load = &Load::new(doors.to_vec(), two.site.provisioner.clone());
    let (mut books, mut gaps) = (Books::default(), Vec::new());
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || load.work(number))).collect();
        for _ in 0..kills {
            let node = usize::try_from(chance.below(2)).expect("small");
            let (lost, left) = (&doors[node], &doors[1 - node]);
            std::thread::sleep(Duration::from_millis(chance.below(40)));
            // A token that one node has taken just before its end is not good at the other.
            let body = two.site.provisioner.sign_body(&new_key(KeyKind::EcP256), "once.local").to_string();
            let answer = lost.post("/sign", &body).is(201, "").chain().remove(0);
            two.kill(node);
            left.post("/sign", &with_another_key(&body)).is(401, REFUSED);
            assert_eq!(left.post("/sign", &body).is(201, "").chain()[0], answer);
            books.certificates.push((answer, "sign"));
            load.wait_for_more(ALONE);
            books.see_list(&left.list());
            two.restart(node);
        }
        load.cut();
        for client in clients {
            let brought = client.join().expect("a client ended");
            gaps.extend(brought.gaps);
            books.extend(brought.books);
        }
    });
    books.see_list(&doors[0].list());
    books.see_list(&doors[1].list());
    // Each of them in CI, and as many of the report's as can be asked in a minute.
    let step = books.rekeyed.len() / 5000 + 1;
    for (place, (old, key, answer)) in books.rekeyed.iter().step_by(step).enumerate() {
        let again = doors[place % 2].rekey(old, key).is(201, "").chain().remove(0);
        assert_eq!(&again, answer, "a rekey is answered otherwise");
    }
    two.site.ca.place.keywheel(&["db", "check", "--database", &two.database]).ok();
    let known = books.balance(&two.site.ca.place, &["--database", &two.database]);
    let (median, longest) = median_and_longest(&two.site.ready);
    let (_, gap) = median_and_longest(&gaps);
    println!("{kills} kills: {} acknowledged, {} asked again at the other node", books.acknowledged(), gaps.len());
    println!(
        "ready after {median} ms, at most {longest} ms; longest gap {gap} ms; {known} certificates in the database"
    );
    assert!(!gaps.is_empty(), "no client ever met a node that was gone");
    let row = json!({
        "kills of one of two nodes": kills,
        "acknowledged": books.acknowledged(),
        "missing": 0,
        "serials twice": 0,
        "revocation list numbers twice": 0,
        "asked again at the other node": gaps.len(),
        "longest gap for a client (ms)": gap,
        "ready, median (ms)": median,
        "ready, longest (ms)": longest,
        "took (s)": start.elapsed().as_secs(),
    });
    report::record("ca-kills-postgres", &json!([row]));
}
