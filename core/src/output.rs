//! What comes out: commands for the driver, deadlines, notices, and the state of health.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::cache::SubscriberId;
use crate::input::{Attempt, Failure, FailureClass};
use crate::time::Timestamp;
use crate::token::{Epoch, Revision, Version};

/// What the driver is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Fetch one page. The pages of a list are asked for one by one, all in the same attempt.
    List {
        /// The attempt that the answer belongs to.
        attempt: Attempt,
        /// The token of the page to go on with; `None`: the first page.
        page: Option<Box<str>>,
        /// Ask for a state not older than this (Kubernetes: `resourceVersionMatch=NotOlderThan`).
        at_least: Option<Revision>,
        /// A full-state source: answer `Unmodified` if the revision is still this one
        /// (If-None-Match, a blocking query's index).
        known: Option<Revision>,
        /// The epoch that `at_least` and `known` belong to, where the source has epochs: in any
        /// other epoch they mean nothing.
        epoch: Option<Epoch>,
        /// How many items the page should have.
        limit: u32,
    },
    /// Open a watch.
    Watch {
        /// The attempt that the events belong to.
        attempt: Attempt,
        /// Where to start.
        from: WatchFrom,
        /// The epoch that the start belongs to, where the source has epochs.
        epoch: Option<Epoch>,
    },
    /// End an attempt: drop its connection. Nothing that still comes of it is heard.
    Cancel {
        /// The attempt.
        attempt: Attempt,
    },
}

/// Where a watch starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchFrom {
    /// After this revision.
    Revision(Revision),
    /// With the whole state, then an end mark, then the changes after it.
    Initial {
        /// The state must not be older than this.
        at_least: Option<Revision>,
    },
    /// Now: the stream only carries hints.
    Now,
}

/// When the engine wants to be woken, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub struct Deadline {
    /// Call `handle_timeout` at this time.
    pub at: Timestamp,
    /// What is waited for.
    pub reason: TimerReason,
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum TimerReason {
    /// The next attempt, after a failure.
    Backoff,
    /// The next attempt, when the source said to come back.
    RetryAfter,
    /// The next attempt, after an answer that only a human can change.
    SlowRetry,
    /// The next attempt or page, held back so that the source is not hammered.
    Paced,
    /// The next request of a full-state source.
    Poll,
    /// The open watch's or the list's first word.
    Opening,
    /// The next word of a list.
    PageSilence,
    /// The end of the whole list, or of the whole initial stream.
    ListDeadline,
    /// The next word of a watch.
    Silence,
    /// The next verifying list.
    Verify,
    /// Memory to give back that no subscriber needs any more.
    Reclaim,
    /// A subscriber's next redelivery.
    Redeliver,
}

/// Why a list was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum ListReason {
    /// The first one.
    Initial,
    /// The history needed to resume was gone.
    Gone,
    /// The watch could not get beyond one revision.
    DeadEnd,
    /// The source's epoch changed.
    NewEpoch,
    /// The list before this one was cut off, torn, stale or over a limit.
    Retry,
    /// A full-state source is asked again.
    Poll,
    /// A hint said that something changed.
    Hint,
    /// To find divergence: the period, a detected loss, or a caller.
    Verify,
    /// There is no revision that a watch could resume from.
    NoResume,
}

/// What the informer is doing, seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It was stopped; nothing will happen.
    Stopped,
    /// No complete state has been seen in this run, and none was restored.
    Syncing,
    /// The cache follows the source.
    Live,
    /// The cache is the last known good state: the source does not answer well, or has not
    /// confirmed yet what was restored.
    Stale,
}

