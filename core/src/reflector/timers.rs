//! Deadlines, and what happens when one passes (P6).

use core::hash::BuildHasher;
use core::time::Duration;

use crate::config::Feed;
use crate::informer::Informer;
use crate::input::{Attempt, Failure, FailureClass};
use crate::key::Key;
use crate::output::{Deadline, ListReason, Notice, TimerReason};
use crate::probe::{canary, reach};
use crate::time::Timestamp;

use super::run::{Intent, ListRun, WatchKind, WatchRun};

/// How many nodes are given back in one go when nobody else calls.
const RECLAIM_STEPS: usize = 1_024;
/// The pause between two such goes.
const RECLAIM_PAUSE: Duration = Duration::from_millis(1);

impl<K: Key, V: Clone, S: BuildHasher + Clone> Informer<K, V, S> {
    /// The next deadline. There always is one, unless the informer was stopped.
    pub(crate) fn next_deadline(&self) -> Option<Deadline> {
        let waits = self
            .wait
            .iter()
            .chain(self.side.iter().filter(|_| self.list.is_none()));
        let waits = waits.filter(|_| !canary!(NoTimerWhileWaiting));
        let waits = waits.map(|wait| Deadline {
            at: wait.until,
            reason: wait.reason,
        });
        let attempts = [
            self.list.as_ref().map(|run| self.list_deadline(run)),
            self.watch.as_ref().map(|run| self.watch_deadline(run)),
        ];
        let verify = self.verify_at().map(|at| Deadline {
            at,
            reason: TimerReason::Verify,
        });
        let reclaim = self.reclaim_at.map(|at| Deadline {
            at,
            reason: TimerReason::Reclaim,
        });
        let redeliver = self.redeliveries.next().map(|at| Deadline {
            at,
            reason: TimerReason::Redeliver,
        });
        waits
            .chain(attempts.into_iter().flatten())
            .chain(verify)
            .chain(reclaim)
            .chain(redeliver)
            .min_by_key(|deadline| deadline.at)
    }

    fn list_deadline(&self, run: &ListRun<K, V>) -> Deadline {
        let timing = &self.config.timing;
        let whole = Deadline {
            at: run.started.saturating_add(timing.list_deadline),
            reason: TimerReason::ListDeadline,
        };
        if let Some(at) = run.page_due {
            let reason = TimerReason::Paced;
            return if at < whole.at {
                Deadline { at, reason }
            } else {
                whole
            };
        }
        let blocking =
            run.known.is_some() && self.config.source.feed == Feed::FullState { blocking: true };
        let silence = match run.heard {
            Some(heard) => Deadline {
                at: heard.saturating_add(timing.page_timeout),
                reason: TimerReason::PageSilence,
            },
            None if blocking => Deadline {
                at: run.started.saturating_add(timing.page_timeout),
                reason: TimerReason::PageSilence,
            },
            None => Deadline {
                at: run.started.saturating_add(timing.open_timeout),
                reason: TimerReason::Opening,
            },
        };
        if silence.at < whole.at {
            silence
        } else {
            whole
        }
    }

    fn watch_deadline(&self, run: &WatchRun<K, V>) -> Deadline {
        let timing = &self.config.timing;
        if run.opened.is_none() {
            return Deadline {
                at: run.started.saturating_add(timing.open_timeout),
                reason: TimerReason::Opening,
            };
        }
        let heard = if canary!(IgnoreSilence) {
            self.now
        } else {
            run.heard
        };
        let silent = heard.saturating_add(self.config.silence_limit());
        let caught_up = match run.lags_since {
            Some(since) if !run.confirms => since.saturating_add(self.config.source.replica_lag),
            Some(_) | None => Timestamp::MAX,
        };
        let silence = Deadline {
            at: silent.min(caught_up),
            reason: TimerReason::Silence,
        };
        match run.kind {
            WatchKind::Changes { .. } | WatchKind::Hints => silence,
            WatchKind::Initial(_) => {
                let at = run.started.saturating_add(timing.list_deadline);
                if at <= silence.at {
                    Deadline {
                        at,
                        reason: TimerReason::ListDeadline,
                    }
                } else {
                    silence
                }
            }
        }
    }

    /// Something did not come in time.
    pub(crate) fn tell_timeout(&mut self, attempt: Attempt, reason: TimerReason) {
        let words = match reason {
            TimerReason::Opening => "no answer in time",
            TimerReason::PageSilence => "the list fell silent",
            TimerReason::ListDeadline => "the list took too long",
            TimerReason::Silence => "the watch fell silent",
            TimerReason::Backoff
            | TimerReason::RetryAfter
            | TimerReason::SlowRetry
            | TimerReason::Paced
            | TimerReason::Poll
            | TimerReason::Verify
            | TimerReason::Reclaim
            | TimerReason::Redeliver => "time is up",
        };
        let failure = Failure::new(FailureClass::Retryable, words);
        self.last_error = Some((self.now, failure));
        self.notices.push(Notice::TimedOut { attempt, reason });
    }

    /// When the next verify starts: only while a watch or a poll is doing well.
    fn verify_at(&self) -> Option<Timestamp> {
        if self.list.is_some() || self.side.is_some() {
            return None;
        }
        let watching = self
            .watch
            .as_ref()
            .is_some_and(|run| run.opened.is_some() && !matches!(run.kind, WatchKind::Initial(_)));
        let due = self.verify_due.into_iter().chain(self.confirm_by).min();
        due.filter(|_| watching)
    }

    pub(crate) fn on_timeout(&mut self) {
        if let Some(mut run) = self.list.take() {
            let Deadline { at, reason } = self.list_deadline(&run);
            if at > self.now || reason == TimerReason::Paced {
                self.ask_page(&mut run);
                self.list = Some(run);
            } else {
                self.list_timed_out(run, reason);
            }
        }
        if let Some(run) = self.watch.take() {
            let Deadline { at, reason } = self.watch_deadline(&run);
            if at <= self.now {
                self.watch_timed_out(run, reason);
            } else {
                self.watch = Some(run);
            }
        }
        self.start_due();
        if self.verify_at().is_some_and(|at| at <= self.now) {
            self.start_verify();
        }
        if self.reclaim_at.is_some_and(|at| at <= self.now) {
            self.reclaim_at = None;
            let more = self.cache.reclaim(RECLAIM_STEPS);
            self.plan_reclaim(more);
        }
        for id in self.redeliveries.take_due(self.now) {
            self.cache.redeliver(id);
        }
    }

    /// Takes a verifying list: beside the watch where events and deletes carry the revision that
    /// committed them, else instead of it.
    fn start_verify(&mut self) {
        self.verify_due = None;
        reach!(
            "restored state that nothing confirms",
            self.confirm_by.is_some()
        );
        self.confirm_by = None;
        let hints = self
            .watch
            .as_ref()
            .is_some_and(|run| matches!(run.kind, WatchKind::Hints));
        let beside = hints || (self.config.source.commit_revisions && self.position.ordered);
        if beside {
            self.go_beside(ListReason::Verify, self.now, TimerReason::Verify);
        } else {
            reach!("watch given up for a verify");
            self.cancel_watch();
            self.go(
                Intent::List(ListReason::Verify),
                self.now,
                TimerReason::Verify,
            );
        }
    }

    /// Memory that no subscriber needs any more is given back even if nothing else happens.
    pub(crate) fn plan_reclaim(&mut self, more: bool) {
        self.reclaim_at = if more {
            self.reclaim_at
                .or(Some(self.now.saturating_add(RECLAIM_PAUSE)))
        } else {
            None
        };
    }
}
