//! The order of the keys.

use alloc::collections::BTreeMap;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;
use core::ops::{Bound, RangeBounds};

use crate::key::Key;

/// Keys in the order of their bytes ([`Key::bytes`]), and the ids of their objects: for walks in
/// order, by prefix and by range. Different keys are taken to have different bytes.
///
/// Like an [`Index`](super::Index) it is kept up to date by whoever keeps the objects; only what
/// comes and goes needs to be told. About 35 bytes per key, the key's own content not counted,
/// and logarithmic time.
#[derive(Clone)]
pub struct KeyOrder<K>(BTreeMap<ByBytes<K>, u32>);

impl<K: Key> KeyOrder<K> {
    /// No keys.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// This key's object has this id.
    pub fn insert(&mut self, key: K, id: u32) {
        self.0.insert(ByBytes(key), id);
    }

    /// There is no object with this key any more. False if there was none.
    pub fn remove(&mut self, key: &K::Borrowed) -> bool {
        self.0.remove(K::bytes(key)).is_some()
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All keys with their ids, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, u32)> {
        self.0.iter().map(|(key, id)| (&key.0, *id))
    }

    /// The keys whose bytes begin with `prefix`, in order.
    pub fn prefix(&self, prefix: &[u8]) -> impl Iterator<Item = (&K, u32)> {
        self.between((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| K::bytes((*key).borrow()).starts_with(prefix))
    }

    /// The keys within `bounds`, in order: `"a".."b"`, or from after the last one of a page on.
    /// Bounds in the wrong order hold nothing.
    pub fn range<'q>(
        &self,
        bounds: impl RangeBounds<&'q K::Borrowed>,
    ) -> impl DoubleEndedIterator<Item = (&K, u32)>
    where
        K::Borrowed: 'q,
    {
        self.between((
            bounds.start_bound().map(|key| K::bytes(key)),
            bounds.end_bound().map(|key| K::bytes(key)),
        ))
    }

    fn between(
        &self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> impl DoubleEndedIterator<Item = (&K, u32)> {
        // A map panics when it is asked for less than nothing (P12).
        (!is_empty(bounds))
            .then(|| self.0.range::<[u8], _>(bounds))
            .into_iter()
            .flatten()
            .map(|(key, id)| (&key.0, *id))
    }
}

/// Whether nothing can be within these bounds.
fn is_empty(bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match bounds {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (
            Bound::Included(start) | Bound::Excluded(start),
            Bound::Included(end) | Bound::Excluded(end),
        ) => start >= end,
    }
}

impl<K: Key> Default for KeyOrder<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Key> fmt::Debug for KeyOrder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyOrder")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// A key that is its bytes: compared by them, and found by them.
#[derive(Clone)]
struct ByBytes<K>(K);

impl<K: Key> Borrow<[u8]> for ByBytes<K> {
    fn borrow(&self) -> &[u8] {
        K::bytes(self.0.borrow())
    }
}

impl<K: Key> Ord for ByBytes<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        let (one, other): (&[u8], &[u8]) = (self.borrow(), other.borrow());
        one.cmp(other)
    }
}

impl<K: Key> PartialOrd for ByBytes<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Key> PartialEq for ByBytes<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<K: Key> Eq for ByBytes<K> {}
