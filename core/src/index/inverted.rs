//! One index: from terms to objects, and back.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::{fmt, mem};

use foldhash::fast::FixedState;

use crate::key::Key;
use crate::probe::{canary, reach};
use crate::slab::Slab;
use crate::table::Table;

use super::by::{IndexBy, Terms};
use super::found::{Both, Ids};
use super::postings::Postings;
use super::rows::Rows;

/// A term that is in use, and the objects that are found under it.
#[derive(Clone, Default)]
struct Term {
    bytes: Box<[u8]>,
    postings: Postings,
}

/// An index: finds objects, which it knows by small numbers of their keeper's choice, by their
/// terms.
///
/// Whoever keeps the objects calls [`put`](Self::put) and [`remove`](Self::remove) with each
/// change. Ids are places in a table: best dense, and used again. What is found comes in ascending
/// order of ids, so it depends on nothing but the calls made before (P11). See the
/// [module's docs](super) for what it costs.
pub struct Index<K: Key, V> {
    by: IndexBy<K, V>,
    hasher: FixedState,
    /// From a term's hash to its place in `terms`.
    table: Table,
    terms: Slab<Term>,
    /// How many terms are in use.
    used: usize,
    rows: Rows,
    /// What the function said of the object that is put next.
    staged: Terms,
    /// The same as places in `terms`: ascending, each once.
    found: Vec<u32>,
}

impl<K: Key, V> Index<K, V> {
    /// An empty index. The seed protects against terms that are chosen to collide; nothing that
    /// can be seen depends on it.
    #[must_use]
    pub fn new(by: IndexBy<K, V>, seed: u64) -> Self {
        Self {
            by,
            hasher: FixedState::with_seed(seed),
            table: Table::new(),
            terms: Slab::new(),
            used: 0,
            rows: Rows::default(),
            staged: Terms::new(),
            found: Vec::new(),
        }
    }

    /// What this index is by.
    #[must_use]
    pub fn by(&self) -> &IndexBy<K, V> {
        &self.by
    }

    /// The object with this id is now this one, whatever it was before. Where its terms are the
    /// same as before, nothing changes and nothing is allocated.
    pub fn put(&mut self, id: u32, key: &K::Borrowed, value: &V) {
        self.stage(key, value);
        self.put_staged(id);
    }

    /// Asks the function about an object, and changes nothing yet: should it panic, the index is
    /// as it was.
    pub(crate) fn stage(&mut self, key: &K::Borrowed, value: &V) {
        self.staged.clear();
        self.by.collect(key, value, &mut self.staged);
    }

    /// How many terms the function said of the object that was asked about last, if not all of them
    /// count.
    pub(crate) fn cut(&self) -> Option<usize> {
        let refused = self.staged.refused();
        (refused > 0).then(|| self.staged.len().saturating_add(refused))
    }

    /// The object with this id is the one that was staged last.
    pub(crate) fn put_staged(&mut self, id: u32) {
        self.find_staged();
        if self.rows.terms(id) == self.found {
            reach!("update that changes no term", !self.found.is_empty());
            return;
        }
        if canary!(IndexMissesUpdate) && !self.rows.terms(id).is_empty() {
            return;
        }
        let (mut row, after) = (self.rows.take(id), mem::take(&mut self.found));
        reach!("term said more than once", self.staged.len() > after.len());
        reach!("object leaves all its terms", after.is_empty());
        for term in only_in(row.terms(), &after) {
            if canary!(IndexKeepsOldTerms) && !after.is_empty() {
                continue;
            }
            self.leave(term, id);
        }
        for term in only_in(&after, row.terms()) {
            self.terms[term].postings.insert(id);
        }
        row.set(&after);
        self.rows.put(id, row);
        self.found = after;
    }

    /// There is no object with this id any more. False if it was found under nothing.
    pub fn remove(&mut self, id: u32) -> bool {
        let row = self.rows.take(id);
        for term in row.terms() {
            self.leave(*term, id);
        }
        !row.terms().is_empty()
    }

