//! Who is due, who goes first, and what follows from how it ended. It knows the time only from what it is told, and starts
//! nothing itself: it says what is to be started.

mod merge;

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keywheel_core::pace::{Ending, Pace, Turn};
use keywheel_core::schedule::{self, Timing};

use super::Event;
use super::config::{ConfigError, Settings};
use super::job::{self, Done, Job};
use super::pairs::{Managed, Pairs, State};
use super::sources::{Facts, Loaded, Look, Stamp};
use super::timers::{Alarm, Slot, Timers};
use crate::client::error::ClientError;
use crate::client::rekey::RekeyOutcome;
use crate::client::{ask, place};

/// A clock that is corrected by less was not set.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// Nobody waits longer for a look at the clock.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Where every place is taken for so long, something hangs.
const WEDGED: Duration = Duration::from_secs(3600);

/// The time by both clocks: the one of the wall, which people set, and one that only goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) wall: Timestamp,
    pub(super) steady: Duration,
}

/// Who certifies for some of them.
#[derive(Debug)]
pub(super) struct Authority {
    pub(super) url: String,
    pub(super) pace: Pace,
    queue: Timers,
    /// How many wait in the queue.
    pub(super) queued: usize,
}

/// A file that says what is managed.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub(super) path: Arc<Path>,
    pub(super) is_there: bool,
    /// Why what it says now is not what is done.
    pub(super) error: Option<ConfigError>,
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) rekeyed: u64,
    pub(super) failed: u64,
    pub(super) not_taken: u64,
}

/// What is to be done now.
#[derive(Debug, Default)]
pub(super) struct ToDo {
    pub(super) jobs: Vec<Job>,
    pub(super) looks: Vec<Look>,
    pub(super) events: Vec<Event>,
}

/// All that is managed, and when it is due.
pub(super) struct Keeper {
    pub(super) pairs: Pairs,
    pub(super) authorities: Vec<Authority>,
    by_url: HashMap<String, u32>,
    pub(super) files: Vec<SourceFile>,
    by_path: HashMap<Arc<Path>, u32>,
    /// What the files say anew of those that are under way.
    changed_meanwhile: HashMap<Slot, Loaded>,
    pub(super) settings: Settings,
    pub(super) counts: Counts,
    /// Since when each one is under way.
    pub(super) under_way: HashMap<Slot, Duration>,
    timers: Timers,
    by_hand: VecDeque<Slot>,
    tickets: u32,
    clock: Option<Now>,
    /// When the pace of an authority lets the next one start.
    may_start: Option<Duration>,
    first_authority: usize,
    looked: Duration,
    next_look: Slot,
    output_to_stderr: bool,
    chance: fn() -> u64,
}

impl Keeper {
    pub(super) fn new(output_to_stderr: bool, chance: fn() -> u64) -> Self {
        Self {
            pairs: Pairs::default(),
            authorities: Vec::new(),
            by_url: HashMap::new(),
            files: Vec::new(),
            by_path: HashMap::new(),
            changed_meanwhile: HashMap::new(),
            settings: Settings::default(),
            counts: Counts::default(),
            under_way: HashMap::new(),
            timers: Timers::default(),
            by_hand: VecDeque::new(),
            tickets: 0,
            clock: None,
            may_start: None,
            first_authority: 0,
            looked: Duration::ZERO,
            next_look: 0,
            output_to_stderr,
            chance,
        }
    }

    /// What is to be started and looked at now.
    pub(super) fn tick(&mut self, now: Now) -> ToDo {
        let mut to_do = ToDo::default();
        self.heed_clock(now);
        while let Some(alarm) =
            self.timers.pop(now.wall.as_millisecond(), |alarm| self.pairs.counts(alarm, State::Waits))
        {
            match self.pairs.get(alarm.slot) {
                Some(managed) if managed.is_known => self.enqueue(alarm.slot),
                // It could not be read so far: perhaps it can be by now.
                Some(managed) => {
                    to_do.looks.push(look(alarm.slot, managed, Stamp::default()));
                    self.set_due(alarm.slot, schedule::next_retry(now.wall, Timestamp::MAX, 9, (self.chance)()));
                }
                None => {}
            }
        }
        self.start(now, &mut to_do.jobs);
        self.look_around(now, &mut to_do);
        let pairs = &self.pairs;
        self.timers.tidy(pairs.len(), |alarm| pairs.counts(alarm, State::Waits));
        to_do
    }

    /// How long nothing needs to be done, unless something happens.
    pub(super) fn sleep(&mut self, now: Now) -> Duration {
        let first = self.timers.first(|alarm| self.pairs.counts(alarm, State::Waits));
        let until_due = first.map_or(LONGEST_SLEEP, |alarm| {
            let left = alarm.at.saturating_sub(now.wall.as_millisecond()).max(0);
            Duration::from_millis(u64::try_from(left).unwrap_or_default())
        });
        let until_start = self.may_start.map_or(LONGEST_SLEEP, |at| at.saturating_sub(now.steady));
        let until_look = (self.looked + self.look_step()).saturating_sub(now.steady);
        until_due.min(until_start).min(until_look).min(LONGEST_SLEEP)
    }

