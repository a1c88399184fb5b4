//! The places that objects are at.

use super::shard::Hash;
use super::{SHARDS, make_room};

/// Where something is: a shard in the highest bits, a place in it in the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(u32);

const LOCAL_BITS: u32 = u32::BITS - SHARDS.ilog2();

impl Address {
    pub(super) const NONE: Self = Self(u32::MAX);

    pub(super) fn new(shard: usize, local: u32) -> Self {
        Self((shard as u32) << LOCAL_BITS | local)
    }

    pub(super) fn shard(self) -> usize {
        (self.0 >> LOCAL_BITS) as usize
    }

    pub(super) fn local(self) -> u32 {
        self.0 & ((1 << LOCAL_BITS) - 1)
    }
}

/// What is known of a shard's places once for both sides: they use the same ones, and make room for
/// as many.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) hashes: Vec<u32>,
    pub(super) free: Vec<u32>,
}

impl Ledger {
    /// For how many places each side has room, or is to make it when it needs some.
    pub(super) fn room(&self) -> usize {
        self.hashes.capacity()
    }

    /// The hash of the key at a place.
    pub(super) fn hash(&self, local: u32) -> u32 {
        self.hashes[local as usize]
    }

    /// Room for so many places in all.
    pub(super) fn expect(&mut self, places: usize) {
        let more = places.saturating_sub(self.hashes.len());
        self.hashes.reserve_exact(more);
    }

    /// A place for a key with this hash.
    pub(super) fn take(&mut self, hash: Hash) -> u32 {
        if let Some(local) = self.free.pop() {
            self.hashes[local as usize] = hash.local();
            return local;
        }
        let local = self.hashes.len();
        make_room(&mut self.hashes, local + 1);
        self.hashes.push(hash.local());
        local as u32
    }
}
