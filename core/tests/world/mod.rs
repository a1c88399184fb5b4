//! A source as a model: histories of transactions, replicas that lag, and dialogues that serve one
//! attempt each. It knows nothing of the engine, and always tells the truth; who lets it speak,
//! when, and what gets lost on the way is the adversary's business.
#![allow(
    unreachable_pub,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test's model may panic"
)]

mod case;
mod dialogue;
mod oracles;

pub use case::{CLASSES, Case, Fault, Step};
pub use dialogue::{Dialogue, Word};

use std::collections::BTreeMap;

use reflet_core::{Class, Digest, Epoch, Feed, Revision, RevisionOrder, SourceProfile, VersionRef};

pub type Name = &'static str;
pub const KEYS: [Name; 5] = ["a", "b", "c", "d", "e"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    pub version: u64,
    pub uid: u64,
    /// Unique per write; its thousands are the uid, so that a fold can tell incarnations apart.
    pub value: u64,
}

pub type State = BTreeMap<Name, Object>;

/// One transaction: what each key was, and became.
#[derive(Clone, Debug)]
pub struct Tx {
    pub revision: u64,
    pub previous: u64,
    pub changes: Vec<(Name, Option<Object>, Option<Object>)>,
    pub state: State,
}

/// One unbroken history.
#[derive(Clone, Debug)]
pub struct History {
    pub txs: Vec<Tx>,
    /// The newest revision; it also grows by what happens in other collections.
    pub head: u64,
    /// What a watch can no longer start before.
    pub compacted: u64,
}

/// How far one replica has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    pub epoch: usize,
    pub head: u64,
}

/// What the world offers beside what the engine's profile says.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    pub epochs: bool,
    /// Objects tell their uid, and their versions count from one in each incarnation. Else an
    /// object's version is the revision that committed it.
    pub uids: bool,
    /// A lagging replica serves a list that is older than what was asked for.
    pub careless: bool,
    /// A watch that a replica is behind for waits, instead of being told so.
    pub patient: bool,
    /// Gone comes inside an open watch, not instead of it.
    pub gone_inside: bool,
}

pub struct World {
    pub profile: SourceProfile,
    pub habits: Habits,
    pub histories: Vec<History>,
    pub replicas: Vec<Replica>,
    writes: u64,
}

impl History {
    /// The transactions up to a revision, as a count.
    pub fn until(&self, revision: u64) -> usize {
        self.txs.partition_point(|tx| tx.revision <= revision)
    }

    pub fn state_at(&self, revision: u64) -> &State {
        &self.txs[self.until(revision) - 1].state
    }
}

impl World {
    pub fn new(profile: SourceProfile, habits: Habits, replicas: usize) -> Self {
        let base = Tx {
            revision: 1,
            previous: 0,
            changes: Vec::new(),
            state: State::new(),
        };
        let history = History {
            txs: vec![base],
            head: 1,
            compacted: 1,
        };
        Self {
            profile,
            habits,
            histories: vec![history],
            replicas: vec![Replica { epoch: 0, head: 1 }; replicas],
            writes: 0,
        }
    }

    pub fn epoch(&self) -> usize {
        self.histories.len() - 1
    }

    pub fn now(&mut self) -> &mut History {
        self.histories.last_mut().unwrap()
    }

    pub fn truth(&self) -> &State {
        &self.histories.last().unwrap().txs.last().unwrap().state
    }

    pub fn state_at(&self, epoch: usize, revision: u64) -> &State {
        self.histories[epoch].state_at(revision)
    }

    /// A transaction: bit i of `puts` writes key i, of `deletes` deletes it.
    pub fn write(&mut self, puts: u8, deletes: u8, step: u64) {
        let (uids, history) = (self.habits.uids, self.histories.last_mut().unwrap());
        let revision = history.head + step;
        let mut state = history.txs.last().unwrap().state.clone();
        let mut changes = Vec::new();
        for (i, key) in KEYS.iter().enumerate() {
            let before = state.get(key).copied();
            if deletes >> i & 1 == 1 && before.is_some() {
                state.remove(key);
                changes.push((*key, before, None));
            } else if puts >> i & 1 == 1 {
                self.writes += 1;
                let uid = before.map_or(self.writes, |object| object.uid);
                let counted = before.map_or(1, |object| object.version + 1);
                let object = Object {
                    version: if uids { counted } else { revision },
                    uid,
                    value: uid * 1_000 + self.writes,
                };
                state.insert(key, object);
                changes.push((*key, before, Some(object)));
            }
        }
        history.head = revision;
        if !changes.is_empty() {
            let previous = history.txs.last().unwrap().revision;
            history.txs.push(Tx {
                revision,
                previous,
                changes,
                state,
            });
        }
        if self.profile.order == RevisionOrder::Opaque {
            self.sync_all();
        }
    }

    /// The source is restored to an older state, under a new epoch.
    pub fn restore(&mut self, back: usize) {
        let mut history = self.histories.last().unwrap().clone();
        let keep = history.txs.len().saturating_sub(back).max(1);
        history.txs.truncate(keep);
        history.head = history.txs.last().unwrap().revision;
        history.compacted = history.compacted.min(history.head);
        self.histories.push(history);
        if self.profile.order == RevisionOrder::Opaque {
            self.sync_all();
        }
    }

    pub fn compact(&mut self) {
        let history = self.now();
        history.compacted = history.head;
    }

    /// A replica catches up with so many revisions; into a new epoch in one step.
    pub fn sync(&mut self, replica: usize, revisions: u64) {
        let (epoch, count) = (self.epoch(), self.replicas.len());
        let head = self.now().head;
        let replica = &mut self.replicas[replica % count];
        if replica.epoch < epoch {
            *replica = Replica { epoch, head };
        } else {
            replica.head = (replica.head + revisions).min(head);
        }
    }

    pub fn sync_all(&mut self) {
        let (epoch, head) = (self.epoch(), self.now().head);
        self.replicas.fill(Replica { epoch, head });
    }

    pub fn revision(&self, number: u64) -> Revision {
        match self.profile.order {
            RevisionOrder::Ordered => number.into(),
            RevisionOrder::Opaque => Revision::parse(&format!("r{number}")),
        }
    }

    pub fn number(revision: &Revision) -> u64 {
        revision
            .to_string()
            .trim_start_matches('r')
            .parse()
            .unwrap()
    }

    pub fn epoch_name(&self, epoch: usize) -> Option<Epoch> {
        self.habits.epochs.then(|| Epoch::new(&format!("e{epoch}")))
    }

    pub fn epoch_number(epoch: Option<&Epoch>) -> usize {
        epoch.map_or(0, |epoch| epoch.as_str()[1..].parse().unwrap())
    }

    pub fn digest(&self, state: &State) -> Option<Digest> {
        self.profile.digests.then(|| {
            state.iter().fold(Digest::default(), |sum, (key, object)| {
                sum.plus(Digest::of(key.as_bytes(), VersionRef::from(object.version)))
            })
        })
    }

    /// Whether a list's revision is that of its newest transaction, so that *unmodified* is seen.
    pub fn is_conditional(&self) -> bool {
        matches!(self.profile.feed, Feed::FullState { .. } | Feed::HintOnly)
    }

    pub fn is_fuzzy(&self) -> bool {
        self.profile.class == Class::Fuzzy
    }
}
