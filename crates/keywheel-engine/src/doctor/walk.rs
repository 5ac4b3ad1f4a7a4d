//! Goes through folders: bounded, without following links to folders, and opening nothing but regular files.

use std::collections::BTreeSet;
use std::fs::{DirEntry, File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::Note;

/// Folders in folders.
const MAX_DEPTH: usize = 32;
/// Names in all folders together.
const MAX_NAMES: usize = 200_000;
/// No certificate, key or setting is longer.
const MAX_FILE: u64 = 1 << 20;

/// Where the kernel shows itself; there are no keys in it.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];

/// A name that was found.
#[derive(Clone, Debug)]
pub(super) struct Name {
    /// As people should see it.
    pub(super) path: String,
    /// Where it really is.
    pub(super) real: String,
    /// What the link says, where it is one.
    pub(super) link: Option<String>,
    /// Device and inode.
    pub(super) identity: (u64, u64),
    /// Permission bits.
    pub(super) mode: u32,
    /// When it was last written.
    pub(super) modified: Timestamp,
    /// Its size.
    size: u64,
    /// Whether it is a folder that matters by itself.
    pub(super) is_folder: bool,
    /// Whether it is a link that leads nowhere.
    pub(super) is_dangling: bool,
}

/// What is found on the way.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) names: Vec<Name>,
    pub(super) notes: Vec<Note>,
    folders: BTreeSet<(u64, u64)>,
    /// The folders that were named, without links: what lies in them is seen anyway.
    roots: Vec<PathBuf>,
    count: usize,
}

impl Walk {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Everything below a folder, or the one file.
    pub(super) fn below(&mut self, root: &Path) {
        let Some(shown) = self.shown(root) else { return };
        match (std::fs::metadata(root), std::fs::canonicalize(root)) {
            (Ok(metadata), Ok(real)) if metadata.is_dir() => {
                self.roots.push(real.clone());
                self.folder(&shown, &real, &metadata, 0);
            }
            (Ok(_), Ok(_)) => self.file_and_what_is_beside_it(&shown, root),
            (Err(error), _) | (_, Err(error)) => self.note(&shown, &error.to_string()),
        }
    }

    /// What a cut-off replacement of ours leaves stands beside the files that were named.
    fn file_and_what_is_beside_it(&mut self, shown: &str, named: &Path) {
        let Some(name) = named.file_name() else { return };
        // The real folder of a link is the folder in which the link stands.
        let folder = named.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        self.entry(shown.to_owned(), &folder.join(name), 0);
        let (above, name) = shown.rsplit_once('/').map_or(("", shown), |(above, name)| (above, name));
        let above = if shown.contains('/') { format!("{above}/") } else { String::new() };
        for end in [".keywheel", ".keywheel.lock", ".keywheel.new", ".previous"] {
            let beside = format!(".{name}{end}");
            let own = folder.join(&beside);
            if own.symlink_metadata().is_ok() {
                self.entry(format!("{above}{beside}"), &own, 0);
            }
        }
    }

    fn folder(&mut self, shown: &str, real: &Path, metadata: &Metadata, depth: usize) {
        // The same folder may be reached by two names that were given, or by a mount of it into itself.
        if !self.folders.insert((metadata.dev(), metadata.ino()))
            || KERNEL.iter().any(|kernel| real == Path::new(kernel))
        {
            return;
        }
        if depth > MAX_DEPTH {
            return self.note(shown, &format!("there are more than {MAX_DEPTH} folders above it"));
        }
        let entries = match std::fs::read_dir(real) {
            Ok(entries) => entries,
            Err(error) => return self.note(shown, &error.to_string()),
        };
        let mut entries: Vec<DirEntry> = entries.filter_map(|entry| self.listed(shown, entry)).collect();
        entries.sort_by_key(DirEntry::file_name);
        for entry in entries {
            self.count += 1;
            if self.count == MAX_NAMES {
                self.note(shown, &format!("here and after it nothing more was examined, after {MAX_NAMES} names"));
            }
            if self.count >= MAX_NAMES {
                return;
            }
            let name = entry.file_name();
            let path = match shown {
                "." => PathBuf::from(&name),
                _ => Path::new(shown).join(&name),
            };
            if let Some(path) = self.shown(&path) {
                self.entry(path, &real.join(&name), depth);
            }
        }
    }

    fn listed(&mut self, shown: &str, entry: std::io::Result<DirEntry>) -> Option<DirEntry> {
        entry.map_err(|error| self.note(shown, &error.to_string())).ok()
    }

    fn entry(&mut self, shown: String, own: &Path, depth: usize) {
        let metadata = match std::fs::symlink_metadata(own) {
            Ok(metadata) => metadata,
            // It went away meanwhile, as temporary files do.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return self.note(&shown, &error.to_string()),
        };
        if metadata.is_dir() {
            let name = shown.rsplit('/').next().unwrap_or_default();
            let put_aside = name.contains(".keywheel.aside-") || name.ends_with(".broken");
            if put_aside || (name.starts_with('.') && name.ends_with(".keywheel")) {
                self.names.push(Name { is_folder: true, ..Name::new(shown.clone(), own, &metadata) });
            }
            if !put_aside {
                self.folder(&shown, own, &metadata, depth + 1);
            }
        } else if metadata.is_symlink() {
            self.link(shown, own, &metadata);
        } else if metadata.is_file() {
            self.names.push(Name::new(shown, own, &metadata));
        }
    }

