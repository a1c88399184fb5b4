//! What the engine must know about its source, and how patient, how large and how strict to be.

use core::time::Duration;

/// An informer's configuration. `Config::default()` suits a source of our own protocol.
///
/// It and its parts are plain data. Fields will be added, with defaults that change nothing, and that
/// counts as no break: so end a literal with `..Default::default()`, or set fields one by one.
///
/// ```
/// use reflet_core::{Config, Limits};
///
/// let limits = Limits { objects: 10_000, ..Limits::default() };
/// let config = Config { limits, ..Config::default() };
/// # let _ = config;
/// ```
///
/// Values that make no sense (a burst of zero, a minimum above its maximum) are raised to the
/// nearest one that does; nothing here panics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Config {
    /// What the source can do and what it promises.
    pub source: SourceProfile,
    /// How long to wait for what.
    pub timing: Timing,
    /// How much to take in.
    pub limits: Limits,
    /// What to do where there is a choice.
    pub policy: Policy,
}

/// How a source hands over its collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Feed {
    /// A list (paged or not), then a watch from the list's revision.
    #[default]
    ListWatch,
    /// The initial state is streamed inside the watch and closed by an explicit end mark. Falls
    /// back to [`Feed::ListWatch`] where that is unsupported or the mark does not come.
    InitialStream,
    /// Each answer is the full state: a blocking query, or a conditional request on a period.
    FullState {
        /// The source itself holds the request back until something changed (Consul's `wait`), so
        /// the next one is sent at once. Else one is sent every [`Timing::poll_interval`].
        blocking: bool,
    },
    /// A stream of hints that something changed; each one schedules a list.
    HintOnly,
}

/// How far one complete answer is the state at one revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Class {
    /// All pages of a list are the state at one revision, and the watch is complete after it.
    #[default]
    Pinned,
    /// One answer is the whole state.
    Whole,
    /// Pages that are not pinned to a revision, or an unordered initial stream. What was listed is
    /// flagged *partial* until the watch has passed the newest revision that was seen in it; always,
    /// where there is no watch of changes.
    Fuzzy,
}

/// Whether a source's revisions can be ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum RevisionOrder {
    /// Decimals that ordinary operations never lower (Kubernetes since 1.35, etcd, our protocol).
    #[default]
    Ordered,
    /// Only equality means something (Consul's index, ETags, hashes).
    Opaque,
}

/// What a source can do and what it promises.
///
/// By default it promises nothing beyond a pinned list and ordered revisions. A promise that is not
/// kept breaks those of the informer; one that is not made costs at most a list. Fields will be added:
/// end a literal with `..SourceProfile::default()`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SourceProfile {
    /// How it hands over its collection.
    pub feed: Feed,
    /// How far one answer is one state.
    pub class: Class,
    /// Whether revisions have an order.
    pub order: RevisionOrder,
    /// The watch says where each transaction ends, so that transactions show whole or not at all.
    pub batch_ends: bool,
    /// Each watch event names its predecessor's revision, so that a gap is found at once.
    pub predecessors: bool,
    /// Progress carries a [`Digest`](crate::Digest) of the whole collection.
    pub digests: bool,
    /// An object's versions are decimals that grow with each change of the object.
    pub versions_ordered: bool,
    /// Watch events, deletes included, carry the revision that committed them, and an object's
    /// version is the revision that committed it, so that a list can run beside the watch to
    /// verify it.
    pub commit_revisions: bool,
    /// The longest quiet that the source promises on a healthy watch. The silence limit is three
    /// times this, unless [`Timing::silence`] is set.
    pub heartbeat: Option<Duration>,
    /// How far a replica of the source may lag behind. A rewind that is accepted without an epoch
    /// must have shown itself for longer than this.
    pub replica_lag: Duration,
    /// Each list, or initial stream, shows at least what was in the source when it was asked for:
    /// nothing that was cached before, and no replica that lags. What a
    /// [`fence`](crate::Informer::fence) relies on.
    pub fresh_lists: bool,
}

impl Default for SourceProfile {
    fn default() -> Self {
        Self {
            feed: Feed::default(),
            class: Class::default(),
            order: RevisionOrder::default(),
            batch_ends: false,
            predecessors: false,
            digests: false,
            versions_ordered: false,
            commit_revisions: false,
            heartbeat: None,
            replica_lag: Duration::from_secs(30),
            fresh_lists: false,
        }
    }
}

