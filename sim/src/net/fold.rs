//! What one subscriber was handed, as the oracles take it: its deltas (P4) and its marks (P2, P9).

use std::sync::Arc;

use reflet_core::cache::{Delta, Mark};

use super::books::{Books, State, Value, content};
use crate::oracles::{Checked, Fold, Promise, Revisions};

/// A subscriber's knowledge.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) fold: Fold,
    marks: Revisions,
    /// The local epoch of the newest mark; none came since the start or since the last reset.
    epoch: Option<u64>,
    started: bool,
    /// An update to what was there before, since the last mark.
    unchanged: Option<Delta<Arc<str>, u64>>,
}

impl Told {
    /// Takes a delta.
    pub(super) fn step(&mut self, delta: &Delta<Arc<str>, Arc<Value>>, books: &Books) -> Checked {
        // Other histories draw the same numbers for other incarnations.
        let tells = match delta {
            Delta::Updated { old, new, .. } => old.history == new.history,
            Delta::Added { .. }
            | Delta::Deleted { .. }
            | Delta::Redelivered { .. }
            | Delta::Gap(_)
            | Delta::Mark(_)
            | Delta::Reset => true,
        };
        let delta = in_numbers(delta, books);
        if Fold::check_change(&delta).is_err() {
            self.unchanged = Some(delta.clone());
        }
        if delta == Delta::Reset {
            self.started = false;
        }
        self.fold.take(&delta, tells)
    }

    /// Takes a mark.
    pub(super) fn mark(&mut self, mark: &Mark) -> Checked {
        let again = std::mem::replace(&mut self.started, true);
        Promise::HonestReadiness.require(mark.initial != again, || {
            format!("{mark:?}, though one came since the start: {again}")
        })?;
        let unchanged = self.unchanged.take();
        let before = self.epoch.replace(mark.local_epoch);
        // Within one history every write differs. One that goes back may bring back what somebody
        // slow has seen last.
        if let Some(delta) = unchanged.filter(|_| before == self.epoch) {
            Fold::check_change(&delta)?;
        }
        let revision = mark
            .revision
            .as_ref()
            .and_then(|revision| revision.as_u64());
        let Some(revision) = revision else {
            return Promise::NoTimeTravel.broken(format!("a mark without a place: {mark:?}"));
        };
        self.marks.show(mark.local_epoch, revision)
    }

    /// At a mark there is exactly what passes the filter of what the source held then: any of these
    /// states, where it is not known which one it was.
    pub(super) fn check<'a>(
        &self,
        states: impl IntoIterator<Item = &'a State>,
        passes: impl Fn(&Value) -> bool,
        what: impl Fn() -> String,
    ) -> Checked {
        let mut first = None;
        for state in states {
            let mut ours = self.fold.objects.clone();
            ours.retain(|key, _| state.get(key).is_none_or(|object| object.value.is_some()));
            let truth = content(state, &passes);
            match self.fold.check(&ours, &truth, &what) {
                Ok(()) => return Ok(()),
                Err(broken) => first = first.or(Some(broken)),
            }
        }
        let never = || Promise::TruthfulDeltas.broken(format!("{}: that never was", what()));
        first.map_or_else(never, Err)
    }
}

/// A delta with what its values stand for.
fn in_numbers(delta: &Delta<Arc<str>, Arc<Value>>, books: &Books) -> Delta<Arc<str>, u64> {
    let number = |value: &Arc<Value>| books.number(value);
    match delta {
        Delta::Added { key, new } => Delta::Added {
            key: Arc::clone(key),
            new: number(new),
        },
        Delta::Updated { key, old, new } => Delta::Updated {
            key: Arc::clone(key),
            old: number(old),
            new: number(new),
        },
        Delta::Deleted {
            key,
            seen,
            last,
            inferred,
        } => Delta::Deleted {
            key: Arc::clone(key),
            seen: number(seen),
            last: number(last),
            inferred: *inferred,
        },
        Delta::Redelivered { key, value } => Delta::Redelivered {
            key: Arc::clone(key),
            value: number(value),
        },
        Delta::Gap(why) => Delta::Gap(*why),
        Delta::Mark(mark) => Delta::Mark(mark.clone()),
        Delta::Reset => Delta::Reset,
    }
}

