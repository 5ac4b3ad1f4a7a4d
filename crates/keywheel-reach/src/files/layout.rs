//! How a certificate and its key lie on disk: two files, two links into a directory of generations, or one file for both.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::combined;
use super::generations::{self, Generations, Link};
use super::pair::{PairError, digest, digest_of_file, read};
use super::write::{PRIVATE, Target, WriteError, remove_if_there, sync_directory};

/// How a certificate and its key lie on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Two files, replaced one after the other; a crash between the two renames is healed by the next start.
    Flat,
    /// Two links into a directory of generations; one rename switches both.
    Generations,
    /// One file that holds the key and the chain; one rename replaces it.
    Combined,
}

/// The places of a certificate and its key, and how they lie.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) certificate: Target,
    pub(super) key: Target,
    pub(super) layout: Layout,
}

impl Layout {
    /// The name that people type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Generations => "generations",
            Self::Combined => "combined",
        }
    }
}

impl Files {
    /// Looks how the two lie. Files that are not there yet lie as is `wanted`, or flat.
    pub(super) fn find(certificate: &Path, key: &Path, wanted: Option<Layout>) -> Result<Self, PairError> {
        let (certificate_link, key_link) = (generations::link(certificate), generations::link(key));
        if let (Some(one), Some(other)) = (&certificate_link, &key_link)
            && one.generations == other.generations
        {
            let (certificate, key) = (behind(certificate, one)?, behind(key, other)?);
            return Ok(Self { certificate, key, layout: Layout::Generations });
        }
        // A conversion was cut off between its two renames: the name that is a link already goes on being one.
        let half = certificate_link.is_some() || key_link.is_some();
        let place = |named: &Path, link: &Option<Link>| match link {
            Some(link) => behind(named, link),
            None => Target::resolve(named, PRIVATE),
        };
        let (certificate, key) = (place(certificate, &certificate_link)?, place(key, &key_link)?);
        if half {
            let files = Self { certificate, key, layout: Layout::Generations };
            files.refuse_another_pair()?;
            return Ok(files);
        }
        if !is_one_file(&certificate, &key) {
            refuse_half_combined(&certificate, &key)?;
            let layout = match wanted {
                Some(Layout::Generations) if !certificate.exists() && !key.exists() => Layout::Generations,
                _ => Layout::Flat,
            };
            return Ok(Self { certificate, key, layout });
        }
        let by_one_name = certificate.named() == key.named();
        let is_wanted = wanted == Some(Layout::Combined);
        let holds_both = certificate.real() == key.real() && key.exists() && combined::holds_both(key.real())?;
        if (is_wanted && certificate.real() == key.real() && (holds_both || !key.exists()))
            || (holds_both && !by_one_name)
        {
            return Ok(Self { certificate, key, layout: Layout::Combined });
        }
        if is_wanted && key.exists() {
            return Err(PairError::NotCombined(key.named().to_owned()));
        }
        Err(PairError::SameFile(key.named().to_owned()))
    }

    /// The directory of generations, whether it is there or not.
    pub(super) fn generations(&self) -> Generations {
        Generations::beside(&self.key)
    }

    /// Changes how the two lie without changing what they hold: at every moment each name shows a pair that matches.
    pub(super) fn convert(&mut self, to: Layout) -> Result<(), PairError> {
        self.check_conversion(to)?;
        match (self.layout, to) {
            // Also finishes what was cut off half-way.
            (_, Layout::Generations) => self.link_to_generations()?,
            (Layout::Generations, Layout::Flat) => self.flatten()?,
            _ => {}
        }
        self.layout = to;
        Ok(())
    }

    /// Whether there is such a conversion for these two.
    pub(super) fn check_conversion(&self, to: Layout) -> Result<(), PairError> {
        match (self.layout, to) {
            (Layout::Flat, Layout::Generations) => self.refuse_narrower_way(),
            (Layout::Generations, Layout::Flat) => Ok(()),
            (from, to) if from == to => Ok(()),
            (from, _) => Err(PairError::OtherConversion { from, to }),
        }
    }

    /// A conversion that was cut off between two renames is finished; the names show what they showed.
    pub(super) fn finish_conversion(&mut self) -> Result<(), PairError> {
        if self.layout == Layout::Generations { self.link_to_generations() } else { Ok(()) }
    }

