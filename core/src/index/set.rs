//! The indexes of one cache.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::key::Key;
use crate::probe::{canary, reach};

use super::inverted::Index;
use super::order::KeyOrder;

/// One index of one informer. An id is never given out twice, and one that is good for nothing is
/// harmless everywhere: by that of an index that was removed, or that belongs to an informer with
/// another seed, nothing is found, and nothing is removed. Where two informers have the same seed
/// their ids may be the same, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexId(Id);

/// A share in an informer's order of keys, which is kept as long as somebody holds one. An id is
/// never given out twice, and by one that was given back, or that belongs to an informer with
/// another seed, nothing is found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyOrderId(Id);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Id {
    /// Whose it is: the informer's seed, which is shown to nobody.
    of: u64,
    number: u64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

impl fmt::Display for IndexId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for IndexId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IndexId({})", self.0)
    }
}

impl fmt::Display for KeyOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for KeyOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyOrderId({})", self.0)
    }
}

/// All indexes of a cache, and the order of its keys where somebody wants it.
#[derive(Clone)]
pub(crate) struct Indexes<K: Key, V> {
    /// In ascending order of ids.
    by: Vec<(IndexId, Index<K, V>)>,
    order: Option<KeyOrder<K>>,
    /// Who wants the order, in ascending order; it is kept for as long as this is not empty.
    holders: Vec<KeyOrderId>,
    /// The id to give out next. 64 bits do not run out.
    next: Id,
}

// What a write calls is kept out of line: one without indexes must not pay for its size.
impl<K: Key, V> Indexes<K, V> {
    /// None yet. `of` is what tells their ids from those of others.
    pub(crate) const fn new(of: u64) -> Self {
        Self {
            by: Vec::new(),
            order: None,
            holders: Vec::new(),
            next: Id { of, number: 0 },
        }
    }

    /// Whether there is nothing to keep up to date.
    pub(crate) const fn is_empty(&self) -> bool {
        self.by.is_empty() && self.order.is_none()
    }

    pub(crate) fn add(&mut self, index: Index<K, V>) -> IndexId {
        let id = IndexId(self.take_id());
        self.by.push((id, index));
        id
    }

    pub(crate) fn remove(&mut self, id: IndexId) -> bool {
        let at = self.by.binary_search_by_key(&id, |(id, _)| *id);
        at.is_ok_and(|at| {
            self.by.remove(at);
            true
        })
    }

    pub(crate) fn get(&self, id: IndexId) -> Option<&Index<K, V>> {
        let at = self.by.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.by.get(at).map(|(_, index)| index)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = IndexId> {
        self.by.iter().map(|(id, _)| *id)
    }

    /// One more wants the order; `build` makes it for the first one.
    pub(crate) fn hold_order(&mut self, build: impl FnOnce() -> KeyOrder<K>) -> KeyOrderId {
        if self.order.is_none() {
            let order = build();
            reach!("key order of keys that are there", !order.is_empty());
            self.order = Some(order);
        }
        let id = KeyOrderId(self.take_id());
        self.holders.push(id);
        id
    }

    pub(crate) fn release_order(&mut self, id: KeyOrderId) -> bool {
        let Ok(at) = self.holders.binary_search(&id) else {
            return false;
        };
        self.holders.remove(at);
        reach!("key order kept for another", !self.holders.is_empty());
        if self.holders.is_empty() {
            self.order = None;
        }
        true
    }

    pub(crate) fn order(&self, id: KeyOrderId) -> Option<&KeyOrder<K>> {
        self.holders.binary_search(&id).ok()?;
        self.order.as_ref()
    }

    pub(crate) fn holders(&self) -> &[KeyOrderId] {
        &self.holders
    }

    /// Asks all functions about an object that is about to be put. Should one panic, nothing has
    /// changed yet (P10).
    #[inline(never)]
    pub(crate) fn stage(&mut self, key: &K::Borrowed, value: &V) {
        for (_, index) in &mut self.by {
            index.stage(key, value);
        }
    }

    /// The object that was staged last is the one with this id; `added` is its key if there was no
    /// live object with this id.
    #[inline(never)]
    pub(crate) fn put_staged(&mut self, id: u32, added: Option<&K>) {
        for (_, index) in &mut self.by {
            index.put_staged(id);
        }
        if let (Some(order), Some(key)) = (&mut self.order, added)
            && !canary!(OrderForgetsAdded)
        {
            order.insert(key.clone(), id);
        }
    }

    /// The indexes that do not have all terms of the object that was put last, by name, and how many
    /// it has.
    pub(crate) fn cut(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        let indexes = self.by.iter();
        indexes.filter_map(|(_, index)| Some((index.by().shared_name(), index.cut()?)))
    }

    /// The object with this id and key has gone.
    #[inline(never)]
    pub(crate) fn take_out(&mut self, id: u32, key: &K::Borrowed) {
        for (_, index) in &mut self.by {
            if !canary!(IndexKeepsDeleted) {
                index.remove(id);
            }
        }
        if let Some(order) = &mut self.order {
            order.remove(key);
        }
    }

    fn take_id(&mut self) -> Id {
        let id = self.next;
        self.next.number = id.number.saturating_add(1);
        id
    }
}
