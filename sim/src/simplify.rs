//! What is simpler in a trace, and the minimal trace that breaks the same promise.

use std::iter;

use crate::oracles::Promise;
use crate::run::{Outcome, Violation, run, run_strictly};
use crate::shrink::{Simplify, shrink};
use crate::trace::{
    By, Ending, Fault, Interest, Joining, Nuisance, Setup, Span, Step, Trace, Tuning,
};
use crate::world::{Feed, Poison, Shape};

/// A trace that shrinking came to.
#[derive(Clone, Debug)]
pub struct Minimal {
    /// The trace.
    pub trace: Trace,
    /// The promise that it breaks: the same as before; how may differ.
    pub violation: Violation,
    /// How many runs it took.
    pub runs: usize,
    /// Whether nothing more can be taken out, one thing at a time. Otherwise the runs were used up.
    pub minimal: bool,
}

/// Shrinks a trace that breaks a promise, in at most `budget` runs. `violation` is what the trace
/// came to.
#[must_use]
pub fn minimize(trace: &Trace, violation: &Violation, budget: usize) -> Minimal {
    let mut found = (trace.clone(), violation.clone());
    let mut steps = trace.steps.clone();
    // Mostly, what comes after the violation is not needed: it costs one run to know.
    steps.truncate(violation.step.saturating_add(1));
    let mut fails = |setup: &Setup, steps: &[Step]| {
        let trace = Trace {
            setup: setup.clone(),
            steps: steps.to_vec(),
        };
        let violation = run_for(&trace, violation.promise).violation;
        let violation = violation.filter(|other| other.promise == found.1.promise)?;
        let step = violation.step;
        found = (trace, violation);
        Some(step)
    };
    if fails(&trace.setup, &steps).is_none() {
        steps.clone_from(&trace.steps);
    }
    let shrunk = shrink(trace.setup.clone(), steps, budget.saturating_sub(1), fails);
    let (trace, violation) = found;
    Minimal {
        trace,
        violation,
        runs: shrunk.runs + 1,
        minimal: shrunk.minimal,
    }
}

/// A run that can see this promise broken.
fn run_for(trace: &Trace, promise: Promise) -> Outcome {
    match promise {
        Promise::Isolation | Promise::Determinism => run_strictly(trace),
        Promise::Converges
        | Promise::NoTimeTravel
        | Promise::OneRealState
        | Promise::TruthfulDeltas
        | Promise::LossIsFound
        | Promise::NextStep
        | Promise::NeverHammers
        | Promise::BoundedMemory
        | Promise::HonestReadiness
        | Promise::Harmless
        | Promise::WarmRestart => run(trace),
    }
}

/// Lower numbers, from the lowest on. Not all of them: each costs a run.
fn lower(n: u32, least: u32) -> impl Iterator<Item = u32> {
    let nearly = if n <= 16 {
        n.saturating_sub(1)
    } else {
        n - n / 8
    };
    let mut candidates = vec![least, n / 2, nearly];
    candidates.retain(|&candidate| candidate >= least && candidate < n);
    candidates.dedup();
    candidates.into_iter()
}

fn lower_byte(n: u8, least: u8) -> impl Iterator<Item = u8> {
    lower(n.into(), least.into()).filter_map(|n| n.try_into().ok())
}

fn simpler_span(span: Span) -> impl Iterator<Item = Span> {
    let counts = lower(span.count, 0).map(move |count| match count {
        0 => Span::default(),
        count => Span { count, ..span },
    });
    let firsts =
        (span.count > 0).then(|| lower(span.first, 0).map(move |first| Span { first, ..span }));
    counts.chain(firsts.into_iter().flatten())
}

fn plainer(interest: Interest) -> impl Iterator<Item = Interest> {
    iter::once(Interest::All).filter(move |&plain| plain != interest)
}

