//! The one who writes: gathers what has changed on the hidden side, and flips.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::address::{Address, Ledger};
use super::garbage::Garbage;
use super::locked::{Locked, read, try_write, write};
use super::lookups::Indexes;
use super::order::KeyOrder;
use super::shard::Shard;
use super::{Head, Published, SHARDS, Store, make_room};
use crate::sync::{Arc, Ordering, RwLockWriteGuard};

/// How many records and places each publication looks at to free them; twice as many as the one before
/// has changed, where that is more. So what is to be freed does not pile up however much each of them
/// changes, and is freed at no more cost than it was left behind at.
const STEPS: usize = 1024;
/// A list that was longer gives its memory back.
const KEPT: usize = 4096;

/// Something that a place was until a flip.
#[derive(Clone, Copy)]
pub(super) struct Record {
    pub(super) address: Address,
    pub(super) until: u64,
}

/// Something that was done to one side, and is then done to the other.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// A place's key and value.
    Place(Address),
    Remember(Record),
    Forget(Record),
    /// So much was done that all of the shard is copied.
    Shard(usize),
}

/// The writing end of a [`Store`]. Between publications both sides are the same, but for the steps
/// that are late.
pub(crate) struct Writer<V> {
    pub(super) store: Arc<Store<V>>,
    pub(super) flip: u64,
    /// Where the objects in the engine's slots are.
    pub(super) addresses: Vec<Address>,
    pub(super) ledgers: Vec<Ledger>,
    pub(super) len: usize,
    pub(super) indexes: Indexes<V>,
    pub(super) order: KeyOrder,
    /// The hidden side is being written.
    begun: bool,
    /// The newest pin that there are records for of what has changed.
    pin: Option<u64>,
    /// What was done to the hidden side; the first so many only tidied it up.
    steps: Vec<Step>,
    tidied: usize,
    /// How much the last publication has changed.
    changed: usize,
    /// The values of objects that have changed since, and have their places on both sides by the
    /// steps. The hidden side has so many of them.
    values: Vec<(Address, V)>,
    put: usize,
    /// What still has to be done to the other side: there was somebody in the shard.
    pub(super) late: Vec<Step>,
    /// Places whose objects are gone, to be freed if nobody looks at them any more.
    pub(super) gone: Vec<Address>,
    /// Places that nothing knows any more, once both sides agree on that.
    pub(super) freed: Vec<Address>,
    /// Records by the pin that they are kept for, and those that were kept for one that went.
    pub(super) owned: BTreeMap<u64, Vec<Record>>,
    pub(super) orphans: Vec<Record>,
    pub(super) garbage: Garbage<V>,
}

impl<V> Writer<V> {
    pub(crate) fn store(&self) -> &Arc<Store<V>> {
        &self.store
    }
}