    /// One that was started has ended.
    pub(super) fn ended(&mut self, done: Done, now: Now) -> Vec<Event> {
        let Done { slot, outcome, facts } = done;
        self.under_way.remove(&slot);
        let Some(managed) = self.pairs.get_mut(slot) else { return Vec::new() };
        let ending = job::ending(&outcome);
        managed.is_unanswered = matches!(ending, Ending::Silent | Ending::Busy(_));
        let (name, leaves, authority) = (managed.name.clone(), managed.leaves, managed.authority);
        self.authority_answered(authority, ending, now);
        let events = match outcome {
            Ok(RekeyOutcome::Done(report)) => {
                self.counts.rekeyed += 1;
                let next = self.succeeded(slot, facts, now);
                vec![Event::Rekeyed { name, report, next }]
            }
            Ok(RekeyOutcome::NotYet { .. }) => {
                let next = self.succeeded(slot, facts, now);
                vec![Event::FilesChanged { name, next }]
            }
            Err(error @ ClientError::NotTaken { .. }) => {
                self.counts.rekeyed += 1;
                self.counts.not_taken += 1;
                let told = place::with_causes(&error);
                let next = self.succeeded(slot, facts, now);
                if let Some(managed) = self.pairs.get_mut(slot) {
                    managed.error = Some(told.into());
                }
                vec![Event::NotTaken { name, error, next }]
            }
            Err(error) => self.failed(slot, name, error, facts, now),
        };
        let entry = self.changed_meanwhile.remove(&slot);
        if leaves {
            self.pairs.remove(slot);
        } else if let Some(entry) = entry {
            self.change(slot, entry, now);
        }
        events
    }

    /// The task of one ended without a word: a fault of ours.
    pub(super) fn crashed(&mut self, slot: Slot, now: Now) -> Vec<Event> {
        let facts = Err("the replacement ended in a fault".to_owned());
        let outcome = Err(ClientError::Mint("the replacement ended in a fault of this program".into()));
        self.ended(Done { slot, outcome, facts }, now)
    }

    /// One was looked at.
    pub(super) fn looked_at(&mut self, look: &Look, facts: Result<Facts, String>, now: Now) -> Option<Event> {
        let chance = (self.chance)();
        let managed = self.pairs.get_mut(look.slot).filter(|managed| Arc::ptr_eq(&managed.name, &look.name))?;
        if managed.state == State::UnderWay || managed.leaves {
            return None;
        }
        let name = managed.name.clone();
        match facts {
            Ok(facts) if managed.is_known && managed.seen == facts.stamp => None,
            Ok(facts) => {
                managed.learn(&facts);
                managed.failures = 0;
                managed.error = None;
                let next = self.plan(look.slot, facts.is_begun, now);
                Some(Event::FilesChanged { name, next })
            }
            // What was good is kept: somebody may be in the middle of writing.
            Err(_) if managed.is_known => None,
            Err(message) => {
                managed.failures = managed.failures.saturating_add(1);
                managed.error = Some(message.clone().into());
                let retry = schedule::next_retry(now.wall, Timestamp::MAX, managed.failures, chance);
                self.set_due(look.slot, retry);
                Some(Event::Unreadable { name, message, retry_after: retry.duration_since(now.wall) })
            }
        }
    }

    /// Replaces one now, whatever its time and the pace. Nothing if there is no such certificate.
    pub(super) fn rekey_now(&mut self, name: &str) -> Option<Slot> {
        let slot = self.pairs.find(name)?;
        let managed = self.pairs.get(slot).filter(|managed| !managed.leaves)?;
        if managed.state != State::UnderWay && !self.by_hand.contains(&slot) {
            self.by_hand.push_back(slot);
        }
        Some(slot)
    }

    /// Whether every place has been taken for so long that it cannot be right.
    pub(super) fn is_wedged(&self, now: Now) -> bool {
        self.under_way.len() >= self.settings.at_once as usize
            && self.under_way.values().all(|since| now.steady.saturating_sub(*since) > WEDGED)
    }

    /// Its time has come: it waits for the authority's pace now.
    fn enqueue(&mut self, slot: Slot) {
        let ticket = self.ticket();
        let Some(managed) = self.pairs.get_mut(slot) else { return };
        (managed.state, managed.ticket) = (State::Queued, ticket);
        let (alarm, authority) = (managed.urgency(slot), managed.authority);
        if let Some(authority) = self.authorities.get_mut(authority as usize) {
            authority.queue.set(alarm);
            authority.queued += 1;
        }
    }

