//! Costs against size and against subscribers, drawn.

use crate::engine::Engine;
use crate::measure::{in_turn, per_step};
use crate::objects::World;
use crate::peer::Peer;
use crate::plot::{Plot, Series};

use super::relist::relist;
use super::sync::floor;
use super::update::{prepare, small_updates};
use super::{Plan, rounds, subscribers};

/// Beyond this kube-runtime's copies take more memory than the curve tells.
const PEER_OBJECTS: usize = 1_000_000;

/// Measures and draws all plots: file names and what is in them. `progress` is told what comes
/// next.
pub fn draw(plan: &Plan, mut progress: impl FnMut(&str)) -> Vec<(&'static str, Plot)> {
    progress("updates of small values");
    let update = update_by_size(plan);
    progress("first syncs and relists");
    let [sync, relist] = lists_by_size(plan);
    progress("subscribers");
    vec![
        ("update-by-size.svg", update),
        ("first-sync-by-size.svg", sync),
        ("relist-by-size.svg", relist),
        ("update-by-subscribers.svg", update_by_subscribers()),
    ]
}

/// An update of a random key: kube-runtime's with ConfigMaps, the others' with small values, since
/// they only move their `Arc`s.
fn update_by_size(plan: &Plan) -> Plot {
    let (mut engine, mut map, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    for n in &plan.plotted {
        let size = *n as f64;
        let (ours, floors) = small_updates(*n);
        engine.push((size, ours));
        map.push((size, floors));
        if *n <= PEER_OBJECTS {
            peer.push((size, peer_update(&World::new(*n))));
        }
    }
    Plot {
        title: "Update of a random key",
        x: "keys",
        y: "ns",
        series: series([
            ("kube-runtime", peer),
            ("Reflet, engine alone", engine),
            ("hash map", map),
        ]),
    }
}

fn peer_update(world: &World) -> f64 {
    let mut peer = Peer::synced(world);
    let prepared = prepare(world, 11);
    let side = |round: usize| {
        let changes = &prepared[round].changes;
        per_step(changes.len(), || {
            for (_, object) in changes {
                peer.writer.apply_watcher_event(object);
            }
        })
    };
    in_turn(10, side, |_| 0.0).0
}

fn lists_by_size(plan: &Plan) -> [Plot; 2] {
    let (mut engine, mut map, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    let (mut again, mut peer_again) = (Vec::new(), Vec::new());
    for n in plan.plotted.iter().filter(|n| **n <= PEER_OBJECTS) {
        let (world, size) = (World::new(*n), *n as f64);
        let rounds = rounds(*n);
        let (ours, floors) = in_turn(
            rounds,
            |_| per_step(*n, || Engine::synced(world.items())),
            |_| per_step(*n, || floor(&world)),
        );
        engine.push((size, ours));
        map.push((size, floors));
        let first = |_| per_step(*n, || Peer::synced(&world));
        peer.push((size, in_turn(rounds, first, |_| 0.0).0));
        let (mut full, mut full_peer) = (Engine::synced(world.items()), Peer::synced(&world));
        let (ours, theirs) = in_turn(
            rounds,
            |_| {
                full.begin_relist();
                per_step(*n, || relist(&mut full, &world))
            },
            |_| per_step(*n, || full_peer.list(&world.objects)),
        );
        again.push((size, ours));
        peer_again.push((size, theirs));
    }
    let plot = |title, series| Plot {
        title,
        x: "objects",
        y: "ns per object",
        series,
    };
    [
        plot(
            "First sync",
            series([
                ("kube-runtime", peer),
                ("Reflet, engine alone", engine),
                ("hash map", map),
            ]),
        ),
        plot(
            "Relist, nothing changed",
            series([
                ("kube-runtime", peer_again),
                ("Reflet, engine alone", again),
            ]),
        ),
    ]
}

/// An update with so many subscribers: asleep, caught up, and reading everything.
fn update_by_subscribers() -> Plot {
    let (mut caught_up, mut asleep) = (Vec::new(), Vec::new());
    for n in [1, 10, 100, 1_000, 10_000] {
        let times = subscribers::against_one(n);
        caught_up.push((n as f64, times.caught_up.0));
        asleep.push((n as f64, times.long_asleep.0));
    }
    let (mut reading, mut peer) = (Vec::new(), Vec::new());
    let world = World::new(10_000);
    for n in [0, 1, 4, 16, 64] {
        let (ours, theirs) = subscribers::with_subscribers(&world, n);
        // A logarithmic axis has no zero: without a subscriber is drawn as one half.
        let x = if n == 0 { 0.5 } else { n as f64 };
        reading.push((x, ours));
        peer.push((x, theirs));
    }
    Plot {
        title: "Update with subscribers (10,000 objects)",
        x: "subscribers",
        y: "ns",
        series: series([
            ("kube-runtime, read", peer),
            ("Reflet, read", reading),
            ("Reflet, caught up", caught_up),
            ("Reflet, asleep", asleep),
        ]),
    }
}

fn series<const N: usize>(lines: [(&'static str, Vec<(f64, f64)>); N]) -> Vec<Series> {
    lines.map(|(name, points)| Series { name, points }).into()
}
