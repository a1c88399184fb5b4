//! What the source says to one attempt, word by word.

use std::collections::VecDeque;

use reflet_core::{Command, Digest, FailureClass, Feed, Revision, RevisionOrder, WatchFrom};

use super::{KEYS, Name, Object, Replica, State, World};

/// One thing that the source says.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    Opened(usize),
    Page(usize, u64),
    Item(Name, Object),
    PageEnd(Option<String>),
    Unmodified,
    Put(Name, Object, u64, u64),
    Delete(Name, Object, u64, u64),
    BatchEnd(u64),
    InitialItem(Name, Object),
    InitialEnd(u64),
    Progress(u64, Option<Digest>),
    Heartbeat,
    Hint,
    Closed,
    Failed(FailureClass, Option<u64>),
    BadItem(Name, Object),
    BadInitial(Name, Object),
    BadPut(Name, Object, u64, u64),
    Unreadable,
}

impl Word {
    /// Whether nothing comes after it.
    pub fn is_last(&self) -> bool {
        matches!(
            self,
            Self::Closed | Self::Failed(..) | Self::PageEnd(None) | Self::Unmodified
        )
    }
}

pub struct Dialogue {
    replica: usize,
    kind: Kind,
    words: VecDeque<Word>,
    /// The last word said, to be said once more.
    pub last: Option<Word>,
    /// The connection is dead, and nobody was told.
    pub muted: bool,
}

enum Kind {
    List {
        at_least: Option<u64>,
        known: Option<u64>,
        epoch: Option<usize>,
        /// Where the pages are pinned, once the first one was served.
        pinned: Option<Replica>,
        page: usize,
        limit: usize,
        asked: bool,
    },
    Watch {
        from: Option<Result<u64, Option<u64>>>,
        epoch: Option<usize>,
        at: Option<Replica>,
        /// What progress was last told of.
        told: u64,
    },
    Hints {
        /// The replicas when it last hinted: it hints until the last one has a change.
        at: Option<Vec<Replica>>,
    },
}

impl Dialogue {
    /// The dialogue for an attempt's first command.
    pub fn new(world: &World, command: &Command, replica: usize) -> Self {
        let number = |revision: &Option<Revision>| revision.as_ref().map(World::number);
        let kind = match command {
            Command::List {
                at_least,
                known,
                epoch,
                limit,
                ..
            } => Kind::List {
                at_least: number(at_least),
                known: number(known),
                epoch: epoch.as_ref().map(|epoch| World::epoch_number(Some(epoch))),
                pinned: None,
                page: 0,
                limit: *limit as usize,
                asked: true,
            },
            Command::Watch { from, epoch, .. } => {
                let from = match from {
                    WatchFrom::Revision(revision) => Some(Ok(World::number(revision))),
                    WatchFrom::Initial { at_least } => Some(Err(number(at_least))),
                    WatchFrom::Now => None,
                };
                match from {
                    None => Kind::Hints { at: None },
                    from => Kind::Watch {
                        from,
                        epoch: epoch.as_ref().map(|epoch| World::epoch_number(Some(epoch))),
                        at: None,
                        told: 0,
                    },
                }
            }
            Command::Cancel { .. } => panic!("a cancel starts nothing"),
        };
        Self {
            replica: replica % world.replicas.len(),
            kind,
            words: VecDeque::new(),
            last: None,
            muted: false,
        }
    }

    /// The next page is asked for.
    pub fn ask(&mut self) {
        if let Kind::List { asked, .. } = &mut self.kind {
            *asked = true;
        }
    }

    /// The next word, if there is anything to say.
    pub fn next(&mut self, world: &World) -> Option<Word> {
        if self.words.is_empty() {
            self.words = self.think(world);
        }
        let word = self.words.pop_front()?;
        self.last = Some(word.clone());
        Some(word)
    }

    /// What a connection that has nothing to say says from time to time.
    pub fn idle(&mut self, world: &World) -> Option<Word> {
        match &self.kind {
            Kind::List {
                known: Some(_),
                asked: true,
                ..
            } => Some(Word::Unmodified),
            Kind::List { .. } => None,
            Kind::Watch { at: Some(at), .. } => {
                let state = world.state_at(at.epoch, at.head);
                Some(Word::Progress(at.head, world.digest(state)))
            }
            Kind::Watch { .. } => None,
            Kind::Hints { .. } => Some(Word::Heartbeat),
        }
    }

    /// Loses the rest of what was about to be said, up to the end of its transaction.
    pub fn lose(&mut self) {
        while let Some(Word::Put(..) | Word::Delete(..) | Word::BatchEnd(_)) = self.words.front() {
            self.words.pop_front();
        }
    }

    /// Whether the next word begins a transaction.
    pub fn at_transaction(&mut self, world: &World) -> bool {
        if self.words.is_empty() {
            self.words = self.think(world);
            return matches!(self.words.front(), Some(Word::Put(..) | Word::Delete(..)));
        }
        false
    }

    /// Loses a batch end that comes next.
    pub fn lose_batch_end(&mut self) {
        if let Some(Word::BatchEnd(_)) = self.words.front() {
            self.words.pop_front();
        }
    }

    fn think(&mut self, world: &World) -> VecDeque<Word> {
        let here = world.replicas[self.replica];
        match &mut self.kind {
            Kind::List { asked: false, .. } => VecDeque::new(),
            Kind::List { .. } => self.page(world, here),
            Kind::Watch { at: None, .. } => self.open(world, here),
            Kind::Watch {
                at: Some(at), told, ..
            } => follow(world, here, at, told),
            Kind::Hints { at } => match at {
                None => {
                    *at = Some(world.replicas.clone());
                    [Word::Opened(here.epoch)].into()
                }
                Some(seen) if *seen != world.replicas => {
                    seen.clone_from(&world.replicas);
                    [Word::Hint].into()
                }
                Some(_) => VecDeque::new(),
            },
        }
    }

