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
        // The number of each file that was found, and whether what it says is taken over.
        let mut found: Vec<(u32, bool)> = Vec::with_capacity(scan.found.len());
        for (path, read) in scan.found {
            let file = self.file(&path);
            found.push((file, read.is_ok()));
            if let Err(error) = read {
                self.refuse(file, error, &mut applied);
            }
        }
        let gone: HashSet<u32> = scan.gone.iter().map(|path| self.file(path)).collect();
        let mut entries = scan.entries;
        while let Some((source, error)) = self.contradiction(&entries, &found, &gone) {
            entries.retain(|entry| entry.source != source);
            let Some((file, good)) = found.get_mut(source) else { break };
            *good = false;
            let file = *file;
            applied.refused.extend(self.files.get(file as usize).map(|file| file.path.clone()));
            self.refuse(file, error, &mut applied);
        }
        let read_anew: HashSet<u32> = found.iter().filter(|(_, good)| *good).map(|(file, _)| *file).collect();
        for file in read_anew.iter().chain(&gone) {
            if let Some(known) = self.files.get_mut(*file as usize) {
                (known.error, known.is_there) = (None, !gone.contains(file));
            }
        }
        self.take_away(&entries, &read_anew, &gone, &mut applied);
        self.pairs.reserve(entries.len().saturating_sub(self.pairs.len()));
        for entry in entries {
            let file = found.get(entry.source).map_or(u32::MAX, |(file, _)| *file);
            self.put(entry, file, now, &mut applied);
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

    /// A name or a key that two files claim, or one twice: which of the files that were found is refused for it.
    fn contradiction(
        &self,
        entries: &[Loaded],
        found: &[(u32, bool)],
        gone: &HashSet<u32>,
    ) -> Option<(usize, ConfigError)> {
        let mut names: HashMap<&str, &Loaded> = HashMap::with_capacity(entries.len());
        let mut keys: HashMap<&Path, &Loaded> = HashMap::with_capacity(entries.len());
        let path = |file: u32| self.files.get(file as usize).map(|file| file.path.to_path_buf()).unwrap_or_default();
        let number = |entry: &Loaded| found.get(entry.source).map_or(u32::MAX, |(file, _)| *file);
        let refusal = |entry: &Loaded, what: String, other: u32| {
            let message = format!("{what} is already in {}", path(other).display());
            (entry.source, ConfigError { file: path(number(entry)), line: entry.line, message })
        };
        let name_of = |name: &str| format!("certificate '{name}'");
        let key_of = |key: &Path| format!("the key {}", key.display());
        for entry in entries {
            if let Some(other) = names.insert(&entry.name, entry) {
                return Some(refusal(entry, name_of(&entry.name), number(other)));
            }
            if let Some(other) = keys.insert(entry.key(), entry) {
                return Some(refusal(entry, key_of(entry.key()), number(other)));
            }
        }
        let read_anew: HashSet<u32> = found.iter().filter(|(_, good)| *good).map(|(file, _)| *file).collect();
        let stay = self.pairs.iter().map(|(_, managed)| managed);
        for managed in stay.filter(|one| !one.leaves && !gone.contains(&one.file) && !read_anew.contains(&one.file)) {
            if let Some(entry) = names.get(&*managed.name) {
                return Some(refusal(entry, name_of(&managed.name), managed.file));
            }
            if let Some(entry) = keys.get(managed.key()) {
                return Some(refusal(entry, key_of(managed.key()), managed.file));
            }
        }
        None
    }

    /// Removes what its file does not name any more. What is under way is finished first.
    fn take_away(&mut self, entries: &[Loaded], read_anew: &HashSet<u32>, gone: &HashSet<u32>, applied: &mut Applied) {
        let named: HashSet<&str> = entries.iter().map(|entry| &*entry.name).collect();
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
