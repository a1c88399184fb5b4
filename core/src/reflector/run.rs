//! The attempts in flight, and what each has seen so far.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};

use crate::input::Attempt;
use crate::output::{ListReason, TimerReason};
use crate::probe::canary;
use crate::time::Timestamp;
use crate::token::{Epoch, Revision};

use super::is_before;
use super::staging::Staging;

/// What to start when a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// A list.
    List(ListReason),
    /// A watch that streams the whole state first.
    Stream(ListReason),
    /// A watch from the last complete revision.
    Watch,
    /// A stream of hints.
    Hints,
}

/// An attempt that waits to start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) until: Timestamp,
    pub(crate) reason: TimerReason,
    pub(crate) intent: Intent,
}

/// When to try again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Retry {
    /// As soon as the pacer allows.
    Now,
    /// After a backoff.
    Backoff,
    /// After the long wait for what only a human can change.
    Slow,
}

/// A full state that is being collected: from a list's pages or from an initial stream.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot<K, V> {
    pub(crate) reason: ListReason,
    pub(crate) staging: Staging<K, V>,
    /// Items seen so far, unchanged ones too, and their bytes.
    pub(crate) items: usize,
    pub(crate) bytes: usize,
    /// The epoch and revision of the first page.
    pub(crate) header: Option<Header>,
    /// What events were about while the list ran beside a watch, with their revisions: it must not
    /// undo what is newer than it.
    pub(crate) touched: BTreeMap<K, Option<Revision>>,
    /// Of these, the ones that the list had found unchanged: a watch that replays what a fuzzy list
    /// was ahead of deletes and creates them once more, and their marks are lost.
    pub(crate) unmarked: BTreeSet<K>,
    /// A fuzzy list's newest revision: the state is consistent once the watch has passed it.
    pub(crate) newest: Option<Revision>,
    /// Something with an unknown key was rejected: deletes cannot be inferred.
    pub(crate) unknown_rejected: bool,
    /// Same key and version means same content. Off after an epoch change, a rewind, and for a
    /// verify of the content: a restored source can have other content under the same version.
    pub(crate) shortcuts: bool,
    /// The source's history is not a continuation of ours.
    pub(crate) rewound: bool,
    /// The list is older than what we have; it only counts as evidence of a rewind.
    pub(crate) older: bool,
}

impl<K: Ord, V> Snapshot<K, V> {
    /// Whether the watch beside it has brought something about this key that is later than
    /// `revision`. An event without a revision counts as later: that is the safe side.
    pub(crate) fn is_overtaken(&self, key: &K, revision: Option<&Revision>) -> bool {
        match (self.touched.get(key), revision) {
            _ if canary!(VerifyUndoesNews) => false,
            (None, _) => false,
            (Some(Some(event)), Some(list)) => is_before(list, event),
            (Some(_), _) => true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) epoch: Option<Epoch>,
    pub(crate) revision: Option<Revision>,
}

/// A list in flight.
#[derive(Clone, Debug)]
pub(crate) struct ListRun<K, V> {
    pub(crate) attempt: Attempt,
    pub(crate) snapshot: Box<Snapshot<K, V>>,
    /// It runs beside a watch (to verify, or because of a hint) and must not disturb it.
    pub(crate) beside: bool,
    pub(crate) at_least: Option<Revision>,
    /// What it must not be older than, whatever was asked for: what the cache showed at its start.
    pub(crate) floor: Option<Revision>,
    pub(crate) known: Option<Revision>,
    pub(crate) started: Timestamp,
    pub(crate) heard: Option<Timestamp>,
    pub(crate) in_page: bool,
    pub(crate) pages: u32,
    pub(crate) token: Option<Box<str>>,
    /// An older page's token, from which a circle of any length is found.
    pub(crate) milestone: Option<Box<str>>,
    /// The next page waits for the pages' own pacer until then.
    pub(crate) page_due: Option<Timestamp>,
}

impl<K, V> ListRun<K, V> {
    /// Whether the list is known to have been at this page: it would never end.
    pub(crate) fn has_been_at(&self, next: &str) -> bool {
        let known = [&self.token, &self.milestone];
        known.into_iter().flatten().any(|token| **token == *next)
    }

    /// The list goes on at this page. A token is remembered until twice as many pages have come, so
    /// that a circle of n pages is found after a few n pages at most, for the memory of one token
    /// (Brent's algorithm).
    pub(crate) fn turn_to(&mut self, next: &str) {
        let last = self.token.replace(next.into());
        if self.pages.is_power_of_two() {
            self.milestone = last;
        }
    }
}

/// What a watch is for.
#[derive(Clone, Debug)]
pub(crate) enum WatchKind<K, V> {
    /// Changes after the last complete revision.
    Changes {
        /// The transaction that is being received, where the source says where one ends.
        batch: Option<(Revision, Staging<K, V>)>,
    },
    /// The whole state first.
    Initial(Box<Snapshot<K, V>>),
    /// Only hints.
    Hints,
}

/// A watch in flight.
#[derive(Clone, Debug)]
pub(crate) struct WatchRun<K, V> {
    pub(crate) attempt: Attempt,
    pub(crate) kind: WatchKind<K, V>,
    pub(crate) started: Timestamp,
    pub(crate) opened: Option<Timestamp>,
    pub(crate) heard: Timestamp,
    /// The newest revision of an event in this very attempt.
    pub(crate) seen: Option<Revision>,
    /// An event of unknown key and revision came after `seen`.
    pub(crate) unread: bool,
    /// There was a step beyond the point that it resumed from.
    pub(crate) stepped: bool,
    /// It told of our revision, or of a later one: the source was not set back before it opened.
    pub(crate) confirms: bool,
    /// Anything came after it was open: an event, progress, a heartbeat.
    pub(crate) spoke: bool,
    /// When it told of less than we have. A source that was set back does so for ever, a replica
    /// that lags until it has caught up, which it confirms.
    pub(crate) lags_since: Option<Timestamp>,
}

impl<K, V> WatchRun<K, V> {
    /// Whether a transaction has begun that has not ended.
    pub(crate) fn has_open_batch(&self) -> bool {
        matches!(self.kind, WatchKind::Changes { batch: Some(_) })
    }

    /// Whether the same version stands for the same content.
    pub(crate) fn trusts_versions(&self) -> bool {
        match &self.kind {
            WatchKind::Changes { .. } => true,
            WatchKind::Initial(snapshot) => snapshot.shortcuts,
            WatchKind::Hints => false,
        }
    }
}
