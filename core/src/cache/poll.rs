//! Reading the log: passes, and the deltas that they yield.

use core::hash::BuildHasher;
use core::mem;

use crate::key::Key;
use crate::probe::{canary, reach};

use super::delta::{Delta, Mark, Polled};
use super::journal::{Recorded, mark_of};
use super::log::Log;
use super::nodes::{Link, Node, OldState, State};
use super::partition::Partition;
use super::subscribers::{Filter, Pass, SubscriberId};
use super::{Cache, STEPS_PER_CALL};

/// How many nodes one poll may look at before it yields (P12).
pub(super) const NODES_PER_POLL: usize = 256;

/// What a subscriber at rest is to do next.
enum Next<K, V> {
    Nothing,
    Say(Delta<K, V>),
    /// The budget of one poll is spent.
    Spent,
    Walk,
}

/// How far a walk came in one poll.
enum Walked<K, V> {
    Delta(Delta<K, V>),
    Spent,
    End,
}

/// What a node means to a pass.
enum Visit<K, V> {
    /// Nothing, or nothing to this pass.
    Skip,
    /// It is behind the pass's end.
    Beyond,
    /// A delta, and perhaps a second one.
    Change(Delta<K, V>, Option<Delta<K, V>>),
}

/// The two states that a pass leads from and to: the log as of a position, through a filter.
struct Span<'a, K, V> {
    base: u64,
    end: u64,
    partition: Option<Partition>,
    redeliver: bool,
    before: Option<&'a Filter<K, V>>,
    after: Option<&'a Filter<K, V>>,
}

/// What a key is at the end of a pass.
struct Now<'a, V> {
    seq: u64,
    born: u64,
    reborn_inferred: bool,
    state: NowState<'a, V>,
}

enum NowState<'a, V> {
    Value(&'a V),
    /// With its last known state, where that is still known.
    Gone {
        last: Option<&'a V>,
        inferred: bool,
    },
}

impl<K: Key, V: Clone, S: BuildHasher> Cache<K, V, S> {
    /// The next thing that a subscriber is to be told.
    pub(crate) fn poll(&mut self, id: SubscriberId) -> Polled<K, V> {
        let polled = self.poll_log(id);
        self.reclaim(STEPS_PER_CALL);
        polled
    }

    fn poll_log(&mut self, id: SubscriberId) -> Polled<K, V> {
        if self.position_lapsed(id) {
            self.reset(id);
        }
        let Some(subscriber) = self.subscribers.get_mut(id) else {
            return Polled::Idle;
        };
        if mem::take(&mut subscriber.owes_reset) {
            return Polled::Delta(Delta::Reset);
        }
        if let Some(delta) = subscriber.pending.take() {
            return Polled::Delta(delta);
        }
        loop {
            match self.next(id) {
                Next::Nothing => return Polled::Idle,
                Next::Say(delta) => return Polled::Delta(delta),
                Next::Spent => return Polled::Yield,
                Next::Walk => {}
            }
            match self.walk(id) {
                Walked::Delta(delta) => return Polled::Delta(delta),
                Walked::Spent => {
                    reach!("poll yielded on its budget");
                    return Polled::Yield;
                }
                Walked::End => {
                    if let Some(mark) = self.end_pass(id) {
                        return Polled::Delta(Delta::Mark(mark));
                    }
                }
            }
        }
    }

    /// Whether a poll has something to do. May err to true.
    pub(crate) fn has_news(&self, id: SubscriberId) -> bool {
        let Some(subscriber) = self.subscribers.get(id) else {
            return false;
        };
        let at_work = subscriber.owes_reset
            || subscriber.pending.is_some()
            || subscriber.pass.is_some()
            || subscriber.has_record();
        at_work
            || self.position_lapsed(id)
            || self.published_tail().is_some_and(|publication| {
                let moved_on =
                    subscriber.base != self.log.tail || subscriber.marked != publication.number;
                moved_on && !subscriber.records_writes()
                    || subscriber.wanted.is_some()
                    || subscriber.redeliver
            })
    }

