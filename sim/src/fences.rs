//! Fences among the steps. Drawn apart from the rest, so that what else a seed means does not depend
//! on them; but where there are any, replicas keep up with what is asked of them.

use fastrand::Rng;

use crate::trace::Step;

/// Of a hundred seeds, so many have fences.
const FENCED: u32 = 20;

/// Puts fences among the steps of a seed, if it has any.
pub(crate) fn weave(seed: u64, steps: &mut Vec<Step>) {
    let mut rng = Rng::with_seed(seed ^ 0x5eed_0004_c0de_0009);
    // A first draw spreads neighbouring seeds.
    let _ = rng.u64(..);
    if rng.u32(..100) >= FENCED {
        return;
    }
    for _ in 0..rng.usize(2..16) {
        let at = rng.usize(..=steps.len());
        // One more is often put up while the list for the first one runs.
        let more = if rng.bool() { rng.usize(1..4) } else { 0 };
        for gap in 0..=more {
            steps.insert((at + 2 * gap).min(steps.len()), Step::Fence);
        }
    }
}
