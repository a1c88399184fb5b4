//! The command line, end to end: each test starts the program itself.
#![allow(clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A known error that every few seeds show.
const CANARY: &str = "--canary=apply-late-pages";

/// An empty directory of the test's own.
fn empty(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).expect("the last run's directory is removed");
    }
    fs::create_dir_all(&dir).expect("a directory");
    dir
}

fn reflet_sim(dir: &PathBuf, args: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_reflet-sim");
    let args = args.split_whitespace();
    Command::new(program)
        .current_dir(dir)
        .args(args)
        .output()
        .expect("it runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_sweep_that_passes_says_what_it_covered() {
    let output = reflet_sim(&empty("passes"), "sweep --seeds 4 --start 7 --jobs 2");
    let told = text(&output);
    assert!(output.status.success(), "{told}");
    assert!(
        told.starts_with("engine level: 4 seeds from 7 on, "),
        "{told}"
    );
    assert!(
        told.contains("1 seeds were run again, in this process and in a second one"),
        "{told}"
    );
    assert!(told.contains("no promise broken"), "{told}");
    assert!(
        !told.contains("TOO WEAK"),
        "four seeds need not reach everything: {told}"
    );
}

#[test]
fn a_failure_is_shrunk_and_saved_and_the_file_replays_and_shows() {
    let dir = empty("fails");
    let output = reflet_sim(&dir, &format!("sweep --seeds 50 --shrink-runs 60 {CANARY}"));
    let told = text(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let line = |start: &str| {
        let found = told.lines().find_map(|line| line.strip_prefix(start));
        found
            .unwrap_or_else(|| panic!("{start:?} in {told}"))
            .to_owned()
    };
    let (seed, promise) = line("seed ").split_once(" breaks ").map_or_else(
        || panic!("a promise in {told}"),
        |(seed, rest)| {
            (
                seed.to_owned(),
                rest.split(':').next().unwrap_or_default().to_owned(),
            )
        },
    );
    assert!(line("replay it:   ").ends_with(&format!("replay {seed} --canary apply-late-pages")));
    assert!(line("shrunk from ").contains(" steps in "));

    let file = line("saved as ");
    let output = reflet_sim(&dir, &format!("replay {file} --shrink-runs 1 {CANARY}"));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains(&promise),
        "{} shows {promise}",
        text(&output)
    );

    let output = reflet_sim(&dir, &format!("show {file} --html page.html {CANARY}"));
    assert!(output.status.success());
    let page = fs::read_to_string(dir.join("page.html")).expect("the page");
    assert!(page.contains(&format!("\"promise\":\"{promise}")));

    let output = reflet_sim(
        &dir,
        &format!("shrink {file} -o least.trace --shrink-runs 20 {CANARY}"),
    );
    assert!(output.status.success());
    let again = reflet_sim(
        &dir,
        &format!("replay least.trace --shrink-runs 1 {CANARY}"),
    );
    assert!(
        text(&again).contains(&promise),
        "{} shows {promise}",
        text(&again)
    );
}

#[test]
fn the_same_seed_has_the_same_hash_in_every_process() {
    let dir = empty("hash");
    let [first, second, other] =
        ["9", "9", "10"].map(|seed| text(&reflet_sim(&dir, &format!("replay {seed} --hash"))));
    assert_eq!(first.trim().len(), 16, "{first}");
    assert_eq!(first, second);
    assert_ne!(first, other);
}

#[test]
fn what_cannot_be_done_is_said_and_fails() {
    let dir = empty("cannot");
    fs::write(dir.join("noise.trace"), b"noise").expect("written");
    for (args, why) in [
        ("replay missing.trace", "cannot read missing.trace"),
        ("replay noise.trace", "noise.trace: not a trace"),
        ("shrink 9", "breaks no promise"),
        (
            "show 9 --html no/such/dir/page.html",
            "cannot write no/such/dir/page.html",
        ),
    ] {
        let output = reflet_sim(&dir, args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args}");
        assert!(said.contains(why), "{args}: {said}");
    }
    let output = reflet_sim(&dir, "sweep --seeds 1 --canary=no-such-canary");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_museum_can_be_visited() {
    let output = reflet_sim(&empty("museum"), "museum");
    let told = text(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.trim_end().ends_with("exhibits, 0 failed"));
}
