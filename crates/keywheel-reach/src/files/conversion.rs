//! From two files to one and back, under the same two names: at every moment each name shows a part of a pair that matches.

use std::path::{Path, PathBuf};

use super::combined;
use super::layout::Layout;
use super::pair::{Pair, PairError, Recovered, read};
use super::write::{PRIVATE, Target, WriteError, remove_if_there, sync_directory};

/// Puts key and chain into one file; the two names become links to it.
///
/// A conversion that was cut off is gone on with. A file that holds something else is not overwritten.
pub fn combine(certificate: &Path, key: &Path, file: &Path) -> Result<(), PairError> {
    let target = Target::resolve(file, PRIVATE)?;
    let done = |name: &Path| -> Result<bool, PairError> { Ok(Target::resolve(name, PRIVATE)?.real() == target.real()) };
    if [certificate, key].iter().any(|name| same_name(name, &target)) {
        return Err(PairError::SameFile(file.to_owned()));
    }
    if !(done(key)? || done(certificate)?) {
        let pair = settled(certificate, key)?;
        let content = combined::join(&read(pair.key().real())?, &read(pair.certificate().real())?, b"");
        match target.exists() {
            true if *read(target.real())? != *content => return Err(PairError::Exists(file.to_owned())),
            true => {}
            // Who may read the key may read the file that holds it.
            false => pair.key().write_as(&target, &content)?,
        }
        for name in [pair.key(), pair.certificate()] {
            name.replace_by_link(&link_from(name.directory(), &target))?;
        }
        return pair.forget_generations();
    }
    // The file is whole, since it is linked already: what the other name shows must be in it.
    let (in_key, in_chain) = combined::split(&read(target.real())?);
    for (name, part) in [(key, &*in_key), (certificate, &in_chain)] {
        if done(name)? {
            continue;
        }
        let name = Target::resolve(name, PRIVATE)?;
        if name.exists() && *read(name.real())? != **part {
            return Err(PairError::Exists(name.named().to_owned()));
        }
        name.replace_by_link(&link_from(name.directory(), &target))?;
    }
    Ok(())
}

/// Takes key and chain out of one file into two under these names, which are links to it or not there; the file goes.
pub fn separate(certificate: &Path, key: &Path, file: &Path) -> Result<(), PairError> {
    let source = Target::resolve(file, PRIVATE)?;
    if [certificate, key].iter().any(|name| same_name(name, &source)) {
        return Err(PairError::SameFile(file.to_owned()));
    }
    if !source.exists() || !combined::holds_both(source.real())? {
        return Err(PairError::NotCombined(file.to_owned()));
    }
    let pair = Pair::open(file, file, Some(Layout::Combined))?;
    nothing_pending(&pair)?;
    let (in_key, in_chain) = combined::split(&read(source.real())?);
    for (name, part) in [(key, &*in_key), (certificate, &in_chain)] {
        let target = Target::resolve(name, PRIVATE)?;
        if target.real() == source.real() {
            // The link itself is replaced; mode and owner are those of the file behind it.
            own_name(name)?.replace(part)?;
        } else if !target.exists() {
            source.write_as(&target, part)?;
        } else if *read(target.real())? != *part {
            return Err(PairError::Exists(name.to_owned()));
        }
    }
    // Nobody's name leads to it any more, and a key that lies about twice leaks twice as easily.
    remove_if_there(source.real())?;
    Ok(sync_directory(source.directory())?)
}

/// The file that both names lead to, where they do.
pub fn combined_file(certificate: &Path, key: &Path) -> Option<PathBuf> {
    let (certificate, key) = (Target::resolve(certificate, PRIVATE).ok()?, Target::resolve(key, PRIVATE).ok()?);
    (key.exists() && certificate.real() == key.real()).then(|| key.real().to_owned())
}

/// The pair, with nothing begun: a journal says what the files will hold, and that must not change under it.
fn settled(certificate: &Path, key: &Path) -> Result<Pair, PairError> {
    let pair = Pair::open(certificate, key, None)?;
    nothing_pending(&pair)?;
    for target in [pair.key(), pair.certificate()] {
        if !target.exists() {
            return Err(PairError::Read {
                path: target.named().to_owned(),
                source: std::io::ErrorKind::NotFound.into(),
            });
        }
    }
    Ok(pair)
}

fn nothing_pending(pair: &Pair) -> Result<(), PairError> {
    match pair.recover()? {
        Recovered::Nothing | Recovered::Undone => Ok(()),
        _ => Err(PairError::Begun(pair.place().to_owned())),
    }
}

