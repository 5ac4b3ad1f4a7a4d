//! What is on disk, and whether it is usable, whole, the result that was announced, and all that there is.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use keywheel_core::fingerprint::hex;
use keywheel_signer::file_key::FileKey;
use keywheel_wire::signer::Signer;
use keywheel_wire::x509::certificate::Certificate;

use crate::client::{Client, Deed, Ended, Layout, Mode};

/// Certificates in a chain of the CA of these tests.
const CHAIN: usize = 2;

/// Said where the authority has not seen the new pair in use.
const UNSEEN: &str = "a connection to the authority with it was not possible";

/// Where the pairs lie of which one rename shows another.
const GENERATIONS: &str = ".svc.key.generations";

/// What the two names show a service.
#[derive(Clone, PartialEq, Eq)]
pub struct Seen {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// What is wrong with a pair.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A file is missing, empty or torn.
    NotWhole(String),
    /// Both files are whole; the key is that of another certificate.
    Mismatch,
}

impl Seen {
    /// Reads both names, as a service that starts now.
    pub fn now(client: &Client) -> Self {
        let read = |path: &Path| std::fs::read(path).unwrap_or_default();
        Self { certificate: read(&client.certificate()), key: read(&client.key()) }
    }

    /// Writes it back.
    pub fn restore(&self, client: &Client) {
        std::fs::write(client.certificate(), &self.certificate).expect("it can be written");
        std::fs::write(client.key(), &self.key).expect("it can be written");
    }

    /// Whether a service could use it.
    pub fn judge(&self) -> Result<(), Wrong> {
        let not_whole = |error: String| Wrong::NotWhole(error);
        let chain = Certificate::chain_from_pem(&self.certificate)
            .map_err(|error| not_whole(format!("the certificate: {error}")))?;
        if chain.len() != CHAIN {
            return Err(not_whole(format!("the certificate: a chain of {} instead of {CHAIN}", chain.len())));
        }
        let (key, _) = FileKey::from_pem(&self.key, None).map_err(|error| not_whole(format!("the key: {error}")))?;
        if chain[0].spki() == key.public_key() { Ok(()) } else { Err(Wrong::Mismatch) }
    }

    /// The SHA-256 of the certificate, as a hook is told it.
    pub fn fingerprint(&self) -> String {
        Certificate::from_pem(&self.certificate).map_or_else(|_| String::new(), |leaf| hex(&leaf.digest().0))
    }

    /// Whether it is the same pair, in whatever file.
    pub fn is_pair(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint() && self.public_key() == other.public_key()
    }

    /// Whether it is what was to come of these.
    pub fn is_result_of(&self, deed: Deed, before: &Self) -> bool {
        let other_certificate = self.fingerprint() != before.fingerprint();
        let other_key = self.public_key() != before.public_key();
        match deed {
            Deed::Rekey => other_certificate && other_key,
            Deed::Renew => other_certificate && !other_key,
            Deed::RollBack | Deed::Convert(_) => self.is_pair(before),
        }
    }

    fn public_key(&self) -> Option<Vec<u8>> {
        FileKey::from_pem(&self.key, None).ok().map(|(key, _)| key.public_key().to_owned())
    }
}

/// What the client writes down before it asks.
pub fn journal(client: &Client) -> PathBuf {
    // It stands beside the file that a name leads to.
    let name = if client.subject.layout == Layout::Combined { "svc.pem" } else { "svc.key" };
    client.folder.join(format!(".{name}.keywheel/journal.json"))
}

/// The opinion of OpenSSL, which knows nothing of us.
pub fn openssl_agrees(client: &Client) -> Result<(), String> {
    let public = |words: &[&str], file: &Path| {
        let output = client.command("openssl").args(words).arg(file).stderr(Stdio::null()).output();
        output.expect("openssl can be started").stdout
    };
    let of_certificate = public(&["x509", "-noout", "-pubkey", "-in"], &client.certificate());
    let of_key = public(&["pkey", "-pubout", "-in"], &client.key());
    if !of_key.is_empty() && of_certificate == of_key { Ok(()) } else { Err("OpenSSL finds no matching pair".into()) }
}