    /// Starts a pass, if there is anything to walk, and nothing that was not published yet: until
    /// then the cache is between two states of the source, which no mark could name (P3, P9).
    fn next(&mut self, id: SubscriberId) -> Next<K, V> {
        let Some(subscriber) = self.subscribers.get_mut(id) else {
            return Next::Nothing;
        };
        if subscriber.pass.is_some() {
            return Next::Walk;
        }
        match self.next_recorded(id) {
            Recorded::Delta(delta) => return Next::Say(delta),
            Recorded::Spent => return Next::Spent,
            Recorded::Nothing => return Next::Nothing,
            Recorded::Over => {}
        }
        let Some(subscriber) = self.subscribers.get_mut(id) else {
            return Next::Nothing;
        };
        let published = self
            .published
            .as_ref()
            .filter(|publication| publication.seq == self.log.tail);
        let Some(publication) = published else {
            return Next::Nothing;
        };
        let initial = subscriber.initial;
        let mark = || Mark {
            initial,
            ..mark_of(publication)
        };
        let refilter = subscriber.wanted.take();
        if let Some(journal) = &mut subscriber.journal {
            // What is written from here on it is told from its journal.
            if mem::replace(&mut journal.records_writes, true) {
                subscriber.base = self.log.hold_tail(id.slot());
            }
        }
        let base = subscriber.base;
        // Who was handed nothing yet is handed everything anyway.
        let redeliver = mem::take(&mut subscriber.redeliver) && base > 0;
        let starts = canary!(MarkBeforeInitialState) && subscriber.marked == 0 && initial;
        if starts || base == self.log.tail && refilter.is_none() && !redeliver {
            if subscriber.marked == publication.number {
                return Next::Nothing;
            }
            reach!("mark without a change", subscriber.marked > 0);
            subscriber.marked = publication.number;
            subscriber.initial = false;
            return Next::Say(Delta::Mark(mark()));
        }
        // A re-walk looks at every node again, what did not change since the base included.
        reach!("pass under another filter", refilter.is_some());
        let start = if refilter.is_some() || redeliver && !canary!(RedeliverNewsOnly) {
            None
        } else {
            self.log.pins.get(base).map(|pin| pin.gap)
        };
        let start = start.map_or(Link::END, |gap| self.log.nodes.gap_link(gap));
        let cursor = self.log.nodes.gap_after(start);
        let end = self.log.hold_tail(id.slot());
        self.log.pins.begin_pass(end);
        subscriber.pass = Some(Pass {
            end,
            cursor,
            refilter,
            redeliver,
            mark: mark(),
            publication: publication.number,
        });
        Next::Walk
    }

    /// Goes on with the pass under way until there is a delta. The filters are asked before
    /// anything is moved: where one panics, the next poll starts from where this one did (P10).
    fn walk(&mut self, id: SubscriberId) -> Walked<K, V> {
        let Some(subscriber) = self.subscribers.get_mut(id) else {
            return Walked::End;
        };
        let Some(pass) = &mut subscriber.pass else {
            return Walked::End;
        };
        let before = subscriber.filter.as_ref();
        let after = pass.refilter.as_ref().map_or(before, Option::as_ref);
        let span = Span {
            base: subscriber.base,
            end: pass.end,
            partition: subscriber.partition,
            redeliver: pass.redeliver,
            before,
            after,
        };
        let log = &mut self.log;
        let mut at = log.nodes.gap_link(pass.cursor);
        let mut walked = Walked::Spent;
        for _ in 0..NODES_PER_POLL {
            let next = log.nodes.next(at);
            match log.visit(next, &span) {
                Visit::Skip => at = next,
                Visit::Beyond => {
                    walked = Walked::End;
                    break;
                }
                Visit::Change(first, second) => {
                    at = next;
                    walked = Walked::Delta(first);
                    subscriber.pending = second;
                    break;
                }
            }
        }
        let behind = log.nodes.gap_after(at);
        log.nodes.leave_gap(mem::replace(&mut pass.cursor, behind));
        walked
    }

