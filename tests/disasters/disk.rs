//! A small disk that can be filled to the last page.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use keywheel_tests::place::Place;
use tempfile::TempDir;

/// Enough for all certificates of a long run, and soon full.
const SIZE: &str = "size=64m";

/// A file system in memory, mounted in a folder of its own; it goes away with the value.
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    /// Mounts one; `None` (said aloud) where this machine lets nobody mount.
    pub fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(folder.path()).output();
        let mounted = mounted.expect("mount can be started");
        if !mounted.status.success() {
            let why = String::from_utf8_lossy(&mounted.stderr);
            println!("SKIPPED: full disks are not tried, since a small disk cannot be mounted here (root can): {why}");
            return None;
        }
        Some(Self { folder })
    }

    /// A place whose home lies on this disk.
    pub fn place(&self) -> Place {
        let place = Place::new();
        std::os::unix::fs::symlink(self.folder.path(), place.file("step")).expect("a link can be made");
        place
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut ballast = std::fs::OpenOptions::new();
        let mut ballast = ballast.create(true).append(true).open(self.ballast()).expect("a file can be made");
        for size in [1 << 20, 4096] {
            let octets = vec![7; size];
            while ballast.write_all(&octets).is_ok() {}
        }
    }

    /// Gives the room back.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast can be taken away");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(self.folder.path()).status();
        if !done.is_ok_and(|status| status.success()) {
            println!("the small disk at {} could not be unmounted", self.folder.path().display());
        }
    }
}
