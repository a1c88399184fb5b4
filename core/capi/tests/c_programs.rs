//! Programs in C live through what an informer can live through, and do wrong what can be done wrong.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::process::Command;

mod support;

fn runs_and_leaks_nothing(source: &str, last_words: &str) {
    let program = support::build(source);
    let plain = Some(Command::new(&program));
    for run in [plain, support::under_valgrind(&program)] {
        let Some(mut run) = run else { continue };
        let output = run.output().unwrap();
        assert!(
            output.status.success(),
            "{run:?}: {}",
            support::said(&output)
        );
        assert_eq!(support::said(&output), last_words, "{run:?}");
    }
}

#[test]
fn an_informer_lives_in_a_c_program() {
    runs_and_leaks_nothing("tests/c/life.c", "lived\n");
}

#[test]
fn what_a_c_program_does_wrong_is_refused() {
    runs_and_leaks_nothing("tests/c/abuse.c", "survived\n");
}
