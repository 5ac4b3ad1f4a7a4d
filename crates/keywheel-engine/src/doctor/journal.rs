//! The journals of our own replacements: how far each came, and whether somebody is at it.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use keywheel_core::doctor::Journal;
use serde_json::Value;

use super::Note;
use super::walk::{Name, read_regular};

/// The journal in a folder, if the folder is one of ours.
pub(super) fn read(folder: &Name, locked: &BTreeSet<u64>, notes: &mut Vec<Note>) -> Option<Journal> {
    let name = folder.file_name();
    if !(name.starts_with('.') && name.ends_with(".keywheel")) {
        return None;
    }
    let lock = format!("{}.lock", folder.real);
    let busy = std::fs::metadata(lock).is_ok_and(|lock| locked.contains(&lock.ino()));
    let value = match read_regular(&Path::new(&folder.real).join("journal.json")) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                notes.push(Note { path: folder.path.clone(), reason: error.to_string() });
            }
            Value::Null
        }
    };
    let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    Some(Journal {
        path: folder.path.clone(),
        phase: text("phase"),
        certificate: text("certificate"),
        key: text("key"),
        rolled_back: value.get("rolled_back").and_then(Value::as_bool).unwrap_or(false),
        busy,
    })
}
