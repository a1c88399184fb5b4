//! What readers read, beside two structures that it was chosen over: a hash map behind a lock, which
//! makes readers wait for whoever writes, and a persistent map that is replaced as a whole.
//!
//! `cargo bench -p reflet-bench --bench readers`. Reads are per read of a random key, with nobody
//! writing; writes per write of a random key, in batches of 256 that show at once. Reflet's writes are
//! those of its engine too: what the engine alone costs is in the bench `micro`.

use std::hint::black_box;
use std::sync::{Arc, PoisonError, RwLock};

use divan::Bencher;
use divan::counter::ItemsCount;
use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;
use reflet_bench::readable::Readable;
use reflet_bench::{Floor, key};

const SIZES: [usize; 2] = [1_000, 100_000];
/// Operations in one go.
const BATCH: usize = 256;

type Persistent = GenericHashMap<Box<str>, Arc<u64>, foldhash::fast::FixedState, DefaultSharedPtr>;

fn main() {
    divan::main();
}

fn keys(n: usize) -> Vec<String> {
    (0..n).map(key).collect()
}

/// Measures something that is done with random ones of these keys, others each time.
fn each(bencher: Bencher<'_, '_>, keys: &[String], mut work: impl FnMut(&[&str])) {
    let mut random = fastrand::Rng::with_seed(7);
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| -> Vec<&str> {
            (0..BATCH)
                .map(|_| keys[random.usize(..keys.len())].as_str())
                .collect()
        })
        .bench_local_refs(|keys| work(keys));
}

fn readable(keys: &[String]) -> Readable<Arc<u64>> {
    let value = Arc::new(0);
    Readable::synced(keys.iter().map(|key| (key.as_str(), Arc::clone(&value))))
}

fn locked(keys: &[String]) -> RwLock<Floor<Arc<u64>>> {
    let value = Arc::new(0);
    let entries = keys.iter();
    RwLock::new(
        entries
            .map(|key| (key.as_str().into(), Arc::clone(&value)))
            .collect(),
    )
}

fn persistent(keys: &[String]) -> RwLock<Persistent> {
    let value = Arc::new(0);
    let mut map = Persistent::default();
    for key in keys {
        map.insert(key.as_str().into(), Arc::clone(&value));
    }
    RwLock::new(map)
}

#[divan::bench(args = SIZES)]
fn read_reflet(bencher: Bencher<'_, '_>, n: usize) {
    let keys = keys(n);
    let reader = readable(&keys).reader;
    each(bencher, &keys, |keys| {
        for key in keys {
            black_box(reader.load(key));
        }
    });
}

#[divan::bench(args = SIZES)]
fn read_locked_map(bencher: Bencher<'_, '_>, n: usize) {
    let keys = keys(n);
    let map = locked(&keys);
    each(bencher, &keys, |keys| {
        for key in keys {
            let map = map.read().unwrap_or_else(PoisonError::into_inner);
            black_box(map.get(*key).cloned());
        }
    });
}

#[divan::bench(args = SIZES)]
fn read_persistent_map(bencher: Bencher<'_, '_>, n: usize) {
    let keys = keys(n);
    let map = persistent(&keys);
    each(bencher, &keys, |keys| {
        for key in keys {
            let map = map.read().unwrap_or_else(PoisonError::into_inner);
            black_box(map.get(*key).cloned());
        }
    });
}

#[divan::bench(args = SIZES)]
fn write_reflet(bencher: Bencher<'_, '_>, n: usize) {
    let keys = keys(n);
    let mut readable = readable(&keys);
    let value = Arc::new(1);
    each(bencher, &keys, |keys| {
        for key in keys {
            readable.engine.update(key, Arc::clone(&value));
        }
        readable.publish();
    });
}

#[divan::bench(args = SIZES)]
fn write_locked_map(bencher: Bencher<'_, '_>, n: usize) {
    let keys = keys(n);
    let map = locked(&keys);
    let value = Arc::new(1);
    each(bencher, &keys, |keys| {
        let mut map = map.write().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            map.insert((*key).into(), Arc::clone(&value));
        }
    });
}

/// A copy is changed and then takes the other's place, which readers may still hold.
#[divan::bench(args = SIZES)]
fn write_persistent_map(bencher: Bencher<'_, '_>, n: usize) {
    let keys = keys(n);
    let shown = persistent(&keys);
    let value = Arc::new(1);
    let mut next = shown.read().unwrap_or_else(PoisonError::into_inner).clone();
    each(bencher, &keys, |keys| {
        for key in keys {
            next.insert((*key).into(), Arc::clone(&value));
        }
        *shown.write().unwrap_or_else(PoisonError::into_inner) = next.clone();
    });
}
