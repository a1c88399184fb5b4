//! Which live objects the running list has seen, so that the others can be deleted after it.

use alloc::vec::Vec;
use core::hash::BuildHasher;

use crate::key::Key;

use super::Cache;

impl<K: Key, V: Clone, S: BuildHasher> Cache<K, V, S> {
    /// A list begins: nothing is marked.
    pub(crate) fn start_marking(&mut self) {
        self.round = self.round.wrapping_add(1);
        self.marked = 0;
    }

    /// The running list has seen this key. False if no such object is live.
    pub(crate) fn mark(&mut self, key: &K::Borrowed) -> bool {
        match self.find_live(key) {
            Some(id) => {
                self.mark_entry(id);
                true
            }
            None => false,
        }
    }

    /// Whether the running list has seen this key.
    pub(crate) fn has_marked(&self, key: &K::Borrowed) -> bool {
        self.find_live(key).is_some_and(|id| self.is_marked(id))
    }

    /// The list is over: deletes every live object that was not marked since it began, unless
    /// `spare` says otherwise, in the order of their last changes. Returns how many went.
    pub(crate) fn delete_unmarked(&mut self, spare: &mut dyn FnMut(&K) -> bool) -> usize {
        if self.marked == self.live {
            return 0;
        }
        // A delete moves an entry and may free others, but never one that is live.
        let live = self.log.nodes.live_ids();
        let unmarked: Vec<u32> = live.filter(|id| !self.is_marked(*id)).collect();
        let mut deleted = 0;
        for id in unmarked {
            let spared = self.log.nodes.entries[id]
                .key
                .as_ref()
                .is_none_or(&mut *spare);
            if !spared {
                self.delete_entry(id, None, true);
                deleted += 1;
            }
        }
        deleted
    }

    pub(super) fn is_marked(&self, id: u32) -> bool {
        self.log.nodes.entries[id].round == self.round
    }

    pub(super) fn mark_entry(&mut self, id: u32) {
        let entry = &mut self.log.nodes.entries[id];
        if entry.round != self.round {
            entry.round = self.round;
            self.marked += 1;
        }
    }

    /// An object that is about to go no longer counts as marked.
    pub(super) fn unmark_entry(&mut self, id: u32) {
        let unmarked = self.unmarked_round();
        let entry = &mut self.log.nodes.entries[id];
        if entry.round == self.round {
            entry.round = unmarked;
            self.marked -= 1;
        }
    }

    /// A round that is not the running one.
    pub(super) const fn unmarked_round(&self) -> u32 {
        self.round.wrapping_sub(1)
    }
}
