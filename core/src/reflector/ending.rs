//! How a watch ends, and what follows.

use alloc::boxed::Box;
use core::hash::BuildHasher;

use crate::config::{Feed, OnNewEpoch};
use crate::informer::Informer;
use crate::input::{Failure, FailureClass};
use crate::key::Key;
use crate::output::{BadInput, Condition, ListReason, Notice, TimerReason};
use crate::probe::{canary, reach};
use crate::token::Epoch;

use super::run::{Intent, Retry, WatchKind, WatchRun};
use super::steer::retry_for;
use super::watch::Step;

impl<K: Key, V: Clone, S: BuildHasher + Clone> Informer<K, V, S> {
    /// The history is not a continuation of ours: take the whole state, or refuse it.
    pub(super) fn new_epoch(
        &mut self,
        run: Box<WatchRun<K, V>>,
        epoch: Option<Epoch>,
    ) -> Step<K, V> {
        if self.config.policy.new_epoch == OnNewEpoch::Refuse {
            reach!("new epoch of a watch refused");
            self.notices.push(Notice::EpochRefused { epoch });
            return self.epoch_refused(run);
        }
        reach!("new epoch in a watch");
        self.cancel(run.attempt);
        self.watch_over();
        self.go(
            self.relist(ListReason::NewEpoch),
            self.now,
            TimerReason::Paced,
        );
        None
    }

    pub(super) fn epoch_refused(&mut self, run: Box<WatchRun<K, V>>) -> Step<K, V> {
        self.cancel(run.attempt);
        self.watch_over();
        self.trouble(Condition::NewEpochRefused);
        let (at, why) = self.retry_at(Retry::Slow);
        self.go(self.again(&run), at, why);
        None
    }

    pub(super) fn older_stream(&mut self, run: &WatchRun<K, V>) -> Step<K, V> {
        reach!("initial stream older than the cache");
        self.cancel(run.attempt);
        self.watch_over();
        self.trouble(Condition::OlderThanCache);
        self.unconstrained = true;
        let (at, why) = self.retry_at(Retry::Backoff);
        self.go(self.relist(ListReason::Retry), at, why);
        None
    }

    /// What came is not the protocol: end the watch, and resume from the last complete revision.
    pub(super) fn refuse_watch(&mut self, run: Box<WatchRun<K, V>>, what: BadInput) -> Step<K, V> {
        self.notices.push(Notice::BadInput {
            attempt: run.attempt,
            what,
        });
        self.cancel(run.attempt);
        self.full_payloads |= what == BadInput::NotHeld;
        self.stuck(&run, Condition::Failing(FailureClass::Malformed))
    }

    /// Events are missing: the revision does not advance past the gap. Resume before it, and
    /// verify (P5).
    pub(super) fn lost(&mut self, run: Box<WatchRun<K, V>>) -> Step<K, V> {
        self.want_verify_after_loss();
        self.cancel(run.attempt);
        self.stuck(&run, Condition::LossDetected)
    }

    /// The cache is not what the source has: nothing that the watch says can mend that.
    pub(super) fn diverged(&mut self, run: &WatchRun<K, V>) -> Step<K, V> {
        self.cancel(run.attempt);
        self.watch_over();
        self.trouble(Condition::LossDetected);
        reach!("list wanted after a digest mismatch");
        let at = self
            .last_list
            .saturating_add(self.config.timing.verify_min_interval);
        self.go(self.relist(ListReason::Verify), at, TimerReason::Verify);
        None
    }

