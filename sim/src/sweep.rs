//! Many seeds on many threads: what fails, what is reached, and whether the same seed gives the
//! same run.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZero;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::oracles::{check_determinism, panic_message};

/// Of so many seeds, one is run twice in the process, and its hash reported (P11).
pub const TWICE: u64 = 100;

/// Large worlds have deep stacks in builds without optimisation.
const STACK: usize = 16 << 20;

/// What became of one seed, at either level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// The hash of everything that went in and came out.
    pub hash: u64,
    /// How many steps were taken.
    pub steps: u64,
    /// How many times the source changed.
    pub changes: u64,
    /// The first promise that was broken.
    pub broken: Option<BrokenBy>,
    /// The named situations that were reached.
    pub marks: BTreeSet<&'static str>,
}

/// A promise that a seed broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenBy {
    /// The promise.
    pub promise: String,
    /// What was seen.
    pub message: String,
}

/// Runs seeds; many at once, each on some thread.
pub trait Runner: Sync {
    /// Runs a seed.
    fn run(&self, seed: u64) -> Ran;

    /// Runs a seed more than once, and compares.
    fn run_strictly(&self, seed: u64) -> Ran {
        let (first, second) = (self.run(seed), self.run(seed));
        let compared = check_determinism(first.hash, second.hash).err();
        let broken = first.broken.clone().or_else(|| {
            compared.map(|broken| BrokenBy {
                promise: broken.promise.to_string(),
                message: broken.message,
            })
        });
        Ran { broken, ..first }
    }
}

impl<F: Fn(u64) -> Ran + Sync> Runner for F {
    fn run(&self, seed: u64) -> Ran {
        self(seed)
    }
}

/// Which seeds, and how.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first seed.
    pub start: u64,
    /// How many.
    pub seeds: u64,
    /// On how many threads.
    pub jobs: NonZero<usize>,
    /// Go on after a failure.
    pub keep_going: bool,
    /// The situations that should be reached.
    pub wanted: &'static [&'static str],
}

/// A sweep under way: anybody may look on and stop it.
#[derive(Debug, Default)]
pub struct Progress {
    seeds: AtomicU64,
    steps: AtomicU64,
    changes: AtomicU64,
    stopped: AtomicBool,
    done: AtomicBool,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    marks: BTreeSet<&'static str>,
    failures: Vec<Failure>,
    hashes: Vec<(u64, u64)>,
}

/// A seed that broke a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The promise, and what was seen.
    pub broken: BrokenBy,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            broken: BrokenBy { promise, message },
        } = self;
        write!(f, "seed {seed} breaks {promise}: {message}")
    }
}

/// What a sweep came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// How many seeds were run. They are the first ones: those begun are always finished.
    pub seeds: u64,
    /// How many steps they took.
    pub steps: u64,
    /// How many times the source changed.
    pub changes: u64,
    /// The seeds that broke a promise, in order.
    pub failures: Vec<Failure>,
    /// The situations that were reached.
    pub marks: BTreeSet<&'static str>,
    /// The wanted ones that were not.
    pub marks_missing: Vec<&'static str>,
    /// The hashes of those seeds that were run twice, to compare with another process.
    pub hashes: Vec<(u64, u64)>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Progress {
    /// No further seed is begun.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether the sweep is over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// How many seeds, steps and source changes there were.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (load(&self.seeds), load(&self.steps), load(&self.changes))
    }

    /// How many seeds failed.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.found().failures.len()
    }

    /// Those of the wanted situations that were not reached.
    #[must_use]
    pub fn missing(&self, wanted: &[&'static str]) -> Vec<&'static str> {
        let found = self.found();
        wanted
            .iter()
            .copied()
            .filter(|mark| !found.marks.contains(mark))
            .collect()
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        // Nothing that is done under the lock can panic half-way.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, seed: u64, twice: bool, ran: Ran) {
        self.steps.fetch_add(ran.steps, Ordering::Relaxed);
        self.changes.fetch_add(ran.changes, Ordering::Relaxed);
        let mut found = self.found();
        for mark in ran.marks {
            found.marks.insert(mark);
        }
        if twice {
            found.hashes.push((seed, ran.hash));
        }
        if let Some(broken) = ran.broken {
            found.failures.push(Failure { seed, broken });
        }
        drop(found);
        self.seeds.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs a plan's seeds and returns when all are done, one has failed, or somebody stopped it.
///
/// # Errors
///
/// Where the system gives no thread.
pub fn sweep(plan: &Plan, progress: &Progress, runner: &impl Runner) -> std::io::Result<Report> {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let spawned = thread::scope(|scope| {
        let result = (0..plan.jobs.get()).try_for_each(|_| {
            let worker = || work(plan, progress, runner, &next);
            thread::Builder::new()
                .stack_size(STACK)
                .spawn_scoped(scope, worker)
                .map(drop)
        });
        if result.is_err() {
            progress.stop();
        }
        result
    });
    progress.done.store(true, Ordering::Release);
    spawned?;
    let (seeds, steps, changes) = progress.counts();
    let marks_missing = progress.missing(plan.wanted);
    let Found {
        marks,
        mut failures,
        mut hashes,
    } = std::mem::take(&mut *progress.found());
    failures.sort_by_key(|failure| failure.seed);
    hashes.sort_unstable();
    let elapsed = began.elapsed();
    Ok(Report {
        seeds,
        steps,
        changes,
        failures,
        marks,
        marks_missing,
        hashes,
        elapsed,
    })
}

fn work(plan: &Plan, progress: &Progress, runner: &impl Runner, next: &AtomicU64) {
    while !progress.stopped.load(Ordering::Relaxed) {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= plan.seeds {
            return;
        }
        let Some(seed) = plan.start.checked_add(index) else {
            return;
        };
        let twice = index.is_multiple_of(TWICE);
        let ran = guarded(|| {
            if twice {
                runner.run_strictly(seed)
            } else {
                runner.run(seed)
            }
        });
        if ran.broken.is_some() && !plan.keep_going {
            progress.stop();
        }
        progress.count(seed, twice, ran);
    }
}

/// A simulator that panics has not kept any promise.
fn guarded(run: impl FnOnce() -> Ran) -> Ran {
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Ran {
        broken: Some(BrokenBy {
            promise: "nothing: the simulator panicked".to_owned(),
            message: panic_message(&*panic),
        }),
        ..Ran::default()
    })
}
