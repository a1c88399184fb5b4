//! Token buckets.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::objects::RateLimit;

/// What a caller is told to wait at most: of a bucket that never fills, too.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Holds `burst` tokens and gains `requests_per_second`; a request takes one.
pub(crate) struct Bucket {
    burst: f64,
    per_second: f64,
    level: Mutex<Level>,
}

struct Level {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(limit: &RateLimit, now: Instant) -> Self {
        let burst = f64::from(limit.burst);
        Self {
            burst,
            per_second: limit.requests_per_second.per_second(),
            level: Mutex::new(Level {
                tokens: burst,
                at: now,
            }),
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// There is none; says after how long there is one, an hour at most.
    fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = now.saturating_duration_since(level.at).as_secs_f64() * self.per_second;
        level.tokens = (level.tokens + gained).min(self.burst);
        level.at = level.at.max(now);
        if level.tokens >= 1.0 {
            level.tokens -= 1.0;
            return Ok(());
        }
        if self.burst < 1.0 {
            return Err(LONGEST_WAIT);
        }
        let seconds = (1.0 - level.tokens) / self.per_second;
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_WAIT);
        Err(wait.min(LONGEST_WAIT))
    }

    /// Puts a token back, for a request that another bucket refused.
    fn give_back(&self) {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        level.tokens = (level.tokens + 1.0).min(self.burst);
    }
}

/// Takes a token of each bucket, or of none.
///
/// # Errors
/// One of them is empty; says after how long it no longer is.
pub(crate) fn admit<'a>(
    buckets: impl Iterator<Item = &'a Bucket> + Clone,
    now: Instant,
) -> Result<(), Duration> {
    for (index, bucket) in buckets.clone().enumerate() {
        if let Err(wait) = bucket.take(now) {
            buckets.take(index).for_each(Bucket::give_back);
            return Err(wait);
        }
    }
    Ok(())
}
