//! The engine level: many seeds, every trace that ever failed, and engines that must be found out.

#![allow(clippy::panic, reason = "a failing test says why")]

use std::panic;

use reflet_core::probe::Canary;
use reflet_sim::canaries::{Found, hunt_by};
use reflet_sim::oracles::Promise;
use reflet_sim::regressions;
use reflet_sim::run::{Outcome, run, run_strictly};
use reflet_sim::trace::Trace;

/// So many seeds, on two threads; one in a hundred is run twice, and without the other
/// subscribers (P10, P11).
const SEEDS: usize = 500;

fn check(seed: u64) {
    let trace = Trace::generate(seed);
    let outcome = if seed.is_multiple_of(100) {
        run_strictly(&trace)
    } else {
        run(&trace)
    };
    if let Some(violation) = outcome.violation {
        panic!(
            "seed {seed} breaks {} at step {}: {}\nreplay: cargo run --release -p reflet-sim -- replay {seed}",
            violation.promise, violation.step, violation.message
        );
    }
    // A large world is about its size: a seed in a hundred.
    if trace.setup.keys <= 300 {
        let (changes, subscribers) = (outcome.changes, trace.setup.subscribers.len());
        assert!(changes >= 100, "seed {seed} has only {changes} changes");
        assert!(
            subscribers >= 2,
            "seed {seed} has only {subscribers} subscribers"
        );
    }
}

#[test]
fn five_hundred_seeds_keep_every_promise() {
    in_halves(SEEDS, |seed| check(seed as u64));
}

/// Does this for each number, on two threads.
fn in_halves(count: usize, each: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        let each = &each;
        let halves =
            [0, 1].map(|half| scope.spawn(move || (half..count).step_by(2).for_each(each)));
        for half in halves {
            if let Err(panic) = half.join() {
                panic::resume_unwind(panic);
            }
        }
    });
}

#[test]
fn every_trace_that_ever_failed_passes_and_still_gets_there() {
    let all = regressions::load(&regressions::folder()).unwrap();
    assert!(!all.is_empty(), "the regressions are gone");
    for regression in all {
        if let Err(error) = regression.replay() {
            panic!("{error}");
        }
    }
}

/// Errors that a few seeds show, and a promise whose checker finds each. Others take more seeds: the
/// command line hunts them all.
const CAUGHT: &[(Canary, Promise)] = &[
    (Canary::ApplyLatePages, Promise::Harmless),
    (Canary::ApplyLateEvents, Promise::Harmless),
    (Canary::ForgetTombstones, Promise::TruthfulDeltas),
    (Canary::ResetBackoffOnOpen, Promise::NeverHammers),
    (Canary::AcceptStaleList, Promise::OneRealState),
    (Canary::AcceptStaleList, Promise::NoTimeTravel),
    (Canary::TearBatch, Promise::OneRealState),
    (Canary::CallPartialComplete, Promise::TruthfulDeltas),
    (Canary::ResumeFromLastEvent, Promise::OneRealState),
    (Canary::CompareVersionWithRevision, Promise::OneRealState),
    (Canary::SyncedEarly, Promise::HonestReadiness),
    (Canary::PublishPages, Promise::OneRealState),
    (Canary::PublishPages, Promise::HonestReadiness),
    (Canary::IgnoreNextPage, Promise::HonestReadiness),
    (Canary::ResendUnchanged, Promise::TruthfulDeltas),
    (Canary::IgnoreGone, Promise::Converges),
    (Canary::ContinueAfterGone, Promise::HonestReadiness),
    (Canary::NoVerifyAfterLoss, Promise::Converges),
    (Canary::IgnoreSilence, Promise::NextStep),
    (Canary::NoTimerWhileWaiting, Promise::NextStep),
    (Canary::IgnoreRetryAfter, Promise::NeverHammers),
    (Canary::NoPacing, Promise::NeverHammers),
    (Canary::NeverLeaveDeadEnd, Promise::Converges),
    (Canary::IgnoreEpoch, Promise::NoTimeTravel),
    (Canary::AcceptRewindAtOnce, Promise::NoTimeTravel),
    (Canary::ProgressLowersRevision, Promise::NoTimeTravel),
    (Canary::ProgressCompletesBatch, Promise::LossIsFound),
    (Canary::MergeRecreation, Promise::TruthfulDeltas),
    (Canary::OldIsCurrent, Promise::TruthfulDeltas),
    (Canary::ForgetFilterLeave, Promise::TruthfulDeltas),
    (Canary::LoseOvertaken, Promise::TruthfulDeltas),
    (Canary::MarkBeforeInitialState, Promise::TruthfulDeltas),
    (Canary::MarkNewestRevision, Promise::TruthfulDeltas),
    (Canary::LosePartition, Promise::TruthfulDeltas),
    (Canary::RedeliverOnce, Promise::TruthfulDeltas),
    (Canary::RedeliverNewsOnly, Promise::TruthfulDeltas),
    (Canary::OverflowWithoutGap, Promise::TruthfulDeltas),
    (Canary::ListWithoutGap, Promise::TruthfulDeltas),
    (Canary::NoLosslessBound, Promise::BoundedMemory),
    (Canary::NoRetentionLimit, Promise::BoundedMemory),
    (Canary::LeakSuperseded, Promise::BoundedMemory),
    (Canary::UnboundedNotices, Promise::BoundedMemory),
    (Canary::ApplyOverLimit, Promise::BoundedMemory),
    (Canary::UndecodableDeletes, Promise::Harmless),
    (Canary::InferDespiteUnknown, Promise::OneRealState),
    (Canary::NeverReleased, Promise::Converges),
    (Canary::NotFoundIsEmpty, Promise::HonestReadiness),
    (Canary::IndexKeepsDeleted, Promise::OneRealState),
    (Canary::IndexMissesUpdate, Promise::OneRealState),
    (Canary::IndexKeepsOldTerms, Promise::OneRealState),
    (Canary::OrderForgetsAdded, Promise::OneRealState),
    (Canary::FollowerForgetsGone, Promise::OneRealState),
    (Canary::FollowerHasPart, Promise::OneRealState),
    (Canary::FollowerLosesOvertaken, Promise::OneRealState),
    (Canary::FollowerIsLate, Promise::HonestReadiness),
    (Canary::FencePassedByEarlierRead, Promise::HonestReadiness),
    (Canary::FenceAsksNobody, Promise::Converges),
    (Canary::FencePassedByFailedRead, Promise::HonestReadiness),
    (Canary::JitterFromProcess, Promise::Determinism),
];

#[test]
fn each_checker_finds_its_errors_within_a_few_seeds() {
    in_halves(CAUGHT.len(), |row| {
        let (canary, promise) = CAUGHT[row];
        let Found { by, .. } = hunt_by(promise, canary, 300);
        assert!(by.is_some(), "{promise} does not notice {canary}");
    });
}

#[test]
fn a_trace_survives_a_file() {
    let trace = Trace::generate(7);
    assert_eq!(Trace::from_bytes(&trace.to_bytes()), Ok(trace.clone()));
    let mut bytes = trace.to_bytes();
    bytes[7] += 1;
    assert!(Trace::from_bytes(&bytes).is_err(), "another version");
    assert!(Trace::from_bytes(b"").is_err());
}

#[test]
fn the_same_trace_has_the_same_hash_and_another_one_has_not() {
    let hash = |seed| {
        let Outcome { hash, .. } = run(&Trace::generate(seed));
        hash
    };
    assert_eq!(hash(3), hash(3));
    assert_ne!(hash(3), hash(4));
}
