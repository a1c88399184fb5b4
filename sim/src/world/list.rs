//! How the source answers a list, page by page.

use std::collections::VecDeque;

use reflet_core::FailureClass;

use super::{Feed, Place, Word, World};

#[derive(Clone, Debug)]
pub(super) struct List {
    at_least: Option<u64>,
    known: Option<u64>,
    epoch: Option<usize>,
    /// Where the pages are pinned, once the first one was served.
    pub(super) pinned: Option<Place>,
    page: u32,
    limit: u32,
    pub(super) asked: bool,
}

impl List {
    pub(super) fn new(
        at_least: Option<u64>,
        known: Option<u64>,
        epoch: Option<usize>,
        limit: u32,
    ) -> Self {
        Self {
            at_least,
            known,
            epoch,
            pinned: None,
            page: 0,
            limit: limit.max(1),
            asked: true,
        }
    }

    /// A request that is held back gives up after a while, and says that nothing changed.
    pub(super) fn idle(&self) -> Option<Word> {
        (self.asked && self.known.is_some()).then_some(Word::Unmodified)
    }

    pub(super) fn think(&mut self, world: &World, here: Place) -> VecDeque<Word> {
        if !self.asked {
            return VecDeque::new();
        }
        match self.pin(world, here) {
            Ok(Some(at)) => self.page(world, at),
            Ok(None) => VecDeque::new(),
            Err(word) => [word].into(),
        }
    }

    /// The state that the next page shows; nothing while the answer is held back.
    fn pin(&mut self, world: &World, here: Place) -> Result<Option<Place>, Word> {
        let fail = |class| Err(Word::Failed(class, None));
        let history = &world.histories[here.epoch];
        let conditional = world.shape.is_conditional();
        let head = if conditional {
            history.at(here.head).revision
        } else {
            here.head
        };
        let here = Place { head, ..here };
        let Some(at) = self.pinned else {
            if self.at_least.is_some_and(|least| least > head) && !world.shape.careless {
                return fail(FailureClass::Behind);
            }
            let same_epoch = !world.shape.epochs || self.epoch.unwrap_or(0) == here.epoch;
            if self.known == Some(head) && same_epoch {
                if world.shape.feed == Feed::Blocking {
                    return Ok(None);
                }
                return Err(Word::Unmodified);
            }
            self.pinned = Some(here);
            return Ok(Some(here));
        };
        if at.epoch != here.epoch {
            // A careless one goes on with the pages of another history.
            return if world.shape.careless {
                Ok(Some(here))
            } else {
                fail(FailureClass::Gone)
            };
        }
        if world.shape.fuzzy {
            return Ok(Some(here));
        }
        if at.head < history.compacted && !conditional {
            return fail(FailureClass::Gone);
        }
        Ok(Some(at))
    }

    fn page(&mut self, world: &World, at: Place) -> VecDeque<Word> {
        self.asked = false;
        let state = &world.histories[at.epoch].at(at.head).state;
        let mut words = VecDeque::from([Word::Page(at.epoch, at.head)]);
        // Pages are ranges of keys, so that an unpinned list tears, but loses nothing.
        let from = self.page.saturating_mul(self.limit);
        let to = from.saturating_add(self.limit);
        words.extend(
            state
                .range(from..to)
                .map(|(key, object)| Word::Item(*key, *object)),
        );
        self.page += 1;
        let more = (to as usize) < world.names.len();
        words.push_back(Word::PageEnd(more.then(|| self.page.to_string())));
        words
    }
}
