//! What readers read, beside the structures that it was chosen over.
//!
//! `cargo bench -p reflet-bench --bench readers`. Reads are of random keys, with nobody writing and
//! beside one thread that never stops; writes are of random keys, in batches of 256. Reflet's writes
//! are those of its engine too: what the engine alone costs is in the bench `micro`.
#![allow(clippy::unwrap_used, reason = "no lock is poisoned here")]

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use divan::Bencher;
use divan::counter::ItemsCount;
use foldhash::fast::FixedState;
use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;
use left_right::{Absorb, ReadHandle, WriteHandle};
use reflet_bench::readable::Readable;
use reflet_bench::{Floor, key};
use reflet_tokio::Reader;

const SIZES: [usize; 2] = [1_000, 100_000];
/// Operations in one go.
const BATCH: usize = 256;

type Value = Arc<u64>;

/// Something that one writes and others read.
trait Structure: Send {
    type Reader: Read;
    /// One that holds these keys.
    fn of(keys: &[String]) -> (Self, Self::Reader)
    where
        Self: Sized;
    fn write(&mut self, keys: &[&str], value: &Value);
}

trait Read {
    fn read(&self, key: &str) -> Option<Value>;
}

/// What readers of an engine read.
struct Reflet(Readable<Value>);

impl Structure for Reflet {
    type Reader = Reader<Value>;

    fn of(keys: &[String]) -> (Self, Self::Reader) {
        let readable = Readable::synced(entries(keys));
        let reader = readable.reader.clone();
        (Self(readable), reader)
    }

    fn write(&mut self, keys: &[&str], value: &Value) {
        for key in keys {
            self.0.engine.update(key, Arc::clone(value));
        }
        self.0.publish();
    }
}

impl Read for Reader<Value> {
    fn read(&self, key: &str) -> Option<Value> {
        self.load(key)
    }
}

/// A hash map behind a lock: readers wait for whoever writes.
#[derive(Clone)]
struct Locked(Arc<RwLock<Floor<Value>>>);

impl Structure for Locked {
    type Reader = Self;

    fn of(keys: &[String]) -> (Self, Self) {
        both(Self(Arc::new(RwLock::new(owned(keys).collect()))))
    }

    fn write(&mut self, keys: &[&str], value: &Value) {
        let mut map = self.0.write().unwrap();
        for key in keys {
            map.insert((*key).into(), Arc::clone(value));
        }
    }
}

impl Read for Locked {
    fn read(&self, key: &str) -> Option<Value> {
        self.0.read().unwrap().get(key).cloned()
    }
}

/// Many such maps. A batch shows bit by bit.
#[derive(Clone)]
struct Dashmap(Arc<dashmap::DashMap<Box<str>, Value, FixedState>>);

impl Structure for Dashmap {
    type Reader = Self;

    fn of(keys: &[String]) -> (Self, Self) {
        both(Self(Arc::new(owned(keys).collect())))
    }

    fn write(&mut self, keys: &[&str], value: &Value) {
        for key in keys {
            self.0.insert((*key).into(), Arc::clone(value));
        }
    }
}

impl Read for Dashmap {
    fn read(&self, key: &str) -> Option<Value> {
        Some(Arc::clone(self.0.get(key)?.value()))
    }
}

/// A map without locks. A batch shows bit by bit.
#[derive(Clone)]
struct Papaya(Arc<papaya::HashMap<Box<str>, Value, FixedState>>);

impl Structure for Papaya {
    type Reader = Self;

    fn of(keys: &[String]) -> (Self, Self) {
        both(Self(Arc::new(owned(keys).collect())))
    }

    fn write(&mut self, keys: &[&str], value: &Value) {
        let map = self.0.pin();
        for key in keys {
            map.insert((*key).into(), Arc::clone(value));
        }
    }
}

impl Read for Papaya {
    fn read(&self, key: &str) -> Option<Value> {
        self.0.pin().get(key).cloned()
    }
}

/// A map whose readers take no lock. A batch shows bit by bit.
#[derive(Clone)]
struct Scc(Arc<scc::HashIndex<Box<str>, Value, FixedState>>);

impl Structure for Scc {
    type Reader = Self;

    fn of(keys: &[String]) -> (Self, Self) {
        let map = scc::HashIndex::with_hasher(FixedState::default());
        for (key, value) in owned(keys) {
            map.insert_sync(key, value).unwrap();
        }
        both(Self(Arc::new(map)))
    }

    fn write(&mut self, keys: &[&str], value: &Value) {
        use scc::hash_index::Entry;
        for key in keys {
            match self.0.entry_sync((*key).into()) {
                Entry::Occupied(mut entry) => entry.update(Arc::clone(value)),
                Entry::Vacant(entry) => drop(entry.insert_entry(Arc::clone(value))),
            }
        }
    }
}

impl Read for Scc {
    fn read(&self, key: &str) -> Option<Value> {
        self.0.peek_with(key, |_, value| Arc::clone(value))
    }
}

/// Two maps, of which one is shown. A batch shows at once, and never while somebody still looks at
/// what was before.
struct LeftRight(WriteHandle<Sided, Put>);

