//! The JSON of the protocol, read as far as the envelope: payloads stay text until the cache asks
//! for them.
//!
//! Everything is borrowed from what was read. Skipping a payload does not recurse, so its nesting
//! cannot exhaust the stack.

use std::borrow::Cow;
use std::sync::Arc;

use reflet_core::{Incarnation, Revision, VersionRef};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::failure::clip;
use super::secrets::without_quotes;
use crate::source::{Commit, Decoder, Envelope, Frame, Payload};

/// A JSON string; borrowed unless it has escapes.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// An object as a page has it.
#[derive(Debug, Deserialize)]
pub(super) struct Item<'a> {
    #[serde(borrow)]
    key: Text<'a>,
    #[serde(borrow)]
    version: Text<'a>,
    #[serde(borrow, default)]
    uid: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
}

/// A line of a watch, or an event in the answer to a poll.
#[derive(Debug, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(borrow, default)]
    pub(super) revision: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) previous: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) key: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) version: Option<Text<'a>>,
    #[serde(borrow, default)]
    uid: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) last: bool,
    #[serde(borrow, default)]
    pub(super) digest: Option<Text<'a>>,
    #[serde(default)]
    pub(super) status: Option<u16>,
    #[serde(borrow, default)]
    pub(super) reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) message: Option<Text<'a>>,
}

/// What can be made out of an event that is wrong somewhere: where the stream stands.
#[derive(Debug, Deserialize)]
pub(super) struct Position<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    revision: Option<&'a RawValue>,
    #[serde(borrow, default)]
    last: Option<&'a RawValue>,
}

impl Position<'_> {
    /// Whether the event ends a transaction.
    pub(super) fn ends_batch(&self) -> bool {
        self.last.is_some_and(|last| last.get() == "true")
    }

    pub(super) fn is_bookmark(&self) -> bool {
        self.kind.is_some_and(|kind| kind.get() == r#""BOOKMARK""#)
    }

    /// Whether the event says that the stream failed.
    pub(super) fn fails(&self) -> bool {
        self.kind.is_some_and(|kind| kind.get() == r#""ERROR""#)
    }

    pub(super) fn revision(&self) -> Option<Revision> {
        revision(&serde_json::from_str::<Text<'_>>(self.revision?.get()).ok()?)
    }
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page<'a> {
    #[serde(borrow)]
    pub(super) revision: Text<'a>,
    #[serde(borrow, default)]
    pub(super) epoch: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) items: &'a RawValue,
    #[serde(borrow, default, rename = "continue")]
    pub(super) next: Option<Text<'a>>,
}

/// The answer to a poll.
#[derive(Debug, Deserialize)]
pub(super) struct Polled<'a> {
    #[serde(borrow)]
    pub(super) revision: Text<'a>,
    #[serde(borrow, default)]
    pub(super) epoch: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) events: &'a RawValue,
}

/// Tells a value of `null` from no value.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// What was read, as text. Bytes that are not UTF-8 are replaced; what they are part of is then
/// reported as undecodable, and the rest is read.
pub(super) struct Source<'a> {
    text: Cow<'a, str>,
}

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            text: String::from_utf8_lossy(bytes),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether `part` may have been damaged by the replacement.
    pub(super) fn damaged(&self, part: &str) -> bool {
        matches!(self.text, Cow::Owned(_)) && part.contains(char::REPLACEMENT_CHARACTER)
    }
}

/// The elements of a JSON array, one at a time.
pub(super) struct Elements<'a> {
    rest: &'a str,
}

