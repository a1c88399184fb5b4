//! The store of the read view against a naive model, step by step, and under threads that read as
//! fast as they can. It is compiled from its own source, to be led through what no user can order.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "../src/probe.rs"]
mod probe;
#[path = "../src/read/store/mod.rs"]
mod store;
#[path = "../src/sync.rs"]
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use reflet_core::index::{IndexBy, IndexId, KeyOrderId, Terms};
use reflet_core::{Config, Informer, Revision, Timestamp};
use store::{Pin, Place, Published, Store, Writer};

fn published(revision: u64) -> Published {
    Published {
        revision: Some(Revision::from(revision)),
        complete: true,
        local_epoch: 0,
        restored: false,
    }
}

fn all<V: Clone>(pin: &Pin<V>) -> Vec<(Arc<str>, V)> {
    let (mut at, mut objects) = (Place::default(), Vec::new());
    while pin.read_on(&mut at, &mut objects) {}
    objects
}

/// Some names of indexes, which only an engine gives out.
fn index_ids<const N: usize>() -> [IndexId; N] {
    let mut engine = Informer::<Arc<str>, u32>::new(Config::default(), 7, Timestamp::ZERO);
    [(); N].map(|()| engine.add_index(IndexBy::new("", |_, _, _| ())))
}

/// Some shares in the order of the keys, likewise.
fn order_ids() -> [KeyOrderId; ORDERS] {
    let mut engine = Informer::<Arc<str>, u32>::new(Config::default(), 7, Timestamp::ZERO);
    [(); ORDERS].map(|()| engine.add_key_order())
}

const ORDERS: usize = 2;
/// Everything, a prefix's worth, a page's rest, what ends before it begins, and an end alone.
const BOUNDS: [(Bound<&str>, Bound<&str>); 6] = [
    (Bound::Unbounded, Bound::Unbounded),
    (Bound::Included("key 1"), Bound::Excluded("key 2")),
    (Bound::Excluded("key 3"), Bound::Unbounded),
    (Bound::Included("key 7"), Bound::Included("key 1")),
    (Bound::Excluded("key 1"), Bound::Excluded("key 1")),
    (Bound::Unbounded, Bound::Included("key 4")),
];

const INDEXES: usize = 3;
const TERMS: [&str; 7] = ["", "even", "odd", "0", "1", "2", "key 7"];

/// The terms of the indexes: one for each object, a changing number with doubles, and a few that
/// never change; none of what makes the function panic.
fn terms_of(index: usize, key: &str, value: u32, terms: &mut Terms) {
    let remainder = (value % 3).to_string();
    match index {
        0 => terms.add(if value.is_multiple_of(2) {
            "even"
        } else {
            "odd"
        }),
        1 => {
            terms.extend(vec![&remainder; (value % 4) as usize]);
            terms.extend((value.is_multiple_of(5)).then_some(""));
            terms.add(if value.is_multiple_of(7) { "odd" } else { "1" });
            assert!(!value.is_multiple_of(11), "a function that panics late");
        }
        _ => terms.extend([key, ""]),
    }
}

fn index_by(index: usize) -> IndexBy<Arc<str>, u32> {
    IndexBy::new("", move |key: &str, value: &u32, terms| {
        terms_of(index, key, *value, terms);
    })
}

fn has_term(index: usize, key: &str, value: u32, term: &str) -> bool {
    let mut terms = Terms::new();
    let ask = || terms_of(index, key, value, &mut terms);
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(ask));
    terms.iter().any(|other| other == term.as_bytes())
}

/// What a publication shows: its objects, which indexes find them, and who has them in order.
#[derive(Clone, Default)]
struct Shown {
    state: State,
    indexes: BTreeSet<usize>,
    orders: BTreeSet<KeyOrderId>,
    revision: u64,
}

