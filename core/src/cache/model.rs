//! The cache beside a naive model: every subscriber folds its deltas into a plain map.
//!
//! Property tests draw operations at random, a fuzzer makes them of its bytes; both play them here.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a model that is wrong about itself should stop; and it is public in one build only"
)]

mod listener;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::num::NonZero;

use listener::{Listener, filter};

use super::{Cache, Delta, Partition, Polled, Reached, Subscription, Upsert, Upserted};
use crate::hash::SeededState;
use crate::token::{Incarnation, Revision, VersionRef};

/// How many keys there are.
pub const KEYS: u8 = 6;
const SIZE: usize = 50;
const PLENTY: usize = 1 << 20;
/// How many workers share the keys.
pub const WORKERS: NonZero<u32> = NonZero::new(2).unwrap();

/// One thing that happens to a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// An object is written; where it has an incarnation, that may be another one.
    Upsert {
        /// The key, below six.
        key: u8,
        /// Its incarnation, where the source tells.
        incarnation: Option<u64>,
    },
    /// An object is deleted; its last state may be told.
    Delete {
        /// The key, below six.
        key: u8,
        /// The source tells the last state.
        told: bool,
        /// Nobody saw the delete itself.
        inferred: bool,
    },
    /// Only the version of an object changes.
    Restamp {
        /// The key, below six.
        key: u8,
    },
    /// A list that shows the keys of one set of bits, and infers nothing of those of another.
    List {
        /// The keys that the list shows.
        marked: u8,
        /// The keys that are kept in any case.
        spared: u8,
    },
    /// What there is becomes visible.
    Publish {
        /// All of the revision is there.
        complete: bool,
    },
    /// The history is another one from here on.
    Rewind,
    /// Somebody subscribes: by the number of a filter, as one of two workers, or for every version
    /// with so many bytes waiting.
    Subscribe {
        /// What it wants: one of five filters.
        filter: u8,
        /// Which of two workers it is.
        worker: Option<u32>,
        /// How many bytes of every version may wait.
        lossless: Option<usize>,
    },
    /// Somebody wants everything once more.
    Redeliver {
        /// Which subscriber, counted from the oldest.
        who: usize,
    },
    /// Somebody wants something else.
    SetFilter {
        /// Which subscriber, counted from the oldest.
        who: usize,
        /// What it wants: one of five filters.
        filter: u8,
    },
    /// Somebody leaves.
    Unsubscribe {
        /// Which subscriber, counted from the oldest.
        who: usize,
    },
    /// Somebody takes so many deltas.
    Poll {
        /// Which subscriber, counted from the oldest.
        who: usize,
        /// How many polls.
        times: usize,
    },
    /// Somebody is lent so many deltas.
    Take {
        /// Which subscriber, counted from the oldest.
        who: usize,
        /// How many deltas at a time.
        most: usize,
    },
    /// Somebody is lent all deltas, so many at a time.
    Drain {
        /// Which subscriber, counted from the oldest.
        who: usize,
        /// How many deltas at a time.
        most: usize,
    },
    /// It is asked who was reset.
    TakeLapsed,
    /// So many steps of giving back memory are made.
    Reclaim {
        /// How many steps.
        steps: usize,
    },
}

/// Plays operations on a cache that holds back `limit` bytes for each subscriber. After each of them
/// all invariants hold; in the end everybody has everything, and nothing is kept.
///
/// # Panics
/// Where that is not so.
pub fn play(ops: &[Op], limit: usize) {
    let mut world = World::new(limit);
    world.subscribe(0, None, None);
    for op in ops {
        world.apply(op);
        world.cache.check();
    }
    world.settle();
}

/// Plays operations twice, once without all but the first subscriber, who must hear the same.
///
/// # Panics
/// Where it does not, and where anything else is wrong.
pub fn play_alone(ops: &[Op], lossless: bool) {
    let [heard, alone] = [false, true].map(|alone| {
        let mut world = World::new(usize::MAX);
        world.subscribe(1, None, lossless.then_some(PLENTY));
        for op in ops {
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
    assert_eq!(heard, alone);
}

/// Plays operations, and copies the cache after so many of them: what two copies say is the same.
///
/// # Panics
/// Where it is not, and where anything else is wrong.
pub fn play_copied(ops: &[Op], split: usize) {
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
    let [heard, again] = [copy.clone(), copy].map(|mut cache| {
        cache.publish(None, true);
        let polls = ids.iter().flat_map(|id| [*id; 30]);
        polls.map(|id| cache.poll(id)).collect::<Vec<_>>()
    });
    assert_eq!(heard, again);
}

fn name(key: u8) -> Box<str> {
    alloc::format!("key-{key}").into()
}

fn index(key: &str) -> u8 {
    key.strip_prefix("key-").unwrap().parse().unwrap()
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
            cache: Cache::new(SeededState::new(0), 0, limit, true),
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
