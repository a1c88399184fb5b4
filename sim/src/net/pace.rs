//! When attempts started, seen from the source's side of the driver (P7).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reflet_core::{Failure, SourceProfile, Timing};
use reflet_tokio::Source;
use reflet_tokio::source::{ListRequest, Sink, WatchRequest};

use super::world::Reporter;

/// The engine counts from the moment at which it says that an attempt may start; the task that
/// starts it gets its turn a little later.
const SLACK: Duration = Duration::from_millis(2);

/// What a refusal says, before the seconds to wait: the header alone would have to be taken on the
/// driver's word.
pub(super) const COME_BACK: &str = "come back after ";

fn asked_to_wait(message: &str) -> Option<Duration> {
    let (_, seconds) = message.split_once(COME_BACK)?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// The starts of one informer's attempts.
#[derive(Debug, Default)]
pub(super) struct Starts {
    at: Vec<Duration>,
    /// The server's last word on when to come back.
    not_before: Duration,
}

impl Starts {
    /// Notes a start; the error says which window has too many, or which wait was cut short.
    fn start(&mut self, now: Duration, timing: &Timing) -> Result<(), String> {
        self.at.push(now);
        let until = self.not_before;
        if now < until {
            return Err(format!(
                "started at {now:?}, was asked to wait until {until:?}"
            ));
        }
        let interval = timing.min_interval.as_nanos().max(1);
        let newest_first = self.at.iter().rev().enumerate();
        for (earlier, from) in newest_first {
            let window = now.saturating_sub(*from);
            let counted = window.saturating_add(SLACK);
            let allowed = u128::from(timing.burst) + counted.as_nanos() / interval;
            let starts = earlier + 1;
            if starts as u128 > allowed {
                return Err(format!(
                    "{starts} attempts within {window:?}, {allowed} allowed"
                ));
            }
        }
        Ok(())
    }

    fn wait(&mut self, now: Duration, retry_after: Duration, timing: &Timing) {
        let wait = retry_after.min(timing.max_retry_after);
        self.not_before = self.not_before.max(now.saturating_add(wait));
    }

    /// How many attempts have started.
    pub(super) fn count(&self) -> usize {
        self.at.len()
    }
}

/// A source that passes everything on, and looks at the watch.
pub(super) struct Timed<S> {
    pub(super) inner: S,
    pub(super) timing: Timing,
    pub(super) starts: Arc<Mutex<Starts>>,
    pub(super) reporter: Reporter,
}

impl<S: Source> Timed<S> {
    fn starts(&self) -> std::sync::MutexGuard<'_, Starts> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self) {
        let now = self.reporter.now();
        if let Err(words) = self.starts().start(now, &self.timing) {
            self.reporter.broken("P7", words);
        }
    }

    fn end(&self, end: Result<(), Failure>) -> Result<(), Failure> {
        if let Err(failure) = &end
            && let Some(wait) = asked_to_wait(&failure.message)
        {
            self.starts().wait(self.reporter.now(), wait, &self.timing);
        }
        end
    }
}

impl<S: Source> Source for Timed<S> {
    type Value = S::Value;

    fn profile(&self) -> SourceProfile {
        self.inner.profile()
    }

    async fn list(
        &self,
        request: ListRequest,
        sink: &mut Sink<Self::Value>,
    ) -> Result<(), Failure> {
        // Further pages belong to the attempt that began with the first one.
        if request.page.is_none() {
            self.start();
        }
        self.end(self.inner.list(request, sink).await)
    }

    async fn watch(
        &self,
        request: WatchRequest,
        sink: &mut Sink<Self::Value>,
    ) -> Result<(), Failure> {
        self.start();
        self.end(self.inner.watch(request, sink).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_with_too_many_starts_is_found_and_so_is_a_wait_cut_short() {
        let timing = Timing {
            burst: 2,
            min_interval: Duration::from_secs(1),
            max_retry_after: Duration::from_secs(5),
            ..Timing::default()
        };
        let mut starts = Starts::default();
        let mut start = |millis| starts.start(Duration::from_millis(millis), &timing);
        assert_eq!([start(0), start(0), start(1_000)], [Ok(()), Ok(()), Ok(())]);
        assert!(start(1_990).is_err());

        let mut starts = Starts::default();
        starts.wait(Duration::from_secs(1), Duration::from_secs(60), &timing);
        assert!(starts.start(Duration::from_secs(5), &timing).is_err());
        let mut starts = Starts::default();
        starts.wait(Duration::from_secs(1), Duration::from_secs(60), &timing);
        assert_eq!(starts.start(Duration::from_secs(6), &timing), Ok(()));
    }
}
