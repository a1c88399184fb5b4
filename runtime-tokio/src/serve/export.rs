//! A collection as a value: to keep it over a restart, to move it, to go back to a backup.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::JournalError;
use super::json;
use super::object::{Object, Step};

/// The number of the export format that this version writes, and the only one that it reads.
pub const EXPORT_FORMAT: u32 = 1;

/// A whole collection at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The number of the format: [`EXPORT_FORMAT`].
    pub format: u32,
    /// The collection's name.
    pub name: String,
    /// The epoch that the revision belongs to.
    pub epoch: String,
    /// The revision of the state.
    #[serde(with = "json::decimal_text")]
    pub revision: u64,
    /// The objects, by key.
    pub objects: Vec<Arc<Object>>,
}

/// What a restored state is to those who knew an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum Continuity {
    /// Everything that anybody ever saw of this epoch is part of the export: the restart of a
    /// server whose journal kept every transaction. Epoch and revision stay as they are, clients
    /// resume at the revision where they are, if it is the export's.
    ///
    /// To claim this of an older backup is a lie that clients cannot always see through: the
    /// server would give the same revisions to other transactions.
    SameEpoch,
    /// Something may be missing: a backup, a copy, a fork. A new epoch is minted, and every client
    /// lists again. The revision's number stays as in the export.
    NewEpoch,
}

/// Keeps commits, so that nobody ever sees a revision that a restart forgets.
///
/// It is called before a commit becomes visible to any reader or watcher, one commit at a time. If
/// it fails, the write is refused and nothing has changed. It runs on the thread that writes (of a
/// request: on the runtime's worker), while readers and watchers go on; it must not write to the
/// same collection, which would wait for itself for ever.
pub trait Journal: fmt::Debug + Send + Sync {
    /// Keeps the commit durably.
    ///
    /// # Errors
    /// Says in words why the commit could not be kept.
    fn commit(&self, commit: &Commit<'_>) -> Result<(), JournalError>;
}

/// What a [`Journal`] is asked to keep.
pub struct Commit<'a> {
    /// The collection's name.
    pub name: &'a str,
    /// The epoch of the revision.
    pub epoch: &'a str,
    /// The revision after the commit.
    pub revision: u64,
    /// What happened.
    pub kind: CommitKind<'a>,
    pub(super) state: &'a dyn Fn() -> Vec<Arc<Object>>,
}

/// What a commit is made of.
#[derive(Clone, Copy, Debug)]
pub enum CommitKind<'a> {
    /// A transaction: these steps lead from the previous revision to this one.
    Transaction(&'a [Step]),
    /// The collection was restored: nothing before counts any more, only the export does.
    Restored,
}

impl Commit<'_> {
    /// The whole collection as it will be after the commit. Costs a pass over all objects, whose
    /// values are shared, not copied.
    #[must_use]
    pub fn export(&self) -> Export {
        Export {
            format: EXPORT_FORMAT,
            name: self.name.into(),
            epoch: self.epoch.into(),
            revision: self.revision,
            objects: (self.state)(),
        }
    }
}

impl fmt::Debug for Commit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit")
            .field("name", &self.name)
            .field("epoch", &self.epoch)
            .field("revision", &self.revision)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