impl<V: Clone> Writer<V> {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            store: Arc::new(Store::new(seed)),
            flip: 0,
            addresses: Vec::new(),
            ledgers: (0..SHARDS).map(|_| Ledger::default()).collect(),
            len: 0,
            indexes: Indexes::new(seed),
            order: KeyOrder::default(),
            begun: false,
            pin: None,
            steps: Vec::new(),
            tidied: 0,
            changed: 0,
            values: Vec::new(),
            put: 0,
            late: Vec::new(),
            gone: Vec::new(),
            freed: Vec::new(),
            owned: BTreeMap::new(),
            orphans: Vec::new(),
            garbage: Garbage::default(),
        }
    }

    /// How many publications there were.
    pub(crate) const fn flip(&self) -> u64 {
        self.flip
    }

    /// What is to be dropped.
    pub(crate) fn take_garbage(&mut self) -> Garbage<V> {
        std::mem::take(&mut self.garbage)
    }

    /// So many objects are there, all in all: most of them may be new.
    pub(crate) fn expect(&mut self, objects: usize) {
        if objects <= self.addresses.capacity() {
            return;
        }
        make_room(&mut self.addresses, objects);
        // Somewhat more than each shard's part: they differ.
        let each = objects / SHARDS;
        let places = each + each / 32;
        for ledger in &mut self.ledgers {
            ledger.expect(places);
        }
    }

    /// The object in this slot is gone.
    pub(crate) fn gone(&mut self, slot: u32) {
        self.begin();
        self.put_as_steps();
        let slot = slot as usize;
        let Some(address) = self.addresses.get_mut(slot) else {
            return;
        };
        let address = std::mem::replace(address, Address::NONE);
        if address != Address::NONE {
            self.len -= 1;
            self.indexes.take_out(slot, address);
            self.gone.push(address);
            let store = Arc::clone(&self.store);
            let hidden = write(store.side(self.flip + 1), address.shard());
            if let Some((key, _)) = hidden.at(address.local()) {
                self.order.remove(key);
            }
            self.put(hidden, address, None);
        }
    }

    /// The object in this slot, new or changed.
    pub(crate) fn now(&mut self, slot: u32, key: &Arc<str>, value: &V) {
        self.begin();
        let (slot, value) = (slot as usize, value.clone());
        if slot >= self.addresses.len() {
            make_room(&mut self.addresses, slot + 1);
            self.addresses.resize(slot + 1, Address::NONE);
        }
        let known = self.addresses[slot];
        if known != Address::NONE {
            self.indexes.put(slot, known, key, &value);
            self.values.push((known, value));
            return;
        }
        let store = Arc::clone(&self.store);
        let hash = store.hash(key);
        let mut hidden = write(store.side(self.flip + 1), hash.shard());
        let ledger = &mut self.ledgers[hash.shard()];
        // The place that it had, if somebody may still look at that.
        let local = hidden.find(hash, key).unwrap_or_else(|| ledger.take(hash));
        hidden.set_key(local, key, ledger);
        let address = Address::new(hash.shard(), local);
        self.addresses[slot] = address;
        self.len += 1;
        self.indexes.put(slot, address, key, &value);
        self.order.insert(key, address);
        self.put(hidden, address, Some(value));
    }

    /// Changes a value, and records what it was if somebody looks at that.
    fn put(
        &mut self,
        mut hidden: RwLockWriteGuard<'_, Shard<V>>,
        address: Address,
        value: Option<V>,
    ) {
        let was = hidden.set_value(address.local(), value);
        self.steps.push(Step::Place(address));
        self.retire(&mut hidden, address, self.pin, was);
    }

    /// Puts values that are known so far into the hidden side.
    pub(super) fn put_values(&mut self) {
        if self.put == self.values.len() {
            return;
        }
        let store = Arc::clone(&self.store);
        let mut hidden = Locked::new(store.side(self.flip + 1));
        for (address, _) in &self.values[self.put..] {
            hidden.lock(address.shard());
        }
        hidden.look_ahead(self.values[self.put..].iter().map(|(address, _)| *address));
        while let Some((address, value)) = self.values.get(self.put) {
            let (address, value) = (*address, value.clone());
            let shard = hidden.lock(address.shard());
            let was = shard.set_value(address.local(), Some(value));
            self.put += 1;
            self.retire(shard, address, self.pin, was);
        }
    }

    /// The same, where steps follow that may be about the same places.
    fn put_as_steps(&mut self) {
        self.put_values();
        self.put = 0;
        for (address, value) in self.values.drain(..) {
            self.steps.push(Step::Place(address));
            self.garbage.values.push(value);
        }
    }

    /// Records what a place of the hidden side was, if somebody looks at that; once, and no more.
    fn retire(
        &mut self,
        hidden: &mut Shard<V>,
        address: Address,
        pin: Option<u64>,
        was: Option<V>,
    ) {
        let (local, until) = (address.local(), self.flip + 1);
        if let Some(pin) = pin.filter(|pin| hidden.since(local, u64::MAX) <= *pin) {
            self.garbage
                .values
                .extend(hidden.remember(local, until, was));
            self.keep(pin, Record { address, until });
        } else {
            self.garbage.values.extend(was);
        }
    }

    fn keep(&mut self, pin: u64, record: Record) {
        self.owned.entry(pin).or_default().push(record);
        self.steps.push(Step::Remember(record));
    }

    /// Before the first change: what the last publication has left to do.
    pub(super) fn begin(&mut self) {
        if self.begun {
            return;
        }
        self.begun = true;
        for step in std::mem::take(&mut self.late) {
            self.repeat(self.flip, step, true);
        }
        for address in self.freed.drain(..) {
            self.ledgers[address.shard()].free.push(address.local());
        }
        self.tidy();
        self.tidied = self.steps.len();
        self.pin = self.store.pins().newest();
    }

    /// A part of the first copy is there. Nobody reads yet.
    pub(crate) fn settle_part(&mut self) {
        self.put_as_steps();
        for step in std::mem::take(&mut self.steps) {
            self.repeat(self.flip + 1, step, true);
        }
        self.tidied = 0;
    }

    /// Publishes what was handed in since the last time.
    pub(crate) fn publish(&mut self, published: Published) {
        self.stage(published);
        self.show();
        self.follow();
    }

    /// Makes the hidden side ready to be shown.
    pub(crate) fn stage(&mut self, published: Published) {
        self.begin();
        self.put_values();
        let head = Head {
            published,
            len: self.len,
            lookups: self.indexes.lookups(),
            order: self.order.clone(),
        };
        let hidden = self.store.side(self.flip + 1);
        let mut shown = hidden.head.write().unwrap_or_else(PoisonError::into_inner);
        self.garbage.head = std::mem::replace(&mut *shown, head);
    }

    /// Shows the hidden side. For who has pinned the live one since the hidden one was begun, records
    /// are made first.
    pub(crate) fn show(&mut self) {
        let store = Arc::clone(&self.store);
        let pins = store.pins();
        let late = pins.newest() == Some(self.flip) && self.pin != Some(self.flip);
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

    /// Makes records of what has changed, from the live side.
    fn record(&mut self, pin: u64) {
        let store = Arc::clone(&self.store);
        let steps = self.steps[self.tidied..].iter();
        let places = steps.filter_map(|step| match step {
            Step::Place(address) => Some(*address),
            Step::Remember(_) | Step::Forget(_) | Step::Shard(_) => None,
        });
        let places: Vec<_> = places
            .chain(self.values.iter().map(|(address, _)| *address))
            .collect();
        for address in places {
            let (shard, local) = (address.shard(), address.local());
            let was = read(store.side(self.flip), shard).value(local).cloned();
            let mut hidden = write(store.side(self.flip + 1), shard);
            self.retire(&mut hidden, address, Some(pin), was);
        }
    }

    /// Does the same to the other side.
    pub(crate) fn follow(&mut self) {
        let mut steps = std::mem::take(&mut self.steps);
        let changes = steps.len() + self.values.len();
        self.changed = changes - self.tidied;
        if changes > KEPT && changes > self.len / 2 {
            steps.clear();
            steps.extend((0..SHARDS).map(Step::Shard));
            let values = self.values.drain(..).map(|(_, value)| value);
            self.garbage.values.extend(values);
        }
        for step in steps.drain(..) {
            self.repeat(self.flip, step, false);
        }
        steps.shrink_to(KEPT);
        self.steps = steps;
        self.follow_values();
        self.begun = false;
    }

    /// Puts the values into the other side, too.
    fn follow_values(&mut self) {
        self.put = 0;
        if self.values.is_empty() {
            return;
        }
        // Where a step is late, what follows it may have no place yet.
        let in_time = self.late.is_empty();
        let mut hidden = Locked::new(self.store.side(self.flip + 1));
        for (address, _) in &self.values {
            hidden.try_lock(address.shard());
        }
        hidden.look_ahead(self.values.iter().map(|(address, _)| *address));
        for (address, value) in self.values.drain(..) {
            let shard = hidden.try_lock(address.shard()).filter(|_| in_time);
            let was = match shard {
                Some(shard) => shard.set_value(address.local(), Some(value)),
                None => {
                    self.late.push(Step::Place(address));
                    Some(value)
                }
            };
            self.garbage.values.extend(was);
        }
        self.values.shrink_to(KEPT);
    }

    /// Does a step to the side that `flip` does not show, as the one that it does has it. Unless it
    /// is told to wait, it leaves for later what somebody is still looking at.
    fn repeat(&mut self, flip: u64, step: Step, wait: bool) {
        let shard = match step {
            Step::Place(address) => address.shard(),
            Step::Remember(record) | Step::Forget(record) => record.address.shard(),
            Step::Shard(shard) => shard,
        };
        let (from, to) = (self.store.side(flip), self.store.side(flip + 1));
        let from = read(from, shard);
        let to = if wait {
            Some(write(to, shard))
        } else {
            try_write(to, shard)
        };
        let Some(mut to) = to else {
            self.late.push(step);
            return;
        };
        let (ledger, garbage) = (&self.ledgers[shard], &mut self.garbage);
        match step {
            Step::Place(address) => {
                let local = address.local();
                if let Some((key, value)) = from.at(local) {
                    let value = value.clone();
                    to.set_key(local, key, ledger);
                    garbage.values.extend(to.set_value(local, value));
                } else {
                    to.clear(local, ledger);
                }
            }
            Step::Remember(Record { address, until }) => {
                let was = from.record(address.local(), until).cloned();
                garbage
                    .values
                    .extend(to.remember(address.local(), until, was));
            }
            Step::Forget(Record { address, until }) => {
                garbage.values.extend(to.forget(address.local(), until));
            }
            Step::Shard(_) => garbage
                .shards
                .push(std::mem::replace(&mut *to, from.clone())),
        }
    }
}

