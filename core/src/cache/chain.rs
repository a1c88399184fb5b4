//! The superseded versions of one key.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::nodes::OldNode;

/// The ids of one key's superseded versions, oldest first.
///
/// Most keys have none, one or two. A hot key has as many as there are subscribers asleep at different
/// positions, so it is searched by halving and never walked. The ids' sequence numbers live with
/// the versions: `seq_of` looks them up.
#[derive(Clone, Default)]
pub(super) enum Chain {
    #[default]
    Empty,
    One(u32),
    /// The second one comes while the first waits to be reclaimed: often enough not to allocate.
    Two([u32; 2]),
    Many(Box<Many>),
}

#[derive(Clone, Default)]
pub(super) struct Many(VecDeque<u32>);

impl Chain {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Adds a version that is newer than all others.
    pub(super) fn push(&mut self, id: u32) {
        match self {
            Self::Empty => *self = Self::One(id),
            Self::One(first) => *self = Self::Two([*first, id]),
            Self::Two([first, second]) => {
                *self = Self::Many(Box::new(Many([*first, *second, id].into())));
            }
            Self::Many(many) => many.0.push_back(id),
        }
    }

    /// The newest version with a sequence number of at most `seq`.
    #[inline(always)]
    pub(super) fn newest_up_to<'a, V>(
        &self,
        seq: u64,
        olds: impl Fn(u32) -> &'a OldNode<V>,
    ) -> Option<&'a OldNode<V>> {
        let known = |id| Some(olds(id)).filter(|old| old.seq <= seq);
        match self {
            Self::Empty => None,
            Self::One(id) => known(*id),
            Self::Two([first, second]) => known(*second).or_else(|| known(*first)),
            Self::Many(many) => {
                let newer = many.0.partition_point(|id| olds(*id).seq <= seq);
                known(*many.0.get(newer.checked_sub(1)?)?)
            }
        }
    }

    /// Removes the version with the sequence number `seq`.
    pub(super) fn remove(&mut self, seq: u64, seq_of: impl Fn(u32) -> u64) {
        match self {
            Self::Empty => {}
            Self::One(_) => *self = Self::Empty,
            Self::Two([first, second]) if seq_of(*first) == seq => *self = Self::One(*second),
            Self::Two([first, _]) => *self = Self::One(*first),
            Self::Many(many) => {
                let index = many.0.partition_point(|id| seq_of(*id) < seq);
                many.0.remove(index);
                if let (Some(first), Some(second), 2) =
                    (many.0.front(), many.0.back(), many.0.len())
                {
                    *self = Self::Two([*first, *second]);
                }
            }
        }
    }

    /// The newest version of a kind.
    pub(super) fn newest_where(&self, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        match self {
            Self::Empty => None,
            Self::One(id) => Some(*id).filter(|id| is_it(*id)),
            Self::Two([first, second]) => [*second, *first].into_iter().find(|id| is_it(*id)),
            Self::Many(many) => many.0.iter().rev().copied().find(|id| is_it(*id)),
        }
    }

    #[cfg(any(test, feature = "simulated"))]
    pub(super) fn ids(&self) -> alloc::vec::Vec<u32> {
        match self {
            Self::Empty => alloc::vec::Vec::new(),
            Self::One(id) => alloc::vec![*id],
            Self::Two(ids) => ids.to_vec(),
            Self::Many(many) => many.0.iter().copied().collect(),
        }
    }
}
