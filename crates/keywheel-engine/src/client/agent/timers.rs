//! When each of many is due: a heap of small marks, the newest mark of each counts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The number of a place among the managed certificates.
pub(super) type Slot = u32;

/// One alarm: when it goes off, for whom, and which of several for the same one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Alarm {
    /// Milliseconds since 1970, or whatever else orders them.
    pub(super) at: i64,
    pub(super) slot: Slot,
    pub(super) ticket: u32,
}

/// Alarms, the earliest first. One that was replaced stays until it comes up, and is passed over then.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<Alarm>>);

impl Timers {
    pub(super) fn set(&mut self, alarm: Alarm) {
        self.0.push(Reverse(alarm));
    }

    /// The earliest alarm that still counts.
    pub(super) fn first(&mut self, counts: impl Fn(&Alarm) -> bool) -> Option<Alarm> {
        while let Some(Reverse(alarm)) = self.0.peek() {
            if counts(alarm) {
                return Some(*alarm);
            }
            self.0.pop();
        }
        None
    }

    /// Takes the earliest alarm that still counts, if it is not after `at`.
    pub(super) fn pop(&mut self, at: i64, counts: impl Fn(&Alarm) -> bool) -> Option<Alarm> {
        let alarm = self.first(counts).filter(|alarm| alarm.at <= at)?;
        self.0.pop();
        Some(alarm)
    }

    /// Forgets what does not count any more, once that is most of it.
    pub(super) fn tidy(&mut self, live: usize, counts: impl Fn(&Alarm) -> bool) {
        if self.0.len() > 2 * live + 64 {
            self.0.retain(|Reverse(alarm)| counts(alarm));
            self.0.shrink_to(live + live / 8);
        }
    }

    /// How many alarms are kept, replaced ones among them.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_go_off_in_order_each_once_and_only_by_its_newest_mark(
            steps in proptest::collection::vec((0_u32..20, 0_i64..1000, any::<bool>()), 1..400),
        ) {
            let mut timers = Timers::default();
            let mut newest: BTreeMap<Slot, (u32, i64)> = BTreeMap::new();
            let mut tickets = 0;
            for (slot, at, takes) in steps {
                if takes {
                    let current = newest.clone();
                    let counts = |alarm: &Alarm| current.get(&alarm.slot) == Some(&(alarm.ticket, alarm.at));
                    let taken = timers.pop(at, counts);
                    let expected = newest.iter().map(|(slot, (ticket, at))| (*at, *slot, *ticket)).min();
                    let expected = expected.filter(|(due, ..)| *due <= at);
                    prop_assert_eq!(taken.map(|alarm| (alarm.at, alarm.slot, alarm.ticket)), expected);
                    if let Some(alarm) = taken {
                        newest.remove(&alarm.slot);
                    }
                } else {
                    tickets += 1;
                    newest.insert(slot, (tickets, at));
                    timers.set(Alarm { at, slot, ticket: tickets });
                }
                let current = newest.clone();
                timers.tidy(newest.len(), |alarm| current.get(&alarm.slot) == Some(&(alarm.ticket, alarm.at)));
                prop_assert!(timers.len() <= 2 * newest.len() + 64 && timers.len() >= newest.len());
            }
        }
    }
}
