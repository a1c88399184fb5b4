//! P4, for lossless subscribers: they are told everything that happened, in order, and of a gap
//! where something may be missing, and only there.

use std::sync::Arc;

use reflet_core::cache::{Delta, GapReason};

use super::{Checked, Content, Promise};

/// No record of a simulated object counts more, in bytes.
const MOST_PER_RECORD: usize = 1_000;

/// What the cache went through, as somebody tells who looks at it after each call.
#[derive(Clone, Debug, Default)]
pub struct Chronicle {
    events: Vec<Event>,
    calls: u64,
}

#[derive(Clone, Debug)]
struct Event {
    /// What happened in one call became visible at once.
    call: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// A full state was handed over to its end. It may have been refused.
    Ended,
    /// An object changed; `listed`: by a full state.
    Changed {
        key: Arc<str>,
        before: Option<u64>,
        after: Option<u64>,
        listed: bool,
    },
}

impl What {
    /// The key that changed, and what it is afterwards for somebody who wants some of it; `None` if
    /// that one hears nothing of it.
    fn outcome(&self, wants: impl Fn(&str, u64) -> bool) -> Option<Outcome> {
        let Self::Changed {
            key, before, after, ..
        } = self
        else {
            return None;
        };
        let wanted = |value: Option<u64>| value.filter(|value| wants(key, *value));
        let (before, after) = (wanted(*before), wanted(*after));
        (before.is_some() || after.is_some()).then(|| (Arc::clone(key), after))
    }
}

/// A key, and what it is then.
type Outcome = (Arc<str>, Option<u64>);

impl Chronicle {
    /// A call is over, and this is what the cache held before and after it. `ended`: it may have
    /// handed over a full state's end; `listed`: it certainly has, so all changes are that state's.
    pub fn call(&mut self, ended: bool, listed: bool, before: &Content, after: &Content) {
        self.calls += 1;
        let call = self.calls;
        let end = ended.then_some(What::Ended);
        let keys = before
            .keys()
            .chain(after.keys().filter(|key| !before.contains_key(*key)));
        let changes = keys.filter_map(|key| {
            let (before, after) = (before.get(key).copied(), after.get(key).copied());
            (before != after).then(|| What::Changed {
                key: Arc::clone(key),
                before,
                after,
                listed,
            })
        });
        let all = end.into_iter().chain(changes);
        self.events.extend(all.map(|what| Event { call, what }));
    }
}

fn told(delta: &Delta<Arc<str>, u64>) -> Option<Outcome> {
    match delta {
        Delta::Added { key, new } | Delta::Updated { key, new, .. } => {
            Some((Arc::clone(key), Some(*new)))
        }
        Delta::Deleted { key, .. } => Some((Arc::clone(key), None)),
        Delta::Redelivered { .. } | Delta::Mark(_) | Delta::Gap(_) | Delta::Reset => None,
    }
}

/// How far one lossless subscriber is in the chronicle.
#[derive(Clone, Debug, Default)]
pub struct Lossless {
    bound: usize,
    /// What comes next; `None` while it catches up like any other.
    next: Option<usize>,
    /// How long the chronicle was when it began to catch up.
    began: Option<usize>,
    /// The most changes that ever waited, since it caught up.
    waited: usize,
    /// What is still to be told of the call that it has come to.
    open: Vec<Outcome>,
    /// A gap after a list was told, and nothing of that list yet.
    gap: bool,
    /// The call whose list that gap was for.
    covered: u64,
}

