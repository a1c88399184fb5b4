//! All interleavings of a tiny world, and known-wrong engines that do not survive them.
#![allow(clippy::panic, reason = "a test may panic")]

use reflet_core::probe::{Canary, plant, reached, reset};
use reflet_sim::exhaust::{Faults, Profile, Scope, explore};

/// One transaction, and one of each fault.
const fn one(profile: Profile) -> Scope {
    Scope::of(profile)
}

/// Two transactions, and any one fault.
const fn two(profile: Profile) -> Scope {
    Scope {
        faults: Faults::TWO_WRITES,
        ..Scope::of(profile)
    }
}

/// Three transactions and no fault, for subscribers that may hold back little: any one of these
/// transactions, but not two deletes.
const fn tight(profile: Profile) -> Scope {
    Scope {
        faults: Faults {
            writes: 3,
            together: 0,
            ..Faults::ONE_OF_EACH
        },
        retained_bytes: Some(1_200),
        ..Scope::of(profile)
    }
}

/// Every state is visited, and no promise is broken in any.
fn holds(scope: &Scope) {
    let report = explore(scope);
    println!("{scope:?}: {report}");
    assert!(report.complete && report.violation.is_none(), "{report}");
}

#[test]
fn one_transaction_and_one_of_each_fault_from_a_kubernetes() {
    holds(&one(Profile::Kubernetes));
}

#[test]
fn one_transaction_and_one_of_each_fault_from_our_own_protocol() {
    holds(&one(Profile::Reflet));
}

#[test]
fn one_transaction_and_one_of_each_fault_from_an_initial_stream() {
    holds(&one(Profile::Streamed));
}

#[test]
fn one_transaction_and_one_of_each_fault_from_blocking_queries() {
    holds(&one(Profile::Polled));
}

#[test]
fn two_transactions_and_any_fault_from_a_kubernetes() {
    holds(&two(Profile::Kubernetes));
}

#[test]
fn two_transactions_and_any_fault_from_all_others() {
    holds(&two(Profile::Reflet));
    holds(&two(Profile::Streamed));
    holds(&two(Profile::Polled));
}

#[test]
fn a_subscriber_over_its_limit_starts_again_and_disturbs_nobody() {
    reset();
    holds(&tight(Profile::Reflet));
    assert!(reached().contains("subscriber reset over its limit"));
}

/// A scope that an engine with this error does not survive, and the promise that it breaks.
const CAUGHT: &[(Canary, Scope, &str)] = &[
    (Canary::ApplyLatePages, one(Profile::Reflet), "P9"),
    (Canary::ApplyLateEvents, one(Profile::Reflet), "P4"),
    (Canary::ForgetTombstones, one(Profile::Kubernetes), "P4"),
    (Canary::TearBatch, one(Profile::Reflet), "P4"),
    (Canary::ApplyCutBatch, one(Profile::Streamed), "P4"),
    (Canary::CallPartialComplete, one(Profile::Kubernetes), "P4"),
    (Canary::ResumeFromLastEvent, one(Profile::Kubernetes), "P1"),
    (Canary::SyncedEarly, one(Profile::Reflet), "P9"),
    (Canary::PublishPages, one(Profile::Kubernetes), "P9"),
    (Canary::IgnoreNextPage, one(Profile::Reflet), "P4"),
    (Canary::ResendUnchanged, one(Profile::Polled), "P4"),
    (Canary::IgnoreGone, one(Profile::Kubernetes), "P1"),
    (Canary::ContinueAfterGone, two(Profile::Reflet), "P4"),
    (Canary::SkipGap, two(Profile::Reflet), "P4"),
    (Canary::IgnoreDigest, one(Profile::Reflet), "P4"),
    (Canary::IgnoreSilence, one(Profile::Kubernetes), "P1"),
    (Canary::NoTimerWhileWaiting, one(Profile::Streamed), "P6"),
    (Canary::MergeRecreation, two(Profile::Kubernetes), "P4"),
    (Canary::OldIsCurrent, one(Profile::Reflet), "P4"),
    (Canary::LoseOvertaken, two(Profile::Kubernetes), "P4"),
    (
        Canary::MarkBeforeInitialState,
        one(Profile::Kubernetes),
        "P4",
    ),
    (Canary::MarkNewestRevision, one(Profile::Kubernetes), "P4"),
    (Canary::LeakSuperseded, one(Profile::Kubernetes), "P8"),
    (Canary::ResetAll, tight(Profile::Reflet), "P10"),
];

#[test]
fn a_known_wrong_engine_does_not_survive() {
    let escaped: Vec<_> = CAUGHT
        .iter()
        .filter_map(|(canary, scope, promise)| {
            plant(Some(*canary));
            let report = explore(scope);
            plant(None);
            let caught = report.violation.as_ref();
            let as_told = caught.is_some_and(|violation| {
                violation.promise == *promise && !violation.path.is_empty()
            });
            (!as_told).then(|| format!("{canary}: {report}"))
        })
        .collect();
    assert!(escaped.is_empty(), "{}", escaped.join("\n"));
}
