//! The managed certificates in little memory: what many have in common is kept once, certificates and keys not at all.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use keywheel_core::validity::Validity;

use super::config::Profile;
use super::sources::{Facts, Loaded, Stamp};
use super::timers::{Alarm, Slot};

/// One managed certificate.
#[derive(Debug)]
pub(super) struct Managed {
    pub(super) name: Arc<str>,
    pub(super) certificate: Box<Path>,
    key: Option<Box<Path>>,
    pub(super) profile: Arc<Profile>,
    /// The file that says so.
    pub(super) file: u32,
    /// Who certifies.
    pub(super) authority: u32,
    not_before: i64,
    not_after: i64,
    /// Milliseconds since 1970.
    pub(super) due: i64,
    /// Seconds since 1970; the least of all for never.
    last_success: i64,
    pub(super) seen: Stamp,
    pub(super) failures: u32,
    pub(super) ticket: u32,
    pub(super) state: State,
    /// Whether the certificate could be read; until then its times mean nothing.
    pub(super) is_known: bool,
    /// Whether the last failure was that the authority did not answer.
    pub(super) is_unanswered: bool,
    pub(super) expiry_told: bool,
    /// It is to go as soon as what is under way has ended.
    pub(super) leaves: bool,
    pub(super) error: Option<Box<str>>,
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its time has not come.
    Waits,
    /// It is due, others go first.
    Queued,
    /// It is being replaced.
    UnderWay,
}

/// All of them, found by slot or by name.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    slots: Vec<Option<Managed>>,
    free: Vec<Slot>,
    names: HashMap<Arc<str>, Slot>,
}

impl Managed {
    pub(super) fn new(loaded: Loaded, file: u32, authority: u32) -> Self {
        let mut managed = Self {
            name: loaded.name,
            certificate: loaded.certificate,
            key: loaded.key,
            profile: loaded.profile,
            file,
            authority,
            not_before: 0,
            not_after: 0,
            due: i64::MAX,
            last_success: i64::MIN,
            seen: Stamp::default(),
            failures: 0,
            ticket: 0,
            state: State::Waits,
            is_known: false,
            is_unanswered: false,
            expiry_told: false,
            leaves: false,
            error: None,
        };
        match loaded.facts {
            Ok(facts) => managed.learn(&facts),
            Err(error) => managed.error = Some(error),
        }
        managed
    }

    pub(super) fn key(&self) -> &Path {
        self.key.as_deref().unwrap_or(&self.certificate)
    }

    /// Whether an entry says the same as before.
    pub(super) fn is_as(&self, loaded: &Loaded) -> bool {
        self.certificate == loaded.certificate && self.key == loaded.key && self.profile == loaded.profile
    }

    /// Takes over what an entry says now; what is known of the certificate is learned anew.
    pub(super) fn change(&mut self, loaded: Loaded, authority: u32) {
        (self.certificate, self.key, self.profile) = (loaded.certificate, loaded.key, loaded.profile);
        self.authority = authority;
        self.failures = 0;
        self.error = None;
        self.is_unanswered = false;
        match loaded.facts {
            Ok(facts) => self.learn(&facts),
            Err(error) => {
                self.is_known = false;
                self.error = Some(error);
            }
        }
    }

    /// Takes over what a certificate says.
    pub(super) fn learn(&mut self, facts: &Facts) {
        self.not_before = facts.validity.not_before.as_second();
        self.not_after = facts.validity.not_after.as_second();
        self.seen = facts.stamp;
        self.is_known = true;
        self.expiry_told = false;
    }

    pub(super) fn validity(&self) -> Validity {
        Validity { not_before: moment(self.not_before), not_after: moment(self.not_after) }
    }

    pub(super) fn not_after(&self) -> Timestamp {
        moment(self.not_after)
    }

    pub(super) fn last_success(&self) -> Option<Timestamp> {
        (self.last_success != i64::MIN).then(|| moment(self.last_success))
    }

    pub(super) fn succeeded(&mut self, now: Timestamp) {
        self.last_success = now.as_second();
        self.failures = 0;
        self.error = None;
        self.is_unanswered = false;
    }

    pub(super) fn due_at(&self) -> Timestamp {
        Timestamp::from_millisecond(self.due).unwrap_or(Timestamp::MAX)
    }

    /// In the order of a queue the certificate that ends first goes first.
    pub(super) fn urgency(&self, slot: Slot) -> Alarm {
        Alarm { at: self.not_after, slot, ticket: self.ticket }
    }
}

fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

impl Pairs {
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// One more than the highest slot.
    pub(super) fn end(&self) -> Slot {
        Slot::try_from(self.slots.len()).unwrap_or(Slot::MAX)
    }

    pub(super) fn reserve(&mut self, more: usize) {
        let needed = more.saturating_sub(self.free.len());
        self.slots.reserve_exact(needed);
        self.names.reserve(more);
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Managed> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Managed> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn find(&self, name: &str) -> Option<Slot> {
        self.names.get(name).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Managed)> {
        (0..).zip(&self.slots).filter_map(|(slot, managed)| Some((slot, managed.as_ref()?)))
    }

    pub(super) fn insert(&mut self, managed: Managed) -> Slot {
        let name = managed.name.clone();
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(place) = self.slots.get_mut(slot as usize) {
                    *place = Some(managed);
                }
                slot
            }
            None => {
                self.slots.push(Some(managed));
                self.end() - 1
            }
        };
        self.names.insert(name, slot);
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        if let Some(managed) = self.slots.get_mut(slot as usize).and_then(Option::take) {
            self.names.remove(&managed.name);
            self.free.push(slot);
        }
    }

    /// Whether an alarm is the newest one of its certificate.
    pub(super) fn counts(&self, alarm: &Alarm, state: State) -> bool {
        self.get(alarm.slot).is_some_and(|managed| managed.ticket == alarm.ticket && managed.state == state)
    }
}
