//! A collection that a service publishes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::value::RawValue;
use tokio::sync::{Notify, Semaphore};

use super::error::{JournalError, OpenError, RestoreError, WriteError};
use super::export::{Commit, CommitKind, Continuity, EXPORT_FORMAT, Export};
use super::history::Transaction;
use super::object::{Change, Object, Precondition, Step};
use super::options::CollectionOptions;
use super::page::overlay;
use super::state::{State, fresh_epoch};
use super::write::{checked_objects, plan, prepare};

/// A set of objects that grows a revision with every transaction, and remembers the newest
/// transactions so that watchers can follow.
///
/// A cheap handle: clones share the collection. Reading never waits for a journal; writers wait
/// for each other.
#[derive(Clone)]
pub struct Collection {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) name: Arc<str>,
    pub(super) options: CollectionOptions,
    /// Held for a whole write, the journal included. Always taken before `state`.
    writer: Mutex<()>,
    /// Held for moments only.
    state: Mutex<State>,
    /// Wakes all watchers, in the order in which they began to wait.
    pub(super) changed: Notify,
    /// One permit for each watcher.
    pub(super) watchers: Arc<Semaphore>,
}

/// One object that a transaction wrote or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub struct Written {
    /// The object's key.
    pub key: Arc<str>,
    /// The object's version now; of a delete, the delete's revision.
    pub version: u64,
    /// The incarnation that was written or deleted.
    pub uid: u64,
    /// Whether the object was not there before.
    pub created: bool,
}

/// A transaction that everybody can see.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub struct Committed {
    /// The revision that it made.
    pub revision: u64,
    /// What it wrote, in the order of the changes.
    pub written: Vec<Written>,
}

impl Collection {
    /// An empty collection at revision 0 in an epoch of its own.
    ///
    /// # Errors
    /// The name is not one, or the system has no entropy.
    pub fn new(name: impl Into<String>, options: CollectionOptions) -> Result<Self, OpenError> {
        let name = checked_name(name.into())?;
        let state = State::new(fresh_epoch()?, 0, 0, BTreeMap::new(), &options);
        Ok(Self::from_state(name, state, options))
    }

    /// A collection that goes on from an export. With [`Continuity::NewEpoch`] the journal is
    /// asked to keep the new epoch first.
    ///
    /// # Errors
    /// The export is not valid within these options, the system has no entropy, or the journal
    /// failed.
    pub fn restored(
        export: &Export,
        continuity: Continuity,
        options: CollectionOptions,
    ) -> Result<Self, RestoreError> {
        let name = checked_name(export.name.clone()).map_err(RestoreError::Open)?;
        let state = restored_state(&name, 0, export, continuity, &options)?;
        Ok(Self::from_state(name, state, options))
    }

    fn from_state(name: Arc<str>, state: State, options: CollectionOptions) -> Self {
        let permits = options.max_watchers.min(Semaphore::MAX_PERMITS);
        let shared = Shared {
            name,
            options,
            writer: Mutex::new(()),
            state: Mutex::new(state),
            changed: Notify::new(),
            watchers: Arc::new(Semaphore::new(permits)),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The name under which the collection is published.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The epoch that the revisions belong to.
    #[must_use]
    pub fn epoch(&self) -> Arc<str> {
        Arc::clone(&self.shared.state().epoch)
    }

    /// The revision of the newest transaction; 0 before the first.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.shared.state().revision
    }

    /// The oldest revision that a watch can be resumed from.
    #[must_use]
    pub fn oldest_revision(&self) -> u64 {
        self.shared.state().history.base()
    }

    /// The number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.state().objects.len()
    }

