//! How long a reader waits, read by read.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hdrhistogram::Histogram;

/// Waits, from a nanosecond to a minute, to three digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        // An empty histogram that grows by itself; these bounds are ones that it allows.
        let histogram = Histogram::new_with_bounds(1, LONGEST, 3);
        Self(histogram.unwrap_or_else(|_| unreachable!("bounds that are allowed")))
    }
}

/// A minute, in nanoseconds: what takes longer counts as this.
const LONGEST: u64 = 60_000_000_000;

impl Latencies {
    /// One more wait, in nanoseconds.
    pub fn record(&mut self, nanos: u64) {
        self.0.saturating_record(nanos.clamp(1, LONGEST));
    }

    /// The wait that this share of all reads did not exceed, in nanoseconds: 0.5 for the median.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        self.0.value_at_quantile(share)
    }

    /// How many reads there were.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p999, p9999] = [0.5, 0.999, 0.9999].map(|share| self.quantile(share));
        write!(f, "p50 {p50} ns, p99.9 {p999} ns, p99.99 {p9999} ns")
    }
}

/// Reads in a loop on a thread of its own for as long as `write` takes, and tells how long each
/// read took and what `write` returned. `read` is given the number of the read. At least one read
/// is made before `write` begins.
///
/// Each read is timed on its own, which adds the clock's own 20–50 ns to it: the same for every
/// side, and to be taken off by whoever compares with an idle loop.
pub fn read_while<R>(
    mut read: impl FnMut(usize) + Send,
    write: impl FnOnce() -> R,
) -> (Latencies, R) {
    let (started, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut latencies = Latencies::default();
            for number in 0.. {
                let start = Instant::now();
                read(number);
                let nanos = start.elapsed().as_nanos();
                latencies.record(u64::try_from(nanos).unwrap_or(u64::MAX));
                started.store(true, Ordering::Release);
                if done.load(Ordering::Acquire) {
                    break;
                }
            }
            latencies
        });
        while !started.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let result = write();
        done.store(true, Ordering::Release);
        match reader.join() {
            Ok(latencies) => (latencies, result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_leave_out_the_rare_long_waits() {
        let mut latencies = Latencies::default();
        for _ in 0..9_990 {
            latencies.record(100);
        }
        for _ in 0..10 {
            latencies.record(1_000_000);
        }
        assert_eq!(latencies.quantile(0.5), 100);
        assert_eq!(latencies.quantile(0.999), 100);
        let rare = latencies.quantile(0.9999);
        assert!((999_000..=1_001_000).contains(&rare), "{rare}");
    }

    #[test]
    fn a_wait_beyond_the_range_counts_as_the_longest() {
        let mut latencies = Latencies::default();
        latencies.record(u64::MAX);
        latencies.record(0);
        assert_eq!(latencies.len(), 2);
        assert!(latencies.quantile(1.0) >= LONGEST);
    }

    #[test]
    fn the_reader_reads_while_the_writer_writes() {
        let read = AtomicBool::new(false);
        let reader = |_| read.store(true, Ordering::Release);
        let (latencies, seen) = read_while(reader, || read.load(Ordering::Acquire));
        assert!(seen && !latencies.is_empty());
    }
}