impl Shown {
    fn found(&self, index: usize, term: &str) -> State {
        let objects = self.state.iter().filter(|(key, value)| {
            self.indexes.contains(&index) && has_term(index, key, **value, term)
        });
        objects
            .map(|(key, value)| (Arc::clone(key), *value))
            .collect()
    }
}

fn found(pin: &Pin<u32>, found: store::Found<'_>) -> State {
    let objects: Vec<_> = found.map(|place| pin.object(place).unwrap()).collect();
    let (len, objects) = (objects.len(), objects.into_iter().collect::<State>());
    assert_eq!(len, objects.len(), "each once");
    objects
}

#[derive(Clone, Debug)]
enum Step {
    /// So many objects are announced, whether they come or not.
    Expect(usize),
    /// Adds or removes an index.
    Index(usize),
    /// Takes or gives back a share in the order of the keys.
    Order(usize),
    Put(u8),
    Delete(u8),
    /// Deleted and added again, which may or may not give it another slot.
    Recreate(u8),
    Pin,
    /// Somebody holds what is held already, the oldest publications included.
    Share(prop::sample::Index),
    Unpin(prop::sample::Index),
    Publish(Meanwhile),
}

/// What happens in the middle of a publication.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    Nothing,
    /// Somebody pins the old publication at the last moment.
    PinOld,
    /// Somebody pins the new one at the first moment.
    PinNew,
    /// Somebody stays in every shard of the old side.
    Linger,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0_u8..12;
    let meanwhile = prop::sample::select(vec![
        Meanwhile::Nothing,
        Meanwhile::PinOld,
        Meanwhile::PinNew,
        Meanwhile::Linger,
    ]);
    let step = prop_oneof![
        1 => (0_usize..3_000).prop_map(Step::Expect),
        1 => (0..INDEXES).prop_map(Step::Index),
        1 => (0..ORDERS).prop_map(Step::Order),
        4 => key.clone().prop_map(Step::Put),
        2 => key.clone().prop_map(Step::Delete),
        1 => key.prop_map(Step::Recreate),
        1 => Just(Step::Pin),
        1 => any::<prop::sample::Index>().prop_map(Step::Share),
        2 => any::<prop::sample::Index>().prop_map(Step::Unpin),
        3 => meanwhile.prop_map(Step::Publish),
    ];
    prop::collection::vec(step, 1..80)
}

type State = BTreeMap<Arc<str>, u32>;

/// The store, an engine that is only a map, and what every pin must see.
struct Rig {
    writer: Writer<u32>,
    store: Arc<Store<u32>>,
    slots: BTreeMap<u8, u32>,
    free: Vec<u32>,
    ids: [IndexId; INDEXES],
    orders: [KeyOrderId; ORDERS],
    next: Shown,
    shown: Shown,
    pins: Vec<(Pin<u32>, Shown)>,
    value: u32,
}

impl Rig {
    fn new() -> Self {
        let writer = Writer::new(7);
        Self {
            store: Arc::clone(writer.store()),
            writer,
            slots: BTreeMap::new(),
            free: (0..12).collect(),
            ids: index_ids(),
            orders: order_ids(),
            next: Shown::default(),
            shown: Shown::default(),
            pins: Vec::new(),
            value: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Expect(objects) => self.writer.expect(*objects),
            Step::Index(index) => {
                let indexes = &mut self.next.indexes;
                if !indexes.remove(index) {
                    indexes.insert(*index);
                }
            }
            Step::Order(order) => {
                let (order, orders) = (self.orders[*order], &mut self.next.orders);
                if !orders.remove(&order) {
                    orders.insert(order);
                }
            }
            Step::Put(key) => self.put(*key),
            Step::Delete(key) => self.delete(*key),
            Step::Recreate(key) => {
                self.delete(*key);
                self.put(*key);
            }
            Step::Pin => self.pin(),
            Step::Share(index) if !self.pins.is_empty() => {
                let (pin, shown) = &self.pins[index.index(self.pins.len())];
                let shared = (pin.clone(), shown.clone());
                self.pins.push(shared);
            }
            Step::Unpin(index) if !self.pins.is_empty() => {
                self.pins.swap_remove(index.index(self.pins.len()));
            }
            Step::Share(_) | Step::Unpin(_) => {}
            Step::Publish(meanwhile) => self.publish(*meanwhile),
        }
        self.check();
    }

