//! The cache beside a naive model: every subscriber folds its deltas into a plain map.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::num::NonZero;

use foldhash::fast::FixedState;

use proptest::prelude::*;

use super::{
    Cache, Delta, Filter, Partition, Polled, Reached, SubscriberId, Subscription, Upsert, Upserted,
};
use crate::token::{Incarnation, Revision, VersionRef};

const KEYS: u8 = 6;
const SIZE: usize = 50;
const PLENTY: usize = 1 << 20;
const WORKERS: NonZero<u32> = NonZero::new(2).unwrap();

#[derive(Clone, Debug)]
enum Op {
    Upsert {
        key: u8,
        incarnation: Option<u64>,
    },
    Delete {
        key: u8,
        told: bool,
        inferred: bool,
    },
    Restamp {
        key: u8,
    },
    List {
        marked: u8,
        spared: u8,
    },
    Publish {
        complete: bool,
    },
    Rewind,
    Subscribe {
        filter: u8,
        worker: Option<u32>,
        lossless: Option<usize>,
    },
    Redeliver {
        who: usize,
    },
    SetFilter {
        who: usize,
        filter: u8,
    },
    Unsubscribe {
        who: usize,
    },
    Poll {
        who: usize,
        times: usize,
    },
    Take {
        who: usize,
        most: usize,
    },
    Drain {
        who: usize,
        most: usize,
    },
    TakeLapsed,
    Reclaim {
        steps: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..KEYS;
    let who = 0..5_usize;
    prop_oneof![
        12 => (key.clone(), proptest::option::weighted(0.3, 0..2_u64))
            .prop_map(|(key, incarnation)| Op::Upsert { key, incarnation }),
        6 => (key.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(key, told, inferred)| Op::Delete { key, told, inferred }),
        1 => key.prop_map(|key| Op::Restamp { key }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(marked, spared)| Op::List { marked, spared }),
        6 => any::<bool>().prop_map(|complete| Op::Publish { complete }),
        1 => Just(Op::Rewind),
        3 => (
            0..5_u8,
            proptest::option::weighted(0.3, 0..WORKERS.get()),
            proptest::option::weighted(0.4, prop_oneof![Just(usize::MAX), 0..2_000_usize]),
        )
            .prop_map(|(filter, worker, lossless)| Op::Subscribe { filter, worker, lossless }),
        1 => who.clone().prop_map(|who| Op::Redeliver { who }),
        2 => (who.clone(), 0..5_u8).prop_map(|(who, filter)| Op::SetFilter { who, filter }),
        1 => who.clone().prop_map(|who| Op::Unsubscribe { who }),
        6 => (who.clone(), 1..4_usize).prop_map(|(who, times)| Op::Poll { who, times }),
        6 => (who.clone(), 0..4_usize).prop_map(|(who, most)| Op::Take { who, most }),
        4 => (who, 0..4_usize).prop_map(|(who, most)| Op::Drain { who, most }),
        1 => Just(Op::TakeLapsed),
        1 => (0..5_usize).prop_map(|steps| Op::Reclaim { steps }),
    ]
}

fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(op(), 1..most)
}

/// The filters of the model, by number; 0 lets everything through.
fn wants(filter: u8, key: u8, value: u32) -> bool {
    match filter {
        0 => true,
        1 => value.is_multiple_of(2),
        2 => value.is_multiple_of(3),
        3 => key < 3,
        _ => false,
    }
}

fn filter(number: u8) -> Option<Filter<Box<str>, u32>> {
    (number > 0)
        .then(|| Filter::<Box<str>, u32>::new(move |key, value| wants(number, index(key), *value)))
}

fn name(key: u8) -> Box<str> {
    alloc::format!("key-{key}").into()
}

fn index(key: &str) -> u8 {
    key.strip_prefix("key-").unwrap().parse().unwrap()
}

struct Listener {
    id: SubscriberId,
    filter: u8,
    partition: Option<Partition>,
    lossless: bool,
    folded: BTreeMap<u8, u32>,
    /// No mark since it joined or was reset.
    fresh: bool,
    revision: u64,
    /// What is to be handed out once more.
    owed: BTreeSet<u8>,
    /// What was not, since the last time that there was nothing to hand out.
    again: bool,
    heard: Vec<Polled<Box<str>, u32>>,
}

/// What the model knows of one publication.
struct Published {
    state: BTreeMap<u8, u32>,
    epoch: u64,
    complete: bool,
}

