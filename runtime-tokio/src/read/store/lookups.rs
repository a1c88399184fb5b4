//! Objects found by what is in them: the engine's indexes, kept once more for readers.
//!
//! What an index finds is a persistent map from terms to places. Each publication has its own root
//! of it, and shares with the one before whatever did not change in between. So a view finds what its
//! publication holds for as long as it is kept, with nothing to be made good again, and a publication
//! of any size shows with its indexes at once. The objects themselves are read at their places, as
//! they were at that flip, like all others: an object keeps its place for as long as anybody sees it.
//!
//! The writer alone knows under which terms each object is found, so that the old value is not
//! needed to take it out.

use std::panic::{AssertUnwindSafe, catch_unwind};

use foldhash::fast::FixedState;
use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericHashMap, OrdSet, ordset};
use reflet_core::index::{IndexBy, IndexId, Terms};

use super::address::Address;
use crate::probe::canary;
use crate::sync::Arc;

type Term = Arc<[u8]>;
type ByTerm = GenericHashMap<Term, Postings, FixedState, DefaultSharedPtr>;

/// Where the objects are that are found under a term: one at least. Many terms have one only.
#[derive(Clone)]
enum Postings {
    One(Address),
    Many(OrdSet<Address>),
}

/// What one publication finds by.
#[derive(Clone, Default)]
pub(crate) struct Lookups(Arc<[(IndexId, ByTerm)]>);

impl Lookups {
    /// How many objects an index finds under a term.
    pub(crate) fn count(&self, id: IndexId, term: &[u8]) -> usize {
        self.postings(id, term).map_or(0, Postings::len)
    }

    pub(super) fn found(&self, id: IndexId, term: &[u8]) -> Found<'_> {
        self.postings(id, term)
            .map_or(Found::NONE, |postings| postings.found(None))
    }

    pub(super) fn both(&self, one: (IndexId, &[u8]), other: (IndexId, &[u8])) -> Found<'_> {
        let (Some(one), Some(other)) =
            (self.postings(one.0, one.1), self.postings(other.0, other.1))
        else {
            return Found::NONE;
        };
        if one.len() <= other.len() {
            one.found(Some(other))
        } else {
            other.found(Some(one))
        }
    }

    fn postings(&self, id: IndexId, term: &[u8]) -> Option<&Postings> {
        let (_, by_term) = self.0.iter().find(|(other, _)| *other == id)?;
        by_term.get(term)
    }
}

/// Where the objects are that were found.
pub(crate) struct Found<'a> {
    places: Places<'a>,
    /// Only what is here too.
    also: Option<&'a Postings>,
}

enum Places<'a> {
    One(Option<Address>),
    Many(ordset::Iter<'a, Address, DefaultSharedPtr>),
}

impl Found<'_> {
    const NONE: Self = Self {
        places: Places::One(None),
        also: None,
    };
}

impl Iterator for Found<'_> {
    type Item = Address;

    fn next(&mut self) -> Option<Address> {
        loop {
            let place = match &mut self.places {
                Places::One(place) => place.take()?,
                Places::Many(places) => *places.next()?,
            };
            if self.also.is_none_or(|also| also.has(place)) {
                return Some(place);
            }
        }
    }
}

impl Postings {
    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(places) => places.len(),
        }
    }

    fn has(&self, place: Address) -> bool {
        match self {
            Self::One(only) => *only == place,
            Self::Many(places) => places.contains(&place),
        }
    }

    fn found<'a>(&'a self, also: Option<&'a Self>) -> Found<'a> {
        let places = match self {
            Self::One(place) => Places::One(Some(*place)),
            Self::Many(places) => Places::Many(places.iter()),
        };
        Found { places, also }
    }

    fn insert(&mut self, place: Address) {
        match self {
            Self::One(only) => *self = Self::Many([*only, place].into_iter().collect()),
            Self::Many(places) => {
                places.insert(place);
            }
        }
    }

    /// True if none is left.
    fn remove(&mut self, place: Address) -> bool {
        match self {
            Self::One(only) => *only == place,
            Self::Many(places) => {
                places.remove(&place);
                if let (1, Some(last)) = (places.len(), places.get_min()) {
                    *self = Self::One(*last);
                }
                false
            }
        }
    }
}

/// The writer's end: all indexes, in the order of their ids.
pub(super) struct Indexes<V> {
    all: Vec<Indexed<V>>,
    staged: Terms,
    seed: u64,
    /// What readers find by, unless something has changed since.
    shown: Option<Lookups>,
}

pub(super) struct Indexed<V> {
    id: IndexId,
    by: IndexBy<Arc<str>, V>,
    by_term: ByTerm,
    /// The terms of the objects in the engine's slots.
    rows: Vec<Row>,
}

/// One object's terms in their order, each once.
#[derive(Default)]
enum Row {
    #[default]
    None,
    One(Term),
    Many(Box<[Term]>),
}

