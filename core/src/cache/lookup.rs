//! What is found through indexes, and how they come and go.

use alloc::sync::Arc;
use core::fmt;
use core::hash::BuildHasher;
use core::ops::RangeBounds;

use crate::index::{Both, Ids, Index, IndexBy, IndexId, KeyOrder, KeyOrderId};
use crate::key::Key;

use super::entries::Entries;
use super::{Cache, Entry};

/// Live objects that were found through an index: in an order that depends on nothing but the
/// calls so far (that of the places that the objects have in the cache), whether there are two of
/// them or a million.
#[derive(Clone)]
#[must_use = "nothing is looked at before it is asked for the next one"]
pub struct Found<'a, K, V, I> {
    entries: &'a Entries<K, V>,
    ids: I,
}

impl<'a, K, V, I: Iterator<Item = u32>> Iterator for Found<'a, K, V, I> {
    type Item = Entry<'a, K, V>;

    fn next(&mut self) -> Option<Self::Item> {
        // Only what is live is in an index.
        self.ids.find_map(|id| self.entries.live(id))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.ids.size_hint().1)
    }
}

impl<K, V, I> fmt::Debug for Found<'_, K, V, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found").finish_non_exhaustive()
    }
}

impl<K: Key, V, S> Cache<K, V, S> {
    /// An index, to look at its terms and counts; `None` if there is no such index.
    #[must_use]
    pub fn index(&self, id: IndexId) -> Option<&Index<K, V>> {
        self.indexes.get(id)
    }

    /// The ids of all indexes, in the order in which they were added.
    pub fn indexes(&self) -> impl Iterator<Item = IndexId> {
        self.indexes.ids()
    }

    /// The shares in the order of the keys, in the order in which they were taken.
    pub fn key_orders(&self) -> impl Iterator<Item = KeyOrderId> {
        self.indexes.holders().iter().copied()
    }

    /// The objects that an index finds under a term; none if there is no such index.
    pub fn by_index(&self, id: IndexId, term: impl AsRef<[u8]>) -> Found<'_, K, V, Ids<'_>> {
        let ids = self
            .index(id)
            .map_or_else(Ids::none, |index| index.ids(term));
        self.found(ids)
    }

    /// How many objects an index finds under a term; takes no longer for many.
    #[must_use]
    pub fn count_by(&self, id: IndexId, term: impl AsRef<[u8]>) -> usize {
        self.index(id).map_or(0, |index| index.count(term))
    }

    /// The objects that are found under both of two terms, in one index or in two. Takes time by
    /// the smaller number of the two.
    pub fn by_both(
        &self,
        one: (IndexId, impl AsRef<[u8]>),
        other: (IndexId, impl AsRef<[u8]>),
    ) -> Found<'_, K, V, Both<'_>> {
        let ids = match (self.index(one.0), self.index(other.0)) {
            (Some(index), Some(second)) => index.intersection(one.1, second, other.1),
            _ => Both::none(),
        };
        self.found(ids)
    }

    /// What an owner owns, through an index by [`IndexBy::owners`] that tells owners' keys. Where
    /// it tells something else, as uids, ask [`by_index`](Self::by_index) for that.
    pub fn dependents(&self, id: IndexId, owner: &K::Borrowed) -> Found<'_, K, V, Ids<'_>> {
        self.by_index(id, K::bytes(owner))
    }

    /// All objects in the order of their keys' bytes; none if there is no such order.
    pub fn iter_by_key(&self, id: KeyOrderId) -> impl DoubleEndedIterator<Item = Entry<'_, K, V>> {
        let keys = self.indexes.order(id).into_iter().flat_map(KeyOrder::iter);
        keys.filter_map(|(_, id)| self.log.nodes.entries.live(id))
    }

    /// The objects whose keys' bytes begin with `prefix`, in the order of their keys' bytes.
    pub fn prefix(&self, id: KeyOrderId, prefix: &[u8]) -> impl Iterator<Item = Entry<'_, K, V>> {
        let order = self.indexes.order(id).into_iter();
        let keys = order.flat_map(move |order| order.prefix(prefix));
        keys.filter_map(|(_, id)| self.log.nodes.entries.live(id))
    }

    /// The objects whose keys are within `bounds` (`"a".."b"`, or from after the last one of a page
    /// on), in the order of their keys' bytes. Bounds in the wrong order hold nothing.
    pub fn range<'q>(
        &self,
        id: KeyOrderId,
        bounds: impl RangeBounds<&'q K::Borrowed>,
    ) -> impl DoubleEndedIterator<Item = Entry<'_, K, V>>
    where
        K::Borrowed: 'q,
    {
        let order = self.indexes.order(id).into_iter();
        let keys = order.flat_map(move |order| {
            order.range((bounds.start_bound().cloned(), bounds.end_bound().cloned()))
        });
        keys.filter_map(|(_, id)| self.log.nodes.entries.live(id))
    }

    fn found<I>(&self, ids: I) -> Found<'_, K, V, I> {
        Found {
            entries: &self.log.nodes.entries,
            ids,
        }
    }
}

impl<K: Key, V, S: BuildHasher> Cache<K, V, S> {
    /// A new index, of what is there and of what comes. Should its function panic, it has not been
    /// added. `cut` is told of the objects whose terms it does not have all, and how many they have.
    pub(crate) fn add_index(
        &mut self,
        by: IndexBy<K, V>,
        mut cut: impl FnMut(&K, usize),
    ) -> IndexId {
        let mut index = Index::new(by, self.hasher.hash_one("index"));
        for id in self.log.nodes.live_ids() {
            if let Some(entry) = self.log.nodes.entries.live(id) {
                index.put(id, entry.key.borrow(), entry.value);
                if let Some(terms) = index.cut() {
                    cut(entry.key, terms);
                }
            }
        }
        self.indexes.add(index)
    }

    /// The indexes that do not have all terms of the object that was put last, by name, and how many
    /// it has.
    pub(crate) fn cut_terms(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.indexes.cut()
    }

    pub(crate) fn remove_index(&mut self, id: IndexId) -> bool {
        self.indexes.remove(id)
    }

    /// The order of the keys is wanted; it is built for the first one who does.
    pub(crate) fn add_key_order(&mut self) -> KeyOrderId {
        let Self { indexes, log, .. } = self;
        indexes.hold_order(|| {
            let mut order = KeyOrder::new();
            for id in log.nodes.live_ids() {
                if let Some(key) = log.nodes.entries.key(id) {
                    order.insert(key.clone(), id);
                }
            }
            order
        })
    }

    pub(crate) fn remove_key_order(&mut self, id: KeyOrderId) -> bool {
        self.indexes.release_order(id)
    }
}