struct World {
    cache: Cache<Box<str>, u32>,
    limited: bool,
    live: BTreeMap<u8, (u32, Option<u64>)>,
    /// Every value is handed out once; here is the incarnation that it belongs to.
    generations: Vec<u64>,
    generation: u64,
    published: Vec<Published>,
    changed: bool,
    epoch: u64,
    listeners: Vec<Listener>,
}

impl World {
    fn new(limit: usize) -> Self {
        Self {
            cache: Cache::new(FixedState::default(), limit, true),
            limited: limit < usize::MAX,
            live: BTreeMap::new(),
            generations: Vec::new(),
            generation: 0,
            published: Vec::new(),
            changed: false,
            epoch: 0,
            listeners: Vec::new(),
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Upsert { key, incarnation } => self.upsert(key, incarnation),
            Op::Delete {
                key,
                told,
                inferred,
            } => self.delete(key, told, inferred),
            Op::Restamp { key } => {
                let version = VersionRef::from(self.generations.len() as u64);
                let live = self.cache.restamp(&name(key), version, None, SIZE);
                assert_eq!(live, self.live.contains_key(&key));
            }
            Op::List { marked, spared } => self.list(marked, spared),
            Op::Publish { complete } => self.publish(complete),
            Op::Rewind => {
                self.cache.rewind();
                self.epoch += 1;
            }
            Op::Subscribe {
                filter: number,
                worker,
                lossless,
            } => self.subscribe(number, worker, lossless),
            Op::Redeliver { who } => {
                if let Some(listener) = self.listeners.get_mut(who) {
                    assert!(self.cache.redeliver(listener.id));
                    listener.owed = listener.folded.keys().copied().collect();
                    listener.again = true;
                }
            }
            Op::SetFilter {
                who,
                filter: number,
            } => {
                if let Some(listener) = self.listeners.get_mut(who) {
                    listener.filter = number;
                    assert!(self.cache.set_filter(listener.id, filter(number)));
                }
            }
            Op::Unsubscribe { who } => {
                if who < self.listeners.len() {
                    let id = self.listeners.remove(who).id;
                    assert!(self.cache.unsubscribe(id) && !self.cache.unsubscribe(id));
                    assert_eq!(self.cache.poll(id), Polled::Idle);
                }
            }
            Op::Poll { who, times } => {
                for _ in 0..times {
                    self.poll(who);
                }
            }
            Op::Take { who, most } => {
                self.take(who, most);
            }
            Op::Drain { who, most } => while self.take(who, most) {},
            Op::TakeLapsed => {
                while let Some(id) = self.cache.take_lapsed() {
                    assert!(
                        self.limited && self.listeners.iter().any(|listener| listener.id == id)
                    );
                }
            }
            Op::Reclaim { steps } => {
                self.cache.reclaim(steps);
            }
        }
    }

    fn subscribe(&mut self, number: u8, worker: Option<u32>, lossless: Option<usize>) {
        let partition = worker.and_then(|worker| Partition::new(worker, WORKERS));
        let id = self.cache.subscribe(Subscription {
            filter: filter(number),
            partition,
            lossless,
            ..Subscription::new()
        });
        let folded = BTreeMap::new();
        self.listeners.push(Listener {
            id,
            filter: number,
            partition,
            lossless: lossless.is_some(),
            folded,
            fresh: true,
            revision: 0,
            owed: BTreeSet::new(),
            again: false,
            heard: Vec::new(),
        });
    }

    fn new_value(&mut self) -> u32 {
        self.generations.push(self.generation);
        self.generations.len() as u32 - 1
    }

    fn upsert(&mut self, key: u8, incarnation: Option<u64>) {
        let before = self.live.get(&key).copied();
        let expected = match before {
            None => Upserted::Added,
            Some((_, Some(before))) if incarnation.is_some_and(|now| now != before) => {
                Upserted::Recreated
            }
            Some(_) => Upserted::Updated,
        };
        let running = self.generation;
        match before {
            Some((value, _)) if expected == Upserted::Updated => {
                self.generation = self.generations[value as usize]
            }
            _ => self.generation += 1,
        }
        let value = self.new_value();
        self.generation = self.generation.max(running);
        self.live.insert(
            key,
            (
                value,
                incarnation.or(before.and_then(|(_, incarnation)| incarnation)),
            ),
        );
        let upserted = self.cache.upsert(Upsert {
            key: &name(key),
            owned: None,
            version: u64::from(value).into(),
            incarnation: incarnation.map(Incarnation::from),
            value,
            size: SIZE,
        });
        assert_eq!(upserted, expected);
        self.changed = true;
    }