    /// The objects that are found under a term, in ascending order of ids.
    pub fn ids(&self, term: impl AsRef<[u8]>) -> Ids<'_> {
        match self.find(term.as_ref()) {
            Some(term) => self.terms[term].postings.iter(),
            None => Ids::none(),
        }
    }

    /// How many objects are found under a term; takes no longer for many.
    #[must_use]
    pub fn count(&self, term: impl AsRef<[u8]>) -> usize {
        self.find(term.as_ref())
            .map_or(0, |term| self.terms[term].postings.len())
    }

    /// Whether an object is found under a term.
    #[must_use]
    pub fn has(&self, term: impl AsRef<[u8]>, id: u32) -> bool {
        self.find(term.as_ref())
            .is_some_and(|term| self.rows.has(id, term))
    }

    /// The objects that are found under `term` here and under `other_term` in the other index,
    /// which may be this one and must use the same ids; in ascending order. Takes time by the
    /// smaller of the two.
    pub fn intersection<'a>(
        &'a self,
        term: impl AsRef<[u8]>,
        other: &'a Self,
        other_term: impl AsRef<[u8]>,
    ) -> Both<'a> {
        let (Some(here), Some(there)) = (self.find(term.as_ref()), other.find(other_term.as_ref()))
        else {
            return Both::none();
        };
        let (few, many) = (&self.terms[here].postings, &other.terms[there].postings);
        if few.len() <= many.len() {
            Both::new(few.iter(), &other.rows, there)
        } else {
            Both::new(many.iter(), &self.rows, here)
        }
    }

    /// All terms in use, in the order of their bytes, with the number of objects found under each.
    /// They are sorted at each call.
    #[must_use]
    pub fn terms(&self) -> Vec<(&[u8], usize)> {
        let used = self.terms.iter().filter(|term| !term.postings.is_empty());
        let mut terms: Vec<_> = used
            .map(|term| (&*term.bytes, term.postings.len()))
            .collect();
        terms.sort_unstable();
        terms
    }

    /// How many terms are in use.
    #[must_use]
    pub fn terms_len(&self) -> usize {
        self.used
    }

    /// The terms that an object is found under, in the order of their bytes, each once.
    #[must_use]
    pub fn terms_of(&self, id: u32) -> Vec<&[u8]> {
        let row = self.rows.terms(id).iter();
        let mut terms: Vec<_> = row.map(|term| &*self.terms[*term].bytes).collect();
        terms.sort_unstable();
        terms
    }

    fn find(&self, term: &[u8]) -> Option<u32> {
        let is_it = |id| *self.terms[id].bytes == *term;
        self.table.find(self.hasher.hash_one(term), is_it)
    }

    /// Finds the places of all staged terms, and makes those that are missing.
    fn find_staged(&mut self) {
        let Self {
            hasher,
            table,
            terms,
            used,
            staged,
            found,
            ..
        } = self;
        found.clear();
        for term in staged.iter() {
            let hash = hasher.hash_one(term);
            let known = table.find(hash, |id| *terms[id].bytes == *term);
            found.push(known.unwrap_or_else(|| {
                let id = terms.insert(Term {
                    bytes: term.into(),
                    postings: Postings::None,
                });
                table.insert(hash, id, |id| hasher.hash_one(&*terms[id].bytes));
                *used += 1;
                id
            }));
        }
        found.sort_unstable();
        found.dedup();
    }

    /// An object is no longer found under a term, which goes with the last one.
    fn leave(&mut self, term: u32, id: u32) {
        self.terms[term].postings.remove(id);
        if self.terms[term].postings.is_empty() {
            reach!("term gone with its last object");
            let Term { bytes, .. } = self.terms.remove(term);
            self.table.remove(self.hasher.hash_one(&*bytes), term);
            self.used -= 1;
        }
    }
}

/// What is in one ascending sequence and not in the other.
fn only_in<'a>(these: &'a [u32], those: &'a [u32]) -> impl Iterator<Item = u32> + use<'a> {
    let mut those = those.iter().peekable();
    these.iter().copied().filter(move |this| {
        while those.next_if(|that| *that < this).is_some() {}
        those.peek() != Some(&this)
    })
}

impl<K: Key, V> Clone for Index<K, V> {
    fn clone(&self) -> Self {
        Self {
            by: self.by.clone(),
            hasher: self.hasher.clone(),
            table: self.table.clone(),
            terms: self.terms.clone(),
            used: self.used,
            rows: self.rows.clone(),
            staged: Terms::new(),
            found: Vec::new(),
        }
    }
}

impl<K: Key, V> fmt::Debug for Index<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("by", &self.by.name())
            .field("terms", &self.terms_len())
            .finish_non_exhaustive()
    }
}