    fn start(&mut self, now: Now, jobs: &mut Vec<Job>) {
        self.may_start = None;
        let at_once = self.settings.at_once.max(1) as usize;
        while self.under_way.len() < at_once
            && let Some(slot) = self.by_hand.pop_front()
        {
            if self.pairs.get(slot).is_some_and(|managed| managed.state != State::UnderWay) {
                jobs.extend(self.begin(slot, now));
            }
        }
        let count = self.authorities.len();
        // Each time another one goes first: where places are few, none has them all.
        self.first_authority = (self.first_authority + 1) % count.max(1);
        let first = self.first_authority;
        for index in (0..count).map(|index| (index + first) % count) {
            while self.under_way.len() < at_once {
                match self.next_of(index, now) {
                    Some((slot, Turn::Now)) => jobs.extend(self.begin(slot, now)),
                    Some((_, Turn::At(at))) => {
                        self.may_start = Some(self.may_start.map_or(at, |earlier| earlier.min(at)));
                        break;
                    }
                    // The end of another one wakes us.
                    Some((_, Turn::WhenOneEnds)) | None => break,
                }
            }
        }
    }

    /// The most urgent one that waits for an authority, and whether it may start.
    fn next_of(&mut self, index: usize, now: Now) -> Option<(Slot, Turn)> {
        let (pairs, limits) = (&self.pairs, self.settings.limits);
        let authority = self.authorities.get_mut(index)?;
        let alarm = authority.queue.first(|alarm| pairs.counts(alarm, State::Queued))?;
        let end = pairs.get(alarm.slot)?.not_after();
        let cannot_wait = authority.pace.quiet_until(now.steady).is_some_and(|until| {
            let pause = SignedDuration::try_from(until.saturating_sub(now.steady)).unwrap_or(SignedDuration::MAX);
            end > now.wall && end.duration_since(now.wall) <= pause
        });
        Some((alarm.slot, authority.pace.turn(now.steady, limits, cannot_wait)))
    }

    fn begin(&mut self, slot: Slot, now: Now) -> Option<Job> {
        let ticket = self.ticket();
        let managed = self.pairs.get_mut(slot)?;
        let authority = self.authorities.get_mut(managed.authority as usize)?;
        if managed.state == State::Queued {
            authority.queued = authority.queued.saturating_sub(1);
        }
        authority.pace.begin(now.steady, self.settings.limits);
        (managed.state, managed.ticket) = (State::UnderWay, ticket);
        self.under_way.insert(slot, now.steady);
        Some(Job {
            slot,
            certificate: managed.certificate.to_path_buf(),
            key: managed.key().to_owned(),
            profile: managed.profile.clone(),
            output_to_stderr: self.output_to_stderr,
        })
    }

    fn authority_answered(&mut self, index: u32, ending: Ending, now: Now) {
        let chance = (self.chance)();
        let Some(authority) = self.authorities.get_mut(index as usize) else { return };
        let is_back = authority.pace.is_away() && ending == Ending::Answered;
        authority.pace.end(now.steady, ending, chance);
        if !is_back {
            return;
        }
        // Those that failed only since it was away need not wait for their own next try.
        let waiting = self.pairs.iter().filter(|(_, managed)| {
            managed.authority == index && managed.is_unanswered && managed.state == State::Waits && managed.is_known
        });
        let waiting: Vec<Slot> = waiting.map(|(slot, _)| slot).collect();
        for slot in waiting {
            self.set_due(slot, now.wall);
        }
    }

    fn succeeded(&mut self, slot: Slot, facts: Result<Facts, String>, now: Now) -> Timestamp {
        if let Some(managed) = self.pairs.get_mut(slot) {
            managed.succeeded(now.wall);
            match facts {
                Ok(facts) => managed.learn(&facts),
                Err(error) => managed.error = Some(error.into()),
            }
        }
        self.plan(slot, false, now)
    }

    fn failed(
        &mut self,
        slot: Slot,
        name: Arc<str>,
        error: ClientError,
        facts: Result<Facts, String>,
        now: Now,
    ) -> Vec<Event> {
        self.counts.failed += 1;
        let chance = (self.chance)();
        let Some(managed) = self.pairs.get_mut(slot) else { return Vec::new() };
        managed.failures = managed.failures.saturating_add(1);
        managed.error = Some(place::with_causes(&error).into());
        if let Ok(facts) = facts {
            let expiry_told = managed.expiry_told;
            managed.learn(&facts);
            managed.expiry_told = expiry_told;
        }
        let end = if managed.is_known { managed.not_after() } else { Timestamp::MAX };
        let mut due = schedule::next_retry(now.wall, end, managed.failures, chance);
        if let Some(pause) = ask::wanted_pause(&error) {
            due = schedule::after_pause(now.wall, end, due, pause);
        }
        let attempt = managed.failures;
        let mut events = Vec::new();
        if end < now.wall && !managed.expiry_told {
            managed.expiry_told = true;
            events.push(Event::Expired { name: name.clone(), not_after: end });
        }
        self.set_due(slot, due);
        let retry_after = due.duration_since(now.wall).max(SignedDuration::ZERO);
        events.push(Event::Failed { name, error, attempt, retry_after });
        events
    }

