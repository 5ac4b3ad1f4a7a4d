//! Replacing one file: the new content is durable under another name before a rename makes it the file.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

/// Private by default: who wants others to read a file says so once, and the mode is kept from then on.
pub const PRIVATE: u32 = 0o600;

/// Symbolic links that follow one another; the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Labels of security modules and access lists are kept; both are lost by a plain rename.
const KEPT_ATTRIBUTES: [&str; 2] = ["security.selinux", ACCESS_LIST];

const ACCESS_LIST: &str = "system.posix_acl_access";

/// No label and no access list is longer.
const MAX_ATTRIBUTE: usize = 64 * 1024;

/// A file that can be replaced, links followed, with what must be kept of the old one.
#[derive(Debug, Clone)]
pub struct Target {
    named: PathBuf,
    real: PathBuf,
    directory: PathBuf,
    exists: bool,
    kept: Kept,
}

/// New content, durable beside its target, not yet visible under its name.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    target: Target,
    committed: bool,
}

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The name cannot be a file.
    #[error("{} {what}", .path.display())]
    NotAFile {
        /// The name.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The operating system said no.
    #[error("cannot {operation} {}", .path.display())]
    Os {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file does not hold what was written.
    #[error("{} does not read back as it was written", .path.display())]
    ReadBack {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Debug, Clone)]
struct Kept {
    mode: u32,
    owner: Option<(u32, u32)>,
    attributes: Vec<(&'static str, Vec<u8>)>,
}

impl Target {
    /// Follows links and finds out what the file is; a new one will get `mode`. Nothing is written.
    pub fn resolve(named: &Path, mode: u32) -> Result<Self, WriteError> {
        let real = follow_links(named)?;
        let directory = match real.parent() {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_owned(),
            None => return Err(WriteError::NotAFile { path: named.to_owned(), what: "is a directory" }),
        };
        // One name for one file, however it was spelled: "a/../b" and "b" are the same target.
        let directory = directory.canonicalize().map_err(os("find the directory", &directory))?;
        let Some(name) = real.file_name() else {
            return Err(WriteError::NotAFile { path: named.to_owned(), what: "is a directory" });
        };
        Self::at(named, directory.join(name), directory, mode)
    }

    /// A link of ours that stays a link: what is kept is that of the file behind it.
    pub(super) fn behind_link(named: &Path, link: PathBuf, directory: PathBuf) -> Result<Self, WriteError> {
        Self::at(named, link, directory, PRIVATE)
    }

    fn at(named: &Path, real: PathBuf, directory: PathBuf, mode: u32) -> Result<Self, WriteError> {
        let (exists, kept) = match std::fs::metadata(&real) {
            Ok(found) if found.is_dir() => {
                return Err(WriteError::NotAFile { path: named.to_owned(), what: "is a directory" });
            }
            Ok(found) if !found.is_file() => {
                return Err(WriteError::NotAFile { path: named.to_owned(), what: "is not a regular file" });
            }
            Ok(found) => (true, keep(&real, &found)?),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                (false, Kept { mode, owner: None, attributes: Vec::new() })
            }
            Err(error) => return Err(os("look at", &real)(error)),
        };
        Ok(Self { named: named.to_owned(), real, directory, exists, kept })
    }

    /// The name that the caller used.
    pub fn named(&self) -> &Path {
        &self.named
    }

    /// The file behind all links.
    pub fn real(&self) -> &Path {
        &self.real
    }

    /// The directory of the file.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether there is a file that would be replaced.
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// The permissions that the file has and will keep.
    pub fn mode(&self) -> u32 {
        self.kept.mode
    }

    /// Rehearses everything but the rename with `size` octets: room, quota, permissions, owner and label.
    pub fn rehearse(&self, size: usize) -> Result<(), WriteError> {
        self.check_rename()?;
        let rehearsal = self.directory.join(self.beside(".rehearsal"));
        self.stage_at(&rehearsal, &vec![b'\n'; size])?;
        // Dropping what was staged removes it.
        Ok(())
    }

    /// Makes the new content durable beside the target.
    pub fn stage(&self, content: &[u8]) -> Result<Staged, WriteError> {
        self.stage_at(&self.staging_path(), content)
    }

    /// Replaces the file: the new content is durable when this returns.
    pub fn replace(&self, content: &[u8]) -> Result<(), WriteError> {
        self.stage(content)?.commit()
    }

    /// Where new content waits; the name is fixed so that what a crash leaves is found and removed.
    pub fn staging_path(&self) -> PathBuf {
        self.directory.join(self.beside(".new"))
    }

    /// Writes another file, with the mode, owner and labels of this one.
    pub(super) fn write_as(&self, other: &Self, content: &[u8]) -> Result<(), WriteError> {
        let other = Self { kept: self.kept.clone(), ..other.clone() };
        other.replace(content)
    }

    /// Puts a link in the place of the file, which is gone then; a reader sees the one or the other.
    pub(super) fn replace_by_link(&self, to: &Path) -> Result<(), WriteError> {
        self.check_rename()?;
        let staging = self.staging_path();
        remove_if_there(&staging)?;
        let staged = Staged { path: staging.clone(), target: self.clone(), committed: false };
        std::os::unix::fs::symlink(to, &staging).map_err(os("create", &staging))?;
        staged.commit()
    }

    /// Removes what a crash left beside the target.
    pub fn sweep(&self) -> Result<(), WriteError> {
        for suffix in [".new", ".rehearsal"] {
            remove_if_there(&self.directory.join(self.beside(suffix)))?;
        }
        Ok(())
    }

    fn beside(&self, suffix: &str) -> OsString {
        let mut name = OsString::from(".");
        name.push(self.real.file_name().unwrap_or_default());
        name.push(".keywheel");
        name.push(suffix);
        name
    }

    fn stage_at(&self, path: &Path, content: &[u8]) -> Result<Staged, WriteError> {
        remove_if_there(path)?;
        let staged = Staged { path: path.to_owned(), target: self.clone(), committed: false };
        self.write_at(path, content)?;
        Ok(staged)
    }

    /// Writes a new file with all that is kept of this one; durable but for its name.
    pub(super) fn write_at(&self, path: &Path, content: &[u8]) -> Result<(), WriteError> {
        // Never through a link that somebody else put there, and never readable for others before it is finished.
        let mut file = OpenOptions::new()
            .write(true)
            .read(true)
            .create_new(true)
            .mode(PRIVATE)
            .open(path)
            .map_err(os("create", path))?;
        file.write_all(content).map_err(os("write", path))?;
        self.kept.apply(&file, path)?;
        file.sync_all().map_err(os("make durable", path))
    }

    fn check_rename(&self) -> Result<(), WriteError> {
        if !self.exists {
            return Ok(());
        }
        if is_mount_point(&self.real) {
            let what = "is a mount point of its own: it cannot be replaced (mount its directory instead)";
            return Err(WriteError::NotAFile { path: self.named.clone(), what });
        }
        // In a sticky directory only the owner of a file may replace it.
        let directory = std::fs::metadata(&self.directory).map_err(os("look at", &self.directory))?;
        let me = rustix::process::geteuid();
        let owner = self.kept.owner.map(|(user, _)| user);
        let mine = owner == Some(me.as_raw()) || directory.uid() == me.as_raw() || me.is_root();
        if directory.mode() & 0o1000 != 0 && !mine {
            let what = "belongs to another user in a directory where only owners may replace files";
            return Err(WriteError::NotAFile { path: self.named.clone(), what });
        }
        Ok(())
    }
}

impl Staged {
    /// Makes the new content the file, durably.
    pub fn commit(self) -> Result<(), WriteError> {
        let directory = self.target.directory.clone();
        self.show()?;
        sync_directory(&directory)
    }

    /// Makes the new content the file; it is for the caller to make the name durable.
    pub(super) fn show(mut self) -> Result<(), WriteError> {
        std::fs::rename(&self.path, &self.target.real).map_err(os("replace", &self.target.real))?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.committed {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Writes a file of our own (not one that others configured): private, durable, read back.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), WriteError> {
    Target::resolve(path, PRIVATE)?.replace(content)?;
    let mut found = Zeroizing::new(Vec::with_capacity(content.len() + 1));
    File::open(path).and_then(|mut file| file.read_to_end(&mut found)).map_err(os("read back", path))?;
    if *found == content {
        return Ok(());
    }
    Err(WriteError::ReadBack { path: path.to_owned() })
}

/// Makes the names in a directory durable.
pub fn sync_directory(directory: &Path) -> Result<(), WriteError> {
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(os("make durable", directory))
}

/// Removes a file; that it is not there is fine.
pub fn remove_if_there(path: &Path) -> Result<(), WriteError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(os("remove", path)(error)),
        _ => Ok(()),
    }
}

impl Kept {
    fn apply(&self, file: &File, path: &Path) -> Result<(), WriteError> {
        if let Some((user, group)) = self.owner {
            let found = file.metadata().map_err(os("look at", path))?;
            if (found.uid(), found.gid()) != (user, group) {
                rustix::fs::fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
                    .map_err(|error| os("keep the owner of", path)(error.into()))?;
            }
        }
        // What the directory gives to new files of its own accord the old one did not have: it would let others read a key.
        if self.owner.is_some() && !self.attributes.iter().any(|(name, _)| *name == ACCESS_LIST) {
            match rustix::fs::fremovexattr(file, ACCESS_LIST) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(error) => return Err(os("keep the access list of", path)(error.into())),
            }
        }
        for (name, value) in &self.attributes {
            rustix::fs::fsetxattr(file, *name, value, XattrFlags::empty())
                .map_err(|error| os("keep the security label or access list of", path)(error.into()))?;
        }
        // Last: an access list has a say in the mode, and a change of owner clears bits of it.
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))
            .map_err(|error| os("keep the mode of", path)(error.into()))
    }
}

