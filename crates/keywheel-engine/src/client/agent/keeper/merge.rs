//! What the files say now against what is managed: added, changed, removed; a file that contradicts is refused as a whole.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use jiff::SignedDuration;

use super::{Authority, Keeper, Now, SourceFile};
use crate::client::agent::config::ConfigError;
use crate::client::agent::pairs::{Managed, State};
use crate::client::agent::sources::{Loaded, Scan};
use crate::client::agent::timers::{Slot, Timers};
use crate::client::agent::{Event, Loading};

/// What a scan has changed.
#[derive(Debug, Default)]
pub(in crate::client::agent) struct Applied {
    pub(in crate::client::agent) loading: Loading,
    pub(in crate::client::agent) events: Vec<Event>,
    /// Files that contradict others: they are to be read again when something changes.
    pub(in crate::client::agent) refused: Vec<Arc<Path>>,
}

/// The entries of one file.
type OfFile = (u32, Vec<Loaded>);

impl Keeper {
    /// Takes over what the files say now. A file that is not right keeps what it said before.
    pub(in crate::client::agent) fn apply(&mut self, scan: Scan, now: Now) -> Applied {
        let mut applied = Applied::default();
        if let Some(error) = scan.failed {
            applied.events.push(Event::ConfigBroken { error });
            return applied;
        }
        if let Some(settings) = scan.settings {
            self.settings = settings;
        }
        let mut good: Vec<OfFile> = Vec::new();
        for found in scan.found {
            let file = self.file(&found.file);
            match found.entries {
                Ok(entries) => good.push((file, entries)),
                Err(error) => self.refuse(file, error, &mut applied),
            }
        }
        let gone: HashSet<u32> = scan.gone.iter().map(|path| self.file(path)).collect();
        while let Some((file, error)) = self.contradiction(&good, &gone) {
            good.retain(|(other, _)| *other != file);
            applied.refused.extend(self.files.get(file as usize).map(|file| file.path.clone()));
            self.refuse(file, error, &mut applied);
        }
        for (file, is_there) in good.iter().map(|(file, _)| (file, true)).chain(gone.iter().map(|file| (file, false))) {
            if let Some(file) = self.files.get_mut(*file as usize) {
                (file.error, file.is_there) = (None, is_there);
            }
        }
        self.take_away(&good, &gone, &mut applied);
        self.pairs
            .reserve(good.iter().map(|(_, entries)| entries.len()).sum::<usize>().saturating_sub(self.pairs.len()));
        for (file, entries) in good {
            for entry in entries {
                self.put(entry, file, now, &mut applied);
            }
        }
        applied.loading.files = self.files.iter().filter(|file| file.is_there).count();
        applied.loading.certificates = self.pairs.iter().filter(|(_, managed)| !managed.leaves).count();
        applied
    }

    fn refuse(&mut self, file: u32, error: ConfigError, applied: &mut Applied) {
        if let Some(file) = self.files.get_mut(file as usize) {
            // What was told before is not told at every look.
            if file.error.as_ref() != Some(&error) {
                applied.events.push(Event::ConfigBroken { error: error.clone() });
            }
            file.error = Some(error);
        }
    }

    /// A name or a key that two files claim, or one twice.
    fn contradiction(&self, good: &[OfFile], gone: &HashSet<u32>) -> Option<(u32, ConfigError)> {
        let mut names: HashMap<&str, (u32, usize)> = HashMap::new();
        let mut keys: HashMap<&Path, (u32, usize)> = HashMap::new();
        let refusal = |file: u32, line: usize, what: String, other: u32| {
            let path =
                |file: u32| self.files.get(file as usize).map(|file| file.path.to_path_buf()).unwrap_or_default();
            let message = format!("{what} is already in {}", path(other).display());
            (file, ConfigError { file: path(file), line, message })
        };
        for (file, entries) in good {
            for entry in entries {
                let key = entry.key.as_deref().unwrap_or(&entry.certificate);
                if let Some((other, _)) = names.insert(&entry.name, (*file, entry.line)) {
                    return Some(refusal(*file, entry.line, format!("certificate '{}'", entry.name), other));
                }
                if let Some((other, _)) = keys.insert(key, (*file, entry.line)) {
                    return Some(refusal(*file, entry.line, format!("the key {}", key.display()), other));
                }
            }
        }
        let read_anew: HashSet<u32> = good.iter().map(|(file, _)| *file).collect();
        let stay = self.pairs.iter().map(|(_, managed)| managed);
        for managed in stay.filter(|one| !one.leaves && !gone.contains(&one.file) && !read_anew.contains(&one.file)) {
            if let Some((file, line)) = names.get(&*managed.name) {
                return Some(refusal(*file, *line, format!("certificate '{}'", managed.name), managed.file));
            }
            if let Some((file, line)) = keys.get(managed.key()) {
                return Some(refusal(*file, *line, format!("the key {}", managed.key().display()), managed.file));
            }
        }
        None
    }

