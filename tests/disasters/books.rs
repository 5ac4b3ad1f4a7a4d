//! What a CA has promised, written down by those who heard it, and held against the CA and against its database.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use keywheel_signer::file_key::FileKey;
use keywheel_tests::https::{Door, Pair};
use keywheel_tests::place::Place;
use keywheel_tests::provisioner::{REFUSED, csr, new_key};
use keywheel_wire::private_key::KeyKind;
use keywheel_wire::signer::Signer;
use keywheel_wire::x509::certificate::Certificate;
use keywheel_wire::x509::crl::Crl;
use serde_json::{Value, json};

/// A question whose answer never came.
pub enum Lost {
    Sign(String, Arc<FileKey>),
    Rekey(Arc<Pair>, Arc<FileKey>),
    Renew(Arc<Pair>),
    Revoke(Arc<Pair>),
}

/// All that was acknowledged.
#[derive(Default)]
pub struct Books {
    /// Every certificate that was handed out, DER, with how it came.
    pub certificates: Vec<(Vec<u8>, &'static str)>,
    /// First requests and their answers, where those are still good: a successor that was seen retires them.
    pub signed: Vec<(String, Option<Vec<u8>>)>,
    /// Rekeys: the old pair, the new key, the answer.
    pub rekeyed: Vec<(Arc<Pair>, Arc<FileKey>, Vec<u8>)>,
    /// Pairs that revoked themselves.
    pub revoked: Vec<Arc<Pair>>,
    /// What is not known to have happened.
    pub lost: Vec<Lost>,
    /// The revocation lists that were seen, by number.
    pub lists: BTreeMap<u64, Vec<u8>>,
}

impl Books {
    /// How much was acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.certificates.len() + self.revoked.len()
    }

    /// Takes the entries of another.
    pub fn extend(&mut self, other: Self) {
        self.certificates.extend(other.certificates);
        self.signed.extend(other.signed);
        self.rekeyed.extend(other.rekeyed);
        self.revoked.extend(other.revoked);
        self.lost.extend(other.lost);
        self.lists.extend(other.lists);
    }

    /// A list that was seen: no number has two lists, and none comes after a higher one.
    pub fn see_list(&mut self, list: &Crl) {
        let number = list.parts().number().expect("it has a number");
        let last = self.lists.last_key_value().map_or(0, |(number, _)| *number);
        assert!(number >= last, "list {number} was seen after list {last}");
        let known = self.lists.entry(number).or_insert_with(|| list.der().to_vec());
        assert_eq!(known, list.der(), "two lists have the number {number}");
    }

    /// Holds some of the newest entries against a CA, and asks everything again that was not answered.
    pub fn sample(&mut self, door: &Door) {
        for (body, answer) in self.signed.iter().rev().take(2) {
            if let Some(answer) = answer {
                let again = door.post("/sign", body).is(201, "").chain().remove(0);
                assert_eq!(&again, answer, "a first request is answered otherwise");
            }
            door.post("/sign", &with_another_key(body)).is(401, REFUSED);
        }
        for (old, key, answer) in self.rekeyed.iter().rev().take(2) {
            assert_eq!(&door.rekey(old, key).is(201, "").chain()[0], answer, "a rekey is answered otherwise");
        }
        for pair in self.revoked.iter().rev().take(1) {
            door.renew(pair).is(401, REFUSED);
        }
        for lost in std::mem::take(&mut self.lost) {
            self.ask_again(door, lost);
        }
        let list = door.list();
        self.see_list(&list);
    }

    /// Whether it was recorded or not: the same question is answered now, and always alike.
    fn ask_again(&mut self, door: &Door, lost: Lost) {
        match lost {
            Lost::Sign(body, key) => {
                let first = door.post("/sign", &body).is(201, "").chain().remove(0);
                assert_eq!(door.post("/sign", &body).is(201, "").chain()[0], first);
                assert_eq!(Certificate::from_der(&first).expect("a certificate").spki(), key.public_key());
                self.certificates.push((first, "sign"));
            }
            Lost::Rekey(old, key) => {
                let first = door.rekey(&old, &key).is(201, "").chain().remove(0);
                assert_eq!(door.rekey(&old, &key).is(201, "").chain()[0], first);
                self.certificates.push((first, "rekey"));
            }
            Lost::Renew(old) => {
                let first = door.renew(&old).is(201, "").chain().remove(0);
                self.certificates.push((first, "renew"));
            }
            Lost::Revoke(pair) => {
                // By the certificate itself that is refused once it is revoked.
                let answer = door.revoke(&pair);
                assert!(matches!(answer.status, 200 | 400 | 401), "{}", answer.text());
                door.renew(&pair).is(401, REFUSED);
                self.revoked.push(pair);
            }
        }
    }