fn keep(path: &Path, found: &Metadata) -> Result<Kept, WriteError> {
    let mut attributes = Vec::new();
    for name in KEPT_ATTRIBUTES {
        let mut value = vec![0; MAX_ATTRIBUTE];
        match rustix::fs::getxattr(path, name, &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                attributes.push((name, value));
            }
            // The file has none, or its file system knows none, or reading them is not for us: then nothing is lost.
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::ACCESS | Errno::PERM) => {}
            Err(error) => return Err(os("read the security label of", path)(error.into())),
        }
    }
    let mode = found.permissions().mode() & 0o7777;
    Ok(Kept { mode, owner: Some((found.uid(), found.gid())), attributes })
}

fn follow_links(named: &Path) -> Result<PathBuf, WriteError> {
    let mut path = named.to_owned();
    for _ in 0..MAX_LINKS {
        match std::fs::read_link(&path) {
            // A relative link starts at the directory of the link. It may point to a file that is still to be made.
            Ok(next) => path = path.parent().map_or_else(|| next.clone(), |parent| parent.join(&next)),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => return Ok(path),
            Err(error) => return Err(os("follow", &path)(error)),
        }
    }
    Err(os("follow", named)(Errno::LOOP.into()))
}

fn is_mount_point(path: &Path) -> bool {
    let Ok(table) = std::fs::read_to_string("/proc/self/mountinfo") else { return false };
    // Blanks and the like stand in the table as octal escapes.
    let escaped = path
        .to_string_lossy()
        .replace('\\', "\\134")
        .replace(' ', "\\040")
        .replace('\t', "\\011")
        .replace('\n', "\\012");
    table.lines().any(|line| line.split(' ').nth(4) == Some(escaped.as_str()))
}

