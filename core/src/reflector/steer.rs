//! Starting, cancelling and postponing attempts.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use core::hash::BuildHasher;
use core::time::Duration;

use crate::config::{Feed, RevisionOrder};
use crate::informer::Informer;
use crate::input::{Attempt, Failure, FailureClass};
use crate::key::Key;
use crate::output::{Command, Condition, LimitKind, ListReason, Notice, TimerReason, WatchFrom};
use crate::probe::{canary, reach};
use crate::time::Timestamp;
use crate::token::Revision;

use super::run::{Intent, ListRun, Retry, Snapshot, Wait, WatchKind, WatchRun};
use super::staging::Staging;

/// A source's own words are kept to this many bytes.
const MESSAGE_BYTES: usize = 512;

impl<K: Key, V: Clone, S: BuildHasher + Clone> Informer<K, V, S> {
    /// The main line goes on with `intent`, not before `at`.
    pub(crate) fn go(&mut self, intent: Intent, at: Timestamp, reason: TimerReason) {
        self.wait = Some(self.paced(intent, at, reason));
        self.start_due();
    }

    /// A list is taken beside the open watch, not before `at`.
    pub(crate) fn go_beside(&mut self, reason: ListReason, at: Timestamp, why: TimerReason) {
        self.side = Some(self.paced(Intent::List(reason), at, why));
        self.start_due();
    }

    fn paced(&self, intent: Intent, at: Timestamp, reason: TimerReason) -> Wait {
        let paced = self.pacer.next_at();
        if self.embargo > at.max(paced) {
            reach!(
                "embargo longer than the backoff",
                reason == TimerReason::Backoff
            );
            return Wait {
                until: self.embargo,
                reason: TimerReason::RetryAfter,
                intent,
            };
        }
        if paced > at {
            return Wait {
                until: paced,
                reason: TimerReason::Paced,
                intent,
            };
        }
        Wait {
            until: at,
            reason,
            intent,
        }
    }

    /// Starts what is due.
    pub(crate) fn start_due(&mut self) {
        if let Some(wait) = self.wait.take_if(|wait| wait.until <= self.now) {
            if self.pacer.take(self.now) {
                self.start(wait.intent);
            } else {
                self.wait = Some(self.paced(wait.intent, wait.until, wait.reason));
            }
        }
        if let Some(wait) = self.side.take_if(|wait| wait.until <= self.now) {
            match wait.intent {
                // One list at a time: this one starts when the other is over.
                _ if self.list.is_some() => {
                    reach!("hint while a list runs");
                    self.side = Some(wait);
                }
                Intent::List(reason) if self.pacer.take(self.now) => self.start_list(reason, true),
                intent => self.side = Some(self.paced(intent, wait.until, wait.reason)),
            }
        }
    }

    fn start(&mut self, intent: Intent) {
        #[cfg(feature = "tracing")]
        tracing::debug!(?intent, position = ?self.position.complete, "start");
        match intent {
            Intent::List(reason) => self.start_list(reason, false),
            Intent::Stream(reason) => {
                let from = WatchFrom::Initial {
                    at_least: self.at_least(),
                };
                let kind = WatchKind::Initial(self.new_snapshot(reason));
                self.start_watch(from, kind);
            }
            Intent::Watch if canary!(ResumeFromLastEvent) && !self.position.is_whole() => {
                self.position.complete.clone_from(&self.position.seen);
                self.start(intent);
            }
            Intent::Watch => match self.position.complete.clone() {
                Some(revision) => self.start_watch(
                    WatchFrom::Revision(revision),
                    WatchKind::Changes { batch: None },
                ),
                None => self.start_list(ListReason::NoResume, false),
            },
            Intent::Hints => self.start_watch(WatchFrom::Now, WatchKind::Hints),
        }
    }

    fn start_list(&mut self, reason: ListReason, beside: bool) {
        let attempt = self.next_attempt();
        let snapshot = self.new_snapshot(reason);
        let known = match reason {
            ListReason::Poll | ListReason::Hint => self.condition(),
            ListReason::Initial
            | ListReason::Gone
            | ListReason::DeadEnd
            | ListReason::NewEpoch
            | ListReason::Retry
            | ListReason::Verify
            | ListReason::NoResume => None,
        };
        let at_least = if known.is_some() {
            None
        } else {
            self.at_least()
        };
        let limit = self.config.limits.page_items;
        self.commands.push_back(Command::List {
            attempt,
            page: None,
            at_least: at_least.clone(),
            known: known.clone(),
            epoch: self.position.epoch.clone(),
            limit,
        });
        self.list = Some(Box::new(ListRun {
            attempt,
            snapshot,
            beside,
            at_least,
            floor: self.floor(),
            known,
            started: self.now,
            heard: None,
            in_page: false,
            pages: 0,
            token: None,
            milestone: None,
            page_due: None,
        }));
    }