    /// Whether there are no objects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.state().objects.is_empty()
    }

    /// The number of watches and waiting polls.
    #[must_use]
    pub fn watchers(&self) -> usize {
        let all = self.shared.options.max_watchers.min(Semaphore::MAX_PERMITS);
        all.saturating_sub(self.shared.watchers.available_permits())
    }

    /// The sum of [`object_digest`](super::object_digest) over all objects.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.shared.state().digest
    }

    /// The object with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.shared.state().objects.get(key).map(Arc::clone)
    }

    /// Creates the object or replaces its value. An equal value still makes a new version and a
    /// new revision.
    ///
    /// # Errors
    /// See [`WriteError`]; nothing has changed then.
    pub fn put(
        &self,
        key: impl Into<String>,
        value: Box<RawValue>,
        precondition: Precondition,
    ) -> Result<Written, WriteError> {
        self.one(Change::Put {
            key: key.into(),
            value,
            precondition,
        })
    }

    /// Deletes the object. What it returns has the delete's revision as the version.
    ///
    /// # Errors
    /// See [`WriteError`]; nothing has changed then.
    pub fn delete(
        &self,
        key: impl Into<String>,
        precondition: Precondition,
    ) -> Result<Written, WriteError> {
        self.one(Change::Delete {
            key: key.into(),
            precondition,
        })
    }

    fn one(&self, change: Change) -> Result<Written, WriteError> {
        let committed = self.transaction(vec![change])?;
        committed
            .written
            .into_iter()
            .next()
            .ok_or(WriteError::Empty)
    }

    /// Makes all changes at once, at one new revision, or none. All preconditions are checked
    /// against the state before the transaction; no key may be changed twice.
    ///
    /// # Errors
    /// See [`WriteError`]; nothing has changed then.
    pub fn transaction(&self, changes: Vec<Change>) -> Result<Committed, WriteError> {
        let shared = &*self.shared;
        let changes = prepare(changes, &shared.options)?;
        let writer = lock(&shared.writer);
        let (transaction, epoch) = {
            let state = shared.state();
            (
                plan(&state, changes, &shared.options)?,
                Arc::clone(&state.epoch),
            )
        };
        // Nobody may see what the journal could forget, so it comes first.
        shared
            .keep(&transaction, &epoch)
            .map_err(WriteError::Journal)?;

        let transaction = Arc::new(transaction);
        let forgotten = shared.state().publish(Arc::clone(&transaction));
        shared.changed.notify_waiters();
        drop(writer);
        // Old values are freed here, where nobody waits for it.
        drop(forgotten);
        let written = transaction
            .steps
            .iter()
            .map(|step| written(step, transaction.revision));
        Ok(Committed {
            revision: transaction.revision,
            written: written.collect(),
        })
    }

    /// Forgets the history up to and including `revision`: watches can no longer be resumed from
    /// before it, and lists at earlier revisions end with Gone. The objects stay.
    pub fn compact(&self, revision: u64) {
        // Nobody needs waking: whoever sleeps has seen everything.
        let forgotten = self.shared.state().history.compact(revision);
        drop(forgotten);
    }

    /// The whole collection as a value.
    #[must_use]
    pub fn export(&self) -> Export {
        let state = self.shared.state();
        Export {
            format: EXPORT_FORMAT,
            name: self.name().into(),
            epoch: String::from(&*state.epoch),
            revision: state.revision,
            objects: state.objects.values().map(Arc::clone).collect(),
        }
    }

    /// Replaces everything by an export. The history is dropped and every watcher is ended with
    /// Gone; read about [`Continuity`] before you say that the epoch is the same.
    ///
    /// # Errors
    /// The export is not valid or not of this collection, the system has no entropy, or the
    /// journal failed; nothing has changed then.
    pub fn restore(&self, export: &Export, continuity: Continuity) -> Result<(), RestoreError> {
        let shared = &*self.shared;
        let writer = lock(&shared.writer);
        let life = shared.state().life.wrapping_add(1);
        let mut next = restored_state(&shared.name, life, export, continuity, &shared.options)?;
        let before = {
            let mut state = shared.state();
            next.closed = state.closed;
            std::mem::replace(&mut *state, next)
        };
        shared.changed.notify_waiters();
        drop(writer);
        drop(before);
        Ok(())
    }

    /// Ends every watch cleanly and answers waiting polls, so that a server can drain; new watches
    /// are turned away. Lists and writes go on.
    pub fn close(&self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_waiters();
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Has the journal keep a transaction that is not yet visible. The writer lock is held, so the
    /// state cannot change meanwhile.
    fn keep(&self, transaction: &Transaction, epoch: &str) -> Result<(), JournalError> {
        let Some(journal) = &self.options.journal else {
            return Ok(());
        };
        let after = || {
            let changes = transaction
                .steps
                .iter()
                .map(|step| (&**step.key(), step.after()));
            let state = self.state();
            overlay(state.objects.values(), changes.collect())
                .map(Arc::clone)
                .collect()
        };
        journal.commit(&Commit {
            name: &self.name,
            epoch,
            revision: transaction.revision,
            kind: CommitKind::Transaction(&transaction.steps),
            state: &after,
        })
    }
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.shared.state().head();
        f.debug_struct("Collection")
            .field("name", &self.shared.name)
            .field("epoch", &head.epoch)
            .field("revision", &head.revision)
            .finish_non_exhaustive()
    }
}

/// Locks, also after a panic of another holder: no step under these locks leaves anything half
/// done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn written(step: &Step, revision: u64) -> Written {
    let (object, created) = match step {
        Step::Added { after } => (after, true),
        Step::Modified { after, .. } => (after, false),
        Step::Deleted { before } => (before, false),
    };
    Written {
        key: Arc::clone(&object.key),
        version: revision,
        uid: object.uid,
        created,
    }
}

fn checked_name(name: String) -> Result<Arc<str>, OpenError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=128).contains(&name.len()) && name.bytes().all(plain);
    if fits && name != "." && name != ".." {
        Ok(name.into())
    } else {
        Err(OpenError::NameInvalid { name })
    }
}

/// The state that an export describes, kept by the journal already.
fn restored_state(
    name: &str,
    life: u64,
    export: &Export,
    continuity: Continuity,
    options: &CollectionOptions,
) -> Result<State, RestoreError> {
    if export.name != name {
        let (have, export) = (name.into(), export.name.clone());
        return Err(RestoreError::OtherCollection { have, export });
    }
    let objects = checked_objects(export, options)?;
    let epoch = match continuity {
        Continuity::SameEpoch => export.epoch.as_str().into(),
        Continuity::NewEpoch => fresh_epoch().map_err(RestoreError::Open)?,
    };
    if let Some(journal) = &options.journal {
        let commit = Commit {
            name,
            epoch: &epoch,
            revision: export.revision,
            kind: CommitKind::Restored,
            state: &|| objects.values().map(Arc::clone).collect(),
        };
        journal.commit(&commit).map_err(RestoreError::Journal)?;
    }
    Ok(State::new(epoch, life, export.revision, objects, options))
}
