//! How the source serves a watch.

use std::collections::VecDeque;

use reflet_core::FailureClass;

use super::{Object, Place, Poison, Start, Tx, Word, World};

#[derive(Clone, Debug)]
pub(super) struct Watch {
    from: Start,
    epoch: Option<usize>,
    /// What it has served up to, once open.
    at: Option<Place>,
    /// What progress was last told of.
    told: u64,
    /// The state that the initial stream showed.
    pub(super) initial: Option<Place>,
}

impl Watch {
    pub(super) fn new(from: Start, epoch: Option<usize>) -> Self {
        Self {
            from,
            epoch,
            at: None,
            told: 0,
            initial: None,
        }
    }

    pub(super) fn idle(&self, world: &World, replica: usize) -> Option<Word> {
        // A watch from the future hears what there is.
        let here = world.replicas[replica];
        self.at.map(|at| {
            if at.head > here.head {
                progress(world, here)
            } else {
                progress(world, at)
            }
        })
    }

    pub(super) fn think(&mut self, world: &World, here: Place) -> VecDeque<Word> {
        match self.at {
            None => self.open(world, here),
            Some(at) => self.follow(world, here, at),
        }
    }

    fn open(&mut self, world: &World, here: Place) -> VecDeque<Word> {
        let fail = |class| VecDeque::from([Word::Failed(class, None)]);
        let opened = Word::Opened(here.epoch);
        let history = &world.histories[here.epoch];
        match self.from {
            Start::Now => VecDeque::new(),
            Start::Initial(least) => {
                if least.is_some_and(|least| least > here.head) && !world.shape.careless {
                    return fail(FailureClass::Behind);
                }
                (self.at, self.initial, self.told) = (Some(here), Some(here), here.head);
                let state = &history.at(here.head).state;
                let mut words = VecDeque::from([opened]);
                words.extend(
                    state
                        .iter()
                        .rev()
                        .map(|(key, object)| Word::Initial(*key, *object)),
                );
                words.push_back(Word::InitialEnd(here.head));
                words
            }
            Start::After(from) => {
                let named =
                    world.shape.epochs && self.epoch.is_some_and(|epoch| epoch != here.epoch);
                if named || from < history.compacted {
                    let gone = fail(FailureClass::Gone);
                    return if world.shape.gone_inside {
                        [opened].into_iter().chain(gone).collect()
                    } else {
                        gone
                    };
                }
                if from > here.head && !world.shape.patient {
                    return fail(FailureClass::Behind);
                }
                self.at = Some(Place { head: from, ..here });
                self.told = from;
                let mut words = VecDeque::from([opened]);
                if from > here.head {
                    words.push_back(progress(world, here));
                }
                words
            }
        }
    }

    /// The next transaction after `at`, or progress.
    fn follow(&mut self, world: &World, here: Place, at: Place) -> VecDeque<Word> {
        if at.epoch != here.epoch {
            return [Word::Closed].into();
        }
        let history = &world.histories[here.epoch];
        let next = history.txs.get(history.until(at.head));
        match next.filter(|tx| tx.revision <= here.head) {
            // Where a watch can no longer start before, only what comes after that is still told.
            Some(tx) if tx.revision <= history.compacted => {
                [Word::Failed(FailureClass::Gone, None)].into()
            }
            Some(tx) => {
                self.at = Some(Place {
                    head: tx.revision,
                    ..at
                });
                transaction(world, tx, at)
            }
            None if self.told < here.head && at.head <= here.head => {
                self.at = Some(here);
                self.told = here.head;
                [progress(world, here)].into()
            }
            None => VecDeque::new(),
        }
    }
}

/// A stream that only says that something changed, until the last replica has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints {
    seen: Option<Vec<Place>>,
}

impl Hints {
    pub(super) fn think(&mut self, world: &World, here: Place) -> VecDeque<Word> {
        match &mut self.seen {
            None => {
                self.seen = Some(world.replicas.clone());
                [Word::Opened(here.epoch)].into()
            }
            Some(seen) if *seen != world.replicas => {
                seen.clone_from(&world.replicas);
                [Word::Hint].into()
            }
            Some(_) => VecDeque::new(),
        }
    }
}

fn progress(world: &World, at: Place) -> Word {
    let digest = world.histories[at.epoch].at(at.head).digest;
    Word::Progress(at.head, world.shape.digests.then_some(digest))
}

fn transaction(world: &World, tx: &Tx, at: Place) -> VecDeque<Word> {
    // Where revisions have no order, a watch goes on from where its own stream stands.
    let previous = if world.shape.opaque {
        at.head
    } else {
        tx.previous
    };
    let mut words: VecDeque<_> = tx
        .changes
        .values()
        .filter_map(|change| match (change.before, change.after) {
            (_, Some(object)) => Some(Word::Put(change.key, object, tx.revision, previous)),
            (Some(object), None) => {
                // A delete needs no payload.
                let object = Object {
                    poison: Poison::None,
                    ..object
                };
                Some(Word::Delete(change.key, object, tx.revision, previous))
            }
            (None, None) => None,
        })
        .collect();
    if world.shape.batch_ends {
        words.push_back(Word::BatchEnd(tx.revision));
    }
    words
}