    /// What a full state must not be older than (P2).
    pub(crate) fn floor(&self) -> Option<Revision> {
        let seen = self.position.seen.clone();
        seen.filter(|_| self.synced || !canary!(RestoreWithoutRevisionFloor))
    }

    /// The revision that "no change" may be said of, where that is of use.
    fn condition(&self) -> Option<Revision> {
        let useful =
            self.synced && !self.full_payloads && !self.degraded && self.quarantine.is_empty();
        self.position.complete.clone().filter(|_| useful)
    }

    fn start_watch(&mut self, from: WatchFrom, kind: WatchKind<K, V>) {
        let attempt = self.next_attempt();
        let epoch = self.position.epoch.clone();
        self.commands.push_back(Command::Watch {
            attempt,
            from: from.clone(),
            epoch,
        });
        self.watch = Some(Box::new(WatchRun {
            attempt,
            kind,
            started: self.now,
            opened: None,
            heard: self.now,
            seen: None,
            unread: false,
            stepped: false,
            confirms: false,
            spoke: false,
            lags_since: None,
        }));
    }

    fn next_attempt(&mut self) -> Attempt {
        self.attempts = self.attempts.saturating_add(1);
        Attempt::new(self.attempts, self.seed)
    }

    fn new_snapshot(&mut self, reason: ListReason) -> Box<Snapshot<K, V>> {
        self.cache.start_marking();
        self.quarantine.start_list();
        // It makes up for every loss before it; what is lost while it runs asks anew.
        self.verify_due = None;
        Box::new(Snapshot {
            reason,
            staging: Staging::new(),
            items: 0,
            bytes: 0,
            header: None,
            touched: BTreeMap::new(),
            unmarked: BTreeSet::new(),
            newest: None,
            unknown_rejected: false,
            shortcuts: !self.full_payloads,
            rewound: false,
            older: false,
        })
    }

    /// What a list must not be older than, so that the source can choose a replica that is not.
    fn at_least(&mut self) -> Option<Revision> {
        let ordered = self.config.source.order == RevisionOrder::Ordered;
        let unconstrained = core::mem::take(&mut self.unconstrained);
        if ordered && !unconstrained {
            return self.position.seen.clone();
        }
        reach!(
            "unconstrained list after behind",
            ordered && self.position.seen.is_some()
        );
        None
    }

    /// A list, or an initial stream, whatever the source offers.
    pub(crate) fn relist(&self, reason: ListReason) -> Intent {
        if self.config.source.feed == Feed::InitialStream && !self.fell_back {
            Intent::Stream(reason)
        } else {
            Intent::List(reason)
        }
    }

    /// The next step after a complete state has been taken.
    pub(crate) fn follow(&mut self) {
        let now = self.now;
        match self.config.source.feed {
            Feed::ListWatch | Feed::InitialStream if self.position.complete.is_some() => {
                self.go(Intent::Watch, now, TimerReason::Paced);
            }
            // There is nothing that a watch could resume from: take the state again and again.
            Feed::ListWatch | Feed::InitialStream => {
                let at = now.saturating_add(self.config.timing.poll_interval);
                self.go(self.relist(ListReason::NoResume), at, TimerReason::Poll);
            }
            Feed::FullState { blocking } => {
                // Only a request with a condition is held back.
                let wait = if blocking && self.condition().is_some() {
                    Duration::ZERO
                } else {
                    self.config.timing.poll_interval
                };
                self.go(
                    Intent::List(ListReason::Poll),
                    now.saturating_add(wait),
                    TimerReason::Poll,
                );
            }
            Feed::HintOnly => {
                if self.watch.is_none() {
                    self.go(Intent::Hints, now, TimerReason::Paced);
                }
            }
        }
    }

    /// When to try again, and what the wait is called.
    pub(crate) fn retry_at(&mut self, retry: Retry) -> (Timestamp, TimerReason) {
        // Afresh only after a stable period of real progress.
        let well = self.well_since.take();
        let stable = self.config.timing.stable_after;
        if well.is_some_and(|since| self.now.saturating_since(since) >= stable) {
            self.backoff.reset();
        }
        match retry {
            Retry::Now => (self.now, TimerReason::Paced),
            Retry::Backoff => (
                self.now.saturating_add(self.backoff.fail()),
                TimerReason::Backoff,
            ),
            Retry::Slow => (
                self.now.saturating_add(self.config.timing.slow_retry),
                TimerReason::SlowRetry,
            ),
        }
    }