/// How long to wait for what. Fields will be added: see [`Config`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Timing {
    /// The longest time for a watch to open, and for the first word of a list.
    pub open_timeout: Duration,
    /// The longest silence within a list, or before a full-state answer where the source blocks.
    pub page_timeout: Duration,
    /// The longest time for a whole list, or for a whole initial stream.
    pub list_deadline: Duration,
    /// The longest silence of an open watch; `None`: three times the source's heartbeat, or ten
    /// minutes where it declares none.
    pub silence: Option<Duration>,
    /// How many attempts may start in a row.
    pub burst: u32,
    /// The average time between attempts beyond the burst.
    pub min_interval: Duration,
    /// How many further pages of lists may be asked for in a row.
    pub page_burst: u32,
    /// The average time between further pages beyond that; zero: as fast as they come.
    pub page_interval: Duration,
    /// The first backoff's upper end; the wait is drawn evenly from zero to the upper end.
    pub backoff_min: Duration,
    /// The upper end that doubling stops at.
    pub backoff_max: Duration,
    /// The wait after an answer that only a human can change: denied, not found, over a limit, an
    /// epoch that the policy refuses.
    pub slow_retry: Duration,
    /// The longest retry-after of a source that is obeyed.
    pub max_retry_after: Duration,
    /// How long a watch must make real progress before the backoff starts afresh.
    pub stable_after: Duration,
    /// The period of a full-state source that does not block.
    pub poll_interval: Duration,
    /// The period of verifying lists; `None`: only when a loss was seen.
    pub verify_period: Option<Duration>,
    /// The least time between two verifying lists that a seen loss asks for.
    pub verify_min_interval: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            open_timeout: Duration::from_secs(10),
            page_timeout: Duration::from_secs(30),
            list_deadline: Duration::from_secs(300),
            silence: None,
            burst: 5,
            min_interval: Duration::from_secs(1),
            page_burst: 200,
            page_interval: Duration::from_millis(2),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(30),
            slow_retry: Duration::from_secs(30),
            max_retry_after: Duration::from_secs(300),
            stable_after: Duration::from_secs(10),
            poll_interval: Duration::from_secs(10),
            verify_period: None,
            verify_min_interval: Duration::from_secs(30),
        }
    }
}

/// How much to take in. Over a limit the collection freezes: nothing is applied, what was good
/// stays, and lists are retried until one fits. Fields will be added: see [`Config`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Limits {
    /// The most objects.
    pub objects: usize,
    /// The most bytes of all objects together: keys, and sizes on the wire.
    pub bytes: usize,
    /// The most bytes that a list may stage before it commits, or a batch before it ends.
    pub staged_bytes: usize,
    /// The longest key, in bytes; an object with a longer one is rejected.
    pub key_bytes: usize,
    /// The longest revision, version, epoch or page token, in bytes.
    pub token_bytes: usize,
    /// The most pages of one list.
    pub pages: u32,
    /// How many items to ask for in one page.
    pub page_items: u32,
    /// The most terms of one object in one index; of an object with more the first ones count
    /// ([`Notice::TermsCut`](crate::Notice::TermsCut)).
    pub index_terms: usize,
    /// The most bytes that one subscriber holds back; beyond that it is reset.
    pub retained_bytes: usize,
    /// The most notices that wait to be polled; beyond that the oldest are counted as lost.
    pub notices: usize,
    /// The most quarantined keys that [`Health`](crate::Health) names; the rest is counted.
    pub quarantined: usize,
    /// How many deletes to remember of a source whose changes may arrive out of order
    /// ([`SourceProfile::versions_ordered`] without ordered revisions), so that an older update
    /// cannot bring a deleted object back.
    pub graves: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            objects: 16_000_000,
            bytes: 8 << 30,
            staged_bytes: 2 << 30,
            key_bytes: 4 << 10,
            token_bytes: 1 << 10,
            pages: 100_000,
            page_items: 500,
            index_terms: 100_000,
            retained_bytes: 64 << 20,
            notices: 256,
            quarantined: 1_000,
            graves: 10_000,
        }
    }
}

/// What to do where there is a choice. Fields will be added: see [`Config`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Policy {
    /// A source whose epoch changed.
    pub new_epoch: OnNewEpoch,
    /// An ordered source without epochs whose lists are older than what we have.
    pub rewind: OnRewind,
    /// Watches that ended without a step beyond their resume point (closed, *behind*, mute,
    /// malformed), with no healthy one between, before a list is taken instead.
    pub dead_ends: u32,
    /// *Gone* answers in a row before a watch delivered anything, before
    /// [`Condition::HistoryTooShort`](crate::Condition::HistoryTooShort) is reported.
    pub gone_limit: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            new_epoch: OnNewEpoch::default(),
            rewind: OnRewind::default(),
            dead_ends: 3,
            gone_limit: 3,
        }
    }
}

