//! P12: no content panics, and an input that is refused changes nothing and is told.

use std::any::Any;

use super::{Checked, Promise};

/// An input that can only be refused was handed to a living attempt.
///
/// # Errors
///
/// If it changed the cache, or no notice tells of it.
pub fn check_refused(changed: bool, noticed: bool, what: &str) -> Checked {
    Promise::Harmless.require(!changed, || format!("{what} changed the cache"))?;
    Promise::Harmless.require(noticed, || format!("{what} was not refused"))
}

/// What a panic said.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!(
        "it panicked: {}",
        text.as_deref().unwrap_or("without a word")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_a_refused_input_has_an_effect_or_none_is_told() {
        assert_eq!(check_refused(false, true, ""), Ok(()));
        assert!(check_refused(true, true, "").is_err());
        assert!(check_refused(false, false, "").is_err());
    }

    #[test]
    fn a_panic_is_told_in_its_own_words() {
        assert!(panic_message(&"ouch").contains("ouch"));
        assert!(panic_message(&"ouch".to_owned()).contains("ouch"));
    }
}
