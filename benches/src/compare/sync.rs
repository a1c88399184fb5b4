//! How long the first list takes.

use std::sync::Arc;

use crate::Floor;
use crate::engine::Engine;
use crate::measure::{in_turn, per_step};
use crate::objects::World;
use crate::report::{Goal, Row};

use super::rounds;

/// The first list of the whole collection, per object, into an engine that has nothing.
///
/// Reflet is handed pages of 500 items, as borrowed keys and clones of `Arc`s, makes its own keys,
/// and commits after the last page. The other side inserts the same keys and `Arc`s into a map that
/// starts empty and grows. Neither drops anything in the timed part.
pub(super) fn first_sync(world: &World) -> Vec<Row> {
    let n = world.len();
    let times = in_turn(
        rounds(n),
        |_| per_step(n, || Engine::synced(world.items())),
        |_| per_step(n, || floor(world)),
    );
    let name = "first sync, engine alone, against a growing hash map";
    vec![Row::new(name, n, "ns", times, Goal::Ratio(3.0))]
}

pub(super) fn floor(world: &World) -> Floor<crate::objects::Object> {
    let mut map = Floor::default();
    for (key, object) in world.keys.iter().zip(&world.objects) {
        map.insert(key.as_str().into(), Arc::clone(object));
    }
    map
}
