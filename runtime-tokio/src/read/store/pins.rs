//! Which publications somebody still looks at.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The pinned flips. Locked for moments only: to pin, to let go, to flip.
#[derive(Default)]
pub(super) struct Pins {
    held: BTreeMap<u64, usize>,
    /// Those that nobody holds any more, and that the writer has not heard of yet. Each once: the
    /// newest may be held and let go a million times before the writer has something to say again.
    dropped: BTreeSet<u64>,
}

impl Pins {
    pub(super) fn hold(&mut self, flip: u64) {
        *self.held.entry(flip).or_default() += 1;
    }

    pub(super) fn release(&mut self, flip: u64) {
        if let Some(holders) = self.held.get_mut(&flip) {
            *holders -= 1;
            if *holders == 0 {
                self.held.remove(&flip);
                self.dropped.insert(flip);
            }
        }
    }

    pub(super) fn newest(&self) -> Option<u64> {
        self.held.last_key_value().map(|(flip, _)| *flip)
    }

    /// The newest pin that sees what was in force between two flips.
    pub(super) fn newest_in(&self, flips: Range<u64>) -> Option<u64> {
        self.held.range(flips).next_back().map(|(flip, _)| *flip)
    }

    /// How many of those there are.
    #[cfg(test)]
    #[allow(
        dead_code,
        reason = "used by a test that compiles this source by itself"
    )]
    pub(super) fn unheard(&self) -> usize {
        self.dropped.len()
    }

    pub(super) fn has_dropped(&self) -> bool {
        !self.dropped.is_empty()
    }

    pub(super) fn take_dropped(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.dropped)
    }
}
