//! What subscribers cost.

use std::sync::Arc;

use kube_runtime::watcher::Event;
use reflet_core::cache::SubscriberId;

use crate::engine::Engine;
use crate::measure::{in_turn, per_step, per_step_of};
use crate::objects::{Object, Updates, World};
use crate::peer::{BUFFER, SharedPeer};
use crate::report::{Goal, Row};

use super::Plan;
use super::update::{BATCH, prepare};

/// An update of a random object that 16 subscribers read, per update.
///
/// Both sides take 64 updates, as many as kube-runtime's buffer holds, and then let every subscriber
/// read all of them; and so on. Each is read in the way that costs least: Reflet lends its deltas, key,
/// old value and new value, in batches; the peer's streams give an `Arc` of the newest value. kube-runtime takes owned events and gives them back; both are made and dropped
/// outside of the timed part.
pub(super) fn sixteen(world: &World) -> Vec<Row> {
    let times = with_subscribers(world, 16);
    let name = "update that 16 subscribers read, against kube-runtime";
    vec![Row::new(name, world.len(), "ns", times, Goal::Ratio(0.15))]
}

/// What an update costs that so many subscribers read: in Reflet, and in kube-runtime.
pub(super) fn with_subscribers(world: &World, subscribers: usize) -> (f64, f64) {
    let mut engine = Engine::synced(world.items());
    let ids: Vec<_> = (0..subscribers)
        .map(|_| engine.informer.subscribe(None))
        .collect();
    for id in &ids {
        engine.drain(*id);
    }
    let mut peer = SharedPeer::synced(world, subscribers);
    let prepared = prepare(world, ROUNDS + 1);
    in_turn(
        ROUNDS,
        |round| {
            let batches = world.batches(&prepared[round], BUFFER);
            per_step_of(prepared[round].changes.len(), batches, |batch| {
                engine.look_ahead(&batch.keys, Arc::strong_count);
                let keys = batch.each(|key, object| engine.update(key, object));
                for id in &ids {
                    engine.drain(*id);
                }
                keys
            })
        },
        |round| {
            let changes = &prepared[round].changes;
            peer.queue(changes.iter().map(|(_, object)| Event::clone(object)));
            per_step(changes.len(), || peer.run())
        },
    )
}

/// How many subscribers are many.
const MANY: usize = 10_000;
/// How many objects they have read before anything is measured.
const OBJECTS: usize = 10_000;
const ROUNDS: usize = 15;

/// An update of a random object with 10,000 subscribers against the same with one, in batches of
/// 256: with all of them caught up when a batch begins (what they read in between is not timed); with
/// each asleep since a change of its own, and most objects not changed since, so that each update
/// finds somebody who saw the old state; and the same objects once more.
pub(super) fn many(_: &Plan) -> Vec<Row> {
    let Times {
        caught_up,
        asleep,
        long_asleep,
    } = against_one(MANY);
    let goal = Goal::Ratio(1.2);
    vec![
        Row::new(
            "update with 10,000 subscribers caught up, against one",
            MANY,
            "ns",
            caught_up,
            goal,
        ),
        Row::new(
            "update with 10,000 subscribers asleep, the first of an object, against one",
            MANY,
            "ns",
            asleep,
            goal,
        ),
        Row::new(
            "update with 10,000 subscribers asleep, the next, against one",
            MANY,
            "ns",
            long_asleep,
            goal,
        ),
    ]
}

/// What an update costs with so many subscribers, and with one.
pub(super) struct Times {
    pub(super) caught_up: (f64, f64),
    pub(super) asleep: (f64, f64),
    pub(super) long_asleep: (f64, f64),
}

pub(super) fn against_one(subscribers: usize) -> Times {
    let world = World::new(OBJECTS);
    let (mut crowd, mut one) = (Crowd::new(&world, subscribers), Crowd::new(&world, 1));
    let (mut sleepers, mut sleeper) = (crowd.clone(), one.clone());
    sleepers.fall_asleep(&world);
    sleeper.fall_asleep(&world);
    let prepared = prepare(&world, ROUNDS + 1);
    let caught_up = in_turn(
        ROUNDS,
        |round| crowd.caught_up(&world, &prepared[round]),
        |round| one.caught_up(&world, &prepared[round]),
    );
    let mut sleeping = || {
        in_turn(
            ROUNDS,
            |round| sleepers.update(&world, &prepared[round]),
            |round| sleeper.update(&world, &prepared[round]),
        )
    };
    let asleep = sleeping();
    // The very same objects again.
    let long_asleep = sleeping();
    Times {
        caught_up,
        asleep,
        long_asleep,
    }
}

/// An engine and its subscribers, all of them caught up.
#[derive(Clone)]
struct Crowd {
    engine: Engine<Object>,
    subscribers: Vec<SubscriberId>,
}

impl Crowd {
    fn new(world: &World, subscribers: usize) -> Self {
        let mut engine = Engine::synced(world.items());
        let subscribers: Vec<_> = (0..subscribers)
            .map(|_| engine.informer.subscribe(None))
            .collect();
        for id in &subscribers {
            engine.drain(*id);
        }
        Self {
            engine,
            subscribers,
        }
    }

    /// Each subscriber reads up to a change of its own, and never again. What that leaves behind is
    /// settled before anything is measured: it is the price of going on, and no update's.
    fn fall_asleep(&mut self, world: &World) {
        for (index, id) in self.subscribers.iter().enumerate() {
            let number = index % world.len();
            let object = Arc::clone(&world.objects[number]);
            self.engine.update(&world.keys[number], object);
            self.engine.drain(*id);
        }
        self.engine.settle();
    }

    /// The updates' first batch, after everybody has read everything.
    fn caught_up(&mut self, world: &World, updates: &Updates) -> f64 {
        for id in &self.subscribers {
            self.engine.drain(*id);
        }
        self.update(world, updates)
    }

    fn update(&mut self, world: &World, updates: &Updates) -> f64 {
        let batch = world.batches(updates, BATCH).take(1);
        per_step_of(BATCH, batch, |batch| {
            batch.each(|key, object| self.engine.update(key, object))
        })
    }
}