impl Simplify for Step {
    fn simpler(&self) -> Vec<Self> {
        match *self {
            Self::Write {
                put,
                delete,
                poison,
                skip,
            } => simpler_write(put, delete, poison, skip),
            Self::Recreate(span) => simpler_span(span)
                .filter(|span| span.count > 0)
                .map(Self::Recreate)
                .collect(),
            Self::Elsewhere(by) => lower_byte(by, 1).map(Self::Elsewhere).collect(),
            Self::Sync(replica, by) => (lower_byte(replica, 0)
                .map(|replica| Self::Sync(replica, by)))
            .chain(lower_byte(by, 1).map(|by| Self::Sync(replica, by)))
            .collect(),
            Self::Compact(keep) => lower_byte(keep, 0).map(Self::Compact).collect(),
            Self::Restore(back) => lower_byte(back, 1).map(Self::Restore).collect(),
            Self::Serve(which, words, fault) => simpler_serve(which, words, fault),
            Self::Late(which) => lower_byte(which, 0).map(Self::Late).collect(),
            Self::Pass(millis) => lower(millis, 1).map(Self::Pass).collect(),
            Self::Timeout | Self::Early => Vec::new(),
            Self::Backwards(millis) => lower(millis, 1).map(Self::Backwards).collect(),
            Self::Poll(which, deltas) => (lower_byte(which, 0)
                .map(|which| Self::Poll(which, deltas)))
            .chain(lower_byte(deltas, 1).map(|deltas| Self::Poll(which, deltas)))
            .collect(),
            Self::Lend(which, deltas) => iter::once(Self::Poll(which, deltas))
                .chain(lower_byte(which, 0).map(|which| Self::Lend(which, deltas)))
                .chain(lower_byte(deltas, 1).map(|deltas| Self::Lend(which, deltas)))
                .collect(),
            Self::Drain(which) => lower_byte(which, 0).map(Self::Drain).collect(),
            Self::Subscribe(interest) => plainer(interest).map(Self::Subscribe).collect(),
            Self::Unsubscribe(which) => lower_byte(which, 0).map(Self::Unsubscribe).collect(),
            Self::Refilter(which, interest) => (lower_byte(which, 0)
                .map(|which| Self::Refilter(which, interest)))
            .chain(plainer(interest).map(|interest| Self::Refilter(which, interest)))
            .collect(),
            Self::Verify(content) => content.then_some(Self::Verify(false)).into_iter().collect(),
            Self::Neglect(steps) => lower_byte(steps, 1).map(Self::Neglect).collect(),
            Self::Join(joining) => {
                let plainer = plainer(joining.interest).map(|interest| Joining {
                    interest,
                    ..joining
                });
                let with = [
                    Joining {
                        worker: None,
                        ..joining
                    },
                    Joining {
                        redeliver: None,
                        ..joining
                    },
                    Joining {
                        lossless: None,
                        ..joining
                    },
                ];
                let mut out: Vec<_> = plainer.chain(with).collect();
                out.retain(|simpler| *simpler != joining);
                out.into_iter().map(Self::Join).collect()
            }
            Self::Redeliver(which) => lower_byte(which, 0).map(Self::Redeliver).collect(),
            Self::Save | Self::Muster => Vec::new(),
            Self::Crash(damage) => (damage > 0).then_some(Self::Crash(0)).into_iter().collect(),
            Self::Index(by) => (by != By::Key)
                .then_some(Self::Index(By::Key))
                .into_iter()
                .collect(),
            Self::Unindex(which) => lower_byte(which, 0).map(Self::Unindex).collect(),
            Self::Order(_) | Self::Unfollow | Self::Fence => Vec::new(),
            // To look at everything is the simplest.
            Self::Follow(slots) => (slots < u8::MAX)
                .then_some(Self::Follow(u8::MAX))
                .into_iter()
                .collect(),
            Self::Look(slots) => (slots < u8::MAX)
                .then_some(Self::Look(u8::MAX))
                .into_iter()
                .collect(),
        }
    }
}

fn simpler_write(put: Span, delete: Span, poison: Poison, skip: u8) -> Vec<Step> {
    let write = |put, delete, poison, skip| Step::Write {
        put,
        delete,
        poison,
        skip,
    };
    let pure = (poison != Poison::None).then(|| write(put, delete, Poison::None, skip));
    pure.into_iter()
        .chain(simpler_span(put).map(|put| write(put, delete, poison, skip)))
        .chain(simpler_span(delete).map(|delete| write(put, delete, poison, skip)))
        .chain(lower_byte(skip, 1).map(|skip| write(put, delete, poison, skip)))
        .collect()
}

