//! From a seed to a trace. Swarm style: each seed does without a random subset of the faults and
//! weights the rest, so that rare combinations are not drowned by common ones.

use fastrand::Rng;

use crate::motifs::weave;
use crate::trace::{Ending, Fault, Interest, Lie, Nuisance, Setup, Span, Step, Trace, Tuning};
use crate::variants;
use crate::world::{Feed, Poison, Shape};
use crate::{fences, onlookers, restarts};

const INTERESTS: [Interest; 5] = [
    Interest::All,
    Interest::All,
    Interest::EvenKeys,
    Interest::EvenWrites,
    Interest::Nothing,
];
/// How many keys there can be in a large world.
const LARGE: [u32; 7] = [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 100_000];
/// The source changes at least so many objects, unless the world is large.
const CHANGES: u32 = 100;

impl Trace {
    /// The trace of a seed.
    #[must_use]
    pub fn generate(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        // A first draw spreads neighbouring seeds.
        let large = rng.u32(..100) == 99;
        let mut setup = setup(&mut rng, large);
        let count = if large {
            rng.usize(80..160)
        } else {
            rng.usize(320..560)
        };
        let swarm = Swarm::new(&mut rng, &setup);
        let mut steps: Vec<_> = (0..count).map(|_| swarm.step(&mut rng, &setup)).collect();
        if !large && chance(&mut rng, 25) {
            weave(&mut rng, &mut setup, &mut steps);
        }
        let mut changes: u32 = steps.iter().map(|step| puts(*step, setup.keys)).sum();
        while changes < CHANGES && !large {
            let step = write(&mut rng, setup.keys);
            changes += puts(step, setup.keys);
            steps.push(step);
        }
        variants::weave(seed, &setup, &mut steps);
        restarts::weave(seed, setup.keys, &mut steps);
        onlookers::weave(seed, large, &mut steps);
        fences::weave(seed, &mut steps);
        Self { setup, steps }
    }
}

fn chance(rng: &mut Rng, percent: u32) -> bool {
    rng.u32(..100) < percent
}

fn one<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

fn setup(rng: &mut Rng, large: bool) -> Setup {
    let shape = shape(rng);
    let keys = if large {
        one(rng, &LARGE)
    } else {
        one(rng, &[2, 3, 5, 8, 13])
    };
    let many = !large && chance(rng, 5);
    let keys = if many { 300 } else { keys };
    let initial = match rng.u32(..4) {
        0 => 0,
        1 => keys / 2,
        _ => keys,
    };
    let subscribers = (0..rng.usize(2..5)).map(|_| one(rng, &INTERESTS)).collect();
    let ending = if chance(rng, 12) && !large {
        Ending::Load(one(rng, &Nuisance::ALL))
    } else if chance(rng, 5) {
        Ending::Flap
    } else {
        Ending::Heal
    };
    Setup {
        shape,
        keys,
        initial: if large { keys } else { initial },
        replicas: if shape.opaque { 1 } else { rng.u8(1..4) },
        seed: rng.u64(..),
        tuning: tuning(rng, keys, large || many),
        lazy: rng.bool(),
        subscribers,
        ending,
    }
}

fn shape(rng: &mut Rng) -> Shape {
    let feed = match rng.u32(..12) {
        0..5 => Feed::ListWatch,
        5..8 => Feed::InitialStream,
        8 => Feed::Polled,
        9 => Feed::Blocking,
        _ => Feed::Hints,
    };
    let listed = matches!(feed, Feed::ListWatch | Feed::InitialStream);
    let opaque = chance(rng, 18);
    let fuzzy = chance(rng, 15) && feed == Feed::ListWatch && !opaque;
    let versions_ordered = chance(rng, if opaque { 75 } else { 50 });
    let commit_revisions = rng.bool() && !opaque && listed;
    Shape {
        feed,
        fuzzy,
        opaque,
        batch_ends: rng.bool() && listed,
        predecessors: rng.bool() && listed,
        digests: rng.bool() && listed,
        versions_ordered,
        commit_revisions,
        heartbeat: rng.bool(),
        // Nobody could ever tell a lower version of the same history from one of another.
        epochs: chance(rng, 60) || (versions_ordered && (opaque || fuzzy)),
        uids: chance(rng, if opaque { 75 } else { 50 }) && !commit_revisions,
        terse: rng.bool(),
        careless: rng.bool(),
        patient: rng.bool(),
        gone_inside: rng.bool(),
    }
}

