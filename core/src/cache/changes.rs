//! What has changed since somebody looked last: for a driver that keeps a copy of its own, such as
//! a view that other threads read.
//!
//! No journal is written. All that changed after a position stands behind it in the log, each
//! object once however often it changed, so the follower's news are a walk from the log's end back
//! to where it was. Only an object that is deleted may leave no trace there: the places of those
//! that the follower has are noted down. A write costs a follower nothing, and what is kept for it
//! is bounded by the number of objects that it has (P8).

use alloc::vec::Vec;
use core::hash::BuildHasher;

use crate::key::Key;
use crate::probe::{canary, reach};

use super::entries::Entries;
use super::nodes::{Link, Node};
use super::{Cache, Entry};

/// A change that a follower is handed by [`Informer::drain_changes`](crate::Informer::drain_changes).
///
/// A *slot* is a small number that stands for one object for as long as it is live. Slots are dense
/// (the highest is less than the most objects and tombstones there ever were) and used again.
#[derive(Debug)]
pub enum SlotChange<'a, K, V> {
    /// What the follower has in this slot is gone. It may say so of a slot that the follower was
    /// never handed anything in.
    Gone {
        /// The slot.
        slot: u32,
    },
    /// A live object: new in this slot, or changed.
    Now {
        /// The slot.
        slot: u32,
        /// The object as it is now.
        entry: Entry<'a, K, V>,
    },
}

/// What a follower was handed by [`Informer::drain_changes`](crate::Informer::drain_changes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Nothing: nothing was published since the last time, or nobody follows.
    Nothing,
    /// A part of the objects that there were when it began to follow. Ask again; until the whole
    /// is there, what it has is not a state of the source.
    Part,
    /// The rest: what it has is what was published last.
    Published,
}

/// The one follower.
#[derive(Clone)]
pub(super) struct Follower {
    /// The position in the log that it is at; while it copies, the one that it began at.
    at: u64,
    /// The publication that it was handed last.
    number: u64,
    /// The slot that its first copy goes on with; `None`: it has all of it.
    copy: Option<u32>,
    /// Where objects that were live at its position are gone.
    gone: Vec<u32>,
}

impl<K, V, S> Cache<K, V, S>
where
    K: Key,
{
    pub(super) fn note_gone(&mut self, id: u32) {
        // What the follower was not handed is not gone for it. So no object is noted twice.
        if let Some(follower) = &mut self.follower
            && self.log.nodes.entries.set_followed(id, false)
            && !canary!(FollowerForgetsGone)
        {
            reach!(
                "object gone from a first copy under way",
                follower.copy.is_some_and(|to| id < to)
            );
            follower.gone.push(id);
        }
    }
}

impl<K: Key, V: Clone, S: BuildHasher> Cache<K, V, S> {
    /// Somebody who has nothing yet begins to follow, or nobody follows any more.
    pub(crate) fn follow(&mut self, on: bool) {
        self.follower = on.then(|| Follower {
            at: self.log.tail,
            number: 0,
            copy: Some(0),
            gone: Vec::new(),
        });
    }

    /// Hands the follower what it does not have yet: of the first copy at most so many slots, and at
    /// least one.
    pub(crate) fn drain_changes(
        &mut self,
        slots: usize,
        mut take: impl FnMut(SlotChange<'_, K, V>),
    ) -> Drained {
        let published = self.published_tail().map(|last| (last.seq, last.number));
        let Some(follower) = &mut self.follower else {
            return Drained::Nothing;
        };
        if let Some(from) = follower.copy {
            reach!(
                "first copy overtaken by a change",
                from > 0 && follower.at < self.log.tail
            );
            let entries = &mut self.log.nodes.entries;
            let end = entries.end();
            let slots = u32::try_from(slots.max(1));
            let to = slots.map_or(end, |slots| from.saturating_add(slots).min(end));
            for slot in from..to {
                hand_over(slot, entries, &mut take, |seq| seq <= follower.at);
            }
            follower.copy = (to < end).then_some(to);
            if follower.copy.is_some() {
                if canary!(FollowerHasPart) {
                    return Drained::Published;
                }
                return Drained::Part;
            }
            if canary!(FollowerLosesOvertaken) {
                follower.at = self.log.tail;
            }
        }
        // Between a change and its publication the cache is no state of the source (P9).
        let held_back = canary!(FollowerIsLate) && published.is_some_and(|last| last.1 % 2 == 1);
        match published.filter(|_| !held_back) {
            Some(last) if last != (follower.at, follower.number) => {
                reach!(
                    "publication without a change followed",
                    last.0 == follower.at && follower.number > 0
                );
                self.drain_log(take);
                self.follow_up(last);
                Drained::Published
            }
            Some(_) | None => Drained::Nothing,
        }
    }

    fn follow_up(&mut self, (at, number): (u64, u64)) {
        if let Some(follower) = &mut self.follower {
            follower.at = at;
            follower.number = number;
        }
    }

    fn drain_log(&mut self, mut take: impl FnMut(SlotChange<'_, K, V>)) {
        let Self { log, follower, .. } = self;
        let Some(follower) = follower else {
            return;
        };
        // First, since a slot may have been used again.
        for slot in follower.gone.drain(..) {
            take(SlotChange::Gone { slot });
        }
        let nodes = &mut log.nodes;
        let mut link = Link::END;
        loop {
            link = nodes.prev(link);
            let seq = match link.node() {
                Node::Entry(slot) => {
                    hand_over(slot, &mut nodes.entries, &mut take, |seq| seq > follower.at);
                    nodes.entries.seq(slot)
                }
                Node::Old(old) => nodes.olds[old].seq,
                Node::Gap(_) => continue,
                Node::End => break,
            };
            if seq <= follower.at {
                break;
            }
        }
    }
}

fn hand_over<K, V>(
    slot: u32,
    entries: &mut Entries<K, V>,
    take: &mut impl FnMut(SlotChange<'_, K, V>),
    is_news: impl Fn(u64) -> bool,
) {
    if entries.is_live(slot) && is_news(entries.seq(slot)) {
        entries.set_followed(slot, true);
        if let Some(entry) = entries.live(slot) {
            take(SlotChange::Now { slot, entry });
        }
    }
}