    fn delete(&mut self, key: u8, told: bool, inferred: bool) {
        let before = self.live.remove(&key);
        let last = before.filter(|_| told).map(|(value, _)| {
            self.generations.push(self.generations[value as usize]);
            self.generations.len() as u32 - 1
        });
        assert_eq!(
            self.cache.delete(&name(key), last, inferred),
            before.is_some()
        );
        self.changed |= before.is_some();
    }

    fn list(&mut self, marked: u8, spared: u8) {
        self.cache.start_marking();
        for key in (0..KEYS).filter(|key| marked & (1 << key) != 0) {
            assert_eq!(self.cache.mark(&name(key)), self.live.contains_key(&key));
        }
        let before = self.live.len();
        self.live
            .retain(|key, _| (marked | spared) & (1 << key) != 0);
        let gone = self
            .cache
            .delete_unmarked(&mut |key| spared & (1 << index(key)) != 0);
        assert_eq!(gone, before - self.live.len());
        self.changed |= gone > 0;
    }

    fn state(&self) -> BTreeMap<u8, u32> {
        self.live
            .iter()
            .map(|(key, (value, _))| (*key, *value))
            .collect()
    }

    fn publish(&mut self, complete: bool) {
        self.published.push(Published {
            state: self.state(),
            epoch: self.epoch,
            complete,
        });
        self.cache
            .publish(Some(Revision::from(self.published.len() as u64)), complete);
        self.changed = false;
    }

    /// One poll, judged. False if there was nothing.
    fn poll(&mut self, who: usize) -> bool {
        let Some(id) = self.listeners.get(who).map(|listener| listener.id) else {
            return false;
        };
        let news = self.cache.has_news(id);
        let polled = self.cache.poll(id);
        assert!(
            news || polled == Polled::Idle,
            "no news, and yet {polled:?}"
        );
        self.hear(who, polled)
    }

    /// One look at several deltas, judged. False if that was all.
    fn take(&mut self, who: usize, most: usize) -> bool {
        let Some(id) = self.listeners.get(who).map(|listener| listener.id) else {
            return false;
        };
        let news = self.cache.has_news(id);
        let mut polled = Vec::new();
        let reached = self.cache.drain(id, most, |delta| {
            polled.push(Polled::Delta(delta.to_delta()))
        });
        assert!(polled.len() <= most.max(1), "more than was asked for");
        match reached {
            Reached::Mark(mark) => polled.push(Polled::Delta(Delta::Mark(mark))),
            Reached::Budget => assert!(!polled.is_empty(), "these few nodes are no work"),
            Reached::Idle => polled.push(Polled::Idle),
        }
        assert!(
            news || polled == [Polled::Idle],
            "no news, and yet {polled:?}"
        );
        polled
            .into_iter()
            .fold(true, |_, polled| self.hear(who, polled))
    }

    fn hear(&mut self, who: usize, polled: Polled<Box<str>, u32>) -> bool {
        let state = self.state();
        let Some(listener) = self.listeners.get_mut(who) else {
            return false;
        };
        listener.heard.push(polled.clone());
        match polled {
            Polled::Idle => {
                if !self.changed && !self.published.is_empty() {
                    assert_eq!(
                        listener.folded,
                        listener.wants(&state),
                        "idle before it caught up"
                    );
                    assert_eq!(
                        listener.revision,
                        self.published.len() as u64,
                        "idle without a mark"
                    );
                    assert!(listener.owed.is_empty(), "not handed out once more");
                    listener.again = false;
                }
                return false;
            }
            Polled::Yield => {}
            Polled::Delta(delta) => {
                listener.fold(&delta, &self.generations, &self.published, self.limited)
            }
        }
        true
    }

    fn settle(&mut self) {
        self.publish(true);
        for who in 0..self.listeners.len() {
            while self.poll(who) {}
        }
        while self.cache.reclaim(1) {}
        self.cache.check();
        self.cache.assert_nothing_retained();
    }
}

impl Listener {
    fn wants(&self, state: &BTreeMap<u8, u32>) -> BTreeMap<u8, u32> {
        state
            .iter()
            .filter(|(key, _)| is_share(self.partition, **key))
            .filter(|(key, value)| wants(self.filter, **key, **value))
            .map(|(key, value)| (*key, *value))
            .collect()
    }