    pub(crate) fn watch_timed_out(&mut self, run: Box<WatchRun<K, V>>, reason: TimerReason) {
        self.tell_timeout(run.attempt, reason);
        self.cancel(run.attempt);
        let changes = matches!(run.kind, WatchKind::Changes { .. });
        let owed = self.config.source.heartbeat.is_some() || run.lags_since.is_some();
        if reason == TimerReason::Silence && changes && owed && !run.spoke {
            // It promised to speak and never said a word, or spoke only of a time before our
            // revision: opening it again will not mend that.
            reach!("mute watch given up");
            self.well_since = None;
            self.stuck(&run, Condition::TimedOut(reason));
            return;
        }
        self.watch_over();
        self.trouble(Condition::TimedOut(reason));
        if matches!(run.kind, WatchKind::Initial(_)) && reason != TimerReason::Opening {
            // The end mark did not come: a source that does not send it can still be listed.
            reach!("fallback after a missing end mark");
            self.fall_back();
        }
        let healthy = reason == TimerReason::Silence && self.is_healthy(&run);
        reach!("silent watch given up", healthy);
        let (at, why) = self.retry_at(if healthy { Retry::Now } else { Retry::Backoff });
        self.go(self.again(&run), at, why);
    }

    pub(super) fn watch_closed(&mut self, mut run: Box<WatchRun<K, V>>) -> Step<K, V> {
        if canary!(ApplyCutBatch)
            && let WatchKind::Changes { batch } = &mut run.kind
            && let Some((revision, staging)) = batch.take()
        {
            self.apply_events(staging.changes, Some(&revision));
            self.position.complete_at(revision);
            self.publish();
        }
        reach!("batch cut by a close", run.has_open_batch());
        if self.is_healthy(&run) {
            reach!("healthy watch closed and resumed");
            self.dead_ends = 0;
            self.watch_over();
            self.go(self.again(&run), self.now, TimerReason::Paced);
            return None;
        }
        self.stuck(&run, Condition::Failing(FailureClass::Retryable))
    }

    pub(super) fn watch_failed(
        &mut self,
        run: Box<WatchRun<K, V>>,
        failure: Failure,
    ) -> Step<K, V> {
        let class = failure.class;
        self.record(run.attempt, failure);
        let condition = Condition::Failing(class);
        reach!("batch cut by a failure", run.has_open_batch());
        if let WatchKind::Initial(_) = run.kind {
            self.unconstrain(class);
        }
        match class {
            FailureClass::Gone => {
                reach!("gone inside an open watch", run.opened.is_some());
                reach!("gone when a watch opens", run.opened.is_none());
                self.watch_gone();
            }
            FailureClass::Behind | FailureClass::Malformed => return self.stuck(&run, condition),
            FailureClass::Unsupported => self.watch_unsupported(&run),
            FailureClass::Retryable if self.is_mute(&run) => return self.stuck(&run, condition),
            FailureClass::Retryable
            | FailureClass::Denied
            | FailureClass::NotFound
            | FailureClass::Unexpected => {
                self.watch_over();
                self.trouble(condition);
                let (at, why) = self.retry_at(retry_for(class));
                self.go(self.again(&run), at, why);
            }
        }
        None
    }

    /// The history needed to resume is gone: take the whole state, not older than what we have.
    /// The first time at once; a source that keeps less history than a list takes is paced.
    fn watch_gone(&mut self) {
        reach!(
            "restored, and the history is gone",
            !self.synced && self.cache.is_synced()
        );
        self.watch_over();
        self.gone_in_a_row = self.gone_in_a_row.saturating_add(1);
        let retry = if self.gone_in_a_row > 1 {
            Retry::Backoff
        } else {
            Retry::Now
        };
        if self.gone_in_a_row == self.config.policy.gone_limit {
            reach!("history too short");
            self.notices.push(Notice::HistoryTooShort);
        }
        let short = self.gone_in_a_row >= self.config.policy.gone_limit;
        self.trouble(if short {
            Condition::HistoryTooShort
        } else {
            Condition::Failing(FailureClass::Gone)
        });
        let (at, why) = self.retry_at(retry);
        let next = if canary!(IgnoreGone) {
            Intent::Watch
        } else {
            self.relist(ListReason::Gone)
        };
        self.go(next, at, why);
    }