/// Whether what was said and the exit code are what is on disk.
pub fn is_true(client: &Client, ended: &Ended, before: &Seen, now: &Seen) -> Result<(), String> {
    let said = &ended.said;
    let deed = client.subject.deed;
    let same = now.is_pair(before);
    let new = now.judge().is_ok() && now.is_result_of(if deed == Deed::RollBack { Deed::Rekey } else { deed }, before);
    let waits = journal(client).exists();
    let claims = [
        ("nothing was changed", same),
        ("the files are as they were", same),
        ("its names show what they showed", same),
        ("are back in place", same),
        ("the next run goes on", waits),
        ("the next run uses it", waits),
        ("what it left is kept", waits),
        ("are in place", new),
        ("is in place", new),
        ("✔ Certificate", new),
        ("certificate rekeyed", new),
    ];
    let made: Vec<_> = claims.iter().filter(|(claim, _)| said.contains(claim)).collect();
    if let Some((claim, _)) = made.iter().find(|(_, holds)| !holds) {
        return Err(format!("it says {claim:?}, and that is not so"));
    }
    if said.contains("panicked") {
        return Err("it panicked".into());
    }
    let done = match deed {
        Deed::Convert(to) => same && lies(client, to),
        _ => new,
    };
    match (client.subject.mode, ended.code) {
        (Mode::Once, Some(0)) if !done => Err("it says by its exit code that it succeeded, and it did not".into()),
        (Mode::Once, Some(code)) if code != 0 && made.is_empty() => {
            Err(format!("it failed (exit code {code}) and does not say what state things are in"))
        }
        (Mode::Daemon, Some(_)) if !done && made.is_empty() => Err("it failed without saying so".into()),
        _ => Ok(()),
    }
}

/// The next start repairs: afterwards the pair matches, nothing else is there, and the service was told of what is in place.
///
/// `said` is what the run before said.
pub fn next_start_repairs(client: &Client, before: &Seen, said: &str) -> Result<(), String> {
    let ended = client.run(&client.next_start());
    if ended.code != Some(0) || ended.hung {
        return Err(format!("the next start fails: {ended:?}"));
    }
    let now = Seen::now(client);
    now.judge().map_err(|wrong| format!("after the next start: {wrong:?}"))?;
    if !now.is_pair(before) {
        // What was rolled back is tried again by the next start, and taken.
        let deed = if client.subject.deed == Deed::RollBack { Deed::Rekey } else { client.subject.deed };
        if !now.is_result_of(deed, before) {
            return Err("after the next start the pair is neither the old nor the new one".into());
        }
        if !client.told().contains(&now.fingerprint()) {
            return Err("after the next start the service was not told of what is in place".into());
        }
    }
    if !lies(client, client.subject.layout_in_the_end()) {
        return Err("after the next start the pair lies otherwise than it should".into());
    }
    let mut left = left_over(client);
    if said.contains(UNSEEN) {
        // The old pair is kept while it may still be needed; the next rekey, which is seen, ends that.
        left.retain(|name| !is_old_pair(name));
        let ended = client.run(&client.words());
        if ended.code != Some(0) {
            return Err(format!("the rekey after the next start fails: {ended:?}"));
        }
        left.extend(left_over(client));
    }
    if left.is_empty() { Ok(()) } else { Err(format!("the next start leaves {left:?}")) }
}

/// Whether it holds what was replaced.
fn is_old_pair(name: &str) -> bool {
    let generation = name.strip_prefix(GENERATIONS).and_then(|rest| rest.strip_prefix('/'));
    name.ends_with(".previous") || generation.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether the pair lies so.
fn lies(client: &Client, layout: Layout) -> bool {
    let ends = [client.certificate(), client.key()].map(|name| std::fs::read_link(name).unwrap_or_default());
    let ends = ends.each_ref().map(|end| end.file_name().unwrap_or_default().to_string_lossy().into_owned());
    match layout {
        Layout::Flat => ends == ["", ""],
        Layout::Generations => ends == ["certificate.pem", "key.pem"],
        Layout::Combined => ends == ["svc.pem", "svc.pem"],
    }
}

/// What stands in the folder beside the pair.
fn left_over(client: &Client) -> Vec<String> {
    let layout = client.subject.layout_in_the_end();
    let mut wanted = vec!["svc.crt", "svc.key", "told"];
    match layout {
        Layout::Flat => {}
        Layout::Generations => wanted.push(GENERATIONS),
        Layout::Combined => wanted.push("svc.pem"),
    }
    // A lock is an empty file. That of the layout before can be let stand, if removing it was what was refused.
    let is_old_lock = |name: &str| layout != client.subject.layout && name.ends_with(".keywheel.lock");
    let unwanted = |name: &String| !wanted.contains(&name.as_str()) && !is_old_lock(name);
    let mut left: Vec<_> = names(&client.folder).into_iter().filter(unwanted).collect();
    if layout == Layout::Generations {
        let generations = client.folder.join(GENERATIONS);
        let current = std::fs::read_link(generations.join("current")).unwrap_or_default();
        let others = names(&generations).into_iter().filter(|name| name != "current" && Path::new(name) != current);
        left.extend(others.map(|name| format!("{GENERATIONS}/{name}")));
        let inside = names(&generations.join(&current)).into_iter();
        left.extend(inside.filter(|name| !["certificate.pem", "key.pem"].contains(&name.as_str())));
    }
    left
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
