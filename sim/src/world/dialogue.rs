//! What the source says to one attempt, word by word.

use std::collections::VecDeque;

use super::list::List;
use super::watch::{Hints, Watch};
use super::{Place, Word, World};

/// Where a watch is asked to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// After a revision.
    After(u64),
    /// With the whole state, not older than this.
    Initial(Option<u64>),
    /// Now, hints only.
    Now,
}

/// What an attempt asks for, in the world's own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A list.
    List {
        /// Not older than this.
        at_least: Option<u64>,
        /// Only if it is no longer this.
        known: Option<u64>,
        /// The history that those are of.
        epoch: Option<usize>,
        /// Items in a page.
        limit: u32,
    },
    /// A watch.
    Watch {
        /// From where.
        from: Start,
        /// The history that that is of.
        epoch: Option<usize>,
    },
}

/// One attempt, as the source sees it.
#[derive(Clone, Debug)]
pub struct Dialogue {
    /// The replica that answers.
    pub replica: usize,
    kind: Kind,
    words: VecDeque<Word>,
    /// The last word said, to be said once more.
    pub last: Option<Word>,
    /// A change from before that.
    pub earlier: Option<Word>,
    change: Option<Word>,
    /// The connection is dead, and nobody was told.
    pub muted: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    List(List),
    Watch(Watch),
    Hints(Hints),
}

impl Dialogue {
    /// The dialogue for an attempt's first command.
    #[must_use]
    pub fn new(world: &World, ask: Ask, replica: usize) -> Self {
        let kind = match ask {
            Ask::List {
                at_least,
                known,
                epoch,
                limit,
            } => Kind::List(List::new(at_least, known, epoch, limit)),
            Ask::Watch {
                from: Start::Now, ..
            } => Kind::Hints(Hints::default()),
            Ask::Watch { from, epoch } => Kind::Watch(Watch::new(from, epoch)),
        };
        Self {
            replica: replica % world.replicas.len(),
            kind,
            words: VecDeque::new(),
            last: None,
            earlier: None,
            change: None,
            muted: false,
        }
    }

    /// Whether it is a list.
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(_))
    }

    /// The revision that its pages are pinned to, once the first one was served.
    #[must_use]
    pub fn pinned(&self) -> Option<Place> {
        match &self.kind {
            Kind::List(list) => list.pinned,
            Kind::Watch(watch) => watch.initial,
            Kind::Hints(_) => None,
        }
    }

    /// The next page is asked for.
    pub fn ask(&mut self) {
        if let Kind::List(list) = &mut self.kind {
            list.asked = true;
        }
    }

    /// The next word, if there is anything to say.
    pub fn next(&mut self, world: &World) -> Option<Word> {
        self.prepare(world);
        let word = self.words.pop_front()?;
        self.remember(&word);
        self.last = Some(word.clone());
        Some(word)
    }

    /// Keeps a change to be said once more: best one that has been undone since.
    fn remember(&mut self, word: &Word) {
        if !word.is_change() {
            return;
        }
        let undone = |earlier: &Word| match (earlier, word) {
            (Word::Put(before, ..), Word::Delete(after, ..))
            | (Word::Delete(before, ..), Word::Put(after, ..)) => before == after,
            _ => false,
        };
        let kept = self.earlier.as_ref().is_some_and(undone);
        let before = self.change.replace(word.clone());
        if !kept {
            self.earlier = before.or(self.earlier.take());
        }
    }

    /// The next word, unsaid.
    pub fn peek(&mut self, world: &World) -> Option<&Word> {
        self.prepare(world);
        self.words.front()
    }

    /// Loses the next word.
    pub fn lose_word(&mut self, world: &World) -> Option<Word> {
        self.prepare(world);
        self.words.pop_front()
    }

    /// Loses what comes next, up to the end of its transaction; the transaction's revision.
    pub fn lose_transaction(&mut self, world: &World) -> Option<u64> {
        self.prepare(world);
        let Some(Word::Put(_, _, lost, _) | Word::Delete(_, _, lost, _)) = self.words.front()
        else {
            return None;
        };
        let lost = *lost;
        while let Some(Word::Put(..) | Word::Delete(..) | Word::BatchEnd(_)) = self.words.front() {
            self.words.pop_front();
        }
        Some(lost)
    }

    /// Puts the next transaction behind the one after it; the revision that now comes late.
    pub fn swap_transactions(&mut self, world: &World) -> Option<u64> {
        self.prepare(world);
        let lost = match self.words.front() {
            Some(Word::Put(_, _, lost, _) | Word::Delete(_, _, lost, _)) => *lost,
            _ => return None,
        };
        let first = core::mem::take(&mut self.words);
        self.prepare(world);
        self.words.extend(first);
        Some(lost)
    }

    /// What a connection that has nothing to say says from time to time.
    #[must_use]
    pub fn idle(&self, world: &World) -> Option<Word> {
        match &self.kind {
            Kind::List(list) => list.idle(world, world.replicas[self.replica]),
            Kind::Watch(watch) => watch.idle(world, self.replica),
            Kind::Hints(_) => Some(Word::Heartbeat),
        }
    }

    fn prepare(&mut self, world: &World) {
        if self.words.is_empty() {
            let here = world.replicas[self.replica];
            self.words = match &mut self.kind {
                Kind::List(list) => list.think(world, here),
                Kind::Watch(watch) => watch.think(world, here),
                Kind::Hints(hints) => hints.think(world, here),
            };
        }
    }
}