    fn put(&mut self, key: u8) {
        self.value += 1;
        let free = &mut self.free;
        let slot = *self.slots.entry(key).or_insert_with(|| free.pop().unwrap());
        // A new key of the same text, as the engine has it after a delete.
        let name: Arc<str> = format!("key {key}").into();
        self.writer.now(slot, &name, &self.value);
        self.next.state.insert(name, self.value);
    }

    fn delete(&mut self, key: u8) {
        if let Some(slot) = self.slots.remove(&key) {
            self.writer.gone(slot);
            self.free.push(slot);
            self.next.state.remove(&*format!("key {key}"));
        }
    }

    fn pin(&mut self) {
        self.pins.push((self.store.pin(), self.shown.clone()));
    }

    fn publish(&mut self, meanwhile: Meanwhile) {
        let store = Arc::clone(&self.store);
        let wanted = self.next.indexes.iter();
        let wanted = wanted.map(|index| (self.ids[*index], index_by(*index)));
        self.writer.keep_indexes(wanted.collect());
        let holders = self.next.orders.iter().copied();
        self.writer.keep_order(holders.collect());
        self.next.revision += 1;
        self.writer.stage(published(self.next.revision));
        if let Meanwhile::PinOld = meanwhile {
            self.pin();
        }
        let lingering = matches!(meanwhile, Meanwhile::Linger).then(|| store.linger());
        self.writer.show();
        self.shown = self.next.clone();
        if let Meanwhile::PinNew = meanwhile {
            self.pin();
        }
        self.writer.follow();
        drop(lingering);
        drop(self.writer.take_garbage());
        self.writer.check();
        self.check_views();
    }

    /// Everybody sees what they should.
    fn check(&self) {
        let head = self.store.head();
        assert_eq!(head.len, self.shown.state.len());
        for key in 0..12 {
            let key = format!("key {key}");
            let expected = self.shown.state.get(&*key).copied();
            assert_eq!(self.store.load(&key), expected);
            assert_eq!(self.store.contains(&key), expected.is_some());
        }
        for (pin, shown) in &self.pins {
            let (state, revision) = (&shown.state, shown.revision);
            let objects = all(pin);
            assert_eq!(
                (objects.len(), pin.head.len),
                (state.len(), state.len()),
                "each once"
            );
            assert_eq!(&objects.into_iter().collect::<State>(), state);
            for key in 0..12 {
                let key = format!("key {key}");
                assert_eq!(pin.get(&key), state.get(&*key).copied());
                assert_eq!(pin.contains(&key), state.contains_key(&*key));
            }
            let read = pin.head.published.revision.clone();
            assert_eq!(read, (revision > 0).then(|| Revision::from(revision)));
        }
        self.check_indexes(&self.store.pin(), &self.shown);
        self.check_orders(&self.store.pin(), &self.shown);
    }

    /// Views find what they should, also what has changed since.
    fn check_views(&self) {
        for (pin, shown) in &self.pins {
            self.check_indexes(pin, shown);
            self.check_orders(pin, shown);
        }
    }

    fn check_orders(&self, pin: &Pin<u32>, shown: &Shown) {
        for id in self.orders {
            let is_held = shown.orders.contains(&id);
            for bounds in BOUNDS {
                let found = pin.range(id, bounds);
                let found: Vec<_> = found.map(|place| pin.object(place).unwrap()).collect();
                let expected = shown.state.iter().filter(|(key, _)| {
                    let key: &str = key;
                    is_held && RangeBounds::<str>::contains(&bounds, key)
                });
                assert!(found.iter().map(|(key, value)| (key, value)).eq(expected));
            }
        }
    }

