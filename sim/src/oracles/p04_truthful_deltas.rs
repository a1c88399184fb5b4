//! P4: folding a subscriber's deltas is valid at every step, and at each mark it has exactly what
//! its filter lets through.

use std::sync::Arc;

use reflet_core::cache::Delta;

use super::p03_one_real_state::{describe, differences};
use super::{Checked, Content, Promise};

/// What one subscriber knows by folding its deltas. Values tell their incarnation in their upper
/// half.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    /// What it has.
    pub objects: Content,
}

impl Fold {
    /// Takes one delta; marks pass by. `tells` says whether incarnations can be told apart.
    ///
    /// # Errors
    ///
    /// If the delta does not fit what the subscriber knows.
    pub fn take(&mut self, delta: &Delta<Arc<str>, u64>, tells: bool) -> Checked {
        let show = |value: Option<u64>| value.map_or("nothing".to_owned(), describe);
        match delta {
            Delta::Added { key, new } => {
                let before = self.objects.insert(Arc::clone(key), *new);
                Promise::TruthfulDeltas.require(before.is_none(), || {
                    format!("{key} was added, but the subscriber had {}", show(before))
                })
            }
            Delta::Updated { key, old, new } => {
                let before = self.objects.insert(Arc::clone(key), *new);
                Promise::TruthfulDeltas.require(before == Some(*old), || {
                    format!(
                        "{key} was updated from {}, but the subscriber had {}",
                        show(Some(*old)),
                        show(before)
                    )
                })?;
                Promise::TruthfulDeltas.require(!tells || old >> 32 == new >> 32, || {
                    format!("{key} was re-created, and only an update was told")
                })
            }
            Delta::Deleted { key, seen, .. } => {
                let before = self.objects.remove(key);
                Promise::TruthfulDeltas.require(before == Some(*seen), || {
                    format!(
                        "{key} was deleted as {}, but the subscriber had {}",
                        show(Some(*seen)),
                        show(before)
                    )
                })
            }
            Delta::Redelivered { key, value } => {
                let before = self.objects.get(key).copied();
                Promise::TruthfulDeltas.require(before == Some(*value), || {
                    format!(
                        "{key} was redelivered as {}, but the subscriber had {}",
                        show(Some(*value)),
                        show(before)
                    )
                })
            }
            Delta::Reset => {
                self.objects.clear();
                Ok(())
            }
            Delta::Mark(_) | Delta::Gap(_) => Ok(()),
        }
    }

    /// A history in which nothing ever becomes what it was before: an update must change something.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub fn check_change(delta: &Delta<Arc<str>, u64>) -> Checked {
        match delta {
            Delta::Updated { key, old, new } => Promise::TruthfulDeltas.require(old != new, || {
                format!("{key} was updated to what it was, {}", describe(*new))
            }),
            Delta::Added { .. }
            | Delta::Deleted { .. }
            | Delta::Redelivered { .. }
            | Delta::Mark(_)
            | Delta::Gap(_)
            | Delta::Reset => Ok(()),
        }
    }

    /// The subscriber has caught up: it must have exactly this.
    ///
    /// # Errors
    ///
    /// If it has anything else.
    pub fn check(&self, ours: &Content, truth: &Content, what: impl FnOnce() -> String) -> Checked {
        Promise::TruthfulDeltas.require(ours == truth, || {
            format!("{}: {}", what(), differences(ours, truth))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Arc<str> {
        "a".into()
    }

    fn added(new: u64) -> Delta<Arc<str>, u64> {
        Delta::Added { key: key(), new }
    }

    fn updated(old: u64, new: u64) -> Delta<Arc<str>, u64> {
        Delta::Updated {
            key: key(),
            old,
            new,
        }
    }

    fn deleted(seen: u64) -> Delta<Arc<str>, u64> {
        Delta::Deleted {
            key: key(),
            seen,
            last: seen,
            inferred: false,
        }
    }

    fn check(deltas: &[Delta<Arc<str>, u64>]) -> Checked {
        let mut fold = Fold::default();
        deltas.iter().try_for_each(|delta| fold.take(delta, true))
    }

    #[test]
    fn fires_on_each_delta_that_does_not_fit() {
        assert_eq!(
            check(&[added(1), updated(1, 2), deleted(2), added(3)]),
            Ok(())
        );
        assert_eq!(check(&[added(1), Delta::Reset, added(1)]), Ok(()));
        assert!(check(&[added(1), added(2)]).is_err());
        assert!(check(&[updated(1, 2)]).is_err());
        assert!(check(&[added(1), updated(2, 3)]).is_err());
        assert!(check(&[added(1), deleted(2)]).is_err());
        assert!(check(&[deleted(1)]).is_err());
        assert!(
            check(&[added(1), updated(1, 1 << 32)]).is_err(),
            "two incarnations"
        );
    }

    #[test]
    fn fires_when_an_update_changes_nothing() {
        assert_eq!(Fold::check_change(&updated(1, 2)), Ok(()));
        assert!(Fold::check_change(&updated(1, 1)).is_err());
    }

    #[test]
    fn fires_when_a_mark_says_more_than_was_told() {
        let (fold, truth) = (Fold::default(), Content::from([(key(), 1)]));
        assert!(fold.check(&fold.objects, &truth, String::new).is_err());
    }
}