/// What to do when the source's epoch changed: its history is not a continuation of what we know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum OnNewEpoch {
    /// Take the new state, whatever it is, an empty one too.
    #[default]
    Accept,
    /// Keep the last known good state and say so, until the old epoch is back.
    Refuse,
}

/// What to do when an ordered source without epochs answers with lists older than what we have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum OnRewind {
    /// Take it for a lagging replica, for ever. Only a verify of the content overrides this, where
    /// it finds objects in older versions in a list that is not older: whoever asks for the content
    /// wants what is there.
    #[default]
    Refuse,
    /// Take it for a restored backup after that many complete lists below our revision in a row,
    /// none decreasing, spread over a span longer than this and the source's replica lag.
    ///
    /// A heuristic: a restored source that has overtaken our revision looks like any other, and
    /// only a verify of the content finds it.
    AcceptAfter {
        /// How many lists.
        lists: u32,
        /// Over at least how long.
        span: Duration,
    },
}

impl Config {
    /// This configuration with values that make no sense raised to the nearest that does.
    #[must_use]
    pub(crate) fn sanitized(mut self) -> Self {
        let tick = Duration::from_millis(1);
        let timing = &mut self.timing;
        timing.burst = timing.burst.max(1);
        for wait in [
            &mut timing.min_interval,
            &mut timing.backoff_min,
            &mut timing.open_timeout,
            &mut timing.page_timeout,
            &mut timing.list_deadline,
            &mut timing.slow_retry,
            &mut timing.poll_interval,
            &mut timing.verify_min_interval,
        ] {
            *wait = (*wait).max(tick);
        }
        timing.backoff_max = timing.backoff_max.max(timing.backoff_min);
        timing.silence = timing.silence.map(|silence| silence.max(tick));
        timing.verify_period = timing
            .verify_period
            .map(|period| period.max(timing.verify_min_interval));
        self.limits.pages = self.limits.pages.max(1);
        self.limits.page_items = self.limits.page_items.max(1);
        self.limits.notices = self.limits.notices.max(1);
        self.policy.dead_ends = self.policy.dead_ends.max(1);
        self.policy.gone_limit = self.policy.gone_limit.max(1);
        self
    }

    /// The longest silence of an open watch.
    #[must_use]
    pub fn silence_limit(&self) -> Duration {
        const WITHOUT_HEARTBEAT: Duration = Duration::from_secs(600);
        let derived = self
            .source
            .heartbeat
            .map_or(WITHOUT_HEARTBEAT, |beat| beat.saturating_mul(3));
        self.timing
            .silence
            .unwrap_or(derived)
            .max(Duration::from_millis(1))
    }

    /// P1's bound: from a quiet source that answers truthfully and at once, to a cache that
    /// equals it, whatever happened before.
    ///
    /// The worst case is an attempt that just went silent (so its limit must pass), a backoff at
    /// its upper end or the source's retry-after, as many dead ends as the policy allows, each for as
    /// long as a replica may lag, as many older lists as are taken for a rewind, and then two more:
    /// one that turns out to be refused as stale, torn or short of payloads, and one that commits.
    /// Where losses cannot be seen, add the period of polls or verifies.
    #[must_use]
    pub fn convergence_bound(&self) -> Duration {
        let timing = &self.timing;
        let in_flight = self.silence_limit().max(timing.list_deadline);
        let retry = timing
            .backoff_max
            .max(timing.slow_retry)
            .max(timing.min_interval);
        let lag = self.source.replica_lag;
        let attempt = retry.saturating_add(timing.open_timeout.max(lag));
        let (older, span) = match self.policy.rewind {
            OnRewind::AcceptAfter { lists, span } => (lists, span.max(lag)),
            OnRewind::Refuse => (0, Duration::ZERO),
        };
        let attempts = self
            .policy
            .dead_ends
            .saturating_add(self.policy.gone_limit)
            .saturating_add(older)
            .saturating_add(3);
        in_flight
            .saturating_add(timing.max_retry_after)
            .saturating_add(attempt.saturating_mul(attempts))
            .saturating_add(timing.list_deadline.saturating_mul(2))
            .saturating_add(timing.verify_min_interval)
            .saturating_add(span)
    }

    /// P6's bound: from any state to the start of a new attempt, with timeouts as the only input.
    #[must_use]
    pub fn next_attempt_bound(&self) -> Duration {
        let timing = &self.timing;
        let in_flight = self
            .silence_limit()
            .max(timing.list_deadline)
            .max(timing.open_timeout);
        let retry = timing
            .backoff_max
            .max(timing.slow_retry)
            .max(timing.poll_interval)
            .max(timing.min_interval);
        in_flight.saturating_add(
            retry
                .max(timing.max_retry_after)
                .max(timing.verify_min_interval),
        )
    }
}
