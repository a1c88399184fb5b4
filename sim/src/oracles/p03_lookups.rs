//! P3: what an index finds is what a scan of the cache finds, and in the order that is documented.

use super::{Checked, Promise};

/// Compares the keys that a lookup has found with those that a scan has, both in the same order.
/// `what` says what was looked up, for the message.
///
/// # Errors
///
/// If they differ.
pub fn check_found(found: &[&str], scanned: &[&str], what: impl FnOnce() -> String) -> Checked {
    Promise::OneRealState.require(found == scanned, || {
        format!("{} finds {found:?}, a scan {scanned:?}", what())
    })
}

/// What is found comes in ascending order of the places that it has, each once.
///
/// # Errors
///
/// If it does not.
pub fn check_order(
    places: impl IntoIterator<Item = u32>,
    what: impl FnOnce() -> String,
) -> Checked {
    let mut before = None;
    for place in places {
        let follows = before.is_none_or(|before| before < place);
        if !follows {
            return Promise::OneRealState.broken(format!("{} is not in order", what()));
        }
        before = Some(place);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_whatever_a_scan_does_not_find() {
        let check = |found: &[&str]| check_found(found, &["a", "b"], String::new);
        assert_eq!(check(&["a", "b"]), Ok(()));
        for found in [&["a"][..], &["a", "b", "c"], &["a", "a", "b"], &["b", "a"]] {
            assert!(check(found).is_err(), "{found:?}");
        }
    }

    #[test]
    fn fires_on_another_order_and_on_what_comes_twice() {
        assert_eq!(check_order([], String::new), Ok(()));
        assert_eq!(check_order([1, 5, 6], String::new), Ok(()));
        assert!(check_order([1, 6, 5], String::new).is_err());
        assert!(check_order([1, 1], String::new).is_err());
    }
}