    /// The subscriber has arrived at the end of its pass. Nothing is said of it where another
    /// filter is waiting: the mark would speak of a filter that nobody wants any more.
    fn end_pass(&mut self, id: SubscriberId) -> Option<Mark> {
        let subscriber = self.subscribers.get_mut(id)?;
        let mut pass = subscriber.pass.take()?;
        if canary!(MarkNewestRevision)
            && let Some(newest) = &self.published
        {
            pass.mark.revision.clone_from(&newest.revision);
        }
        let left = mem::replace(&mut subscriber.base, pass.end);
        if let Some(filter) = pass.refilter {
            subscriber.filter = filter;
        }
        let said = subscriber.wanted.is_none();
        if said {
            reach!(
                "mark of a state that has moved on",
                pass.end != self.log.tail
            );
            subscriber.marked = pass.publication;
            subscriber.initial = false;
        }
        self.log.nodes.leave_gap(pass.cursor);
        self.log.pins.end_pass(pass.end);
        if left != pass.end {
            self.log.release(left, id.slot());
        }
        if subscriber.records_writes() {
            subscriber.base = 0;
            self.log.release(pass.end, id.slot());
        }
        said.then_some(pass.mark)
    }

    /// Gives up everything that a subscriber holds.
    pub(super) fn let_go(&mut self, id: SubscriberId) {
        let Some(subscriber) = self.subscribers.get_mut(id) else {
            return;
        };
        let base = mem::take(&mut subscriber.base);
        if let Some(pass) = subscriber.pass.take() {
            reach!("pass given up half-way");
            if let Some(filter) = pass.refilter {
                subscriber.filter = filter;
            }
            self.log.nodes.leave_gap(pass.cursor);
            self.log.pins.end_pass(pass.end);
            self.log.release(pass.end, id.slot());
        }
        self.log.release(base, id.slot());
    }

    /// Puts a subscriber back to where it has seen nothing.
    pub(super) fn reset(&mut self, id: SubscriberId) {
        self.let_go(id);
        if let Some(subscriber) = self.subscribers.get_mut(id) {
            subscriber.pending = None;
            subscriber.owes_reset = true;
            subscriber.initial = true;
            subscriber.marked = 0;
            subscriber.redeliver = false;
            if let Some(journal) = &mut subscriber.journal {
                journal.clear();
            }
            if let Some(filter) = subscriber.wanted.take() {
                subscriber.filter = filter;
            }
            self.lapsed.insert(id);
        }
    }

    fn position_lapsed(&self, id: SubscriberId) -> bool {
        self.subscribers.get(id).is_some_and(|subscriber| {
            let end = subscriber.pass.as_ref().map_or(0, |pass| pass.end);
            self.log.pins.has_lapsed(subscriber.base) || self.log.pins.has_lapsed(end)
        })
    }
}

impl<K: Key, V: Clone> Log<K, V> {
    /// What the pass over `span` has to say at a node. It says something of each key once: at the
    /// version that is in force at the pass's end, wherever that has its place by now.
    fn visit(&self, link: Link, span: &Span<'_, K, V>) -> Visit<K, V> {
        self.count_step();
        let (id, now) = match link.node() {
            Node::End => return Visit::Beyond,
            Node::Gap(_) => return Visit::Skip,
            Node::Entry(id) => {
                let entry = &self.nodes.entries[id];
                let state = match &entry.state {
                    State::Vacant => return Visit::Skip,
                    State::Live(live) => NowState::Value(&live.value),
                    State::Dead(dead) => NowState::Gone {
                        last: dead.last.as_ref(),
                        inferred: dead.inferred,
                    },
                };
                let (seq, born, reborn_inferred) = (entry.seq, entry.born, entry.reborn_inferred);
                (
                    id,
                    Now {
                        seq,
                        born,
                        reborn_inferred,
                        state,
                    },
                )
            }
            Node::Old(id) => {
                let old = &self.nodes.olds[id];
                if old.until <= span.end {
                    return Visit::Skip;
                }
                let state = match &old.state {
                    OldState::Vacant => return Visit::Skip,
                    OldState::Value(value) => NowState::Value(value),
                    OldState::Deleted { inferred } => NowState::Gone {
                        last: None,
                        inferred: *inferred,
                    },
                };
                let (seq, born, reborn_inferred) = (old.seq, old.born, old.reborn_inferred);
                (
                    old.entry,
                    Now {
                        seq,
                        born,
                        reborn_inferred,
                        state,
                    },
                )
            }
        };
        if now.seq > span.end {
            return Visit::Beyond;
        }
        let Some(key) = &self.nodes.entries[id].key else {
            return Visit::Skip;
        };
        if span
            .partition
            .is_some_and(|its| !its.has::<K>(key.borrow()))
        {
            reach!("key of another worker passed over");
            return Visit::Skip;
        }
        self.compare(id, key, &now, span)
    }

