//! Files that commands read and write: limited when read, whole or not at all when written.

use std::io::Read;
use std::path::Path;

use keywheel_reach::files::write::Target;

use crate::failure::{Classed, Failure, Outcome};

/// The largest file of certificates, keys or requests that is read.
const LIMIT: u64 = 1 << 20;

/// Whether others may read a file that is new.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Secrecy {
    /// Only the owner (0600).
    Private,
    /// Everybody (0644).
    Public,
}

/// The content of a file, or of stdin where it is named `-`.
pub(crate) fn read(path: &Path) -> Outcome<Vec<u8>> {
    let doing = || format!("read {}", path.display());
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(LIMIT + 1).read_to_end(&mut bytes).or_usage(doing)?;
    } else {
        let file = std::fs::File::open(path).or_usage(doing)?;
        file.take(LIMIT + 1).read_to_end(&mut bytes).or_usage(doing)?;
    }
    if bytes.len() as u64 > LIMIT {
        return Err(Failure::usage(format!("{} is larger than {LIMIT} octets", path.display())));
    }
    Ok(bytes)
}

/// Replaces a file: others see the old content or the new one. Mode and owner of an existing file stay.
pub(crate) fn replace(path: &Path, content: &[u8], secrecy: Secrecy) -> Outcome<()> {
    let mode = match secrecy {
        Secrecy::Private => 0o600,
        Secrecy::Public => 0o644,
    };
    Target::resolve(path, mode)
        .and_then(|target| target.replace(content))
        .or_failed(|| format!("write {}", path.display()))
}

/// Makes a folder, and those above it, that only the owner may enter.
pub(crate) fn make_private_folder(folder: &Path) -> Outcome<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .or_failed(|| format!("make the folder {}", folder.display()))
}
