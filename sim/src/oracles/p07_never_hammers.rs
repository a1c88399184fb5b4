//! P7: in any window of w at most `burst + w/min_interval` attempts start, and none before a
//! retry-after has passed.

use std::time::Duration;

use reflet_core::Timestamp;

use super::{Checked, Promise};

/// When attempts, or pages, were started.
#[derive(Clone, Debug)]
pub struct Pace {
    what: &'static str,
    burst: u64,
    interval: Duration,
    /// How much later than it counts a start may be seen.
    slack: Duration,
    starts: Vec<Timestamp>,
    not_before: Timestamp,
}

impl Pace {
    /// At most `burst` in a row, and one each `interval` beyond that.
    #[must_use]
    pub fn new(what: &'static str, burst: u32, interval: Duration) -> Self {
        Self {
            what,
            burst: burst.max(1).into(),
            interval,
            slack: Duration::ZERO,
            starts: Vec::new(),
            not_before: Timestamp::ZERO,
        }
    }

    /// A start is seen up to so much later than it counts: two may seem closer than they are.
    #[must_use]
    pub fn seen_late(mut self, slack: Duration) -> Self {
        self.slack = slack;
        self
    }

    /// The source asked to wait until then.
    pub fn embargo(&mut self, until: Timestamp) {
        self.not_before = self.not_before.max(until);
    }

    /// One started at some time after `since`, while nobody looked.
    pub fn started_unseen(&mut self, since: Timestamp) {
        self.starts.push(since);
    }

    /// One starts. Every window that ends now is checked.
    ///
    /// # Errors
    ///
    /// If one of them has more than its share, or the source asked to wait.
    pub fn start(&mut self, now: Timestamp) -> Checked {
        self.starts.push(now);
        Promise::NeverHammers.require(now >= self.not_before, || {
            format!("{} started before the retry-after had passed", self.what)
        })?;
        if self.interval.is_zero() {
            return Ok(());
        }
        let (all, interval) = (self.starts.len() as u64, self.interval.as_nanos() as u64);
        for (count, from) in (1_u64..).zip(self.starts.iter().rev()) {
            let window = now.saturating_since(*from).saturating_add(self.slack);
            let share = self.burst + window.as_nanos() as u64 / interval;
            Promise::NeverHammers.require(count <= share, || {
                format!(
                    "{count} {} started within {window:?}; the share is {share}",
                    self.what
                )
            })?;
            if share >= all {
                // Longer windows have a larger share than there are starts.
                break;
            }
        }
        Ok(())
    }
}

/// The waits after failures in a row, of a source that does well only for a moment.
#[derive(Clone, Debug)]
pub struct Waits {
    least: Duration,
    row: u32,
    short: u32,
}

impl Waits {
    /// How many waits in a row may all be short: each one's upper end has grown long before, and
    /// it is drawn evenly.
    const SHORT: u32 = 12;

    /// The first wait is at most `least`; the later ones grow.
    #[must_use]
    pub fn new(least: Duration) -> Self {
        Self {
            least,
            row: 0,
            short: 0,
        }
    }

    /// One more wait.
    ///
    /// # Errors
    ///
    /// If they do not grow.
    pub fn check(&mut self, wait: Duration) -> Checked {
        self.row += 1;
        self.short = if wait <= self.least {
            self.short + 1
        } else {
            0
        };
        Promise::NeverHammers.require(self.short < Self::SHORT, || {
            format!(
                "after {} failures in a row the last {} waits were short",
                self.row, self.short
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_in_any_window_with_more_than_its_share() {
        let mut pace = Pace::new("attempts", 2, Duration::from_millis(10));
        for at in [0, 1, 10, 20] {
            assert_eq!(pace.start(Timestamp::from_millis(at)), Ok(()), "{at}");
        }
        assert!(pace.start(Timestamp::from_millis(21)).is_err());
    }

    #[test]
    fn starts_seen_late_count_as_if_seen_in_time() {
        let pace = Pace::new("attempts", 1, Duration::from_millis(10));
        let mut pace = pace.seen_late(Duration::from_millis(2));
        assert_eq!(pace.start(Timestamp::from_millis(2)), Ok(()));
        assert_eq!(pace.start(Timestamp::from_millis(10)), Ok(()));
        assert!(pace.start(Timestamp::from_millis(17)).is_err());
    }

    #[test]
    fn fires_when_waits_do_not_grow() {
        let mut waits = Waits::new(Duration::from_millis(5));
        for _ in 0..11 {
            assert_eq!(waits.check(Duration::from_millis(5)), Ok(()));
        }
        assert_eq!(waits.clone().check(Duration::from_millis(6)), Ok(()));
        assert!(waits.check(Duration::from_millis(5)).is_err());
    }

    #[test]
    fn fires_before_the_retry_after() {
        let mut pace = Pace::new("attempts", 9, Duration::from_millis(1));
        pace.embargo(Timestamp::from_millis(50));
        assert!(pace.start(Timestamp::from_millis(49)).is_err());
        assert_eq!(pace.start(Timestamp::from_millis(50)), Ok(()));
    }
}
