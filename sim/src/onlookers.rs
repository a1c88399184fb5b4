//! Who looks on beside the subscribers: indexes, and somebody who follows. Drawn apart from the
//! rest, so that what else a seed means does not depend on it.

use fastrand::Rng;

use crate::trace::{By, Step};

/// Of a hundred seeds, so many have indexes.
const INDEXED: u32 = 35;
/// Of a hundred seeds, so many have a follower.
const FOLLOWED: u32 = 35;

/// What indexes are by; what comes more than once is drawn more often.
const BY: [By; 12] = [
    By::Key,
    By::Content,
    By::Content,
    By::Content,
    By::Several,
    By::Several,
    By::Several,
    By::Owner,
    By::Owner,
    By::Owner,
    By::Nothing,
    By::Many,
];

/// How many slots a follower looks at in its first copy, at a time.
const SLOTS: [u8; 6] = [1, 2, 3, 8, 100, 255];

/// Puts indexes and a follower among the steps of a seed, if it has any.
pub(crate) fn weave(seed: u64, large: bool, steps: &mut Vec<Step>) {
    let mut rng = Rng::with_seed(seed ^ 0x5eed_0003_c0de_0009);
    // A first draw spreads neighbouring seeds.
    let _ = rng.u64(..);
    if rng.u32(..100) < INDEXED {
        for _ in 0..rng.usize(1..4) {
            let by = BY[rng.usize(..BY.len())];
            // Twenty terms of each object are too much for a world that is about its size.
            let by = if large && by == By::Many {
                By::Several
            } else {
                by
            };
            put(&mut rng, steps, Step::Index(by));
        }
        for _ in 0..rng.usize(..3) {
            let step = Step::Unindex(rng.u8(..3));
            put(&mut rng, steps, step);
        }
        for _ in 0..rng.usize(..4) {
            let step = Step::Order(rng.u8(..3) > 0);
            put(&mut rng, steps, step);
        }
    }
    if rng.u32(..100) < FOLLOWED {
        follow(&mut rng, steps);
    }
}

fn follow(rng: &mut Rng, steps: &mut Vec<Step>) {
    for _ in 0..rng.usize(1..4) {
        let begin = match rng.u8(..3) {
            0 => Step::Follow(0),
            _ => Step::Follow(SLOTS[rng.usize(..SLOTS.len())]),
        };
        put(rng, steps, begin);
    }
    if rng.u8(..3) == 0 {
        put(rng, steps, Step::Unfollow);
    }
    for _ in 0..rng.usize(4..40) {
        let look = Step::Look(SLOTS[rng.usize(..SLOTS.len())]);
        put(rng, steps, look);
    }
}

/// Anywhere, but often at the very beginning: there is the first list.
fn put(rng: &mut Rng, steps: &mut Vec<Step>, step: Step) {
    let end = if rng.u8(..3) == 0 { 12 } else { steps.len() };
    let at = rng.usize(..=end.min(steps.len()));
    steps.insert(at, step);
}
