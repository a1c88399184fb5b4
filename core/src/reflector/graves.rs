//! Versions of deleted objects, kept for a bounded while, so that an older update that arrives out
//! of order cannot bring a deleted object back. Not to be confused with the tombstones that the
//! cache keeps for its subscribers.

use alloc::collections::{BTreeMap, VecDeque};

use crate::token::{Version, VersionRef};

/// The newest deletes of a source whose changes may arrive out of order.
#[derive(Clone, Debug)]
pub(crate) struct Graves<K> {
    versions: BTreeMap<K, Version>,
    /// In the order of their deletes; of a key that was deleted twice only the newer one counts.
    order: VecDeque<(K, Version)>,
    limit: usize,
}

impl<K: Ord + Clone> Graves<K> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            versions: BTreeMap::new(),
            order: VecDeque::new(),
            limit,
        }
    }

    /// An object was deleted at this version, or in this last version.
    pub(crate) fn bury(&mut self, key: K, version: Version) {
        if self.limit == 0 {
            return;
        }
        while self.order.len() >= self.limit {
            let Some((oldest, version)) = self.order.pop_front() else {
                break;
            };
            if self.versions.get(&oldest) == Some(&version) {
                self.versions.remove(&oldest);
            }
        }
        self.order.push_back((key.clone(), version.clone()));
        self.versions.insert(key, version);
    }

    /// Whether an update to this version is older than the delete, or the deleted version itself.
    pub(crate) fn covers(&self, key: &K, version: VersionRef<'_>) -> bool {
        self.versions
            .get(key)
            .is_some_and(|grave| version == *grave || version.is_older_than(grave))
    }

    /// The history is another one: nothing of the old one counts.
    pub(crate) fn clear(&mut self) {
        self.versions.clear();
        self.order.clear();
    }
}
