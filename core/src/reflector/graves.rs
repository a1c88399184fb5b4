//! Versions of deleted objects, kept for a bounded while, so that an older update that arrives out
//! of order cannot bring a deleted object back. Not to be confused with the tombstones that the
//! cache keeps for its subscribers.

use alloc::collections::{BTreeMap, VecDeque};

use crate::probe::reach;
use crate::token::{Incarnation, Version, VersionRef};

/// The newest deletes of a source whose changes may arrive out of order.
#[derive(Clone, Debug)]
pub(crate) struct Graves<K> {
    newest: BTreeMap<K, Grave>,
    /// In the order of their deletes; of a key that was deleted twice only the newer one counts.
    order: VecDeque<(K, Grave)>,
    limit: usize,
}

/// The last version of an object; versions are only comparable within one incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grave {
    version: Version,
    incarnation: Option<Incarnation>,
}

impl<K: Ord + Clone> Graves<K> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            newest: BTreeMap::new(),
            order: VecDeque::new(),
            limit,
        }
    }

    /// An object was deleted at this version, or in this last version.
    pub(crate) fn bury(&mut self, key: K, version: Version, incarnation: Option<Incarnation>) {
        let same = |grave: &Grave| {
            let nothing_new = incarnation.is_none() || incarnation == grave.incarnation;
            grave.version == version && nothing_new
        };
        if self.limit == 0 || self.newest.get(&key).is_some_and(same) {
            // The same delete once more, of which now less is known.
            return;
        }
        while self.order.len() >= self.limit {
            let Some((oldest, grave)) = self.order.pop_front() else {
                break;
            };
            reach!("oldest grave makes room");
            if self.newest.get(&oldest) == Some(&grave) {
                self.newest.remove(&oldest);
            }
        }
        let grave = Grave {
            version,
            incarnation,
        };
        self.order.push_back((key.clone(), grave.clone()));
        self.newest.insert(key, grave);
    }

    /// A list shows the key: whatever was heard of its delete, it is there.
    pub(crate) fn reopen(&mut self, key: &K) {
        self.newest.remove(key);
    }

    /// Whether there are any: most sources never have one.
    pub(crate) fn has_any(&self) -> bool {
        !self.newest.is_empty()
    }

    /// Whether an update to this version is older than the delete, or the deleted version itself.
    pub(crate) fn covers(
        &self,
        key: &K,
        version: VersionRef<'_>,
        incarnation: Option<Incarnation>,
    ) -> bool {
        self.newest.get(key).is_some_and(|grave| {
            let older = version == grave.version || version.is_older_than(grave.version.as_ref());
            older && grave.incarnation == incarnation
        })
    }

    /// The history is another one: nothing of the old one counts.
    pub(crate) fn clear(&mut self) {
        self.newest.clear();
        self.order.clear();
    }
}
