//! Every interleaving of a tiny world: two keys, a few transactions, and one of each fault.
//!
//! A random search finds what is likely, this one everything within its scope. It goes breadth
//! first over fingerprints of engine, source and subscribers together, so that ways that lead to
//! the same point are walked once, and what is broken is shown by a shortest story. At each point
//! the promises P2, P3, P4, P6, P8, P9 and P10 are checked, and that a benign world leads from there
//! to what the source has (P1).

mod check;
mod driver;
mod follower;
mod state;
mod words;
mod world;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

pub use world::Profile;

use check::Broken;
use state::{Action, State};

/// The most steps that a benign world may take.
const BENIGN_STEPS: usize = 400;

/// How often each thing may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Faults {
    /// Transactions after the first object was put.
    pub writes: u8,
    /// The source forgets its history.
    pub compactions: u8,
    /// A connection is closed, breaks or falls silent, or a transaction is lost where that shows.
    pub drops: u8,
    /// A word of a watch comes twice.
    pub duplicates: u8,
    /// A word of an attempt that is over.
    pub late: u8,
    /// A deadline for an answer passes although one would come.
    pub timeouts: u8,
    /// A list is served by a replica that lags one revision behind.
    pub stale: u8,
    /// So many of all these, writes apart, may happen in one story.
    pub together: u8,
}

/// What is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The kind of source.
    pub profile: Profile,
    /// What may happen.
    pub faults: Faults,
    /// The engine's limit for what one subscriber holds back, if not its default, in bytes.
    pub retained_bytes: Option<usize>,
    /// The most states; the search gives up beyond that.
    pub states: usize,
}

/// What a search has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many different states there are.
    pub states: usize,
    /// How many steps lead from one to another.
    pub transitions: usize,
    /// The most steps that are needed to get to any of them.
    pub depth: usize,
    /// All states of the scope were visited.
    pub complete: bool,
    /// The longest time that a benign world took to converge.
    pub slowest: Duration,
    /// The first promise that was broken.
    pub violation: Option<Violation>,
}

/// A broken promise, and a shortest way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The promise, `P1` to `P9`.
    pub promise: &'static str,
    /// What is wrong.
    pub how: String,
    /// The steps, one a line.
    pub path: Vec<String>,
}

impl Faults {
    /// One of each, around one transaction: with the first object, three versions in all.
    pub const ONE_OF_EACH: Self = Self {
        writes: 1,
        compactions: 1,
        drops: 1,
        duplicates: 1,
        late: 1,
        timeouts: 1,
        stale: 0,
        together: 6,
    };

    /// Two transactions, so that an object can be deleted and created anew, and any one fault.
    pub const TWO_WRITES: Self = Self {
        writes: 2,
        stale: 1,
        together: 1,
        ..Self::ONE_OF_EACH
    };

    fn allows(&self, kind: u8) -> bool {
        kind > 0 && self.together > 0
    }

    /// In a benign world, where nothing is left, nothing is spent.
    fn spend(&mut self, kind: impl FnOnce(&mut Self) -> &mut u8) {
        let left = kind(self);
        *left = left.saturating_sub(1);
        self.together = self.together.saturating_sub(1);
    }
}

impl Scope {
    /// Two transactions, so that an object can be deleted and created anew, and any two faults:
    /// up to a million states, and about a gigabyte, for each kind of source.
    #[must_use]
    pub const fn large(profile: Profile) -> Self {
        Self {
            faults: Faults {
                together: 2,
                ..Faults::TWO_WRITES
            },
            ..Self::of(profile)
        }
    }

    /// One of each fault, for one kind of source.
    #[must_use]
    pub const fn of(profile: Profile) -> Self {
        Self {
            profile,
            faults: Faults::ONE_OF_EACH,
            retained_bytes: None,
            states: 5_000_000,
        }
    }
}

/// Visits every state of a scope, or stops at the first broken promise.
#[must_use]
pub fn explore(scope: &Scope) -> Report {
    let mut search = Search::new(scope);
    let broken = search.run();
    let violation = broken.map(|(steps, broken)| Violation {
        promise: broken.promise,
        how: broken.how,
        path: tell(scope, &steps),
    });
    Report {
        states: search.seen.len(),
        transitions: search.transitions,
        depth: search.depth,
        complete: violation.is_none() && search.queue.is_empty(),
        slowest: search.slowest,
        violation,
    }
}

/// A state that is known, by the step that first led to it.
struct Known {
    parent: u32,
    action: Action,
}

struct Search {
    limit: usize,
    queue: VecDeque<(u32, usize, State)>,
    /// All states by their fingerprints.
    seen: HashMap<u64, u32>,
    known: Vec<Known>,
    /// Fingerprints from which a benign world converges, and how long that takes.
    converging: HashMap<u64, Duration>,
    transitions: usize,
    depth: usize,
    slowest: Duration,
}

type Failure = (Vec<Action>, Broken);

impl Search {
    fn new(scope: &Scope) -> Self {
        let start = State::new(scope);
        Self {
            limit: scope.states,
            seen: HashMap::from([(start.fingerprint(true), 0)]),
            known: vec![Known {
                parent: 0,
                action: Action::Wait,
            }],
            queue: VecDeque::from([(0, 0, start)]),
            converging: HashMap::new(),
            transitions: 0,
            depth: 0,
            slowest: Duration::ZERO,
        }
    }

