//! What a pass has to say at a node of the log.

use crate::key::Key;
use crate::probe::{canary, reach};

use super::delta::DeltaRef;
use super::entries::{Current, State};
use super::log::Log;
use super::nodes::{Link, Node, OldState};
use super::partition::Partition;
use super::subscribers::Filter;

/// What a node meant to a pass.
pub(super) enum Visit<K, V> {
    /// Nothing, or nothing to this pass.
    Skip,
    /// It is behind the pass's end.
    Beyond,
    /// A delta, which was told, and perhaps a second one: the object that is added.
    Told(Option<(K, V)>),
}

/// The two states that a pass leads from and to: the log as of a position, through a filter.
pub(super) struct Span<'a, K, V> {
    pub(super) base: u64,
    pub(super) end: u64,
    pub(super) partition: Option<Partition>,
    pub(super) redeliver: bool,
    /// Whether [`Log::plain_update`] may answer: there was a state before, and nobody asks which
    /// objects are in it.
    pub(super) plain: bool,
    pub(super) before: Option<&'a Filter<K, V>>,
    pub(super) after: Option<&'a Filter<K, V>>,
}

impl<K: Key, V: Clone> Log<K, V> {
    /// Tells what the pass over `span` has to say at a node. It says something of each key once: at the
    /// version that is in force at the pass's end, wherever that has its place by now.
    pub(super) fn visit(
        &self,
        link: Link,
        span: &Span<'_, K, V>,
        tell: &mut impl FnMut(DeltaRef<'_, K, V>),
    ) -> Visit<K, V> {
        self.count_step();
        let entries = &self.nodes.entries;
        let now = match link.node() {
            Node::End => return Visit::Beyond,
            Node::Gap(_) => return Visit::Skip,
            Node::Entry(id) => entries.current(id),
            Node::Old(id) => {
                let old = &self.nodes.olds[id];
                if old.until <= span.end {
                    return Visit::Skip;
                }
                let state = match &old.state {
                    OldState::Vacant => return Visit::Skip,
                    OldState::Value(value) => State::Live(value),
                    OldState::Deleted { inferred } => State::Dead {
                        last: None,
                        inferred: *inferred,
                    },
                };
                entries.current(old.entry).map(|current| Current {
                    seq: old.seq,
                    birth: old.birth,
                    state,
                    ..current
                })
            }
        };
        let Some(now) = now else {
            return Visit::Skip;
        };
        if now.seq > span.end {
            return Visit::Beyond;
        }
        if span
            .partition
            .is_some_and(|its| !its.has::<K>(now.key.borrow()))
        {
            reach!("key of another worker passed over");
            return Visit::Skip;
        }
        self.compare(&now, span, tell)
    }

    /// What most nodes are to most passes: a newer version of what was seen, and no filter that asks.
    #[inline(always)]
    pub(super) fn plain_update(&self, link: Link, span: &Span<'_, K, V>) -> Option<(&K, &V, &V)> {
        let Node::Entry(id) = link.node() else {
            return None;
        };
        if !span.plain {
            return None;
        }
        let now = self.nodes.entries.current(id)?;
        let State::Live(new) = now.state else {
            return None;
        };
        if now.seq <= span.base || now.seq > span.end {
            return None;
        }
        let (old, birth) = self.value_at(now.chain, span.base)?;
        let old = if canary!(OldIsCurrent) { new } else { old };
        (birth.at == now.birth.at).then_some((now.key, old, new))
    }

    /// The step from what the subscriber was handed of a key to what the key is now (P4).
    fn compare(
        &self,
        now: &Current<'_, K, V>,
        span: &Span<'_, K, V>,
        tell: &mut impl FnMut(DeltaRef<'_, K, V>),
    ) -> Visit<K, V> {
        let key = now.key;
        let passes = |filter: Option<&Filter<K, V>>, value: &V| {
            filter.is_none_or(|filter| filter.matches(key, value))
        };
        let unchanged = now.seq <= span.base;
        let seen = match &now.state {
            State::Live(value) if unchanged => Some((*value, now.birth)),
            _ if unchanged || span.base == 0 => None,
            _ => self.value_at(now.chain, span.base),
        };
        let seen = seen.filter(|(value, _)| passes(span.before, value));
        let value = match &now.state {
            State::Live(value) if passes(span.after, value) => Some(*value),
            State::Live(_) | State::Dead { .. } => None,
        };
        let deleted = |seen, last, inferred| DeltaRef::Deleted {
            key,
            seen,
            last,
            inferred,
        };
        let mut second = None;
        match (seen, value, &now.state) {
            (None, None, _) => return Visit::Skip,
            (Some(_), Some(value), _) if unchanged && span.redeliver => {
                tell(DeltaRef::Redelivered { key, value });
            }
            (Some(_), Some(_), _) if unchanged => return Visit::Skip,
            (Some(_), None, State::Live(_)) if canary!(ForgetFilterLeave) => {
                return Visit::Skip;
            }
            (None, Some(new), _) => tell(DeltaRef::Added { key, new }),
            (Some((old, birth)), Some(new), _) if birth.at == now.birth.at => {
                let old = if canary!(OldIsCurrent) { new } else { old };
                tell(DeltaRef::Updated { key, old, new });
            }
            // The incarnation that was seen has gone, and another one has taken its place.
            (Some((seen, _)), Some(new), _) => {
                reach!("delete and re-create while a subscriber sleeps");
                // Cloned before anything is told, since a user's `clone` may panic, too.
                second = Some((key.clone(), new.clone()));
                tell(deleted(seen, seen, now.birth.inferred));
            }
            (Some((seen, birth)), None, state) => {
                let same = birth.at == now.birth.at;
                let (last, inferred) = match state {
                    State::Live(new) if same => {
                        reach!("filter left while a subscriber sleeps");
                        (*new, false)
                    }
                    State::Live(_) => {
                        reach!("re-created outside the filter");
                        (seen, now.birth.inferred)
                    }
                    State::Dead { last, inferred } if same => (last.unwrap_or(seen), *inferred),
                    State::Dead { inferred, .. } => {
                        reach!("re-created and deleted again while a subscriber sleeps");
                        (seen, *inferred)
                    }
                };
                tell(deleted(seen, last, inferred));
            }
        }
        Visit::Told(second)
    }
}