/// The condition that keeps an informer from being live and whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum Condition {
    /// The first list is under way.
    Starting,
    /// The cache comes from a snapshot of an earlier run, which the source has not confirmed yet.
    Restored,
    /// The last attempt failed.
    Failing(FailureClass),
    /// Something did not come in time.
    TimedOut(TimerReason),
    /// The source has a new epoch, and the policy refuses it.
    NewEpochRefused,
    /// The source's lists are older than what we have: a lagging replica, or a rewind that the
    /// policy does not accept (yet).
    OlderThanCache,
    /// A limit was exceeded; the collection is frozen.
    Frozen(LimitKind),
    /// The source keeps too little history: a watch is gone before it delivers anything.
    HistoryTooShort,
    /// Events were lost; a verifying list will follow.
    LossDetected,
    /// The source cannot be followed beyond one revision.
    DeadEnd,
}

/// Which limit was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum LimitKind {
    /// [`Limits::objects`](crate::Limits::objects).
    Objects,
    /// [`Limits::bytes`](crate::Limits::bytes).
    Bytes,
    /// [`Limits::staged_bytes`](crate::Limits::staged_bytes).
    StagedBytes,
    /// [`Limits::pages`](crate::Limits::pages).
    Pages,
}

/// Something worth knowing, for logs, metrics and tests. Bounded: if nobody polls, the oldest are
/// dropped and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum Notice<K> {
    /// So many notices were dropped because nobody polled them.
    Lost(u64),
    /// The first complete state of this run is in the cache.
    Synced {
        /// Its revision.
        revision: Option<Revision>,
        /// How many objects it has.
        objects: usize,
    },
    /// The cache was filled from a snapshot of an earlier run.
    Restored {
        /// The snapshot's revision.
        revision: Option<Revision>,
        /// How many objects it had.
        objects: usize,
    },
    /// The cache follows the source again.
    Live,
    /// The cache is the last known good state.
    Stale {
        /// Why.
        reason: Condition,
    },
    /// An attempt failed.
    Failed {
        /// The attempt.
        attempt: Attempt,
        /// How and why.
        failure: Failure,
    },
    /// Something did not come in time, and the attempt was given up.
    TimedOut {
        /// The attempt.
        attempt: Attempt,
        /// What did not come.
        reason: TimerReason,
    },
    /// A list after the first one is in the cache.
    Relisted {
        /// Why it was taken.
        reason: ListReason,
        /// Objects that were new, of which subscribers are told.
        added: usize,
        /// Objects that had changed.
        updated: usize,
        /// Objects that were no longer there: their deletes are inferred.
        deleted: usize,
    },
    /// A verify found a difference that no event accounts for.
    Diverged {
        /// How many objects differed.
        objects: usize,
    },
    /// An object was rejected; its last good version, if any, stays in force.
    ObjectRejected {
        /// Its key.
        key: K,
        /// The version that was rejected.
        version: Version,
        /// What was wrong.
        error: Rejection,
    },
    /// A rejected object is good again, or gone.
    ObjectRecovered {
        /// Its key.
        key: K,
    },
    /// An item or event was rejected, and its key is not known.
    UnknownRejected {
        /// What was wrong.
        error: Rejection,
    },
    /// An object has more terms in an index than [`Limits::index_terms`](crate::Limits::index_terms):
    /// it is found under the first ones only, until it comes with fewer.
    TermsCut {
        /// The index's name.
        index: Arc<str>,
        /// The object's key.
        key: K,
        /// How many terms the index's function said.
        terms: usize,
    },
    /// A limit was exceeded; nothing is applied until a list fits.
    Frozen {
        /// Which one.
        limit: LimitKind,
    },
    /// A list fits again.
    Thawed,
    /// A list was older than what we have, and was refused.
    StaleList {
        /// The list's revision.
        got: Revision,
        /// Ours.
        have: Revision,
    },
    /// The source's history is not a continuation of what we know, and was accepted.
    Rewound {
        /// Our revision before.
        from: Option<Revision>,
        /// Its revision.
        to: Option<Revision>,
        /// The source's new epoch, where it has one.
        epoch: Option<Epoch>,
    },
    /// The source's epoch changed, and the policy refuses it.
    EpochRefused {
        /// The refused epoch.
        epoch: Option<Epoch>,
    },
    /// Events are missing between two revisions.
    Gap {
        /// The last revision that is complete here.
        have: Revision,
        /// The predecessor that the next event names.
        expected: Revision,
    },
    /// The digest of the source is not the digest of the cache.
    DigestMismatch {
        /// The revision that it was compared at.
        revision: Revision,
    },
    /// The history that the source keeps is shorter than a list takes.
    HistoryTooShort,
    /// The source does not stream its initial state; it is listed instead.
    FellBack,
    /// An input that the protocol does not allow at this point, or at all.
    BadInput {
        /// The attempt.
        attempt: Attempt,
        /// What was wrong with it.
        what: BadInput,
    },
    /// A subscriber held back more than the limit: it gets a reset, then everything afresh.
    SubscriberReset {
        /// The subscriber.
        subscriber: SubscriberId,
    },
    /// The informer was stopped.
    Stopped,
}

