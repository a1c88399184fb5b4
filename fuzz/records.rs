//! Texts from inputs. Steps are read from records of a fixed size (`chunks`), so that a byte that a
//! mutation puts in or takes out changes a decision or two, and not the meaning of all that follow.
//! What a short record lacks counts as zeros.

use arbitrary::{Result, Unstructured};

const LETTERS: [&str; 16] = [
    "a",
    "b",
    "c",
    "d",
    "1",
    "2",
    "/",
    "-",
    "é",
    "%",
    "\"",
    "\\",
    " ",
    "\u{1}",
    "\u{1f600}",
    "a long word that is near a limit",
];

/// A short text, of a few letters that come again and some that are awkward.
pub(crate) fn text(from: &mut Unstructured<'_>, most: usize) -> Result<String> {
    let length = from.int_in_range(1..=most)?;
    (0..length)
        .map(|_| from.choose(&LETTERS).copied())
        .collect()
}
