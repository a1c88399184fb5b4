//! All interleavings of a tiny world.
#![allow(clippy::panic, reason = "a test may panic")]

use reflet_core::probe::{Canary, plant};
use reflet_sim::exhaust::{Profile, Scope, explore};

/// Every state is visited, and no promise is broken in any.
fn holds(scope: &Scope) {
    let report = explore(scope);
    println!("{:?}: {report}", scope.profile);
    assert!(report.complete && report.violation.is_none(), "{report}");
}

/// The promise that a known-wrong engine breaks first.
fn caught(canary: Canary, scope: &Scope) -> &'static str {
    plant(Some(canary));
    let report = explore(scope);
    plant(None);
    let Some(violation) = report.violation else {
        panic!("{canary} escaped: {report}");
    };
    assert!(!violation.path.is_empty(), "{canary}: no story");
    violation.promise
}

#[test]
fn one_of_each_fault_around_one_transaction_kubernetes() {
    holds(&Scope::of(Profile::Kubernetes));
}

#[test]
fn one_of_each_fault_around_one_transaction_reflet() {
    holds(&Scope::of(Profile::Reflet));
}

#[test]
fn one_of_each_fault_around_one_transaction_streamed() {
    holds(&Scope::of(Profile::Streamed));
}

#[test]
fn one_of_each_fault_around_one_transaction_polled() {
    holds(&Scope::of(Profile::Polled));
}
