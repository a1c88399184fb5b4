//! When attempts started, seen from the source's side of the driver (P7).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reflet_core::{Failure, SourceProfile, Timestamp, Timing};
use reflet_tokio::Source;
use reflet_tokio::source::{ListRequest, Sink, WatchRequest};

use super::world::{Reporter, lock};
use crate::oracles::{Checked, Pace};

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

/// The starts of one informer's attempts, and of the further pages of its lists.
#[derive(Debug)]
pub(super) struct Starts {
    attempts: Pace,
    pages: Pace,
    max_retry_after: Duration,
    /// How many attempts there were.
    pub(super) count: usize,
    /// When the last one of them started.
    pub(super) last: Timestamp,
}

impl Starts {
    pub(super) fn new(timing: &Timing) -> Self {
        let attempts = Pace::new("attempts", timing.burst, timing.min_interval);
        let pages = Pace::new("pages", timing.page_burst, timing.page_interval);
        Self {
            attempts: attempts.seen_late(SLACK),
            pages: pages.seen_late(SLACK),
            max_retry_after: timing.max_retry_after,
            count: 0,
            last: Timestamp::ZERO,
        }
    }

    /// A request starts: of an attempt that begins, or for one more page.
    fn start(&mut self, now: Timestamp, first: bool) -> Checked {
        if !first {
            return self.pages.start(now);
        }
        self.count += 1;
        self.last = now;
        self.attempts.start(now)
    }

    /// An attempt has ended.
    fn end(&mut self, now: Timestamp, end: &Result<(), Failure>) {
        let refusal = end.as_ref().err();
        if let Some(wait) = refusal.and_then(|failure| asked_to_wait(&failure.message)) {
            let wait = wait.min(self.max_retry_after);
            self.attempts.embargo(now.saturating_add(wait));
        }
    }
}

/// A source that passes everything on, and looks at the watch.
pub(super) struct Timed<S> {
    pub(super) inner: S,
    pub(super) starts: Arc<Mutex<Starts>>,
    pub(super) reporter: Reporter,
}

impl<S: Source> Timed<S> {
    fn start(&self, first: bool) {
        let checked = lock(&self.starts).start(self.reporter.clock(), first);
        self.reporter.check("the driver", checked);
    }

    fn end(&self, end: Result<(), Failure>) -> Result<(), Failure> {
        lock(&self.starts).end(self.reporter.clock(), &end);
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
        self.start(request.page.is_none());
        self.end(self.inner.list(request, sink).await)
    }

    async fn watch(
        &self,
        request: WatchRequest,
        sink: &mut Sink<Self::Value>,
    ) -> Result<(), Failure> {
        self.start(true);
        self.end(self.inner.watch(request, sink).await)
    }
}

#[cfg(test)]
mod tests {
    use reflet_core::FailureClass;

    use super::*;

    #[test]
    fn fires_in_a_window_with_too_many_starts_and_on_a_wait_cut_short() {
        let timing = Timing {
            burst: 2,
            min_interval: Duration::from_secs(1),
            page_burst: 1,
            page_interval: Duration::from_secs(1),
            max_retry_after: Duration::from_secs(5),
            ..Timing::default()
        };
        let at = Timestamp::from_millis;
        let mut starts = Starts::new(&timing);
        for millis in [0, 0, 1_000] {
            assert_eq!(starts.start(at(millis), true), Ok(()));
        }
        assert!(starts.start(at(1_990), true).is_err());
        assert_eq!(starts.start(at(1_990), false), Ok(()), "a page");
        assert!(starts.start(at(2_000), false).is_err());

        let refused = || {
            let mut starts = Starts::new(&timing);
            let failure = Failure::new(FailureClass::Retryable, format!("{COME_BACK}60"));
            starts.end(at(1_000), &Err(failure));
            starts
        };
        assert!(refused().start(at(5_999), true).is_err());
        assert_eq!(refused().start(at(6_000), true), Ok(()), "capped");
    }
}
