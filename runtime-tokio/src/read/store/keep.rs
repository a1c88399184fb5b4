//! Which indexes the writer keeps for readers, and whether it keeps the order of the keys.

use reflet_core::index::{IndexBy, IndexId, KeyOrderId};

use super::address::Address;
use super::locked::read;
use super::shard::Shard;
use super::{SHARDS, Store, Writer};
use crate::sync::{Arc, RwLockReadGuard};

impl<V: Clone> Writer<V> {
    /// The indexes that readers find by after the next publication.
    pub(crate) fn indexes(&self) -> impl Iterator<Item = IndexId> {
        self.indexes.ids()
    }

    /// The shares in the order of the keys that readers find by after the next publication.
    pub(crate) fn key_orders(&self) -> impl Iterator<Item = KeyOrderId> {
        self.order.holders()
    }

    /// Keeps these indexes from now on; one that is new is built of what is there.
    pub(crate) fn keep_indexes(&mut self, wanted: Vec<(IndexId, IndexBy<Arc<str>, V>)>) {
        self.begin();
        self.put_values();
        let is_wanted = |id| wanted.iter().any(|(other, _)| *other == id);
        self.garbage.indexes.extend(self.indexes.retain(is_wanted));
        let known: Vec<_> = self.indexes.ids().collect();
        let hidden = hidden(&self.store, self.flip);
        for (id, by) in wanted {
            if !known.contains(&id) {
                let objects = objects(&self.addresses, &hidden);
                let objects = objects.map(|(slot, place, key, value)| (slot, place, &**key, value));
                self.indexes.add(id, by, objects);
            }
        }
    }

    /// Keeps the order of the keys for these shares in it from now on, if there are any.
    pub(crate) fn keep_order(&mut self, holders: Vec<KeyOrderId>) {
        self.begin();
        let hidden = hidden(&self.store, self.flip);
        let objects = objects(&self.addresses, &hidden);
        self.order
            .keep(holders, objects.map(|(_, place, key, _)| (key, place)));
    }
}

/// The hidden side, to be read only, all of it at once: who would have to wait for that is the
/// writer itself.
fn hidden<V>(store: &Store<V>, flip: u64) -> Vec<RwLockReadGuard<'_, Shard<V>>> {
    let hidden = store.side(flip + 1);
    (0..SHARDS).map(|shard| read(hidden, shard)).collect()
}

/// The objects in the engine's slots: slot, place, key and value.
fn objects<'a, V>(
    addresses: &'a [Address],
    shards: &'a [RwLockReadGuard<'_, Shard<V>>],
) -> impl Iterator<Item = (usize, Address, &'a Arc<str>, &'a V)> {
    let places = addresses.iter().enumerate();
    let places = places.filter(|(_, place)| **place != Address::NONE);
    places.filter_map(|(slot, place)| {
        let shard = shards.get(place.shard())?;
        let (key, value) = shard.at(place.local())?;
        Some((slot, *place, key, value.as_ref()?))
    })
}
