//! P5: the revision never advances past a detected gap or digest mismatch before a list has made
//! up for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Checked, Promise};

/// How far the complete revision may go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ceiling {
    at: Option<u64>,
    /// A transaction that has begun, and of which more must follow.
    open: Option<u64>,
    /// Up to here everything was told, whatever a watch says again.
    covered: u64,
}

impl Ceiling {
    /// A loss was detected while everything up to `complete` was there.
    pub fn detected(&mut self, complete: u64) {
        self.at = Some(self.at.map_or(complete, |at| at.min(complete)));
    }

    /// Part of the transaction at this revision was handed over.
    pub fn begins(&mut self, revision: u64) {
        self.open = Some(revision).filter(|open| *open > self.covered);
    }

    /// A full state of this revision has been taken.
    pub fn covered(&mut self, revision: u64) {
        self.covered = revision;
    }

    /// The end of that transaction was.
    pub fn ends(&mut self, revision: u64) {
        self.open.take_if(|open| *open == revision);
        self.covered = self.covered.max(revision);
    }

    /// A full state has been taken, or a watch starts anew: what was lost is made up for.
    pub fn made_up(&mut self) {
        *self = Self::default();
    }

    /// The cache claims to be complete at a revision.
    ///
    /// # Errors
    ///
    /// If something before it is known to be missing.
    pub fn check(&self, complete: u64) -> Checked {
        Promise::LossIsFound.require(self.open.is_none_or(|open| complete < open), || {
            format!("complete at r{complete}, though its transaction has not ended")
        })?;
        Promise::LossIsFound.require(self.at.is_none_or(|at| complete <= at), || {
            format!(
                "complete at r{complete}, though a loss after r{} was detected",
                self.at.unwrap_or(0)
            )
        })
    }

    /// The cache claims to be complete at the revision of a digest. `found` says whether it was
    /// noticed that what it holds has another one.
    ///
    /// # Errors
    ///
    /// If it has, and nobody noticed.
    pub fn check_digest(ours: u64, theirs: u64, found: bool) -> Checked {
        Promise::LossIsFound.require(found || ours == theirs, || {
            "complete at the revision of a digest that is another one".to_owned()
        })
    }

    /// *Unverified* must be said exactly where nothing could find a silent loss.
    ///
    /// # Errors
    ///
    /// If it is said elsewhere, or not said there.
    pub fn check_unverified(said: bool, detectable: bool) -> Checked {
        Promise::LossIsFound.require(said != detectable, || {
            format!("health says unverified: {said}, but losses can be found: {detectable}")
        })
    }
}

/// What the source has told in full, in each of its epochs: nobody can know more.
#[derive(Clone, Debug, Default)]
pub struct Horizon {
    told: BTreeMap<Arc<str>, u64>,
}

impl Horizon {
    /// Everything up to this revision was told.
    pub fn told(&mut self, epoch: &Arc<str>, revision: u64) {
        let told = self.told.entry(Arc::clone(epoch)).or_default();
        *told = revision.max(*told);
    }

    /// Something is claimed to be complete at a revision.
    ///
    /// # Errors
    ///
    /// If not all of it was told.
    pub fn check(&self, epoch: &str, complete: u64) -> Checked {
        let told = self.told.get(epoch);
        Promise::LossIsFound.require(told.is_some_and(|told| complete <= *told), || {
            format!("complete at r{complete}, of which only {told:?} was told")
        })
    }

    /// Something is claimed to follow the source, which has said nothing for so long.
    ///
    /// # Errors
    ///
    /// If that is longer than `bound`.
    pub fn check_live(live: bool, silent: Duration, bound: Duration) -> Checked {
        Promise::LossIsFound.require(!live || silent <= bound, || {
            format!("live, after {silent:?} without a word from the source")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_a_revision_passes_a_loss() {
        let mut ceiling = Ceiling::default();
        assert_eq!(ceiling.check(9), Ok(()));
        ceiling.detected(9);
        assert_eq!(ceiling.check(9), Ok(()));
        assert!(ceiling.check(10).is_err());
        ceiling.made_up();
        assert_eq!(ceiling.check(10), Ok(()));
    }

    #[test]
    fn fires_when_a_revision_passes_a_transaction_that_has_not_ended() {
        let mut ceiling = Ceiling::default();
        ceiling.begins(5);
        assert_eq!(ceiling.check(4), Ok(()));
        assert!(ceiling.check(5).is_err());
        ceiling.ends(4);
        assert!(ceiling.check(5).is_err());
        ceiling.ends(5);
        assert_eq!(ceiling.check(5), Ok(()));
        ceiling.begins(5);
        assert_eq!(ceiling.check(5), Ok(()), "said again");
        ceiling.covered(7);
        ceiling.begins(7);
        assert_eq!(ceiling.check(9), Ok(()), "the list had it");
        ceiling.begins(8);
        assert!(ceiling.check(9).is_err());
    }

    #[test]
    fn fires_when_a_digest_is_passed_by() {
        assert_eq!(Ceiling::check_digest(1, 1, false), Ok(()));
        assert_eq!(Ceiling::check_digest(1, 2, true), Ok(()));
        assert!(Ceiling::check_digest(1, 2, false).is_err());
    }

    #[test]
    fn fires_when_health_conceals_that_nothing_is_verified() {
        assert!(Ceiling::check_unverified(false, false).is_err());
        assert!(Ceiling::check_unverified(true, true).is_err());
    }

    #[test]
    fn fires_when_more_is_claimed_than_was_told() {
        let (mut horizon, epoch) = (Horizon::default(), Arc::from("e"));
        assert!(horizon.check("e", 0).is_err());
        horizon.told(&epoch, 7);
        horizon.told(&epoch, 3);
        assert_eq!(horizon.check("e", 7), Ok(()));
        assert!(horizon.check("e", 8).is_err());
        assert!(horizon.check("f", 1).is_err());
    }

    #[test]
    fn fires_when_something_stays_live_without_a_word() {
        let check = |live, silent| {
            Horizon::check_live(
                live,
                Duration::from_millis(silent),
                Duration::from_millis(5),
            )
        };
        assert_eq!(check(true, 5), Ok(()));
        assert_eq!(check(false, 6), Ok(()));
        assert!(check(true, 6).is_err());
    }
}