fn simpler_serve(which: u8, words: u8, fault: Fault) -> Vec<Step> {
    let mut faults = vec![Fault::None];
    if let Fault::Fail(class, Some(wait)) = fault {
        faults.push(Fault::Fail(class, None));
        faults.extend(lower(wait, 0).map(|wait| Fault::Fail(class, Some(wait))));
    }
    if let Fault::Fail(class, None) = fault
        && class > 0
    {
        faults.push(Fault::Fail(0, None));
    }
    faults.retain(|&simpler| simpler != fault);
    let faults = faults
        .into_iter()
        .map(|fault| Step::Serve(which, words, fault));
    faults
        .chain(lower_byte(which, 0).map(|which| Step::Serve(which, words, fault)))
        .chain(lower_byte(words, 1).map(|words| Step::Serve(which, words, fault)))
        .collect()
}

impl Simplify for Setup {
    fn simpler(&self) -> Vec<Self> {
        let mut out = Vec::new();
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut setup = self.clone();
            change(&mut setup);
            if setup != *self {
                out.push(setup);
            }
        };
        match self.ending {
            Ending::Heal | Ending::Flap => {}
            Ending::Load(_) => {
                with(&|setup| setup.ending = Ending::Heal);
                with(&|setup| setup.ending = Ending::Load(Nuisance::None));
            }
        }
        for i in 0..self.subscribers.len() {
            with(&|setup| {
                setup.subscribers.remove(i);
            });
            with(&|setup| setup.subscribers[i] = Interest::All);
        }
        for replicas in lower_byte(self.replicas, 1) {
            with(&|setup| setup.replicas = replicas);
        }
        for initial in lower(self.initial, 0) {
            with(&|setup| setup.initial = initial);
        }
        for keys in lower(self.keys, self.initial.max(1)) {
            with(&|setup| setup.keys = keys);
        }
        with(&|setup| setup.lazy = false);
        with(&|setup| setup.seed = 0);
        for shape in simpler_shapes(&self.shape) {
            with(&|setup| setup.shape = shape);
        }
        for plainer in PLAIN_TUNING {
            with(&|setup| plainer(&mut setup.tuning));
        }
        out
    }
}

/// A source of this shape without one of its habits. None of them needs another one; what it does
/// need is that its feed can have it, and lists with a watch can have all.
fn simpler_shapes(shape: &Shape) -> impl Iterator<Item = Shape> {
    const WITHOUT: &[fn(&mut Shape)] = &[
        |shape| shape.feed = Feed::ListWatch,
        |shape| shape.fuzzy = false,
        |shape| shape.opaque = false,
        |shape| shape.batch_ends = false,
        |shape| shape.predecessors = false,
        |shape| shape.digests = false,
        |shape| shape.versions_ordered = false,
        |shape| shape.commit_revisions = false,
        |shape| shape.heartbeat = false,
        |shape| shape.epochs = false,
        |shape| shape.uids = false,
        |shape| shape.terse = false,
        |shape| shape.careless = false,
        |shape| shape.patient = false,
        |shape| shape.gone_inside = false,
    ];
    let shape = *shape;
    WITHOUT.iter().map(move |without| {
        let mut simpler = shape;
        without(&mut simpler);
        simpler
    })
}

/// A configuration in which nothing is tight.
const PLAIN_TUNING: &[fn(&mut Tuning)] = &[
    |tuning| tuning.burst = 4,
    |tuning| tuning.min_interval = 10,
    |tuning| tuning.page_burst = 200,
    |tuning| tuning.page_interval = 0,
    |tuning| tuning.silence = None,
    |tuning| tuning.backoff_max = 500,
    |tuning| tuning.verify_period = None,
    |tuning| tuning.stable_after = 200,
    |tuning| tuning.objects = None,
    |tuning| tuning.page_items = 500,
    |tuning| tuning.retained = 1 << 20,
    |tuning| tuning.notices = 256,
    |tuning| tuning.quarantined = 1_000,
    |tuning| tuning.refuse_epochs = false,
    |tuning| tuning.rewind = None,
    |tuning| tuning.dead_ends = 3,
    |tuning| tuning.gone_limit = 3,
];