    /// Removes what its file does not name any more. What is under way is finished first.
    fn take_away(&mut self, good: &[OfFile], gone: &HashSet<u32>, applied: &mut Applied) {
        let read_anew: HashSet<u32> = good.iter().map(|(file, _)| *file).collect();
        let named: HashSet<&str> = good.iter().flat_map(|(_, entries)| entries).map(|entry| &*entry.name).collect();
        let is_gone = |managed: &Managed| {
            (read_anew.contains(&managed.file) || gone.contains(&managed.file)) && !named.contains(&*managed.name)
        };
        let leaving: Vec<Slot> = self
            .pairs
            .iter()
            .filter(|(_, managed)| !managed.leaves && is_gone(managed))
            .map(|(slot, _)| slot)
            .collect();
        applied.loading.removed = leaving.len();
        for slot in leaving {
            let Some(managed) = self.pairs.get_mut(slot) else { continue };
            if managed.state == State::UnderWay {
                managed.leaves = true;
                self.changed_meanwhile.remove(&slot);
                continue;
            }
            self.leave_queue(slot);
            self.pairs.remove(slot);
        }
    }

    fn put(&mut self, entry: Loaded, file: u32, now: Now, applied: &mut Applied) {
        match self.pairs.find(&entry.name) {
            Some(slot) => {
                let Some(managed) = self.pairs.get_mut(slot) else { return };
                managed.file = file;
                managed.leaves = false;
                if managed.is_as(&entry) {
                    // What else is different about it is found when it is looked at.
                    return;
                }
                applied.loading.changed += 1;
                if managed.state == State::UnderWay {
                    // What is under way is finished as it began.
                    self.changed_meanwhile.insert(slot, entry);
                } else {
                    applied.events.extend(self.change(slot, entry, now));
                }
            }
            None => {
                applied.loading.added += 1;
                let is_begun = entry.facts.as_ref().is_ok_and(|facts| facts.is_begun);
                let authority = self.authority(&entry);
                let slot = self.pairs.insert(Managed::new(entry, file, authority));
                applied.events.extend(self.welcome(slot, is_begun, now));
            }
        }
    }

    /// Takes over what an entry says now of one that is not under way.
    pub(super) fn change(&mut self, slot: Slot, entry: Loaded, now: Now) -> Option<Event> {
        let is_begun = entry.facts.as_ref().is_ok_and(|facts| facts.is_begun);
        let authority = self.authority(&entry);
        self.leave_queue(slot);
        self.pairs.get_mut(slot)?.change(entry, authority);
        self.welcome(slot, is_begun, now)
    }

    /// Sets the first time of one that is new or changed.
    fn welcome(&mut self, slot: Slot, is_begun: bool, now: Now) -> Option<Event> {
        if self.pairs.get(slot)?.is_known {
            self.plan(slot, is_begun, now);
            let managed = self.pairs.get(slot)?;
            return Some(Event::Odd { name: managed.name.clone(), message: managed.error.clone()?.into() });
        }
        let retry_after = SignedDuration::from_secs(10);
        let managed = self.pairs.get_mut(slot)?;
        managed.failures = 1;
        let (name, message) = (managed.name.clone(), managed.error.clone().unwrap_or_default().into());
        self.set_due(slot, now.wall.checked_add(retry_after).unwrap_or(now.wall));
        Some(Event::Unreadable { name, message, retry_after })
    }

    fn leave_queue(&mut self, slot: Slot) {
        let Some(managed) = self.pairs.get_mut(slot).filter(|managed| managed.state == State::Queued) else { return };
        managed.state = State::Waits;
        if let Some(authority) = self.authorities.get_mut(managed.authority as usize) {
            authority.queued = authority.queued.saturating_sub(1);
        }
    }

    fn file(&mut self, path: &Arc<Path>) -> u32 {
        if let Some(index) = self.by_path.get(path) {
            return *index;
        }
        let index = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(SourceFile { path: path.clone(), is_there: true, error: None });
        self.by_path.insert(path.clone(), index);
        index
    }

    fn authority(&mut self, entry: &Loaded) -> u32 {
        let url = &entry.profile.ca_url;
        if let Some(index) = self.by_url.get(url) {
            return *index;
        }
        let index = u32::try_from(self.authorities.len()).unwrap_or(u32::MAX);
        let authority = Authority { url: url.clone(), pace: Default::default(), queue: Timers::default(), queued: 0 };
        self.authorities.push(authority);
        self.by_url.insert(url.clone(), index);
        index
    }
}
