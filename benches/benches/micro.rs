//! The engine's single operations, timed.

use std::hint::black_box;
use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use reflet_bench::engine::Engine;
use reflet_bench::key;
use reflet_core::VersionRef;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const SIZES: [usize; 2] = [1_000, 100_000];
/// Operations in one go.
const STEPS: usize = 1_000;

fn main() {
    divan::main();
}

fn keys(n: usize) -> Vec<String> {
    (0..n).map(key).collect()
}

fn synced(keys: &[String]) -> Engine<Arc<u64>> {
    let value = Arc::new(0);
    Engine::synced(keys.iter().map(|key| (key.as_str(), Arc::clone(&value))))
}

/// Random ones of these keys: others each time, but the same in each run.
fn random<'a>(keys: &'a [String]) -> impl FnMut() -> Vec<&'a str> {
    let mut random = fastrand::Rng::with_seed(7);
    move || {
        (0..STEPS)
            .map(|_| keys[random.usize(..keys.len())].as_str())
            .collect()
    }
}

/// The first list, per object.
#[divan::bench(args = SIZES, sample_count = 20)]
fn first_sync(bencher: Bencher<'_, '_>, n: usize) {
    let keys = keys(n);
    bencher
        .counter(ItemsCount::new(n))
        .bench_local(|| synced(&keys));
}

/// An update of a random key.
#[divan::bench(args = SIZES)]
fn update(bencher: Bencher<'_, '_>, n: usize) {
    let keys = keys(n);
    let mut engine = synced(&keys);
    let value = Arc::new(1);
    let bencher = bencher.counter(ItemsCount::new(STEPS));
    bencher.with_inputs(random(&keys)).bench_local_refs(|keys| {
        for key in keys {
            engine.update(key, Arc::clone(&value));
        }
    });
}

/// A relist in which nothing has changed, per item.
#[divan::bench(args = SIZES, sample_count = 20)]
fn relist(bencher: Bencher<'_, '_>, n: usize) {
    let keys = keys(n);
    let mut engine = synced(&keys);
    bencher.counter(ItemsCount::new(n)).bench_local(|| {
        engine.begin_relist();
        for (key, version) in keys.iter().zip(1..) {
            black_box(engine.relist_item(key, VersionRef::from(version), None));
        }
        engine.end_list();
    });
}

/// An update of a random key, and a subscriber's look at each one's delta, in batches.
#[divan::bench(args = SIZES)]
fn update_and_drain(bencher: Bencher<'_, '_>, n: usize) {
    let keys = keys(n);
    let mut engine = synced(&keys);
    let subscriber = engine.informer.subscribe(None);
    engine.drain(subscriber);
    let value = Arc::new(1);
    let bencher = bencher.counter(ItemsCount::new(STEPS));
    bencher.with_inputs(random(&keys)).bench_local_refs(|keys| {
        for key in keys {
            engine.update(key, Arc::clone(&value));
        }
        black_box(engine.drain(subscriber))
    });
}

/// A new subscriber's initial listing, per object.
#[divan::bench(args = SIZES, sample_count = 20)]
fn initial_listing(bencher: Bencher<'_, '_>, n: usize) {
    let mut engine = synced(&keys(n));
    bencher.counter(ItemsCount::new(n)).bench_local(|| {
        let subscriber = engine.informer.subscribe(None);
        black_box(engine.drain(subscriber));
        engine.informer.unsubscribe(subscriber)
    });
}

/// A look-up of a random key.
#[divan::bench(args = SIZES)]
fn get(bencher: Bencher<'_, '_>, n: usize) {
    let keys = keys(n);
    let engine = synced(&keys);
    let bencher = bencher.counter(ItemsCount::new(STEPS));
    bencher.with_inputs(random(&keys)).bench_local_refs(|keys| {
        for key in keys {
            black_box(engine.informer.cache().get(*key));
        }
    });
}
