//! Which live objects the running list has seen, so that the others can be deleted after it.

use alloc::vec::Vec;
use core::hash::BuildHasher;

use crate::key::Key;

use super::{Cache, Place};

const BITS: usize = u64::BITS as usize;

/// The ids of the entries that are marked: one bit each, so that the marks of a list of unchanged
/// objects write nothing else.
#[derive(Clone, Default)]
pub(super) struct Marks {
    words: Vec<u64>,
    count: usize,
}

impl Marks {
    fn clear(&mut self) {
        self.words.clear();
        self.count = 0;
    }

    pub(super) fn contains(&self, id: u32) -> bool {
        let (word, bit) = Self::place(id);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    fn insert(&mut self, id: u32) {
        let (word, bit) = Self::place(id);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let word = &mut self.words[word];
        self.count += usize::from(*word & bit == 0);
        *word |= bit;
    }

    fn remove(&mut self, id: u32) {
        let (word, bit) = Self::place(id);
        if let Some(word) = self.words.get_mut(word) {
            self.count -= usize::from(*word & bit != 0);
            *word &= !bit;
        }
    }

    const fn place(id: u32) -> (usize, u64) {
        (id as usize / BITS, 1 << (id as usize % BITS))
    }

    #[cfg(any(test, feature = "simulated"))]
    pub(super) const fn len(&self) -> usize {
        self.count
    }
}

impl<K: Key, V: Clone, S: BuildHasher> Cache<K, V, S> {
    /// A list begins: nothing is marked.
    pub(crate) fn start_marking(&mut self) {
        self.marks.clear();
    }

    /// The running list has seen this key. False if no such object is live.
    pub(crate) fn mark(&mut self, key: &K::Borrowed) -> bool {
        self.mark_at(self.place(key))
    }

    /// The same of a key whose place is known.
    pub(crate) fn mark_at(&mut self, Place(id): Place) -> bool {
        let live = id.filter(|id| self.log.nodes.entries.is_live(*id));
        if let Some(id) = live {
            self.marks.insert(id);
        }
        live.is_some()
    }

    /// Whether the running list has seen this key.
    pub(crate) fn has_marked(&self, key: &K::Borrowed) -> bool {
        self.find_live(key).is_some_and(|id| self.is_marked(id))
    }

    /// The list is over: deletes every live object that was not marked since it began, unless
    /// `spare` says otherwise, in the order of their last changes. Returns how many went.
    pub(crate) fn delete_unmarked(&mut self, spare: &mut dyn FnMut(&K) -> bool) -> usize {
        if self.marks.count == self.live {
            return 0;
        }
        // A delete moves an entry and may free others, but never one that is live.
        let live = self.log.nodes.live_ids();
        let unmarked: Vec<u32> = live.filter(|id| !self.is_marked(*id)).collect();
        let mut deleted = 0;
        for id in unmarked {
            let spared = self.log.nodes.entries.key(id).is_none_or(&mut *spare);
            if !spared {
                self.delete_entry(id, None, true);
                deleted += 1;
            }
        }
        deleted
    }

    pub(super) fn is_marked(&self, id: u32) -> bool {
        self.marks.contains(id)
    }

    /// An object that is about to go no longer counts as marked.
    pub(super) fn unmark_entry(&mut self, id: u32) {
        self.marks.remove(id);
    }
}
