//! Text of somebody else's: JSON that may be anything, and words that end up in logs.

use alloc::borrow::{Cow, ToOwned as _};
use alloc::format;
use alloc::string::{String, ToString as _};

use serde::Deserialize;
use serde_json::value::RawValue;

/// How much of an answer that is not the protocol's is shown.
const SHOWN_BYTES: usize = 200;
/// How much of a message is passed on.
const MESSAGE_BYTES: usize = 512;

/// Decodes nothing: the value is its JSON, as it came.
///
/// # Errors
/// It is not UTF-8.
pub fn json<V: for<'a> From<&'a str>>(bytes: &[u8]) -> Result<V, String> {
    match core::str::from_utf8(bytes) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err("the value is not UTF-8".to_owned()),
    }
}

/// A JSON string; borrowed unless it has escapes.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What was read, as text. Bytes that are not UTF-8 are replaced; what they are part of is then
/// reported as undecodable, and the rest is read.
#[derive(Debug)]
pub struct Lossy<'a> {
    text: Cow<'a, str>,
}

impl<'a> Lossy<'a> {
    /// What was read.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            text: String::from_utf8_lossy(bytes),
        }
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether `part` may have been damaged by the replacement.
    #[must_use]
    pub fn damaged(&self, part: &str) -> bool {
        matches!(self.text, Cow::Owned(_)) && part.contains(char::REPLACEMENT_CHARACTER)
    }
}

/// The elements of a JSON array, one at a time.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a str,
}

impl<'a> Elements<'a> {
    /// `None` if it is not an array. It must be JSON, without space before it.
    #[must_use]
    pub fn of(array: &'a str) -> Option<Self> {
        let rest = array.strip_prefix('[')?;
        Some(Self { rest })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = serde_json::Result<&'a str>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.rest.trim_start_matches([' ', '\t', '\r', '\n', ',']);
        if start.is_empty() || start.starts_with(']') {
            return None;
        }
        let mut values = serde_json::Deserializer::from_str(start).into_iter::<&RawValue>();
        let element = values.next()?;
        // After an error there is nothing left that could be trusted.
        let end = element
            .as_ref()
            .map_or(start.len(), |_| values.byte_offset());
        self.rest = start.get(end..).unwrap_or_default();
        Some(element.map(RawValue::get))
    }
}

/// What the parser found; a position in a line or an item, not in the whole stream. Its messages can
/// quote the whole input, which is nobody's business.
#[must_use]
pub fn in_words(error: &serde_json::Error) -> String {
    clip(&without_quotes(&error.to_string())).to_owned()
}
/// The words of a decoder without what they quote of a payload, whose values may be secrets: serde
/// puts texts in double quotes, and variants that it does not know in backticks.
#[must_use]
pub fn without_quotes(words: &str) -> String {
    const VARIANT: &str = "unknown variant `";
    let mut shown = String::with_capacity(words.len());
    let mut rest = words;
    while let Some(begin) = rest.find(['"', '`']) {
        let (before, quote) = rest.split_at(begin);
        shown.push_str(before);
        let closing = quote.chars().next().unwrap_or('"');
        let Some(content) = quote.get(1..) else { break };
        let end = closed_at(content, closing);
        let kept = closing == '`' && !format!("{shown}`").ends_with(VARIANT);
        shown.push(closing);
        shown.push_str(match kept {
            true => content.get(..end).unwrap_or_default(),
            false => "…",
        });
        rest = match content
            .get(end..)
            .and_then(|after| after.strip_prefix(closing))
        {
            Some(after) => {
                shown.push(closing);
                after
            }
            None => "",
        };
    }
    shown.push_str(rest);
    shown
}

/// Where a quotation ends; at the end of the text if nothing ends it.
fn closed_at(content: &str, closing: char) -> usize {
    let mut escaped = false;
    let end = content.char_indices().find(|(_, c)| {
        let here = *c == closing && !escaped;
        escaped = *c == '\\' && closing == '"' && !escaped;
        here
    });
    end.map_or(content.len(), |(at, _)| at)
}

/// The first bytes of an answer as text for a human.
#[must_use]
pub fn shown(body: &[u8]) -> String {
    let head = body.get(..SHOWN_BYTES).unwrap_or(body);
    let mut text = in_one_line(String::from_utf8_lossy(head).trim());
    if body.len() > SHOWN_BYTES {
        text.push('…');
    }
    text
}

/// The text with its control characters escaped: in a log they could pretend to be another line.
pub(super) fn in_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// The beginning of a text, cut at a character.
#[must_use]
pub fn clip(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MESSAGE_BYTES))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_decoder_quotes_of_a_payload_is_hidden() {
        for (words, shown) in [
            (
                r#"invalid type: string "hun\"ter2", expected u64 at line 1 column 9"#,
                r#"invalid type: string "…", expected u64 at line 1 column 9"#,
            ),
            (
                "unknown variant `hunter2`, expected `on` or `off`",
                "unknown variant `…`, expected `on` or `off`",
            ),
            ("missing field `upstream`", "missing field `upstream`"),
            (
                r#"invalid value: string "hunt"#,
                r#"invalid value: string "…"#,
            ),
            ("unknown variant `hunt", "unknown variant `…"),
        ] {
            assert_eq!(without_quotes(words), shown);
        }
    }

    proptest! {
        #[test]
        fn no_text_that_serde_quotes_is_shown(text in "[a-z\"\\\\`\u{e9}]{5,20}") {
            let json = serde_json::to_string(&text).unwrap();
            let error = serde_json::from_str::<u64>(&json).unwrap_err();
            let shown = without_quotes(&error.to_string());
            prop_assert!(shown.starts_with("invalid type: string \"…\", expected u64"), "{shown}");
        }
    }
}
