//! A source as a model: histories of transactions, replicas that lag, and dialogues that serve one
//! attempt each.
//!
//! It is written apart from the code under test, in numbers of its own, and always tells the
//! truth: who lets it speak, when, and what is lost or twisted on the way is the adversary's
//! business. What it does is modelled on etcd and Kubernetes (ordered revisions, pinned pages,
//! compaction), Consul (an opaque index, the full state each time) and our own protocol (epochs,
//! batch ends, predecessors, digests).

mod dialogue;
mod history;
mod list;
mod watch;
mod word;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use dialogue::{Ask, Dialogue, Start};
pub use history::{Change, History, Object, Poison, State, Tx, share};
pub use word::Word;

/// How the source hands over its collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Feed {
    /// A list, then a watch from its revision.
    ListWatch,
    /// The initial state is streamed inside the watch.
    InitialStream,
    /// The full state each time, asked for on a period.
    Polled,
    /// The full state each time, held back until something changes.
    Blocking,
    /// Hints only.
    Hints,
}

/// What the source offers, and what its habits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// How the collection is handed over.
    pub feed: Feed,
    /// Pages are not pinned to one revision.
    pub fuzzy: bool,
    /// Revisions can only be compared for equality.
    pub opaque: bool,
    /// Transactions are delimited.
    pub batch_ends: bool,
    /// Events name their predecessors.
    pub predecessors: bool,
    /// Progress carries a digest.
    pub digests: bool,
    /// The engine is told that versions are ordered.
    pub versions_ordered: bool,
    /// Versions are commit revisions, and deletes carry theirs.
    pub commit_revisions: bool,
    /// The source declares a heartbeat of a second.
    pub heartbeat: bool,
    /// Histories have names.
    pub epochs: bool,
    /// Objects tell their uid, and versions count from one in each incarnation. Else an object's
    /// version is the revision that committed it.
    pub uids: bool,
    /// Every second delete gives no version.
    pub terse: bool,
    /// A lagging replica serves a list that is older than what was asked for.
    pub careless: bool,
    /// A watch that a replica is behind for waits, instead of being told so.
    pub patient: bool,
    /// Gone comes inside an open watch, not instead of it.
    pub gone_inside: bool,
}

impl Shape {
    /// The nearest shape that a source can have: without what only another feed can offer, and
    /// with what its versions need to be told from those of another history.
    #[must_use]
    pub fn plausible(self) -> Self {
        let listed = matches!(self.feed, Feed::ListWatch | Feed::InitialStream);
        let fuzzy = self.fuzzy && self.feed == Feed::ListWatch && !self.opaque;
        let commit_revisions = self.commit_revisions && listed && !self.opaque;
        Self {
            fuzzy,
            batch_ends: self.batch_ends && listed,
            predecessors: self.predecessors && listed,
            digests: self.digests && listed,
            commit_revisions,
            // Nobody could ever tell a lower version of the same history from one of another.
            epochs: self.epochs || self.versions_ordered && (self.opaque || fuzzy),
            uids: self.uids && !commit_revisions,
            ..self
        }
    }

    /// Whether each answer is the full state.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self.feed, Feed::Polled | Feed::Blocking)
    }

    /// Whether a list's revision is that of its newest transaction, so that *unmodified* is seen.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        self.is_whole() || self.feed == Feed::Hints
    }
}

/// How far one replica has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The history that it is in, counted from 0.
    pub epoch: usize,
    /// The newest revision that it has.
    pub head: u64,
}

/// The source of truth.
#[derive(Clone, Debug)]
pub struct World {
    /// What it offers.
    pub shape: Shape,
    /// The names of all keys that can exist, in their order.
    pub names: Vec<Arc<str>>,
    /// Every history that there ever was; the last one is in force.
    pub histories: Vec<History>,
    /// The replicas that answer, in turn.
    pub replicas: Vec<Place>,
    writes: u64,
}

