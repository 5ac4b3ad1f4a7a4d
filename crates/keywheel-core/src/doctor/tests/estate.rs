//! Estates for the tables: made of names and numbers.

use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use super::super::*;
use crate::key_strength::Curve;

pub(super) const DAY: i64 = 86_400;
pub(super) const NOW: i64 = 1_000 * DAY;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A certificate of the key with this number, good for a year.
pub(super) fn certificate(number: u8) -> Certificate {
    let name = std::format!("svc-{number}");
    Certificate {
        digest: CertificateDigest([number; 32]),
        key: KeyDigest([number; 32]),
        public_key: PublicKeyFacts::Ec { curve: Curve::P256 },
        subject: name.clone(),
        names: vec![name],
        is_ca: false,
        not_before: at(NOW - 100 * DAY),
        not_after: at(NOW + 265 * DAY),
    }
}

pub(super) fn held(certificates: &[Certificate], keys: &[u8]) -> Content {
    let keys = keys.iter().map(|number| Key { digest: Some(KeyDigest([*number; 32])), closed: false }).collect();
    Content::Held { certificates: certificates.to_vec(), keys }
}

pub(super) fn ids(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.kind.id()).collect()
}

/// The commands of each finding, without quotes.
pub(super) fn fixes(findings: &[Finding]) -> Vec<String> {
    let line = |fix: &Vec<Vec<String>>| fix.iter().map(|words| words.join(" ")).collect::<Vec<_>>().join(" && ");
    findings.iter().map(|finding| finding.fix.as_ref().map(line).unwrap_or_default()).collect()
}

#[derive(Default)]
pub(super) struct Builder {
    pub(super) estate: Estate,
}

impl Builder {
    pub(super) fn findings(&self) -> Vec<Finding> {
        examine(&self.estate, at(NOW))
    }

    pub(super) fn file(&mut self, path: &str, content: Content) {
        let number = self.estate.files.len() as u64;
        self.estate.files.push(File {
            path: path.to_string(),
            real: path.to_string(),
            link: None,
            identity: (1, number),
            mode: 0o600,
            modified: at(0),
            locked: false,
            content,
        });
    }

    pub(super) fn pair(&mut self, certificate_path: &str, key_path: &str, number: u8) {
        self.file(certificate_path, held(&[certificate(number)], &[]));
        self.file(key_path, held(&[], &[number]));
    }

    /// A link to a file that was added before, or to nothing.
    pub(super) fn link(&mut self, path: &str, to: &str) {
        let target = self.estate.files.iter().find(|file| file.path == to).cloned();
        let (identity, content) = target.map_or(((0, 0), Content::Dangling), |file| (file.identity, file.content));
        let real = if identity == (0, 0) { path } else { to };
        self.file(path, content);
        let file = self.estate.files.last_mut().unwrap();
        (file.link, file.real, file.identity) = (Some(to.to_string()), real.to_string(), identity);
    }

    pub(super) fn mode(&mut self, path: &str, mode: u32) {
        self.estate.files.iter_mut().find(|file| file.path == path).unwrap().mode = mode;
    }

    pub(super) fn journal(&mut self, path: &str, phase: &str, busy: bool) {
        let phase = Some(phase.to_string());
        self.estate.journals.push(Journal {
            path: path.to_string(),
            phase,
            certificate: None,
            key: None,
            rolled_back: false,
            busy,
        });
    }

    /// A line of a service.
    pub(super) fn command(&mut self, unit: &str, line: &str) {
        self.estate.commands.push(CommandLine {
            file: std::format!("/etc/systemd/system/{unit}"),
            line: 5,
            text: std::format!("ExecStart={line}"),
            words: line.split(' ').map(str::to_string).collect(),
            unit: Some(unit.to_string()),
        });
    }
}
