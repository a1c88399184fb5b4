//! What must hold of the log after every step, checked by walking all of it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what is not there is an invariant that is broken"
)]

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::hash::BuildHasher;

use crate::digest::Digest;
use crate::key::Key;

use super::Cache;
use super::entries::State;
use super::log::OLD_COST;
use super::nodes::{Link, Node, OldState};

impl<K: Key, V: Clone, S: BuildHasher> Cache<K, V, S> {
    /// Panics if an invariant is broken.
    pub(super) fn check(&self) {
        let list = self.check_list();
        let entries: Vec<u32> = list
            .iter()
            .filter_map(|link| match link.node() {
                Node::Entry(id) => Some(id),
                _ => None,
            })
            .collect();
        assert_eq!(
            entries.len(),
            self.log.nodes.entries.len(),
            "every entry is in the list"
        );
        assert_eq!(
            entries.len(),
            self.table.len(),
            "every entry is in the table"
        );
        self.log.nodes.entries.check(&entries);
        self.check_sums(&entries);
        self.check_versions(&entries);
        self.check_pins(&list);
        self.check_passes(&list, &entries);
        self.check_journals();
    }

    /// The list is in the order of sequence numbers, links agree, and no two gaps are neighbours.
    fn check_list(&self) -> Vec<Link> {
        let nodes = &self.log.nodes;
        let (mut list, mut at, mut newest) = (Vec::new(), Link::END, 0);
        loop {
            let next = nodes.next(at);
            assert_eq!(nodes.prev(next), at, "links agree");
            let seq = match next.node() {
                Node::End => break,
                Node::Gap(_) => {
                    assert!(
                        !matches!(at.node(), Node::Gap(_)),
                        "neighbouring gaps are merged"
                    );
                    newest
                }
                Node::Entry(id) => nodes.entries.seq(id),
                Node::Old(id) => {
                    assert!(nodes.olds[id].in_list);
                    nodes.olds[id].seq
                }
            };
            assert!(
                seq >= newest && seq <= self.log.tail,
                "the list is in order"
            );
            newest = seq;
            list.push(next);
            at = next;
        }
        list
    }

    fn check_sums(&self, entries: &[u32]) {
        let (mut live, mut bytes, mut marked, mut digest) = (0, 0, 0, Digest::default());
        for id in entries {
            let key = self.log.nodes.entries.key(*id).unwrap();
            assert_eq!(
                self.find(key.borrow()),
                Some(*id),
                "the table finds every entry"
            );
            assert!(!self.is_marked(*id) || self.log.nodes.entries.is_live(*id));
            if let Some(object) = self.log.nodes.entries.live(*id) {
                live += 1;
                bytes += K::bytes(key.borrow()).len() as u128 + object.size as u128;
                marked += usize::from(self.is_marked(*id));
                digest = digest.plus(Digest::of(K::bytes(key.borrow()), object.version));
            }
        }
        let sums = (self.live, self.bytes, self.marks.len());
        assert_eq!((live, bytes, marked), sums);
        assert!(
            self.digest.is_none_or(|kept| kept == digest),
            "the digest is kept up to date"
        );
    }

    /// Chains are in order, everything in them is covered or on its way out, and costs add up.
    fn check_versions(&self, entries: &[u32]) {
        let Self { log, .. } = self;
        let (mut olds, mut retained) = (0, 0);
        for id in entries {
            let (seq, chain) = (log.nodes.entries.seq(*id), log.nodes.entries.chain(*id));
            let mut since = 0;
            for old in chain.ids() {
                let node = &log.nodes.olds[old];
                assert_eq!(node.entry, *id);
                assert!(
                    since <= node.seq && node.seq < node.until && node.until <= seq,
                    "chains are in order"
                );
                since = node.until;
                assert!(!matches!(node.state, OldState::Vacant));
                if matches!(node.state, OldState::Deleted { .. }) {
                    assert_eq!(
                        node.cost, 0,
                        "a superseded tombstone is paid for in advance"
                    );
                    olds += 1;
                    continue;
                }
                let carried = if log.newest_value(*id) == Some(old) {
                    log.tombstone_cost(*id)
                } else {
                    None
                };
                assert!(node.cost >= OLD_COST + carried.unwrap_or(0));
                let owner = log.pins.get(node.owner).map(|_| node.owner);
                let pays = |owner: u64| {
                    log.pins
                        .oldest_covering(node.seq, node.until)
                        .is_some_and(|pin| pin.position == owner)
                };
                assert!(owner.is_none_or(pays), "the oldest pays");
                olds += 1;
                retained += u128::from(node.cost);
            }
            match log.nodes.entries.state(*id) {
                None => panic!("a vacant entry is in the list"),
                Some(State::Dead { last, .. }) => {
                    assert!(!chain.is_empty(), "a tombstone has a chain");
                    let seen = log.newest_value(*id).is_some();
                    assert_eq!(last.is_some(), seen, "what nobody saw has no content");
                }
                Some(State::Live(_)) => {}
            }
        }
        assert_eq!(
            olds,
            log.nodes.olds.len(),
            "every superseded version is in a chain"
        );
        assert_eq!(retained, log.retained, "costs add up");
    }