fn tuning(rng: &mut Rng, keys: u32, large: bool) -> Tuning {
    Tuning {
        burst: rng.u32(1..5),
        min_interval: one(rng, &[10, 100, 500]),
        page_burst: one(rng, &[1, 4, 200]),
        page_interval: one(rng, &[0, 2, 20]),
        silence: rng.bool().then_some(6_000),
        backoff_max: one(rng, &[500, 2_000, 4_000]),
        verify_period: chance(rng, 30).then(|| rng.u32(5_000..40_000)),
        stable_after: one(rng, &[200, 1_000, 5_000]),
        objects: chance(rng, 10).then(|| rng.u32(1..=keys)),
        staged: chance(rng, 6).then(|| rng.u32(40..300)),
        pages: (chance(rng, 4) && !large).then(|| rng.u32(1..6)),
        graves: one(rng, &[1, 10_000]),
        page_items: if large {
            keys / rng.u32(2..40) + 1
        } else {
            one(rng, &[1, 2, 3, 500])
        },
        retained: if chance(rng, 25) { 600 } else { 1 << 20 },
        notices: one(rng, &[1, 4, 256]),
        quarantined: one(rng, &[1, 1_000]),
        refuse_epochs: chance(rng, 10),
        rewind: chance(rng, 60).then(|| (rng.u32(1..4), rng.u32(0..8_000))),
        dead_ends: rng.u32(1..4),
        gone_limit: rng.u32(1..4),
    }
}

/// Which faults a seed has, and how often.
struct Swarm {
    steps: Vec<(u32, Kind)>,
    faults: Vec<(u32, FaultKind)>,
    /// Of a hundred servings, so many are disturbed.
    disturbed: u32,
    lies: Vec<Lie>,
}

#[derive(Clone, Copy)]
enum Kind {
    Write,
    Burst,
    Recreate,
    Poison,
    Elsewhere,
    Sync,
    Compact,
    Restore,
    Serve,
    Late,
    Pass,
    Jump,
    Timeout,
    Early,
    Backwards,
    Poll,
    Drain,
    Subscribe,
    Unsubscribe,
    Refilter,
    Verify,
    Neglect,
}

#[derive(Clone, Copy)]
enum FaultKind {
    Fail,
    Gone,
    Unavailable,
    Close,
    Mute,
    Repeat,
    Again,
    Hint,
    LoseTransaction,
    LoseWord,
    LoseBatchEnd,
    Swap,
    SpoilPayload,
    SpoilKey,
    Lie,
}

impl Swarm {
    fn new(rng: &mut Rng, setup: &Setup) -> Self {
        let always = [
            (28, Kind::Write),
            (14, Kind::Sync),
            (40, Kind::Serve),
            (8, Kind::Timeout),
            (6, Kind::Drain),
        ];
        let sometimes = [
            (1, Kind::Burst),
            (2, Kind::Recreate),
            (1, Kind::Poison),
            (2, Kind::Elsewhere),
            (1, Kind::Compact),
            (1, Kind::Restore),
            (2, Kind::Late),
            (3, Kind::Pass),
            (1, Kind::Jump),
            (1, Kind::Early),
            (1, Kind::Backwards),
            (3, Kind::Poll),
            (1, Kind::Subscribe),
            (1, Kind::Unsubscribe),
            (1, Kind::Refilter),
            (1, Kind::Verify),
            (1, Kind::Neglect),
        ];
        let mut steps = always.to_vec();
        for (weight, kind) in sometimes {
            if chance(rng, 55) {
                steps.push((weight << rng.u32(0..3), kind));
            }
        }
        // A liar has one or two ways.
        let lies = if chance(rng, 12) {
            vec![one(rng, &Lie::ALL), one(rng, &Lie::ALL)]
        } else {
            Vec::new()
        };
        let shape = &setup.shape;
        let possible = [
            (true, FaultKind::Fail),
            (true, FaultKind::Gone),
            (true, FaultKind::Unavailable),
            (true, FaultKind::Close),
            (true, FaultKind::Mute),
            (Fault::Repeat.fits(shape), FaultKind::Repeat),
            (Fault::Again.fits(shape), FaultKind::Again),
            (true, FaultKind::Hint),
            (true, FaultKind::LoseTransaction),
            (true, FaultKind::LoseWord),
            (Fault::LoseBatchEnd.fits(shape), FaultKind::LoseBatchEnd),
            (Fault::Swap.fits(shape), FaultKind::Swap),
            (true, FaultKind::SpoilPayload),
            (true, FaultKind::SpoilKey),
        ];
        let mut faults = Vec::new();
        for (possible, kind) in possible {
            if possible && chance(rng, 40) {
                faults.push((1 << rng.u32(0..3), kind));
            }
        }
        if !lies.is_empty() {
            faults.push((4, FaultKind::Lie));
        }
        let disturbed = if faults.is_empty() {
            0
        } else {
            one(rng, &[3, 10, 30])
        };
        Self {
            steps,
            faults,
            disturbed,
            lies,
        }
    }

