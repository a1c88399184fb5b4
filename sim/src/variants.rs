//! Which subscribers of a seed are of another kind: workers that share the keys, redeliveries,
//! lossless ones. Drawn
//! apart from the rest, so that what else a seed means does not depend on it.

use fastrand::Rng;

use crate::trace::{Interest, Joining, Setup, Step};

/// Of a hundred seeds, so many have such subscribers.
const VARIED: u32 = 30;

const INTERESTS: [Interest; 4] = [
    Interest::All,
    Interest::All,
    Interest::EvenKeys,
    Interest::EvenWrites,
];
/// Periods of redeliveries, in milliseconds.
const PERIODS: [u32; 4] = [500, 2_000, 8_000, 60_000];

/// How much may wait for lossless subscribers, in bytes.
const BOUNDS: [u32; 4] = [0, 400, 1_500, 1 << 20];

/// Puts other kinds of subscribers among the steps of a seed, if it has any.
pub(crate) fn weave(seed: u64, setup: &Setup, steps: &mut Vec<Step>) {
    let mut rng = Rng::with_seed(seed ^ 0x5eed_0007_c0de_0007);
    // A first draw spreads neighbouring seeds.
    let _ = rng.u64(..);
    if rng.u32(..100) >= VARIED {
        return;
    }
    let mut at = 0;
    for _ in 0..rng.usize(1..4) {
        at = rng.usize(at..=(at + steps.len() / 3).min(steps.len()));
        let first = setup.subscribers.len() + joins(&steps[..at]);
        let joining = draw(&mut rng);
        let count = joining.len();
        steps.splice(at..at, joining.into_iter().map(Step::Join));
        at += count;
        for number in first..first + count {
            let Ok(number) = u8::try_from(number) else {
                return;
            };
            live(&mut rng, number, at, steps);
        }
    }
}

fn joins(steps: &[Step]) -> usize {
    let join = |step: &&Step| matches!(step, Step::Subscribe(_) | Step::Join(_));
    steps.iter().filter(join).count()
}

fn draw(rng: &mut Rng) -> Vec<Joining> {
    let period = PERIODS[rng.usize(..PERIODS.len())];
    let interest = INTERESTS[rng.usize(..INTERESTS.len())];
    let one = match rng.u32(..3) {
        0 => Joining {
            redeliver: Some(period),
            ..interest.into()
        },
        1 => Joining {
            lossless: Some(BOUNDS[rng.usize(..BOUNDS.len())]),
            redeliver: (rng.u32(..4) == 0).then_some(period),
            ..interest.into()
        },
        _ => return workers(rng, period),
    };
    vec![one]
}

fn workers(rng: &mut Rng, period: u32) -> Vec<Joining> {
    let of = rng.u8(2..5);
    let redeliver = rng.bool().then_some(period);
    let lossless = (rng.u32(..4) == 0).then(|| BOUNDS[rng.usize(..BOUNDS.len())]);
    let workers = (0..of).map(|index| Joining {
        interest: Interest::All,
        worker: Some((index, of)),
        redeliver,
        lossless,
    });
    workers.collect()
}

/// What a subscriber does from there on.
fn live(rng: &mut Rng, number: u8, from: usize, steps: &mut Vec<Step>) {
    for _ in 0..rng.usize(2..8) {
        let step = match rng.u32(..10) {
            0..4 => Step::Poll(number, rng.u8(1..8)),
            4..7 => Step::Drain(number),
            7 => Step::Muster,
            8 => Step::Redeliver(number),
            _ => Step::Refilter(number, INTERESTS[rng.usize(..INTERESTS.len())]),
        };
        let at = rng.usize(from..=steps.len());
        steps.insert(at, step);
    }
}
