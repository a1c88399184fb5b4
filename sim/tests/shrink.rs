//! The shrinker: what it finds is minimal, breaks the same thing, and keeps to its budget.

use reflet_sim::shrink::{Shrunk, Simplify, shrink};

/// A number that may become lower, down to 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count(u32);

impl Simplify for Count {
    fn simpler(&self) -> Vec<Self> {
        [0, self.0 / 2, self.0.saturating_sub(1)]
            .into_iter()
            .filter(|&n| n < self.0)
            .map(Self)
            .collect()
    }
}

fn counts(numbers: impl IntoIterator<Item = u32>) -> Vec<Count> {
    numbers.into_iter().map(Count).collect()
}

/// The position of the first step, after those before it, that holds each of these in order.
fn subsequence(steps: &[Count], wanted: &[fn(u32) -> bool]) -> Option<usize> {
    let mut wanted = wanted.iter();
    let mut next = wanted.next()?;
    for (at, step) in steps.iter().enumerate() {
        if next(step.0) {
            match wanted.next() {
                Some(more) => next = more,
                None => return Some(at),
            }
        }
    }
    None
}

/// A failure that needs three of the steps, in this order, and some of the setup.
fn needs_three(setup: &Count, steps: &[Count]) -> Option<usize> {
    (setup.0 >= 3).then_some(())?;
    subsequence(steps, &[|n| n >= 70, |n| n % 7 == 3, |n| n == 42])
}

#[test]
fn what_is_left_is_minimal_and_still_fails() {
    let Shrunk {
        setup,
        steps,
        minimal,
        ..
    } = shrink(Count(9), counts(0..200), 10_000, |setup, steps| {
        subsequence(
            steps,
            &[|n| n >= 30, |n| (3..100).contains(&n), |n| n == 142],
        )
        .filter(|_| setup.0 >= 3)
    });
    assert!(minimal);
    assert_eq!(setup, Count(3));
    assert_eq!(steps, counts([30, 3, 142]));
}

#[test]
fn nothing_single_can_be_taken_out_of_a_minimal_trace() {
    // Parity makes it hard: two steps can only go together.
    let fails = |_: &Count, steps: &[Count]| {
        let large = steps.iter().filter(|step| step.0 >= 10).count();
        (large >= 3 && steps.iter().map(|step| step.0).sum::<u32>() % 5 == 1)
            .then(|| steps.len() - 1)
    };
    let original = counts([8, 31, 4, 12, 19, 7, 44, 3, 10, 13]);
    assert!(
        fails(&Count(0), &original).is_some(),
        "a failure to begin with"
    );
    let Shrunk { steps, minimal, .. } = shrink(Count(0), original, 100_000, fails);
    assert!(minimal && fails(&Count(0), &steps).is_some());
    for i in 0..steps.len() {
        let mut fewer = steps.clone();
        fewer.remove(i);
        assert!(
            fails(&Count(0), &fewer).is_none(),
            "{i} is not needed in {steps:?}"
        );
        for simpler in steps[i].simpler() {
            let mut plainer = steps.clone();
            plainer[i] = simpler;
            assert!(
                fails(&Count(0), &plainer).is_none(),
                "{i} can be {simpler:?} in {steps:?}"
            );
        }
    }
}

#[test]
fn a_failure_that_needs_no_step_loses_all_of_them_in_one_run() {
    let Shrunk { steps, runs, .. } = shrink(Count(0), counts(0..1_000), 10_000, |_, _| Some(0));
    assert!(steps.is_empty());
    assert_eq!(runs, 1);
}

#[test]
fn the_budget_is_kept_and_what_was_found_by_then_is_handed_back() {
    for budget in [0, 1, 7, 30] {
        let mut asked = 0;
        let shrunk = shrink(
            Count(9),
            counts((0..300).rev().chain([42])),
            budget,
            |setup, steps| {
                asked += 1;
                needs_three(setup, steps)
            },
        );
        assert_eq!(asked, budget);
        assert_eq!(shrunk.runs, budget);
        assert!(!shrunk.minimal);
        assert!(
            needs_three(&shrunk.setup, &shrunk.steps).is_some(),
            "it fails still"
        );
    }
}

#[test]
fn steps_after_the_failure_are_cut_off_at_once() {
    let mut longest_after_first_hit = 0;
    let mut hit = false;
    shrink(Count(0), counts(0..1_000), 10_000, |_, steps| {
        if hit {
            longest_after_first_hit = longest_after_first_hit.max(steps.len());
        }
        let at = subsequence(steps, &[|n| n == 10, |n| n == 20]);
        hit |= at.is_some();
        at
    });
    assert!(longest_after_first_hit <= 21, "{longest_after_first_hit}");
}

#[test]
fn a_failure_at_the_very_end_keeps_what_it_needs() {
    // Like a promise that only the ending can break: it is never at a step of the trace.
    let Shrunk { steps, minimal, .. } = shrink(Count(0), counts(0..100), 10_000, |_, steps| {
        steps.contains(&Count(57)).then_some(steps.len())
    });
    assert!(minimal);
    assert_eq!(steps, counts([57]));
}

#[test]
fn the_same_input_gives_the_same_result() {
    let once = || shrink(Count(9), counts((0..300).chain([42])), 500, needs_three);
    assert_eq!(once(), once());
}

#[test]
fn what_becomes_superfluous_goes_too() {
    // 2 makes up for 3: it can only go once 3 is gone.
    let has = |steps: &[Count], n| steps.contains(&Count(n));
    let fails = |_: &Count, steps: &[Count]| {
        (has(steps, 1) && (has(steps, 2) || !has(steps, 3))).then_some(steps.len())
    };
    let Shrunk { steps, .. } = shrink(Count(0), counts([1, 3, 2]), 1_000, fails);
    assert_eq!(steps, counts([1]));
}
