//! The engine level: many seeds, every trace that ever failed, and engines that must be found out.

#![allow(clippy::panic, reason = "a failing test says why")]

use std::panic;

use reflet_core::probe::Canary;
use reflet_sim::canaries::{Found, hunt};
use reflet_sim::regressions;
use reflet_sim::run::{Outcome, run, run_strictly};
use reflet_sim::trace::Trace;

/// So many seeds, on two threads; one in a hundred is run twice, and without the other
/// subscribers (P10, P11).
const SEEDS: u64 = 500;

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
}

#[test]
fn five_hundred_seeds_keep_every_promise() {
    std::thread::scope(|scope| {
        let halves =
            [0, 1].map(|half| scope.spawn(move || (half..SEEDS).step_by(2).for_each(check)));
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

/// The quick form: those that take more than a handful of seeds are hunted on the command line.
#[test]
fn canaries_are_found_within_a_few_seeds() {
    let found: Vec<Found> = Canary::ALL.iter().map(|canary| hunt(*canary, 16)).collect();
    let caught = found.iter().filter(|found| found.by.is_some()).count();
    assert!(
        caught >= 30,
        "only {caught} of {}: {found:#?}",
        Canary::ALL.len()
    );
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
