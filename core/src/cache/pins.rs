//! The positions that subscribers hold, and who pays for what is kept for them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::slab::Slab;

/// What is held at one position of the log.
#[derive(Clone, Default)]
pub(super) struct Pin {
    /// Where in the list the position is: behind everything up to it, before everything later.
    pub(super) gap: u32,
    /// The first of the versions that this pin owns, linked by `next_owned`.
    pub(super) owned: Option<u32>,
    /// The bytes of all versions that it owns.
    pub(super) charge: u128,
}

/// Where a pin was found: with ten thousand sleepers, nobody wants to look for it twice.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) position: u64,
    id: u32,
}

/// The passes under way that end at one position.
#[derive(Clone, Default)]
pub(super) struct PassEnd {
    passes: u32,
    /// The first of the superseded tombstones that are kept for them, linked by `next_owned`.
    /// Nobody is charged with these: who rests at the same position does not need them, and what
    /// they cost is part of what was paid for the values that were deleted.
    tombstones: Option<u32>,
}

/// All positions, by their sequence number. Position 0 covers nothing and is never pinned.
#[derive(Clone)]
pub(super) struct Pins {
    pins: Slab<Pin>,
    /// Where each pin is in the slab. Kept small: with ten thousand sleepers a change looks for the
    /// pin that pays in an index that must fit into the processor's cache.
    index: BTreeMap<u64, u32>,
    /// The first and the last of the index: most changes need no other.
    oldest: Option<Found>,
    newest: u64,
    /// Which subscriber (by its slot) holds which position, as base or as end of its pass. A pin
    /// lives as long as somebody holds it.
    holders: BTreeSet<(u64, u32)>,
    /// The passes under way, by where they end.
    pass_ends: BTreeMap<u64, PassEnd>,
    /// Positions that are still held, but whose pins are gone because they cost too much.
    lapsed: BTreeSet<u64>,
    /// Lists of versions whose pin is gone, to be given to the next pin or freed.
    orphans: Vec<u32>,
}

impl Pins {
    pub(super) const fn new() -> Self {
        Self {
            pins: Slab::new(),
            index: BTreeMap::new(),
            oldest: None,
            newest: 0,
            holders: BTreeSet::new(),
            pass_ends: BTreeMap::new(),
            lapsed: BTreeSet::new(),
            orphans: Vec::new(),
        }
    }

    pub(super) fn get(&self, position: u64) -> Option<&Pin> {
        Some(&self.pins[self.find(position)?])
    }

    pub(super) fn get_mut(&mut self, position: u64) -> Option<&mut Pin> {
        let id = self.find(position)?;
        Some(&mut self.pins[id])
    }

    /// A pin that has just been found.
    pub(super) fn found_mut(&mut self, found: Found) -> &mut Pin {
        &mut self.pins[found.id]
    }

    fn find(&self, position: u64) -> Option<u32> {
        match self.oldest {
            Some(oldest) if oldest.position == position => Some(oldest.id),
            _ => self.index.get(&position).copied(),
        }
    }

    /// The pin at `position`; `gap` gives the gap of a new one.
    pub(super) fn hold(&mut self, position: u64, slot: u32, gap: impl FnOnce() -> u32) {
        if position > 0 {
            self.holders.insert((position, slot));
            let Self { pins, index, .. } = self;
            let id = *index.entry(position).or_insert_with(|| {
                pins.insert(Pin {
                    gap: gap(),
                    owned: None,
                    charge: 0,
                })
            });
            // Who holds a position begins at the tail, so none is before the oldest.
            self.oldest.get_or_insert(Found { position, id });
            self.newest = position;
        }
    }

    /// One holder less. The last one ends the pin: its gap is to be left.
    pub(super) fn release(&mut self, position: u64, slot: u32) -> Option<u32> {
        self.holders.remove(&(position, slot));
        if self.holder(position).is_some() {
            return None;
        }
        self.lapsed.remove(&position);
        self.end(position)
    }

    /// Ends a pin that costs too much, although it is held. Its gap is to be left.
    pub(super) fn lapse(&mut self, position: u64) -> Option<u32> {
        let gap = self.end(position)?;
        self.lapsed.insert(position);
        Some(gap)
    }

    fn end(&mut self, position: u64) -> Option<u32> {
        let id = self.index.remove(&position)?;
        if self.oldest.is_some_and(|oldest| oldest.id == id) {
            self.oldest = self.index.first_key_value().map(found);
        }
        if self.newest == position {
            let last = self.index.last_key_value();
            self.newest = last.map_or(0, |(position, _)| *position);
        }
        let pin = self.pins.remove(id);
        self.orphans.extend(pin.owned);
        Some(pin.gap)
    }