    fn page(&mut self, world: &World, here: Replica) -> VecDeque<Word> {
        let Kind::List {
            at_least,
            known,
            epoch,
            pinned,
            page,
            limit,
            asked,
        } = &mut self.kind
        else {
            return VecDeque::new();
        };
        let fail = |class| [Word::Failed(class, None)].into();
        let history = &world.histories[here.epoch];
        let newest = history.txs[history.until(here.head) - 1].revision;
        let shown = if world.is_conditional() {
            newest
        } else {
            here.head
        };
        let at = match *pinned {
            None => {
                if at_least.is_some_and(|least| least > shown) && !world.habits.careless {
                    return fail(FailureClass::Behind);
                }
                let same_epoch = epoch.unwrap_or(0) == here.epoch;
                if *known == Some(shown) && same_epoch {
                    if world.profile.feed == (Feed::FullState { blocking: true }) {
                        return VecDeque::new();
                    }
                    return [Word::Unmodified].into();
                }
                *pinned = Some(Replica {
                    head: shown,
                    ..here
                });
                Replica {
                    head: shown,
                    ..here
                }
            }
            Some(at) if at.epoch != here.epoch => return fail(FailureClass::Gone),
            Some(_) if world.is_fuzzy() => here,
            Some(at) if at.head < history.compacted && !world.is_conditional() => {
                return fail(FailureClass::Gone);
            }
            Some(at) => at,
        };
        *asked = false;
        let state = world.state_at(at.epoch, at.head);
        // Pages are ranges of keys, so that an unpinned list tears, but loses nothing.
        let range = KEYS.iter().skip(*page * *limit).take(*limit);
        let mut words: VecDeque<_> = [Word::Page(at.epoch, at.head)].into();
        words.extend(range.filter_map(|key| Some(Word::Item(key, *state.get(key)?))));
        *page += 1;
        let more = *page * *limit < KEYS.len();
        words.push_back(Word::PageEnd(more.then(|| page.to_string())));
        words
    }

    fn open(&mut self, world: &World, here: Replica) -> VecDeque<Word> {
        let Kind::Watch {
            from: Some(from),
            epoch,
            at,
            told,
        } = &mut self.kind
        else {
            return VecDeque::new();
        };
        let history = &world.histories[here.epoch];
        let opened = Word::Opened(here.epoch);
        let gone = |opened| {
            let gone = Word::Failed(FailureClass::Gone, None);
            if world.habits.gone_inside {
                [opened, gone].into()
            } else {
                VecDeque::from([gone])
            }
        };
        match *from {
            Ok(_) if epoch.is_some_and(|epoch| epoch != here.epoch) => gone(opened),
            Ok(from) if from < history.compacted => gone(opened),
            Ok(from) if from > here.head && !world.habits.patient => {
                [Word::Failed(FailureClass::Behind, None)].into()
            }
            Ok(from) => {
                *at = Some(Replica {
                    epoch: here.epoch,
                    head: from,
                });
                *told = from;
                let mut words = VecDeque::from([opened]);
                if from > here.head {
                    let state = world.state_at(here.epoch, here.head);
                    words.push_back(Word::Progress(here.head, world.digest(state)));
                }
                words
            }
            Err(least)
                if least.is_some_and(|least| least > here.head) && !world.habits.careless =>
            {
                [Word::Failed(FailureClass::Behind, None)].into()
            }
            Err(_) => {
                *at = Some(here);
                *told = here.head;
                let state = world.state_at(here.epoch, here.head);
                let mut words: VecDeque<_> = [opened].into();
                words.extend(
                    state
                        .iter()
                        .rev()
                        .map(|(key, object)| Word::InitialItem(key, *object)),
                );
                words.push_back(Word::InitialEnd(here.head));
                words
            }
        }
    }
}

/// The next transaction after `at`, or progress.
fn follow(world: &World, here: Replica, at: &mut Replica, told: &mut u64) -> VecDeque<Word> {
    if at.epoch != here.epoch {
        return [Word::Closed].into();
    }
    let history = &world.histories[here.epoch];
    let next = history.txs.get(history.until(at.head));
    match next.filter(|tx| tx.revision <= here.head) {
        Some(_)
            if at.head < history.compacted
                && history.compacted > history.txs[history.until(at.head)].revision =>
        {
            [Word::Failed(FailureClass::Gone, None)].into()
        }
        Some(tx) => {
            let previous = match world.profile.order {
                RevisionOrder::Ordered => tx.previous,
                RevisionOrder::Opaque => at.head,
            };
            let mut words: VecDeque<_> = tx
                .changes
                .iter()
                .map(|(key, before, after)| match (before, after) {
                    (_, Some(object)) => Word::Put(key, *object, tx.revision, previous),
                    (Some(object), None) => Word::Delete(key, *object, tx.revision, previous),
                    (None, None) => panic!("nothing changed"),
                })
                .collect();
            if world.profile.batch_ends {
                words.push_back(Word::BatchEnd(tx.revision));
            }
            at.head = tx.revision;
            words
        }
        None if *told < here.head && at.head <= here.head => {
            at.head = here.head;
            *told = here.head;
            let state: &State = world.state_at(here.epoch, here.head);
            [Word::Progress(here.head, world.digest(state))].into()
        }
        None => VecDeque::new(),
    }
}