/// The name itself, whatever it leads to.
fn own_name(name: &Path) -> Result<Target, WriteError> {
    let parent = name.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let os = |source| WriteError::Os { operation: "find the directory", path: parent.to_owned(), source };
    let directory = parent.canonicalize().map_err(os)?;
    let link = directory.join(name.file_name().unwrap_or_default());
    Target::behind_link(name, link, directory)
}

/// Whether the name is that of the file, rather than a link to it.
fn same_name(name: &Path, file: &Target) -> bool {
    let is_link = std::fs::symlink_metadata(name).is_ok_and(|found| found.is_symlink());
    !is_link && Target::resolve(name, PRIVATE).is_ok_and(|name| name.real() == file.real())
}

fn link_from(directory: &Path, file: &Target) -> PathBuf {
    if file.directory() == directory {
        return file.real().file_name().unwrap_or_default().into();
    }
    file.real().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    const CHAIN: &str = "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n";

    struct World {
        scratch: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let world = Self { scratch: tempfile::tempdir().unwrap() };
            std::fs::write(world.path("svc.crt"), CHAIN).unwrap();
            std::fs::write(world.path("svc.key"), KEY).unwrap();
            std::fs::set_permissions(world.path("svc.key"), std::fs::Permissions::from_mode(0o640)).unwrap();
            world
        }

        fn path(&self, name: &str) -> PathBuf {
            self.scratch.path().join(name)
        }

        fn combine(&self) -> Result<(), PairError> {
            combine(&self.path("svc.crt"), &self.path("svc.key"), &self.path("svc.pem"))
        }

        fn separate(&self) -> Result<(), PairError> {
            separate(&self.path("svc.crt"), &self.path("svc.key"), &self.path("svc.pem"))
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(self.scratch.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn two_files_become_one_and_one_becomes_the_same_two_again() {
        let world = World::new();
        world.combine().unwrap();
        assert_eq!(text(&world.path("svc.pem")), format!("{KEY}{CHAIN}"));
        assert_eq!(text(&world.path("svc.crt")), text(&world.path("svc.key")));
        assert_eq!(world.names(), ["svc.crt", "svc.key", "svc.pem"]);
        world.combine().unwrap();
        world.separate().unwrap();
        assert_eq!((text(&world.path("svc.key")), text(&world.path("svc.crt"))), (KEY.to_owned(), CHAIN.to_owned()));
        assert_eq!(std::fs::metadata(world.path("svc.key")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(world.names(), ["svc.crt", "svc.key"]);
    }

    #[test]
    fn a_conversion_that_was_cut_off_is_gone_on_with_in_both_directions() {
        let world = World::new();
        std::fs::write(world.path("svc.pem"), format!("{KEY}{CHAIN}")).unwrap();
        world.combine().unwrap();
        // Back, cut off after the first name.
        std::fs::remove_file(world.path("svc.key")).unwrap();
        std::fs::write(world.path("svc.key"), KEY).unwrap();
        world.separate().unwrap();
        assert_eq!(world.names(), ["svc.crt", "svc.key"]);
        // And there, cut off after the first name.
        std::fs::write(world.path("svc.pem"), format!("{KEY}{CHAIN}")).unwrap();
        std::fs::remove_file(world.path("svc.key")).unwrap();
        std::os::unix::fs::symlink("svc.pem", world.path("svc.key")).unwrap();
        let half = Pair::open(&world.path("svc.crt"), &world.path("svc.key"), None);
        assert!(matches!(half, Err(PairError::HalfCombined(_))));
        world.combine().unwrap();
        assert!(std::fs::symlink_metadata(world.path("svc.crt")).unwrap().is_symlink());
    }

    #[test]
    fn a_file_that_holds_something_else_is_not_overwritten() {
        let world = World::new();
        std::fs::write(world.path("svc.pem"), "something else").unwrap();
        assert!(matches!(world.combine(), Err(PairError::Exists(_))));
        assert!(matches!(world.separate(), Err(PairError::NotCombined(_))));
        assert_eq!(text(&world.path("svc.pem")), "something else");
        assert_eq!(text(&world.path("svc.key")), KEY);
    }

    #[test]
    fn a_pair_in_generations_becomes_one_file_too() {
        let world = World::new();
        let mut pair = Pair::open(&world.path("svc.crt"), &world.path("svc.key"), None).unwrap();
        pair.convert(Layout::Generations).unwrap();
        drop(pair);
        world.combine().unwrap();
        assert_eq!(text(&world.path("svc.crt")), format!("{KEY}{CHAIN}"));
        assert_eq!(world.names(), ["svc.crt", "svc.key", "svc.pem"]);
    }
}
