//! When which subscriber is handed everything once more.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::cache::{Partition, SubscriberId};
use crate::digest::mix;
use crate::probe::canary;
use crate::time::Timestamp;

/// The shortest period.
const TICK: Duration = Duration::from_millis(1);

/// A timetable for each subscriber that wants redeliveries. It follows the time alone: whoever does
/// not take one in time moves nothing, and is told once of what was due twice.
///
/// Its jitter is drawn apart from that of the attempts, so that subscribers have no influence on
/// these (P10), and from nothing that depends on who else subscribes.
#[derive(Clone, Debug)]
pub(crate) struct Redeliveries {
    seed: u64,
    wanted: BTreeMap<SubscriberId, Timetable>,
    due: BTreeSet<(Timestamp, SubscriberId)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Timetable {
    pub(super) period: Duration,
    /// `None`: the clock has come to its end.
    pub(super) next: Option<Timestamp>,
    /// What the next wait is drawn from.
    pub(super) random: u64,
}

impl Timetable {
    fn advance(&mut self, now: Timestamp) {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let tenth = self.period / 10;
        // In thousandths: exact enough, and free of overflow.
        let early = tenth / 1_000 * u32::try_from(mix(self.random) % 1_001).unwrap_or(0);
        let next = now.saturating_add(self.period.saturating_sub(early).max(TICK));
        self.next = Some(next).filter(|next| *next > now);
    }
}

impl Redeliveries {
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            seed,
            wanted: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// A subscriber wants everything once more on a period, from now on.
    pub(crate) fn begin(
        &mut self,
        id: SubscriberId,
        period: Duration,
        partition: Option<Partition>,
        now: Timestamp,
    ) {
        // Workers that begin together need not all work at the same time.
        let worker = partition.map_or(0, Partition::index);
        let mut timetable = Timetable {
            period,
            next: None,
            random: self.seed ^ mix(u64::from(worker)),
        };
        timetable.advance(now);
        self.due.extend(timetable.next.map(|next| (next, id)));
        self.wanted.insert(id, timetable);
    }

    pub(crate) fn end(&mut self, id: SubscriberId) {
        let next = self.wanted.remove(&id).and_then(|timetable| timetable.next);
        if let Some(next) = next {
            self.due.remove(&(next, id));
        }
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Whose are due. What was due several times over is due once.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Vec<SubscriberId> {
        let mut due = Vec::new();
        while let Some((at, id)) = self.due.pop_first() {
            if at > now {
                self.due.insert((at, id));
                break;
            }
            due.push(id);
        }
        for id in due.iter().filter(|_| !canary!(RedeliverOnce)) {
            if let Some(timetable) = self.wanted.get_mut(id) {
                timetable.advance(now);
                self.due.extend(timetable.next.map(|next| (next, *id)));
            }
        }
        due
    }

    /// Whose timetable is how far, in ascending order.
    #[cfg(feature = "simulated")]
    pub(super) fn wanted(&self) -> impl Iterator<Item = (SubscriberId, Timetable)> {
        self.wanted.iter().map(|(id, timetable)| (*id, *timetable))
    }
}
