//! One seed from beginning to end.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use madsim::net::NetSim;
use madsim::runtime::{Handle, NodeHandle, Runtime};
use madsim::time::{sleep, timeout};
use reflet_core::probe::{self, Canary};

use super::client::{Watched, live};
use super::plan::Plan;
use super::server::{HOST, serve};
use super::storm::Storm;
use super::world::{Counts, Reporter, World};
use super::writer::{replicate, write};
use crate::oracles::{Patience, Promise, panic_message};

/// How often everything is looked at.
pub(super) const AUDIT: Duration = Duration::from_millis(300);
/// What a quiet network may still hold back: madsim's connections look for a mended link every ten
/// seconds, and the slowest reader takes eight.
const SETTLE: Duration = Duration::from_secs(20);
/// How long the end of an informer may take.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// How much of the story a report shows.
const SHOWN: usize = 60;

/// What became of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The hash of everything that was observed, times included: the same seed gives the same
    /// hash, in any process (P11).
    pub hash: u64,
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// The named situations that were reached, in the engine and in the driver.
    pub marks: BTreeSet<&'static str>,
    /// How long the world existed, in its own time.
    pub simulated: Duration,
    /// How much happened.
    pub counts: Counts,
    /// Everything that was observed, a line each, with the time in nanoseconds.
    pub story: Vec<String>,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise.
    pub promise: Promise,
    /// The simulated time at which it was seen.
    pub at: Duration,
    /// How it was broken.
    pub words: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { promise, at, words } = self;
        write!(f, "{promise} is broken after {at:?}: {words}")
    }
}

impl fmt::Display for Outcome {
    /// What went wrong, how it came to that, and how to see it again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(violation) = &self.violation else {
            return write!(f, "seed {}: all promises were kept", self.seed);
        };
        writeln!(f, "seed {}: {violation}", self.seed)?;
        let surplus = self.story.len().saturating_sub(SHOWN);
        if surplus > 0 {
            writeln!(f, "… {surplus} lines …")?;
        }
        for line in self.story.iter().skip(surplus) {
            writeln!(f, "{line}")?;
        }
        let seed = self.seed;
        writeln!(
            f,
            "replay: MADSIM_TEST_SEED={seed} cargo test -p reflet-sim --test net"
        )
    }
}

/// Plays a seed. Callable from any thread, by many at once: each run has a thread of its own.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    run_planted(seed, None)
}

/// Plays a seed with a known error planted in the engine.
#[must_use]
pub fn run_planted(seed: u64, canary: Option<Canary>) -> Outcome {
    let reporter = Arc::new(OnceLock::new());
    let shared = Arc::clone(&reporter);
    // A thread that has done nothing yet: what it did before would show in the order of hash maps.
    let played = thread::Builder::new()
        .name(format!("seed {seed}"))
        .spawn(move || {
            probe::reset();
            probe::plant(canary);
            let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
            let simulated = runtime.block_on(play(seed, &shared));
            (simulated, probe::reached())
        })
        .map_err(|error| error.to_string())
        .and_then(|thread| thread.join().map_err(|panic| panic_message(&*panic)));
    let trace = reporter.get().map(Reporter::finish);
    let (simulated, marks, panic) = match played {
        Ok((simulated, marks)) => (simulated, marks, None),
        Err(words) => (Duration::ZERO, BTreeSet::new(), Some(words)),
    };
    let panic = panic.map(|words| Violation {
        promise: Promise::Harmless,
        at: simulated,
        words,
    });
    let (hash, story, violation, counts) = trace.map_or_else(Default::default, |trace| {
        (
            trace.hash.finish(),
            trace.story,
            trace.violation,
            trace.counts,
        )
    });
    Outcome {
        seed,
        hash,
        violation: panic.or(violation),
        marks,
        simulated,
        counts,
        story,
    }
}

