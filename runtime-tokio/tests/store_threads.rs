//! The store of the read view, compiled from its own source over locks and atomics that try out how
//! threads can get into each other's way.

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

mod sync {
    /// Few, so that everybody meets.
    pub(crate) const SHARDS: usize = 2;

    pub(crate) use shuttle::hint::spin_loop;
    pub(crate) use shuttle::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use shuttle::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
    pub(crate) use std::sync::Arc;
}

use std::sync::Arc;

use reflet_core::index::{IndexBy, IndexId};
use reflet_core::{Config, Informer, Revision, Timestamp};
use shuttle::thread;
use store::{Pin, Place, Published, Store, Writer};

const PUBLICATIONS: u64 = 4;

/// `a` and `b` are the publication's number; `c` is there in every second one.
fn write(mut writer: Writer<u64>) {
    let [a, b, c] = ["a", "b", "c"].map(Arc::from);
    for number in 1..=PUBLICATIONS {
        writer.now(0, &a, &number);
        writer.now(1, &b, &number);
        if number.is_multiple_of(2) {
            writer.gone(2);
        } else {
            // Twice, so that one publication gives it a place and then changes it.
            writer.now(2, &c, &0);
            writer.now(2, &c, &number);
        }
        writer.publish(Published {
            revision: Some(Revision::from(number)),
            complete: true,
            local_epoch: 0,
            restored: false,
        });
        writer.check();
    }
}

fn read(store: &Arc<Store<u64>>, _: IndexId) {
    let mut newest = 0;
    for key in ["a", "b", "a", "b"] {
        let now = store.load(key).unwrap_or(0);
        assert!(now >= newest, "time runs forwards");
        newest = now;
    }
}

fn number(pin: &Pin<u64>) -> u64 {
    let revision = pin.head.published.revision.as_ref();
    revision.and_then(Revision::as_u64).unwrap_or(0)
}

fn by_number() -> IndexBy<Arc<str>, u64> {
    IndexBy::new("number", |_, value: &u64, terms| {
        terms.add(value.to_be_bytes());
    })
}

/// The name of an index, which only an engine gives out.
fn index_id() -> IndexId {
    let mut engine = Informer::new(Config::default(), 7, Timestamp::ZERO);
    engine.add_index(by_number())
}

fn look(store: &Arc<Store<u64>>, id: IndexId) {
    let before = store.load("a").unwrap_or(0);
    let pin = store.pin();
    let number = number(&pin);
    assert!(number >= before, "a view is of now");
    let mut expected = vec![];
    if number > 0 {
        expected.extend([("a", number), ("b", number)]);
        expected.extend((!number.is_multiple_of(2)).then_some(("c", number)));
    }
    for (key, _) in [("a", 0), ("c", 0), ("b", 0)] {
        let there = expected.iter().find(|(other, _)| *other == key);
        assert_eq!(pin.get(key), there.map(|(_, value)| *value));
    }
    let (mut at, mut objects) = (Place::default(), Vec::new());
    while pin.read_on(&mut at, &mut objects) {}
    objects.sort();
    let objects: Vec<_> = objects
        .iter()
        .map(|(key, value)| (&**key, *value))
        .collect();
    assert_eq!(objects, expected);
    let found = pin.found(id, &number.to_be_bytes());
    let mut found: Vec<_> = found.map(|place| pin.object(place).unwrap()).collect();
    found.sort();
    let found: Vec<_> = found.iter().map(|(key, value)| (&**key, *value)).collect();
    assert_eq!(found, expected, "an index is of the same publication");
    assert!(store.load("a").unwrap_or(0) >= number, "nor is it ahead");
}

fn all_together() {
    let mut writer = Writer::new(7);
    let id = index_id();
    writer.keep_indexes(vec![(id, by_number())]);
    let store = Arc::clone(writer.store());
    let threads = [read, look, look].map(|act| {
        let store = Arc::clone(&store);
        thread::spawn(move || act(&store, id))
    });
    write(writer);
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn whoever_reads_sees_one_publication_in_any_order_of_events() {
    shuttle::check_random(all_together, 2_000);
}

#[test]
fn whoever_reads_sees_one_publication_with_few_changes_of_turn() {
    shuttle::check_pct(all_together, 2_000, 3);
}
