//! All objects as they were at one publication.

use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;

use reflet_core::Revision;
use reflet_core::index::{IndexId, KeyOrderId};

use super::Published;
use super::store::{self, Pin, Place};

/// All objects as they were at one publication, for as long as it is kept: see
/// [`Reader::view`](crate::Reader::view).
///
/// Holding one delays nobody: no publication, no delta, no other reader. What it costs is memory,
/// and a little of the writer's time: of each object that has changed since, what it was. A clone
/// shows the same, for as long as itself is kept, and costs next to nothing.
pub struct View<V> {
    pin: Pin<V>,
}

impl<V> View<V> {
    pub(super) const fn new(pin: Pin<V>) -> Self {
        Self { pin }
    }

    /// The object of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<V>
    where
        V: Clone,
    {
        self.pin.get(key)
    }

    /// Whether there is an object of this key. Clones nothing.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.pin.contains(key)
    }

    /// All objects, each of them once, in no particular order.
    pub fn iter(&self) -> Iter<'_, V>
    where
        V: Clone,
    {
        Iter {
            view: self,
            at: Place::default(),
            piece: Vec::new(),
        }
    }

    /// The objects that an index finds under a term, in no particular order; none if there was no such
    /// index when the view was taken. One that was removed since is still good here.
    pub fn by_index(&self, id: IndexId, term: impl AsRef<[u8]>) -> Found<'_, V>
    where
        V: Clone,
    {
        Found {
            view: self,
            places: self.pin.found(id, term.as_ref()),
        }
    }

    /// How many objects an index finds under a term; takes no longer for many.
    #[must_use]
    pub fn count_by(&self, id: IndexId, term: impl AsRef<[u8]>) -> usize {
        self.pin.head.lookups.count(id, term.as_ref())
    }

    /// The objects that are found under both of two terms, in one index or in two. Takes time by the
    /// smaller number of the two.
    pub fn by_both(
        &self,
        one: (IndexId, impl AsRef<[u8]>),
        other: (IndexId, impl AsRef<[u8]>),
    ) -> Found<'_, V>
    where
        V: Clone,
    {
        let places = self
            .pin
            .both((one.0, one.1.as_ref()), (other.0, other.1.as_ref()));
        Found { view: self, places }
    }

    /// What an owner owns, through an index by
    /// [`IndexBy::owners`](reflet_core::index::IndexBy::owners) that tells owners' keys.
    pub fn dependents(&self, id: IndexId, owner: &str) -> Found<'_, V>
    where
        V: Clone,
    {
        self.by_index(id, owner)
    }

    /// All objects in the order of their keys; none if there was no such order when the view was
    /// taken. Given back since, it is still good here.
    ///
    /// The order is kept from [`Informer::add_key_order`](crate::Informer::add_key_order) on.
    pub fn iter_by_key(&self, id: KeyOrderId) -> impl DoubleEndedIterator<Item = (Arc<str>, V)>
    where
        V: Clone,
    {
        self.range(id, ..)
    }

    /// The objects whose keys begin with `prefix`, in the order of their keys.
    pub fn prefix(&self, id: KeyOrderId, prefix: &str) -> impl Iterator<Item = (Arc<str>, V)>
    where
        V: Clone,
    {
        self.range(id, prefix..)
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// The objects whose keys are within `bounds` (`"a".."b"`, or from after the last one of a page
    /// on), in the order of their keys. Bounds in the wrong order hold nothing.
    pub fn range<'q>(
        &self,
        id: KeyOrderId,
        bounds: impl RangeBounds<&'q str>,
    ) -> impl DoubleEndedIterator<Item = (Arc<str>, V)>
    where
        V: Clone,
    {
        let bounds = (bounds.start_bound().cloned(), bounds.end_bound().cloned());
        // What is in order at a publication is there at that publication.
        self.pin
            .range(id, bounds)
            .filter_map(|place| self.pin.object(place))
    }

    /// How many objects there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.pin.head.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The publication.
    #[must_use]
    pub const fn published(&self) -> &Published {
        &self.pin.head.published
    }

    /// Its revision, where the source has revisions; `None` before the first publication, too.
    #[must_use]
    pub const fn revision(&self) -> Option<&Revision> {
        self.published().revision.as_ref()
    }
}

impl<V> Clone for View<V> {
    fn clone(&self) -> Self {
        Self {
            pin: self.pin.clone(),
        }
    }
}

impl<V> fmt::Debug for View<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("len", &self.len())
            .field("published", self.published())
            .finish()
    }
}

impl<'a, V: Clone> IntoIterator for &'a View<V> {
    type Item = (Arc<str>, V);
    type IntoIter = Iter<'a, V>;

    fn into_iter(self) -> Iter<'a, V> {
        self.iter()
    }
}

/// The objects of a [`View`]. Taken a few at a time: nothing is locked between two steps.
#[must_use = "nothing is looked at before it is asked for the next one"]
pub struct Iter<'a, V> {
    view: &'a View<V>,
    at: Place,
    piece: Vec<(Arc<str>, V)>,
}

impl<V: Clone> Iterator for Iter<'_, V> {
    type Item = (Arc<str>, V);

    fn next(&mut self) -> Option<Self::Item> {
        while self.piece.is_empty() {
            if !self.view.pin.read_on(&mut self.at, &mut self.piece) {
                return None;
            }
        }
        self.piece.pop()
    }
}

impl<V> fmt::Debug for Iter<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter")
            .field("view", &self.view)
            .finish_non_exhaustive()
    }
}

/// The objects that an index found in a [`View`]. Taken one at a time: nothing is locked between two
/// steps.
#[must_use = "nothing is looked at before it is asked for the next one"]
pub struct Found<'a, V> {
    view: &'a View<V>,
    places: store::Found<'a>,
}

impl<V: Clone> Iterator for Found<'_, V> {
    type Item = (Arc<str>, V);

    fn next(&mut self) -> Option<Self::Item> {
        // What is found at a publication is there at that publication.
        self.places.find_map(|place| self.view.pin.object(place))
    }
}

impl<V> fmt::Debug for Found<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found")
            .field("view", &self.view)
            .finish_non_exhaustive()
    }
}
