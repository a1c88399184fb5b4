//! Paths, segment by segment, the way that routes see them.
//!
//! Segments are compared percent-decoded, so that `/%68ello` cannot slip past the route for
//! `/hello` to one with fewer checks. An encoded slash stays inside its segment.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The longest prefix of a route, in bytes. It bounds the depth of the routing table.
const MAX_PREFIX_BYTES: usize = 1024;

/// One segment of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Segment<'a> {
    /// What stands between two slashes, percent-decoded.
    pub(crate) text: Cow<'a, [u8]>,
    /// Where it ends in the path.
    pub(crate) end: usize,
}

/// The segments of a path that begins with a slash; none of any other. `/a/` has two, the second
/// of which is empty.
pub(crate) fn segments(path: &str) -> impl Iterator<Item = Segment<'_>> {
    let mut end = 0;
    let after_slash = path.strip_prefix('/');
    after_slash
        .into_iter()
        .flat_map(|path| path.split('/'))
        .map(move |raw| {
            end += 1 + raw.len();
            Segment {
                text: decode(raw.as_bytes()),
                end,
            }
        })
}

/// Whether a segment is `.` or `..`, plain or encoded: the gateway and an upstream could disagree
/// about where such a path leads.
pub(crate) fn is_dots(segment: &Segment<'_>) -> bool {
    matches!(&*segment.text, b"." | b"..")
}

fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'%') {
        return Cow::Borrowed(raw);
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [high, low, after @ ..]) => hex(*high)
                .zip(hex(*low))
                .map(|(high, low)| (high << 4 | low, after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((first, tail));
        decoded.push(byte);
        rest = after;
    }
    Cow::Owned(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

/// A route's prefix: absolute, without empty or dot segments. A slash at its end means nothing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct PathPrefix {
    /// As it was written.
    text: String,
    segments: Vec<Box<[u8]>>,
}

impl PathPrefix {
    /// The segments, percent-decoded; none for `/`.
    pub(crate) fn segments(&self) -> &[Box<[u8]>] {
        &self.segments
    }
}

impl From<PathPrefix> for String {
    fn from(prefix: PathPrefix) -> Self {
        prefix.text
    }
}

impl TryFrom<String> for PathPrefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("path_prefix {text:?} does not begin with a slash"));
        }
        if text.len() > MAX_PREFIX_BYTES {
            let bytes = text.len();
            return Err(format!(
                "path_prefix has {bytes} bytes, the limit is {MAX_PREFIX_BYTES}"
            ));
        }
        if text.contains(['?', '#']) {
            return Err(format!("path_prefix {text:?} is more than a path"));
        }
        let path = text.strip_suffix('/').unwrap_or(&text);
        let mut kept = Vec::new();
        for segment in segments(path) {
            if segment.text.is_empty() || is_dots(&segment) {
                return Err(format!("path_prefix {text:?} has an empty or dot segment"));
            }
            kept.push(segment.text.into());
        }
        Ok(Self {
            text,
            segments: kept,
        })
    }
}