    fn holder(&self, position: u64) -> Option<u32> {
        let (_, slot) = self
            .holders
            .range((position, 0)..=(position, u32::MAX))
            .next()?;
        Some(*slot)
    }

    /// Whether a position is held without a pin that protects it.
    pub(super) fn has_lapsed(&self, position: u64) -> bool {
        !self.lapsed.is_empty() && self.lapsed.contains(&position)
    }

    /// Some subscriber whose position has lapsed.
    pub(super) fn lapsed_holder(&self) -> Option<u32> {
        self.holder(*self.lapsed.first()?)
    }

    /// The oldest pin that covers a version in force in `[seq, until)`: the slowest subscriber
    /// pays, and a quick one moves nothing.
    pub(super) fn oldest_covering(&self, seq: u64, until: u64) -> Option<Found> {
        let oldest = self.oldest?;
        let first = if seq <= oldest.position {
            oldest
        } else if seq > self.newest {
            return None;
        } else {
            found(self.index.range(seq..).next()?)
        };
        (first.position < until).then_some(first)
    }

    /// The oldest end of a pass under way that covers a tombstone in force in `[seq, until)`.
    pub(super) fn oldest_pass_covering(&self, seq: u64, until: u64) -> Option<u64> {
        let mut ends = self.pass_ends.range(seq..until).map(|(end, _)| *end);
        ends.next()
    }

    /// Keeps a superseded tombstone for the passes that end at `end`. Returns the one to be linked
    /// behind it.
    pub(super) fn keep_tombstone(&mut self, end: u64, old: u32) -> Option<u32> {
        self.pass_ends.get_mut(&end)?.tombstones.replace(old)
    }

    pub(super) fn begin_pass(&mut self, end: u64) {
        self.pass_ends.entry(end).or_default().passes += 1;
    }

    pub(super) fn end_pass(&mut self, end: u64) {
        if let Some(pass_end) = self.pass_ends.get_mut(&end) {
            pass_end.passes -= 1;
            if pass_end.passes == 0 {
                self.orphans.extend(pass_end.tombstones);
                self.pass_ends.remove(&end);
            }
        }
    }

    /// Whether a pass under way may still want to come by what is in force since `seq`.
    pub(super) fn pass_reaches(&self, seq: u64) -> bool {
        self.pass_ends
            .last_key_value()
            .is_some_and(|(end, _)| *end >= seq)
    }

    /// Takes one orphan, if there is any. `next_owned` tells the one linked behind it.
    pub(super) fn pop_orphan(
        &mut self,
        next_owned: impl FnOnce(u32) -> Option<u32>,
    ) -> Option<u32> {
        let head = self.orphans.last_mut()?;
        let orphan = *head;
        match next_owned(orphan) {
            Some(next) => *head = next,
            None => {
                self.orphans.pop();
            }
        }
        Some(orphan)
    }

    pub(super) fn has_orphans(&self) -> bool {
        !self.orphans.is_empty()
    }

    #[cfg(any(test, feature = "simulated"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Pin)> {
        let pins = &self.pins;
        self.index
            .iter()
            .map(|(position, id)| (*position, &pins[*id]))
    }

    #[cfg(any(test, feature = "simulated"))]
    pub(super) fn held(&self) -> &BTreeSet<(u64, u32)> {
        &self.holders
    }

    #[cfg(any(test, feature = "simulated"))]
    pub(super) fn lapsed(&self) -> &BTreeSet<u64> {
        &self.lapsed
    }

    #[cfg(feature = "simulated")]
    pub(super) fn has_pass_end(&self, end: u64) -> bool {
        self.pass_ends.contains_key(&end)
    }

    /// The ends of the passes under way, how many end there, and the first of the tombstones that
    /// are kept for them.
    #[cfg(any(test, feature = "simulated"))]
    pub(super) fn passes(&self) -> impl Iterator<Item = (u64, u32, Option<u32>)> {
        let ends = self.pass_ends.iter();
        ends.map(|(end, pass_end)| (*end, pass_end.passes, pass_end.tombstones))
    }

    /// The heads of the lists of versions whose pin is gone.
    #[cfg(feature = "simulated")]
    pub(super) fn orphans(&self) -> &[u32] {
        &self.orphans
    }
}

fn found((position, id): (&u64, &u32)) -> Found {
    Found {
        position: *position,
        id: *id,
    }
}
