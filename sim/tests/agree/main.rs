//! The model source and the server side must be the same source.
//!
//! Everything that the simulator finds out, it finds out about a model. Here random scripts run
//! against that model and against the real server side, in one process and without sockets: writes
//! and whole transactions, compaction and bounded history, restarts and restored backups, pages
//! and their tokens, watches and polls from any revision. After each step both must have given the
//! same answer; what the server says is read as `PROTOCOL.md` wants it, and put into the model's
//! words.
// Helpers of tests may fail like tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod both;
mod client;
mod lists;
mod script;
mod situation;
mod watches;

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use real_tokio::runtime;

use crate::both::Both;
use crate::script::{Step, scripts};
use crate::situation::Situation;

/// So many scripts are run.
const SCRIPTS: u32 = 1_000;

#[test]
fn the_model_and_the_server_give_the_same_answers() {
    let config = ProptestConfig {
        cases: SCRIPTS,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let seen = RefCell::new(BTreeSet::new());
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
        .run(&scripts(), |(kept, steps)| {
            seen.borrow_mut().append(&mut run(kept, &steps));
            Ok(())
        })
        .unwrap();
    let all = Situation::ALL.iter();
    let missing: Vec<_> = all.filter(|it| !seen.borrow().contains(it)).collect();
    assert!(missing.is_empty(), "too weak: {missing:?} never came about");
}

/// Runs a script against both, with a history of at most so many transactions. What came about.
fn run(kept: usize, steps: &[Step]) -> BTreeSet<Situation> {
    let mut runtime = runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut both = Both::new(kept);
        for step in steps {
            both.step(step).await;
        }
        both.seen.into_inner()
    })
}