    fn check_indexes(&self, pin: &Pin<u32>, shown: &Shown) {
        for (index, id) in self.ids.into_iter().enumerate() {
            for term in TERMS {
                let expected = shown.found(index, term);
                let count = pin.head.lookups.count(id, term.as_bytes());
                assert_eq!(count, expected.len());
                assert_eq!(found(pin, pin.found(id, term.as_bytes())), expected);
            }
        }
        let (one, other) = ((self.ids[0], &b"odd"[..]), (self.ids[1], &b"1"[..]));
        let mut expected = shown.found(0, "odd");
        let also = shown.found(1, "1");
        expected.retain(|key, _| also.contains_key(key));
        assert_eq!(found(pin, pin.both(one, other)), expected);
        assert_eq!(found(pin, pin.both(other, one)), expected);
    }
}

proptest! {
    #[test]
    fn everybody_sees_one_publication(steps in steps()) {
        let mut rig = Rig::new();
        for step in &steps {
            rig.step(step);
        }
        rig.check_views();
        rig.pins.clear();
        rig.next.indexes.clear();
        rig.next.orders.clear();
        for _ in 0..4 {
            rig.publish(Meanwhile::Nothing);
        }
        rig.check();
        rig.writer.assert_settled();
    }
}

/// One long view, and a new short one for each publication: what the short ones saw goes with them.
#[test]
fn a_long_view_among_many_short_ones_keeps_only_its_own() {
    let mut rig = Rig::new();
    (0..12).for_each(|key| rig.put(key));
    rig.publish(Meanwhile::Nothing);
    let long = rig.store.pin();
    let before = all(&long);
    for round in 0..500_u32 {
        let short = rig.store.pin();
        (0..4).for_each(|key| rig.put(key));
        rig.step(&Step::Recreate(4 + (round % 4) as u8));
        rig.publish(Meanwhile::Nothing);
        drop(short);
    }
    for _ in 0..2 {
        rig.publish(Meanwhile::Nothing);
    }
    assert_eq!(all(&long), before);
    assert_eq!(rig.writer.records(), 8, "one for each key that has changed");
}

/// A publication that changes nearly everything takes another way to the other side.
#[test]
fn a_large_publication_shows_like_a_small_one() {
    let mut writer = Writer::new(7);
    let keys: Vec<Arc<str>> = (0..20_000).map(|n| format!("key {n}").into()).collect();
    for round in 0..4_u32 {
        for (slot, key) in (0..).zip(&keys) {
            if (slot + round) % 5 == 0 {
                writer.gone(slot);
            } else {
                writer.now(slot, key, &(slot + round));
            }
        }
        writer.publish(published(u64::from(round)));
        writer.check();
        let store = Arc::clone(writer.store());
        assert_eq!(store.head().len, 16_000);
        for (slot, key) in (0..).zip(&keys) {
            let expected = ((slot + round) % 5 != 0).then_some(slot + round);
            assert_eq!(store.load(key), expected);
        }
    }
}

const KEYS: usize = 300;

/// Every value is its publication's number: so whoever mixes two of them shows it.
#[test]
fn threads_see_whole_publications_in_their_order() {
    let keys: Vec<Arc<str>> = (0..KEYS).map(|n| format!("key {n}").into()).collect();
    let mut writer: Writer<Arc<u64>> = Writer::new(7);
    let [id] = index_ids();
    writer.keep_indexes(vec![(id, by_number())]);
    let store = Arc::clone(writer.store());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let end = End(&done);
        for thread in 0..3 {
            let (store, keys, done) = (&store, &keys, &done);
            scope.spawn(move || {
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) {
                    newest = read_all(store, keys, newest, (thread == 0).then_some(id));
                }
            });
        }
        for number in 1..=400_u64 {
            let value = Arc::new(number);
            for (slot, key) in (0..).zip(&keys) {
                // The second half comes and goes.
                if slot < KEYS as u32 / 2 || number.is_multiple_of(2) {
                    writer.now(slot, key, &value);
                } else {
                    writer.gone(slot);
                }
            }
            writer.publish(published(number));
            drop(writer.take_garbage());
        }
        drop(end);
    });
    for number in 401..404 {
        writer.publish(published(number));
    }
    writer.assert_settled();
}

