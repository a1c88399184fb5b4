//! Storage by small ids that neither moves nor pauses when it grows beyond its first chunk.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

const CHUNK_BITS: u32 = 10;
const CHUNK: usize = 1 << CHUNK_BITS;

/// Items in chunks of 1,024. A free place holds `T::default()`, so an id is always safe to look
/// at, and places are used again before the slab grows.
#[derive(Clone)]
pub(crate) struct Slab<T> {
    chunks: Vec<Vec<T>>,
    free: Vec<u32>,
    /// The id after the highest one ever given out.
    next: u32,
}

impl<T: Default> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
            next: 0,
        }
    }

    pub(crate) fn insert(&mut self, item: T) -> u32 {
        if let Some(id) = self.free.pop() {
            self[id] = item;
            return id;
        }
        let id = self.next;
        self.next += 1;
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => chunk.push(item),
            full => {
                // Small collections are many: the first chunk grows with what is in it.
                let room = if full.is_some() { CHUNK } else { 1 };
                let mut chunk = Vec::with_capacity(room);
                chunk.push(item);
                self.chunks.push(chunk);
            }
        }
        id
    }

    /// Takes an item out. The id must be in use.
    pub(crate) fn remove(&mut self, id: u32) -> T {
        self.free.push(id);
        core::mem::take(&mut self[id])
    }

    /// All places, free ones too, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    /// The id after the highest one ever given out.
    pub(crate) const fn end(&self) -> u32 {
        self.next
    }

    /// How many ids are in use.
    #[cfg(any(test, feature = "simulated"))]
    pub(crate) fn len(&self) -> usize {
        self.next as usize - self.free.len()
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, id: u32) -> &T {
        &self.chunks[(id >> CHUNK_BITS) as usize][id as usize & (CHUNK - 1)]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, id: u32) -> &mut T {
        &mut self.chunks[(id >> CHUNK_BITS) as usize][id as usize & (CHUNK - 1)]
    }
}
