//! P10: one subscriber's behaviour changes nobody else's deltas, no attempt and no publication.

use super::{Checked, Promise};

/// Compares what one subscriber, the source and the readers saw in a run with many subscribers
/// and in the same run with that subscriber alone; not comparable if it was over its own limit.
///
/// # Errors
///
/// If the others made a difference.
pub fn check_isolation(together: u64, alone: u64, comparable: bool) -> Checked {
    Promise::Isolation.require(!comparable || together == alone, || {
        "without the other subscribers, this one, the source or the readers see something else"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_a_difference() {
        assert_eq!(check_isolation(1, 1, true), Ok(()));
        assert_eq!(check_isolation(1, 2, false), Ok(()));
        assert!(check_isolation(1, 2, true).is_err());
    }
}
