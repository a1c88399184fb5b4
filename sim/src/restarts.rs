//! Where in a trace the process dies and starts again. Drawn apart from the rest, so that what else
//! a seed means does not depend on it.

use fastrand::Rng;

use crate::trace::{Fault, Span, Step};
use crate::world::Poison;

/// Of a hundred seeds, so many have restarts.
const RESTARTED: u32 = 30;

/// What the source does while nobody looks, and how the next process is answered.
#[derive(Clone, Copy)]
enum Corner {
    /// Whatever comes.
    Anything,
    /// The history goes on, and what came before is dropped.
    Compacted,
    /// The source is set back.
    SetBack,
    /// A replica that is behind answers.
    Behind,
    /// A watch opens, and says nothing.
    Silent,
    /// The snapshot is damaged.
    Damaged,
}

const CORNERS: [Corner; 6] = [
    Corner::Anything,
    Corner::Compacted,
    Corner::SetBack,
    Corner::Behind,
    Corner::Silent,
    Corner::Damaged,
];

/// Puts restarts among the steps of a seed, if it has any.
pub(crate) fn weave(seed: u64, keys: u32, steps: &mut Vec<Step>) {
    let mut rng = Rng::with_seed(seed ^ 0x5eed_0013_c0de_0013);
    // A first draw spreads neighbouring seeds.
    let _ = rng.u64(..);
    if rng.u32(..100) >= RESTARTED {
        return;
    }
    for _ in 0..rng.usize(1..4) {
        let corner = CORNERS[rng.usize(..CORNERS.len())];
        let at = rng.usize(..=steps.len());
        // Some snapshots are old when they are needed.
        let age = rng.usize(..=(steps.len() - at).min(40));
        let key = rng.u32(..keys);
        let crash = crash(&mut rng, corner, key);
        steps.splice(at + age..at + age, crash);
        steps.splice(at..at, [Step::Serve(0, 15, Fault::None), Step::Save]);
    }
}

fn crash(rng: &mut Rng, corner: Corner, key: u32) -> Vec<Step> {
    let serve = |words| Step::Serve(0, words, Fault::None);
    let write = Step::Write {
        put: Span {
            first: key,
            count: 1,
        },
        delete: Span::default(),
        poison: Poison::None,
        skip: 1,
    };
    let dies = Step::Crash(0);
    match corner {
        Corner::Anything => vec![dies],
        Corner::Compacted => vec![write, write, Step::Compact(0), dies, serve(2), serve(15)],
        Corner::SetBack => vec![
            Step::Restore(rng.u8(1..5)),
            write,
            dies,
            serve(3),
            serve(15),
        ],
        Corner::Behind => vec![
            dies,
            Step::Serve(0, 1, Fault::Fail(1, None)),
            Step::Timeout,
            serve(1),
            serve(15),
        ],
        Corner::Silent => vec![
            dies,
            serve(1),
            Step::Pass(1_000),
            Step::Pass(2_000),
            Step::Pass(2_500),
            serve(15),
        ],
        Corner::Damaged => vec![Step::Crash(rng.u16(1..)), serve(15)],
    }
}