    /// Makes a new generation and turns both names to it.
    pub(super) fn install_generation(&mut self, key: &[u8], chain: &[u8]) -> Result<(), PairError> {
        let store = self.generations();
        // What an earlier run left half-made, or kept longer than the last one; the current one stays until it is retired.
        store.sweep()?;
        let number = store.add(&self.key, key, &self.certificate, chain)?;
        store.switch(number)?;
        self.link_names()
    }

    /// Puts back what the files held before, told by its digests; nothing where there was no file.
    pub(super) fn put_back(&mut self, key: Option<[u8; 32]>, certificate: Option<[u8; 32]>) -> Result<(), PairError> {
        if self.layout == Layout::Generations && key.is_some() && certificate.is_some() {
            let store = self.generations();
            let is_old = |one: &[u8], other: &[u8]| Some(digest(one)) == key && Some(digest(other)) == certificate;
            let Some(number) = store.find(is_old)? else {
                return Err(PairError::PreviousLost(self.key.named().to_owned()));
            };
            store.switch(number)?;
            return store.sweep();
        }
        let mut before = vec![(&self.key, key)];
        if self.layout != Layout::Combined {
            before.push((&self.certificate, certificate));
        }
        for (target, content) in &before {
            let previous = previous_of(target);
            let is_at_hand = digest_of_file(target.real())? == *content || digest_of_file(&previous)? == *content;
            if !is_at_hand {
                return Err(PairError::PreviousLost(target.named().to_owned()));
            }
        }
        for (target, content) in &before {
            let previous = previous_of(target);
            if digest_of_file(target.real())? == *content {
                continue;
            }
            let moved = match content {
                Some(_) => std::fs::rename(&previous, target.real()),
                // There was no such file; its new content is safe in the journal.
                None => std::fs::remove_file(target.real()),
            };
            let path = target.real().to_owned();
            moved.map_err(|source| WriteError::Os { operation: "put back", path, source })?;
        }
        for (target, _) in before {
            sync_directory(target.directory())?;
        }
        if self.layout == Layout::Generations {
            // No name leads into it any more, and what it held is safe in the journal.
            self.generations().remove()?;
        }
        Ok(())
    }

    /// Removes what was replaced.
    pub(super) fn forget_previous(&self) -> Result<(), PairError> {
        for target in [&self.certificate, &self.key] {
            let previous = previous_of(target);
            if std::fs::symlink_metadata(&previous).is_ok() {
                remove_if_there(&previous)?;
                sync_directory(target.directory())?;
            }
        }
        self.generations().sweep()
    }

    /// Removes what a conversion left that was cut off before or after the names were turned.
    pub(super) fn sweep_generations(&self) -> Result<(), PairError> {
        let store = self.generations();
        store.sweep_removed()?;
        if !store.is_there() {
            return Ok(());
        }
        if self.layout == Layout::Generations {
            return store.sweep_unfinished();
        }
        let current = store.current()?;
        let shown = current.is_some() && self.key.exists() && self.certificate.exists();
        if current.is_none() || (shown && store.shows(&read(self.key.real())?, &read(self.certificate.real())?)?) {
            store.remove()?;
        }
        Ok(())
    }

    fn link_to_generations(&mut self) -> Result<(), PairError> {
        let links = (generations::is_link(self.certificate.real()), generations::is_link(self.key.real()));
        if links == (true, true) {
            return Ok(());
        }
        if !self.certificate.exists() || !self.key.exists() {
            // What is not there yet is linked when it is made.
            return Ok(());
        }
        let store = self.generations();
        let key = read(self.key.real())?;
        let certificate = read(self.certificate.real())?;
        // Where one name is a link already, the generation behind it is the one that both shall show.
        if links == (false, false) || !store.shows(&key, &certificate)? {
            let number = store.add(&self.key, &key, &self.certificate, &certificate)?;
            store.switch(number)?;
        }
        self.link_names()
    }

    /// Makes both names links into the generations; what they show is what the current generation holds.
    pub(super) fn link_names(&mut self) -> Result<(), PairError> {
        let store = self.generations();
        // The certificate first: where there were no files, a lone link of a key is that of a pair with another certificate.
        for (target, file) in [(&self.certificate, generations::CERTIFICATE), (&self.key, generations::KEY)] {
            if !generations::is_link(target.real()) {
                target.replace_by_link(&store.link_from(target.directory(), file))?;
            }
        }
        Ok(())
    }

