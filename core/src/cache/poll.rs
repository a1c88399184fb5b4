//! Reading the log: passes, and the deltas that they yield.

use core::hash::BuildHasher;
use core::mem;

use crate::key::Key;
use crate::probe::{canary, reach};

use super::delta::{Delta, DeltaRef, Mark, Polled, Reached};
use super::journal::{Recorded, mark_of};
use super::log::Log;
use super::nodes::Link;
use super::subscribers::{Pass, SubscriberId};
use super::visit::{Span, Visit};
use super::{Cache, STEPS_PER_CALL};

/// How many nodes one call may look at before it yields, if it does not hand over more (P12).
pub(super) const NODES_PER_POLL: usize = 256;

/// What one call may still do.
pub(super) struct Budget {
    /// So many deltas may be handed over.
    pub(super) deltas: usize,
    /// So many nodes or records may be looked at.
    looks: usize,
}

impl Budget {
    fn new(most: usize) -> Self {
        Self {
            deltas: most,
            looks: NODES_PER_POLL.max(most),
        }
    }

    /// False if nothing more may be looked at.
    pub(super) fn look(&mut self) -> bool {
        let left = self.looks.checked_sub(1);
        self.looks = left.unwrap_or(0);
        left.is_some()
    }
}

/// What a subscriber at rest is to do next.
enum Next {
    Nothing,
    Say(Mark),
    Walk,
}

/// How far a walk came in one call.
enum Walked {
    Spent,
    End,
}

/// A pass's cursor on its way. What it has left behind is kept when this is dropped: at the end of
/// the call, or by a panic of a filter's or of whoever is handed the deltas (P10).
struct Walk<'a, K, V> {
    log: &'a mut Log<K, V>,
    cursor: &'a mut u32,
    at: Link,
}

impl<K, V> Drop for Walk<'_, K, V> {
    fn drop(&mut self) {
        let nodes = &mut self.log.nodes;
        let behind = nodes.gap_after(self.at);
        nodes.leave_gap(mem::replace(self.cursor, behind));
    }
}

impl<K: Key, V: Clone, S: BuildHasher> Cache<K, V, S> {
    /// The next thing that a subscriber is to be told.
    pub(crate) fn poll(&mut self, id: SubscriberId) -> Polled<K, V> {
        let mut delta = None;
        let reached = self.drain(id, 1, |next| delta = Some(next.to_delta()));
        match (delta, reached) {
            (Some(delta), _) => Polled::Delta(delta),
            (None, Reached::Mark(mark)) => Polled::Delta(Delta::Mark(mark)),
            (None, Reached::Budget) => Polled::Yield,
            (None, Reached::Idle) => Polled::Idle,
        }
    }

    /// Hands over what a subscriber is to be told, up to its next mark or so many deltas. A delta
    /// is handed over once `take` has returned.
    pub(crate) fn drain(
        &mut self,
        id: SubscriberId,
        most: usize,
        mut take: impl FnMut(DeltaRef<'_, K, V>),
    ) -> Reached {
        let most = most.max(1);
        let mut budget = Budget::new(most);
        let reached = self.tell(id, &mut budget, &mut take);
        // Whoever reads leaves behind up to as much as it has read.
        self.reclaim(STEPS_PER_CALL.max(most - budget.deltas));
        reached
    }

    fn tell(
        &mut self,
        id: SubscriberId,
        budget: &mut Budget,
        take: &mut impl FnMut(DeltaRef<'_, K, V>),
    ) -> Reached {
        if self.position_lapsed(id) {
            self.reset(id);
        }
        let Some(subscriber) = self.subscribers.get_mut(id) else {
            return Reached::Idle;
        };
        if subscriber.owes_reset {
            take(DeltaRef::Reset);
            subscriber.owes_reset = false;
            budget.deltas -= 1;
        }
        if budget.deltas > 0 && hand_over_pending(&mut subscriber.pending, take) {
            budget.deltas -= 1;
        }
        while budget.deltas > 0 {
            match self.tell_recorded(id, budget, take) {
                Recorded::Mark(mark) => return Reached::Mark(mark),
                Recorded::Spent => return Reached::Budget,
                Recorded::Nothing => return Reached::Idle,
                Recorded::Over => {}
            }
            match self.next(id) {
                Next::Nothing => return Reached::Idle,
                Next::Say(mark) => return Reached::Mark(mark),
                Next::Walk => {}
            }
            match self.walk(id, budget, take) {
                Walked::Spent => return Reached::Budget,
                Walked::End => {
                    if let Some(mark) = self.end_pass(id) {
                        return Reached::Mark(mark);
                    }
                }
            }
        }
        Reached::Budget
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
    fn next(&mut self, id: SubscriberId) -> Next {
        let Some(subscriber) = self.subscribers.get_mut(id) else {
            return Next::Nothing;
        };
        if subscriber.pass.is_some() {
            return Next::Walk;
        }
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
            if subscriber.records_writes() {
                // Nothing was written since its queue overflowed: the next one begins right here.
                self.log.release(mem::take(&mut subscriber.base), id.slot());
            }
            if subscriber.marked == publication.number {
                return Next::Nothing;
            }
            reach!("mark without a change", subscriber.marked > 0);
            subscriber.marked = publication.number;
            subscriber.initial = false;
            return Next::Say(mark());
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

    /// Goes on with the pass under way, until so many deltas are handed over.
    fn walk(
        &mut self,
        id: SubscriberId,
        budget: &mut Budget,
        take: &mut impl FnMut(DeltaRef<'_, K, V>),
    ) -> Walked {
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
            plain: subscriber.base > 0
                && subscriber.partition.is_none()
                && before.is_none()
                && after.is_none(),
            before,
            after,
        };
        let most = budget.deltas;
        let at = self.log.nodes.gap_link(pass.cursor);
        let walk = &mut Walk {
            log: &mut self.log,
            cursor: &mut pass.cursor,
            at,
        };
        while budget.look() {
            let next = walk.log.nodes.next(walk.at);
            let visit = match walk.log.plain_update(next, &span) {
                Some((key, old, new)) => {
                    take(DeltaRef::Updated { key, old, new });
                    Visit::Told(None)
                }
                None => walk.log.visit(next, &span, take),
            };
            match visit {
                Visit::Skip => walk.at = next,
                Visit::Beyond => return Walked::End,
                Visit::Told(second) => {
                    walk.at = next;
                    budget.deltas -= 1;
                    if second.is_some() {
                        subscriber.pending = second;
                        if budget.deltas > 0 && hand_over_pending(&mut subscriber.pending, take) {
                            budget.deltas -= 1;
                        }
                    }
                    if budget.deltas == 0 {
                        return Walked::Spent;
                    }
                }
            }
        }
        reach!("poll yielded on its budget", budget.deltas == most);
        Walked::Spent
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

/// False if there was nothing pending.
fn hand_over_pending<K, V>(
    pending: &mut Option<(K, V)>,
    take: &mut impl FnMut(DeltaRef<'_, K, V>),
) -> bool {
    if let Some((key, new)) = pending {
        take(DeltaRef::Added { key, new });
    }
    pending.take().is_some()
}
