//! A source so small that everything it can do can be tried: two keys, a few transactions, and
//! dialogues that tell the truth word by word. It knows nothing of the engine.

use std::fmt;

use reflet_core::{Class, Digest, FailureClass, Feed, Key, RevisionOrder, SourceProfile, Version};

/// A key: `a` or `b`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name(u8);

pub(super) const KEYS: [Name; 2] = [Name(b'a'), Name(b'b')];

impl Name {
    pub(super) fn index(self) -> usize {
        usize::from(self.0 - b'a')
    }
}

impl Key for Name {
    type Borrowed = Self;

    fn borrow(&self) -> &Self {
        self
    }

    fn own(borrowed: &Self) -> Self {
        *borrowed
    }

    fn bytes(borrowed: &Self) -> &[u8] {
        std::slice::from_ref(&borrowed.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        char::from(self.0).fmt(f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        char::from(self.0).fmt(f)
    }
}

/// What an object is: the revision that wrote it, which no two writes of a key share, and the
/// number of its incarnation. It is its own payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Object {
    pub(super) revision: u64,
    pub(super) uid: u64,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.revision, self.uid)
    }
}

/// All objects, by the index of their key.
pub(super) type Collection = [Option<Object>; KEYS.len()];

/// Kinds of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Paged lists, then a watch; transactions have no end that one could see, and a lost event
    /// leaves no trace. It closes and breaks watches, and loses nothing within one.
    Kubernetes,
    /// Batch ends, predecessors and digests: what is lost within a watch shows.
    Reflet,
    /// Like [`Self::Reflet`], and the initial state comes inside the watch.
    Streamed,
    /// The whole state at each request, which waits for a change; revisions have no order.
    Polled,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kubernetes, Self::Reflet, Self::Streamed, Self::Polled];

    fn is_ours(self) -> bool {
        matches!(self, Self::Reflet | Self::Streamed)
    }

    pub(super) fn source(self) -> SourceProfile {
        let ours = self.is_ours();
        SourceProfile {
            feed: match self {
                Self::Kubernetes | Self::Reflet => Feed::ListWatch,
                Self::Streamed => Feed::InitialStream,
                Self::Polled => Feed::FullState { blocking: true },
            },
            class: if self == Self::Polled {
                Class::Whole
            } else {
                Class::Pinned
            },
            order: if self == Self::Polled {
                RevisionOrder::Opaque
            } else {
                RevisionOrder::Ordered
            },
            batch_ends: ours,
            predecessors: ours,
            digests: ours,
            versions_ordered: true,
            commit_revisions: ours,
            heartbeat: ours.then_some(std::time::Duration::from_secs(10)),
            ..SourceProfile::default()
        }
    }
}

/// What a writer can do in one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Put(Name),
    Delete(Name),
    /// The first key is put, the second one is deleted if it is there, else put.
    Both,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Transaction {
    pub(super) revision: u64,
    changes: Vec<(Name, Option<Object>)>,
    pub(super) after: Collection,
}

/// What a dialogue says next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Word {
    Opened,
    Page {
        revision: u64,
        items: Vec<(Name, Object)>,
        next: Option<u8>,
    },
    /// An object or its absence, the revision that committed it, and the one before that.
    Change(Name, Option<Object>, u64, u64),
    /// An object of an initial stream.
    Initial(Name, Object),
    InitialEnd(u64),
    BatchEnd(u64),
    Progress(u64, Option<Digest>),
    Failed(FailureClass),
}

/// One attempt, seen from the source.
#[derive(Clone, Debug, Hash)]
pub(super) struct Dialogue {
    /// Counted back from the newest one when states are compared.
    pub(super) attempt: u64,
    pub(super) talk: Talk,
    /// The engine does not listen any more.
    pub(super) dead: bool,
    /// Nothing will ever come.
    pub(super) hushed: bool,
    /// What was said last, to be said again.
    pub(super) last: Option<Word>,
}

