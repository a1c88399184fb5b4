//! What an informer costs that has nothing to do.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use reflet_core::Timestamp;

use crate::engine::Engine;
use crate::measure::{in_turn, per_step};
use crate::memory::count;
use crate::report::{Goal, Row};

use super::Plan;

const MANY: usize = 10_000;
const FEW: usize = 10;
/// Timers that are timed in one go.
const TICKS: usize = 2_000;

/// Ten thousand informers in one loop, each of them watching a collection of one object.
///
/// Memory: what each of them takes, against what a `Vec` of so many hash maps with the same object
/// takes. A timer's tick: the earliest of all deadlines is looked up in a heap, that informer is
/// woken, opens its silent watch again, and its next deadline goes into the heap; against the same
/// with ten informers.
pub(super) fn idle(_: &Plan) -> Vec<Row> {
    let (usage, mut many) = count(|| Informers::new(MANY));
    let (floor, _) = count(|| {
        let map = |_| [("key".into(), 0_u64)].into_iter().collect();
        (0..MANY).map(map).collect::<Vec<crate::Floor<u64>>>()
    });
    let bytes = [usage, floor].map(|usage| usage.live as f64 / MANY as f64);
    let mut few = Informers::new(FEW);
    let times = in_turn(15, |_| many.tick(TICKS), |_| few.tick(TICKS));
    vec![
        Row::new(
            "memory of an idle informer, against a hash map",
            MANY,
            "B",
            (bytes[0], bytes[1]),
            Goal::AtMost(4_096.0),
        ),
        Row::new(
            "timer tick of 10,000 idle informers, against 10",
            MANY,
            "ns",
            times,
            Goal::Ratio(4.0),
        ),
    ]
}

struct Informers {
    all: Vec<Engine<u64>>,
    deadlines: BinaryHeap<Reverse<(Timestamp, usize)>>,
}

impl Informers {
    fn new(n: usize) -> Self {
        let mut all: Vec<_> = (0..n).map(|_| Engine::synced([("key", 0)])).collect();
        let mut deadlines = BinaryHeap::with_capacity(n);
        for (index, engine) in all.iter_mut().enumerate() {
            while engine.informer.poll_notice().is_some() {}
            deadlines.push(Reverse((engine.deadline(), index)));
        }
        Self { all, deadlines }
    }

    fn tick(&mut self, ticks: usize) -> f64 {
        per_step(ticks, || {
            for _ in 0..ticks {
                if let Some(Reverse((now, index))) = self.deadlines.pop() {
                    let engine = &mut self.all[index];
                    engine.wake(now);
                    self.deadlines.push(Reverse((engine.deadline(), index)));
                }
            }
        })
    }
}
