//! Clients that keep a CA busy and write down what it acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keywheel_signer::file_key::FileKey;
use keywheel_tests::https::{Answer, Door, Pair};
use keywheel_tests::provisioner::{Provisioner, new_key};
use keywheel_wire::private_key::KeyKind;

use crate::books::{Books, Lost};

/// How long a client goes on asking where nobody answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the clients of a load have in common.
pub struct Load {
    /// Where they ask: each first at a door of its own, then at the others.
    pub doors: Vec<Door>,
    pub provisioner: Arc<Provisioner>,
    /// From here on a client whose question is not answered writes it down as lost, and stops.
    cut: AtomicBool,
    /// The clients begin no other turn.
    over: AtomicBool,
    /// Answers that were acknowledgements.
    pub acknowledged: AtomicUsize,
    /// Whether a client whose question is not answered asks the same at another door.
    pub elsewhere: bool,
}

/// What one client brings home.
#[derive(Default)]
pub struct Brought {
    pub books: Books,
    /// For each question that was asked again elsewhere: how long its answer took in all.
    pub gaps: Vec<Duration>,
}

impl Load {
    /// One that has not begun.
    pub fn new(doors: Vec<Door>, provisioner: Arc<Provisioner>) -> Self {
        let elsewhere = doors.len() > 1;
        Self {
            doors,
            provisioner,
            cut: AtomicBool::new(false),
            over: AtomicBool::new(false),
            acknowledged: AtomicUsize::new(0),
            elsewhere,
        }
    }

    /// Waits until there were so many acknowledgements.
    pub fn wait_for(&self, acknowledged: usize) {
        let until = Instant::now() + PATIENCE;
        while self.acknowledged.load(Ordering::Relaxed) < acknowledged {
            assert!(Instant::now() < until, "the load came to a standstill");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until there were so many more.
    pub fn wait_for_more(&self, acknowledged: usize) {
        self.wait_for(self.acknowledged.load(Ordering::Relaxed) + acknowledged);
    }

    /// No answer is none from here on.
    pub fn expect_losses(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// Ends it, and no answer is none from here on.
    pub fn cut(&self) {
        self.expect_losses();
        self.over.store(true, Ordering::Relaxed);
    }

    /// One client: certifies, rekeys, renews and revokes until the load ends.
    pub fn work(&self, number: usize) -> Brought {
        let mut client = Client { load: self, door: number % self.doors.len(), brought: Brought::default() };
        let mut turn = number;
        while !self.over.load(Ordering::Relaxed) && client.turn(turn).is_some() {
            turn += 1;
        }
        client.brought
    }
}

struct Client<'a> {
    load: &'a Load,
    door: usize,
    brought: Brought,
}

impl Client<'_> {
    /// A certificate from its first request to its end; none where an answer was lost.
    fn turn(&mut self, turn: usize) -> Option<()> {
        let key = Arc::new(new_key(KeyKind::EcP256));
        let body = self.load.provisioner.sign_body(&key, "svc.local").to_string();
        let answer = self.ask(201, |door| door.post("/sign", &body));
        let Some(answer) = answer else { return self.lose(Lost::Sign(body, key)) };
        let first = self.issued(&answer, &key, "sign");
        let good = (turn % 3 == 2).then(|| first.chain[0].clone());
        self.brought.books.signed.push((body, good));

        let key = Arc::new(new_key(KeyKind::EcP256));
        let answer = self.ask(201, |door| door.rekey(&first, &key));
        let Some(answer) = answer else { return self.lose(Lost::Rekey(first, key)) };
        let second = self.issued(&answer, &key, "rekey");
        let answer = second.chain[0].clone();
        match turn % 3 {
            0 => {
                let answer = self.ask(201, |door| door.renew(&second));
                let Some(answer) = answer else { return self.lose(Lost::Renew(second)) };
                self.issued(&answer, &key, "renew");
            }
            1 => {
                // Asked again elsewhere it may have been done already: then the certificate is refused.
                let answer = self.ask(200, |door| door.revoke(&second));
                if answer.is_none() {
                    return self.lose(Lost::Revoke(second));
                }
                self.brought.books.revoked.push(second);
                // An answer that was revoked is not given again.
                return Some(());
            }
            _ => {}
        }
        self.brought.books.rekeyed.push((first, key, answer));
        Some(())
    }

    /// Asks until there is an answer with this status; none where the load has ended.
    fn ask(&mut self, status: u16, ask: impl Fn(&Door) -> Answer) -> Option<Answer> {
        let start = Instant::now();
        let mut again = false;
        loop {
            let answer = ask(&self.load.doors[self.door]);
            if answer.status == status || (again && status == 200 && matches!(answer.status, 400 | 401)) {
                self.load.acknowledged.fetch_add(1, Ordering::Relaxed);
                if again {
                    self.brought.gaps.push(start.elapsed());
                }
                return Some(answer);
            }
            assert!(matches!(answer.status, 0 | 500 | 503), "{}\n{}", answer.head, answer.text());
            if self.load.elsewhere {
                assert!(start.elapsed() < PATIENCE, "nobody answers: {}\n{}", answer.head, answer.text());
                self.door = (self.door + 1) % self.load.doors.len();
                again = true;
            } else if self.load.cut.load(Ordering::Relaxed) {
                return None;
            } else {
                panic!("no answer before the cut: {}\n{}", answer.head, answer.text());
            }
        }
    }

    fn issued(&mut self, answer: &Answer, key: &FileKey, how: &'static str) -> Arc<Pair> {
        let key = FileKey::from_private_key(key.private_key().clone()).expect("it is a key");
        let pair = Arc::new(answer.pair(key));
        self.brought.books.certificates.push((pair.chain[0].clone(), how));
        pair
    }

    fn lose(&mut self, lost: Lost) -> Option<()> {
        self.brought.books.lost.push(lost);
        None
    }
}