/// What nobody looks at any more.
impl<V: Clone> Writer<V> {
    /// Whether there is more to be freed than can wait for the next change: anything of what views
    /// saw, or many places. Each further publication frees some of it.
    pub(crate) fn is_untidy(&self) -> bool {
        !self.orphans.is_empty()
            || self.gone.len() > STEPS
            || !self.owned.is_empty() && self.store.pins().has_dropped()
    }

    /// Frees some of it by publishing once more what is there.
    pub(crate) fn publish_again(&mut self) {
        let published = self.store.head().published;
        self.publish(published);
    }

    /// Frees some of it.
    fn tidy(&mut self) {
        for pin in self.store.pins().take_dropped() {
            // Should it be pinned again, its records come back to it.
            self.orphans
                .extend(self.owned.remove(&pin).unwrap_or_default());
        }
        let most = STEPS.max(self.changed.saturating_mul(2));
        let first = self.orphans.len().saturating_sub(most);
        for record in self.orphans.split_off(first) {
            self.settle(record);
        }
        let first = self.gone.len().saturating_sub(most);
        for address in self.gone.split_off(first) {
            self.free(address);
        }
    }

    /// Hands a record to the next pin that needs it, or forgets it.
    fn settle(&mut self, record: Record) {
        let Record { address, until } = record;
        let local = address.local();
        let mut hidden = write(self.store.side(self.flip + 1), address.shard());
        let since = hidden.since(local, until);
        if let Some(pin) = self.store.pins().newest_in(since..until) {
            self.owned.entry(pin).or_default().push(record);
            return;
        }
        self.garbage.values.extend(hidden.forget(local, until));
        self.steps.push(Step::Forget(record));
        if hidden.value(local).is_none() {
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
        // It may be in the list twice.
        if hidden.clear(local, &self.ledgers[shard]) {
            self.steps.push(Step::Place(address));
            self.freed.push(address);
        }
    }
}
