//! The change log: the one global order, and what is kept of the past.
//!
//! Writes append to it, passes read it, and reclaiming forgets what no pin covers any more. The
//! log knows keys only as entry ids; finding an entry by its key is the cache's job.

use crate::key::Key;
use crate::probe::{canary, reach};

use super::chain::Chain;
use super::entries::{Birth, Live, State};
use super::nodes::{Link, Nodes, OldNode, OldState};
use super::pins::{Found, Pins};

/// What an entry, and what a superseded value costs beside its content, in bytes. Constants
/// rather than `size_of`, so that limits are hit at the same point on every target (P11).
pub(super) const ENTRY_COST: u64 = 128;
/// Two nodes: the value's own, and that of its delete, should a pass still have to come by it when
/// the key is created again. Paid in advance, so that a subscriber is charged with the same
/// whoever else is there (P10).
pub(super) const OLD_COST: u64 = 2 * 96;

/// For whom a version is kept.
enum Keeper {
    /// The pin that pays for a value.
    Pin(Found),
    /// The passes that end here, and must still hand out a tombstone.
    Passes(u64),
}

#[derive(Clone)]
pub(super) struct Log<K, V> {
    pub(super) nodes: Nodes<K, V>,
    pub(super) pins: Pins,
    /// The sequence number of the newest change; 0: there was none.
    pub(super) tail: u64,
    /// The costs of all superseded versions and tombstones.
    pub(super) retained: u128,
    /// The bytes that one pin may be charged with.
    pub(super) limit: u128,
    /// Steps of work done, for tests of bounds.
    #[cfg(test)]
    pub(super) steps: core::cell::Cell<u64>,
}