    fn fold(
        &mut self,
        delta: &Delta<Box<str>, u32>,
        generations: &[u64],
        published: &[Published],
        limited: bool,
    ) {
        let generation = |value: &u32| generations[*value as usize];
        if let Delta::Added { key, .. }
        | Delta::Updated { key, .. }
        | Delta::Deleted { key, .. }
        | Delta::Redelivered { key, .. } = delta
        {
            self.owed.remove(&index(key));
        }
        match delta {
            Delta::Added { key, new } => {
                assert_eq!(self.folded.insert(index(key), *new), None, "added twice");
            }
            Delta::Updated { key, old, new } => {
                assert_eq!(
                    self.folded.insert(index(key), *new),
                    Some(*old),
                    "old is not what it was handed"
                );
                assert_eq!(generation(old), generation(new), "two incarnations merged");
                assert!(old < new, "back in time");
            }
            Delta::Deleted {
                key, seen, last, ..
            } => {
                assert_eq!(
                    self.folded.remove(&index(key)),
                    Some(*seen),
                    "seen is not what it was handed"
                );
                assert_eq!(
                    generation(seen),
                    generation(last),
                    "the last state of another incarnation"
                );
                assert!(seen <= last, "the last state is older than what was seen");
            }
            Delta::Redelivered { key, value } => {
                assert!(self.again, "nobody asked for it");
                assert_eq!(
                    self.folded.get(&index(key)),
                    Some(value),
                    "not what it was handed"
                );
            }
            Delta::Mark(mark) => {
                let revision = mark.revision.as_ref().and_then(Revision::as_u64).unwrap();
                let point = &published[revision as usize - 1];
                assert_eq!(
                    self.folded,
                    self.wants(&point.state),
                    "not the state at the mark"
                );
                assert_eq!((mark.epoch, mark.complete), (point.epoch, point.complete));
                assert_eq!(mark.initial, self.fresh);
                assert!(revision >= self.revision, "marks go back");
                self.revision = revision;
                self.fresh = false;
            }
            Delta::Gap(_) => assert!(self.lossless, "a gap for who is not lossless"),
            Delta::Reset => {
                assert!(limited, "reset without a limit");
                self.folded.clear();
                self.owed.clear();
                self.fresh = true;
            }
        }
    }
}

/// Whether a key belongs to somebody's share.
fn is_share(partition: Option<Partition>, key: u8) -> bool {
    partition.is_none_or(|its| its.has::<Box<str>>(&name(key)))
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(3_000))]

    #[test]
    fn deltas_fold_to_the_published_state(
        ops in ops(70),
        limit in prop_oneof![4 => Just(usize::MAX), 1 => 0..2_000_usize],
    ) {
        let mut world = World::new(limit);
        world.subscribe(0, None, None);
        for op in &ops {
            world.apply(op);
            world.cache.check();
        }
        world.settle();
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn nobody_hears_of_other_subscribers(ops in ops(80), lossless: bool) {
        let heard = [true, false].map(|alone| {
            let mut world = World::new(usize::MAX);
            world.subscribe(1, None, lossless.then_some(PLENTY));
            for op in &ops {
                let played = match op {
                    Op::Subscribe { .. } => !alone,
                    Op::Unsubscribe { who } => !alone && *who > 0,
                    Op::SetFilter { who, .. }
                    | Op::Redeliver { who }
                    | Op::Poll { who, .. }
                    | Op::Take { who, .. }
                    | Op::Drain { who, .. } => !alone || *who == 0,
                    _ => true,
                };
                if played {
                    world.apply(op);
                }
            }
            world.settle();
            world.listeners.swap_remove(0).heard
        });
        prop_assert_eq!(&heard[0], &heard[1]);
    }

    #[test]
    fn a_copy_goes_on_like_the_original(ops in ops(60), split in 0..60_usize) {
        let mut world = World::new(500);
        world.subscribe(0, None, None);
        let (first, rest) = ops.split_at(split.min(ops.len()));
        for op in first {
            world.apply(op);
        }
        let copy = world.cache.clone();
        let ids: Vec<_> = world.cache.subscriber_ids().collect();
        for op in rest {
            world.apply(op);
        }
        copy.check();
        let mut twins = [copy.clone(), copy];
        let [heard, again] = [0, 1].map(|twin| {
            let cache = &mut twins[twin];
            cache.publish(None, true);
            let polls = ids.iter().flat_map(|id| [*id; 30]);
            polls.map(|id| cache.poll(id)).collect::<Vec<_>>()
        });
        prop_assert_eq!(heard, again);
    }
}
