//! What all parts of a run share: the true history, the servers' disks, the trace.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use madsim::time::Instant;
use reflet_core::Timestamp;

use super::Violation;
use super::books::Books;
use super::client::Watched;
use super::plan::Plan;
use super::server::Server;
use super::writer::Log;
use crate::oracles::{Checked, Promise, TraceHash};

/// Locks; whoever panicked with the lock held is a violation of its own.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) reporter: Reporter,
    pub(super) servers: Vec<Server>,
    pub(super) log: Mutex<Log>,
    /// The informers that live.
    pub(super) watched: Mutex<Vec<Arc<Watched>>>,
    /// How often each client was started.
    pub(super) lives: Mutex<BTreeMap<usize, u32>>,
    pub(super) connects_vanish: AtomicBool,
    /// Everybody may watch now.
    pub(super) generous: AtomicBool,
}

impl World {
    pub(super) fn new(plan: Plan, reporter: Reporter) -> Self {
        let servers = (0..plan.servers).map(Server::new).collect();
        Self {
            plan,
            reporter,
            servers,
            log: Mutex::default(),
            watched: Mutex::default(),
            lives: Mutex::default(),
            connects_vanish: AtomicBool::new(false),
            generous: AtomicBool::new(false),
        }
    }

    /// The informers that live.
    pub(super) fn watched(&self) -> Vec<Arc<Watched>> {
        lock(&self.watched).clone()
    }

    pub(super) fn connects_vanish(&self) -> bool {
        self.connects_vanish.load(Ordering::Relaxed)
    }
}

/// Where everybody says what happened. A cheap handle.
#[derive(Clone)]
pub(super) struct Reporter(Arc<Reported>);

struct Reported {
    started: Instant,
    books: Mutex<Books>,
    trace: Mutex<Trace>,
}

/// What was observed, in order.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) hash: TraceHash,
    pub(super) story: Vec<String>,
    pub(super) violation: Option<Violation>,
    pub(super) counts: Counts,
}

/// How much happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transactions that were committed.
    pub commits: u64,
    /// Requests that a server received.
    pub requests: u64,
    /// Batches that subscribers were handed.
    pub batches: u64,
    /// Faults that were inflicted.
    pub faults: u64,
}

impl Trace {
    fn new() -> Self {
        Self {
            hash: TraceHash::default(),
            story: Vec::new(),
            violation: None,
            counts: Counts::default(),
        }
    }

    fn add(&mut self, line: String) {
        self.hash.words(format_args!("{line}"));
        self.story.push(line);
    }
}

impl Reporter {
    /// Starts the clock; must be called within the simulation.
    pub(super) fn start() -> Self {
        Self(Arc::new(Reported {
            started: Instant::now(),
            books: Mutex::default(),
            trace: Mutex::new(Trace::new()),
        }))
    }

    /// The simulated time since the start.
    pub(super) fn now(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// The same, as the oracles count it.
    pub(super) fn clock(&self) -> Timestamp {
        Timestamp::ZERO.saturating_add(self.now())
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.0.books)
    }

    /// Adds a line to the trace. Names of epochs are random beyond the seed's reach, so their
    /// numbers take their place. Must not be called with the books locked.
    pub(super) fn say(&self, words: impl fmt::Display) {
        let words = self.books().plain(&words.to_string());
        let line = format!("{:>13} {words}", self.now().as_nanos());
        lock(&self.0.trace).add(line);
    }

    /// A promise is broken. The first one counts.
    pub(super) fn broken(&self, promise: Promise, words: impl fmt::Display) {
        let words = self.books().plain(&words.to_string());
        let at = self.now();
        let mut trace = lock(&self.0.trace);
        trace.add(format!("{:>13} BROKEN {promise}: {words}", at.as_nanos()));
        trace
            .violation
            .get_or_insert(Violation { promise, at, words });
    }

    /// What an oracle says of somebody.
    pub(super) fn check(&self, who: impl fmt::Display, checked: Checked) {
        if let Err(broken) = checked {
            self.broken(broken.promise, format_args!("{who}: {}", broken.message));
        }
    }

    /// The servers themselves do not hold what they should: there is no one real state.
    pub(super) fn servers_fail(&self, words: impl fmt::Display) {
        self.broken(Promise::OneRealState, format_args!("the servers: {words}"));
    }

    pub(super) fn is_broken(&self) -> bool {
        lock(&self.0.trace).violation.is_some()
    }

    pub(super) fn count(&self, what: impl FnOnce(&mut Counts)) {
        what(&mut lock(&self.0.trace).counts);
    }

    /// Takes the trace out.
    pub(super) fn finish(&self) -> Trace {
        std::mem::replace(&mut *lock(&self.0.trace), Trace::new())
    }
}
