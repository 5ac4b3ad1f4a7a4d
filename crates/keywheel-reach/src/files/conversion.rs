//! From two files to one and back, under the same two names: at every moment each name shows a part of a pair that matches.
//!
//! A mark beside the key says which way a conversion goes and for which file, from before its first change until after its
//! last; whoever opens the pair next goes on with it.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::combined;
use super::generations::Generations;
use super::layout::{Layout, previous_of};
use super::lock::Lock;
use super::pair::{Pair, PairError, Recovered, lock_of, read};
use super::write::{PRIVATE, Target, WriteError, remove_if_there, sync_directory};

/// Symbolic links that follow one another; the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Which way a conversion goes.
#[derive(Clone, Copy)]
enum Way {
    Combining,
    Separating,
}

/// Puts key and chain into one file; the two names become links to it. A file that holds something else is not overwritten.
pub fn combine(certificate: &Path, key: &Path, file: &Path) -> Result<(), PairError> {
    refuse_one_name(certificate, key, file)?;
    let pair = settled(certificate, key)?;
    if pair.layout() == Layout::Combined {
        return Ok(());
    }
    let target = Target::resolve(file, PRIVATE)?;
    if target.exists() {
        return Err(PairError::Exists(file.to_owned()));
    }
    let mark = mark(pair.key(), Way::Combining, &target)?;
    combine_marked(pair.certificate(), pair.key(), &target)?;
    forget_replaced(pair.certificate(), pair.key())?;
    Ok(unmark(pair.key(), &mark)?)
}

/// Takes key and chain out of one file into two under these names, which are links to it or not there; the file goes.
pub fn separate(certificate: &Path, key: &Path, file: &Path) -> Result<(), PairError> {
    refuse_one_name(certificate, key, file)?;
    finish(certificate, key)?;
    let source = Target::resolve(file, PRIVATE)?;
    if !source.exists() || !combined::holds_both(source.real())? {
        return Err(PairError::NotCombined(file.to_owned()));
    }
    if combined::holds_more(source.real())? {
        return Err(PairError::HoldsMore(file.to_owned()));
    }
    let own_key = own_name(key)?;
    let _held = Lock::take(&lock_of(&own_key))?;
    let own_certificate = own_name(certificate)?;
    let mark = mark(&own_key, Way::Separating, &source)?;
    let allowed = Pair::open(file, file, Some(Layout::Combined)).and_then(|pair| {
        nothing_pending(&pair)?;
        refuse_other_content(&own_certificate, &own_key, &source)?;
        Ok(pair)
    });
    let separated = allowed.and_then(|_held| separate_marked(&own_certificate, &own_key, &source));
    // What failed half-way keeps its mark, and is gone on with; what was refused has changed nothing.
    if !matches!(separated, Err(PairError::Write(_))) {
        unmark(&own_key, &mark)?;
    }
    separated
}

/// Goes on with a conversion that was cut off.
pub(super) fn finish(certificate: &Path, key: &Path) -> Result<(), PairError> {
    let (Ok(certificate), Ok(key)) = (own_name(certificate), own_name(key)) else { return Ok(()) };
    for way in [Way::Combining, Way::Separating] {
        let mark = mark_of(&key, way);
        let Ok(file) = std::fs::read_link(&mark) else { continue };
        refuse_mark_of_another(&mark)?;
        let file = Target::resolve(&file, PRIVATE)?;
        let _held = Lock::take(&lock_of(&key))?;
        let also_held = Lock::take(&lock_of(&file))?;
        match way {
            Way::Combining => match combine_marked(&certificate, &key, &file) {
                Ok(()) => forget_replaced(&certificate, &key)?,
                // Somebody else's file has come in the way since: what lies there is judged as it lies.
                Err(PairError::Exists(_)) => {}
                Err(error) => return Err(error),
            },
            // Where somebody else went on meanwhile, what lies there is judged as it lies.
            Way::Separating if refuse_other_content(&certificate, &key, &file).is_err() => {}
            Way::Separating => separate_marked(&certificate, &key, &file)?,
        }
        drop(also_held);
        unmark(&key, &mark)?;
    }
    Ok(())
}

