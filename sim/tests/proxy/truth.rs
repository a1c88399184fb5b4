//! What the server held at each of its revisions, and who writes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use real_reflet::serve::{Change, Collection, Precondition, to_raw_value};
use serde::{Deserialize, Serialize};

const KEYS: u32 = 32;

/// An object of the collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Thing {
    /// No other value ever has the same.
    pub(crate) number: u64,
    /// Weight.
    padding: String,
}

impl Thing {
    pub(crate) fn new(number: u64) -> Self {
        let bytes = usize::try_from(number * 397 % 4_000).unwrap();
        Self {
            number,
            padding: "x".repeat(bytes),
        }
    }
}

/// The numbers of the things by their keys.
pub(crate) type State = BTreeMap<Arc<str>, u64>;

/// Every state that the server has had. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Truth {
    states: Arc<Mutex<BTreeMap<u64, Arc<State>>>>,
}

impl Truth {
    /// The state at a revision; `None` if the server was never there.
    pub(crate) fn at(&self, revision: u64) -> Option<Arc<State>> {
        self.states.lock().unwrap().get(&revision).cloned()
    }
}

/// The only one who writes.
pub(crate) struct Writer {
    things: Collection,
    truth: Truth,
    state: State,
    numbers: u64,
    rng: Rng,
}

impl Writer {
    pub(crate) fn new(things: Collection, truth: Truth, seed: u64) -> Self {
        let mut writer = Self {
            things,
            truth,
            state: State::new(),
            numbers: 0,
            rng: Rng::with_seed(seed),
        };
        writer.record(0);
        (0..20).for_each(|_| writer.write());
        writer
    }

    /// One transaction; now and then the history before it is forgotten.
    pub(crate) fn write(&mut self) {
        let count = self.rng.usize(1..5);
        let keys = self.rng.choose_multiple(0..KEYS, count);
        let changes = keys.into_iter().filter_map(|key| self.change(key));
        let changes: Vec<_> = changes.collect();
        if changes.is_empty() {
            return;
        }
        // Nobody may see a revision that is not recorded.
        let revision = self.things.revision() + 1;
        self.record(revision);
        let committed = self.things.transaction(changes).unwrap();
        assert_eq!(committed.revision, revision);
        if self.rng.u8(..40) == 0 {
            let kept = self.rng.u64(..3);
            self.things.compact(revision.saturating_sub(kept));
        }
    }

    fn change(&mut self, key: u32) -> Option<Change> {
        let (key, precondition) = (format!("thing/{key}"), Precondition::None);
        if self.rng.u8(..10) < 3 {
            self.state.remove(key.as_str())?;
            return Some(Change::Delete { key, precondition });
        }
        self.numbers += 1;
        self.state.insert(key.as_str().into(), self.numbers);
        let value = to_raw_value(&Thing::new(self.numbers)).unwrap();
        Some(Change::Put {
            key,
            value,
            precondition,
        })
    }

    fn record(&mut self, revision: u64) {
        let state = Arc::new(self.state.clone());
        self.truth.states.lock().unwrap().insert(revision, state);
    }

    /// The newest revision, and what the server holds at it.
    pub(crate) fn last(&self) -> (u64, &State) {
        (self.things.revision(), &self.state)
    }
}