#[derive(Clone, Default)]
struct Sided(Floor<Value>);

struct Put(Box<str>, Value);

impl Absorb<Put> for Sided {
    fn absorb_first(&mut self, Put(key, value): &mut Put, _: &Self) {
        self.0.insert(key.clone(), Arc::clone(value));
    }

    fn absorb_second(&mut self, Put(key, value): Put, _: &Self) {
        self.0.insert(key, value);
    }

    fn sync_with(&mut self, first: &Self) {
        self.clone_from(first);
    }
}

impl Structure for LeftRight {
    type Reader = ReadHandle<Sided>;

    fn of(keys: &[String]) -> (Self, Self::Reader) {
        let (mut writer, reader) = left_right::new_from_empty(Sided::default());
        writer.extend(owned(keys).map(|(key, value)| Put(key, value)));
        writer.publish();
        (Self(writer), reader)
    }

    fn write(&mut self, keys: &[&str], value: &Value) {
        let puts = keys.iter().map(|key| Put((*key).into(), Arc::clone(value)));
        self.0.extend(puts);
        self.0.publish();
    }
}

impl Read for ReadHandle<Sided> {
    fn read(&self, key: &str) -> Option<Value> {
        self.enter()?.0.get(key).cloned()
    }
}

/// A persistent map, of which a changed copy takes the place: readers may hold the one before.
struct Persistent {
    shown: Arc<RwLock<Shown>>,
    next: Shown,
}

type Shown = GenericHashMap<Box<str>, Value, FixedState, DefaultSharedPtr>;

impl Structure for Persistent {
    type Reader = Arc<RwLock<Shown>>;

    fn of(keys: &[String]) -> (Self, Self::Reader) {
        let next: Shown = owned(keys).collect();
        let shown = Arc::new(RwLock::new(next.clone()));
        let reader = Arc::clone(&shown);
        (Self { shown, next }, reader)
    }

    fn write(&mut self, keys: &[&str], value: &Value) {
        for key in keys {
            self.next.insert((*key).into(), Arc::clone(value));
        }
        *self.shown.write().unwrap() = self.next.clone();
    }
}

impl Read for Arc<RwLock<Shown>> {
    fn read(&self, key: &str) -> Option<Value> {
        RwLock::read(self).unwrap().get(key).cloned()
    }
}

fn both<T: Clone>(structure: T) -> (T, T) {
    (structure.clone(), structure)
}

fn entries(keys: &[String]) -> impl Iterator<Item = (&str, Value)> {
    let value = Arc::new(0);
    keys.iter()
        .map(move |key| (key.as_str(), Arc::clone(&value)))
}

fn owned(keys: &[String]) -> impl Iterator<Item = (Box<str>, Value)> {
    entries(keys).map(|(key, value)| (key.into(), value))
}

fn keys(n: usize) -> Vec<String> {
    (0..n).map(key).collect()
}

fn batch<'a>(keys: &'a [String], random: &mut fastrand::Rng) -> Vec<&'a str> {
    (0..BATCH)
        .map(|_| keys[random.usize(..keys.len())].as_str())
        .collect()
}

/// Measures something that is done with random ones of these keys, others each time.
fn each(bencher: Bencher<'_, '_>, keys: &[String], mut work: impl FnMut(&[&str])) {
    let mut random = fastrand::Rng::with_seed(7);
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| batch(keys, &mut random))
        .bench_local_refs(|keys| work(keys));
}

#[divan::bench(types = [Reflet, Locked, Dashmap, Papaya, Scc, LeftRight, Persistent], args = SIZES)]
fn read<S: Structure>(bencher: Bencher<'_, '_>, n: usize) {
    let keys = keys(n);
    let (_structure, reader) = S::of(&keys);
    each(bencher, &keys, |keys| {
        for key in keys {
            black_box(reader.read(key));
        }
    });
}

#[divan::bench(types = [Reflet, Locked, Dashmap, Papaya, Scc, LeftRight, Persistent], args = SIZES)]
fn read_beside_a_writer<S: Structure>(bencher: Bencher<'_, '_>, n: usize) {
    let keys = keys(n);
    let (mut structure, reader) = S::of(&keys);
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = fastrand::Rng::with_seed(8);
            let value = Arc::new(1);
            while !enough.load(Ordering::Relaxed) {
                structure.write(&batch(&keys, &mut random), &value);
            }
        });
        each(bencher, &keys, |keys| {
            for key in keys {
                black_box(reader.read(key));
            }
        });
        enough.store(true, Ordering::Relaxed);
    });
}

#[divan::bench(types = [Reflet, Locked, Dashmap, Papaya, Scc, LeftRight, Persistent], args = SIZES)]
fn write<S: Structure>(bencher: Bencher<'_, '_>, n: usize) {
    let keys = keys(n);
    let (mut structure, _reader) = S::of(&keys);
    let value = Arc::new(1);
    each(bencher, &keys, |keys| structure.write(keys, &value));
}

fn main() {
    divan::main();
}
