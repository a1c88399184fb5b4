//! What is allocated.

use std::sync::Arc;

use kube_runtime::watcher::Event;

use crate::engine::Engine;
use crate::memory::count;
use crate::objects::{World, config_map};
use crate::peer::Peer;
use crate::report::{Goal, Row};

use super::relist::relist;
use super::update::prepare;

/// What one object takes in memory, its `Arc` and its vectors' slack left aside.
pub(super) fn object_bytes() -> f64 {
    const SOME: usize = 1_000;
    let make = || (0..SOME).map(|number| Event::InitApply(config_map(number, 1)));
    let (usage, objects) = count(|| {
        let mut objects = Vec::with_capacity(SOME);
        objects.extend(make());
        objects
    });
    drop(objects);
    usage.live as f64 / SOME as f64
}

/// The most that a relist of unchanged objects allocates on top of what is there, per object,
/// against what an object takes. (kube-runtime holds a second copy of everything at its peak: once
/// what an object takes.)
pub(super) fn relist_peak(world: &World) -> Vec<Row> {
    let mut engine = Engine::synced(world.items());
    let subscriber = engine.informer.subscribe(None);
    engine.drain(subscriber);
    let (usage, ()) = count(|| {
        engine.begin_relist();
        relist(&mut engine, world);
        engine.drain(subscriber);
    });
    let n = world.len();
    let bytes = (usage.peak as f64 / n as f64, object_bytes());
    let name = "extra peak memory of a relist, against the objects";
    vec![Row::new(name, n, "B", bytes, Goal::Ratio(0.01))]
}

/// What holding an object takes beyond the object: key, entry, place in the table, unused room.
///
/// Reflet has one subscriber, which has caught up, and shares the bench's objects. kube-runtime has
/// no subscriber; it clones the objects, and what one of them takes is taken off.
pub(super) fn overhead(world: &World) -> Vec<Row> {
    let n = world.len();
    let (reflet, _) = count(|| {
        let mut engine = Engine::synced(world.items());
        let subscriber = engine.informer.subscribe(None);
        engine.drain(subscriber);
        engine
    });
    let (peer, _) = count(|| Peer::synced(world));
    let per_object = |live: i64| live as f64 / n as f64;
    let bytes = (
        per_object(reflet.live),
        per_object(peer.live) - object_bytes(),
    );
    let name = "overhead per object, engine alone, against kube-runtime";
    vec![Row::new(name, n, "B", bytes, Goal::AtMost(110.0))]
}

/// Allocations for each update of a random object, once every object has been updated.
///
/// Reflet has one subscriber, which reads every batch; what it takes to read is counted too.
/// kube-runtime has none.
pub(super) fn allocations(world: &World) -> Vec<Row> {
    let warm = &prepare(world, 2);
    let mut engine = Engine::synced(world.items());
    let subscriber = engine.informer.subscribe(None);
    let mut peer = Peer::synced(world);
    let mut counted = [0.0; 2];
    for updates in warm {
        let changes = updates.changes.len() as f64;
        let (reflet, ()) = count(|| {
            for batch in updates.changes.chunks(super::update::BATCH) {
                for (number, object) in batch {
                    engine.update(&world.keys[*number], Arc::clone(object));
                }
                engine.drain(subscriber);
            }
        });
        let (other, ()) = count(|| {
            for (_, object) in &updates.changes {
                peer.writer.apply_watcher_event(object);
            }
        });
        counted = [reflet, other].map(|usage| usage.allocations as f64 / changes);
    }
    let name = "allocations per update, engine alone, against kube-runtime";
    let [reflet, other] = counted;
    vec![Row::new(
        name,
        world.len(),
        "",
        (reflet, other),
        Goal::AtMost(0.0),
    )]
}