    /// Remembers a failure, and the wait that the source asked for: nothing at all is started
    /// before that is over (P7).
    pub(crate) fn record(&mut self, attempt: Attempt, mut failure: Failure) {
        truncate(&mut failure);
        if let Some(wait) = failure.retry_after.filter(|_| !canary!(IgnoreRetryAfter)) {
            reach!(
                "retry-after capped",
                wait > self.config.timing.max_retry_after
            );
            let wait = wait.min(self.config.timing.max_retry_after);
            self.embargo = self.embargo.max(self.now.saturating_add(wait));
        }
        self.last_error = Some((self.now, failure.clone()));
        self.notices.push(Notice::Failed { attempt, failure });
    }

    /// Ends an attempt from our side.
    pub(crate) fn cancel(&mut self, attempt: Attempt) {
        #[cfg(feature = "tracing")]
        tracing::debug!(%attempt, "cancel");
        // What the driver has not seen yet need not be cancelled.
        if self.withdraw(attempt) {
            reach!("command withdrawn before it was polled");
        } else {
            self.commands.push_back(Command::Cancel { attempt });
        }
    }

    /// Takes back what the driver has not polled of an attempt's commands. True: it has not seen
    /// anything of it.
    pub(crate) fn withdraw(&mut self, attempt: Attempt) -> bool {
        let mut unseen = false;
        self.commands.retain(|command| match command {
            Command::List {
                attempt: queued,
                page,
                ..
            } => {
                unseen |= *queued == attempt && page.is_none();
                *queued != attempt
            }
            Command::Watch {
                attempt: queued, ..
            } => {
                unseen |= *queued == attempt;
                *queued != attempt
            }
            Command::Cancel { .. } => true,
        });
        unseen
    }

    pub(crate) fn cancel_list(&mut self) {
        if let Some(run) = self.list.take() {
            self.cancel(run.attempt);
        }
    }

    pub(crate) fn cancel_watch(&mut self) {
        if let Some(run) = self.watch.take() {
            self.cancel(run.attempt);
        }
    }

    /// Drops everything that is under way or waits, so that the main line can start over.
    pub(crate) fn clear_line(&mut self) {
        self.cancel_list();
        self.cancel_watch();
        self.wait = None;
        self.side = None;
    }

    /// The collection is over a limit: keep what is good, take nothing, try a list now and then.
    pub(crate) fn freeze(&mut self, limit: LimitKind) {
        self.clear_line();
        if self.frozen {
            reach!("frozen, and the next list does not fit either");
        } else {
            reach!("frozen");
            self.frozen = true;
            self.notices.push(Notice::Frozen { limit });
        }
        self.trouble(Condition::Frozen(limit));
        let (at, reason) = self.retry_at(Retry::Slow);
        self.go(self.relist(ListReason::Retry), at, reason);
    }

    /// Asks for a verifying list, at the earliest at `at`.
    pub(crate) fn want_verify(&mut self, at: Timestamp) {
        self.verify_due = Some(self.verify_due.map_or(at, |due| due.min(at)));
    }

    /// Asks for the verifying list that follows a detected loss (P5).
    pub(crate) fn want_verify_after_loss(&mut self) {
        if canary!(NoVerifyAfterLoss) {
            return;
        }
        let earliest = self
            .last_list
            .saturating_add(self.config.timing.verify_min_interval);
        self.want_verify(earliest.max(self.now));
    }

    pub(crate) fn report_lapsed(&mut self) {
        while let Some(subscriber) = self.cache.take_lapsed() {
            reach!("subscriber reset over its limit");
            self.notices.push(Notice::SubscriberReset { subscriber });
        }
    }
}

/// The retry that a class of failure calls for.
pub(crate) fn retry_for(class: FailureClass) -> Retry {
    match class {
        FailureClass::Retryable
        | FailureClass::Gone
        | FailureClass::Behind
        | FailureClass::Malformed => Retry::Backoff,
        FailureClass::Denied
        | FailureClass::Unsupported
        | FailureClass::NotFound
        | FailureClass::Unexpected => Retry::Slow,
    }
}

fn truncate(failure: &mut Failure) {
    if failure.message.len() > MESSAGE_BYTES {
        let end = failure.message.floor_char_boundary(MESSAGE_BYTES);
        failure.message = failure.message.get(..end).unwrap_or_default().into();
    }
}
