//! Reads what is on a machine, without changing anything, and lets core judge it.
//!
//! Nothing is opened but regular files of a bounded size and number. What cannot be read is told, not passed over.

mod content;
mod crontab;
mod journal;
mod lock;
pub mod place;
mod settings;
mod unit;
mod walk;

use std::path::PathBuf;

use jiff::Timestamp;
use keywheel_core::doctor::{self, Content, Estate, File, Finding};
use zeroize::Zeroizing;

use self::walk::Walk;

/// Where to look.
#[derive(Clone, Default)]
pub struct DoctorOptions {
    /// Files, and folders with all that is in them.
    pub paths: Vec<PathBuf>,
    /// Folders of systemd units and of cron jobs, and crontabs; the first one wins where two hold a unit of one name.
    pub unit_paths: Vec<PathBuf>,
    /// What opens encrypted keys.
    pub password: Option<Zeroizing<Vec<u8>>>,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// What is wrong, the worst first.
    pub findings: Vec<Prescription>,
    /// What was not looked at, and why.
    pub notes: Vec<Note>,
    /// So many files were looked at.
    pub files: usize,
}

/// A finding, and what to type.
#[derive(Clone, Debug)]
pub struct Prescription {
    /// What is wrong.
    pub finding: Finding,
    /// Commands for a shell, in one line.
    pub fix: Option<String>,
}

/// Something that was not looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Where.
    pub path: String,
    /// Why not.
    pub reason: String,
}

/// Reads and judges.
pub fn examine(options: &DoctorOptions, now: Timestamp) -> Diagnosis {
    let mut walk = Walk::new();
    for path in &options.paths {
        walk.below(path);
    }
    let Walk { names, mut notes, .. } = walk;
    let locked = lock::held();
    let mut estate = Estate::default();
    let mut files = 0;
    for name in &names {
        let mut content = Content::Other;
        if name.is_folder {
            content = Content::Folder;
            estate.journals.extend(journal::read(name, &locked, &mut notes));
        } else if name.is_dangling {
            content = Content::Dangling;
        } else if let Some(bytes) = walk::read(name, &mut notes) {
            files += 1;
            content = content::of(name, &bytes, options.password.as_deref().map(Vec::as_slice), &mut notes);
            estate.settings.extend(settings::of(name, &bytes));
        }
        estate.files.push(File {
            path: name.path.clone(),
            real: name.real.clone(),
            link: name.link.clone(),
            identity: name.identity,
            mode: name.mode,
            modified: name.modified,
            locked: locked.contains(&name.identity.1),
            content,
        });
    }
    estate.commands = unit::commands(&options.unit_paths, &mut notes);
    estate.commands.extend(crontab::commands(&options.unit_paths, &mut notes));
    let findings = doctor::examine(&estate, now).into_iter().map(prescribe).collect();
    notes.sort();
    notes.dedup();
    Diagnosis { findings, notes, files }
}

/// The commands as a shell takes them.
fn prescribe(finding: Finding) -> Prescription {
    let fix = finding.fix.as_ref().and_then(|steps| {
        let quoted: Result<Vec<String>, _> =
            steps.iter().map(|words| shlex::try_join(words.iter().map(String::as_str))).collect();
        // Only a NUL cannot be quoted, and no name holds one.
        quoted.ok().map(|steps| steps.join(" && "))
    });
    Prescription { finding, fix }
}
