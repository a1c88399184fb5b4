//! From a key's hash to the id of its entry.

use alloc::vec::Vec;

use hashbrown::HashTable;

/// A power of two. A table doubles by moving everything that is in it, so one table for a million
/// keys would pause for tens of milliseconds; 256 small ones each pause for a fraction of one.
///
/// Nobody can see which shard a key is in, so a simulation, which clones engines by the million, does
/// with few.
const SHARDS: usize = if cfg!(feature = "simulated") { 4 } else { 256 };

/// A hash table of entry ids. Nothing here ever walks it, so its order is never seen.
#[derive(Clone)]
pub(super) struct Table {
    shards: Vec<HashTable<u32>>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| HashTable::new()).collect(),
        }
    }

    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.shards[shard(hash)]
            .find(hash, |id| is_it(*id))
            .copied()
    }

    /// Adds an id that is not in the table yet. `hash_of` tells the hash of any other one.
    pub(super) fn insert(&mut self, hash: u64, id: u32, hash_of: impl Fn(u32) -> u64) {
        self.shards[shard(hash)].insert_unique(hash, id, |id| hash_of(*id));
    }

    pub(super) fn remove(&mut self, hash: u64, id: u32) {
        if let Ok(found) = self.shards[shard(hash)].find_entry(hash, |other| *other == id) {
            found.remove();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(HashTable::len).sum()
    }
}

/// By bits that the tables themselves make little use of: they take the lowest and the highest.
fn shard(hash: u64) -> usize {
    (hash >> 40) as usize & (SHARDS - 1)
}