impl<'a> Elements<'a> {
    /// `None` if it is not an array. It must be JSON, without space before it.
    pub(super) fn of(array: &'a str) -> Option<Self> {
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

/// A revision of the protocol is a decimal.
pub(super) fn revision(text: &Text<'_>) -> Option<Revision> {
    let revision = Revision::parse(text.as_str());
    revision.compare(&revision).map(|_| revision)
}

/// Decodes payloads of one type.
pub(super) fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<Arc<T>, String> {
    match serde_json::from_slice(json) {
        Ok(value) => Ok(Arc::new(value)),
        Err(error) => Err(in_words(&error)),
    }
}

fn refuse_missing<V>(_: &[u8]) -> Result<V, String> {
    Err("the object has no value".to_owned())
}

fn refuse_damaged<V>(_: &[u8]) -> Result<V, String> {
    Err("the value is not UTF-8".to_owned())
}

/// The payload that this text is; `None`: the object has none.
pub(super) fn payload<'a, V: 'static>(
    value: Option<&'a str>,
    source: &Source<'_>,
    decoder: &'a Decoder<V>,
) -> Payload<'a, V> {
    match value {
        None => Payload::Encoded(&[], &refuse_missing),
        Some(json) if source.damaged(json) => Payload::Encoded(json.as_bytes(), &refuse_damaged),
        Some(json) => Payload::Encoded(json.as_bytes(), decoder),
    }
}

fn envelope<'a>(
    key: &'a Text<'_>,
    version: &'a Text<'_>,
    uid: Option<&Text<'_>>,
    size: usize,
) -> Envelope<'a> {
    Envelope {
        key: key.as_str(),
        version: VersionRef::parse(version.as_str()),
        incarnation: incarnation(uid),
        size,
    }
}

fn incarnation(uid: Option<&Text<'_>>) -> Option<Incarnation> {
    uid.map(|uid| Incarnation::from_uid(uid.as_str()))
}

/// What is undamaged in `source` where it has to be, or what is wrong.
fn check(source: &Source<'_>, texts: [Option<&Text<'_>>; 3]) -> Result<(), String> {
    let damaged = |text: &Text<'_>| source.damaged(text.as_str());
    if texts.into_iter().flatten().any(damaged) {
        return Err("the key, the version or the uid is not UTF-8".to_owned());
    }
    Ok(())
}

impl<'a> Item<'a> {
    /// Reads the envelope of an item.
    pub(super) fn read(json: &'a str, source: &Source<'_>) -> Result<Self, String> {
        let item: Self = serde_json::from_str(json).map_err(|error| in_words(&error))?;
        check(
            source,
            [Some(&item.key), Some(&item.version), item.uid.as_ref()],
        )?;
        Ok(item)
    }

    pub(super) fn frame<'f, V: 'static>(
        &'f self,
        size: usize,
        source: &Source<'_>,
        decoder: &'f Decoder<V>,
    ) -> Frame<'f, V> {
        Frame::Upsert {
            envelope: envelope(&self.key, &self.version, self.uid.as_ref(), size),
            payload: payload(self.value.map(RawValue::get), source, decoder),
            commit: None,
        }
    }
}

impl<'a> Event<'a> {
    /// Reads the envelope of an event.
    pub(super) fn read(json: &'a str, source: &Source<'_>) -> Result<Self, String> {
        let event: Self = serde_json::from_str(json).map_err(|error| in_words(&error))?;
        check(
            source,
            [
                event.key.as_ref(),
                event.version.as_ref(),
                event.uid.as_ref(),
            ],
        )?;
        Ok(event)
    }

    /// An object that was created or updated; `Err`: what is missing.
    pub(super) fn upsert<'f, V: 'static>(
        &'f self,
        size: usize,
        commit: Commit,
        source: &Source<'_>,
        decoder: &'f Decoder<V>,
    ) -> Result<Frame<'f, V>, &'static str> {
        let key = self.key.as_ref().ok_or("the event has no key")?;
        let version = self.version.as_ref().ok_or("the event has no version")?;
        Ok(Frame::Upsert {
            envelope: envelope(key, version, self.uid.as_ref(), size),
            payload: payload(self.value.map(RawValue::get), source, decoder),
            commit: Some(commit),
        })
    }

    /// An object that was deleted; `Err`: what is missing.
    pub(super) fn delete<'f, V: 'static>(
        &'f self,
        size: usize,
        commit: Commit,
        source: &Source<'_>,
        decoder: &'f Decoder<V>,
    ) -> Result<Frame<'f, V>, &'static str> {
        let key = self.key.as_ref().ok_or("the event has no key")?;
        let last = self.value.is_some();
        Ok(Frame::Delete {
            key: key.as_str(),
            version: self
                .version
                .as_ref()
                .map(|text| VersionRef::parse(text.as_str())),
            incarnation: incarnation(self.uid.as_ref()),
            last: last.then(|| payload(self.value.map(RawValue::get), source, decoder)),
            size,
            commit,
        })
    }
}

/// What the parser found; a position in a line or an item, not in the whole stream. Its messages can
/// quote the whole input, which is nobody's business.
pub(super) fn in_words(error: &serde_json::Error) -> String {
    clip(&without_quotes(&error.to_string())).to_owned()
}
