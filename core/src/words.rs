//! What is told, in words for a human: short, to stand after a colon or in a row of a status page.

use core::fmt;

use crate::cache::GapReason;
use crate::input::Failure;
use crate::output::{BadInput, Condition, LimitKind, ListReason, Rejection, State, TimerReason};

impl core::error::Error for Failure {}

impl core::error::Error for Rejection {}

impl core::error::Error for BadInput {}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::Syncing => "syncing",
            Self::Live => "live",
            Self::Stale => "stale",
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("the first list is under way"),
            Self::Restored => {
                f.write_str("the source has not confirmed yet what the snapshot held")
            }
            Self::Failing(class) => write!(f, "the last attempt failed: {class}"),
            Self::TimedOut(reason) => write!(f, "not in time: {reason}"),
            Self::NewEpochRefused => f.write_str(
                "the source has a new epoch, which the policy refuses: accept it, or bring the \
                 old one back",
            ),
            Self::OlderThanCache => f.write_str(
                "the source's lists are older than the cache: a replica that lags, or a rewind \
                 that the policy does not accept",
            ),
            Self::Frozen(limit) => write!(
                f,
                "frozen, over the limit of {limit}: raise it, or make the collection smaller"
            ),
            Self::HistoryTooShort => {
                f.write_str("the source keeps its history for less time than a list takes")
            }
            Self::LossDetected => f.write_str("events were lost; a verifying list follows"),
            Self::DeadEnd => {
                f.write_str("the source cannot be followed beyond one revision; a list follows")
            }
        }
    }
}

impl fmt::Display for TimerReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backoff => "the next attempt after a failure",
            Self::RetryAfter => "the time that the source asked for",
            Self::SlowRetry => "the next attempt after an answer that only a human can change",
            Self::Paced => "the pace of attempts",
            Self::Poll => "the next poll",
            Self::Opening => "the first word of a watch or a list",
            Self::PageSilence => "the next word of a list",
            Self::ListDeadline => "the end of a list",
            Self::Silence => "the next word of a watch",
            Self::Verify => "the next verifying list",
            Self::Reclaim => "memory to give back",
            Self::Redeliver => "the next redelivery",
        })
    }
}

impl fmt::Display for ListReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initial => "the first list",
            Self::Gone => "the history needed to resume was gone",
            Self::DeadEnd => "the watch could not get beyond one revision",
            Self::NewEpoch => "the source's epoch changed",
            Self::Retry => "the list before could not be used",
            Self::Poll => "polled",
            Self::Hint => "a hint that something changed",
            Self::Verify => "verified",
            Self::NoResume => "no revision to watch from",
        })
    }
}

impl fmt::Display for LimitKind {
    /// The name of the limit's field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Objects => "objects",
            Self::Bytes => "bytes",
            Self::StagedBytes => "staged_bytes",
            Self::Pages => "pages",
        })
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overflow => "more waited for the subscriber than its bound allows",
            Self::Listed => "a list was taken, which does not say what came and went",
        })
    }
}

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfPlace => "it does not belong there",
            Self::NoRevision => "an ordered source must give a revision here",
            Self::RevisionNotDecimal => "the revision of an ordered source is no decimal number",
            Self::TokenTooLong => {
                "a revision, epoch or page token is longer than the limit of token_bytes"
            }
            Self::TornList => "a page is of another revision or epoch than its list's first one",
            Self::RepeatedPageToken => "a page token came twice",
            Self::NotHeld => "said to be unchanged, but the cache does not hold it",
            Self::RevisionWentBack => "the revision is below one that the same watch has completed",
            Self::WrongBatchEnd => "a batch end does not close the batch that is open",
        })
    }
}
