//! From a key's hash to its place in a shard.
//!
//! Open addressing in one row of words, because every cache line that a reader has to fetch costs
//! more than all the rest of a look: a word holds a place and a piece of the hash, and what is looked
//! for is nearly always in the first line that is fetched. Grows by a quarter: what is not used yet is
//! paid for on both sides.

/// A place in the low bits, counted from 1 so that 0 is nothing; in the others a piece of the hash.
/// Places for a thousand million objects, in all shards together, fit nowhere else either.
const PLACE_BITS: u32 = 24;
const PLACE_MASK: u32 = (1 << PLACE_BITS) - 1;
const EMPTY: u32 = 0;

#[derive(Clone, Default)]
pub(super) struct Table {
    words: Vec<u32>,
    len: usize,
}

impl Table {
    pub(super) const fn new() -> Self {
        Self {
            words: Vec::new(),
            len: 0,
        }
    }

    /// The place of which `is_it` says that it is the one.
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let at = self.position(hash, is_it)?;
        Some(place(self.words[at]))
    }

    /// Adds a place that is not in the table. `hash_of` tells the hash of any place; where the table
    /// has to grow, it makes room for at least so many places in all.
    pub(super) fn insert(&mut self, place: u32, room: usize, hash_of: impl Fn(u32) -> u32) {
        // A quarter is always free, so every search ends, and soon.
        if (self.len + 1) * 4 > self.words.len() * 3 {
            let size = (self.words.len() * 5 / 4).max(room * 3 / 2).max(16);
            self.resize(size, &hash_of);
        }
        let hash = hash_of(place);
        self.put(hash, word(hash, place));
        self.len += 1;
    }

    pub(super) fn remove(&mut self, gone: u32, hash_of: impl Fn(u32) -> u32) {
        let hash = hash_of(gone);
        let Some(mut hole) = self.position(hash, |place| place == gone) else {
            return;
        };
        self.len -= 1;
        // Whoever would not be found any more beyond the hole moves into it.
        let mut at = hole;
        loop {
            at = self.after(at);
            let word = self.words[at];
            if word == EMPTY {
                break;
            }
            let home = self.home(hash_of(place(word)));
            if self.distance(home, at) >= self.distance(hole, at) {
                self.words[hole] = word;
                hole = at;
            }
        }
        self.words[hole] = EMPTY;
    }

    fn position(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        if self.words.is_empty() {
            return None;
        }
        let mut at = self.home(hash);
        loop {
            let found = self.words[at];
            if found == EMPTY {
                return None;
            }
            if (found ^ hash) & !PLACE_MASK == 0 && is_it(place(found)) {
                return Some(at);
            }
            at = self.after(at);
        }
    }

    fn put(&mut self, hash: u32, word: u32) {
        let mut at = self.home(hash);
        while self.words[at] != EMPTY {
            at = self.after(at);
        }
        self.words[at] = word;
    }

    fn resize(&mut self, size: usize, hash_of: impl Fn(u32) -> u32) {
        let words = std::mem::replace(&mut self.words, vec![EMPTY; size]);
        for word in words.into_iter().filter(|word| *word != EMPTY) {
            self.put(hash_of(place(word)), word);
        }
    }

    /// Where the search for a hash begins: by its low bits, since the high ones are in the word.
    fn home(&self, hash: u32) -> usize {
        let spread = hash << (u32::BITS - PLACE_BITS);
        ((u64::from(spread) * self.words.len() as u64) >> u32::BITS) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.words.len() {
            0
        } else {
            at + 1
        }
    }

    /// How far it is from one to the other, forwards.
    fn distance(&self, from: usize, to: usize) -> usize {
        if from <= to {
            to - from
        } else {
            to + self.words.len() - from
        }
    }
}

fn word(hash: u32, place: u32) -> u32 {
    hash & !PLACE_MASK | (place + 1) & PLACE_MASK
}

fn place(word: u32) -> u32 {
    (word & PLACE_MASK).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Table;

    proptest! {
        /// Few hashes, so that all of them get into each other's way.
        #[test]
        fn a_table_finds_what_is_in_it_and_nothing_else(
            steps in prop::collection::vec((any::<bool>(), 0_u32..60), 1..300),
            room in 0_usize..100,
            spread in prop::sample::select(vec![1_u32, 7, 0x0100_0000, 0x9e37_79b9]),
        ) {
            let hash = |place: u32| (place % 20).wrapping_mul(spread);
            let (mut table, mut model) = (Table::new(), std::collections::BTreeSet::new());
            for (insert, place) in steps {
                if insert && model.insert(place) {
                    table.insert(place, room, hash);
                } else if !insert && model.remove(&place) {
                    table.remove(place, hash);
                }
                for place in 0..60 {
                    let found = table.find(hash(place), |other| other == place);
                    prop_assert_eq!(found.is_some(), model.contains(&place));
                }
            }
        }
    }
}