    fn run(&mut self) -> Option<Failure> {
        while self.seen.len() < self.limit
            && let Some((id, depth, state)) = self.queue.pop_front()
        {
            self.depth = self.depth.max(depth);
            if let Err((benign, broken)) = self.converges(&state) {
                let mut steps = self.steps_to(id);
                steps.extend(benign);
                return Some((steps, broken));
            }
            for action in state.actions() {
                self.transitions += 1;
                let mut next = state.clone();
                if let Err(broken) = next.apply(action).and_then(|()| check::step(&state, &next)) {
                    let mut steps = self.steps_to(id);
                    steps.push(action);
                    return Some((steps, broken));
                }
                let number = self.known.len() as u32;
                if let Entry::Vacant(place) = self.seen.entry(next.fingerprint(true)) {
                    place.insert(number);
                    self.known.push(Known { parent: id, action });
                    self.queue.push_back((number, depth + 1, next));
                }
            }
        }
        None
    }

    /// P1: lets a benign world run on from here, until it is where one has converged before.
    fn converges(&mut self, from: &State) -> Result<(), Failure> {
        let bound = from.engine.config().convergence_bound();
        let mut state = from.clone();
        let (mut steps, mut passed) = (Vec::new(), Vec::new());
        let rest = loop {
            let fingerprint = state.fingerprint(false);
            if let Some(rest) = self.converging.get(&fingerprint) {
                break *rest;
            }
            passed.push((fingerprint, state.now));
            if check::has_converged(&state) {
                let end = state.catch_up().and_then(|()| check::caught_up(&state));
                end.map_err(|broken| (steps.clone(), broken))?;
                break Duration::ZERO;
            }
            let took = state.now.saturating_since(from.now);
            if steps.len() > BENIGN_STEPS || took > bound {
                return Err((steps, check::late(&state, took)));
            }
            let action = check::benign(&state);
            let before = state.clone();
            steps.push(action);
            let step = state
                .apply(action)
                .and_then(|()| check::step(&before, &state));
            step.map_err(|broken| (steps.clone(), broken))?;
        };
        for (fingerprint, at) in passed {
            let took = state.now.saturating_since(at).saturating_add(rest);
            self.converging.insert(fingerprint, took);
            self.slowest = self.slowest.max(took);
            if took > bound {
                return Err((steps, check::late(&state, took)));
            }
        }
        Ok(())
    }

    fn steps_to(&self, mut id: u32) -> Vec<Action> {
        let mut steps = Vec::new();
        while id != 0 {
            let known = &self.known[id as usize];
            steps.push(known.action);
            id = known.parent;
        }
        steps.reverse();
        steps
    }
}

/// Takes the steps once more, and tells what each one was.
fn tell(scope: &Scope, steps: &[Action]) -> Vec<String> {
    let mut state = State::new(scope);
    let lines = steps.iter().map(|action| {
        let told = state.tell(*action);
        // Where the last step breaks a promise, that is told elsewhere.
        let _ = state.apply(*action);
        format!("{told}; {}", state.outline())
    });
    lines.collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            states,
            transitions,
            depth,
            complete,
            slowest,
            violation,
        } = self;
        let all = if *complete { "all" } else { "not all" };
        write!(
            f,
            "{states} states ({all}), {transitions} transitions, depth {depth}, \
             slowest to converge {slowest:?}"
        )?;
        if let Some(Violation { promise, how, path }) = violation {
            write!(f, "\n{promise} broken: {how}")?;
            for (number, line) in path.iter().enumerate() {
                write!(f, "\n{:>3}. {line}", number + 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};

    use super::{Faults, Profile, Scope, State};

    /// How many ways to a state that was known already are looked at.
    const MERGES: usize = 10_000;

    /// Where a state leads: the fingerprint after each of its steps.
    fn successors(state: &State) -> Vec<Option<u64>> {
        let actions = state.actions().into_iter();
        let after = actions.map(|action| {
            let mut next = state.clone();
            let applied = next.apply(action);
            applied.is_ok().then(|| next.fingerprint(true))
        });
        after.collect()
    }

    #[test]
    fn states_that_share_a_fingerprint_lead_to_states_that_share_one() {
        for profile in Profile::ALL {
            let scope = Scope {
                faults: Faults::TWO_WRITES,
                ..Scope::of(profile)
            };
            let start = State::new(&scope);
            let mut known = HashMap::from([(start.fingerprint(true), successors(&start))]);
            let (mut queue, mut merges) = (VecDeque::from([start]), 0);
            while merges < MERGES
                && let Some(state) = queue.pop_front()
            {
                for action in state.actions() {
                    let mut next = state.clone();
                    next.apply(action).unwrap();
                    let leads_to = successors(&next);
                    if let Some(known) = known.get(&next.fingerprint(true)) {
                        merges += 1;
                        assert_eq!(*known, leads_to, "{profile:?}: {}", next.outline());
                    } else {
                        known.insert(next.fingerprint(true), leads_to);
                        queue.push_back(next);
                    }
                }
            }
            assert!(merges > 1_000, "{profile:?}: only {merges} merges");
        }
    }
}
