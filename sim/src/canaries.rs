//! Engines that are known to be wrong must be found out, each within so many seeds: this says how
//! likely an error is to survive a sweep.

use std::fmt;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

use reflet_core::probe::{Canary, plant};

use crate::oracles::Promise;
use crate::run::{run, run_strictly};
use crate::trace::Trace;

/// Each canary must be found within so many seeds.
pub const SEEDS: u64 = 2_000;

/// Those that are errors of the driver, which the engine's level does not have.
pub const DRIVER: &[Canary] = &[
    Canary::MappingTearsBatch,
    Canary::ViewMovesOn,
    Canary::ReadersFindByOldTerms,
    Canary::WaitEndsEarly,
    Canary::WaitIsNotWoken,
];

/// Each of these must be found within so many seeds of the driver's level.
pub const DRIVER_SEEDS: u64 = 50;

/// One seed in so many is run twice, and without the other subscribers: more than in a sweep.
const STRICT: u64 = 8;

/// How a canary was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The canary.
    pub canary: Canary,
    /// The promise whose checker found it, and after how many seeds; `None`: nobody did.
    pub by: Option<(Promise, u64)>,
}

/// Plants an error in the engines of this thread and runs seeds until a checker finds it.
#[must_use]
pub fn hunt(canary: Canary, seeds: u64) -> Found {
    hunt_with(canary, seeds, |_| true)
}

/// Runs seeds until the checker of this promise finds the error, whatever others find.
#[must_use]
pub fn hunt_by(promise: Promise, canary: Canary, seeds: u64) -> Found {
    hunt_with(canary, seeds, |found| found == promise)
}

fn hunt_with(canary: Canary, seeds: u64, counts: impl Fn(Promise) -> bool) -> Found {
    #[cfg(feature = "driver")]
    if DRIVER.contains(&canary) {
        return hunt_in_driver(canary, seeds.min(DRIVER_SEEDS), counts);
    }
    plant(Some(canary));
    let by = (0..seeds).find_map(|seed| {
        let trace = Trace::generate(seed);
        let outcome = if seed.is_multiple_of(STRICT) {
            run_strictly(&trace)
        } else {
            run(&trace)
        };
        let violation = outcome.violation;
        let found = violation.filter(|violation| counts(violation.promise));
        found.map(|violation| (violation.promise, seed + 1))
    });
    plant(None);
    Found { canary, by }
}

#[cfg(feature = "driver")]
fn hunt_in_driver(canary: Canary, seeds: u64, counts: impl Fn(Promise) -> bool) -> Found {
    let by = (0..seeds).find_map(|seed| {
        let found = crate::net::run_planted(seed, Some(canary)).violation;
        let found = found.filter(|violation| counts(violation.promise));
        found.map(|violation| (violation.promise, seed + 1))
    });
    Found { canary, by }
}

/// Hunts all canaries, on so many threads; in the order of [`Canary::ALL`]. Without the driver's
/// level its own are left out.
#[must_use]
pub fn hunt_all(seeds: u64, jobs: NonZero<usize>) -> Vec<Found> {
    let all = Canary::ALL.iter().copied();
    let all = all.filter(|canary| cfg!(feature = "driver") || !DRIVER.contains(canary));
    let (all, next) = (all.collect::<Vec<_>>(), AtomicUsize::new(0));
    let hunters = || {
        let turn = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|turn| *turn < all.len());
        std::iter::from_fn(turn)
            .map(|turn| (turn, hunt(all[turn], seeds)))
            .collect::<Vec<_>>()
    };
    let mut found = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.get()).map(|_| scope.spawn(hunters)).collect();
        let found = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        found.flatten().collect::<Vec<_>>()
    });
    found.sort_by_key(|(turn, _)| *turn);
    found.into_iter().map(|(_, found)| found).collect()
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.canary.name();
        match self.by {
            Some((promise, seeds)) => write!(f, "{name:32} {seeds:>5}  {promise}"),
            None => write!(f, "{name:32}     -  not found"),
        }
    }
}
