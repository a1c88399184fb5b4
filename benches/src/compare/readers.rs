//! What it costs to have readers, and what reading costs.

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube_runtime::reflector::ObjectRef;
use reflet_core::VersionRef;
use reflet_tokio::Reader;

use crate::latency::{Latencies, read_while};
use crate::measure::{in_turn, median, per_step, per_step_of};
use crate::memory::count;
use crate::objects::{Object, Updates, World};
use crate::peer::Peer;
use crate::readable::Readable;
use crate::report::{Goal, Row};

use super::memory::object_bytes;
use super::rounds;
use super::update::{BATCH, ROUNDS, prepare};

/// The first list of the whole collection until readers can read it, per object.
///
/// Reflet is handed pages of 500 items, as borrowed keys and clones of `Arc`s, commits after the last
/// page and then makes the copy that readers read. kube-runtime takes the list's events by reference
/// and clones the objects in them; its store is what its readers read. Neither drops anything in the
/// timed part.
pub(super) fn first_sync(world: &World) -> Vec<Row> {
    let n = world.len();
    let times = in_turn(
        rounds(n),
        |_| per_step(n, || Readable::synced(world.items())),
        |_| per_step(n, || Peer::synced(world)),
    );
    let name = "first sync with readers, against kube-runtime";
    vec![Row::new(name, n, "ns", times, Goal::Ratio(0.15))]
}

/// A change of a random object that is there, in batches of 256, until readers can read it.
///
/// Reflet is told of a batch's keys first, as in the row of the engine alone, and handed its changes
/// as watch events; readers see them after the last one. kube-runtime takes them by reference and
/// clones the objects; its readers see one after the other.
/// In the second row both sides are Reflet: beside the one a view is taken before each round of eight
/// batches and kept through it. So nearly each change is the first one of its object since the view
/// was taken, and has to keep what was; to let go of what the last round kept is in the timed part.
pub(super) fn update(world: &World) -> Vec<Row> {
    let n = world.len();
    let prepared = prepare(world, ROUNDS + 1);
    let mut with = Readable::synced(world.items());
    let mut peer = Peer::synced(world);
    let times = in_turn(
        ROUNDS,
        |round| update_all(&mut with, world, &prepared[round]),
        |round| {
            let updates = &prepared[round];
            let batches = world.batches(updates, BATCH);
            per_step_of(updates.changes.len(), batches, |batch| {
                for object in &batch.objects {
                    peer.writer.apply_watcher_event(object);
                }
                batch
            })
        },
    );
    drop(peer);
    let mut without = Readable::synced(world.items());
    let held = in_turn(
        ROUNDS,
        |round| {
            let view = with.reader.view();
            let time = update_all(&mut with, world, &prepared[round]);
            drop(view);
            time
        },
        |round| update_all(&mut without, world, &prepared[round]),
    );
    let name = "update with readers, against kube-runtime";
    let held_name = "update with readers while a view is held, against none held";
    vec![
        Row::new(name, n, "ns", times, Goal::Ratio(0.1)),
        Row::new(held_name, n, "ns", held, Goal::Ratio(1.5)),
    ]
}

fn update_all(readable: &mut Readable<Object>, world: &World, updates: &Updates) -> f64 {
    let batches = world.batches(updates, BATCH);
    per_step_of(updates.changes.len(), batches, |batch| {
        readable.engine.look_ahead(&batch.keys, Arc::strong_count);
        let keys = batch.each(|key, object| readable.engine.update(key, object));
        readable.publish();
        keys
    })
}

/// What holding an object takes beyond the object, as in the row of the engine alone, when readers
/// can read it.
pub(super) fn overhead(world: &World) -> Vec<Row> {
    let n = world.len();
    let (reflet, _) = count(|| {
        let mut readable = Readable::synced(world.items());
        let subscriber = readable.engine.informer.subscribe(None);
        readable.engine.drain(subscriber);
        readable
    });
    let (peer, _) = count(|| Peer::synced(world));
    let per_object = |live: i64| live as f64 / n as f64;
    let bytes = (
        per_object(reflet.live),
        per_object(peer.live) - object_bytes(),
    );
    let name = "overhead per object with readers, against kube-runtime";
    vec![Row::new(name, n, "B", bytes, Goal::AtMost(180.0))]
}

/// Keys to read, in both sides' words. Prepared in one piece, so that to fetch the next one costs
/// next to nothing.
struct Reads {
    keys: Vec<String>,
    refs: Vec<ObjectRef<ConfigMap>>,
}

/// How many keys are prepared, and how many reads are timed in one go.
const READS: usize = 1 << 16;
const READS_AT_ONCE: usize = 1 << 11;

impl Reads {
    fn new(world: &World) -> Self {
        let mut random = fastrand::Rng::with_seed(11);
        let numbers: Vec<_> = (0..READS).map(|_| random.usize(..world.len())).collect();
        Self {
            keys: numbers.iter().map(|n| world.keys[*n].clone()).collect(),
            refs: numbers
                .iter()
                .map(|n| {
                    let name = format!("obj-{n:08}");
                    ObjectRef::new(&name).within(&format!("ns-{}", n % 1_000))
                })
                .collect(),
        }
    }

    fn load(&self, reader: &Reader<Object>, number: usize) {
        black_box(reader.load(&self.keys[number % READS]));
    }

    fn get(&self, peer: &Peer, number: usize) {
        black_box(peer.store.get(&self.refs[number % READS]));
    }
}

/// The numbers of the reads of a round.
fn window(round: usize) -> Range<usize> {
    let start = round * READS_AT_ONCE % READS;
    start..start + READS_AT_ONCE
}

