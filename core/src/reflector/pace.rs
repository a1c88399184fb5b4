//! When an attempt may start: the pacer that never hammers (P7), and the backoff after failures.

use core::time::Duration;

use crate::digest::mix;
use crate::probe::{canary, noise, reach};
use crate::time::Timestamp;

/// Lets at most `burst + w / interval` attempts start in any window w.
///
/// The generic cell rate algorithm (ITU-T I.371): one timestamp, no queue, no drift.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    interval: Duration,
    tolerance: Duration,
    /// When the next attempt would be due if all were evenly spaced.
    pub(super) due: Timestamp,
}

impl Pacer {
    pub(crate) fn new(burst: u32, interval: Duration) -> Self {
        Self {
            interval,
            tolerance: interval.saturating_mul(burst.saturating_sub(1)),
            due: Timestamp::ZERO,
        }
    }

    /// The earliest time for the next attempt.
    pub(crate) fn next_at(&self) -> Timestamp {
        if self.due == Timestamp::MAX {
            // A clock at the end of its range cannot tell how long ago the last attempt was.
            return Timestamp::MAX;
        }
        self.due.saturating_sub(self.tolerance)
    }

    /// Takes one attempt's share, if it may start at `now`.
    pub(crate) fn take(&mut self, now: Timestamp) -> bool {
        if self.due == Timestamp::MAX || now < self.next_at() {
            return false;
        }
        if !canary!(NoPacing) {
            self.due = self.due.max(now).saturating_add(self.interval);
        }
        true
    }
}

/// Exponential backoff with full jitter: each wait is drawn evenly from zero to an upper end that
/// doubles with each failure in a row.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    pub(super) failures: u32,
    /// The state of splitmix64: the only randomness there is, and it comes from the seed.
    pub(super) random: u64,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self {
            min,
            max,
            failures: 0,
            random: seed,
        }
    }

    /// The wait after one more failure in a row.
    pub(crate) fn fail(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures.min(31)).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let upper = self.min.saturating_mul(factor).min(self.max);
        reach!(
            "backoff at its ceiling",
            upper == self.max && self.max > self.min
        );
        let nanos = u64::try_from(upper.as_nanos()).unwrap_or(u64::MAX);
        // A bias of one in 2^64 / nanos does not matter here.
        Duration::from_nanos(
            self.draw()
                .checked_rem(nanos.saturating_add(1))
                .unwrap_or(0),
        )
    }

    /// Starts afresh: there was a stable period of real progress.
    pub(crate) fn reset(&mut self) {
        reach!("backoff reset after a stable period", self.failures > 1);
        self.failures = 0;
    }

    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        if canary!(JitterFromProcess) {
            self.random ^= noise();
        }
        mix(self.random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_window_has_more_starts_than_its_share(
            burst in 1_u32..6,
            interval in 1_u64..50,
            steps in prop::collection::vec(0_u64..40, 1..200),
        ) {
            let mut pacer = Pacer::new(burst, Duration::from_nanos(interval));
            let (mut now, mut starts) = (0, alloc::vec::Vec::new());
            for step in steps {
                now += step;
                if pacer.take(Timestamp::from_nanos(now)) {
                    starts.push(now);
                } else {
                    prop_assert!(pacer.next_at() > Timestamp::from_nanos(now));
                }
            }
            for (i, from) in starts.iter().enumerate() {
                for (j, to) in starts.iter().enumerate().skip(i) {
                    let allowed = u64::from(burst) + (to - from) / interval;
                    prop_assert!((j - i + 1) as u64 <= allowed);
                }
            }
        }

        #[test]
        fn waits_stay_below_an_end_that_doubles_up_to_the_maximum(seed: u64) {
            let (min, max) = (Duration::from_millis(100), Duration::from_secs(2));
            let mut backoff = Backoff::new(min, max, seed);
            for failure in 0..40_u32 {
                let upper = min.saturating_mul(1 << failure.min(20)).min(max);
                prop_assert!(backoff.fail() <= upper);
            }
            backoff.reset();
            prop_assert!(backoff.fail() <= min);
        }
    }

    #[test]
    fn a_clock_at_the_end_of_its_range_starts_no_flood() {
        let mut pacer = Pacer::new(3, Duration::from_secs(1));
        let started = (0..100).filter(|_| pacer.take(Timestamp::MAX)).count();
        assert!(started <= 3, "{started}");
    }
}