#[derive(Clone, Debug, Hash)]
pub(super) enum Talk {
    List {
        /// The revision that all pages show, once the first one was served.
        at: Option<u64>,
        page: u8,
        /// The page was asked for.
        asked: bool,
        /// Nothing is said while this is the newest revision.
        known: Option<u64>,
    },
    /// The state first; then it becomes a watch.
    Stream { at: Option<u64>, key: u8 },
    Watch {
        opened: bool,
        /// All transactions up to this one are said.
        said: u64,
        /// How many words of the next one are said.
        part: usize,
        /// The progress that was told.
        told: u64,
    },
}

#[derive(Clone, Debug, Hash)]
pub(super) struct Source {
    pub(super) profile: Profile,
    pub(super) history: Vec<Transaction>,
    /// History before this revision is gone.
    pub(super) compacted: u64,
    uids: u64,
    pub(super) dialogues: Vec<Dialogue>,
}

impl Source {
    pub(super) fn new(profile: Profile) -> Self {
        let first = Object {
            revision: 1,
            uid: 1,
        };
        let after = [Some(first), None];
        let first = Transaction {
            revision: 1,
            changes: vec![(KEYS[0], Some(first))],
            after,
        };
        Self {
            profile,
            history: vec![first],
            compacted: 0,
            uids: 1,
            dialogues: Vec::new(),
        }
    }

    pub(super) fn newest(&self) -> &Transaction {
        &self.history[self.history.len() - 1]
    }

    pub(super) fn head(&self) -> u64 {
        self.newest().revision
    }

    /// The state at a revision; `None` if there was no such revision.
    pub(super) fn state_at(&self, revision: u64) -> Option<&Collection> {
        let mut history = self.history.iter();
        Some(
            &history
                .find(|transaction| transaction.revision == revision)?
                .after,
        )
    }

    pub(super) fn writes(&self) -> Vec<Write> {
        let state = self.newest().after;
        let deletes = KEYS.into_iter().filter(|key| state[key.index()].is_some());
        let mut writes: Vec<_> = KEYS.map(Write::Put).into();
        writes.extend(deletes.map(Write::Delete));
        writes.push(Write::Both);
        writes
    }

    pub(super) fn write(&mut self, write: Write) {
        let revision = self.head() + 1;
        let mut after = self.newest().after;
        let mut changes = Vec::new();
        let mut put = |key: Name, after: &mut Collection| {
            let uid = after[key.index()].map_or_else(
                || {
                    self.uids += 1;
                    self.uids
                },
                |object| object.uid,
            );
            after[key.index()] = Some(Object { revision, uid });
            changes.push((key, after[key.index()]));
        };
        match write {
            Write::Put(key) => put(key, &mut after),
            Write::Delete(key) => {
                after[key.index()] = None;
                changes.push((key, None));
            }
            Write::Both => {
                put(KEYS[0], &mut after);
                if after[1].is_some() {
                    after[1] = None;
                    changes.push((KEYS[1], None));
                } else {
                    put(KEYS[1], &mut after);
                }
            }
        }
        self.history.push(Transaction {
            revision,
            changes,
            after,
        });
    }

    /// The digest of a state, in the terms of the protocol.
    fn digest(&self, state: &Collection) -> Option<Digest> {
        let objects = KEYS
            .iter()
            .zip(state)
            .filter_map(|(key, object)| Some((key, (*object)?)));
        let shares = objects.map(|(key, object)| {
            Digest::of(Name::bytes(key), Version::from(object.revision).as_ref())
        });
        let sum = shares.fold(Digest::default(), Digest::plus);
        self.profile.is_ours().then_some(sum)
    }

    /// What a dialogue would say now, if anything. The truth, always.
    pub(super) fn word(&self, dialogue: &Dialogue) -> Option<Word> {
        if dialogue.hushed {
            return None;
        }
        match &dialogue.talk {
            Talk::List { asked: false, .. } => None,
            Talk::List {
                known: Some(known), ..
            } if *known == self.head() => None,
            Talk::List { at, page, .. } => Some(self.page(at.unwrap_or(self.head()), *page)),
            Talk::Stream { at: None, .. } => Some(Word::Opened),
            Talk::Stream { at: Some(at), key } => {
                let state = self.state_at(*at)?;
                let rest = KEYS.iter().zip(state).skip(usize::from(*key));
                let object = rest
                    .filter_map(|(key, object)| Some((*key, (*object)?)))
                    .next();
                Some(object.map_or(Word::InitialEnd(*at), |(key, object)| {
                    Word::Initial(key, object)
                }))
            }
            Talk::Watch {
                opened,
                said,
                part,
                told,
            } => self.change(*opened, *said, *part, *told),
        }
    }