impl<V> Indexes<V> {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            all: Vec::new(),
            staged: Terms::new(),
            seed,
            shown: None,
        }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = IndexId> {
        self.all.iter().map(|index| index.id)
    }

    /// Takes out what is not wanted any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(IndexId) -> bool) -> Vec<Indexed<V>> {
        self.shown = None;
        self.all.extract_if(.., |index| !wanted(index.id)).collect()
    }

    /// Adds an index of the objects that there are.
    pub(super) fn add<'a>(
        &mut self,
        id: IndexId,
        by: IndexBy<Arc<str>, V>,
        objects: impl Iterator<Item = (usize, Address, &'a str, &'a V)>,
    ) where
        V: 'a,
    {
        let mut index = Indexed {
            id,
            by,
            by_term: ByTerm::with_hasher(FixedState::with_seed(self.seed)),
            rows: Vec::new(),
        };
        for (slot, place, key, value) in objects {
            index.put(slot, place, key, value, &mut self.staged);
        }
        let at = self.all.partition_point(|other| other.id < id);
        self.all.insert(at, index);
        self.shown = None;
    }

    /// The object in this slot, new or changed.
    pub(super) fn put(&mut self, slot: usize, place: Address, key: &str, value: &V) {
        for index in &mut self.all {
            if index.put(slot, place, key, value, &mut self.staged) {
                self.shown = None;
            }
        }
    }

    /// The object in this slot is gone.
    pub(super) fn take_out(&mut self, slot: usize, place: Address) {
        for index in &mut self.all {
            if index.take_out(slot, place) {
                self.shown = None;
            }
        }
    }

    /// What readers find by from the next publication on.
    pub(super) fn lookups(&mut self) -> Lookups {
        let Self { all, shown, .. } = self;
        let lookups = shown.get_or_insert_with(|| {
            let all = all.iter();
            Lookups(all.map(|index| (index.id, index.by_term.clone())).collect())
        });
        lookups.clone()
    }
}

impl<V> Indexed<V> {
    /// False if nothing has changed.
    fn put(
        &mut self,
        slot: usize,
        place: Address,
        key: &str,
        value: &V,
        staged: &mut Terms,
    ) -> bool {
        staged.clear();
        // The engine has asked the same, where a panic is told; here it must not leave half a step.
        let _ = catch_unwind(AssertUnwindSafe(|| self.by.collect(key, value, staged)));
        if slot >= self.rows.len() {
            self.rows.resize_with(slot + 1, Row::default);
        }
        let is_same = |row: &Row, terms: &mut dyn Iterator<Item = &[u8]>| {
            row.terms().iter().map(|term| &**term).eq(terms)
        };
        // Most changes change no term, and most objects have one.
        if is_same(&self.rows[slot], &mut staged.iter()) {
            return false;
        }
        let mut terms: Vec<_> = staged.iter().collect();
        terms.sort_unstable();
        terms.dedup();
        if is_same(&self.rows[slot], &mut terms.iter().copied()) {
            return false;
        }
        let before = std::mem::take(&mut self.rows[slot]);
        for term in before.terms() {
            if terms.binary_search(&&**term).is_err() && !canary!(ReadersFindByOldTerms) {
                self.leave(term, place);
            }
        }
        let known = |term: &[u8]| {
            let at = before.terms().binary_search_by(|other| (**other).cmp(term));
            at.ok().map(|at| Arc::clone(&before.terms()[at]))
        };
        let terms = terms
            .into_iter()
            .map(|term| known(term).unwrap_or_else(|| self.enter(term, place)));
        let terms: Vec<_> = terms.collect();
        self.rows[slot] = terms.into();
        true
    }

    fn take_out(&mut self, slot: usize, place: Address) -> bool {
        let row = self
            .rows
            .get_mut(slot)
            .map(std::mem::take)
            .unwrap_or_default();
        for term in row.terms() {
            self.leave(term, place);
        }
        !row.terms().is_empty()
    }

    fn enter(&mut self, term: &[u8], place: Address) -> Term {
        if let Some((term, postings)) = self.by_term.get_key_value_mut(term) {
            postings.insert(place);
            return Arc::clone(term);
        }
        let term = Term::from(term);
        self.by_term.insert(Arc::clone(&term), Postings::One(place));
        term
    }

    fn leave(&mut self, term: &Term, place: Address) {
        let postings = self.by_term.get_mut(term);
        if postings.is_some_and(|postings| postings.remove(place)) {
            self.by_term.remove(term);
        }
    }
}

impl Row {
    fn terms(&self) -> &[Term] {
        match self {
            Self::None => &[],
            Self::One(term) => std::slice::from_ref(term),
            Self::Many(terms) => terms,
        }
    }
}

impl From<Vec<Term>> for Row {
    fn from(mut terms: Vec<Term>) -> Self {
        match (terms.pop(), terms.is_empty()) {
            (None, _) => Self::None,
            (Some(only), true) => Self::One(only),
            (Some(last), false) => {
                terms.push(last);
                Self::Many(terms.into())
            }
        }
    }
}
