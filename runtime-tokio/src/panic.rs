//! Keeping a panic of a user's code where it happened.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Makes a call of a user's code; the error is the words of its panic.
pub(crate) fn catch<T>(call: impl FnOnce() -> T) -> Result<T, Box<str>> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| words(&*panic).into())
}

/// The words of a panic, where it has any.
pub(crate) fn words(panic: &(dyn Any + Send)) -> &str {
    if let Some(words) = panic.downcast_ref::<&str>() {
        words
    } else if let Some(words) = panic.downcast_ref::<String>() {
        words
    } else {
        "without words"
    }
}
