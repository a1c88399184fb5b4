//! One subscriber of the model, and what it makes of its deltas.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{Published, index, name};
use crate::cache::{Delta, Filter, Partition, Polled, SubscriberId};
use crate::token::Revision;

/// The filters of the model, by number; 0 lets everything through.
pub(super) fn wants(filter: u8, key: u8, value: u32) -> bool {
    match filter {
        0 => true,
        1 => value.is_multiple_of(2),
        2 => value.is_multiple_of(3),
        3 => key < 3,
        _ => false,
    }
}

pub(super) fn filter(number: u8) -> Option<Filter<Box<str>, u32>> {
    (number > 0)
        .then(|| Filter::<Box<str>, u32>::new(move |key, value| wants(number, index(key), *value)))
}

pub(super) struct Listener {
    pub(super) id: SubscriberId,
    pub(super) filter: u8,
    pub(super) partition: Option<Partition>,
    pub(super) lossless: bool,
    pub(super) folded: BTreeMap<u8, u32>,
    /// No mark since it joined or was reset.
    pub(super) fresh: bool,
    pub(super) revision: u64,
    /// What is to be handed out once more.
    pub(super) owed: BTreeSet<u8>,
    /// What was not, since the last time that there was nothing to hand out.
    pub(super) again: bool,
    pub(super) heard: Vec<Polled<Box<str>, u32>>,
}

impl Listener {
    pub(super) fn wants(&self, state: &BTreeMap<u8, u32>) -> BTreeMap<u8, u32> {
        state
            .iter()
            .filter(|(key, _)| is_share(self.partition, **key))
            .filter(|(key, value)| wants(self.filter, **key, **value))
            .map(|(key, value)| (*key, *value))
            .collect()
    }

    pub(super) fn fold(
        &mut self,
        delta: &Delta<Box<str>, u32>,
        generations: &[u64],
        published: &[Published],
        limited: bool,
    ) {
        let generation = |value: &u32| generations[*value as usize];
        if let Delta::Added { key, .. }
        | Delta::Updated { key, .. }
        | Delta::Deleted { key, .. }
        | Delta::Redelivered { key, .. } = delta
        {
            self.owed.remove(&index(key));
        }
        match delta {
            Delta::Added { key, new } => {
                assert_eq!(self.folded.insert(index(key), *new), None, "added twice");
            }
            Delta::Updated { key, old, new } => {
                assert_eq!(
                    self.folded.insert(index(key), *new),
                    Some(*old),
                    "old is not what it was handed"
                );
                assert_eq!(generation(old), generation(new), "two incarnations merged");
                assert!(old < new, "back in time");
            }
            Delta::Deleted {
                key, seen, last, ..
            } => {
                assert_eq!(
                    self.folded.remove(&index(key)),
                    Some(*seen),
                    "seen is not what it was handed"
                );
                assert_eq!(
                    generation(seen),
                    generation(last),
                    "the last state of another incarnation"
                );
                assert!(seen <= last, "the last state is older than what was seen");
            }
            Delta::Redelivered { key, value } => {
                assert!(self.again, "nobody asked for it");
                assert_eq!(
                    self.folded.get(&index(key)),
                    Some(value),
                    "not what it was handed"
                );
            }
            Delta::Mark(mark) => {
                let revision = mark.revision.as_ref().and_then(Revision::as_u64).unwrap();
                let point = &published[revision as usize - 1];
                assert_eq!(
                    self.folded,
                    self.wants(&point.state),
                    "not the state at the mark"
                );
                assert_eq!(
                    (mark.local_epoch, mark.complete),
                    (point.epoch, point.complete)
                );
                assert_eq!(mark.initial, self.fresh);
                assert!(revision >= self.revision, "marks go back");
                self.revision = revision;
                self.fresh = false;
            }
            Delta::Gap(_) => assert!(self.lossless, "a gap for who is not lossless"),
            Delta::Reset => {
                assert!(limited, "reset without a limit");
                self.folded.clear();
                self.owed.clear();
                self.fresh = true;
            }
        }
    }
}

/// Whether a key belongs to somebody's share.
fn is_share(partition: Option<Partition>, key: u8) -> bool {
    partition.is_none_or(|its| its.has::<Box<str>>(&name(key)))
}
