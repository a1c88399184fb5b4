//! Lossless subscribers: every version in order, and a gap where one may be missing.
//!
//! The log keeps of each key what subscribers need to be told the difference, and merges what came
//! between. A lossless subscriber has a queue of its own besides: each write is recorded in it as
//! it happens, and handed out when it is published. A queue begins where a pass ends, so that the
//! two together miss nothing; while it is kept, the subscriber needs no pin.
//!
//! The queue has a bound (P8). Before the first write that does not fit it is ended by a gap, and the
//! subscriber becomes one like any other: its base is where its queue has ended, it catches up by a
//! pass, and where that ends the next queue begins. Where this happens in mid-pass, the pass's own
//! end is as good, and the queue so far is void. Nobody else notices (P10).
//!
//! What the cache did not see itself nobody can tell: a list says what changed since, not how often.
//! So queues are told of each list that may hide something.

use alloc::collections::VecDeque;
use core::hash::BuildHasher;

use crate::key::Key;
use crate::probe::{canary, reach};

use super::delta::{Delta, DeltaRef, GapReason, Mark};
use super::log::{Log, bounded};
use super::partition::Partition;
use super::poll::Budget;
use super::subscribers::{Filter, Subscriber, SubscriberId};
use super::write::Upsert;
use super::{Cache, Publication};

/// What a record costs beside its content, in bytes; with the mark that may follow it.
const RECORD_COST: u64 = 256;

/// What is recorded for one lossless subscriber.
#[derive(Clone)]
pub(super) struct Journal<K, V> {
    pub(super) records: VecDeque<Record<K, V>>,
    /// How many of them lead up to what was published.
    pub(super) ready: usize,
    pub(super) bytes: u64,
    pub(super) bound: u64,
    /// Writes are recorded. Else the next pass ends where that begins.
    pub(super) records_writes: bool,
}

/// One step, before it goes through the subscriber's filter: filters are not asked while writing,
/// where a panic would be everybody's.
#[derive(Clone)]
pub(super) struct Record<K, V> {
    pub(super) delta: Delta<K, V>,
    pub(super) cost: u64,
    /// Of a mark: the number of its publication.
    pub(super) publication: u64,
}

/// What is to be done after a journal was read.
pub(super) enum Recorded {
    /// To say this. There may be more.
    Mark(Mark),
    /// To yield: the call's budget is spent.
    Spent,
    /// Nothing now.
    Nothing,
    /// Nothing more with the journal: a pass, if there is need for one.
    Over,
}

/// What a record says through the filter.
enum Said<'a, K, V> {
    Nothing,
    Delta(DeltaRef<'a, K, V>),
    Mark(Mark),
}

impl<K, V> Journal<K, V> {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            records: VecDeque::new(),
            ready: 0,
            bytes: 0,
            bound: bounded(bound),
            records_writes: false,
        }
    }
}

impl<K: Key, V: Clone> Journal<K, V> {
    /// Forgets everything, until the next pass.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        (self.ready, self.bytes, self.records_writes) = (0, 0, false);
    }

    fn fits(&self, cost: u64) -> bool {
        canary!(NoLosslessBound) || self.bytes.saturating_add(cost) <= self.bound
    }

    fn push(&mut self, delta: Delta<K, V>, cost: u64) {
        self.bytes = self.bytes.saturating_add(cost);
        self.records.push_back(Record {
            delta,
            cost,
            publication: 0,
        });
    }

    fn push_mark(&mut self, mark: Mark, publication: u64) {
        // With nothing in between, the newest says it all.
        if let Some(Record {
            delta: Delta::Mark(_),
            ..
        }) = self.records.back()
        {
            self.records.pop_back();
        }
        self.records.push_back(Record {
            delta: Delta::Mark(mark),
            cost: 0,
            publication,
        });
    }

    /// The next record, if it was published.
    fn first(&self) -> Option<&Record<K, V>> {
        self.records.front().filter(|_| self.ready > 0)
    }

    fn remove_first(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.ready = self.ready.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(record.cost);
        }
    }
}

impl<K: Key, V: Clone> Subscriber<K, V> {
    /// It is told of writes from its journal, and rests nowhere in the log.
    pub(super) fn records_writes(&self) -> bool {
        self.journal
            .as_ref()
            .is_some_and(|journal| journal.records_writes)
    }

    /// How many records wait for it, and their bytes.
    pub(super) fn recorded(&self) -> (usize, u64) {
        let journal = self.journal.as_ref();
        journal.map_or((0, 0), |journal| (journal.records.len(), journal.bytes))
    }

    /// There is a record to hand out.
    pub(super) fn has_record(&self) -> bool {
        self.journal
            .as_ref()
            .is_some_and(|journal| journal.ready > 0)
    }

