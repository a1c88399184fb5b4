//! Which worker a key belongs to.

use core::fmt;
use core::num::NonZero;

use crate::digest::{FNV_OFFSET, fnv1a, mix};
use crate::key::Key;
use crate::probe::canary;

/// One of several shares of all keys, for one of several workers.
///
/// Each key belongs to exactly one partition, and to the same one always: in any process, on any
/// target, whoever else subscribes. So what happens to a key is told to one worker, in order, and
/// workers may as well be in different processes.
///
/// The price of that is that there is no secret in it: whoever chooses the keys can choose them so
/// that all belong to one partition. A worker that then falls behind is reset, like any subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    index: u32,
    of: NonZero<u32>,
}

impl Partition {
    /// The partition with this number, counted from zero, out of so many. `None` if there are not
    /// that many.
    #[must_use]
    pub fn new(index: u32, of: NonZero<u32>) -> Option<Self> {
        (index < of.get()).then_some(Self { index, of })
    }

    /// All partitions where there are so many, in the order of their numbers.
    pub fn all(of: NonZero<u32>) -> impl Iterator<Item = Self> {
        (0..of.get()).map(move |index| Self { index, of })
    }

    /// Its number, counted from zero.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How many partitions there are.
    #[must_use]
    pub const fn of(self) -> NonZero<u32> {
        self.of
    }

    /// Whether a key belongs to this partition: FNV-1a (64 bits) of the key's bytes, mixed by the
    /// finalizer of splitmix64, modulo the number of partitions.
    #[must_use]
    pub fn has<K: Key>(self, key: &K::Borrowed) -> bool {
        let hash = mix(fnv1a(FNV_OFFSET, K::bytes(key)));
        let of = u64::from(self.of.get()) + u64::from(canary!(LosePartition));
        hash % of == u64::from(self.index)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.index, self.of)
    }
}
