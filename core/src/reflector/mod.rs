//! The reflector: which list or watch to run now, when to give up, when to try again.
//!
//! There is one *main line* — a wait, a list, or a watch — so that there is always a next step
//! (P6), and at most one list *beside* an open watch: to verify what the watch built up, or
//! because a hint said that something changed. Every attempt passes through [`Informer::go`] or
//! the side wait, and so through the pacer (P7).
//!
//! - `list`: the pages of a list, until it commits at once and whole.
//! - `watch`: events, batches, progress; `ending`: how a watch ends, and what follows.
//! - `commit`: a full state becomes visible.
//! - `apply`: how accepted changes reach the cache, and what is rejected on the way.
//! - `timers`: deadlines, and what happens when one passes.
//! - `redelivery`: when subscribers are handed everything once more.
//! - `report`: the state of health.
//! - `restore`: how an informer starts from a snapshot.
//!
//! [`Informer::go`]: crate::Informer

mod apply;
mod commit;
mod ending;
#[cfg(feature = "simulated")]
mod fingerprint;
mod graves;
mod list;
mod notices;
mod pace;
mod quarantine;
mod redelivery;
mod report;
#[cfg(feature = "snapshot")]
mod restore;
mod rewind;
mod run;
mod staging;
mod steer;
mod timers;
mod watch;

pub(crate) use graves::Graves;
pub(crate) use notices::Notices;
pub(crate) use pace::{Backoff, Pacer};
pub(crate) use quarantine::Quarantine;
pub(crate) use redelivery::Redeliveries;
pub(crate) use report::Status;
pub(crate) use rewind::RewindJudge;
pub(crate) use run::{ListRun, Wait, WatchRun};

use crate::config::RevisionOrder;
use crate::output::BadInput;
use crate::probe::canary;
use crate::token::{Epoch, Revision};
use core::cmp::Ordering;

/// Where in the source's history the cache stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Position {
    /// The source's revisions have an order.
    pub(crate) ordered: bool,
    pub(crate) epoch: Option<Epoch>,
    /// Everything up to here is in the cache: watches resume after it.
    pub(crate) complete: Option<Revision>,
    /// The newest revision of which something is in the cache: of a cut transaction, or of a fuzzy
    /// list's newest page. The cache is one state once `complete` has reached it.
    pub(crate) seen: Option<Revision>,
}

impl Position {
    /// Whether an answer of this epoch continues the history that we know. A source that does not
    /// say is taken to.
    pub(crate) fn continues(&self, epoch: Option<&Epoch>) -> bool {
        match (&self.epoch, epoch) {
            _ if canary!(IgnoreEpoch) => true,
            (Some(ours), Some(theirs)) => ours == theirs,
            (None, _) | (_, None) => true,
        }
    }

    #[inline]
    pub(crate) fn complete_at(&mut self, revision: Revision) {
        self.saw(revision.clone());
        self.complete = Some(revision);
    }

    /// Something of this revision is in the cache. What is published never decreases (P2).
    #[inline]
    pub(crate) fn saw(&mut self, revision: Revision) {
        let older = self.ordered
            && self
                .seen
                .as_ref()
                .is_some_and(|seen| is_before(&revision, seen));
        if !older {
            self.seen = Some(revision);
        }
    }

    /// Whether the cache shows all of the newest revision that it shows anything of.
    #[inline]
    pub(crate) fn is_whole(&self) -> bool {
        self.seen == self.complete
    }

    /// The history is another one: revisions of the old one mean nothing any more.
    pub(crate) fn forget_revisions(&mut self) {
        self.complete = None;
        self.seen = None;
    }
}

/// Whether `a` comes before `b`, where both are decimals.
#[inline]
pub(crate) fn is_before(a: &Revision, b: &Revision) -> bool {
    a.compare(b) == Some(Ordering::Less)
}

/// Checks a revision that has just come in.
#[inline]
pub(crate) fn check_revision(
    revision: Option<&Revision>,
    order: RevisionOrder,
    limit: usize,
) -> Result<(), BadInput> {
    match (revision, order) {
        (None, RevisionOrder::Ordered) => Err(BadInput::NoRevision),
        (None, RevisionOrder::Opaque) => Ok(()),
        (Some(revision), _) if revision.text_bytes() > limit => Err(BadInput::TokenTooLong),
        (Some(revision), RevisionOrder::Ordered) if !revision.is_decimal() => {
            Err(BadInput::RevisionNotDecimal)
        }
        (Some(_), _) => Ok(()),
    }
}
