//! Objects in the order of their keys: the engine's order, kept once more for readers.
//!
//! A persistent map, for the reasons that `lookups` has: only what comes and goes changes it, and
//! each publication has its own root of it.

use std::ops::Bound;

use imbl::OrdMap;
use reflet_core::index::KeyOrderId;

use super::address::Address;
use crate::sync::Arc;

/// What one publication finds in order; nothing, unless somebody wants the order.
#[derive(Clone, Default)]
pub(crate) struct KeyOrder {
    /// Who wants it, in ascending order.
    holders: Arc<[KeyOrderId]>,
    places: OrdMap<Arc<str>, Address>,
}

impl KeyOrder {
    /// Where the objects are whose keys are within `bounds`, in order. Bounds in the wrong order
    /// hold nothing.
    pub(crate) fn range<'a>(
        &'a self,
        id: KeyOrderId,
        bounds: (Bound<&str>, Bound<&str>),
    ) -> impl DoubleEndedIterator<Item = Address> + use<'a> {
        let is_held = self.holders.binary_search(&id).is_ok();
        is_held
            .then(|| self.places.range::<_, str>(bounds))
            .into_iter()
            .flatten()
            .map(|(_, place)| *place)
    }

    pub(super) fn is_kept(&self) -> bool {
        !self.holders.is_empty()
    }

    pub(super) fn holders(&self) -> impl Iterator<Item = KeyOrderId> {
        self.holders.iter().copied()
    }

    /// Is kept for these from now on. For the first one it is made of the objects that there are.
    pub(super) fn keep<'a>(
        &mut self,
        holders: Vec<KeyOrderId>,
        objects: impl Iterator<Item = (&'a Arc<str>, Address)>,
    ) {
        let was_kept = self.is_kept();
        self.holders = holders.into();
        if !self.is_kept() {
            self.places = OrdMap::new();
        } else if !was_kept {
            self.places = objects
                .map(|(key, place)| (Arc::clone(key), place))
                .collect();
        }
    }

    /// An object that was not there.
    pub(super) fn insert(&mut self, key: &Arc<str>, place: Address) {
        if self.is_kept() {
            self.places.insert(Arc::clone(key), place);
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.places.remove(key);
    }
}
