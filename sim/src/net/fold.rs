//! What one subscriber knows, made of nothing but the deltas that it was handed (P4).

use std::sync::Arc;

use reflet_core::cache::{Delta, Mark};

use super::books::{Value, View};

/// A subscriber's knowledge.
#[derive(Debug, Default)]
pub(super) struct Fold {
    pub(super) view: View,
    /// The newest mark.
    pub(super) mark: Option<Mark>,
    /// No mark came since the start or since the last reset.
    fresh: bool,
    /// An object that was updated to what it was, since the last mark.
    unchanged: Option<Arc<str>>,
}

impl Fold {
    pub(super) fn new() -> Self {
        Self {
            fresh: true,
            ..Self::default()
        }
    }

    /// Takes a step; the error says why it is not a valid one.
    pub(super) fn step(&mut self, delta: Delta<Arc<str>, Arc<Value>>) -> Result<(), String> {
        match delta {
            Delta::Added { key, new } => match self.view.insert(Arc::clone(&key), new) {
                None => Ok(()),
                Some(_) => Err(format!("{key} was added, and was there")),
            },
            Delta::Updated { key, old, new } => {
                if old == new {
                    self.unchanged = Some(Arc::clone(&key));
                }
                // Other histories draw the same numbers for other incarnations.
                if old.history == new.history && old.born != new.born {
                    return Err(format!("{key} was updated to another incarnation"));
                }
                let had = self.view.insert(Arc::clone(&key), new);
                was_seen(&key, &old, had)
            }
            Delta::Deleted { key, seen, .. } => {
                let had = self.view.remove(&key);
                was_seen(&key, &seen, had)
            }
            Delta::Reset => {
                self.view.clear();
                self.fresh = true;
                Ok(())
            }
            Delta::Mark(mark) => self.mark(mark).map_err(|(_, words)| words),
        }
    }

    /// Takes a mark. The error is the promise that it breaks, and how.
    pub(super) fn mark(&mut self, mark: Mark) -> Result<(), (&'static str, String)> {
        if mark.initial != self.fresh {
            let words = format!("{mark:?} after a fresh start: {}", self.fresh);
            return Err(("P9", words));
        }
        self.fresh = false;
        let unchanged = self.unchanged.take();
        let before = self.mark.replace(mark.clone());
        let Some(before) = before else { return Ok(()) };
        // Within one history every write differs. One that goes back may bring back what somebody
        // slow has seen last.
        if let Some(key) = unchanged.filter(|_| mark.epoch == before.epoch) {
            return Err(("P4", format!("{key} was updated to what it was")));
        }
        let back = match (&before.revision, &mark.revision) {
            (Some(had), Some(has)) => has.compare(had).is_none_or(|order| order.is_lt()),
            (had, has) => had.is_some() && has.is_none(),
        };
        if mark.epoch < before.epoch || mark.epoch == before.epoch && back {
            return Err(("P2", format!("{mark:?} after {before:?}")));
        }
        Ok(())
    }
}

fn was_seen(key: &str, said: &Arc<Value>, had: Option<Arc<Value>>) -> Result<(), String> {
    match had {
        Some(had) if had == *said => Ok(()),
        Some(had) => Err(format!(
            "{key}: write {} is said to have been seen, {} was",
            said.number, had.number
        )),
        None => Err(format!("{key}: said to have been seen, and was not there")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two writes belong to one incarnation.
    fn value(number: u64) -> Arc<Value> {
        Arc::new(Value {
            number,
            born: number / 2,
            ..Value::default()
        })
    }

    fn mark(revision: u64, epoch: u64, initial: bool) -> Mark {
        Mark {
            revision: Some(revision.into()),
            epoch,
            complete: true,
            initial,
        }
    }

    #[test]
    fn steps_that_do_not_follow_are_found() {
        let added = |number| Delta::Added {
            key: "a".into(),
            new: value(number),
        };
        let updated = |old, new| Delta::Updated {
            key: "a".into(),
            old: value(old),
            new: value(new),
        };
        let deleted = |seen| Delta::Deleted {
            key: "a".into(),
            seen: value(seen),
            last: value(seen),
            inferred: false,
        };
        let folds = |deltas: Vec<_>| {
            let mut fold = Fold::new();
            let mut steps = deltas.into_iter();
            steps.try_for_each(|delta| fold.step(delta))
        };
        assert_eq!(folds(vec![added(2), updated(2, 3), deleted(3)]), Ok(()));
        assert!(folds(vec![added(3), updated(3, 4)]).is_err());
        assert!(folds(vec![added(1), added(2)]).is_err());
        assert!(folds(vec![added(1), updated(2, 3)]).is_err());
        assert!(folds(vec![updated(2, 3)]).is_err());
        assert!(folds(vec![deleted(1)]).is_err());
        assert_eq!(folds(vec![added(1), Delta::Reset, added(2)]), Ok(()));
    }

    #[test]
    fn an_update_that_changes_nothing_is_found_unless_history_went_back() {
        let same = || Delta::Updated {
            key: "a".into(),
            old: value(2),
            new: value(2),
        };
        let mut fold = Fold::new();
        let added = Delta::Added {
            key: "a".into(),
            new: value(2),
        };
        let taken = [fold.step(added), fold.step(same())];
        assert_eq!(taken, [Ok(()), Ok(())]);
        assert_eq!(fold.mark(mark(5, 0, true)), Ok(()));
        assert_eq!(fold.step(same()), Ok(()));
        assert_eq!(fold.mark(mark(4, 1, false)), Ok(()));
        assert_eq!(fold.step(same()), Ok(()));
        assert_eq!(fold.mark(mark(5, 1, false)).unwrap_err().0, "P4");
    }

    #[test]
    fn marks_go_back_only_with_a_new_epoch() {
        let mut fold = Fold::new();
        assert_eq!(fold.mark(mark(5, 0, true)), Ok(()));
        assert_eq!(fold.mark(mark(5, 0, false)), Ok(()));
        assert_eq!(fold.mark(mark(3, 1, false)), Ok(()));
        assert_eq!(fold.mark(mark(2, 1, false)).unwrap_err().0, "P2");
        assert_eq!(fold.mark(mark(9, 0, false)).unwrap_err().0, "P2");
        assert_eq!(fold.mark(mark(9, 1, true)).unwrap_err().0, "P9");
    }
}
