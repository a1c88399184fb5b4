//! The state of health: what the informer is doing, since when, and why it is not doing better.

use alloc::vec::Vec;
use core::hash::BuildHasher;

use crate::config::Feed;
use crate::informer::Informer;
use crate::key::Key;
use crate::output::{Condition, Health, Notice, State, SubscriberHealth};
use crate::time::Timestamp;

/// What the informer is doing, and since when.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(super) state: State,
    since: Timestamp,
    pub(super) reason: Option<Condition>,
}

impl Status {
    pub(crate) const fn state(&self) -> State {
        self.state
    }

    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            state: State::Syncing,
            since: now,
            reason: Some(Condition::Starting),
        }
    }

    #[cfg(feature = "snapshot")]
    pub(crate) fn restored(now: Timestamp) -> Self {
        Self {
            state: State::Stale,
            since: now,
            reason: Some(Condition::Restored),
        }
    }
}

impl<K: Key, V: Clone, S: BuildHasher + Clone> Informer<K, V, S> {
    /// Something is not as it should be: what is in the cache is the last known good state.
    pub(crate) fn trouble(&mut self, reason: Condition) {
        let state = if self.cache.is_synced() {
            State::Stale
        } else {
            State::Syncing
        };
        let changed = self.status.state != state || self.status.reason.as_ref() != Some(&reason);
        if state == State::Stale && changed {
            self.notices.push(Notice::Stale {
                reason: reason.clone(),
            });
        }
        self.enter(state);
        self.status.reason = Some(reason);
    }

    /// The cache follows the source.
    pub(crate) fn calm(&mut self) {
        if !self.synced {
            return;
        }
        if self.status.state == State::Stale {
            self.notices.push(Notice::Live);
        }
        self.enter(State::Live);
        self.status.reason = None;
    }

    pub(crate) fn enter(&mut self, state: State) {
        if self.status.state != state {
            self.status.state = state;
            self.status.since = self.now;
        }
    }

    pub(crate) fn report(&self) -> Health<K> {
        let subscribers: Vec<_> = self
            .cache
            .subscriber_ids()
            .filter_map(|id| {
                let (lag, retained_bytes) = self.cache.lag(id)?;
                Some(SubscriberHealth {
                    id,
                    lag,
                    retained_bytes,
                })
            })
            .collect();
        let short = self.gone_in_a_row >= self.config.policy.gone_limit;
        Health {
            state: self.status.state,
            since: self.status.since,
            reason: self
                .status
                .reason
                .clone()
                .or(short.then_some(Condition::HistoryTooShort)),
            next_attempt: self
                .wait
                .iter()
                .chain(self.side.iter())
                .map(|wait| wait.until)
                .min(),
            deadline: self.next_deadline(),
            last_error: self.last_error.clone(),
            revision: self.position.seen.clone(),
            complete: self.is_one_state(),
            epoch: self.position.epoch.clone(),
            objects: self.cache.len(),
            quarantined: self.quarantine.report(),
            quarantined_count: self.quarantine.count(),
            degraded: self.degraded,
            unverified: self.is_unverified(),
            subscribers,
            retained_bytes: self.cache.retained_bytes(),
        }
    }

    /// Whether a silent loss would go unnoticed for ever (P5).
    fn is_unverified(&self) -> bool {
        let source = &self.config.source;
        let whole = matches!(source.feed, Feed::FullState { .. });
        !(source.predecessors
            || source.digests
            || whole
            || self.config.timing.verify_period.is_some())
    }
}
