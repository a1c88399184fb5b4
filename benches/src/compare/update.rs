//! How long a change of a random object takes.

use std::sync::Arc;

use crate::Floor;
use crate::engine::Engine;
use crate::measure::{in_turn, per_step_of};
use crate::objects::{Batch, Updates, World};
use crate::report::{Goal, Row};

use super::Plan;
use super::sync::floor;

/// How many changes a batch has.
pub(super) const BATCH: usize = 256;
/// How many batches are timed in one go.
const BATCHES: usize = 8;
pub(super) const ROUNDS: usize = 31;

/// A change of a random object that is there, in batches of 256; no subscriber.
///
/// Reflet is told of a batch's keys first, as by a driver that has decoded what it read, and then
/// handed each change as a watch event with a revision of its own, which it publishes. The
/// other side finds the key in a bare map and replaces the `Arc`. Both take the same batches of keys
/// and `Arc`s, made just before; the bench keeps the objects alive, so that neither side frees one.
pub(super) fn update(world: &World) -> Vec<Row> {
    let mut engine = Engine::synced(world.items());
    let mut map = floor(world);
    let prepared = prepare(world, ROUNDS + 1);
    let times = in_turn(
        ROUNDS,
        |round| {
            per_step_of(
                BATCH * BATCHES,
                world.batches(&prepared[round], BATCH),
                |batch| {
                    engine.look_ahead(&batch.keys, Arc::strong_count);
                    batch.each(|key, object| engine.update(key, object))
                },
            )
        },
        |round| {
            per_step_of(
                BATCH * BATCHES,
                world.batches(&prepared[round], BATCH),
                |batch| batch.each(|key, object| replace(&mut map, key, object)),
            )
        },
    );
    let name = "update, engine alone, against replacing in a hash map";
    vec![Row::new(name, world.len(), "ns", times, Goal::Ratio(3.0))]
}

/// What an update costs beyond a bare map at ten million keys, against what it does at 100,000:
/// each side is the quotient of Reflet's update and the map's, as in the row above, but with values
/// of a few bytes.
pub(super) fn many_keys(plan: &Plan) -> Vec<Row> {
    let Some(n) = plan.many_keys else {
        return Vec::new();
    };
    let quotient = |n| {
        let (engine, map) = small_updates(n);
        engine / map
    };
    let few = quotient(100_000);
    let name = "update over that of a hash map, against the same at 100,000 keys";
    vec![Row::new(name, n, "×", (quotient(n), few), Goal::Ratio(1.5))]
}

/// What an update costs in an engine of `n` small values, and in a map of them.
pub(super) fn small_updates(n: usize) -> (f64, f64) {
    let value = Arc::new(0_u64);
    // Not listed but watched, so that no list is staged beside millions of objects.
    let mut engine = Engine::synced([]);
    let mut map = Floor::default();
    for number in 0..n {
        let key = crate::key(number);
        engine.update(&key, Arc::clone(&value));
        map.insert(key.into_boxed_str(), Arc::clone(&value));
    }
    let seed = |round: usize| fastrand::Rng::with_seed(round as u64);
    in_turn(
        ROUNDS,
        |round| {
            per_step_of(
                BATCH * BATCHES,
                small_batches(n, &value, seed(round)),
                |batch| {
                    engine.look_ahead(&batch.keys, Arc::strong_count);
                    batch.each(|key, value| engine.update(key, value))
                },
            )
        },
        |round| {
            per_step_of(
                BATCH * BATCHES,
                small_batches(n, &value, seed(round)),
                |batch| batch.each(|key, value| replace(&mut map, key, value)),
            )
        },
    )
}

fn small_batches(
    n: usize,
    value: &Arc<u64>,
    mut random: fastrand::Rng,
) -> impl Iterator<Item = Batch<Arc<u64>>> {
    (0..BATCHES).map(move |_| Batch {
        keys: (0..BATCH).map(|_| crate::key(random.usize(..n))).collect(),
        objects: vec![Arc::clone(value); BATCH],
    })
}

/// Changes for so many rounds. They are kept alive until the row is done.
pub(super) fn prepare(world: &World, rounds: usize) -> Vec<Updates> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..rounds)
        .map(|_| world.updates(&mut random, BATCH * BATCHES))
        .collect()
}

fn replace<V>(map: &mut Floor<V>, key: &str, value: V) {
    if let Some(place) = map.get_mut(key) {
        *place = value;
    }
}