#[cfg(test)]
mod tests {
    use super::super::books::{Object, written};
    use super::*;

    fn books() -> Books {
        let mut books = Books::default();
        (1..10).for_each(|number| books.write(&written(number)));
        books
    }

    fn added(number: u64) -> Delta<Arc<str>, Arc<Value>> {
        Delta::Added {
            key: "a".into(),
            new: written(number),
        }
    }

    fn updated(old: u64, new: u64) -> Delta<Arc<str>, Arc<Value>> {
        Delta::Updated {
            key: "a".into(),
            old: written(old),
            new: written(new),
        }
    }

    fn mark(revision: u64, epoch: u64, initial: bool) -> Mark {
        Mark {
            revision: Some(revision.into()),
            local_epoch: epoch,
            complete: true,
            restored: false,
            initial,
        }
    }

    fn promise(checked: Checked) -> Option<Promise> {
        checked.err().map(|broken| broken.promise)
    }

    #[test]
    fn fires_on_steps_that_do_not_follow() {
        let folds = |deltas: &[_]| {
            let (mut told, books) = (Told::default(), books());
            deltas.iter().try_for_each(|delta| told.step(delta, &books))
        };
        assert_eq!(folds(&[added(2), updated(2, 3)]), Ok(()));
        assert_eq!(folds(&[added(1), Delta::Reset, added(2)]), Ok(()));
        assert!(folds(&[added(3), updated(3, 4)]).is_err(), "re-created");
        assert!(folds(&[added(1), added(2)]).is_err());
        assert!(folds(&[updated(2, 3)]).is_err());
    }

    #[test]
    fn fires_on_an_update_that_changes_nothing_unless_history_went_back() {
        let (mut told, books) = (Told::default(), books());
        assert_eq!(told.step(&added(2), &books), Ok(()));
        assert_eq!(told.step(&updated(2, 2), &books), Ok(()));
        assert_eq!(told.mark(&mark(5, 0, true)), Ok(()));
        assert_eq!(told.step(&updated(2, 2), &books), Ok(()));
        assert_eq!(told.mark(&mark(4, 1, false)), Ok(()));
        assert_eq!(told.step(&updated(2, 2), &books), Ok(()));
        let broken = told.mark(&mark(5, 1, false));
        assert_eq!(promise(broken), Some(Promise::TruthfulDeltas));
    }

    #[test]
    fn fires_on_marks_that_go_back_without_a_new_epoch_or_start_anew() {
        let mut told = Told::default();
        assert_eq!(told.mark(&mark(5, 0, true)), Ok(()));
        assert_eq!(told.mark(&mark(5, 0, false)), Ok(()));
        assert_eq!(told.mark(&mark(3, 1, false)), Ok(()));
        let back = Some(Promise::NoTimeTravel);
        assert_eq!(promise(told.mark(&mark(2, 1, false))), back);
        assert_eq!(promise(told.mark(&mark(9, 0, false))), back);
        let anew = told.mark(&mark(9, 1, true));
        assert_eq!(promise(anew), Some(Promise::HonestReadiness));
    }

    #[test]
    fn fires_on_what_the_source_never_held_or_the_filter_hides() {
        let (mut told, books) = (Told::default(), books());
        assert_eq!(told.step(&added(2), &books), Ok(()));
        let at = |number| State::from([("a".into(), Object::of(&written(number)))]);
        let (then, other) = (at(2), at(3));
        let check = |states: &[&State], passes: bool| {
            told.check(states.iter().copied(), |_| passes, String::new)
        };
        assert_eq!(check(&[&other, &then], true), Ok(()));
        assert!(check(&[&other], true).is_err());
        assert!(check(&[], true).is_err());
        assert!(check(&[&then], false).is_err());
    }
}
