//! What is secret is told nobody, however a server repeats it: its words become notices, and those end
//! up in logs.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::input::Failure;

/// What stands for what is not shown.
const HIDDEN: &str = "[hidden]";
/// A shorter text is no secret, and would be found in words that mean something else.
const LEAST_BYTES: usize = 4;

/// Headers whose values are secret, whoever sets them.
pub(super) const SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// What is secret in a header's value: not the name of a scheme or of a cookie.
#[must_use]
pub fn secrets_of<'v>(name: &str, value: &'v str) -> Vec<&'v str> {
    let after = |text: &'v str, separator| {
        let parts = text.trim().split_once(separator);
        parts.map_or(text, |(_, rest)| rest).trim()
    };
    if name.eq_ignore_ascii_case("cookie") {
        value.split(';').map(|cookie| after(cookie, '=')).collect()
    } else if SECRET.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        vec![after(value, ' ')]
    } else {
        vec![value.trim()]
    }
}

/// The failure without these secrets.
#[must_use]
pub fn hide_all<'s>(mut failure: Failure, secrets: impl Iterator<Item = &'s str>) -> Failure {
    let mut secrets: Vec<_> = secrets.filter(|text| text.len() >= LEAST_BYTES).collect();
    // One may be a part of another.
    secrets.sort_unstable_by_key(|text| Reverse(text.len()));
    for secret in secrets {
        // In quotes it looks different.
        let quoted = format!("{secret:?}");
        let quoted = quoted.get(1..quoted.len() - 1).unwrap_or(secret);
        for secret in [quoted, secret] {
            if failure.message.contains(secret) {
                failure.message = failure.message.replace(secret, HIDDEN).into();
            }
            failure.message = without_beginning(failure.message, secret);
        }
    }
    failure
}

/// Messages are cut to a length, perhaps in the middle of a secret.
fn without_beginning(message: Box<str>, secret: &str) -> Box<str> {
    let whole = message.trim_end_matches('…');
    let begun = secret.char_indices().map(|(end, _)| end).rev();
    let mut begun = begun.filter(|end| *end >= LEAST_BYTES);
    let found = begun.find_map(|end| whole.strip_suffix(secret.get(..end)?));
    match found {
        Some(rest) => format!("{rest}{HIDDEN}").into(),
        None => message,
    }
}
