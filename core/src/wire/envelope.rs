//! The JSON of the protocol, read as far as the envelope: payloads stay text until the cache asks
//! for them.
//!
//! Everything is borrowed from what was read. Skipping a payload does not recurse, so its nesting
//! cannot exhaust the stack.

use alloc::borrow::ToOwned as _;
use alloc::string::String;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::text::{Lossy, Text, in_words};
use crate::frame::{Commit, Decoder, Envelope, Frame, Payload};
use crate::token::{Incarnation, Revision, VersionRef};

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

/// Tells a value of `null` from no value.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// A revision of the protocol is a decimal.
pub(super) fn revision(text: &Text<'_>) -> Option<Revision> {
    let revision = Revision::parse(text.as_str());
    revision.compare(&revision).map(|_| revision)
}

fn refuse_missing<V>(_: &[u8]) -> Result<V, String> {
    Err("the object has no value".to_owned())
}

fn refuse_damaged<V>(_: &[u8]) -> Result<V, String> {
    Err("the value is not UTF-8".to_owned())
}

/// The payload that this text is; `None`: the object has none.
#[must_use]
pub fn payload<'a, V: 'static>(
    value: Option<&'a str>,
    source: &Lossy<'_>,
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
fn check(source: &Lossy<'_>, texts: [Option<&Text<'_>>; 3]) -> Result<(), String> {
    let damaged = |text: &Text<'_>| source.damaged(text.as_str());
    if texts.into_iter().flatten().any(damaged) {
        return Err("the key, the version or the uid is not UTF-8".to_owned());
    }
    Ok(())
}

impl<'a> Item<'a> {
    /// Reads the envelope of an item.
    pub(super) fn read(json: &'a str, source: &Lossy<'_>) -> Result<Self, String> {
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
        source: &Lossy<'_>,
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
    pub(super) fn read(json: &'a str, source: &Lossy<'_>) -> Result<Self, String> {
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
        source: &Lossy<'_>,
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
        source: &Lossy<'_>,
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
