//! The driver, its HTTP source and its server side over madsim's network: whatever happens there,
//! the promises hold.
//!
//! `MADSIM_TEST_SEED` plays one seed, `MADSIM_TEST_NUM` so many from it on, `MADSIM_TEST_JOBS` so
//! many at a time.
#![cfg(feature = "driver")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::env;
use std::ops::Range;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use reflet_core::probe::Canary;
use reflet_sim::net::{self, Outcome};
use reflet_sim::oracles::Promise;

/// How many seeds are played when nobody says.
const SEEDS: u64 = 50;
/// How many are played at a time when nobody says.
const JOBS: u64 = 2;
/// Names the seed of which a second process is asked.
const ASKED: &str = "REFLET_SIM_ASKED_SEED";
/// What the second process says before a hash.
const ANSWER: &str = "the hash is ";

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} should be a number, not {text:?}")))
}

fn seeds() -> Range<u64> {
    let start = number("MADSIM_TEST_SEED");
    let count = number("MADSIM_TEST_NUM");
    let count = count.unwrap_or(if start.is_some() { 1 } else { SEEDS });
    let start = start.unwrap_or(0);
    start..start + count
}

/// Plays seeds, some at a time, and returns those that went wrong.
fn play(seeds: Range<u64>) -> Vec<Outcome> {
    let next = AtomicU64::new(seeds.start);
    let jobs = number("MADSIM_TEST_JOBS").unwrap_or(JOBS).max(1);
    let work = || {
        let mut bad = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return bad;
            }
            let outcome = net::run(seed);
            if outcome.violation.is_some() {
                bad.push(outcome);
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join().unwrap());
        joined.flatten().collect()
    })
}

#[test]
fn promises_hold_whatever_the_network_and_the_servers_do() {
    let bad = play(seeds());
    for outcome in &bad {
        println!("{outcome}");
    }
    assert!(bad.is_empty(), "{} seeds break a promise", bad.len());
}

#[test]
fn a_seed_is_always_the_same_run() {
    let (first, second) = (net::run(7), net::run(7));
    assert!(first.counts.requests > 0 && first.counts.batches > 0);
    assert_eq!(first, second);

    let program = env::current_exe().unwrap();
    let other = Command::new(program)
        .args(["--exact", "answers_a_process_that_asks", "--nocapture"])
        .env(ASKED, "7")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&other.stdout);
    let hash = format!("{ANSWER}{:016x}", first.hash);
    assert!(said.contains(&hash), "not {hash}: {said}");
}

/// The second process of `a_seed_is_always_the_same_run`.
#[test]
fn answers_a_process_that_asks() {
    if let Some(seed) = number(ASKED) {
        println!("{ANSWER}{:016x}", net::run(seed).hash);
    }
}

#[test]
fn other_seeds_are_other_runs() {
    assert_ne!(net::run(7).hash, net::run(8).hash);
}

#[test]
fn known_errors_are_found_by_the_promise_that_they_break() {
    let known = [
        (Canary::NoTimerWhileWaiting, Promise::NextStep),
        (Canary::NoPacing, Promise::NeverHammers),
        (Canary::IgnoreRetryAfter, Promise::NeverHammers),
        (Canary::NoRetentionLimit, Promise::BoundedMemory),
        (Canary::PublishPages, Promise::OneRealState),
        (Canary::ForgetFilterLeave, Promise::TruthfulDeltas),
        (Canary::OldIsCurrent, Promise::TruthfulDeltas),
        (Canary::SyncedEarly, Promise::HonestReadiness),
        (Canary::ProgressLowersRevision, Promise::NoTimeTravel),
        (Canary::FollowerForgetsGone, Promise::OneRealState),
        (Canary::FollowerIsLate, Promise::HonestReadiness),
        (Canary::MappingTearsBatch, Promise::OneRealState),
        (Canary::ViewMovesOn, Promise::OneRealState),
        (Canary::ReadersFindByOldTerms, Promise::OneRealState),
        (Canary::WaitEndsEarly, Promise::HonestReadiness),
        (Canary::WaitIsNotWoken, Promise::HonestReadiness),
    ];
    for (canary, promise) in known {
        let found = (0..30).find_map(|seed| net::run_planted(seed, Some(canary)).violation);
        let found = found.unwrap_or_else(|| panic!("{canary:?} was not found"));
        assert_eq!(found.promise, promise, "{canary:?}: {found}");
    }
}
