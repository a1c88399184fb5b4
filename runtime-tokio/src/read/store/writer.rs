//! The one who writes: gathers what has changed on the hidden side, and flips.

use std::collections::BTreeMap;
use std::sync::{PoisonError, TryLockError};

use super::shard::{Hash, Shard, Taken};
use super::{Head, Published, SHARDS, Side, Store};
use crate::sync::{Arc, Ordering, RwLockReadGuard, RwLockWriteGuard};

/// How many records and places each publication looks at to free them.
const STEPS: usize = 1024;
/// A list that was longer gives its memory back.
const KEPT: usize = 4096;

/// Which slots of the engine are where: a shard in the highest bits, a place in it in the others.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Address(u32);

const LOCAL_BITS: u32 = u32::BITS - SHARDS.ilog2();

impl Address {
    const NONE: Self = Self(u32::MAX);

    fn new(shard: usize, local: u32) -> Self {
        Self((shard as u32) << LOCAL_BITS | local)
    }

    fn shard(self) -> usize {
        (self.0 >> LOCAL_BITS) as usize
    }

    fn local(self) -> u32 {
        self.0 & ((1 << LOCAL_BITS) - 1)
    }
}

/// What is known of a shard's places once for both sides: they use the same ones.
#[derive(Default)]
struct Ledger {
    hashes: Vec<u32>,
    free: Vec<u32>,
}

/// Something that a place was until a flip.
#[derive(Clone, Copy)]
struct Record {
    address: Address,
    until: u64,
}

