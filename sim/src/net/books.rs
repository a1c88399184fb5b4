//! What the collection really held, written down beside it: at every revision of every epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::oracles::{Checked, Content, same_state};

/// An object's content, as the clients read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Value {
    /// Different in every write.
    pub(super) number: u64,
    /// Different in every incarnation of an object.
    pub(super) born: u64,
    /// How many epochs there were before the one that it was written in.
    pub(super) history: usize,
    /// What filters look at.
    pub(super) group: u8,
    /// Makes it longer.
    pub(super) pad: String,
}

/// What a key holds.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// The number of the write that created this incarnation.
    pub(super) born: u64,
    /// Nothing that can be decoded, where it is poison.
    pub(super) value: Option<Arc<Value>>,
}

impl Object {
    #[cfg(test)]
    pub(super) fn of(value: &Arc<Value>) -> Self {
        Self {
            born: value.born,
            value: Some(Arc::clone(value)),
        }
    }
}

impl Value {
    /// What it is to the oracles: its incarnation in the upper half, its write in the lower one.
    fn number(&self) -> u64 {
        self.born << 32 | self.number
    }
}

/// What a value that nobody wrote is to the oracles.
const NEVER_WRITTEN: u64 = u64::MAX;
/// What nobody can decode.
const NEVER_SEEN: u64 = u64::MAX - 1;

/// A collection at one revision.
pub(super) type State = BTreeMap<Arc<str>, Object>;

/// The true history.
#[derive(Debug, Default)]
pub(super) struct Books {
    epochs: BTreeMap<Arc<str>, BTreeMap<u64, Arc<State>>>,
    /// In the order in which they began.
    names: Vec<Arc<str>>,
    /// By their numbers.
    written: BTreeMap<u64, Arc<Value>>,
    /// The present.
    epoch: Arc<str>,
    revision: u64,
    state: Arc<State>,
}

impl Books {
    /// The collection goes on in another epoch, from this state.
    pub(super) fn begin(&mut self, epoch: &str, revision: u64, state: Arc<State>) {
        self.epoch = epoch.into();
        self.names.push(Arc::clone(&self.epoch));
        self.enter(revision, state);
    }

    /// A transaction that led to this state.
    pub(super) fn enter(&mut self, revision: u64, state: Arc<State>) {
        self.revision = revision;
        self.state = Arc::clone(&state);
        let epoch = self.epochs.entry(Arc::clone(&self.epoch)).or_default();
        epoch.insert(revision, state);
    }

    /// A value is going to be written.
    pub(super) fn write(&mut self, value: &Arc<Value>) {
        self.written.insert(value.number, Arc::clone(value));
    }

    /// What a value is to the oracles, if it is as it was written, to the last byte.
    pub(super) fn number(&self, value: &Value) -> u64 {
        let written = self.written.get(&value.number);
        let same = written.is_some_and(|written| **written == *value);
        if same { value.number() } else { NEVER_WRITTEN }
    }

    /// How many epochs there were before the present one.
    pub(super) fn history(&self) -> usize {
        self.names.len().saturating_sub(1)
    }

    pub(super) fn epoch(&self) -> &str {
        &self.epoch
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// The state at a revision of an epoch.
    pub(super) fn at(&self, epoch: &str, revision: u64) -> Option<&Arc<State>> {
        self.epochs.get(epoch)?.get(&revision)
    }

    /// The states at a revision in all epochs.
    pub(super) fn all_at(&self, revision: u64) -> impl Iterator<Item = &Arc<State>> {
        self.epochs
            .values()
            .filter_map(move |epoch| epoch.get(&revision))
    }

    /// A text with the random names of epochs replaced by their numbers.
    pub(super) fn plain(&self, text: &str) -> String {
        let numbered = self.names.iter().enumerate();
        numbered.fold(text.to_owned(), |text, (number, name)| {
            text.replace(&**name, &format!("e{number}"))
        })
    }
}

/// What passes of a state, for the oracles. What cannot be decoded is not in it.
pub(super) fn content(state: &State, passes: impl Fn(&Value) -> bool) -> Content {
    let objects = state.iter().filter_map(|(key, object)| {
        let value = object.value.as_ref().filter(|value| passes(value))?;
        Some((Arc::clone(key), value.number()))
    });
    objects.collect()
}

/// The cache, quarantined keys apart, is this state of the source (P3).
pub(super) fn check_cache(
    mut ours: Content,
    quarantined: &BTreeSet<Arc<str>>,
    state: &State,
    what: impl FnOnce() -> String,
) -> Checked {
    let mut truth = content(state, |_| true);
    let poison = state.iter().filter(|(_, object)| object.value.is_none());
    truth.extend(poison.map(|(key, _)| (Arc::clone(key), NEVER_SEEN)));
    ours.retain(|key, _| !quarantined.contains(key));
    truth.retain(|key, _| !quarantined.contains(key));
    same_state(&ours, &truth, what)
}

/// The write of this number, for tests: two of them belong to one incarnation.
#[cfg(test)]
pub(super) fn written(number: u64) -> Arc<Value> {
    Arc::new(Value {
        number,
        born: number / 2,
        ..Value::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_known_only_as_it_was_written() {
        let mut books = Books::default();
        books.write(&written(5));
        assert_eq!(books.number(&written(5)), 2 << 32 | 5);
        let twisted = Value {
            pad: "x".into(),
            ..Value::clone(&written(5))
        };
        assert_eq!(books.number(&twisted), NEVER_WRITTEN);
        assert_eq!(books.number(&written(6)), NEVER_WRITTEN);
    }

    #[test]
    fn fires_on_a_cache_that_is_not_the_state_quarantined_keys_apart() {
        let mut state = State::from([
            ("a".into(), Object::of(&written(1))),
            ("b".into(), Object::of(&written(2))),
        ]);
        let ours = content(&state, |_| true);
        let check = |ours: &Content, quarantined: &[&str], state: &State| {
            let quarantined = quarantined.iter().map(|key| Arc::from(*key)).collect();
            check_cache(ours.clone(), &quarantined, state, String::new)
        };
        assert_eq!(check(&ours, &[], &state), Ok(()));
        let poison = Object {
            born: 9,
            value: None,
        };
        state.insert("b".into(), poison);
        assert_eq!(check(&ours, &["b"], &state), Ok(()), "its last good value");
        assert!(check(&ours, &[], &state).is_err(), "and nobody is told");
        state.remove("b");
        assert!(check(&ours, &[], &state).is_err(), "too much");
        state.insert("c".into(), Object::of(&written(3)));
        assert!(check(&ours, &["b"], &state).is_err(), "too little");
    }
}
