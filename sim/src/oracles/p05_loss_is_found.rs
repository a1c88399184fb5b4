//! P5: the revision never advances past a detected gap or digest mismatch before a list has made
//! up for it.

use super::{Checked, Promise};

/// How far the complete revision may go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ceiling {
    at: Option<u64>,
    /// A transaction that has begun, and of which more must follow.
    open: Option<u64>,
}

impl Ceiling {
    /// A loss was detected while everything up to `complete` was there.
    pub fn detected(&mut self, complete: u64) {
        self.at = Some(self.at.map_or(complete, |at| at.min(complete)));
    }

    /// Part of the transaction at this revision was handed over.
    pub fn begins(&mut self, revision: u64) {
        self.open = Some(revision);
    }

    /// The end of that transaction was.
    pub fn ends(&mut self, revision: u64) {
        self.open.take_if(|open| *open == revision);
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
}
