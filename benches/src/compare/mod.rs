//! The comparison: one function for each row, or for each pair of rows that share their work.
//!
//! A row's doc comment says what both sides do. A new row is a function that takes the world of one
//! size, or the plan, and a line in `BY_SIZE` or `ONCE`.

use crate::objects::World;
use crate::report::Row;

mod idle;
mod memory;
pub mod plots;
mod readers;
mod relist;
mod subscribers;
mod sync;
mod update;

/// How much to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many objects, one table's worth for each.
    pub sizes: Vec<usize>,
    /// The size whose update cost is held against that of 100,000 keys.
    pub many_keys: Option<usize>,
    /// The sizes of the plots.
    pub plotted: Vec<usize>,
}

impl Plan {
    /// What can be measured within three minutes.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            sizes: vec![10_000, 100_000],
            many_keys: None,
            plotted: vec![1_000, 10_000, 100_000],
        }
    }

    /// Everything. Needs 12 GB of memory.
    #[must_use]
    pub fn full() -> Self {
        Self {
            sizes: vec![10_000, 100_000, 1_000_000],
            many_keys: Some(10_000_000),
            plotted: vec![1_000, 10_000, 100_000, 1_000_000, 10_000_000],
        }
    }
}

/// A row, or two, for objects of one size; and what to call it while it runs.
type BySize = (&'static str, fn(&World) -> Vec<Row>);
/// The same at a size of its own.
type Once = (&'static str, fn(&Plan) -> Vec<Row>);

/// What is measured for each size.
const BY_SIZE: &[BySize] = &[
    ("first sync", sync::first_sync),
    ("first sync with readers", readers::first_sync),
    ("update", update::update),
    ("update with readers", readers::update),
    ("update with 16 subscribers", subscribers::sixteen),
    ("relist", relist::unchanged),
    ("relist from JSON", relist::from_json),
    ("memory of a relist", memory::relist_peak),
    ("memory per object", memory::overhead),
    ("memory per object with readers", readers::overhead),
    ("allocations per update", memory::allocations),
    ("load", readers::load),
    ("readers during a relist", readers::relist_wait),
];

/// What is measured once.
const ONCE: &[Once] = &[
    ("many subscribers", subscribers::many),
    ("many keys", update::many_keys),
    ("idle informers", idle::idle),
];

/// Measures everything that is planned. `progress` is told what comes next, and says whether it is
/// wanted.
pub fn run(plan: &Plan, mut progress: impl FnMut(&str) -> bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for size in &plan.sizes {
        let world = World::new(*size);
        for (name, measure) in BY_SIZE {
            if progress(&format!("{name}, {size} objects")) {
                rows.extend(measure(&world));
            }
        }
    }
    for (name, measure) in ONCE {
        if progress(name) {
            rows.extend(measure(plan));
        }
    }
    rows.sort_by(|a, b| a.name.cmp(&b.name).then(a.n.cmp(&b.n)));
    rows
}

/// Fewer rounds of what takes longer: so that each row takes a few seconds at most.
fn rounds(steps: usize) -> usize {
    (2_000_000 / steps.max(1)).clamp(3, 25)
}
