//! What lookups find.

use alloc::collections::{BTreeSet, btree_set};
use core::{fmt, iter, slice};

use super::rows::Rows;

/// The ids of the objects that are found under a term, in ascending order.
#[derive(Clone, Debug)]
#[must_use = "nothing is looked at before it is asked for the next one"]
pub struct Ids<'a>(Walk<'a>);

#[derive(Clone, Debug)]
enum Walk<'a> {
    Slice(slice::Iter<'a, u32>),
    Set(btree_set::Iter<'a, u32>),
}

impl<'a> Ids<'a> {
    pub(crate) fn none() -> Self {
        Self(Walk::Slice([].iter()))
    }

    pub(super) fn of_slice(ids: &'a [u32]) -> Self {
        Self(Walk::Slice(ids.iter()))
    }

    pub(super) fn of_set(ids: &'a BTreeSet<u32>) -> Self {
        Self(Walk::Set(ids.iter()))
    }
}

impl Iterator for Ids<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match &mut self.0 {
            Walk::Slice(ids) => ids.next().copied(),
            Walk::Set(ids) => ids.next().copied(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            Walk::Slice(ids) => ids.len(),
            Walk::Set(ids) => ids.len(),
        };
        (left, Some(left))
    }
}

impl DoubleEndedIterator for Ids<'_> {
    fn next_back(&mut self) -> Option<u32> {
        match &mut self.0 {
            Walk::Slice(ids) => ids.next_back().copied(),
            Walk::Set(ids) => ids.next_back().copied(),
        }
    }
}

impl ExactSizeIterator for Ids<'_> {}

impl iter::FusedIterator for Ids<'_> {}

/// The ids of the objects that are found under both of two terms, in ascending order.
#[derive(Clone)]
#[must_use = "nothing is looked at before it is asked for the next one"]
pub struct Both<'a> {
    /// Of the term that has fewer.
    ids: Ids<'a>,
    /// The other index's rows, and the term to look for in them.
    other: Option<(&'a Rows, u32)>,
}

impl<'a> Both<'a> {
    pub(crate) fn none() -> Self {
        Self {
            ids: Ids::none(),
            other: None,
        }
    }

    pub(super) fn new(ids: Ids<'a>, rows: &'a Rows, term: u32) -> Self {
        Self {
            ids,
            other: Some((rows, term)),
        }
    }
}

impl Iterator for Both<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (rows, term) = self.other?;
        self.ids.find(|id| rows.has(*id, term))
    }
}

impl fmt::Debug for Both<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}
