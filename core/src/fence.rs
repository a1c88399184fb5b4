//! Fences: has the source been asked since?

use core::fmt;
use core::hash::BuildHasher;

use crate::informer::{Informer, Verify};
use crate::input::Attempt;
use crate::key::Key;
use crate::output::Command;
use crate::probe::{canary, reach};
use crate::time::Timestamp;

/// A moment at which somebody wanted to know what the source holds: see [`Informer::fence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    /// The newest attempt that may have begun before.
    after: Attempt,
}

/// Why there is no fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum FenceError {
    /// The source does not promise that a list shows what there is when it is asked for
    /// ([`SourceProfile::fresh_lists`](crate::SourceProfile::fresh_lists)): no list proves anything.
    NotOffered,
    /// The informer was stopped.
    Stopped,
}

impl Fence {
    /// Whether the cache holds whatever the source held at that moment, or something newer, given
    /// the attempt of [`Informer::last_read`]. No read of another informer passes it.
    #[must_use]
    pub fn is_passed_by(self, read: Option<Attempt>) -> bool {
        read.is_some_and(|attempt| {
            let under_way = canary!(FencePassedByEarlierRead) && attempt == self.after;
            let later = attempt.of() == self.after.of() && attempt.number() > self.after.number();
            under_way || later
        })
    }
}

impl<K: Key, V: Clone, S: BuildHasher + Clone> Informer<K, V, S> {
    /// Asks for a read of the source that begins after this call. Once one has been taken over, the
    /// fence is passed, and the cache shows everything that was in the source at the time of this
    /// call (quarantined keys apart).
    ///
    /// Any list, initial stream or *not modified* that is asked for later will do. Where a watch is
    /// open a verifying list is taken as soon as the pacer allows; fences that come before it begins
    /// share it. A source that is polled is asked at once, or next when the poll under way is over.
    /// While the source cannot be reached, or has an object whose key cannot be read, a fence stays
    /// where it is.
    ///
    /// # Errors
    /// [`FenceError::NotOffered`] of a source that promises too little, [`FenceError::Stopped`].
    pub fn fence(&mut self, now: Timestamp) -> Result<Fence, FenceError> {
        if self.stopped {
            return Err(FenceError::Stopped);
        }
        if !self.config.source.fresh_lists {
            return Err(FenceError::NotOffered);
        }
        if let Some(attempt) = self.unbegun_list() {
            reach!("fence shared by a list that has not begun");
            let after = Attempt::new(attempt.number().saturating_sub(1), self.seed);
            return Ok(Fence { after });
        }
        reach!("fence put up while a list runs", self.list.is_some());
        let after = Attempt::new(self.attempts, self.seed);
        if !canary!(FenceAsksNobody) {
            self.verify(now, Verify::Versions);
        }
        Ok(Fence { after })
    }

    /// The attempt that read the newest complete state that was taken over in this run, or said that
    /// it has not changed.
    #[must_use]
    pub const fn last_read(&self) -> Option<Attempt> {
        self.last_read
    }

    /// A full state was taken over, or has not changed. One with an object whose key could not be
    /// read shows neither that object nor what was deleted.
    pub(crate) fn has_read(&mut self, attempt: Attempt) {
        if !self.degraded {
            self.last_read = Some(attempt);
        }
    }

    /// The list in flight, if the driver has not heard of it yet.
    fn unbegun_list(&self) -> Option<Attempt> {
        let run = self.list.as_ref()?;
        let queued = self.commands.iter().any(|command| match command {
            Command::List { attempt, page, .. } => *attempt == run.attempt && page.is_none(),
            Command::Watch { .. } | Command::Cancel { .. } => false,
        });
        queued.then_some(run.attempt)
    }
}

impl fmt::Display for FenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOffered => {
                "the source's lists may show what was long ago (`SourceProfile::fresh_lists`): wait \
                 for a revision instead"
            }
            Self::Stopped => "the informer was stopped",
        })
    }
}

impl core::error::Error for FenceError {}