fn os(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> WriteError {
    let path = path.to_owned();
    move |source| WriteError::Os { operation, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_file_is_private_and_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("svc.key");
        Target::resolve(&path, PRIVATE).unwrap().replace(b"secret").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"secret");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(scratch.path()), ["svc.key"]);
    }

    #[test]
    fn mode_and_owner_of_the_old_file_are_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("svc.key");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let root = rustix::process::geteuid().is_root();
        if root {
            std::os::unix::fs::chown(&path, Some(1234), Some(4321)).unwrap();
        }
        Target::resolve(&path, PRIVATE).unwrap().replace(b"new").unwrap();
        assert_eq!(mode(&path), 0o644);
        let found = std::fs::metadata(&path).unwrap();
        if root {
            assert_eq!((found.uid(), found.gid()), (1234, 4321));
        }
    }

    #[test]
    fn an_access_list_is_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("svc.key");
        std::fs::write(&path, "old").unwrap();
        // Version 2: user rw, user 77 r, group none, mask r, other none.
        let entry = |tag: u16, rights: u16, id: u32| {
            let mut bytes = tag.to_le_bytes().to_vec();
            bytes.extend(rights.to_le_bytes());
            bytes.extend(id.to_le_bytes());
            bytes
        };
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, rights, id) in [(1, 6, u32::MAX), (2, 4, 77), (4, 0, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
        {
            list.extend(entry(tag, rights, id));
        }
        let name = "system.posix_acl_access";
        if rustix::fs::setxattr(&path, name, &list, XattrFlags::empty()) == Err(Errno::OPNOTSUPP) {
            return;
        }
        Target::resolve(&path, PRIVATE).unwrap().replace(b"new").unwrap();
        let mut found = vec![0; 1024];
        let length = rustix::fs::getxattr(&path, name, &mut found[..]).unwrap();
        assert_eq!(&found[..length], list);
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn what_a_directory_lets_others_read_by_default_opens_no_file_that_was_closed_to_them() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("svc.key");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        // Version 2: user rwx, user 77 r, group rx, mask rwx, other none.
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, rights, id) in
            [(1_u16, 7_u16, u32::MAX), (2, 4, 77), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 0, u32::MAX)]
        {
            list.extend(tag.to_le_bytes());
            list.extend(rights.to_le_bytes());
            list.extend(id.to_le_bytes());
        }
        let name = "system.posix_acl_default";
        if rustix::fs::setxattr(scratch.path(), name, &list, XattrFlags::empty()) == Err(Errno::OPNOTSUPP) {
            return;
        }
        Target::resolve(&path, PRIVATE).unwrap().replace(b"new").unwrap();
        assert_eq!(rustix::fs::getxattr(&path, ACCESS_LIST, &mut [0_u8; 1024][..]), Err(Errno::NODATA));
        assert_eq!(mode(&path), 0o640);
    }

    #[test]
    fn links_stay_links_and_their_end_is_written() {
        let scratch = tempfile::tempdir().unwrap();
        let (store, live) = (scratch.path().join("store"), scratch.path().join("live"));
        std::fs::create_dir(&store).unwrap();
        std::fs::create_dir(&live).unwrap();
        std::fs::write(store.join("svc.crt"), "old").unwrap();
        symlink("../store/svc.crt", live.join("svc.crt")).unwrap();
        symlink("../store/new.key", live.join("svc.key")).unwrap();
        Target::resolve(&live.join("svc.crt"), PRIVATE).unwrap().replace(b"new").unwrap();
        Target::resolve(&live.join("svc.key"), PRIVATE).unwrap().replace(b"key").unwrap();
        assert!(live.join("svc.crt").is_symlink() && live.join("svc.key").is_symlink());
        assert_eq!(std::fs::read(store.join("svc.crt")).unwrap(), b"new");
        assert_eq!(std::fs::read(store.join("new.key")).unwrap(), b"key");
    }

    #[test]
    fn two_spellings_are_one_target() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir(scratch.path().join("a")).unwrap();
        symlink("b", scratch.path().join("c")).unwrap();
        let real = |name: &str| Target::resolve(&scratch.path().join(name), PRIVATE).unwrap().real().to_owned();
        assert_eq!(real("a/../b"), real("b"));
        assert_eq!(real("c"), real("b"));
        assert_ne!(real("a/b"), real("b"));
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        symlink("loop", scratch.path().join("loop")).unwrap();
        let refused = |path: &Path| Target::resolve(path, PRIVATE).is_err();
        assert!(refused(scratch.path()));
        assert!(refused(Path::new("/")));
        assert!(refused(Path::new("/dev/null")));
        assert!(refused(&scratch.path().join("missing/svc.key")));
        assert!(refused(&scratch.path().join("loop")));
    }

    #[test]
    fn a_rehearsal_leaves_nothing_and_changes_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("svc.key");
        std::fs::write(&path, "old").unwrap();
        Target::resolve(&path, PRIVATE).unwrap().rehearse(10_000).unwrap();
        assert_eq!(names(scratch.path()), ["svc.key"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_rehearsal_fails_where_nothing_can_be_written() {
        // Nobody writes there, not even root.
        let target = Target::resolve(Path::new("/proc/keywheel-test.key"), PRIVATE).unwrap();
        assert!(target.rehearse(1).is_err());
    }

    #[test]
    fn a_full_disk_is_noticed_beforehand() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path().join("small");
        std::fs::create_dir(&at).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "none"])
            .arg(&at)
            .stderr(std::process::Stdio::null())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            // Only root may mount; the crash suite does this in any case.
            return;
        }
        std::fs::write(at.join("svc.key"), "old").unwrap();
        let outcome = Target::resolve(&at.join("svc.key"), PRIVATE).unwrap().rehearse(1 << 20);
        let left = names(&at);
        std::process::Command::new("umount").arg(&at).status().unwrap();
        assert!(outcome.is_err());
        assert_eq!(left, ["svc.key"]);
    }

    #[test]
    fn what_was_staged_and_given_up_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let target = Target::resolve(&scratch.path().join("svc.key"), PRIVATE).unwrap();
        drop(target.stage(b"new").unwrap());
        assert!(names(scratch.path()).is_empty());
    }
}
