//! A side's shards, locked to be read or written.

use std::sync::{PoisonError, TryLockError};

use super::address::Address;
use super::shard::Shard;
use super::{SHARDS, Side};
use crate::sync::{RwLockReadGuard, RwLockWriteGuard};

/// The shards of a side that nobody is shown, for many changes at once: each is locked when it is
/// needed first, and stays locked until all is done. No reader waits for that, and the locks cost
/// once what they would cost with each change.
pub(super) struct Locked<'a, V> {
    side: &'a Side<V>,
    shards: [Option<RwLockWriteGuard<'a, Shard<V>>>; SHARDS],
}

impl<'a, V> Locked<'a, V> {
    pub(super) fn new(side: &'a Side<V>) -> Self {
        let shards = std::array::from_fn(|_| None);
        Self { side, shards }
    }

    /// Waits for whoever is still there.
    pub(super) fn lock(&mut self, shard: usize) -> &mut Shard<V> {
        self.shards[shard].get_or_insert_with(|| write(self.side, shard))
    }

    /// `None` if somebody is still there.
    pub(super) fn try_lock(&mut self, shard: usize) -> Option<&mut Shard<V>> {
        let locked = &mut self.shards[shard];
        if locked.is_none() {
            *locked = try_write(self.side, shard);
        }
        locked.as_deref_mut()
    }

    /// Looks at what is at these places, where the shard is locked already. Changes wait for memory
    /// one after the other, since each counts references; what only looks waits for all at once.
    pub(super) fn look_ahead(&self, places: impl Iterator<Item = Address>) {
        let is_there = |place: &Address| {
            let shard = self.shards[place.shard()].as_deref();
            shard.is_some_and(|shard| shard.value(place.local()).is_some())
        };
        std::hint::black_box(places.filter(is_there).count());
    }
}

pub(super) fn write<V>(side: &Side<V>, shard: usize) -> RwLockWriteGuard<'_, Shard<V>> {
    let lock = &side.shards[shard].0;
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// `None` if somebody is there.
pub(super) fn try_write<V>(side: &Side<V>, shard: usize) -> Option<RwLockWriteGuard<'_, Shard<V>>> {
    match side.shards[shard].0.try_write() {
        Ok(shard) => Some(shard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

pub(super) fn read<V>(side: &Side<V>, shard: usize) -> RwLockReadGuard<'_, Shard<V>> {
    let lock = &side.shards[shard].0;
    lock.read().unwrap_or_else(PoisonError::into_inner)
}
