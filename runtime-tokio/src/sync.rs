//! The locks and atomics that readers and their writer meet at. A test compiles the store of the
//! read view over other ones, which try out how threads can get into each other's way.

/// How many shards a read view has: a power of two. Who reads on several threads is in nobody's way
/// but theirs who read in the same shard.
pub(crate) const SHARDS: usize = 64;

pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
