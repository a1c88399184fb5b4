//! The sweep: every seed once, failures found, situations merged, runs compared.
#![allow(clippy::expect_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use reflet_sim::sweep::{BrokenBy, Plan, Progress, Ran, Report, Runner, sweep};

const WANTED: &[&str] = &["even", "odd", "never"];

fn plan(seeds: u64) -> Plan {
    Plan {
        start: 1_000,
        seeds,
        jobs: NonZero::new(3).expect("three"),
        keep_going: false,
        wanted: WANTED,
    }
}

fn ran(seed: u64) -> Ran {
    Ran {
        hash: seed * 31,
        steps: 10,
        changes: 2,
        broken: None,
        marks: BTreeSet::from([if seed.is_multiple_of(2) {
            "even"
        } else {
            "odd"
        }]),
    }
}

fn broken(seed: u64) -> Ran {
    let broken = BrokenBy {
        promise: "P3 one real state".to_owned(),
        message: format!("in {seed}"),
    };
    Ran {
        broken: Some(broken),
        ..ran(seed)
    }
}

fn swept(plan: &Plan, runner: impl Runner) -> Report {
    sweep(plan, &Progress::default(), &runner).expect("threads")
}

#[test]
fn every_seed_is_run_and_one_in_a_hundred_twice() {
    let seen = Mutex::new(Vec::new());
    let report = swept(&plan(250), |seed| {
        seen.lock().expect("a lock").push(seed);
        ran(seed)
    });
    let mut seen = seen.into_inner().expect("a lock");
    seen.sort_unstable();
    let again = [1_000, 1_100, 1_200];
    let mut expected: Vec<_> = (1_000..1_250).chain(again).collect();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    assert_eq!(
        (report.seeds, report.steps, report.changes),
        (250, 2_500, 500)
    );
    assert_eq!(report.hashes, again.map(|seed| (seed, seed * 31)));
    assert_eq!(report.marks, BTreeSet::from(["even", "odd"]));
    assert_eq!(report.marks_missing, ["never"]);
    assert!(report.failures.is_empty());
}

#[test]
fn the_first_failure_stops_it() {
    let report = swept(&plan(1_000_000), |seed| {
        if seed >= 1_100 {
            broken(seed)
        } else {
            ran(seed)
        }
    });
    assert!(report.seeds < 1_000_000);
    assert_eq!(report.failures[0].seed, 1_100);
    assert_eq!(
        report.failures[0].to_string(),
        "seed 1100 breaks P3 one real state: in 1100"
    );
}

#[test]
fn it_can_keep_going_and_names_all_failures_in_order() {
    let plan = Plan {
        keep_going: true,
        ..plan(300)
    };
    let late = AtomicBool::new(false);
    let report = swept(&plan, |seed| {
        late.fetch_or(seed == 1_257, Ordering::Relaxed);
        // The first failure is the last one to be found.
        while seed == 1_007 && !late.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        if seed % 50 == 7 {
            broken(seed)
        } else {
            ran(seed)
        }
    });
    assert_eq!(report.seeds, 300);
    let failed: Vec<_> = report.failures.iter().map(|failure| failure.seed).collect();
    assert_eq!(failed, [1_007, 1_057, 1_107, 1_157, 1_207, 1_257]);
}

#[test]
fn a_run_that_differs_from_itself_breaks_p11() {
    let calls = AtomicU64::new(0);
    let restless = |seed| Ran {
        hash: calls.fetch_add(1, Ordering::Relaxed),
        ..ran(seed)
    };
    let report = swept(&plan(50), restless);
    assert_eq!(report.failures[0].seed, 1_000);
    assert!(report.failures[0].broken.promise.starts_with("P11"));
}

#[test]
fn a_simulator_that_panics_is_a_failure_and_not_the_end() {
    let plan = Plan {
        keep_going: true,
        ..plan(20)
    };
    let report = swept(&plan, |seed: u64| {
        assert!(seed != 1_005, "out of words");
        ran(seed)
    });
    assert_eq!(report.seeds, 20);
    assert_eq!(report.failures.len(), 1);
    assert!(report.failures[0].to_string().contains("out of words"));
}

#[test]
fn a_stopped_sweep_tells_what_it_covered() {
    let progress = Progress::default();
    let stopping = |seed| {
        if seed == 1_009 {
            progress.stop();
        }
        ran(seed)
    };
    let report = sweep(&plan(1_000_000), &progress, &stopping).expect("threads");
    assert!((10..1_000_000).contains(&report.seeds), "{}", report.seeds);
    assert!(progress.is_done());
}

#[test]
fn seeds_end_where_numbers_do() {
    let plan = Plan {
        start: u64::MAX - 2,
        ..plan(100)
    };
    assert_eq!(swept(&plan, |_| ran(0)).seeds, 3);
}