    /// The step from what the subscriber was handed of a key to what the key is now (P4).
    fn compare(&self, id: u32, key: &K, now: &Now<'_, V>, span: &Span<'_, K, V>) -> Visit<K, V> {
        let passes = |filter: Option<&Filter<K, V>>, value: &V| {
            filter.is_none_or(|filter| filter.matches(key, value))
        };
        let unchanged = now.seq <= span.base;
        let seen = match (&now.state, unchanged) {
            (NowState::Value(value), true) => Some((*value, now.born)),
            (NowState::Gone { .. }, true) => None,
            (_, false) if span.base == 0 => None,
            (_, false) => self.value_at(id, span.base),
        };
        let seen = seen.filter(|(value, _)| passes(span.before, value));
        let value = match &now.state {
            NowState::Value(value) if passes(span.after, value) => Some(*value),
            NowState::Value(_) | NowState::Gone { .. } => None,
        };
        let added = |new: &V| Delta::Added {
            key: key.clone(),
            new: new.clone(),
        };
        let deleted = |seen: &V, last: &V, inferred| Delta::Deleted {
            key: key.clone(),
            seen: seen.clone(),
            last: last.clone(),
            inferred,
        };
        match (seen, value, &now.state) {
            (None, None, _) => Visit::Skip,
            (Some(_), Some(value), _) if unchanged && span.redeliver => {
                let (key, value) = (key.clone(), value.clone());
                Visit::Change(Delta::Redelivered { key, value }, None)
            }
            (Some(_), Some(_), _) if unchanged => Visit::Skip,
            (Some(_), None, NowState::Value(_)) if canary!(ForgetFilterLeave) => Visit::Skip,
            (None, Some(new), _) => Visit::Change(added(new), None),
            (Some((old, born)), Some(new), _) if born == now.born => {
                let updated = Delta::Updated {
                    key: key.clone(),
                    old: if canary!(OldIsCurrent) { new } else { old }.clone(),
                    new: new.clone(),
                };
                Visit::Change(updated, None)
            }
            // The incarnation that was seen has gone, and another one has taken its place.
            (Some((seen, _)), Some(new), _) => {
                reach!("delete and re-create while a subscriber sleeps");
                Visit::Change(deleted(seen, seen, now.reborn_inferred), Some(added(new)))
            }
            (Some((seen, born)), None, state) => {
                let same = born == now.born;
                let (last, inferred) = match state {
                    NowState::Value(new) if same => {
                        reach!("filter left while a subscriber sleeps");
                        (*new, false)
                    }
                    NowState::Value(_) => {
                        reach!("re-created outside the filter");
                        (seen, now.reborn_inferred)
                    }
                    NowState::Gone { last, inferred } if same => (last.unwrap_or(seen), *inferred),
                    NowState::Gone { inferred, .. } => {
                        reach!("re-created and deleted again while a subscriber sleeps");
                        (seen, *inferred)
                    }
                };
                Visit::Change(deleted(seen, last, inferred), None)
            }
        }
    }
}
