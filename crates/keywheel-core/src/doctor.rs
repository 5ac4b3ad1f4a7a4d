//! What is wrong with the keys and certificates of a machine: facts in, findings out.
//!
//! Whoever reads the machine states what is there ([`Estate`]); [`examine`] says what is wrong with it, why that matters,
//! and which command mends it. Paths are texts here: they are compared and shown, never opened.

mod expiry;
mod keys;
pub mod kind;
mod leftovers;
mod lineages;
mod managers;
mod pairs;
mod renewers;
mod scene;

use alloc::string::String;
use alloc::vec::Vec;

use jiff::Timestamp;

use crate::fingerprint::{CertificateDigest, KeyDigest};
use crate::key_strength::PublicKeyFacts;
use kind::{Kind, Severity};
use scene::Scene;

/// All that was read.
#[derive(Clone, Debug, Default)]
pub struct Estate {
    /// Files, links and the folders that matter, by path.
    pub files: Vec<File>,
    /// What timers, services and cron jobs run.
    pub commands: Vec<CommandLine>,
    /// What the settings of other tools say.
    pub settings: Vec<Setting>,
    /// Replacements of ours that were begun.
    pub journals: Vec<Journal>,
}

/// One name in a folder.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name, as people should see it.
    pub path: String,
    /// Where it really is: absolute and without links.
    pub real: String,
    /// What the link says, where it is one.
    pub link: Option<String>,
    /// Device and inode of what it leads to.
    pub identity: (u64, u64),
    /// Its permission bits.
    pub mode: u32,
    /// When it was last written.
    pub modified: Timestamp,
    /// Whether a running process holds a lock on it.
    pub locked: bool,
    /// What it holds.
    pub content: Content,
}

/// What a file holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// A link that leads nowhere.
    Dangling,
    /// A folder.
    Folder,
    /// Not a single octet.
    Empty,
    /// The beginning of a certificate or a key, and no end.
    Torn {
        /// What is wrong with it.
        problem: String,
    },
    /// Certificates and keys.
    Held {
        /// The certificates, in the order of the file.
        certificates: Vec<Certificate>,
        /// The private keys.
        keys: Vec<Key>,
    },
    /// Something else.
    Other,
}

/// What is known of a certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// SHA-256 of the whole.
    pub digest: CertificateDigest,
    /// SHA-256 of its public key.
    pub key: KeyDigest,
    /// Its public key.
    pub public_key: PublicKeyFacts,
    /// The common name, or the whole subject where there is none.
    pub subject: String,
    /// All names that it is good for, in order.
    pub names: Vec<String>,
    /// Whether it says that it is a CA.
    pub is_ca: bool,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
}

/// What is known of a private key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// SHA-256 of its public half; none where that cannot be known.
    pub digest: Option<KeyDigest>,
    /// Whether it is encrypted and no password opened it.
    pub closed: bool,
}

/// A command that a timer, a service or a cron job runs.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// The file that says so.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// The lines as they stand there.
    pub text: String,
    /// The words, without quotes.
    pub words: Vec<String>,
    /// The name of the systemd unit; none for cron.
    pub unit: Option<String>,
}

/// What the settings of another tool say.
#[derive(Clone, Debug)]
pub enum Setting {
    /// `renewal/NAME.conf` of certbot.
    Certbot {
        /// The file.
        file: String,
        /// The folder with `live`, `archive` and `renewal`.
        root: String,
        /// The name of the certificate.
        name: String,
        /// Whether it says `reuse_key = True`.
        reuse_key: bool,
    },
    /// `DOMAIN/DOMAIN.conf` of acme.sh.
    AcmeSh {
        /// The file.
        file: String,
        /// The first name of the certificate.
        domain: String,
        /// Whether it says `Le_ForceNewDomainKey='1'`.
        new_key: bool,
        /// Where certificates are copied to.
        certificates: Vec<String>,
        /// Where the key is copied to.
        key: Option<String>,
    },
    /// `certificates/NAME.json` of lego.
    Lego {
        /// The file.
        file: String,
        /// The first name of the certificate.
        domain: String,
    },
    /// A pair in the settings of our agent.
    Agent {
        /// The file.
        file: String,
        /// The certificate's file, absolute.
        certificate: String,
        /// The key's file, absolute.
        key: String,
    },
    /// A line of the settings of Caddy or lego that keeps keys.
    Reuse {
        /// The file.
        file: String,
        /// The line, as it stands there.
        line: String,
    },
}

/// A replacement of ours that was begun and not ended.
#[derive(Clone, Debug)]
pub struct Journal {
    /// The folder.
    pub path: String,
    /// How far it came; none where nothing was asked, or nothing can be read.
    pub phase: Option<String>,
    /// The certificate's file, absolute.
    pub certificate: Option<String>,
    /// The key's file, absolute.
    pub key: Option<String>,
    /// Whether the new pair was in place, and was taken back since the hook or the proof failed.
    pub rolled_back: bool,
    /// Whether a running process is at it.
    pub busy: bool,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What kind of thing.
    pub kind: Kind,
    /// The files that it is about; the first one is where to look.
    pub files: Vec<String>,
    /// What is wrong and why that matters.
    pub message: String,
    /// Commands that mend it, one after the other, each as its words.
    pub fix: Option<Vec<Vec<String>>>,
}

impl Finding {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.kind.severity()
    }
}

/// Judges everything; the worst comes first.
pub fn examine(estate: &Estate, now: Timestamp) -> Vec<Finding> {
    let renewers = renewers::known(estate);
    let scene = Scene::new(estate, &renewers);
    let mut findings = lineages::judge(&scene);
    findings.extend(pairs::judge(&scene));
    findings.extend(keys::judge(&scene));
    findings.extend(renewers::judge(&scene, &renewers));
    findings.extend(expiry::judge(&scene, &renewers, now));
    findings.extend(leftovers::judge(&scene, &renewers, now));
    findings.sort();
    findings.dedup();
    grouped(findings)
}

/// What is the same for several files of one folder is said once.
fn grouped(findings: Vec<Finding>) -> Vec<Finding> {
    let mut groups: Vec<Finding> = Vec::with_capacity(findings.len());
    for finding in findings {
        let folder = |finding: &Finding| finding.files.first().map(|file| String::from(scene::split(file).0));
        let simple = matches!(finding.kind, Kind::LeftoverFile | Kind::StaleLock | Kind::KeyEncrypted);
        let alike = |other: &&mut Finding| {
            let same = (other.kind, &other.message) == (finding.kind, &finding.message);
            same && simple && folder(other) == folder(&finding)
        };
        let Some(group) = groups.iter_mut().rev().find(alike) else {
            groups.push(finding);
            continue;
        };
        // The last word of such a command is the file.
        let command = |fix: &mut Option<Vec<Vec<String>>>| fix.as_mut().and_then(Vec::pop);
        if group.fix != finding.fix {
            let (mut fix, mut more) = (command(&mut group.fix), finding.fix.clone());
            if let (Some(words), Some(more)) = (fix.as_mut(), command(&mut more)) {
                words.extend(more.last().cloned());
            }
            group.fix = fix.map(|words| [words].into());
        }
        group.files.extend(finding.files);
    }
    groups
}

/// The words of a command.
fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.into_iter().map(String::from).collect()
}

#[cfg(test)]
mod tests;
