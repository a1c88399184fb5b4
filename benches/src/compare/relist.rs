//! How long it takes to list once more what has not changed.

use serde::Deserialize;

use kube_runtime::watcher::Event;
use reflet_core::{Incarnation, VersionRef};

use crate::engine::Engine;
use crate::measure::{in_turn, per_step};
use crate::objects::{Object, World};
use crate::peer::{Peer, SharedPeer};
use crate::report::{Goal, Row};

use super::rounds;

/// A list of what is there already, per object, and what one subscriber gets to read of it.
///
/// Reflet is asked of each item whether it holds that version, and told that it is unchanged; the
/// list's end is in the timed part. kube-runtime takes the list's events by reference, clones the
/// objects in them, and drops what it had: that is what its store does.
pub(super) fn unchanged(world: &World) -> Vec<Row> {
    let n = world.len();
    let mut engine = Engine::synced(world.items());
    let subscriber = engine.informer.subscribe(None);
    engine.drain(subscriber);
    let mut peer = Peer::synced(world);
    let mut deltas = 0;
    let times = in_turn(
        rounds(n),
        |_| {
            engine.begin_relist();
            let time = per_step(n, || relist(&mut engine, world));
            deltas = engine.drain(subscriber);
            time
        },
        |_| per_step(n, || peer.list(&world.objects)),
    );
    drop(peer);
    let read = read_of_a_relist(world);
    let unit = "deltas";
    vec![
        Row::new(
            "relist, nothing changed, against kube-runtime",
            n,
            "ns",
            times,
            Goal::Ratio(0.05),
        ),
        Row::new(
            "relist, nothing changed, read by one subscriber",
            n,
            unit,
            (deltas as f64, read as f64),
            Goal::AtMost(0.0),
        ),
    ]
}

/// The items of a relist that has begun, and its end.
pub(super) fn relist(engine: &mut Engine<Object>, world: &World) {
    for (key, version) in world.keys.iter().zip(1..) {
        let held = engine.relist_item(key, VersionRef::from(version), None);
        debug_assert!(held, "nothing has changed");
    }
    engine.end_list();
}

/// How many objects one subscriber of kube-runtime's shared store is woken for. At ten thousand
/// objects at most, and for more in proportion: its stream takes owned events, and another million
/// objects would not tell more.
fn read_of_a_relist(world: &World) -> usize {
    const ENOUGH: usize = 10_000;
    let few = World::new(world.len().min(ENOUGH));
    let mut peer = SharedPeer::synced(&few, 1);
    peer.queue([Event::Init]);
    peer.queue(few.objects.iter().map(|object| Event::clone(object)));
    peer.queue([Event::InitDone]);
    peer.run().0 * (world.len() / few.len())
}

/// As a driver of Reflet reads an object: as far as its envelope.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
    uid: &'a str,
    resource_version: &'a str,
}

/// The same from JSON on: one text for each object, as large as it is on the wire.
///
/// Reflet's side reads namespace, name, uid and version, and puts the key together; the payload is
/// skipped, since the cache holds it. kube-runtime's side decodes the whole object, gives it to the
/// store, and drops it.
pub(super) fn from_json(world: &World) -> Vec<Row> {
    /// Beyond this the texts take more memory than they tell.
    const ENOUGH: usize = 100_000;
    let n = world.len();
    if n > ENOUGH {
        return Vec::new();
    }
    let lines: Vec<String> = world
        .objects
        .iter()
        .filter_map(|object| text(object))
        .collect();
    assert_eq!(lines.len(), n, "every object has a text");
    let mut engine = Engine::synced(world.items());
    let mut peer = Peer::synced(world);
    let times = in_turn(
        rounds(n * 4),
        |_| {
            engine.begin_relist();
            per_step(n, || {
                let mut key = String::new();
                for line in &lines {
                    let held = relist_text(&mut engine, line, &mut key);
                    debug_assert!(held, "nothing has changed");
                }
                engine.end_list();
            })
        },
        |_| {
            per_step(n, || {
                peer.writer.apply_watcher_event(&Event::Init);
                for line in &lines {
                    if let Ok(object) = serde_json::from_str(line) {
                        peer.writer.apply_watcher_event(&Event::InitApply(object));
                    }
                }
                peer.writer.apply_watcher_event(&Event::InitDone);
            })
        },
    );
    assert_eq!(peer.store.len(), n, "every text was decoded");
    let name = "relist from JSON, nothing changed, against kube-runtime";
    vec![Row::new(name, n, "ns", times, Goal::Ratio(0.2))]
}

/// Hands in one item as far as it has to be read; `key` is only there to be used again.
fn relist_text(engine: &mut Engine<Object>, line: &str, key: &mut String) -> bool {
    let Ok(Envelope { metadata }) = serde_json::from_str(line) else {
        return false;
    };
    key.clear();
    key.push_str(metadata.namespace);
    key.push('/');
    key.push_str(metadata.name);
    let version = VersionRef::parse(metadata.resource_version);
    engine.relist_item(key, version, Some(Incarnation::from_uid(metadata.uid)))
}

fn text(object: &Event<k8s_openapi::api::core::v1::ConfigMap>) -> Option<String> {
    match object {
        Event::InitApply(object) => serde_json::to_string(object).ok(),
        Event::Apply(_) | Event::Delete(_) | Event::Init | Event::InitDone => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_recognises_every_text_of_what_it_holds() {
        let world = World::new(700);
        let mut engine = Engine::synced(world.items());
        engine.begin_relist();
        for object in &world.objects {
            let line = text(object).unwrap();
            assert!(
                relist_text(&mut engine, &line, &mut String::new()),
                "{line}"
            );
        }
        engine.end_list();
        assert_eq!(engine.informer.cache().len(), 700);
    }
}