/// Why an object was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum Rejection {
    /// The payload could not be decoded: the decoder's words, kept to their first 512 bytes.
    Undecodable(Box<str>),
    /// The key is longer than the limit.
    KeyTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The version is longer than the limit.
    VersionTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecodable(words) => write!(f, "cannot be decoded: {words}"),
            Self::KeyTooLong { bytes } => {
                write!(f, "its key has {bytes} bytes, which is over the limit")
            }
            Self::VersionTooLong { bytes } => {
                write!(f, "its version has {bytes} bytes, which is over the limit")
            }
        }
    }
}

/// What is wrong with an input that had to be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum BadInput {
    /// It does not belong there: an item outside a page, an event on a list.
    OutOfPlace,
    /// An ordered source gave no revision where it must.
    NoRevision,
    /// An ordered source gave a revision that is no decimal number.
    RevisionNotDecimal,
    /// A revision, epoch or page token is longer than the limit.
    TokenTooLong,
    /// A page belongs to another revision or epoch than the first page of its list.
    TornList,
    /// A page token came twice.
    RepeatedPageToken,
    /// *Unchanged* was said of something that the cache does not hold.
    NotHeld,
    /// An event's revision is below one that the same watch has already completed.
    RevisionWentBack,
    /// A batch end does not close the batch that is open.
    WrongBatchEnd,
}

/// The answer to "why is it doing nothing?".
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub struct Health<K> {
    /// What the informer is doing.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// What keeps it from being live, or from being whole while it is live.
    pub reason: Option<Condition>,
    /// When the next attempt starts, if one is waiting to start.
    pub next_attempt: Option<Timestamp>,
    /// The next deadline, and what it is for.
    pub deadline: Option<Deadline>,
    /// The last failure, in the source's words, or what did not come in time, in ours; and when.
    /// Kept after recovery.
    pub last_error: Option<(Timestamp, Failure)>,
    /// The newest revision that the cache shows.
    pub revision: Option<Revision>,
    /// Whether the cache shows all of that revision.
    pub complete: bool,
    /// The source's epoch, where it has one.
    pub epoch: Option<Epoch>,
    /// How many objects the cache holds.
    pub objects: usize,
    /// The objects whose newest version was rejected, with the reason; at most
    /// [`Limits::quarantined`](crate::Limits::quarantined) of them, in the order of their keys.
    pub quarantined: Vec<(K, Rejection)>,
    /// How many objects are quarantined.
    pub quarantined_count: usize,
    /// Something with an unknown key was rejected: deletes can no longer be inferred.
    pub degraded: bool,
    /// The source gives no way to find a silent loss, and no verify period is set.
    pub unverified: bool,
    /// How far behind each subscriber is.
    pub subscribers: Vec<SubscriberHealth>,
    /// Bytes that are kept only because some subscriber has not moved on.
    pub retained_bytes: usize,
}

/// How far behind one subscriber is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub struct SubscriberHealth {
    /// The subscriber.
    pub id: SubscriberId,
    /// Changes that happened since it last caught up; at the tail, zero.
    pub lag: u64,
    /// Bytes that are charged to it.
    pub retained_bytes: usize,
}