impl<K: Key, V: Clone> Log<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            nodes: Nodes::new(),
            pins: Pins::new(),
            tail: 0,
            retained: 0,
            limit: limit as u128,
            #[cfg(test)]
            steps: core::cell::Cell::new(0),
        }
    }

    /// The next sequence number. 64 bits do not run out.
    fn advance(&mut self) -> u64 {
        self.tail = self.tail.saturating_add(1);
        self.tail
    }

    /// A key that the log does not know yet.
    pub(super) fn add(&mut self, key: K, live: Live<'_, V>) -> u32 {
        let seq = self.advance();
        let id = self.nodes.entries.insert(key, live, seq);
        self.nodes.push_last(Link::entry(id));
        id
    }

    /// Another version of the same incarnation.
    pub(super) fn update(&mut self, id: u32, live: Live<'_, V>) {
        let seq = self.advance();
        self.supersede(id, seq);
        self.put(id, live, seq);
    }

    /// Another incarnation: of a tombstone, or of a live object, whose delete is then inferred and
    /// has a sequence number of its own.
    pub(super) fn recreate(&mut self, id: u32, live: Live<'_, V>) {
        let (inferred, seq) = match self.nodes.entries.state(id) {
            Some(State::Dead { inferred, .. }) => {
                let seq = self.advance();
                self.supersede(id, seq);
                (inferred, seq)
            }
            Some(State::Live(_)) | None => {
                let deleted = self.advance();
                self.supersede(id, deleted);
                reach!("re-created object without a delete");
                (true, self.advance())
            }
        };
        self.put(id, live, seq);
        let entries = &mut self.nodes.entries;
        let at = if canary!(MergeRecreation) {
            entries.birth(id).at
        } else {
            seq
        };
        entries.set_birth(id, Birth { at, inferred });
    }

    /// Deletes a live object. Returns its key where nobody has seen it: then nothing is left.
    pub(super) fn delete(&mut self, id: u32, last: Option<V>, inferred: bool) -> Option<K> {
        let seq = self.advance();
        let entries = &self.nodes.entries;
        let seen = self.pins.oldest_covering(entries.seq(id), seq).is_some();
        if canary!(ForgetTombstones) || !seen && entries.chain(id).is_empty() {
            return self.forget(id);
        }
        let last = last.or_else(|| Some(entries.live(id)?.value.clone()))?;
        self.supersede(id, seq);
        self.nodes.entries.bury(id, last, inferred, seq);
        self.nodes.move_to_last(Link::entry(id));
        self.carry_tombstone(id);
        None
    }

    fn put(&mut self, id: u32, live: Live<'_, V>, seq: u64) {
        self.nodes.entries.put(id, live, seq);
        self.nodes.move_to_last(Link::entry(id));
    }

    /// Takes the current version out of an entry that is about to be another one, if somebody still
    /// needs it.
    fn supersede(&mut self, id: u32, until: u64) {
        let entries = &self.nodes.entries;
        let seq = entries.seq(id);
        let deleted = match entries.state(id) {
            Some(State::Live(_)) => None,
            Some(State::Dead { inferred, .. }) => Some(inferred),
            None => return,
        };
        if deleted.is_some() {
            self.drop_tombstone(id);
        }
        let Some(keeper) = self.keeper(deleted.is_some(), seq, until) else {
            return;
        };
        let entries = &mut self.nodes.entries;
        let (value, birth) = (entries.take_value(id), entries.birth(id));
        let (state, cost) = match (deleted, value) {
            (Some(inferred), _) => (OldState::Deleted { inferred }, 0),
            (None, Some(value)) => {
                let cost = OLD_COST.saturating_add(bounded(entries.size(id)));
                (OldState::Value(value), cost)
            }
            (None, None) => return,
        };
        let in_list = self.pins.pass_reaches(seq) && !canary!(LoseOvertaken);
        reach!("pass overtaken by a write", in_list);
        reach!(
            "tombstone overtaken by a re-created object",
            deleted.is_some()
        );
        let old = OldNode {
            in_list,
            entry: id,
            seq,
            until,
            birth,
            state,
            cost,
            ..OldNode::default()
        };
        self.retained += u128::from(cost);
        let old = self.nodes.olds.insert(old);
        self.nodes.entries.push_old(id, old);
        if in_list {
            self.nodes.insert_after(Link::entry(id), Link::old(old));
        }
        self.give(old, keeper);
    }

    /// What a tombstone costs, its key included.
    pub(super) fn tombstone_cost(&self, id: u32) -> Option<u64> {
        let entries = &self.nodes.entries;
        let Some(State::Dead { .. }) = entries.state(id) else {
            return None;
        };
        let key = bounded(K::bytes(entries.key(id)?.borrow()).len());
        let size = bounded(entries.size(id));
        Some(ENTRY_COST.saturating_add(size).saturating_add(key))
    }

    /// The version that a tombstone is charged to: the newest value that somebody saw.
    pub(super) fn newest_value(&self, id: u32) -> Option<u32> {
        let olds = &self.nodes.olds;
        let chain = self.nodes.entries.chain(id);
        chain.newest_where(|old| matches!(olds[old].state, OldState::Value(_)))
    }

    /// A tombstone is there for those who saw the object, so what the newest of them saw pays for
    /// it. Where nobody did, its content goes.
    fn carry_tombstone(&mut self, id: u32) {
        match (self.tombstone_cost(id), self.newest_value(id)) {
            (Some(cost), Some(newest)) => self.charge(newest, cost),
            (Some(_), None) => {
                self.nodes.entries.take_value(id);
            }
            (None, _) => {}
        }
    }

    fn drop_tombstone(&mut self, id: u32) {
        if let Some(cost) = self.tombstone_cost(id)
            && let Some(newest) = self.newest_value(id)
        {
            self.retained -= u128::from(cost);
            let old = &mut self.nodes.olds[newest];
            old.cost -= cost;
            if let Some(pin) = self.pins.get_mut(old.owner) {
                pin.charge -= u128::from(cost);
            }
        }
    }

    /// Adds to a version's cost, at its owner's expense.
    fn charge(&mut self, old: u32, cost: u64) {
        self.retained += u128::from(cost);
        let old = &mut self.nodes.olds[old];
        old.cost += cost;
        let owner = old.owner;
        if let Some(pin) = self.pins.get_mut(owner) {
            pin.charge += u128::from(cost);
            if pin.charge > self.limit {
                self.lapse(owner);
            }
        }
    }

    /// Makes a pin pay for a value that nobody pays for, or keeps a tombstone for the passes that
    /// end somewhere.
    fn give(&mut self, old: u32, keeper: Keeper) {
        let node = &mut self.nodes.olds[old];
        match keeper {
            Keeper::Passes(end) => {
                node.owner = end;
                node.next_owned = self.pins.keep_tombstone(end, old);
            }
            Keeper::Pin(found) => {
                let pin = self.pins.found_mut(found);
                node.owner = found.position;
                node.next_owned = pin.owned.replace(old);
                pin.charge += u128::from(node.cost);
                if pin.charge > self.limit {
                    self.lapse(found.position);
                }
            }
        }
    }

    /// Whoever holds more than the limit loses its place, and nobody else notices (P8, P10).
    fn lapse(&mut self, position: u64) {
        if !canary!(NoRetentionLimit)
            && let Some(gap) = self.pins.lapse(position)
        {
            self.nodes.leave_gap(gap);
        }
    }

    /// Pins the tail for a subscriber.
    pub(super) fn hold_tail(&mut self, slot: u32) -> u64 {
        let Self {
            nodes, pins, tail, ..
        } = self;
        pins.hold(*tail, slot, || nodes.gap_at_end());
        *tail
    }

    pub(super) fn release(&mut self, position: u64, slot: u32) {
        if let Some(gap) = self.pins.release(position, slot) {
            self.nodes.leave_gap(gap);
        }
    }

    /// Settles one version whose pin is gone: the next pin that covers it pays from now on, or it
    /// is freed. Returns what the cache has to forget, where that was the last of a tombstone.
    pub(super) fn reclaim_one(&mut self) -> Option<(u32, K)> {
        let olds = &self.nodes.olds;
        let orphan = self.pins.pop_orphan(|id| olds[id].next_owned)?;
        self.count_step();
        let old = &self.nodes.olds[orphan];
        let deleted = matches!(old.state, OldState::Deleted { .. });
        match self.keeper(deleted, old.seq, old.until) {
            Some(keeper) => {
                reach!("superseded version handed to the next older subscriber");
                reach!(
                    "tombstone outlived by two subscribers",
                    self.nodes.olds[orphan].cost >= ENTRY_COST + OLD_COST
                );
                self.give(orphan, keeper);
                None
            }
            None => self.free(orphan),
        }
    }

    /// For whom a version that was in force in `[seq, until)` is kept: a value for the oldest pin
    /// that covers it, which pays; a tombstone for a pass under way that must still hand it out. (A
    /// subscriber at rest does not care: having nothing is the same with a tombstone and without.)
    fn keeper(&self, deleted: bool, seq: u64, until: u64) -> Option<Keeper> {
        if deleted {
            let end = self.pins.oldest_pass_covering(seq, until);
            end.map(Keeper::Passes)
        } else {
            self.pins.oldest_covering(seq, until).map(Keeper::Pin)
        }
    }

    fn free(&mut self, old: u32) -> Option<(u32, K)> {
        let OldNode {
            entry: id,
            seq,
            in_list,
            ..
        } = self.nodes.olds[old];
        if in_list {
            self.nodes.unlink(Link::old(old));
        }
        let is_dead = matches!(self.nodes.entries.state(id), Some(State::Dead { .. }));
        let carried = is_dead && self.newest_value(id) == Some(old);
        let Nodes { entries, olds, .. } = &mut self.nodes;
        entries.remove_old(id, seq, |id| olds[id].seq);
        self.retained -= u128::from(olds.remove(old).cost);
        if is_dead && entries.chain(id).is_empty() {
            return self.forget(id).map(|key| (id, key));
        }
        if carried {
            self.carry_tombstone(id);
        }
        None
    }

    fn forget(&mut self, id: u32) -> Option<K> {
        self.nodes.unlink(Link::entry(id));
        self.nodes.entries.remove(id)
    }

    /// The version in a chain that was in force at `position`, if it was a value.
    #[inline(always)]
    pub(super) fn value_at(&self, chain: &Chain, position: u64) -> Option<(&V, Birth)> {
        let old = chain.newest_up_to(position, |id| {
            self.count_step();
            &self.nodes.olds[id]
        })?;
        match &old.state {
            OldState::Value(value) if position < old.until => Some((value, old.birth)),
            OldState::Value(_) | OldState::Deleted { .. } | OldState::Vacant => None,
        }
    }

    pub(super) fn count_step(&self) {
        #[cfg(test)]
        self.steps.set(self.steps.get() + 1);
    }
}

/// A size as a cost: so bounded that the sum of a few does not overflow.
pub(super) fn bounded(size: usize) -> u64 {
    (size as u64).min(u64::MAX >> 4)
}