    /// Sets the next time of one whose certificate is known; now, where an earlier run left something to go on with.
    fn plan(&mut self, slot: Slot, is_begun: bool, now: Now) -> Timestamp {
        let chance = (self.chance)();
        let Some(managed) = self.pairs.get_mut(slot) else { return Timestamp::MAX };
        let due = if is_begun { now.wall } else { wanted(managed, now, chance) };
        self.set_due(slot, due);
        due
    }

    fn set_due(&mut self, slot: Slot, due: Timestamp) {
        let ticket = self.ticket();
        let Some(managed) = self.pairs.get_mut(slot) else { return };
        if managed.state == State::Queued
            && let Some(authority) = self.authorities.get_mut(managed.authority as usize)
        {
            authority.queued = authority.queued.saturating_sub(1);
        }
        (managed.state, managed.ticket, managed.due) = (State::Waits, ticket, due.as_millisecond());
        self.timers.set(Alarm { at: managed.due, slot, ticket });
    }

    fn ticket(&mut self) -> u32 {
        self.tickets = self.tickets.wrapping_add(1);
        self.tickets
    }

    /// What was planned by a clock that was ahead is planned anew once it was set back.
    fn heed_clock(&mut self, now: Now) {
        let Some(before) = self.clock.replace(now) else { return };
        let passed = SignedDuration::try_from(now.steady.saturating_sub(before.steady)).unwrap_or_default();
        if now.wall.duration_since(before.wall).saturating_sub(passed) >= -CLOCK_TOLERANCE {
            return;
        }
        let waiting: Vec<Slot> =
            self.pairs.iter().filter(|(_, managed)| managed.state == State::Waits).map(|(slot, _)| slot).collect();
        for slot in waiting {
            let chance = (self.chance)();
            let Some(managed) = self.pairs.get_mut(slot) else { continue };
            managed.expiry_told &= managed.not_after() < now.wall;
            let due = if managed.failures > 0 || !managed.is_known {
                let end = if managed.is_known { managed.not_after() } else { Timestamp::MAX };
                managed.due_at().min(schedule::next_retry(now.wall, end, managed.failures, chance))
            } else {
                wanted(managed, now, chance)
            };
            self.set_due(slot, due);
        }
    }

    /// A part of the certificates is looked at each time, so that all were within the time of a rescan.
    fn look_around(&mut self, now: Now, to_do: &mut ToDo) {
        let step = self.look_step();
        if now.steady < self.looked + step {
            return;
        }
        self.looked = now.steady;
        let end = self.pairs.end();
        let share = step.as_secs_f64() / self.settings.rescan.as_secs_f64().max(1.0);
        let count = ((f64::from(end) * share).ceil() as Slot).min(end);
        for _ in 0..count {
            let slot = self.next_look % end.max(1);
            self.next_look = (slot + 1) % end.max(1);
            let Some(managed) = self.pairs.get_mut(slot) else { continue };
            if !managed.is_known || managed.state != State::Waits {
                continue;
            }
            if managed.not_after() < now.wall && !managed.expiry_told {
                managed.expiry_told = true;
                to_do.events.push(Event::Expired { name: managed.name.clone(), not_after: managed.not_after() });
            }
            to_do.looks.push(look(slot, managed, managed.seen));
        }
    }

    fn look_step(&self) -> Duration {
        (self.settings.rescan / 20).clamp(Duration::from_millis(500), LONGEST_SLEEP)
    }
}

/// When one is due by its certificate.
fn wanted(managed: &mut Managed, now: Now, chance: u64) -> Timestamp {
    let (validity, profile) = (managed.validity(), managed.profile.clone());
    let timing = match profile.impossible_time(validity.length()) {
        // Better too often than too late; what is wrong is told.
        Some(message) => {
            managed.error = Some(format!("{message}; two thirds of it are waited for instead").into());
            Timing::LastThird
        }
        None => profile.timing(),
    };
    schedule::next_of_many(now.wall, validity, timing, profile.jitter, managed.last_success(), chance)
}

fn look(slot: Slot, managed: &Managed, seen: Stamp) -> Look {
    Look {
        slot,
        name: managed.name.clone(),
        certificate: managed.certificate.to_path_buf(),
        key: managed.key().to_owned(),
        seen,
    }
}

#[cfg(test)]
mod tests;
