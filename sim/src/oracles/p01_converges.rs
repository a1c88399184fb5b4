//! P1: once the source is quiet the cache equals it within a bound; while it keeps changing, the
//! lag stays within that bound.

use std::collections::VecDeque;
use std::time::Duration;

use reflet_core::Timestamp;

use super::{Checked, Promise};

/// How long a healed engine may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    until: Timestamp,
}

impl Patience {
    /// From `now` on, for `bound`.
    #[must_use]
    pub fn new(now: Timestamp, bound: Duration) -> Self {
        Self {
            until: now.saturating_add(bound),
        }
    }

    /// Not converged at `now`: still in time? `why` is the engine's own account of itself.
    ///
    /// # Errors
    ///
    /// If the bound has passed.
    pub fn check(&self, now: Timestamp, why: impl FnOnce() -> String) -> Checked {
        Promise::Converges.require(now <= self.until, || {
            format!("not converged within the bound: {}", why())
        })
    }
}

/// How far the cache may be behind a source that never rests.
#[derive(Clone, Debug)]
pub struct Lag {
    bound: Duration,
    heads: VecDeque<(Timestamp, u64)>,
    /// The newest revision that must be visible by now.
    due: u64,
}

impl Lag {
    /// What the source has must be visible after `bound`.
    #[must_use]
    pub fn new(bound: Duration) -> Self {
        Self {
            bound,
            heads: VecDeque::new(),
            due: 0,
        }
    }

    /// The source has `head`, the cache shows `visible`.
    ///
    /// # Errors
    ///
    /// If the cache does not show what the source had a bound ago.
    pub fn check(&mut self, now: Timestamp, head: u64, visible: u64) -> Checked {
        self.heads.push_back((now, head));
        let before = now.saturating_sub(self.bound);
        while let Some((at, head)) = self.heads.front()
            && *at <= before
            && now.saturating_since(*at) >= self.bound
        {
            self.due = *head;
            self.heads.pop_front();
        }
        Promise::Converges.require(visible >= self.due, || {
            format!(
                "the cache shows r{visible}, but the source had r{} {:?} ago",
                self.due, self.bound
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_the_bound_has_passed() {
        let patience = Patience::new(Timestamp::from_millis(5), Duration::from_millis(10));
        assert_eq!(
            patience.check(Timestamp::from_millis(15), String::new),
            Ok(())
        );
        assert!(
            patience
                .check(Timestamp::from_millis(16), String::new)
                .is_err()
        );
    }

    #[test]
    fn fires_when_the_cache_lags_behind_the_source() {
        let mut lag = Lag::new(Duration::from_millis(10));
        let at = Timestamp::from_millis;
        assert_eq!(lag.check(at(0), 7, 0), Ok(()));
        assert_eq!(lag.check(at(9), 8, 0), Ok(()));
        assert!(lag.clone().check(at(10), 9, 6).is_err());
        assert_eq!(lag.check(at(10), 9, 7), Ok(()));
        assert!(lag.check(at(19), 9, 7).is_err());
    }
}
