//! However often an answer gets lost, and at whichever moment: one request has one live certificate.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use keywheel_signer::file_key::FileKey;
use keywheel_tests::https::{Answer, Door, HangUp, Pair};
use keywheel_tests::lossy::Lossy;
use keywheel_tests::provisioner::{Provisioner, csr, new_key, rekey_body};
use keywheel_tests::report;
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::x509::certificate::Certificate;
use serde_json::json;

use crate::books::{Books, Row, Stored};
use crate::chance::Chance;
use crate::site::{Site, in_turn};

const CLIENTS: usize = 4;

const HANGING_UP: [HangUp; 3] = [HangUp::WhenAsked, HangUp::WhenAnswered, HangUp::InTheMiddle];

/// How a request was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sign,
    Rekey,
    Renew,
}

/// A request whose answers were lost, and the answer that came at last.
struct Request {
    kind: Kind,
    /// The certificate that it is to replace.
    old: Option<String>,
    /// The one that came.
    certificate: Certificate,
    lost: usize,
}

#[test]
fn a_request_whose_answers_are_lost_has_exactly_one_live_certificate_in_the_end() {
    let _alone = in_turn();
    let requests = report::count(60, 1000);
    let mut site = Site::start_with(&[]);
    let mut chance = Chance::new();
    // Each client's requests: how many answers get lost before one is heard.
    let plan: Vec<(Kind, HangUp, u64)> = (0..requests)
        .map(|number| {
            let kind = [Kind::Sign, Kind::Rekey, Kind::Renew][number % 3];
            (kind, HANGING_UP[number / 3 % 3], 1 + chance.below(3))
        })
        .collect();
    let made: Vec<Request> = std::thread::scope(|scope| {
        let (door, provisioner) = (&site.door, &site.provisioner);
        let clients: Vec<_> = plan
            .chunks(requests.div_ceil(CLIENTS))
            .map(|part| {
                scope.spawn(move || {
                    part.iter().map(|(kind, hang_up, times)| ask(door, provisioner, *kind, *hang_up, *times)).collect()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap_or_else(|_| Vec::new())).collect()
    });
    assert_eq!(made.len(), requests, "a client gave up");
    site.check();
    let stored = Stored::read(&site.ca.place, &[]);
    for request in &made {
        judge(request, &stored);
    }
    let lost: usize = made.iter().map(|request| request.lost).sum();
    println!("{requests} requests, {lost} answers lost, {} certificates in the database", stored.certificates.len());
    let rows: Vec<_> = [Kind::Sign, Kind::Rekey, Kind::Renew]
        .into_iter()
        .map(|kind| {
            let of_kind: Vec<_> = made.iter().filter(|request| request.kind == kind).collect();
            let lost: usize = of_kind.iter().map(|request| request.lost).sum();
            json!({
                "route": format!("/{kind:?}").to_lowercase(),
                "requests": of_kind.len(),
                "answers lost": lost,
                "without a live certificate": 0,
                "with more than one": 0,
            })
        })
        .collect();
    report::record("lost-replies", &json!(rows));
}

#[test]
fn the_real_client_ends_with_one_live_certificate_for_each_request_whose_answer_it_lost() {
    let _alone = in_turn();
    let mut site = Site::start_with(&[]);
    site.ca.certificate("svc");
    let place = &site.ca.place;
    let certificate = |name: &str| Certificate::from_pem(place.read(name).as_bytes()).expect("a certificate");
    let (mut made, mut books) = (Vec::new(), Books::default());
    for number in 0..report::count(4, 60) {
        let old = certificate("svc.crt");
        let (kind, words) = match number % 2 {
            0 => (Kind::Rekey, ["ca", "rekey", "--force", "svc.crt", "svc.key"]),
            _ => (Kind::Renew, ["ca", "renew", "--force", "svc.crt", "svc.key"]),
        };
        let way = Lossy::to(site.ca.port, 1);
        place.keywheel(&[&words[..], &["--ca-url", &way.url]].concat()).fails(4, "was not reached");
        assert_eq!(way.lost(), 1, "the answer was not lost on the way");
        assert_eq!(certificate("svc.crt"), old, "nothing may change before the answer is there");
        place.keywheel(&words).ok();
        let certificate = certificate("svc.crt");
        books.certificates.push((certificate.der().to_vec(), "client"));
        made.push(Request { kind, old: Some(old.serial().to_hex()), certificate, lost: 1 });
    }
    // The same token with the same request, by hand.
    let token = site.provisioner.token("/1.0/sign", "hand.local", Some(&["hand.local"]));
    place.write("hand.csr", csr(&new_key(KeyKind::EcP256)));
    let words = ["ca", "sign", "--force", "--token", &token, "hand.csr", "hand.crt"];
    let way = Lossy::to(site.ca.port, 1);
    place.keywheel(&[&words[..], &["--ca-url", &way.url]].concat()).fails(4, "");
    assert_eq!(way.lost(), 1, "the answer was not lost on the way");
    place.keywheel(&words).ok();
    made.push(Request { kind: Kind::Sign, old: None, certificate: certificate("hand.crt"), lost: 1 });
    site.check();
    let stored = Stored::read(&site.ca.place, &[]);
    // All but the newest of a line are superseded by what came after them.
    for request in &made {
        assert_eq!(answers(request, &stored).len(), 1, "{:?}", request.kind);
    }
    judge(&made[made.len() - 1], &stored);
    judge(&made[made.len() - 2], &stored);
    books.balance(&site.ca.place, &[]);
}

/// One request: so many answers of it get lost, then one is heard.
fn ask(door: &Door, provisioner: &Provisioner, kind: Kind, hang_up: HangUp, times: u64) -> Request {
    let first = |name: &str| {
        let key = new_key(KeyKind::EcP256);
        let body = provisioner.sign_body(&key, name).to_string();
        (key, body)
    };
    let (old, (key, path, body)): (Option<Arc<Pair>>, (FileKey, &str, String)) = match kind {
        Kind::Sign => {
            let (key, body) = first("new.local");
            (None, (key, "/sign", body))
        }
        Kind::Rekey | Kind::Renew => {
            let (key, body) = first("old.local");
            let old = Arc::new(door.post("/sign", &body).is(201, "").pair(key));
            let asked = if kind == Kind::Rekey {
                let key = new_key(KeyKind::EcP256);
                let body = rekey_body(&key);
                (key, "/rekey", body)
            } else {
                let key = FileKey::from_private_key(old.key.private_key().clone()).expect("it is a key");
                (key, "/renew", String::new())
            };
            (Some(old), asked)
        }
    };
    let ask = |hang_up| -> Answer { door.ask("POST", path, &body, old.as_deref(), hang_up) };
    for _ in 0..times {
        assert_eq!(ask(Some(hang_up)).status, 0, "the answer was not lost");
    }
    let answer = ask(None).is(201, "").pair(key);
    // Heard once, it is the same for ever.
    assert_eq!(ask(None).is(201, "").chain(), answer.chain, "{kind:?}: asked again it is answered otherwise");
    Request {
        kind,
        old: old.map(|old| old.certificate.serial().to_hex()),
        certificate: answer.certificate,
        lost: usize::try_from(times).expect("small"),
    }
}

/// Exactly one certificate answers the request; it is the one that was heard, signed, not revoked and not over.
fn judge(request: &Request, stored: &Stored) {
    let serial = request.certificate.serial().to_hex();
    let found = answers(request, stored);
    assert_eq!(
        found.len(),
        1,
        "{:?}: {} certificates answer one request; in place of {:?} {serial} was heard, which is there: {:?}",
        request.kind,
        found.len(),
        request.old,
        stored.certificates.get(&serial).map(|row| &row.predecessor)
    );
    let row =
        found.get(serial.as_str()).unwrap_or_else(|| panic!("{serial} was heard, and is another one in the database"));
    assert_eq!(row.der, request.certificate.der(), "{serial} is another certificate in the database");
    assert!(!stored.revocations.contains(&serial), "{serial} was heard, and is revoked");
    assert!(request.certificate.not_after() > Timestamp::now(), "{serial} is over");
}

/// The certificates in the database that answer a request: with its key, in place of its old certificate.
fn answers<'a>(request: &Request, stored: &'a Stored) -> HashMap<&'a str, &'a Row> {
    let key: String = request.certificate.key_digest().as_bytes().iter().map(|octet| format!("{octet:02x}")).collect();
    let answers = stored.certificates.iter().filter(|(_, row)| row.key == key && row.predecessor == request.old);
    answers.map(|(serial, row)| (serial.as_str(), row)).collect()
}
