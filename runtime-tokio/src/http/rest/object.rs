//! Objects, read as far as what tells them apart: their values stay text until the cache asks for
//! them.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher as _};

use reflet_core::{Incarnation, VersionRef};

use super::mapping::{Object, Version};
use super::pointer::{Pointer, pick, text};
use crate::source::{Commit, Decoder, Envelope, Frame};
use reflet_core::wire::parts::{Lossy, in_words, payload};

/// What is known of an object whose value was not decoded.
pub(super) struct Known<'a> {
    pub(super) key: Cow<'a, str>,
    /// Empty: there is none.
    version: Cow<'a, str>,
    uid: Option<Cow<'a, str>>,
    value: Option<&'a str>,
    /// It is a tombstone.
    pub(super) deleted: bool,
}

impl Object {
    /// Reads an object that is there; the error says what is wrong with it.
    pub(super) fn read<'a>(&self, json: &'a str, source: &Lossy<'_>) -> Result<Known<'a>, String> {
        let known = self.read_any(json, source)?;
        match &self.version {
            Version::Field { at, .. } if known.version.is_empty() && !known.deleted => {
                Err(format!("no version at {:?}", at.to_string()))
            }
            Version::Field { .. } | Version::Content => Ok(known),
        }
    }

    /// Reads an object that may be gone, so that it need not have a version.
    pub(super) fn read_any<'a>(
        &self,
        json: &'a str,
        source: &Lossy<'_>,
    ) -> Result<Known<'a>, String> {
        let stamp = match &self.version {
            Version::Content => None,
            Version::Field { at, .. } => Some(at),
        };
        let wanted = [
            Some(&self.key),
            stamp,
            self.uid.as_ref(),
            Some(&self.value),
            self.deleted.as_ref(),
        ];
        let found = pick(json, wanted).map_err(|error| in_words(&error))?;
        let [key, version, uid, value, deleted] = found;
        let key = told(key, "key", &self.key, source)?
            .ok_or_else(|| format!("no key at {:?}", self.key.to_string()))?;
        let deleted = deleted.is_some_and(|deleted| deleted == "true");
        let version = match (stamp, value) {
            (Some(at), _) => told(version, "version", at, source)?.unwrap_or_default(),
            (None, Some(value)) if !deleted => Cow::Owned(hash(value)),
            (None, _) => Cow::Borrowed(""),
        };
        let uid = match &self.uid {
            Some(at) => told(uid, "uid", at, source)?,
            None => None,
        };
        Ok(Known {
            key,
            version,
            uid,
            value: value.filter(|_| !deleted),
            deleted,
        })
    }

    /// Whether objects carry versions.
    pub(super) fn is_stamped(&self) -> bool {
        self.version != Version::Content
    }

    /// The version of an object of which perhaps nothing else is there.
    pub(super) fn version<'a>(
        &self,
        json: &'a str,
        source: &Lossy<'_>,
    ) -> Result<Option<Cow<'a, str>>, String> {
        let Version::Field { at, .. } = &self.version else {
            return Ok(None);
        };
        let [found] = pick(json, [Some(at)]).map_err(|error| in_words(&error))?;
        told(found, "version", at, source)
    }
}

/// A text that names something.
pub(super) fn told<'a>(
    found: Option<&'a str>,
    what: &str,
    at: &Pointer,
    source: &Lossy<'_>,
) -> Result<Option<Cow<'a, str>>, String> {
    let at = || at.to_string();
    let text = text(found).map_err(|wrong| format!("the {what} at {:?} {wrong}", at()))?;
    match text {
        Some(text) if source.damaged(&text) => {
            Err(format!("the {what} at {:?} is not UTF-8", at()))
        }
        text => Ok(text.filter(|text| !text.is_empty())),
    }
}

/// What stands for a content. Only compared with others of this process, or of a snapshot: another
/// build's would differ, which looks like an update.
fn hash(value: &str) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(value.as_bytes());
    format!("{:016x}", hasher.finish())
}

impl Known<'_> {
    /// Its version; empty: there is none.
    pub(super) fn version_text(&self) -> &str {
        &self.version
    }

    fn incarnation(&self) -> Option<Incarnation> {
        self.uid.as_deref().map(Incarnation::from_uid)
    }

    fn version(&self) -> VersionRef<'_> {
        VersionRef::parse(&self.version)
    }

    /// The object as it is, in a page (without a commit) or by a change.
    pub(super) fn upsert<'f, V: 'static>(
        &'f self,
        size: usize,
        commit: Option<Commit>,
        source: &Lossy<'_>,
        decoder: &'f Decoder<V>,
    ) -> Frame<'f, V> {
        Frame::Upsert {
            envelope: Envelope {
                key: &self.key,
                version: self.version(),
                incarnation: self.incarnation(),
                size,
            },
            payload: payload(self.value, source, decoder),
            commit,
        }
    }

    /// The object's delete.
    pub(super) fn delete<'f, V: 'static>(
        &'f self,
        stamped: bool,
        size: usize,
        commit: Commit,
        source: &Lossy<'_>,
        decoder: &'f Decoder<V>,
    ) -> Frame<'f, V> {
        let version = Some(self.version()).filter(|version| stamped && !version.is_none());
        Frame::Delete {
            key: &self.key,
            version,
            incarnation: self.incarnation(),
            last: self
                .value
                .map(|value| payload(Some(value), source, decoder)),
            size,
            commit,
        }
    }
}