    /// Holds every entry against the database: nothing that was acknowledged is missing, and no serial number, no key and no
    /// number of a list was given twice. Answers how many certificates the database knows.
    pub fn balance(&self, place: &Place, database: &[&str]) -> usize {
        let stored = Stored::read(place, database);
        let mut by_serial: HashMap<String, &[u8]> = HashMap::new();
        for (der, how) in &self.certificates {
            let serial = Certificate::from_der(der).expect("a certificate").serial().to_hex();
            let known = stored.certificates.get(&serial);
            let known = known.unwrap_or_else(|| panic!("{serial} was acknowledged ({how}) and is missing"));
            assert_eq!(&known.der, der, "{serial} ({how}) is another certificate in the database");
            let other = by_serial.insert(serial.clone(), der);
            assert!(other.is_none_or(|other| other == der), "the serial number {serial} was given twice");
        }
        for pair in &self.revoked {
            let serial = pair.certificate.serial().to_hex();
            assert!(stored.revocations.contains(&serial), "the revocation of {serial} was acknowledged and is missing");
        }
        // A key comes new into the database once, whatever was asked again after a kill.
        let mut keys = HashSet::new();
        for (serial, one) in &stored.certificates {
            let carried_on = one
                .predecessor
                .as_ref()
                .is_some_and(|old| stored.certificates.get(old).is_some_and(|old| old.key == one.key));
            assert!(carried_on || keys.insert(&one.key), "the key of {serial} was certified for two requests");
        }
        stored.certificates.len()
    }
}

/// The same body of `/sign`, token and all, but for another key.
pub fn with_another_key(body: &str) -> String {
    let mut body: Value = serde_json::from_str(body).expect("it is JSON");
    body["csr"] = json!(csr(&new_key(KeyKind::EcP256)));
    body.to_string()
}

/// What stands in a database, read by another program than ours.
pub struct Stored {
    /// By serial number, hexadecimal.
    pub certificates: HashMap<String, Row>,
    pub revocations: HashSet<String>,
}

/// A certificate in the database; the octets are empty where it was never signed.
pub struct Row {
    pub der: Vec<u8>,
    pub key: String,
    pub predecessor: Option<String>,
}

/// Prints a backup, a row in each line.
const READER: &str = "
import sqlite3, sys
base = sqlite3.connect('file:' + sys.argv[1] + '?mode=ro', uri=True)
for row in base.execute('SELECT hex(serial), hex(der), hex(key_digest), hex(predecessor) FROM certificates'):
    print('certificate', *('-' if not value else value.lower() for value in row))
for row in base.execute('SELECT hex(serial) FROM revocations'):
    print('revocation', row[0].lower())
";

impl Stored {
    /// Reads a backup of the database, whichever that is: the home's own, or one that more flags name.
    pub fn read(place: &Place, database: &[&str]) -> Self {
        let backup = place.file("judged.db");
        let _none_yet = std::fs::remove_file(&backup);
        place.keywheel(&[&["db", "backup", "judged.db"], database].concat()).ok();
        let read = place.run("python3", &["-c", READER, backup.to_str().expect("UTF-8")]).ok();
        let mut stored = Self { certificates: HashMap::new(), revocations: HashSet::new() };
        for line in read.stdout.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["certificate", serial, der, key, predecessor] => {
                    let predecessor = (predecessor != "-").then(|| predecessor.to_owned());
                    let row = Row { der: octets(der), key: key.to_owned(), predecessor };
                    let twice = stored.certificates.insert(serial.to_owned(), row);
                    assert!(twice.is_none(), "the database has {serial} twice");
                }
                ["revocation", serial] => {
                    stored.revocations.insert(serial.to_owned());
                }
                _ => panic!("{line:?}"),
            }
        }
        stored
    }
}

fn octets(hex: &str) -> Vec<u8> {
    let digits = hex.trim_matches('-').as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal");
    digits.chunks(2).map(pair).collect()
}
