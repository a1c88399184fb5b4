//! What an informer tells: to the log, and to whoever listens.

#[cfg(feature = "snapshot")]
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "snapshot")]
use reflet_core::Revision;
use reflet_core::cache::SubscriberId;
use reflet_core::{ListReason, Notice as EngineNotice, Rejection};
use tokio::sync::broadcast::{self, error::RecvError};

#[cfg(feature = "snapshot")]
use crate::snapshot::SnapshotFailure;

/// Something worth knowing about an informer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum Notice {
    /// The engine's own notices, and how many of either kind were lost.
    Engine(EngineNotice<Arc<str>>),
    /// A call to a handler panicked. The handler goes on with the next delta.
    HandlerPanicked {
        /// The handler's subscription.
        subscriber: SubscriberId,
        /// The words of the panic.
        message: Box<str>,
    },
    /// A filter panicked: what it was asked about is unknown, so its stream has ended.
    FilterPanicked {
        /// The stream's subscription.
        subscriber: SubscriberId,
        /// The words of the panic.
        message: Box<str>,
    },
    /// The snapshot could not be used: the informer starts cold.
    #[cfg(feature = "snapshot")]
    SnapshotRefused {
        /// Why.
        error: SnapshotFailure,
        /// Where the file is now, unless it could not be moved.
        kept: Option<PathBuf>,
    },
    /// A snapshot was written.
    #[cfg(feature = "snapshot")]
    SnapshotWritten {
        /// Its revision.
        revision: Option<Revision>,
        /// How many objects it has.
        objects: usize,
        /// How many bytes it has.
        bytes: u64,
    },
    /// A snapshot could not be written. The one before is still there, and the next period is the
    /// next try.
    #[cfg(feature = "snapshot")]
    SnapshotFailed {
        /// Why.
        error: SnapshotFailure,
    },
}

/// The notices of an informer from the moment of asking. Bounded: who is too slow misses some, and
/// is told how many by [`reflet_core::Notice::Lost`].
#[derive(Debug)]
pub struct Notices {
    receiver: broadcast::Receiver<Notice>,
}

impl Notices {
    pub(crate) fn new(receiver: broadcast::Receiver<Notice>) -> Self {
        Self { receiver }
    }