/// What was taken out, to be dropped when nothing is locked any more: users' destructors may take
/// their time.
pub(crate) struct Garbage<V>(#[expect(dead_code, reason = "to be dropped")] Vec<Taken<V>>);

/// The writing end of a [`Store`]. Between publications both sides are the same, but for the places
/// that are late.
pub(crate) struct Writer<V> {
    store: Arc<Store<V>>,
    flip: u64,
    /// Where the objects in the engine's slots are.
    addresses: Vec<Address>,
    ledgers: Vec<Ledger>,
    len: usize,
    /// The hidden side is being written.
    begun: bool,
    /// The newest pin that there are records for of what has changed.
    recorded: Option<u64>,
    /// What has changed on the hidden side, and where it was only tidied up.
    changed: Vec<Address>,
    tidied: Vec<Address>,
    /// What still has to be done to the other side: there was somebody in the shard.
    late: Vec<Address>,
    /// Places whose objects are gone, to be freed if nobody looks at them any more.
    gone: Vec<Address>,
    /// Places that nothing knows any more, once both sides agree on that.
    freed: Vec<Address>,
    /// Records by the pin that they are kept for, and those that were kept for one that went.
    owned: BTreeMap<u64, Vec<Record>>,
    orphans: Vec<Record>,
    garbage: Vec<Taken<V>>,
}

impl<V: Clone> Writer<V> {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            store: Arc::new(Store::new(seed)),
            flip: 0,
            addresses: Vec::new(),
            ledgers: (0..SHARDS).map(|_| Ledger::default()).collect(),
            len: 0,
            begun: false,
            recorded: None,
            changed: Vec::new(),
            tidied: Vec::new(),
            late: Vec::new(),
            gone: Vec::new(),
            freed: Vec::new(),
            owned: BTreeMap::new(),
            orphans: Vec::new(),
            garbage: Vec::new(),
        }
    }

    pub(crate) fn store(&self) -> &Arc<Store<V>> {
        &self.store
    }

    /// How many publications there were.
    pub(crate) const fn flip(&self) -> u64 {
        self.flip
    }

    /// What is to be dropped.
    pub(crate) fn take_garbage(&mut self) -> Garbage<V> {
        Garbage(std::mem::take(&mut self.garbage))
    }

    /// The object in this slot is gone.
    pub(crate) fn gone(&mut self, slot: u32) {
        self.begin();
        let Some(address) = self.addresses.get_mut(slot as usize) else {
            return;
        };
        let address = std::mem::replace(address, Address::NONE);
        if address != Address::NONE {
            self.len -= 1;
            self.put(address, None);
            self.gone.push(address);
        }
    }

    /// The object in this slot, new or changed.
    pub(crate) fn now(&mut self, slot: u32, key: &Arc<str>, value: &V) {
        self.begin();
        let (slot, value) = (slot as usize, value.clone());
        if slot >= self.addresses.len() {
            self.addresses.resize(slot + 1, Address::NONE);
        }
        if self.addresses[slot] == Address::NONE {
            self.addresses[slot] = self.place(key);
            self.len += 1;
        }
        self.put(self.addresses[slot], Some(value));
    }

    fn put(&mut self, address: Address, value: Option<V>) {
        let hidden = self.store.side(self.flip + 1);
        let value = write(hidden, address.shard()).set_value(address.local(), value);
        self.garbage.push(Taken { key: None, value });
        self.changed.push(address);
    }

    /// A place for a new key: the one that it had, if somebody may still look at that.
    fn place(&mut self, key: &Arc<str>) -> Address {
        let hash = self.store.hash(key);
        let Self { store, ledgers, .. } = self;
        let ledger = &mut ledgers[hash.shard()];
        let side = store.side(self.flip + 1);
        let mut shard = write(side, hash.shard());
        let local = shard.find(hash, key).unwrap_or_else(|| ledger.take(hash));
        let key = shard.set_key(local, Arc::clone(key), &ledger.hashes);
        drop(shard);
        self.garbage.push(Taken { key, value: None });
        Address::new(hash.shard(), local)
    }

    /// Before the first change: what the last publication has left to do.
    fn begin(&mut self) {
        if self.begun {
            return;
        }
        self.begun = true;
        for address in std::mem::take(&mut self.late) {
            self.copy(self.flip, address, true);
        }
        for address in self.freed.drain(..) {
            self.ledgers[address.shard()].free.push(address.local());
        }
        self.tidy();
    }

    /// A part of the first copy is there. Nobody reads yet.
    pub(crate) fn settle_part(&mut self) {
        for address in std::mem::take(&mut self.changed) {
            self.copy(self.flip + 1, address, true);
        }
    }

    /// Publishes what was handed in since the last time.
    pub(crate) fn publish(&mut self, published: Published) {
        self.stage(published);
        self.show();
        self.follow();
    }

    /// Makes the hidden side ready to be shown.
    pub(super) fn stage(&mut self, published: Published) {
        self.begin();
        let head = Head {
            published,
            len: self.len,
        };
        let hidden = self.store.side(self.flip + 1);
        *hidden.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        self.recorded = self.store.pins().newest();
        if let Some(pin) = self.recorded {
            self.record(pin);
        }
    }

    /// Shows the hidden side. For who has pinned the live one since it was looked at last, records
    /// are made first: a pin that is older is none the wiser for them.
    pub(super) fn show(&mut self) {
        let store = Arc::clone(&self.store);
        let pins = store.pins();
        let late = pins.newest() == Some(self.flip) && self.recorded != Some(self.flip);
        let pins = if late {
            drop(pins);
            self.record(self.flip);
            // Whoever came meanwhile has pinned the same flip.
            store.pins()
        } else {
            pins
        };
        self.flip += 1;
        store.flip.0.store(self.flip, Ordering::Release);
        drop(pins);
    }

    /// Does the same to the other side.
    pub(super) fn follow(&mut self) {
        let mut list = std::mem::take(&mut self.changed);
        list.append(&mut self.tidied);
        for address in list.drain(..) {
            self.copy(self.flip, address, false);
        }
        list.shrink_to(KEPT);
        self.changed = list;
        self.begun = false;
    }

    /// Makes a place on the side that `flip` does not show what it is on the one that it does.
    fn copy(&mut self, flip: u64, address: Address, wait: bool) {
        let (from, to) = (self.store.side(flip), self.store.side(flip + 1));
        let shard = address.shard();
        let mut to = match to.shards[shard].0.try_write() {
            Ok(to) => to,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if wait => write(to, shard),
            Err(TryLockError::WouldBlock) => {
                self.late.push(address);
                return;
            }
        };
        let hashes = &self.ledgers[shard].hashes;
        let from = read(from, shard);
        to.copy(&from, address.local(), hashes, &mut self.garbage);
    }

    /// Makes a record of what has changed, where a pin sees what it was.
    fn record(&mut self, pin: u64) {
        let until = self.flip + 1;
        let (live, hidden) = (self.store.side(self.flip), self.store.side(until));
        let records = self.owned.entry(pin).or_default();
        for address in &self.changed {
            let (shard, local) = (address.shard(), address.local());
            let mut hidden = write(hidden, shard);
            // What came after the newest pin nobody sees; nor is anything recorded twice.
            if hidden.since(local, u64::MAX) <= pin {
                let was = read(live, shard).value(local).cloned();
                hidden.remember(local, until, was);
                records.push(Record {
                    address: *address,
                    until,
                });
            }
        }
    }

    /// Frees some of what nobody looks at any more.
    fn tidy(&mut self) {
        for pin in self.store.pins().take_dropped() {
            // Pinned again, it is among the dropped ones again later.
            self.orphans
                .extend(self.owned.remove(&pin).unwrap_or_default());
        }
        let first = self.orphans.len().saturating_sub(STEPS);
        for record in self.orphans.split_off(first) {
            self.settle(record);
        }
        let first = self.gone.len().saturating_sub(STEPS);
        for address in self.gone.split_off(first) {
            self.free(address);
        }
        for list in [&mut self.gone, &mut self.freed] {
            if list.len() < KEPT / 2 {
                list.shrink_to(KEPT);
            }
        }
    }

    /// Hands a record to the next pin that needs it, or forgets it.
    fn settle(&mut self, record: Record) {
        let Record { address, until } = record;
        let (shard, local) = (address.shard(), address.local());
        let mut hidden = write(self.store.side(self.flip + 1), shard);
        let since = hidden.since(local, until);
        if let Some(pin) = self.store.pins().newest_in(since..until) {
            self.owned.entry(pin).or_default().push(record);
            return;
        }
        let value = hidden.forget(local, until);
        let gone = hidden.value(local).is_none();
        drop(hidden);
        self.garbage.push(Taken { key: None, value });
        self.tidied.push(address);
        if gone {
            self.gone.push(address);
        }
    }

    /// Frees a place whose object is gone, unless there is another one by now, or somebody may look
    /// at what it was: then its last record comes back to it.
    fn free(&mut self, address: Address) {
        let (shard, local) = (address.shard(), address.local());
        let mut hidden = write(self.store.side(self.flip + 1), shard);
        if hidden.value(local).is_some() || hidden.has_past(local) {
            return;
        }
        let taken = hidden.clear(local, &self.ledgers[shard].hashes);
        drop(hidden);
        // Once: a place can be in the list twice.
        if taken.key.is_some() {
            self.garbage.push(taken);
            self.tidied.push(address);
            self.freed.push(address);
        }
    }
}

impl Ledger {
    fn take(&mut self, hash: Hash) -> u32 {
        if let Some(local) = self.free.pop() {
            self.hashes[local as usize] = hash.local();
            return local;
        }
        self.hashes.push(hash.local());
        (self.hashes.len() - 1) as u32
    }
}

fn write<V>(side: &Side<V>, shard: usize) -> RwLockWriteGuard<'_, Shard<V>> {
    let lock = &side.shards[shard].0;
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn read<V>(side: &Side<V>, shard: usize) -> RwLockReadGuard<'_, Shard<V>> {
    let lock = &side.shards[shard].0;
    lock.read().unwrap_or_else(PoisonError::into_inner)
}
