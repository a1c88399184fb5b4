//! P9: a fence is passed when the cache shows what was in the source when it was put up, or newer.

use std::fmt;

use super::{Checked, Promise};

/// A fence is passed, and the cache shows this of a key; `since` is what the source has had since
/// the fence was put up, the state of then first.
///
/// # Errors
///
/// If the source has had nothing like it since.
pub fn check_fence<V: PartialEq + fmt::Debug>(
    key: &str,
    shown: Option<V>,
    since: impl IntoIterator<Item = Option<V>>,
) -> Checked {
    let mut since = since.into_iter().peekable();
    let then = since.peek().map(|then| format!("{then:?}"));
    Promise::HonestReadiness.require(since.any(|one| one == shown), || {
        format!(
            "a fence was passed, and {key} is shown as {shown:?}; it was {} when the fence was put up",
            then.unwrap_or_default()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_what_is_shown_is_from_before_the_fence() {
        let since = [Some(2), None, Some(3)];
        for shown in since {
            assert_eq!(check_fence("a", shown, since), Ok(()));
        }
        assert!(check_fence("a", Some(1), since).is_err(), "from before");
        assert!(check_fence("a", None, [Some(2)]).is_err(), "not there yet");
        assert!(check_fence("a", Some(1), [None]).is_err(), "deleted");
    }
}
