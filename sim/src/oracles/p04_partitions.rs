//! P4, for workers that share the keys: together they have everything, and nothing twice.

use super::p03_one_real_state::differences;
use super::{Checked, Content, Promise};

/// Compares what all workers of a group have, each one at the same state, with that state. Knows
/// nothing of how keys are shared out.
///
/// # Errors
///
/// If two have the same key, or if something is missing, wrong or too much.
pub fn check_partitions<'a>(
    workers: impl IntoIterator<Item = &'a Content>,
    truth: &Content,
) -> Checked {
    let mut all = Content::new();
    for worker in workers {
        for (key, value) in worker {
            let before = all.insert(key.clone(), *value);
            Promise::TruthfulDeltas.require(before.is_none(), || {
                format!("{key} belongs to two partitions")
            })?;
        }
    }
    Promise::TruthfulDeltas.require(all == *truth, || {
        format!("all partitions together: {}", differences(&all, truth))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_what_is_had_twice_and_on_what_nobody_has() {
        let (a, b) = (
            Content::from([("a".into(), 1)]),
            Content::from([("b".into(), 2)]),
        );
        let both: Content = a.clone().into_iter().chain(b.clone()).collect();
        assert_eq!(check_partitions([&a, &b], &both), Ok(()));
        assert!(check_partitions([&a, &a], &a).is_err());
        assert!(check_partitions([&a], &both).is_err());
        assert!(check_partitions([&a, &b], &a).is_err());
    }
}