impl Lossless {
    /// One with this bound, in bytes.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            bound,
            ..Self::default()
        }
    }

    /// It is going to ask for something; `synced`: there is something to have.
    pub fn polls(&mut self, chronicle: &Chronicle, synced: bool) {
        if synced && self.next.is_none() && self.began.is_none() {
            self.began = Some(chronicle.events.len());
        }
        let from = self.next.or(self.began);
        let waits = from.map_or(0, |from| chronicle.events.len() - from + self.open.len());
        self.waited = self.waited.max(waits);
    }

    /// Takes one delta.
    ///
    /// # Errors
    ///
    /// If it is not what happened next, or a gap where none can be.
    pub fn take(
        &mut self,
        delta: &Delta<Arc<str>, u64>,
        chronicle: &Chronicle,
        wants: impl Fn(&str, u64) -> bool,
    ) -> Checked {
        let Some(next) = self.next else {
            match delta {
                Delta::Mark(_) => self.next = self.began.take(),
                Delta::Reset => self.began = None,
                _ => {}
            }
            return Ok(());
        };
        match delta {
            Delta::Reset => {
                *self = Self::new(self.bound);
                Ok(())
            }
            Delta::Gap(GapReason::Overflow) => {
                let waited = self.waited;
                *self = Self::new(self.bound);
                Promise::TruthfulDeltas
                    .require(waited.saturating_mul(MOST_PER_RECORD) > self.bound, || {
                        format!("a gap for want of room, with {waited} changes waiting")
                    })
            }
            Delta::Gap(GapReason::Listed) => self.take_gap(next, chronicle, wants),
            Delta::Mark(_) | Delta::Redelivered { .. } => Ok(()),
            Delta::Added { .. } | Delta::Updated { .. } | Delta::Deleted { .. } => {
                self.take_change(delta, chronicle, wants)
            }
        }
    }

    fn take_gap(
        &mut self,
        next: usize,
        chronicle: &Chronicle,
        wants: impl Fn(&str, u64) -> bool,
    ) -> Checked {
        let ahead = chronicle.events.iter().enumerate().skip(next);
        for (at, event) in ahead.filter(|_| self.open.is_empty()) {
            match &event.what {
                What::Ended => {
                    self.next = Some(at + 1);
                    self.gap = true;
                    return Ok(());
                }
                what if what.outcome(&wants).is_none() => {}
                What::Changed { .. } => break,
            }
        }
        Promise::TruthfulDeltas.broken("a gap after a list, where there was none")
    }

    fn take_change(
        &mut self,
        delta: &Delta<Arc<str>, u64>,
        chronicle: &Chronicle,
        wants: impl Fn(&str, u64) -> bool,
    ) -> Checked {
        if self.open.is_empty() {
            self.open_call(chronicle, &wants)?;
        }
        let Some((key, after)) = told(delta) else {
            return Ok(());
        };
        let Some(at) = self.open.iter().position(|(open, _)| *open == key) else {
            return Promise::TruthfulDeltas.broken(format!(
                "{key} is told, when what comes next is {:?}",
                self.open
            ));
        };
        // Else a step on the way, within one call.
        if self.open[at].1 == after {
            self.open.remove(at);
        }
        Ok(())
    }

    /// Goes on to the next call that changed something.
    fn open_call(&mut self, chronicle: &Chronicle, wants: impl Fn(&str, u64) -> bool) -> Checked {
        let mut call = None;
        while let Some(next) = self.next
            && let Some(event) = chronicle.events.get(next)
            && call.is_none_or(|call| call == event.call)
        {
            self.next = Some(next + 1);
            let Some((key, after)) = event.what.outcome(&wants) else {
                continue;
            };
            let listed = matches!(event.what, What::Changed { listed: true, .. });
            if listed && self.covered != event.call {
                let gap = std::mem::take(&mut self.gap);
                self.covered = event.call;
                Promise::TruthfulDeltas.require(gap, || {
                    format!("a list changed {key}, and no gap was told before it")
                })?;
            }
            self.gap = false;
            call = Some(event.call);
            self.open.push((key, after));
        }
        Ok(())
    }

    /// It has caught up: nothing is missing.
    ///
    /// # Errors
    ///
    /// If something is.
    pub fn check(&mut self, chronicle: &Chronicle, wants: impl Fn(&str, u64) -> bool) -> Checked {
        if self.open.is_empty() {
            self.open_call(chronicle, wants)?;
        }
        Promise::TruthfulDeltas.require(self.open.is_empty(), || {
            format!("{:?} happened, and was not told", self.open)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updated(old: u64, new: u64) -> Delta<Arc<str>, u64> {
        Delta::Updated {
            key: "a".into(),
            old,
            new,
        }
    }

    fn mark() -> Delta<Arc<str>, u64> {
        Delta::Mark(reflet_core::cache::Mark {
            revision: None,
            local_epoch: 0,
            complete: true,
            restored: false,
            initial: true,
        })
    }

    /// A key's values one after the other, each with whether a list brought it; what one that knew
    /// the first of them was told.
    fn check(values: &[(bool, u64)], deltas: &[Delta<Arc<str>, u64>]) -> Checked {
        let (mut ours, mut chronicle) = (Lossless::new(100), Chronicle::default());
        let all = |_: &str, _: u64| true;
        ours.polls(&chronicle, true);
        ours.take(&mark(), &chronicle, all)?;
        let mut before = Content::from([("a".into(), 1)]);
        for (listed, value) in values {
            let after = Content::from([("a".into(), *value)]);
            chronicle.call(*listed, *listed, &before, &after);
            before = after;
        }
        for delta in deltas {
            ours.polls(&chronicle, true);
            ours.take(delta, &chronicle, all)?;
        }
        ours.check(&chronicle, all)
    }

    #[test]
    fn fires_on_what_is_merged_left_out_or_made_up() {
        let values = [(false, 2), (false, 3)];
        assert_eq!(check(&values, &[updated(1, 2), updated(2, 3)]), Ok(()));
        assert!(check(&values, &[updated(1, 3)]).is_err());
        assert!(check(&values, &[updated(1, 2)]).is_err());
        assert!(check(&values[..1], &[updated(1, 2), updated(2, 3)]).is_err());
    }

    #[test]
    fn fires_on_gaps_that_are_missing_or_too_many() {
        let listed = Delta::Gap(GapReason::Listed);
        let overflow = Delta::Gap(GapReason::Overflow);
        let values = [(true, 2)];
        assert_eq!(check(&values, &[listed.clone(), updated(1, 2)]), Ok(()));
        assert!(check(&values, &[updated(1, 2)]).is_err());
        assert!(check(&[(false, 2)], &[listed]).is_err());
        assert_eq!(check(&values, std::slice::from_ref(&overflow)), Ok(()));
        assert!(check(&[], &[overflow]).is_err(), "nothing waited");
    }
}
