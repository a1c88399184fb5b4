//! What the collection really held, written down beside it: at every revision of every epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

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
pub(super) struct Content {
    /// The number of the write that created this incarnation.
    pub(super) born: u64,
    /// Nothing that can be decoded, where it is poison.
    pub(super) value: Option<Arc<Value>>,
}

/// A collection at one revision.
pub(super) type State = BTreeMap<Arc<str>, Content>;
/// What somebody made of it, by following.
pub(super) type View = BTreeMap<Arc<str>, Arc<Value>>;

/// The true history.
#[derive(Debug, Default)]
pub(super) struct Books {
    epochs: BTreeMap<Arc<str>, BTreeMap<u64, Arc<State>>>,
    /// In the order in which they began.
    names: Vec<Arc<str>>,
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

    /// How many epochs there were before the present one.
    pub(super) fn history(&self) -> usize {
        self.names.len().saturating_sub(1)
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

/// How a view differs from a state, quarantined keys apart; `None`: not at all. What cannot be
/// decoded may show as it last could, or not at all.
pub(super) fn difference(
    view: &View,
    state: &State,
    passes: impl Fn(&Value) -> bool,
) -> Option<String> {
    let missing = state.iter().find_map(|(key, content)| {
        let value = content.value.as_ref().filter(|value| passes(value))?;
        match view.get(key) {
            Some(seen) if seen == value => None,
            Some(seen) => Some(format!(
                "{key} shows write {}, not {}",
                seen.number, value.number
            )),
            None => Some(format!("{key} is missing (write {})", value.number)),
        }
    });
    missing.or_else(|| {
        view.iter().find_map(|(key, seen)| {
            let Some(content) = state.get(key) else {
                return Some(format!("{key} should be gone (write {})", seen.number));
            };
            let value = content.value.as_ref();
            value
                .is_some_and(|value| !passes(value))
                .then(|| format!("{key} does not belong there"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(number: u64) -> Arc<Value> {
        Arc::new(Value {
            number,
            ..Value::default()
        })
    }

    fn view(entries: &[(&str, u64)]) -> View {
        let entry = |(key, number): &(&str, u64)| (Arc::from(*key), value(*number));
        entries.iter().map(entry).collect()
    }

    #[test]
    fn a_view_differs_by_what_is_missing_old_or_too_much() {
        let content = |value| Content { born: 0, value };
        let mut state: State = view(&[("a", 1), ("b", 2)])
            .into_iter()
            .map(|(key, value)| (key, content(Some(value))))
            .collect();
        state.insert("poison".into(), content(None));
        let differs = |entries: &[(&str, u64)]| difference(&view(entries), &state, |_| true);
        assert_eq!(differs(&[("a", 1), ("b", 2)]), None);
        assert_eq!(differs(&[("a", 1), ("b", 2), ("poison", 7)]), None);
        assert!(differs(&[("a", 1)]).is_some());
        assert!(differs(&[("a", 1), ("b", 1)]).is_some());
        assert!(differs(&[("a", 1), ("b", 2), ("c", 3)]).is_some());
    }
}
