//! What an index is by: the function that says under which terms an object is found.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::key::Key;

type TermsOf<K, V> = dyn Fn(&<K as Key>::Borrowed, &V, &mut Terms) + Send + Sync;

/// The definition of an index: a name, and a pure function that says under which terms an object is
/// found. Clones share the function, so that each replica of a cache can keep its own
/// [`Index`](super::Index) by it.
///
/// The function may say any number of terms, none and the same one twice. It must not panic: see
/// the [module's docs](super).
pub struct IndexBy<K: Key, V> {
    name: Arc<str>,
    terms_of: Arc<TermsOf<K, V>>,
    most: usize,
}

impl<K: Key, V> IndexBy<K, V> {
    /// An index by what `terms_of` adds to the terms it is given. The name is for whoever looks at
    /// the index; nothing is found by it.
    pub fn new(
        name: impl Into<Arc<str>>,
        terms_of: impl Fn(&K::Borrowed, &V, &mut Terms) + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            terms_of: Arc::new(terms_of),
            most: usize::MAX,
        }
    }

    /// The same, but of one object only the first so many terms count, in the order in which the
    /// function says them and as often as it does. Whoever keeps an index decides what an object
    /// may cost, so that one with millions of terms does not: see
    /// [`Limits::index_terms`](crate::Limits::index_terms).
    #[must_use]
    pub fn at_most(mut self, terms: usize) -> Self {
        self.most = self.most.min(terms);
        self
    }

    /// An index from owners to their dependents: `owners_of` adds the keys, or the uids, of those
    /// that own an object. [`Cache::dependents`](crate::cache::Cache::dependents) then finds what
    /// an owner owns, whether the owner itself is in this collection, in another or gone.
    pub fn owners(owners_of: impl Fn(&V, &mut Terms) + Send + Sync + 'static) -> Self {
        Self::new("owners", move |_, value, owners| owners_of(value, owners))
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// Asks the function: adds to `terms` what this object is found under.
    pub fn collect(&self, key: &K::Borrowed, value: &V, terms: &mut Terms) {
        let outer = terms.room;
        terms.room = outer.min(self.most);
        let before = terms.room;
        (self.terms_of)(key, value, terms);
        let taken = before.saturating_sub(terms.room);
        terms.room = outer.saturating_sub(taken);
    }
}

impl<K: Key, V> Clone for IndexBy<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            terms_of: Arc::clone(&self.terms_of),
            most: self.most,
        }
    }
}

impl<K: Key, V> fmt::Debug for IndexBy<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IndexBy").field(&self.name).finish()
    }
}

/// So many bytes a buffer keeps for the next object; what one exceptional object needed goes.
const KEPT_BYTES: usize = 64 << 10;

/// The terms of one object: byte strings, in the order in which they were added.
///
/// Text is its UTF-8, a number is best added as its big-endian bytes: terms are listed in the
/// order of their bytes. The buffer is used again for the next object, so adding allocates nothing
/// once it has grown.
#[derive(Clone, Debug)]
pub struct Terms {
    bytes: Vec<u8>,
    /// Where each term ends.
    ends: Vec<usize>,
    /// How many more are taken.
    room: usize,
    /// How many were not.
    refused: usize,
}

impl Default for Terms {
    fn default() -> Self {
        Self::new()
    }
}

impl Terms {
    /// No terms.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            room: usize::MAX,
            refused: 0,
        }
    }

    /// The object is found under this term. An empty one is as good as any other.
    pub fn add(&mut self, term: impl AsRef<[u8]>) {
        let Some(room) = self.room.checked_sub(1) else {
            self.refused = self.refused.saturating_add(1);
            return;
        };
        self.room = room;
        self.bytes.extend_from_slice(term.as_ref());
        self.ends.push(self.bytes.len());
    }

    /// How many were added, counting each as often as it was.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many were not taken because there were too many: see [`IndexBy::at_most`].
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused
    }

    /// Whether none were added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let term = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            term
        })
    }

    /// Takes all back.
    pub fn clear(&mut self) {
        let room = self.room.saturating_add(self.ends.len());
        if self.bytes.capacity() + self.ends.capacity() * size_of::<usize>() > KEPT_BYTES {
            *self = Self::new();
        }
        self.bytes.clear();
        self.ends.clear();
        self.room = room;
        self.refused = 0;
    }
}

impl<T: AsRef<[u8]>> Extend<T> for Terms {
    fn extend<I: IntoIterator<Item = T>>(&mut self, terms: I) {
        for term in terms {
            self.add(term);
        }
    }
}