impl World {
    /// An empty collection at revision 1, whose keys will be `keys` names.
    #[must_use]
    pub fn new(shape: Shape, keys: u32, replicas: usize) -> Self {
        Self {
            shape,
            names: (0..keys.max(1))
                .map(|key| format!("k{key:05}").into())
                .collect(),
            histories: vec![History::new()],
            replicas: vec![Place { epoch: 0, head: 1 }; replicas.max(1)],
            writes: 0,
        }
    }

    /// The number of the history in force.
    #[must_use]
    pub fn epoch(&self) -> usize {
        self.histories.len() - 1
    }

    /// The history in force.
    #[must_use]
    pub fn now(&self) -> &History {
        &self.histories[self.epoch()]
    }

    fn now_mut(&mut self) -> &mut History {
        let epoch = self.epoch();
        &mut self.histories[epoch]
    }

    /// The state of the collection, now.
    #[must_use]
    pub fn truth(&self) -> &State {
        &self.now().last().state
    }

    /// What the source has seen so far, as a point.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            epoch: self.epoch(),
            head: self.now().head,
        }
    }

    /// The states of the collection since it was at `place`, and of all histories that came after.
    pub fn states_since(&self, place: Place) -> impl Iterator<Item = &State> {
        let histories = self.histories.iter().enumerate().skip(place.epoch);
        histories.flat_map(move |(epoch, history)| {
            let first = if epoch == place.epoch {
                history.until(place.head)
            } else {
                history.inherited
            };
            let since = history.txs.iter().skip(first.saturating_sub(1));
            since.map(|tx| &tx.state)
        })
    }

    /// The number of a key by its name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<u32> {
        let digits = name.strip_prefix('k')?;
        digits.parse().ok()
    }

    /// One transaction: puts and deletes, `step` revisions after the last one. How many keys it
    /// changed.
    pub fn write(
        &mut self,
        puts: impl IntoIterator<Item = u32>,
        deletes: impl IntoIterator<Item = u32>,
        poison: Poison,
        step: u64,
    ) -> u64 {
        let count = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let uids = self.shape.uids;
        let mut writes = self.writes;
        let history = self.now_mut();
        let mut tx = history.begin(step.max(1));
        for key in deletes {
            tx.delete(key % count);
        }
        for key in puts {
            writes += 1;
            tx.put(key % count, writes, uids, poison);
        }
        let changed = history.commit(tx);
        self.writes = writes;
        if self.shape.opaque {
            self.sync_all();
        }
        changed
    }

    /// Something happens elsewhere: revisions pass by.
    pub fn elsewhere(&mut self, step: u64) {
        self.now_mut().head += step;
        if self.shape.opaque {
            self.sync_all();
        }
    }

    /// All history but the last `keep` transactions is dropped.
    pub fn compact(&mut self, keep: usize) {
        self.now_mut().compact(keep);
    }

    /// The source is set back by `back` transactions; a new history begins there.
    pub fn restore(&mut self, back: usize) {
        let history = self.now().restored(back);
        self.histories.push(history);
        if self.shape.opaque {
            self.sync_all();
        }
    }

    /// A replica catches up by so many revisions; into a new history in one step.
    pub fn sync(&mut self, replica: usize, revisions: u64) {
        let newest = self.place();
        let count = self.replicas.len();
        let place = &mut self.replicas[replica % count];
        if place.epoch < newest.epoch {
            *place = newest;
        } else {
            place.head = place.head.saturating_add(revisions).min(newest.head);
        }
    }

    /// All replicas catch up.
    pub fn sync_all(&mut self) {
        let newest = self.place();
        self.replicas.fill(newest);
    }

    /// Whether no replica is in an older history.
    #[must_use]
    pub fn is_of_one_mind(&self) -> bool {
        self.replicas
            .iter()
            .all(|place| place.epoch == self.epoch())
    }
}
