//! Counting what is allocated, where a row asks for it.
//!
//! A crate's counting allocator counts always, which would tax a side by how often it allocates,
//! and kube-runtime allocates two dozen times per update. This one counts only within [`count`];
//! elsewhere it costs one relaxed load.

// A global allocator cannot be written without it. Every call is handed to the system's allocator
// as it came.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, counting where it is asked to.
#[derive(Clone, Copy, Debug)]
pub struct Counting;

/// What a piece of work allocated, in the bytes that were asked for: the allocator's own overhead
/// is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Allocations and reallocations.
    pub allocations: u64,
    /// Bytes that were still allocated at the end, less those of before that were freed.
    pub live: i64,
    /// The most that this was in between.
    pub peak: i64,
}

/// Runs `work` and tells what it allocated, on all threads. Not to be nested. All zero where
/// [`Counting`] is not the global allocator.
pub fn count<R>(work: impl FnOnce() -> R) -> (Usage, R) {
    ALLOCATIONS.store(0, Relaxed);
    LIVE.store(0, Relaxed);
    PEAK.store(0, Relaxed);
    COUNTS.store(true, Relaxed);
    let result = work();
    COUNTS.store(false, Relaxed);
    let usage = Usage {
        allocations: ALLOCATIONS.load(Relaxed),
        live: LIVE.load(Relaxed),
        peak: PEAK.load(Relaxed),
    };
    (usage, result)
}

fn note(allocations: u64, freed: usize, allocated: usize) {
    if COUNTS.load(Relaxed) {
        ALLOCATIONS.fetch_add(allocations, Relaxed);
        // No layout is larger than i64::MAX.
        let change = allocated as i64 - freed as i64;
        let live = LIVE.fetch_add(change, Relaxed) + change;
        PEAK.fetch_max(live, Relaxed);
    }
}

// SAFETY: each method hands its arguments to the system's allocator unchanged and returns its
// answer unchanged, so that the contract holds here as it holds there.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, 0, layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(1, 0, layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        note(0, layout.size(), 0);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(1, layout.size(), new_size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}