    /// There is no such watch. An initial stream can be listed instead; without any watch the
    /// collection is still followed, slowly, by lists.
    fn watch_unsupported(&mut self, run: &WatchRun<K, V>) {
        self.watch_over();
        if let WatchKind::Initial(_) = run.kind {
            reach!("fallback from an unsupported stream");
            self.fall_back();
            self.go(self.relist(ListReason::Retry), self.now, TimerReason::Paced);
            return;
        }
        reach!("no watch at all");
        self.trouble(Condition::Failing(FailureClass::Unsupported));
        let (at, why) = self.retry_at(Retry::Slow);
        self.go(self.relist(ListReason::Retry), at, why);
    }

    fn fall_back(&mut self) {
        if self.config.source.feed == Feed::InitialStream && !self.fell_back {
            self.fell_back = true;
            self.notices.push(Notice::FellBack);
        }
    }

    /// The watch ended without a step beyond the point that it resumed from. A stale revision can
    /// be answered by an immediate close for ever: after a few of these only a list helps.
    fn stuck(&mut self, run: &WatchRun<K, V>, condition: Condition) -> Step<K, V> {
        self.watch_over();
        if !run.stepped {
            self.dead_ends = self.dead_ends.saturating_add(1);
        }
        let is_dead_end = self.dead_ends >= self.config.policy.dead_ends
            && !matches!(run.kind, WatchKind::Hints)
            && !canary!(NeverLeaveDeadEnd);
        if is_dead_end {
            reach!("dead end becomes a list");
            self.dead_ends = 0;
            if let WatchKind::Initial(_) = run.kind {
                // A stream that never gets to its end mark: the source can still be listed.
                reach!("fallback after streams that broke off");
                self.fall_back();
            }
            self.trouble(Condition::DeadEnd);
            let (at, why) = self.retry_at(Retry::Backoff);
            self.go(self.relist(ListReason::DeadEnd), at, why);
            return None;
        }
        self.trouble(condition);
        let (at, why) = self.retry_at(Retry::Backoff);
        self.go(self.again(run), at, why);
        None
    }

    /// What runs beside a watch ends with it.
    fn watch_over(&mut self) {
        let waiting = self
            .side
            .take()
            .is_some_and(|wait| wait.intent == Intent::List(ListReason::Verify));
        let running = self
            .list
            .as_ref()
            .is_some_and(|list| list.beside && list.snapshot.reason == ListReason::Verify);
        self.cancel_list();
        if waiting || running {
            reach!("watch ends under a running verify");
            self.want_verify_after_loss();
        }
    }

    /// The same thing once more.
    fn again(&self, run: &WatchRun<K, V>) -> Intent {
        match &run.kind {
            WatchKind::Changes { .. } if self.position.complete.is_some() => {
                reach!(
                    "watch resumes before a partial revision",
                    !self.position.is_whole()
                );
                Intent::Watch
            }
            WatchKind::Changes { .. } => {
                reach!("no revision to resume from");
                self.relist(ListReason::NoResume)
            }
            WatchKind::Initial(snapshot) => self.relist(snapshot.reason),
            WatchKind::Hints => Intent::Hints,
        }
    }

    /// A watch that brought something new, or has been open for a good while.
    fn is_healthy(&self, run: &WatchRun<K, V>) -> bool {
        let open = run.opened.map(|opened| self.now.saturating_since(opened));
        let long = open.is_some_and(|open| open >= self.config.timing.stable_after);
        run.stepped || (long && !self.is_mute(run))
    }

    /// A watch that has not said a word, although the source promised a heartbeat before now.
    fn is_mute(&self, run: &WatchRun<K, V>) -> bool {
        let promise = run.opened.zip(self.config.source.heartbeat);
        !run.spoke
            && matches!(run.kind, WatchKind::Changes { .. })
            && promise.is_some_and(|(opened, beat)| self.now.saturating_since(opened) >= beat)
    }
}