/// Each step is done only where it is not done yet.
fn combine_marked(certificate: &Target, key: &Target, file: &Target) -> Result<(), PairError> {
    if !file.real().exists() {
        // Both names still show what they showed at the beginning.
        let content = combined::join(&read(key.real())?, &read(certificate.real())?, b"");
        // Who may read the key may read the file that holds it.
        key.write_as(file, &content)?;
    }
    let (in_key, in_chain) = combined::split(&read(file.real())?);
    // No name is turned to a file that does not hold what it showed: that may be the only copy of a key.
    for (name, is_key) in [(key, true), (certificate, false)] {
        if leads_to(name, file) || !name.real().exists() {
            continue;
        }
        let (own_key, own_chain) = combined::split(&read(name.real())?);
        let is_in_it = if is_key { own_key == in_key } else { own_chain == in_chain };
        if !is_in_it {
            return Err(PairError::Exists(file.named().to_owned()));
        }
    }
    for name in [key, certificate] {
        if !leads_to(name, file) {
            name.replace_by_link(&link_from(name.directory(), file))?;
        }
    }
    Ok(())
}

/// The same the other way.
fn separate_marked(certificate: &Target, key: &Target, file: &Target) -> Result<(), PairError> {
    if !file.real().exists() {
        return Ok(());
    }
    let (in_key, in_chain) = combined::split(&read(file.real())?);
    for (name, part) in [(key, &*in_key), (certificate, &in_chain)] {
        if leads_to(name, file) {
            // The link itself is replaced; mode and owner are those of the file behind it.
            name.replace(part)?;
        } else if !name.real().exists() {
            file.write_as(name, part)?;
        }
    }
    // Nobody's name leads to it any more, and a key that lies about twice leaks twice as easily.
    remove_if_there(file.real())?;
    remove_if_there(&previous_of(file))?;
    Ok(sync_directory(file.directory())?)
}

/// Removes what was kept beside the two names: nobody looks for a key there any more.
fn forget_replaced(certificate: &Target, key: &Target) -> Result<(), PairError> {
    for name in [certificate, key] {
        remove_if_there(&previous_of(name))?;
    }
    Generations::beside(key).remove()
}

/// A name that is no link to the file must hold its part of it already, or nothing.
fn refuse_other_content(certificate: &Target, key: &Target, file: &Target) -> Result<(), PairError> {
    if !file.real().exists() {
        return Ok(());
    }
    let (in_key, in_chain) = combined::split(&read(file.real())?);
    for (name, part) in [(key, &*in_key), (certificate, &in_chain)] {
        if !leads_to(name, file) && name.real().exists() && *read(name.real())? != *part {
            return Err(PairError::Exists(name.named().to_owned()));
        }
    }
    Ok(())
}

fn mark_of(key: &Target, way: Way) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(key.real().file_name().unwrap_or_default());
    name.push(match way {
        Way::Combining => ".keywheel.combining",
        Way::Separating => ".keywheel.separating",
    });
    key.directory().join(name)
}

/// A mark says which files are written and removed: one of another user is none of ours.
fn refuse_mark_of_another(mark: &Path) -> Result<(), PairError> {
    let found = std::fs::symlink_metadata(mark);
    let owner = found.map_err(|source| PairError::Read { path: mark.to_owned(), source })?.uid();
    if owner == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(PairError::OfAnother { place: mark.to_owned(), owner })
}

fn mark(key: &Target, way: Way, file: &Target) -> Result<PathBuf, WriteError> {
    let mark = mark_of(key, way);
    remove_if_there(&mark)?;
    let made = std::os::unix::fs::symlink(file.real(), &mark);
    made.map_err(|source| WriteError::Os { operation: "create", path: mark.clone(), source })?;
    sync_directory(key.directory())?;
    Ok(mark)
}

