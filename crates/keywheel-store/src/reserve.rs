//! Room that is kept aside on the disk of an SQLite database, so that on a full one the most needful can still be recorded.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::sqlite::create_private;

/// Enough for the commits of a start; a commit of one certificate takes less than 64 KiB of the log.
const ROOM: usize = 512 * 1024;

const KEPT: &str = "-reserve";
const PARTIAL: &str = "-reserve.partial";

/// Keeps the room, unless it is kept already. Where there is none, another time will do: nothing depends on it yet.
pub(crate) fn keep(database: &Path) {
    let kept = path(database, KEPT);
    if kept.exists() || !has_room(database) {
        return;
    }
    // Under its name there is all of it: half would be taken for the whole.
    let partial = path(database, PARTIAL);
    if let Err(error) = fill(&partial).and_then(|()| std::fs::rename(&partial, &kept)) {
        tracing::debug!(%error, "no room could be kept aside for the database");
        std::fs::remove_file(&partial).ok();
    }
}

/// Gives the room to the database; whether there was any.
pub(crate) fn give_up(database: &Path) -> bool {
    // What a crash left of an earlier try is room, too.
    std::fs::remove_file(path(database, PARTIAL)).ok();
    std::fs::remove_file(path(database, KEPT)).is_ok()
}

/// On a disk that is nearly full the rest is for what is asked now.
fn has_room(database: &Path) -> bool {
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) > 4 * ROOM as u64)
}

fn fill(path: &Path) -> std::io::Result<()> {
    if !path.exists() {
        create_private(path)?;
    }
    // Real octets and no zeros: a hole, or what a file system compresses away, is no room.
    let octets: Vec<u8> = (0..ROOM as u32).map(|place| (place.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
    let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(&octets)
}

fn path(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