    /// It was handed nothing, and nothing waits for it.
    pub(super) fn has_nothing(&self) -> bool {
        let recorded = self.records_writes() || self.recorded().0 > 0;
        self.base == 0 && self.pass.is_none() && !recorded
    }

    /// The journal does not fit: a gap ends it.
    fn overflow(&mut self, log: &mut Log<K, V>, slot: u32) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        if self.pass.is_some() {
            reach!("lossless queue over its bound in mid-pass");
            journal.clear();
        } else {
            reach!("lossless queue over its bound");
            self.base = log.hold_tail(slot);
        }
        journal.records_writes = false;
        if !canary!(OverflowWithoutGap) {
            journal.push(Delta::Gap(GapReason::Overflow), 0);
        }
    }

    /// What a record says through the filter.
    fn said<'a>(&self, record: &'a Record<K, V>) -> Said<'a, K, V> {
        let filter = self.filter.as_ref();
        let passes = |key: &K, value: &V| {
            filter.is_none_or(|filter: &Filter<K, V>| filter.matches(key, value))
        };
        let delta = match &record.delta {
            Delta::Updated { key, old, new } => match (passes(key, old), passes(key, new)) {
                (true, true) => DeltaRef::Updated { key, old, new },
                (false, true) => DeltaRef::Added { key, new },
                (true, false) => DeltaRef::Deleted {
                    key,
                    seen: old,
                    last: new,
                    inferred: false,
                },
                (false, false) => return Said::Nothing,
            },
            Delta::Added { key, new } if passes(key, new) => DeltaRef::Added { key, new },
            Delta::Deleted {
                key,
                seen,
                last,
                inferred,
            } if passes(key, seen) => DeltaRef::Deleted {
                key,
                seen,
                last,
                inferred: *inferred,
            },
            Delta::Redelivered { key, value } if passes(key, value) => {
                DeltaRef::Redelivered { key, value }
            }
            Delta::Added { .. } | Delta::Deleted { .. } | Delta::Redelivered { .. } => {
                return Said::Nothing;
            }
            // It would speak of a filter that nobody wants any more.
            Delta::Mark(_) if self.wanted.is_some() => return Said::Nothing,
            Delta::Mark(mark) => {
                return Said::Mark(Mark {
                    initial: self.initial,
                    ..mark.clone()
                });
            }
            Delta::Gap(why) => DeltaRef::Gap(*why),
            Delta::Reset => DeltaRef::Reset,
        };
        Said::Delta(delta)
    }
}