async fn play(seed: u64, shared: &OnceLock<Reporter>) -> Duration {
    let mut rng = Rng::with_seed(seed);
    let plan = Plan::new(&mut rng);
    let reporter = shared.get_or_init(Reporter::start).clone();
    reporter.say(format_args!("{plan:?}"));
    let world = Arc::new(World::new(plan, reporter.clone()));
    let storm = build(&world).await;

    let mut working = vec![madsim::task::spawn(write(Arc::clone(&world), rng.fork()))];
    working.extend((1..world.servers.len()).map(|index| {
        let replica = replicate(Arc::clone(&world), index, rng.fork());
        madsim::task::spawn(replica)
    }));
    let auditor = madsim::task::spawn(audit(Arc::clone(&world)));
    storm.rage(&mut rng).await;
    let nuisance = world.plan.nuisance;
    if let Some(nuisance) = nuisance.filter(|_| !reporter.is_broken()) {
        storm.heal().await;
        storm.load(nuisance, rng.fork()).await;
    }
    working.into_iter().for_each(|task| task.abort());
    if nuisance.is_none() && !reporter.is_broken() {
        storm.heal().await;
        converge(&world).await;
    }
    auditor.abort();
    if !reporter.is_broken() {
        shut_down(&world).await;
    }
    reporter.now()
}

/// Creates the nodes and starts their processes.
async fn build(world: &Arc<World>) -> Storm {
    let handle = Handle::current();
    let mut servers = Vec::new();
    for (index, server) in world.servers.iter().enumerate() {
        let shared = Arc::clone(world);
        let node = handle
            .create_node()
            .name(format!("server {index}"))
            .ip(server.ip());
        servers.push(node.init(move || serve(Arc::clone(&shared), index)).build());
        // The replicas start from what the writer has.
        while server.collection().is_none() && !world.reporter.is_broken() {
            sleep(Duration::from_millis(1)).await;
        }
    }
    NetSim::current().add_dns_record(HOST, world.servers[0].ip());
    let clients = (0..world.plan.clients.len()).map(|index| client(world, index));
    Storm::new(world, servers, clients.collect())
}

fn client(world: &Arc<World>, index: usize) -> NodeHandle {
    let shared = Arc::clone(world);
    let last = u8::try_from(index + 1).unwrap_or(u8::MAX);
    Handle::current()
        .create_node()
        .name(format!("client {index}"))
        .ip([10, 0, 1, last].into())
        .init(move || live(Arc::clone(&shared), index))
        .build()
}

/// Looks at everything now and then.
async fn audit(world: Arc<World>) {
    loop {
        sleep(AUDIT).await;
        for watched in world.watched() {
            watched.audit(&world.reporter);
        }
    }
}

/// How far an informer may be behind: its own bound, what the network holds back, and how far a
/// replica is behind. A loss at the end of a stream shows when the next bookmark comes.
pub(super) fn bound(world: &World, watched: &Watched) -> Duration {
    let publishing = &world.plan.publishing;
    watched.config.convergence_bound() + SETTLE + publishing.bookmark + publishing.lag
}

/// Everything is quiet and truthful now: each informer must come to show what the source holds
/// within its bound (P1), and each of its readers too (P10).
async fn converge(world: &World) {
    for index in 1..world.servers.len() {
        world.catch_up(index);
        if !world.has_caught_up(index) {
            let words = format!("replica {index} is apart from the writer");
            world.reporter.servers_fail(words);
        }
    }
    let began = world.reporter.clock();
    while !world.reporter.is_broken() {
        sleep(AUDIT).await;
        let now = world.reporter.clock();
        let apart = |watched: Arc<Watched>| {
            let why = watched.is_apart(&world.reporter)?;
            Some((watched, why))
        };
        let Some((watched, why)) = world.watched().into_iter().find_map(apart) else {
            let waited = now.saturating_since(began);
            world
                .reporter
                .say(format_args!("converged after {waited:?}"));
            return;
        };
        let patience = Patience::new(began, bound(world, &watched));
        let why = || format!("{why}; {:?}", watched.informer.health());
        let checked = patience.check(now, why);
        world.reporter.check(&watched.name, checked);
    }
}

/// Ends all informers: each of their tasks and streams ends (P10).
async fn shut_down(world: &World) {
    for watched in world.watched() {
        watched.stopped.store(true, Ordering::Relaxed);
        if timeout(SHUTDOWN, watched.informer.shutdown())
            .await
            .is_err()
        {
            let name = &watched.name;
            world
                .reporter
                .broken(Promise::Isolation, format_args!("{name} does not end"));
        }
        // Those who waited get their turn.
        sleep(Duration::from_millis(1)).await;
        let checked = watched.check_onlookers_after_the_end(&world.reporter);
        world.reporter.check(&watched.name, checked);
    }
    world.reporter.say("over");
}
