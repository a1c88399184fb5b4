//! One shard of one side: a table of places over a dense row of slots.

use std::collections::BTreeMap;

use hashbrown::HashTable;

use super::SHARDS;
use crate::sync::Arc;

/// How many slots a walk looks at in one go, which is as long as it can hold up the writer.
const PIECE: usize = 64;

/// A key's hash: the shard in the upper half, the place in the shard's table in the lower.
#[derive(Clone, Copy)]
pub(super) struct Hash(pub(super) u64);

impl Hash {
    pub(super) fn shard(self) -> usize {
        (self.0 >> 32) as usize & (SHARDS - 1)
    }

    /// The half that has to be remembered when a table grows.
    pub(super) fn local(self) -> u32 {
        self.0 as u32
    }

    /// The table takes the lowest bits and the highest.
    fn spread(local: u32) -> u64 {
        u64::from(local) << 32 | u64::from(local)
    }
}

/// What is at a place now.
struct Slot<V> {
    /// `None` in a free place only.
    key: Option<Arc<str>>,
    /// `None`: the object is gone, and somebody may still look at what it was.
    value: Option<V>,
}

pub(super) struct Shard<V> {
    table: HashTable<u32>,
    slots: Vec<Slot<V>>,
    /// The records: of a place, what its value was until a flip.
    past: BTreeMap<(u32, u64), Option<V>>,
}

/// What the writer took out of a shard, to be dropped when nothing is locked any more.
pub(super) struct Taken<V> {
    pub(super) key: Option<Arc<str>>,
    pub(super) value: Option<V>,
}

impl<V> Shard<V> {
    pub(super) const fn new() -> Self {
        Self {
            table: HashTable::new(),
            slots: Vec::new(),
            past: BTreeMap::new(),
        }
    }

    pub(super) fn find(&self, hash: Hash, key: &str) -> Option<u32> {
        let is_it = |local: &u32| self.slots[*local as usize].key.as_deref() == Some(key);
        self.table.find(Hash::spread(hash.local()), is_it).copied()
    }

    pub(super) fn get(&self, hash: Hash, key: &str) -> Option<&V> {
        self.value(self.find(hash, key)?)
    }

    pub(super) fn get_at(&self, hash: Hash, key: &str, flip: u64) -> Option<&V> {
        self.value_at(self.find(hash, key)?, flip)
    }

    /// The value at a place now. There is none at a place that is not there yet.
    pub(super) fn value(&self, local: u32) -> Option<&V> {
        self.slots.get(local as usize)?.value.as_ref()
    }

    fn value_at(&self, local: u32, flip: u64) -> Option<&V> {
        if !self.past.is_empty() {
            let later = (local, flip.saturating_add(1))..=(local, u64::MAX);
            if let Some((_, was)) = self.past.range(later).next() {
                return was.as_ref();
            }
        }
        self.value(local)
    }

    /// Appends the objects of the next places, and says where to go on; `None` at the end.
    pub(super) fn read_on(
        &self,
        from: usize,
        flip: u64,
        objects: &mut Vec<(Arc<str>, V)>,
    ) -> Option<usize>
    where
        V: Clone,
    {
        let to = from.saturating_add(PIECE).min(self.slots.len());
        for local in from..to {
            if let Some(key) = &self.slots[local].key
                && let Some(value) = self.value_at(local as u32, flip)
            {
                objects.push((Arc::clone(key), value.clone()));
            }
        }
        (to < self.slots.len()).then_some(to)
    }

    /// The end of the newest record of a place that ends before `flip`: since then it was what the
    /// next record says, or what it is now. 0: it may always have been.
    pub(super) fn since(&self, local: u32, flip: u64) -> u64 {
        if self.past.is_empty() {
            return 0;
        }
        let earlier = self.past.range((local, 0)..(local, flip)).next_back();
        earlier.map_or(0, |(&(_, until), _)| until)
    }

    pub(super) fn has_past(&self, local: u32) -> bool {
        !self.past.is_empty()
            && self
                .past
                .range((local, 0)..=(local, u64::MAX))
                .next()
                .is_some()
    }

    pub(super) fn remember(&mut self, local: u32, until: u64, was: Option<V>) {
        self.past.insert((local, until), was);
    }

    pub(super) fn forget(&mut self, local: u32, until: u64) -> Option<V> {
        self.past.remove(&(local, until)).flatten()
    }

    /// Sets what is at a place now.
    pub(super) fn set_value(&mut self, local: u32, value: Option<V>) -> Option<V> {
        let slot = &mut self.slots[local as usize];
        std::mem::replace(&mut slot.value, value)
    }

    /// Gives a key a place: a free one, or the one it has already. `hashes` are those of all places.
    pub(super) fn set_key(
        &mut self,
        local: u32,
        key: Arc<str>,
        hashes: &[u32],
    ) -> Option<Arc<str>> {
        let place = local as usize;
        if place >= self.slots.len() {
            let free = || Slot {
                key: None,
                value: None,
            };
            if place >= self.slots.capacity() {
                // Not twice the size: what is not used yet is paid for on both sides.
                self.slots
                    .reserve_exact(place / 8 + 8 + place - self.slots.len());
            }
            self.slots.resize_with(place + 1, free);
        }
        let before = self.slots[place].key.replace(key);
        if before.is_none() {
            let hash = |local: u32| Hash::spread(hashes[local as usize]);
            self.table
                .insert_unique(hash(local), local, |local| hash(*local));
        }
        before
    }

    /// Frees a place.
    pub(super) fn clear(&mut self, local: u32, hashes: &[u32]) -> Taken<V> {
        let hash = Hash::spread(hashes[local as usize]);
        if let Ok(found) = self.table.find_entry(hash, |other| *other == local) {
            found.remove();
        }
        let slot = &mut self.slots[local as usize];
        Taken {
            key: slot.key.take(),
            value: slot.value.take(),
        }
    }

    /// Makes a place what it is in the same shard of the other side.
    pub(super) fn copy(
        &mut self,
        other: &Self,
        local: u32,
        hashes: &[u32],
        drop_later: &mut Vec<Taken<V>>,
    ) where
        V: Clone,
    {
        let Some(slot) = other.slots.get(local as usize) else {
            return;
        };
        let value = slot.value.clone();
        let mut taken = Taken {
            key: None,
            value: None,
        };
        match &slot.key {
            None => taken = self.clear(local, hashes),
            Some(key) => {
                let same = self
                    .slots
                    .get(local as usize)
                    .and_then(|slot| slot.key.as_ref());
                if !same.is_some_and(|same| Arc::ptr_eq(same, key)) {
                    taken.key = self.set_key(local, Arc::clone(key), hashes);
                }
                taken.value = self.set_value(local, value);
            }
        }
        drop_later.push(taken);
        self.copy_past(other, local, drop_later);
    }

    fn copy_past(&mut self, other: &Self, local: u32, drop_later: &mut Vec<Taken<V>>)
    where
        V: Clone,
    {
        if self.past.is_empty() && other.past.is_empty() {
            return;
        }
        let all = (local, 0)..=(local, u64::MAX);
        let kept = |key: &(u32, u64)| other.past.contains_key(key);
        let ours: Vec<_> = self.past.range(all.clone()).map(|(key, _)| *key).collect();
        for key in ours.into_iter().filter(|key| !kept(key)) {
            let value = self.past.remove(&key).flatten();
            drop_later.push(Taken { key: None, value });
        }
        for (key, was) in other.past.range(all) {
            if !self.past.contains_key(key) {
                self.past.insert(*key, was.clone());
            }
        }
    }
}