fn unmark(key: &Target, mark: &Path) -> Result<(), WriteError> {
    remove_if_there(mark)?;
    sync_directory(key.directory())
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

/// The name itself, links of links followed up to the last one: what a conversion turns.
pub(super) fn own_name(name: &Path) -> Result<Target, WriteError> {
    let mut last = name.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(to) = std::fs::read_link(&last) else { break };
        let to = last.parent().map_or_else(|| to.clone(), |parent| parent.join(&to));
        if !std::fs::symlink_metadata(&to).is_ok_and(|found| found.is_symlink()) {
            break;
        }
        last = to;
    }
    if !std::fs::symlink_metadata(&last).is_ok_and(|found| found.is_symlink()) {
        return Target::resolve(name, PRIVATE);
    }
    let parent = last.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let os = |source| WriteError::Os { operation: "find the directory", path: parent.to_owned(), source };
    let directory = parent.canonicalize().map_err(os)?;
    let link = directory.join(last.file_name().unwrap_or_default());
    Target::behind_link(name, link, directory)
}

/// Whether a name is a link to the file now.
fn leads_to(name: &Target, file: &Target) -> bool {
    let is_link = std::fs::symlink_metadata(name.real()).is_ok_and(|found| found.is_symlink());
    is_link && name.real().canonicalize().is_ok_and(|end| end == file.real())
}