/// A read of a random object that is there: while nobody writes; while another thread updates random
/// objects as fast as it can, in batches of 256; and how much longer the longest but for one in a
/// thousand take then. Both sides give a clone of an `Arc`.
pub(super) fn load(world: &World) -> Vec<Row> {
    let n = world.len();
    let reads = Reads::new(world);
    let prepared = prepare(world, 8);
    let mut readable = Readable::synced(world.items());
    let mut peer = Peer::synced(world);
    let reader = readable.reader.clone();
    let reads_of = |round| {
        per_step(READS_AT_ONCE, || {
            window(round).for_each(|number| reads.load(&reader, number))
        })
    };
    let idle = in_turn(ROUNDS, reads_of, |round| {
        per_step(READS_AT_ONCE, || {
            window(round).for_each(|number| reads.get(&peer, number))
        })
    });
    let store = peer.store.clone();
    let busy = in_turn(
        ROUNDS,
        |round| {
            let write = |number| write_some(&mut readable, world, &prepared, number);
            while_writing(write, || reads_of(round))
        },
        |round| {
            let write = |number: usize| {
                for (_, object) in &prepared[number % prepared.len()].changes {
                    peer.writer.apply_watcher_event(object);
                }
            };
            while_writing(write, || {
                per_step(READS_AT_ONCE, || {
                    window(round).for_each(|number| {
                        black_box(store.get(&reads.refs[number % READS]));
                    });
                })
            })
        },
    );
    drop((peer, store));
    let rare = in_turn(
        RARE_ROUNDS,
        |_| {
            let (latencies, ()) = read_while(
                |number| reads.load(&reader, number),
                || {
                    let start = Instant::now();
                    let mut numbers = 0..;
                    while start.elapsed() < RARE_TIME {
                        let number = numbers.next().unwrap_or(0);
                        write_some(&mut readable, world, &prepared, number);
                    }
                },
            );
            latencies.quantile(0.999) as f64
        },
        |_| idle_reads(&reads, &reader, RARE_TIME).quantile(0.999) as f64,
    );
    vec![
        Row::new(
            "load, idle writer, against kube-runtime",
            n,
            "ns",
            idle,
            Goal::Ratio(0.5),
        ),
        Row::new(
            "load, busy writer, against kube-runtime",
            n,
            "ns",
            busy,
            Goal::Ratio(0.01),
        ),
        Row::new(
            "load, p99.9, busy writer against idle",
            n,
            "ns",
            rare,
            Goal::Ratio(3.0),
        ),
    ]
}

const RARE_ROUNDS: usize = 9;
const RARE_TIME: Duration = Duration::from_millis(100);

/// One round of prepared changes.
fn write_some(readable: &mut Readable<Object>, world: &World, prepared: &[Updates], number: usize) {
    for batch in prepared[number % prepared.len()].changes.chunks(BATCH) {
        for (number, object) in batch {
            readable
                .engine
                .update(&world.keys[*number], Arc::clone(object));
        }
        readable.publish();
    }
}

fn idle_reads(reads: &Reads, reader: &Reader<Object>, time: Duration) -> Latencies {
    let sleep = || std::thread::sleep(time);
    read_while(|number| reads.load(reader, number), sleep).0
}

/// Measures while another thread writes one thing after the other.
fn while_writing(mut write: impl FnMut(usize) + Send, measure: impl FnOnce() -> f64) -> f64 {
    let (started, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                write(number);
                started.store(true, Ordering::Release);
                if done.load(Ordering::Acquire) {
                    break;
                }
            }
        });
        while !started.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let measured = measure();
        done.store(true, Ordering::Release);
        measured
    })
}

/// How long all but one in ten thousand reads of a random object take at most during a relist, less
/// what they do while nothing happens. The longest of these waits, if it is one that the relist makes.
///
/// In Reflet's relist every object has changed, which is the most that there can be to publish; its
/// values are the same `Arc`s under new versions. kube-runtime's store takes whatever is listed as new.
pub(super) fn relist_wait(world: &World) -> Vec<Row> {
    let n = world.len();
    let reads = Reads::new(world);
    let mut readable = Readable::synced(world.items());
    let mut peer = Peer::synced(world);
    let reader = readable.reader.clone();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=RELISTS {
        let (waits, took) = read_while(
            |number| reads.load(&reader, number),
            || relist_changed(&mut readable, world, round * n),
        );
        let idle = idle_reads(&reads, &reader, took);
        ours.push(beyond(&waits, &idle));
        let store = peer.store.clone();
        let get = |number: usize| {
            black_box(store.get(&reads.refs[number % READS]));
        };
        let (waits, took) = read_while(get, || {
            let start = Instant::now();
            peer.list(&world.objects);
            start.elapsed()
        });
        let sleep = || std::thread::sleep(took);
        let (idle, ()) = read_while(get, sleep);
        theirs.push(beyond(&waits, &idle));
    }
    let waits = (median(&ours), median(&theirs));
    let name = "p99.99 of a reader's waits during a relist, beyond idle";
    vec![Row::new(name, n, "ns", waits, Goal::AtMost(100_000.0))]
}

const RELISTS: usize = 5;

fn beyond(waits: &Latencies, idle: &Latencies) -> f64 {
    waits.quantile(0.9999).saturating_sub(idle.quantile(0.9999)) as f64
}

/// A relist in which every object has a new version; how long it took.
fn relist_changed(readable: &mut Readable<Object>, world: &World, above: usize) -> Duration {
    readable.engine.begin_relist();
    let start = Instant::now();
    for ((key, object), number) in world.items().zip(1_u64..) {
        let version = VersionRef::from(above as u64 + number);
        readable.engine.changed_item(key, version, object);
    }
    readable.engine.end_list();
    readable.publish();
    start.elapsed()
}