    fn check_pins(&self, list: &[Link]) {
        let log = &self.log;
        let mut held = BTreeSet::new();
        for id in self.subscribers.ids() {
            let subscriber = self.subscribers.get(id).unwrap();
            let end = subscriber.pass.as_ref().map_or(0, |pass| pass.end);
            held.extend(
                [subscriber.base, end]
                    .into_iter()
                    .filter(|at| *at > 0)
                    .map(|at| (at, id.slot())),
            );
        }
        assert_eq!(
            &held,
            log.pins.held(),
            "what is held is what subscribers hold"
        );
        let positions: BTreeSet<u64> = held.iter().map(|(at, _)| *at).collect();
        let kept: BTreeSet<u64> = log.pins.iter().map(|(at, _)| at).collect();
        assert!(kept.is_disjoint(log.pins.lapsed()));
        assert_eq!(
            &positions,
            &kept.union(log.pins.lapsed()).copied().collect(),
            "pins are held or have lapsed"
        );
        let mut owned = 0;
        for (end, _, tombstones) in log.pins.passes() {
            let mut next = tombstones;
            while let Some(id) = next {
                let old = &log.nodes.olds[id];
                assert_eq!(old.owner, end);
                assert!(
                    (old.seq..old.until).contains(&end),
                    "a pass needs its tombstones"
                );
                assert!(matches!(old.state, OldState::Deleted { .. }));
                next = old.next_owned;
                owned += 1;
            }
        }
        for (position, pin) in log.pins.iter() {
            let (mut charge, mut next) = (0, pin.owned);
            while let Some(id) = next {
                let old = &log.nodes.olds[id];
                assert_eq!(old.owner, position);
                charge += u128::from(old.cost);
                next = old.next_owned;
                owned += 1;
            }
            assert_eq!(charge, pin.charge, "a pin is charged with what it owns");
            assert!(charge <= log.limit, "no pin is over the limit");
            let gap = log.nodes.gap_link(pin.gap);
            let at = list
                .iter()
                .position(|link| *link == gap)
                .expect("a pin's gap is in the list");
            assert!(
                self.seqs(&list[..at]).all(|seq| seq <= position),
                "a pin is behind what it covers"
            );
            assert!(
                self.seqs(&list[at..]).all(|seq| seq > position),
                "a pin is before what is later"
            );
        }
        assert!(
            log.pins.has_orphans() || owned == log.nodes.olds.len(),
            "nothing is kept for nobody"
        );
    }

    /// Journals are of lossless subscribers, add up, and take the place of a position.
    fn check_journals(&self) {
        for id in self.subscribers.ids() {
            let subscriber = self.subscribers.get(id).unwrap();
            let lossless = self.lossless.contains(&id.slot());
            assert_eq!(subscriber.journal.is_some(), lossless);
            let Some(journal) = &subscriber.journal else {
                continue;
            };
            let costs = journal.records.iter().map(|record| record.cost);
            assert_eq!(costs.sum::<u64>(), journal.bytes);
            assert!(journal.bytes <= journal.bound, "within its bound");
            assert!(journal.ready <= journal.records.len());
            let rests = subscriber.base > 0;
            assert!(!rests || subscriber.pass.is_some() || !journal.records_writes);
        }
    }

    /// A pass that has not come by yet still finds the version that is in force at its end.
    fn check_passes(&self, list: &[Link], entries: &[u32]) {
        let log = &self.log;
        let mut ends: BTreeMap<u64, u32> = BTreeMap::new();
        for id in self.subscribers.ids() {
            let subscriber = self.subscribers.get(id).unwrap();
            let Some(pass) = &subscriber.pass else {
                continue;
            };
            *ends.entry(pass.end).or_default() += 1;
            let gap = log.nodes.gap_link(pass.cursor);
            let at = list
                .iter()
                .position(|link| *link == gap)
                .expect("a cursor's gap is in the list");
            let came_to = self.seqs(&list[..at]).max().unwrap_or(0);
            assert!(came_to <= pass.end, "a cursor is within its pass");
            if log.pins.get(pass.end).is_none() {
                continue;
            }
            for entry in entries {
                for old in log.nodes.entries.chain(*entry).ids() {
                    let node = &log.nodes.olds[old];
                    let visible =
                        node.seq <= pass.end && pass.end < node.until && node.seq > came_to;
                    let rewalks = pass.refilter.is_some() || pass.redeliver;
                    let news = rewalks || node.seq > subscriber.base;
                    assert!(
                        !visible || !news || list[at..].contains(&Link::old(old)),
                        "a pass misses nothing"
                    );
                }
            }
        }
        let passes = log.pins.passes().map(|(end, passes, _)| (end, passes));
        assert_eq!(ends, passes.collect());
    }

    /// The sequence numbers along a part of the list.
    fn seqs(&self, list: &[Link]) -> impl Iterator<Item = u64> {
        list.iter().filter_map(|link| match link.node() {
            Node::Entry(id) => Some(self.log.nodes.entries.seq(id)),
            Node::Old(id) => Some(self.log.nodes.olds[id].seq),
            Node::Gap(_) | Node::End => None,
        })
    }

    /// Nothing is kept for subscribers.
    pub(super) fn assert_nothing_retained(&self) {
        let nodes = &self.log.nodes;
        assert_eq!((nodes.olds.len(), self.retained_bytes()), (0, 0));
        assert_eq!(nodes.entries.len(), self.live, "no tombstones");
    }

    /// The steps of work since the last call.
    #[cfg(test)]
    pub(super) fn take_steps(&self) -> u64 {
        self.log.steps.take()
    }
}
