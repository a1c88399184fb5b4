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
    pub(super) fn idle(&self, world: &World, here: Place) -> Option<Word> {
        let held = world.shape.feed == Feed::Blocking && self.asked && self.pinned.is_none();
        (held && self.is_unmodified(world, here)).then_some(Word::Unmodified)
    }

    /// Whether what is known is what there is.
    fn is_unmodified(&self, world: &World, here: Place) -> bool {
        let same_epoch = !world.shape.epochs || self.epoch.unwrap_or(0) == here.epoch;
        same_epoch && self.known == Some(shown(world, here))
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
        let head = shown(world, here);
        let here = Place { head, ..here };
        let Some(at) = self.pinned else {
            if self.at_least.is_some_and(|least| least > head) && !world.shape.careless {
                return fail(FailureClass::Behind);
            }
            if self.is_unmodified(world, here) {
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
        if at.head < history.compacted && !world.shape.is_conditional() {
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

/// The revision that a list of this moment has.
fn shown(world: &World, here: Place) -> u64 {
    if world.shape.is_conditional() {
        world.histories[here.epoch].at(here.head).revision
    } else {
        here.head
    }
}

#[cfg(test)]
mod tests {
    use crate::world::{Ask, Dialogue, Feed, Poison, Shape, Word, World};

    fn world(feed: Feed) -> World {
        let shape = Shape {
            feed,
            fuzzy: false,
            opaque: false,
            batch_ends: false,
            predecessors: false,
            digests: false,
            versions_ordered: false,
            commit_revisions: false,
            heartbeat: false,
            epochs: false,
            uids: false,
            terse: false,
            careless: false,
            patient: false,
            gone_inside: false,
        };
        World::new(shape, 1, 1)
    }

    #[test]
    fn only_what_is_held_back_gives_up_and_only_while_nothing_has_changed() {
        for feed in [Feed::Blocking, Feed::Polled, Feed::Hints] {
            let mut world = world(feed);
            let ask = Ask::List {
                at_least: None,
                known: Some(world.now().last().revision),
                epoch: None,
                limit: 1,
            };
            let list = Dialogue::new(&world, ask, 0);
            let held = feed == Feed::Blocking;
            assert_eq!(list.idle(&world), held.then_some(Word::Unmodified));
            world.write([0], [], Poison::None, 1);
            world.sync_all();
            assert_eq!(list.idle(&world), None, "{feed:?}");
        }
    }
}