impl<K: Key, V: Clone, S: BuildHasher> Cache<K, V, S> {
    /// Tells what a subscriber's journal has for it, up to the next mark. A subscriber without one
    /// has a pass to walk, as has one in mid-pass: what is recorded comes after that.
    pub(super) fn tell_recorded(
        &mut self,
        id: SubscriberId,
        budget: &mut Budget,
        take: &mut impl FnMut(DeltaRef<'_, K, V>),
    ) -> Recorded {
        let Some(subscriber) = self.subscribers.get_mut(id) else {
            return Recorded::Nothing;
        };
        while subscriber.pass.is_none()
            && let Some(journal) = &subscriber.journal
        {
            let Some(record) = journal.first() else {
                let idle =
                    journal.records_writes && subscriber.wanted.is_none() && !subscriber.redeliver;
                return if idle || !journal.records.is_empty() {
                    Recorded::Nothing
                } else {
                    Recorded::Over
                };
            };
            if !budget.look() {
                return Recorded::Spent;
            }
            let (mut mark, publication) = (None, record.publication);
            match subscriber.said(record) {
                Said::Nothing => {}
                Said::Delta(delta) => {
                    take(delta);
                    budget.deltas -= 1;
                }
                Said::Mark(said) => mark = Some(said),
            }
            // Only now: a panic of a filter's or of whoever is handed the delta loses nothing (P10).
            if let Some(journal) = &mut subscriber.journal {
                journal.remove_first();
            }
            if let Some(mark) = mark {
                subscriber.marked = publication;
                subscriber.initial = false;
                return Recorded::Mark(mark);
            }
            if budget.deltas == 0 {
                return Recorded::Spent;
            }
        }
        Recorded::Over
    }

    /// A change of an object, before it is made: `found` is its entry.
    pub(super) fn record_upsert(&mut self, found: Option<u32>, upsert: &Upsert<'_, K, V>) {
        let was = found.and_then(|id| self.log.nodes.entries.live(id));
        let (key, new) = (upsert.to_key(), upsert.value.clone());
        let cost = cost_of::<K>(upsert.key, upsert.size);
        let Some(was) = was else {
            self.record(
                &key,
                [Delta::Added {
                    key: key.clone(),
                    new,
                }],
                cost,
            );
            return;
        };
        let (old, size) = (was.value.clone(), was.size);
        let cost = cost.saturating_add(bounded(size));
        let same = was
            .incarnation
            .zip(upsert.incarnation)
            .is_none_or(|(before, now)| before == now);
        if same {
            let updated = Delta::Updated {
                key: key.clone(),
                old,
                new,
            };
            self.record(&key, [updated], cost);
        } else {
            let deleted = Delta::Deleted {
                key: key.clone(),
                seen: old.clone(),
                last: old,
                inferred: true,
            };
            self.record(
                &key,
                [
                    deleted,
                    Delta::Added {
                        key: key.clone(),
                        new,
                    },
                ],
                cost,
            );
        }
    }

    /// An object is going to be deleted.
    pub(super) fn record_delete(&mut self, id: u32, last: Option<&V>, inferred: bool) {
        let Some(live) = self.log.nodes.entries.live(id) else {
            return;
        };
        let key = live.key.clone();
        let cost = cost_of::<K>(key.borrow(), live.size).saturating_add(bounded(live.size));
        let seen = live.value.clone();
        let last = last.unwrap_or(&seen).clone();
        let deleted = Delta::Deleted {
            key: key.clone(),
            seen,
            last,
            inferred,
        };
        self.record(&key, [deleted], cost);
    }

    /// Records what is going to happen to a key, for everybody who records. The first of several
    /// steps bears the cost of all.
    fn record<const N: usize>(&mut self, key: &K, steps: [Delta<K, V>; N], cost: u64) {
        if self.hidden.take().is_some() {
            self.record_gap();
        }
        let concerns = |partition: Option<Partition>| {
            partition.is_none_or(|partition| partition.has::<K>(key.borrow()))
        };
        self.each_journal(cost, concerns, |journal| {
            let mut cost = cost;
            for step in &steps {
                journal.push(step.clone(), core::mem::take(&mut cost));
            }
        });
    }

    /// Has the journals that record writes, of those with such a share of the keys, take something
    /// that costs so much. One that it does not fit into is ended.
    fn each_journal(
        &mut self,
        cost: u64,
        concerns: impl Fn(Option<Partition>) -> bool,
        mut take: impl FnMut(&mut Journal<K, V>),
    ) {
        let Self {
            subscribers,
            log,
            lossless,
            ..
        } = self;
        for slot in lossless.iter() {
            let Some(subscriber) = subscribers.in_slot_mut(*slot) else {
                continue;
            };
            let partition = subscriber.partition;
            let journal = subscriber.journal.as_mut();
            let Some(journal) = journal.filter(|journal| journal.records_writes) else {
                continue;
            };
            if !concerns(partition) {
                continue;
            }
            if journal.fits(cost) {
                take(journal);
            } else {
                subscriber.overflow(log, *slot);
            }
        }
    }

    /// A list is going to be brought into the cache. `certainly`: it may hide something even if it
    /// changes nothing. Until it is published, the first change says that there is a gap before it.
    pub(crate) fn expect_gap(&mut self, certainly: bool) {
        if !self.lossless.is_empty() && !canary!(ListWithoutGap) {
            self.hidden = Some(certainly);
        }
    }

    fn record_gap(&mut self) {
        self.each_journal(
            RECORD_COST,
            |_| true,
            |journal| {
                reach!("gap after a list");
                journal.push(Delta::Gap(GapReason::Listed), RECORD_COST);
            },
        );
    }

    /// What was recorded up to here is published; `is_news`: also if nothing was.
    pub(super) fn publish_records(&mut self, is_news: bool) {
        if self.hidden.take() == Some(true) {
            self.record_gap();
        }
        let Self {
            subscribers,
            lossless,
            published,
            ..
        } = self;
        let Some(publication) = published else {
            return;
        };
        for slot in lossless.iter() {
            let subscriber = subscribers.in_slot_mut(*slot);
            let Some(journal) = subscriber.and_then(|subscriber| subscriber.journal.as_mut())
            else {
                continue;
            };
            let unpublished = journal.records.len() > journal.ready;
            if journal.records_writes && (unpublished || is_news) {
                journal.push_mark(mark_of(publication), publication.number);
            }
            journal.ready = journal.records.len();
        }
    }
}

/// The mark of a publication, for who has had one before.
pub(super) fn mark_of(publication: &Publication) -> Mark {
    Mark {
        revision: publication.revision.clone(),
        local_epoch: publication.epoch,
        complete: publication.complete,
        restored: publication.restored,
        initial: false,
    }
}

fn cost_of<K: Key>(key: &K::Borrowed, size: usize) -> u64 {
    let key = bounded(K::bytes(key).len());
    RECORD_COST
        .saturating_add(key)
        .saturating_add(bounded(size))
}
