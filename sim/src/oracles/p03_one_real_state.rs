//! P3: at every complete revision the cache, quarantined keys apart, is what the source was at it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Broken, Checked, Promise};

/// The content of a cache, or of a source: what each key stands for.
pub type Content = BTreeMap<Arc<str>, u64>;

/// How many differences a message names.
const NAMED: usize = 5;

/// Compares two contents. `what` says which, for the message.
///
/// # Errors
///
/// If they differ; the message names the first few differences.
pub fn same_state(ours: &Content, truth: &Content, what: impl FnOnce() -> String) -> Checked {
    if ours == truth {
        return Ok(());
    }
    Err(Broken {
        promise: Promise::OneRealState,
        message: format!("{}: {}", what(), differences(ours, truth)),
    })
}

/// The first few differences, in words.
pub(super) fn differences(ours: &Content, truth: &Content) -> String {
    let show = |value: Option<&u64>| value.map_or("nothing".to_owned(), |value| describe(*value));
    let mut words = Vec::new();
    let keys: std::collections::BTreeSet<_> = ours.keys().chain(truth.keys()).collect();
    let differing = keys
        .into_iter()
        .filter(|key| ours.get(*key) != truth.get(*key));
    for key in differing.take(NAMED + 1) {
        if words.len() == NAMED {
            words.push("…".to_owned());
            break;
        }
        words.push(format!(
            "{key} is {}, not {}",
            show(ours.get(key)),
            show(truth.get(key))
        ));
    }
    words.join(", ")
}

/// A value in words: which object, by which write.
pub(super) fn describe(value: u64) -> String {
    format!("#{}/w{}", value >> 32, value & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(of: &[(&str, u64)]) -> Content {
        of.iter()
            .map(|(key, value)| (Arc::from(*key), *value))
            .collect()
    }

    #[test]
    fn fires_on_each_kind_of_difference() {
        let truth = content(&[("a", 1), ("b", 2)]);
        let check = |ours: &[(&str, u64)]| same_state(&content(ours), &truth, String::new);
        assert_eq!(check(&[("a", 1), ("b", 2)]), Ok(()));
        for ours in [
            &[("a", 1)][..],
            &[("a", 1), ("b", 3)],
            &[("a", 1), ("b", 2), ("c", 3)],
        ] {
            assert!(check(ours).is_err(), "{ours:?}");
        }
    }
}