    fn step(&self, rng: &mut Rng, setup: &Setup) -> Step {
        let keys = setup.keys;
        match pick(rng, &self.steps) {
            Kind::Write => write(rng, keys),
            Kind::Burst => {
                let all = Span {
                    first: 0,
                    count: keys.min(400),
                };
                let none = Span::default();
                let (put, delete) = if rng.bool() { (all, none) } else { (none, all) };
                Step::Write {
                    put,
                    delete,
                    poison: Poison::None,
                    skip: 1,
                }
            }
            Kind::Recreate => Step::Recreate(span(rng, keys, 2)),
            Kind::Poison => {
                let poison = if chance(rng, 70) {
                    Poison::Payload
                } else {
                    Poison::Key
                };
                let (put, delete) = (span(rng, keys, 1), Span::default());
                Step::Write {
                    put,
                    delete,
                    poison,
                    skip: 1,
                }
            }
            Kind::Elsewhere => Step::Elsewhere(rng.u8(1..5)),
            Kind::Sync => Step::Sync(rng.u8(..3), rng.u8(1..20)),
            Kind::Compact => Step::Compact(one(rng, &[0, 1, 3, 10])),
            Kind::Restore => Step::Restore(rng.u8(..8)),
            Kind::Serve => Step::Serve(
                if chance(rng, 75) { 0 } else { 1 },
                if setup.keys >= 300 && rng.bool() {
                    255
                } else {
                    rng.u8(1..16)
                },
                self.fault(rng),
            ),
            Kind::Late => Step::Late(rng.u8(..3)),
            Kind::Pass => Step::Pass(rng.u32(..4_000)),
            Kind::Jump => Step::Pass(rng.u32(10_000..2_000_000)),
            Kind::Timeout => Step::Timeout,
            Kind::Early => Step::Early,
            Kind::Backwards => Step::Backwards(rng.u32(1..100_000)),
            Kind::Poll => match rng.u8(..12) {
                which @ ..6 => Step::Poll(which, rng.u8(1..8)),
                which => Step::Lend(which - 6, rng.u8(1..8)),
            },
            Kind::Drain => Step::Drain(rng.u8(..6)),
            Kind::Subscribe => Step::Subscribe(one(rng, &INTERESTS)),
            Kind::Unsubscribe => Step::Unsubscribe(rng.u8(..6)),
            Kind::Refilter => Step::Refilter(rng.u8(..6), one(rng, &INTERESTS)),
            Kind::Verify => Step::Verify(chance(rng, 30)),
            Kind::Neglect => Step::Neglect(rng.u8(1..10)),
        }
    }

    fn fault(&self, rng: &mut Rng) -> Fault {
        if !chance(rng, self.disturbed) {
            return Fault::None;
        }
        match pick(rng, &self.faults) {
            FaultKind::Fail => {
                let wait = chance(rng, 30).then(|| rng.u32(..20_000));
                Fault::Fail(rng.u8(..8), wait)
            }
            FaultKind::Gone => Fault::Fail(1, None),
            FaultKind::Unavailable => Fault::Fail(0, chance(rng, 20).then(|| rng.u32(..20_000))),
            FaultKind::Close => Fault::Close,
            FaultKind::Mute => Fault::Mute,
            FaultKind::Repeat => Fault::Repeat,
            FaultKind::Again => Fault::Again,
            FaultKind::Hint => Fault::Hint,
            FaultKind::LoseTransaction => Fault::LoseTransaction,
            FaultKind::LoseWord => Fault::LoseWord,
            FaultKind::LoseBatchEnd => Fault::LoseBatchEnd,
            FaultKind::Swap => Fault::Swap,
            FaultKind::SpoilPayload => Fault::SpoilPayload,
            FaultKind::SpoilKey => Fault::SpoilKey,
            FaultKind::Lie => Fault::Lie(one(rng, &self.lies)),
        }
    }
}

fn pick<T: Copy>(rng: &mut Rng, of: &[(u32, T)]) -> T {
    let total: u32 = of.iter().map(|(weight, _)| weight).sum();
    let mut at = rng.u32(..total);
    for (weight, kind) in of {
        if at < *weight {
            return *kind;
        }
        at -= weight;
    }
    of[0].1
}

fn span(rng: &mut Rng, keys: u32, most: u32) -> Span {
    Span {
        first: rng.u32(..keys),
        count: rng.u32(1..=most),
    }
}

/// How many objects a step puts.
fn puts(step: Step, keys: u32) -> u32 {
    if let Step::Write { put, .. } | Step::Recreate(put) = step {
        put.count.min(keys)
    } else {
        0
    }
}

fn write(rng: &mut Rng, keys: u32) -> Step {
    let (mut put, mut delete) = (Span::default(), Span::default());
    match rng.u32(..10) {
        0..6 => put = span(rng, keys, 3),
        6..8 => delete = span(rng, keys, 2),
        _ => (put, delete) = (span(rng, keys, 2), span(rng, keys, 2)),
    }
    Step::Write {
        put,
        delete,
        poison: Poison::None,
        skip: if rng.u32(..4) == 0 { rng.u8(2..6) } else { 1 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_seed_has_a_source_that_can_be() {
        for seed in 0..3_000 {
            let shape = Trace::generate(seed).setup.shape;
            assert_eq!(shape, shape.plausible(), "seed {seed}");
        }
    }
}