    /// The next notice; `None` when the informer and its driver are gone.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.receiver.recv().await {
            Ok(notice) => Some(notice),
            Err(RecvError::Lagged(missed)) => Some(Notice::Engine(EngineNotice::Lost(missed))),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Notice {
    /// Logs it: what needs a human as a warning, what ends something as an error, the rest lower.
    /// Neither objects nor the words of a decoder, which may cite them, get into a log.
    pub(crate) fn log(&self, informer: &str) {
        match self {
            Self::Engine(notice) => log_engine(notice, informer),
            Self::HandlerPanicked {
                subscriber,
                message,
            } => tracing::error!(informer, ?subscriber, %message, "a handler panicked"),
            Self::FilterPanicked {
                subscriber,
                message,
            } => tracing::error!(informer, ?subscriber, %message, "a filter panicked"),
            #[cfg(feature = "snapshot")]
            Self::SnapshotRefused { error, kept } => {
                let kept = kept
                    .as_ref()
                    .map(|kept| tracing::field::display(kept.display()));
                tracing::warn!(informer, %error, kept, "the snapshot is not used: a cold start");
            }
            #[cfg(feature = "snapshot")]
            Self::SnapshotWritten {
                revision,
                objects,
                bytes,
            } => {
                let revision = revision.as_ref().map(tracing::field::display);
                tracing::debug!(informer, revision, objects, bytes, "snapshot written");
            }
            #[cfg(feature = "snapshot")]
            Self::SnapshotFailed { error } => {
                tracing::warn!(informer, %error, "the snapshot could not be written");
            }
        }
    }
}

fn log_engine(notice: &EngineNotice<Arc<str>>, informer: &str) {
    match notice {
        EngineNotice::Lost(count) => {
            tracing::warn!(informer, count, "notices were lost");
        }
        EngineNotice::Synced { revision, objects } => {
            let revision = revision.as_ref().map(tracing::field::display);
            tracing::info!(informer, revision, objects, "synced");
        }
        EngineNotice::Restored { revision, objects } => {
            let revision = revision.as_ref().map(tracing::field::display);
            tracing::info!(informer, revision, objects, "restored from a snapshot");
        }
        EngineNotice::Live => tracing::info!(informer, "live"),
        EngineNotice::Stale { reason } => tracing::warn!(informer, ?reason, "stale"),
        EngineNotice::Failed { attempt, failure } => {
            tracing::warn!(informer, %attempt, %failure, "an attempt failed");
        }
        EngineNotice::TimedOut { attempt, reason } => {
            tracing::warn!(informer, %attempt, ?reason, "an attempt timed out");
        }
        EngineNotice::Relisted {
            reason,
            added,
            updated,
            deleted,
        } => match reason {
            // These are the everyday life of a source that is asked again and again.
            ListReason::Poll | ListReason::Hint => {
                tracing::debug!(informer, ?reason, added, updated, deleted, "listed again");
            }
            ListReason::Initial
            | ListReason::Gone
            | ListReason::DeadEnd
            | ListReason::NewEpoch
            | ListReason::Retry
            | ListReason::Verify
            | ListReason::NoResume => {
                tracing::info!(informer, ?reason, added, updated, deleted, "listed again");
            }
            #[cfg(not(feature = "simulated"))]
            _ => tracing::info!(informer, ?reason, added, updated, deleted, "listed again"),
        },
        EngineNotice::Diverged { objects } => {
            tracing::warn!(informer, objects, "the cache had diverged from the source");
        }
        EngineNotice::ObjectRejected {
            key,
            version,
            error,
        } => {
            let why = rejection(error);
            tracing::warn!(informer, %key, %version, why, "an object was rejected");
        }
        EngineNotice::ObjectRecovered { key } => {
            tracing::info!(informer, %key, "a rejected object is good again, or gone");
        }
        EngineNotice::UnknownRejected { error } => {
            let why = rejection(error);
            tracing::warn!(
                informer,
                why,
                "something without a readable key was rejected"
            );
        }
        EngineNotice::TermsCut { index, key, terms } => {
            tracing::warn!(
                informer,
                index = &**index,
                key = &**key,
                terms,
                "an object has more terms than an index takes"
            );
        }
        EngineNotice::Frozen { limit } => {
            tracing::error!(informer, ?limit, "frozen: over a limit");
        }
        EngineNotice::Thawed => tracing::info!(informer, "thawed: a list fits again"),
        EngineNotice::StaleList { got, have } => {
            tracing::warn!(informer, %got, %have, "refused a list that is older than the cache");
        }
        EngineNotice::Rewound { from, to, epoch } => {
            let from = from.as_ref().map(tracing::field::display);
            let to = to.as_ref().map(tracing::field::display);
            let epoch = epoch.as_ref().map(tracing::field::display);
            tracing::warn!(
                informer,
                from,
                to,
                epoch,
                "the source's history was rewound"
            );
        }
        EngineNotice::EpochRefused { epoch } => {
            let epoch = epoch.as_ref().map(tracing::field::display);
            tracing::error!(informer, epoch, "the source's new epoch is refused");
        }
        EngineNotice::Gap { have, expected } => {
            tracing::warn!(informer, %have, %expected, "events are missing");
        }
        EngineNotice::DigestMismatch { revision } => {
            tracing::warn!(informer, %revision, "the digests do not agree");
        }
        EngineNotice::HistoryTooShort => {
            tracing::warn!(
                informer,
                "the source's history is shorter than a list takes"
            );
        }
        EngineNotice::FellBack => {
            tracing::info!(informer, "no initial stream: the state is listed instead");
        }
        EngineNotice::BadInput { attempt, what } => {
            tracing::warn!(informer, %attempt, ?what, "an input was refused");
        }
        EngineNotice::SubscriberReset { subscriber } => {
            tracing::warn!(
                informer,
                ?subscriber,
                "a subscriber was too slow and starts afresh"
            );
        }
        EngineNotice::Stopped => tracing::info!(informer, "stopped"),
        // An engine that is newer than this driver. The simulator's build does without, so that
        // there each of them must be named above.
        #[cfg(not(feature = "simulated"))]
        _ => tracing::info!(informer, "a notice that this driver does not know"),
    }
}

fn rejection(error: &Rejection) -> &'static str {
    match error {
        Rejection::Undecodable(_) => "cannot be decoded",
        Rejection::KeyTooLong { .. } => "its key is too long",
        Rejection::VersionTooLong { .. } => "its version is too long",
        #[cfg(not(feature = "simulated"))]
        _ => "cannot be taken",
    }
}