    fn link(&mut self, shown: String, own: &Path, metadata: &Metadata) {
        let to = match std::fs::read_link(own) {
            Ok(to) => to,
            Err(error) => return self.note(&shown, &error.to_string()),
        };
        let link = Some(to.to_string_lossy().into_owned());
        match (std::fs::metadata(own), std::fs::canonicalize(own)) {
            (Ok(target), Ok(real)) if target.is_dir() => {
                if !self.roots.iter().any(|root| real.starts_with(root)) {
                    self.note(
                        &shown,
                        "a link to a folder outside, which is not followed; name that folder to have it examined",
                    );
                }
            }
            (Ok(target), Ok(real)) if target.is_file() => match real.to_str() {
                Some(_) => self.names.push(Name { link, ..Name::new(shown, &real, &target) }),
                None => self.note(&shown, "it leads to a name that is not text"),
            },
            // Devices and pipes are opened by nobody here.
            (Ok(_), Ok(_)) => {}
            (Err(error), _) | (_, Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                self.names.push(Name { link, is_dangling: true, ..Name::new(shown, own, metadata) });
            }
            (Err(error), _) | (_, Err(error)) => self.note(&shown, &error.to_string()),
        }
    }

    /// The path as text that can be shown and pasted.
    fn shown(&mut self, path: &Path) -> Option<String> {
        let text = path.to_str().filter(|text| !text.chars().any(char::is_control));
        if text.is_none() {
            let name = path.to_string_lossy().escape_debug().to_string();
            self.notes.push(Note { path: name, reason: "the name is not plain text".to_owned() });
        }
        let text = text.map(|text| text.trim_start_matches("./"))?;
        let text = if text.len() > 1 { text.trim_end_matches('/') } else { text };
        Some(if text.is_empty() { ".".to_owned() } else { text.to_owned() })
    }

    fn note(&mut self, path: &str, reason: &str) {
        self.notes.push(Note { path: path.to_owned(), reason: reason.to_owned() });
    }
}

impl Name {
    fn new(path: String, real: &Path, metadata: &Metadata) -> Self {
        let modified = Timestamp::new(metadata.mtime(), i32::try_from(metadata.mtime_nsec()).unwrap_or_default());
        Self {
            path,
            real: real.to_string_lossy().into_owned(),
            link: None,
            identity: (metadata.dev(), metadata.ino()),
            mode: metadata.mode() & 0o7777,
            modified: modified.unwrap_or(Timestamp::UNIX_EPOCH),
            size: metadata.size(),
            is_folder: false,
            is_dangling: false,
        }
    }

    /// A file of this name.
    #[cfg(test)]
    pub(super) fn for_test(path: &str) -> Self {
        let metadata = std::fs::symlink_metadata("/").unwrap();
        Self::new(path.to_owned(), Path::new(path), &metadata)
    }

    /// The last part of the path.
    pub(super) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The last part of the name, after a point.
    pub(super) fn extension(&self) -> Option<&str> {
        self.file_name().trim_start_matches('.').rsplit_once('.').map(|(_, extension)| extension)
    }

    /// Whether it may hold a certificate, a key or a setting.
    fn is_of_interest(&self) -> bool {
        const ENDS: &str = "pem crt cer cert der key json conf toml yml yaml caddyfile chain fullchain bundle private \
            bak tmp temp new next previous rehearsal orig old save 0";
        self.extension().is_none_or(|extension| {
            let extension = extension.to_ascii_lowercase();
            // `svc.key-2026`, `svc.crt~`
            let stem = extension.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or_default();
            stem.is_empty() || ENDS.split(' ').any(|end| end == stem)
        })
    }
}

/// What a file holds, if it may matter; what cannot be read is noted.
pub(super) fn read(name: &Name, notes: &mut Vec<Note>) -> Option<Zeroizing<Vec<u8>>> {
    if !name.is_of_interest() {
        return None;
    }
    if name.size > MAX_FILE {
        if super::content::is_pair_name(name.file_name()) {
            notes.push(Note { path: name.path.clone(), reason: format!("it is larger than {MAX_FILE} octets") });
        }
        return None;
    }
    read_regular(Path::new(&name.real))
        .map_err(|error| notes.push(Note { path: name.path.clone(), reason: error.to_string() }))
        .ok()
}

/// The content of a regular file, and of nothing else: whatever was put in its place meanwhile is not waited for.
pub(super) fn read_regular(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).map_err(std::io::Error::other)?;
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(std::io::Error::other("it is no regular file of a usual size"));
    }
    // One allocation of the full size: a buffer that grows would leave copies of a private key behind.
    let room = usize::try_from(metadata.len()).map_err(std::io::Error::other)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room + 1));
    file.take(metadata.len()).read_to_end(&mut bytes)?;
    Ok(bytes)
}
