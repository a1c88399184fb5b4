//! From a hash to the id of what has it: a key's entry, or a term.

use alloc::vec::Vec;
use core::mem;

use hashbrown::HashTable;

/// A power of two. A table doubles by moving everything that is in it, so one table for a million
/// keys would pause for tens of milliseconds; 256 small ones each pause for a fraction of one.
///
/// Nobody can see which shard an id is in, so a simulation, which clones engines by the million, does
/// with few.
const SHARDS: usize = if cfg!(feature = "simulated") { 4 } else { 256 };

/// Up to so many ids one table does: 256 empty ones would be most of what an idle informer takes.
/// It is what 16,384 places hold, so that no room is made just before the table is split.
const ONE_TABLE: usize = 14 * 1_024;

/// A hash table of ids. It is only ever walked to be split, so its order is never seen.
#[derive(Clone)]
pub(crate) struct Table {
    /// One, or [`SHARDS`].
    shards: Vec<HashTable<u32>>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            shards: alloc::vec![HashTable::new()],
        }
    }

    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.shards[self.shard(hash)]
            .find(hash, |id| is_it(*id))
            .copied()
    }

    /// An id that probably has this hash, where there is one: for who wants to look at what has it
    /// only later.
    pub(crate) fn candidate(&self, hash: u64) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// Adds an id that is not in the table yet. `hash_of` tells the hash of any other one.
    pub(crate) fn insert(&mut self, hash: u64, id: u32, hash_of: impl Fn(u32) -> u64) {
        if self.shards.len() == 1 && self.shards[0].len() == ONE_TABLE {
            self.split(&hash_of);
        }
        let shard = self.shard(hash);
        self.shards[shard].insert_unique(hash, id, |id| hash_of(*id));
    }

    /// Room for so many ids in all, where they are spread evenly.
    pub(crate) fn reserve(&mut self, ids: usize, hash_of: impl Fn(u32) -> u64) {
        if self.shards.len() == 1 && ids > ONE_TABLE {
            self.split(&hash_of);
        }
        let each = ids / self.shards.len();
        for shard in &mut self.shards {
            let more = each.saturating_sub(shard.len());
            shard.reserve(more, |id| hash_of(*id));
        }
    }

    fn split(&mut self, hash_of: impl Fn(u32) -> u64) {
        let shards = (0..SHARDS).map(|_| HashTable::new()).collect();
        for id in mem::replace(&mut self.shards, shards).into_iter().flatten() {
            let hash = hash_of(id);
            let shard = self.shard(hash);
            self.shards[shard].insert_unique(hash, id, |id| hash_of(*id));
        }
    }

    pub(crate) fn remove(&mut self, hash: u64, id: u32) {
        let shard = self.shard(hash);
        if let Ok(found) = self.shards[shard].find_entry(hash, |other| *other == id) {
            found.remove();
        }
    }

    #[cfg(any(test, feature = "simulated"))]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(HashTable::len).sum()
    }

    /// By bits that the tables themselves make little use of: they take the lowest and the highest.
    fn shard(&self, hash: u64) -> usize {
        (hash >> 40) as usize & (self.shards.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::mix;

    #[test]
    fn what_room_was_made_for_is_found_beside_what_was_there() {
        let hash = |id: u32| mix(u64::from(id));
        for (before, room) in [
            (0, 10_000),
            (10, 10_000),
            (10, 20),
            (3_000, 10),
            (3_000, 10_000),
        ] {
            let mut table = Table::new();
            (0..before).for_each(|id| table.insert(hash(id), id, hash));
            table.reserve(room, hash);
            (before..room as u32).for_each(|id| table.insert(hash(id), id, hash));
            let end = before.max(room as u32);
            assert_eq!(table.len(), end as usize);
            for id in 0..end {
                assert_eq!(table.find(hash(id), |other| other == id), Some(id));
                assert!(table.candidate(hash(id)).is_some());
            }
        }
    }

    #[test]
    fn what_one_table_held_is_found_in_the_many_that_follow_it() {
        const MANY: u32 = 3 * ONE_TABLE as u32;
        let hash = |id: u32| mix(u64::from(id));
        let mut table = Table::new();
        for id in 0..MANY {
            table.insert(hash(id), id, hash);
        }
        assert!(table.shards.len() > 1 && table.len() == MANY as usize);
        for id in (0..MANY).step_by(2) {
            table.remove(hash(id), id);
        }
        for id in 0..MANY {
            let found = table.find(hash(id), |other| other == id);
            assert_eq!(found, (id % 2 == 1).then_some(id));
        }
    }
}
