//! The situations that a run has reached.

extern crate std;

use alloc::collections::BTreeSet;
use core::cell::RefCell;
use std::thread_local;

// One run is one thread's business, and many run side by side.
thread_local! {
    static REACHED: RefCell<BTreeSet<&'static str>> = const { RefCell::new(BTreeSet::new()) };
}

/// Counts a situation as reached on this thread.
pub fn count(situation: &'static str) {
    REACHED.with_borrow_mut(|reached| reached.insert(situation));
}

/// The situations that this thread has reached since the last reset.
#[must_use]
pub fn reached() -> BTreeSet<&'static str> {
    REACHED.with_borrow(Clone::clone)
}

/// Forgets what was reached on this thread.
pub fn reset() {
    REACHED.take();
}