    /// One name is a link, the other is not: that is a conversion cut off only if both show what the generation holds.
    fn refuse_another_pair(&self) -> Result<(), PairError> {
        let store = self.generations();
        if !self.certificate.exists() {
            // A new certificate for this key elsewhere: a new generation would replace the one that lies beside the key, too.
            return Err(PairError::OfAnotherPair(self.key.named().to_owned()));
        }
        for (target, file) in [(&self.key, generations::KEY), (&self.certificate, generations::CERTIFICATE)] {
            if target.exists() && !store.current_holds(file, &read(target.real())?)? {
                return Err(PairError::OfAnotherPair(target.named().to_owned()));
            }
        }
        Ok(())
    }

    /// The certificate moves to where the key is: who reads it must be able to go there.
    fn refuse_narrower_way(&self) -> Result<(), PairError> {
        let way = |directory: &Path| match std::fs::metadata(directory) {
            Ok(found) => Ok(found.mode() & 0o011),
            Err(source) => Err(PairError::Read { path: directory.to_owned(), source }),
        };
        if way(self.certificate.directory())? & !way(self.key.directory())? != 0 {
            return Err(PairError::NarrowerWay(self.key.directory().to_owned()));
        }
        Ok(())
    }

    fn flatten(&mut self) -> Result<(), PairError> {
        for target in [&self.key, &self.certificate] {
            if generations::is_link(target.real()) {
                let content = read(target.real())?;
                target.replace(&content)?;
            }
        }
        self.generations().remove()?;
        Ok(())
    }
}

/// The name of what is kept of a file until its successor is in use.
///
/// Hidden: programs that read a whole directory, as HAProxy does, must not find a second certificate in it.
pub(super) fn previous_of(target: &Target) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.real().file_name().unwrap_or_default());
    name.push(".previous");
    target.directory().join(name)
}

/// Replaces files by new contents, one rename after the other; what was there is kept as `.previous`.
///
/// All are durable under other names before the first is visible: between the renames nothing can fail for want of room,
/// and almost no time passes. The caller makes the names durable.
pub(super) fn replace(contents: &[(&Target, &Zeroizing<Vec<u8>>)], wanted: bool) -> Result<(), PairError> {
    if !wanted {
        return Ok(());
    }
    let mut staged = Vec::new();
    for (target, content) in contents {
        staged.push(target.stage(content)?);
    }
    for (target, _) in contents {
        if target.exists() {
            keep_previous(target)?;
        }
    }
    for (place, one) in staged.into_iter().enumerate() {
        if let Err(error) = one.show() {
            // One half alone is of no use to anybody.
            take_back(contents.iter().take(place).map(|(target, _)| *target));
            return Err(error.into());
        }
    }
    Ok(())
}

/// Shows the old files again; where even that fails, the next start brings the other half.
fn take_back<'a>(targets: impl Iterator<Item = &'a Target>) {
    for target in targets.filter(|target| target.exists()) {
        if let Err(error) = std::fs::rename(previous_of(target), target.real()) {
            tracing::warn!(%error, file = %target.real().display(), "the old file could not be brought back");
        }
    }
}

/// Keeps the file under its second name; the file itself stays where it is.
fn keep_previous(target: &Target) -> Result<(), PairError> {
    let previous = previous_of(target);
    remove_if_there(&previous)?;
    if std::fs::hard_link(target.real(), &previous).is_err() {
        // Not every file system knows hard links.
        target.write_at(&previous, &read(target.real())?)?;
    }
    Ok(())
}

fn behind(named: &Path, link: &Link) -> Result<Target, WriteError> {
    Target::behind_link(named, link.link.clone(), link.directory.clone())
}

/// Whether two targets are one file, by name or by a hard link.
fn is_one_file(one: &Target, other: &Target) -> bool {
    if one.real() == other.real() {
        return true;
    }
    match (std::fs::metadata(one.real()), std::fs::metadata(other.real())) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// A file that holds both must not be replaced by one of them alone.
fn refuse_half_combined(certificate: &Target, key: &Target) -> Result<(), PairError> {
    for target in [key, certificate] {
        if target.exists() && combined::holds_both(target.real())? {
            return Err(PairError::HalfCombined(target.named().to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