/// Ends the readers, also where the writer panics.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn by_number() -> IndexBy<Arc<str>, Arc<u64>> {
    IndexBy::new("number", |_, value: &Arc<u64>, terms| {
        terms.add(value.to_be_bytes());
    })
}

fn read_all(
    store: &Arc<Store<Arc<u64>>>,
    keys: &[Arc<str>],
    mut newest: u64,
    views: Option<IndexId>,
) -> u64 {
    for key in &keys[..KEYS / 2] {
        let now = store.load(key).map_or(0, |value| *value);
        assert!(now >= newest, "time runs forwards");
        newest = now;
    }
    if let Some(id) = views {
        let pin = store.pin();
        let revision = pin.head.published.revision.as_ref();
        let number = revision.and_then(Revision::as_u64).unwrap_or(0);
        assert!(number >= newest, "a view is of now");
        let objects = all(&pin);
        assert_eq!(objects.len(), pin.head.len);
        assert!(objects.iter().all(|(_, value)| **value == number));
        let found = pin.found(id, &number.to_be_bytes());
        let found = found.map(|place| pin.object(place).unwrap());
        let found: BTreeSet<_> = found.map(|(key, _)| key).collect();
        assert_eq!(
            found.len(),
            objects.len(),
            "an index is of the same publication"
        );
        for (n, key) in keys.iter().enumerate() {
            let there = number > 0 && (n < KEYS / 2 || number.is_multiple_of(2));
            assert_eq!(pin.get(key).map(|value| *value), there.then_some(number));
        }
        newest = number;
    }
    newest
}

/// As many keys go with each publication as come. Their places are used again, however many they are.
#[test]
fn keys_that_come_and_go_by_the_thousand_take_no_more_room_each_time() {
    const EACH: u32 = 4 * 1024;
    let mut writer = Writer::new(7);
    let mut most = 0;
    for round in 0..40_u32 {
        for n in 0..EACH {
            if round > 0 {
                writer.gone(n);
            }
        }
        for n in 0..EACH {
            writer.now(n, &format!("key {round} {n}").into(), &round);
        }
        writer.publish(published(u64::from(round)));
        drop(writer.take_garbage());
        most = most.max(writer.places());
    }
    assert!(most <= 4 * EACH as usize, "{most} places");
}

/// Somebody looks at each publication while the next one comes: what they saw goes with them.
#[test]
fn what_short_views_saw_goes_however_much_each_publication_changes() {
    const KEYS: u32 = 8 * 1024;
    let keys: Vec<Arc<str>> = (0..KEYS).map(|n| format!("key {n}").into()).collect();
    let mut writer = Writer::new(7);
    let store = Arc::clone(writer.store());
    let mut most = 0;
    for round in 0..40_u32 {
        let view = store.pin();
        for (slot, key) in (0..).zip(&keys) {
            writer.now(slot, key, &round);
        }
        writer.publish(published(u64::from(round)));
        drop(view);
        most = most.max(writer.records());
    }
    assert!(most <= 3 * KEYS as usize, "{most} records");
}

/// Each lookup by an index is a short view, and a source may be silent for days.
#[test]
fn looking_again_and_again_at_one_publication_leaves_nothing_behind() {
    let mut rig = Rig::new();
    (0..12).for_each(|key| rig.put(key));
    rig.publish(Meanwhile::Nothing);
    let long = rig.store.pin();
    rig.publish(Meanwhile::Nothing);
    for _ in 0..1_000 {
        drop(rig.store.pin());
    }
    drop(long);
    assert_eq!(rig.store.unheard(), 2, "publications");
}