    /// One object to a page, so that a list of two has a middle.
    fn page(&self, at: u64, page: u8) -> Word {
        // A replica that lags behind has not forgotten yet, until its list is asked to go on.
        let kept = page == 0 || at >= self.compacted;
        let Some(state) = self.state_at(at).filter(|_| kept) else {
            return Word::Failed(FailureClass::Gone);
        };
        let objects = KEYS.iter().zip(state);
        let mut items: Vec<_> = objects
            .filter_map(|(key, object)| Some((*key, (*object)?)))
            .collect();
        if self.profile == Profile::Polled {
            return Word::Page {
                revision: at,
                items,
                next: None,
            };
        }
        let next = (items.len() > usize::from(page) + 1).then_some(page + 1);
        items = items.into_iter().skip(usize::from(page)).take(1).collect();
        Word::Page {
            revision: at,
            items,
            next,
        }
    }

    fn change(&self, opened: bool, said: u64, part: usize, told: u64) -> Option<Word> {
        // A transaction that is under way is in the connection's buffer.
        if said < self.compacted && part == 0 {
            return Some(Word::Failed(FailureClass::Gone));
        }
        if !opened {
            return Some(Word::Opened);
        }
        let Some(next) = self.history.iter().find(|next| next.revision > said) else {
            let state = self.state_at(said).filter(|_| told < said)?;
            return Some(Word::Progress(said, self.digest(state)));
        };
        Some(match next.changes.get(part) {
            Some((key, object)) => Word::Change(*key, *object, next.revision, said),
            None => Word::BatchEnd(next.revision),
        })
    }

    /// A dialogue has said its word, which is the one given. False: it has no more to say.
    pub(super) fn advance(&self, dialogue: &mut Dialogue, word: &Word) -> bool {
        match (&mut dialogue.talk, word) {
            (_, Word::Failed(_)) => return false,
            (
                Talk::List {
                    at, page, asked, ..
                },
                Word::Page { revision, next, .. },
            ) => {
                (*at, *asked) = (Some(*revision), false);
                let Some(next) = next else {
                    return false;
                };
                *page = *next;
            }
            (Talk::Stream { at, .. }, Word::Opened) => *at = Some(self.head()),
            (Talk::Stream { key, .. }, Word::Initial(name, _)) => *key = name.index() as u8 + 1,
            (talk @ Talk::Stream { .. }, Word::InitialEnd(at)) => {
                *talk = Talk::Watch {
                    opened: true,
                    said: *at,
                    part: 0,
                    told: *at,
                };
            }
            (Talk::Watch { opened, .. }, Word::Opened) => *opened = true,
            (Talk::Watch { told, .. }, Word::Progress(revision, _)) => *told = *revision,
            (Talk::Watch { said, part, .. }, Word::Change(_, _, revision, _)) => {
                *part += 1;
                let changes = |next: &Transaction| next.changes.len();
                let next = self.history.iter().find(|next| next.revision == *revision);
                if !self.profile.is_ours() && next.map(changes) == Some(*part) {
                    (*said, *part) = (*revision, 0);
                }
            }
            (
                Talk::Watch {
                    said, part, told, ..
                },
                Word::BatchEnd(revision),
            ) => {
                (*said, *part, *told) = (*revision, 0, *revision);
            }
            (Talk::List { .. } | Talk::Stream { .. } | Talk::Watch { .. }, _) => {}
        }
        true
    }

    /// Loses the next transaction of a watch, if there is one that has not begun.
    pub(super) fn lose(&self, dialogue: &mut Dialogue) -> bool {
        let Talk::Watch {
            opened: true,
            said,
            part: 0,
            ..
        } = &mut dialogue.talk
        else {
            return false;
        };
        let next = self.history.iter().find(|next| next.revision > *said);
        next.map(|next| *said = next.revision).is_some()
    }
}
