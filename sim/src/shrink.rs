//! From a trace that breaks a promise to a minimal one that breaks the same promise: delta
//! debugging on setup and steps.
//!
//! All that is tried is run again, so nothing has to be known of what steps mean: one that does
//! not apply any more is skipped by the run. The same input gives the same result.

use std::ops::ControlFlow;

/// What can be tried in something's place, because it makes a shorter or plainer story.
pub trait Simplify: Sized {
    /// The candidates, the simplest first. Each must be simpler than `self` by some measure that
    /// cannot sink for ever.
    fn simpler(&self) -> Vec<Self>;
}

/// What shrinking came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk<S, T> {
    /// The setup.
    pub setup: S,
    /// The steps that are left.
    pub steps: Vec<T>,
    /// How many runs it took.
    pub runs: usize,
    /// Whether nothing more can be taken out or made simpler, one thing at a time. Otherwise the
    /// runs were used up.
    pub minimal: bool,
}

/// Shrinks a run that fails, in at most `budget` runs.
///
/// `fails` runs a candidate and says at which step it fails in the same way as the original; `None`
/// if it does not. It is never asked about the original itself, which is taken to fail.
pub fn shrink<S, T>(
    setup: S,
    steps: Vec<T>,
    budget: usize,
    fails: impl FnMut(&S, &[T]) -> Option<usize>,
) -> Shrunk<S, T>
where
    S: Simplify + Clone,
    T: Simplify + Clone,
{
    let mut search = Search {
        setup,
        steps,
        runs: 0,
        budget,
        fails,
    };
    let minimal = search.run().is_continue();
    let Search {
        setup, steps, runs, ..
    } = search;
    Shrunk {
        setup,
        steps,
        runs,
        minimal,
    }
}

/// The smallest that is known to fail, and what may still be spent. `Break` is the end of the
/// budget.
struct Search<S, T, F> {
    setup: S,
    steps: Vec<T>,
    runs: usize,
    budget: usize,
    fails: F,
}

impl<S, T, F> Search<S, T, F>
where
    S: Simplify + Clone,
    T: Simplify + Clone,
    F: FnMut(&S, &[T]) -> Option<usize>,
{
    /// Rounds, until one changes nothing: a simpler step can make another one superfluous.
    fn run(&mut self) -> ControlFlow<()> {
        loop {
            let chunks = self.drop_chunks()?;
            let setup = self.simplify_setup()?;
            let steps = self.simplify_steps()?;
            if !(chunks || setup || steps) {
                return ControlFlow::Continue(());
            }
        }
    }

    /// Takes a candidate if it fails as well, and cuts off what comes after its failure.
    fn try_out(&mut self, setup: &S, steps: Vec<T>) -> ControlFlow<(), bool> {
        if self.runs >= self.budget {
            return ControlFlow::Break(());
        }
        self.runs += 1;
        let Some(at) = (self.fails)(setup, &steps) else {
            return ControlFlow::Continue(false);
        };
        self.setup = setup.clone();
        self.steps = steps;
        let end = at.saturating_add(1);
        if end < self.steps.len() {
            let cut = self.steps[..end].to_vec();
            // Usually it needs nothing of the rest, but the promises of the end might.
            return self.try_out(setup, cut).map_continue(|_| true);
        }
        ControlFlow::Continue(true)
    }

    /// Drops runs of steps, half of them first, then smaller ones, down to single steps. From the
    /// end: what is late is needed least.
    fn drop_chunks(&mut self) -> ControlFlow<(), bool> {
        let mut dropped = false;
        let mut size = self.steps.len().max(1);
        while size > 0 {
            let mut end = self.steps.len();
            while end > 0 {
                let start = end.saturating_sub(size);
                let mut rest = self.steps[..start].to_vec();
                rest.extend_from_slice(&self.steps[end..]);
                let setup = self.setup.clone();
                dropped |= self.try_out(&setup, rest)?;
                end = start.min(self.steps.len());
            }
            size /= 2;
        }
        ControlFlow::Continue(dropped)
    }

    fn simplify_setup(&mut self) -> ControlFlow<(), bool> {
        let mut changed = false;
        'again: loop {
            for setup in self.setup.simpler() {
                let steps = self.steps.clone();
                if self.try_out(&setup, steps)? {
                    changed = true;
                    continue 'again;
                }
            }
            return ControlFlow::Continue(changed);
        }
    }

    fn simplify_steps(&mut self) -> ControlFlow<(), bool> {
        let mut changed = false;
        let mut at = 0;
        'again: while let Some(step) = self.steps.get(at) {
            for simpler in step.simpler() {
                let mut steps = self.steps.clone();
                steps[at] = simpler;
                let setup = self.setup.clone();
                if self.try_out(&setup, steps)? {
                    changed = true;
                    continue 'again;
                }
            }
            at += 1;
        }
        ControlFlow::Continue(changed)
    }
}