fn refuse_one_name(certificate: &Path, key: &Path, file: &Path) -> Result<(), PairError> {
    let target = Target::resolve(file, PRIVATE)?;
    for name in [certificate, key] {
        let is_link = std::fs::symlink_metadata(name).is_ok_and(|found| found.is_symlink());
        if !is_link && Target::resolve(name, PRIVATE)?.real() == target.real() {
            return Err(PairError::SameFile(file.to_owned()));
        }
    }
    Ok(())
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
    fn a_conversion_that_was_cut_off_anywhere_is_finished_by_the_next_start() {
        let both = format!("{KEY}{CHAIN}");
        let plain = |world: &World, name: &str, text: &str| {
            let _ = std::fs::remove_file(world.path(name));
            std::fs::write(world.path(name), text).unwrap();
        };
        let linked = |world: &World, name: &str| {
            let _ = std::fs::remove_file(world.path(name));
            std::os::unix::fs::symlink("svc.pem", world.path(name)).unwrap();
        };
        for (way, names) in
            [("combining", ["svc.crt", "svc.key", "svc.pem"].as_slice()), ("separating", &["svc.crt", "svc.key"])]
        {
            for (key_is_plain, certificate_is_plain, is_file) in [
                (true, true, false),
                (true, true, true),
                (false, true, true),
                (true, false, true),
                (false, false, true),
            ] {
                let world = World::new();
                if is_file {
                    plain(&world, "svc.pem", &both);
                }
                if !key_is_plain {
                    linked(&world, "svc.key");
                }
                if !certificate_is_plain {
                    linked(&world, "svc.crt");
                }
                let mark = world.path(&format!(".svc.key.keywheel.{way}"));
                std::os::unix::fs::symlink(world.path("svc.pem"), mark).unwrap();
                for lock in [".svc.key.keywheel.lock", ".svc.pem.keywheel.lock"] {
                    plain(&world, lock, "");
                }
                let pair = Pair::open(&world.path("svc.crt"), &world.path("svc.key"), None).unwrap();
                let is_combined = way == "combining";
                assert_eq!(pair.layout(), if is_combined { Layout::Combined } else { Layout::Flat });
                let shown = (text(&world.path("svc.key")), text(&world.path("svc.crt")));
                let wanted = if is_combined { (both.clone(), both.clone()) } else { (KEY.into(), CHAIN.into()) };
                assert_eq!(shown, wanted);
                drop(pair);
                assert_eq!(world.names(), names, "{way}, {key_is_plain}, {certificate_is_plain}, {is_file}");
            }
        }
    }

    #[test]
    fn a_file_of_both_beside_another_file_is_refused_where_no_conversion_was_begun() {
        let world = World::new();
        std::fs::write(world.path("svc.key"), format!("{KEY}{CHAIN}")).unwrap();
        let half = Pair::open(&world.path("svc.crt"), &world.path("svc.key"), None);
        assert!(matches!(half, Err(PairError::HalfCombined(_))));
    }

    #[test]
    fn a_separation_that_was_refused_leaves_no_mark() {
        let world = World::new();
        std::fs::write(world.path("svc.pem"), format!("{KEY}{CHAIN}")).unwrap();
        std::fs::write(world.path("svc.crt"), "something else").unwrap();
        std::fs::remove_file(world.path("svc.key")).unwrap();
        assert!(matches!(world.separate(), Err(PairError::Exists(_))));
        assert_eq!(world.names(), ["svc.crt", "svc.pem"]);
        assert_eq!(text(&world.path("svc.crt")), "something else");
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
    fn no_key_stays_behind_under_a_name_that_nobody_looks_for_any_more() {
        let world = World::new();
        std::fs::write(world.path(".svc.key.previous"), KEY).unwrap();
        world.combine().unwrap();
        assert_eq!(world.names(), ["svc.crt", "svc.key", "svc.pem"]);
        std::fs::write(world.path(".svc.pem.previous"), KEY).unwrap();
        world.separate().unwrap();
        assert_eq!(world.names(), ["svc.crt", "svc.key"]);
        // Out of generations, cut off before they were removed.
        Pair::open(&world.path("svc.crt"), &world.path("svc.key"), None).unwrap().convert(Layout::Generations).unwrap();
        std::os::unix::fs::symlink(world.path("svc.pem"), world.path(".svc.key.keywheel.combining")).unwrap();
        Pair::open(&world.path("svc.crt"), &world.path("svc.key"), None).unwrap();
        assert_eq!(world.names(), ["svc.crt", "svc.key", "svc.pem"]);
    }

    #[test]
    fn a_file_that_came_in_the_way_of_a_conversion_replaces_no_key() {
        let world = World::new();
        std::os::unix::fs::symlink(world.path("svc.pem"), world.path(".svc.key.keywheel.combining")).unwrap();
        let other = format!("{}{CHAIN}", KEY.replace("AAAA", "CCCC"));
        std::fs::write(world.path("svc.pem"), &other).unwrap();
        Pair::open(&world.path("svc.crt"), &world.path("svc.key"), None).unwrap();
        assert_eq!((text(&world.path("svc.key")), text(&world.path("svc.pem"))), (KEY.to_owned(), other));
        assert_eq!(world.names(), ["svc.crt", "svc.key", "svc.pem"]);
    }

    #[test]
    fn a_mark_that_another_user_made_moves_nothing() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("only root can make files of another user: not judged");
            return;
        }
        let world = World::new();
        let mark = world.path(".svc.key.keywheel.combining");
        std::os::unix::fs::symlink(world.path("elsewhere.pem"), &mark).unwrap();
        std::os::unix::fs::lchown(&mark, Some(1234), Some(1234)).unwrap();
        let opened = Pair::open(&world.path("svc.crt"), &world.path("svc.key"), None);
        assert!(matches!(opened, Err(PairError::OfAnother { owner: 1234, .. })));
        assert_eq!(text(&world.path("svc.key")), KEY);
        assert!(!world.path("elsewhere.pem").exists());
    }

    #[test]
    fn what_two_files_would_not_hold_is_not_thrown_away() {
        let world = World::new();
        world.combine().unwrap();
        let all = format!("{KEY}{CHAIN}-----BEGIN DH PARAMETERS-----\nEEEE\n-----END DH PARAMETERS-----\n");
        std::fs::write(world.path("svc.pem"), &all).unwrap();
        assert!(matches!(world.separate(), Err(PairError::HoldsMore(_))));
        assert_eq!((text(&world.path("svc.key")), text(&world.path("svc.pem"))), (all.clone(), all));
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
