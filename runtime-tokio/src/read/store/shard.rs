//! One shard of one side: a table of places over a dense row of slots.

use std::collections::BTreeMap;

use super::SHARDS;
use super::address::Ledger;
use super::table::Table;
use crate::sync::Arc;

/// How many slots a walk looks at in one go, which is as long as it can hold up the writer.
const PIECE: usize = 64;

/// A key's hash: the shard in the upper half, where in the shard's table in the lower.
#[derive(Clone, Copy)]
pub(super) struct Hash(pub(super) u64);

impl Hash {
    pub(super) fn shard(self) -> usize {
        (self.0 >> u32::BITS) as usize & (SHARDS - 1)
    }

    /// The half that has to be remembered when a table grows.
    pub(super) fn local(self) -> u32 {
        self.0 as u32
    }
}

/// What is at a place now.
#[derive(Clone)]
struct Slot<V> {
    /// `None` in a free place only.
    key: Option<Arc<str>>,
    /// `None`: the object is gone, and somebody may still look at what it was.
    value: Option<V>,
}

#[derive(Clone)]
pub(super) struct Shard<V> {
    table: Table,
    slots: Vec<Slot<V>>,
    /// The records: of a place, what its value was until a flip.
    past: BTreeMap<(u32, u64), Option<V>>,
}

impl<V> Shard<V> {
    pub(super) const fn new() -> Self {
        Self {
            table: Table::new(),
            slots: Vec::new(),
            past: BTreeMap::new(),
        }
    }

    pub(super) fn find(&self, hash: Hash, key: &str) -> Option<u32> {
        let is_it = |local: u32| self.slots[local as usize].key.as_deref() == Some(key);
        self.table.find(hash.local(), is_it)
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

    /// What was at a place at a flip.
    pub(super) fn object_at(&self, local: u32, flip: u64) -> Option<(&Arc<str>, &V)> {
        let key = self.slots.get(local as usize)?.key.as_ref()?;
        Some((key, self.value_at(local, flip)?))
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
            if let Some((key, value)) = self.object_at(local as u32, flip) {
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
        self.since(local, u64::MAX) > 0
    }

    /// Makes a record.
    pub(super) fn remember(&mut self, local: u32, until: u64, was: Option<V>) -> Option<V> {
        self.past.insert((local, until), was).flatten()
    }

    /// What a record says.
    pub(super) fn record(&self, local: u32, until: u64) -> Option<&V> {
        self.past.get(&(local, until))?.as_ref()
    }

    pub(super) fn forget(&mut self, local: u32, until: u64) -> Option<V> {
        self.past.remove(&(local, until)).flatten()
    }

    /// Sets what is at a place now, and returns what was.
    pub(super) fn set_value(&mut self, local: u32, value: Option<V>) -> Option<V> {
        let slot = &mut self.slots[local as usize];
        std::mem::replace(&mut slot.value, value)
    }

    /// Gives a key a place: a free one, or the one it has already.
    pub(super) fn set_key(&mut self, local: u32, key: &Arc<str>, ledger: &Ledger) {
        let place = local as usize;
        if place >= self.slots.len() {
            if place >= self.slots.capacity() {
                let room = ledger.room().max(place + 1);
                self.slots.reserve_exact(room - self.slots.len());
            }
            let free = || Slot {
                key: None,
                value: None,
            };
            self.slots.resize_with(place + 1, free);
        }
        let slot = &mut self.slots[place];
        if slot.key.as_ref().is_some_and(|old| Arc::ptr_eq(old, key)) {
            return;
        }
        if slot.key.replace(Arc::clone(key)).is_none() {
            let hash_of = |local| ledger.hash(local);
            self.table.insert(local, ledger.room(), hash_of);
        }
    }

    /// Frees a place. False if it was free.
    pub(super) fn clear(&mut self, local: u32, ledger: &Ledger) -> bool {
        let slot = self.slots.get_mut(local as usize);
        if slot.and_then(|slot| slot.key.take()).is_none() {
            return false;
        }
        self.table.remove(local, |local| ledger.hash(local));
        true
    }

    /// All places in use, and all records.
    #[cfg(test)]
    #[allow(
        dead_code,
        reason = "used by a test that compiles this source by itself"
    )]
    #[expect(clippy::type_complexity, reason = "read at one place")]
    pub(super) fn contents(
        &self,
    ) -> (
        Vec<(u32, Arc<str>, Option<V>)>,
        Vec<((u32, u64), Option<V>)>,
    )
    where
        V: Clone,
    {
        let slots = (0_u32..).zip(&self.slots).filter_map(|(local, slot)| {
            let key = Arc::clone(slot.key.as_ref()?);
            Some((local, key, slot.value.clone()))
        });
        let records = self.past.iter().map(|(key, was)| (*key, was.clone()));
        (slots.collect(), records.collect())
    }

    /// What is at a place: its key, and the value now. `None`: it is free.
    pub(super) fn at(&self, local: u32) -> Option<(&Arc<str>, &Option<V>)> {
        let slot = self.slots.get(local as usize)?;
        Some((slot.key.as_ref()?, &slot.value))
    }
}
