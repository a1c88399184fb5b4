//! What the events of a watch say, whichever way they came.

use std::borrow::Cow;

use reflet_core::{Failure, FailureClass, Revision};

use super::mapping::{EventName, EventRevision, Events, Object, Refusals, Transactions};
use super::object::{Known, told};
use super::pointer::{Pointer, pick};
use crate::http::pieces::{Entry, Labels};
use crate::probe::{canary, reach};
use crate::source::{Commit, Decoder, Frame, Sink};
use reflet_core::wire::parts::{Asked, clip, malformed, refused, shown};
use reflet_core::wire::parts::{Lossy, in_words};

/// After so many events in a row that cannot be read the stream is not what the mapping says.
const BAD_IN_A_ROW: u32 = 16;
/// How many events are turned into frames at a time.
const EVENTS_PER_TURN: usize = 256;

/// What an event says.
enum Said<'a> {
    Nothing,
    Upsert(Known<'a>, Stamp),
    Delete(Known<'a>, Stamp),
    /// A delete of which only the key is there.
    Gone(Cow<'a, str>, Stamp),
    Progress(Revision),
    /// The watch is over.
    End(Failure),
    /// It does not say where it stands, so that nobody knows where the stream does.
    Lost(String),
    /// It cannot be read; perhaps it still ends a transaction.
    Bad(String, Option<Revision>),
}

/// Where a change stands in the history.
struct Stamp {
    revision: Revision,
    previous: Option<Revision>,
    /// It is the last one of its transaction.
    last: bool,
}

/// An event, taken apart.
struct Parts<'a> {
    json: &'a str,
    source: &'a Lossy<'a>,
    labels: Labels<'a>,
    name: Option<&'a str>,
    object: Option<&'a str>,
    key: Option<&'a str>,
    revision: Option<&'a str>,
    previous: Option<&'a str>,
    last: Option<&'a str>,
    status: Option<&'a str>,
    message: Option<&'a str>,
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Upsert,
    Delete,
    Progress,
    Gone,
    Error,
    Ignored,
}

/// Reads the events of one attempt.
pub(super) struct Reader<'m, V> {
    object: &'m Object,
    events: &'m Events,
    refusals: &'m Refusals,
    decoder: &'m Decoder<V>,
    /// Events so far. Signs of life do not count: how many there are depends on the network.
    count: u64,
    /// How many in a row could not be read.
    bad: u32,
    /// The newest revision that an event had.
    pub(super) at: Option<Revision>,
}

impl<'m, V: Clone + Send + Sync + 'static> Reader<'m, V> {
    pub(super) fn new(
        object: &'m Object,
        events: &'m Events,
        refusals: &'m Refusals,
        decoder: &'m Decoder<V>,
    ) -> Self {
        Self {
            object,
            events,
            refusals,
            decoder,
            count: 0,
            bad: 0,
            at: None,
        }
    }

    /// Hands over what `entries` say, up to the first one that ends the attempt.
    pub(super) async fn feed(
        &mut self,
        entries: &[Entry<'_>],
        sink: &mut Sink<V>,
    ) -> Result<(), Failure> {
        for entries in entries.chunks(EVENTS_PER_TURN) {
            let said = entries.iter().map(|entry| (self.read(entry), entry));
            let said: Vec<_> = said.collect();
            let mut frames = Vec::with_capacity(said.len());
            let mut outcome = Ok(());
            for (said, entry) in &said {
                outcome = self.tell(said, entry, &mut frames);
                if outcome.is_err() {
                    break;
                }
            }
            sink.feed(frames).await;
            outcome?;
        }
        Ok(())
    }

    fn read<'a>(&self, entry: &Entry<'a>) -> Said<'a> {
        let (json, source, labels) = match *entry {
            Entry::Json(json, source, labels) => (json, source, labels),
            Entry::TooLong(size) => {
                return Said::Bad(format!("{size} bytes are more than the limit"), None);
            }
        };
        if entry.is_blank() {
            return Said::Nothing;
        }
        let parts = match self.take_apart(json, source, labels) {
            Ok(parts) => parts,
            Err(error) => return Said::Bad(in_words(&error), None),
        };
        match self.kind(&parts) {
            Ok(Kind::Ignored) => Said::Nothing,
            Ok(Kind::Gone) => Said::End(self.gone(&parts)),
            Ok(Kind::Error) => Said::End(self.error(&parts)),
            Ok(Kind::Progress) => match self.progress(&parts) {
                Ok(revision) => Said::Progress(revision),
                Err(words) => Said::Lost(words),
            },
            Ok(Kind::Upsert) => self.change(&parts, false),
            Ok(Kind::Delete) => self.change(&parts, true),
            Err(words) => Said::Bad(words, self.ends(&parts)),
        }
    }

    fn take_apart<'a>(
        &self,
        json: &'a str,
        source: &'a Lossy<'a>,
        labels: Labels<'a>,
    ) -> serde_json::Result<Parts<'a>> {
        let events = self.events;
        let name = match &events.name {
            EventName::Field(at) => Some(at),
            EventName::EventField | EventName::None => None,
        };
        let revision = match &events.revision {
            EventRevision::Field(at) => Some(at),
            EventRevision::IdField | EventRevision::Version => None,
        };
        let last = match &events.transactions {
            Transactions::Last(at) => Some(at),
            Transactions::Unknown | Transactions::Single => None,
        };
        // All of it is looked at, so that an event that was cut is not taken for whole.
        let whole: &'a serde_json::value::RawValue = serde_json::from_str(json)?;
        let wanted = [
            name,
            Some(&events.object),
            events.deleted_key.as_ref(),
            revision,
            events.previous.as_ref(),
            last,
            events.status.as_ref(),
            events.message.as_ref(),
        ];
        let [name, object, key, revision, previous, last, status, message] =
            pick(whole.get(), wanted)?;
        Ok(Parts {
            json: whole.get(),
            source,
            labels,
            name,
            object,
            key,
            revision,
            previous,
            last,
            status,
            message,
        })
    }

    fn kind(&self, parts: &Parts<'_>) -> Result<Kind, String> {
        let events = self.events;
        let name = match &events.name {
            EventName::Field(at) => told(parts.name, "name", at, parts.source)?
                .ok_or_else(|| format!("no name at {:?}", at.to_string()))?,
            EventName::EventField => Cow::Borrowed(parts.labels.type_name()),
            EventName::None => return Ok(Kind::Upsert),
        };
        let kinds = [
            (&events.upsert, Kind::Upsert),
            (&events.delete, Kind::Delete),
            (&events.progress, Kind::Progress),
            (&events.gone, Kind::Gone),
            (&events.error, Kind::Error),
            (&events.ignore, Kind::Ignored),
        ];
        let kind = kinds
            .iter()
            .find(|(names, _)| names.iter().any(|known| **known == *name));
        kind.map(|(_, kind)| *kind)
            .ok_or_else(|| format!("the name {:?} is not known", clip(&name)))
    }

    fn change<'a>(&self, parts: &Parts<'a>, deleted: bool) -> Said<'a> {
        let bad = |words| Said::Bad(words, self.ends(parts));
        if let (true, Some(at), Some(key)) = (deleted, &self.events.deleted_key, parts.key) {
            return match told(Some(key), "key", at, parts.source) {
                Ok(Some(key)) => match self.stamp(parts, None) {
                    Ok(stamp) => Said::Gone(key, stamp),
                    Err(words) => Said::Lost(words),
                },
                Ok(None) => bad(format!("no key at {:?}", at.to_string())),
                Err(words) => bad(words),
            };
        }
        let Some(json) = parts.object else {
            return bad(format!("no object at {:?}", self.events.object.to_string()));
        };
        let known = if deleted {
            self.object.read_any(json, parts.source)
        } else {
            self.object.read(json, parts.source)
        };
        let known = match known {
            Ok(known) => known,
            Err(words) => return bad(words),
        };
        match self.stamp(parts, Some(known.version_text())) {
            Ok(stamp) if deleted || known.deleted => Said::Delete(known, stamp),
            Ok(stamp) => Said::Upsert(known, stamp),
            Err(words) => Said::Lost(words),
        }
    }

    /// The revision of a change; the error: without it nobody knows where the stream stands.
    fn stamp(&self, parts: &Parts<'_>, version: Option<&str>) -> Result<Stamp, String> {
        let revision = match &self.events.revision {
            EventRevision::Field(at) => revision(parts.revision, at, parts.source)?,
            EventRevision::IdField => own_id(parts)?,
            EventRevision::Version => version
                .filter(|version| !version.is_empty())
                .map(Revision::parse)
                .ok_or("an event's version, which is its revision, is missing")?,
        };
        let previous = match &self.events.previous {
            Some(at) => told(parts.previous, "previous revision", at, parts.source)?,
            None => None,
        };
        Ok(Stamp {
            revision,
            previous: previous.as_deref().map(Revision::parse),
            last: self.is_last(parts),
        })
    }

    fn is_last(&self, parts: &Parts<'_>) -> bool {
        match self.events.transactions {
            Transactions::Unknown => false,
            Transactions::Single => true,
            Transactions::Last(_) => parts.last == Some("true") || canary!(MappingTearsBatch),
        }
    }

    /// The transaction that an event which cannot be read ends all the same.
    fn ends(&self, parts: &Parts<'_>) -> Option<Revision> {
        let revision = match &self.events.revision {
            _ if !self.is_last(parts) => return None,
            EventRevision::Field(at) => revision(parts.revision, at, parts.source),
            EventRevision::IdField => own_id(parts),
            EventRevision::Version => return None,
        };
        revision.ok()
    }

    fn progress(&self, parts: &Parts<'_>) -> Result<Revision, String> {
        match &self.events.revision {
            EventRevision::Field(at) => revision(parts.revision, at, parts.source),
            EventRevision::IdField => own_id(parts),
            EventRevision::Version => {
                let json = parts.object.unwrap_or(parts.json);
                let version = self.object.version(json, parts.source)?;
                let version = version.as_deref().map(Revision::parse);
                version.ok_or_else(|| "progress without a version".to_owned())
            }
        }
    }

    fn gone(&self, parts: &Parts<'_>) -> Failure {
        Failure::new(FailureClass::Gone, self.message(parts))
    }

    fn error(&self, parts: &Parts<'_>) -> Failure {
        let message = self.message(parts);
        let status = parts
            .status
            .and_then(|status| status.trim_matches('"').parse().ok());
        let Some(status) = status else {
            let words = format!("an error without a status: {message}");
            return Failure::new(FailureClass::Unexpected, clip(&words));
        };
        let mut failure = refused(Asked::Watch, status, None, &message);
        failure.class = self.refusals.class(status, failure.class);
        failure
    }

    fn message(&self, parts: &Parts<'_>) -> String {
        let at = self.events.message.as_ref();
        let told = at.map(|at| told(parts.message, "message", at, parts.source));
        let text = match told {
            Some(Ok(Some(text))) => text,
            Some(Ok(None) | Err(_)) | None => Cow::Borrowed(parts.json),
        };
        shown(text.as_bytes())
    }

    fn tell<'f>(
        &mut self,
        said: &'f Said<'f>,
        entry: &Entry<'f>,
        frames: &mut Vec<Frame<'f, V>>,
    ) -> Result<(), Failure>
    where
        'm: 'f,
    {
        let (size, source) = match *entry {
            Entry::Json(json, source, _) => (json.len(), Some(source)),
            Entry::TooLong(size) => (size, None),
        };
        self.count += u64::from(!entry.is_blank());
        match (said, source) {
            (Said::Upsert(known, stamp), Some(source)) => {
                let commit = self.commit(stamp);
                frames.push(known.upsert(size, Some(commit), source, self.decoder));
                self.end(stamp, frames);
            }
            (Said::Delete(known, stamp), Some(source)) => {
                let commit = self.commit(stamp);
                let stamped = self.object.is_stamped();
                frames.push(known.delete(stamped, size, commit, source, self.decoder));
                self.end(stamp, frames);
            }
            (Said::Gone(key, stamp), _) => {
                frames.push(Frame::Delete {
                    key,
                    version: None,
                    incarnation: None,
                    last: None,
                    size,
                    commit: self.commit(stamp),
                });
                self.end(stamp, frames);
            }
            (Said::Progress(revision), _) => {
                self.at = Some(revision.clone());
                frames.push(Frame::Progress(revision.clone(), None));
            }
            (Said::End(failure), _) => return Err(failure.clone()),
            (Said::Lost(words), _) => return Err(malformed(&self.words(words))),
            (Said::Bad(words, ends), _) => {
                self.undecodable(size, words, frames)?;
                if let Some(revision) = ends {
                    self.at = Some(revision.clone());
                    frames.push(Frame::BatchEnd(revision.clone()));
                }
            }
            // One is as good as a thousand, and costs less memory.
            (Said::Nothing, _) if matches!(frames.last(), Some(Frame::Heartbeat)) => {}
            (Said::Nothing | Said::Upsert(..) | Said::Delete(..), _) => {
                frames.push(Frame::Heartbeat);
            }
        }
        Ok(())
    }

    fn commit(&mut self, stamp: &Stamp) -> Commit {
        reach!("change read by a mapping");
        self.bad = 0;
        self.at = Some(stamp.revision.clone());
        Commit {
            revision: Some(stamp.revision.clone()),
            previous: stamp.previous.clone(),
        }
    }

    fn end(&self, stamp: &Stamp, frames: &mut Vec<Frame<'_, V>>) {
        if stamp.last {
            frames.push(Frame::BatchEnd(stamp.revision.clone()));
        }
    }

    fn undecodable(
        &mut self,
        size: usize,
        words: &str,
        frames: &mut Vec<Frame<'_, V>>,
    ) -> Result<(), Failure> {
        let error = self.words(words);
        self.bad += 1;
        if self.bad >= BAD_IN_A_ROW {
            let all = self.bad;
            let words = format!("{all} events in a row cannot be read; {error}");
            return Err(malformed(&words));
        }
        frames.push(Frame::Undecodable { size, error });
        Ok(())
    }

    fn words(&self, words: &str) -> String {
        format!("event {}: {words}", self.count)
    }
}

fn own_id(parts: &Parts<'_>) -> Result<Revision, String> {
    let id = parts.labels.id.map(Revision::parse);
    id.ok_or_else(|| "an event without an id of its own, which is its revision".to_owned())
}

fn revision(found: Option<&str>, at: &Pointer, source: &Lossy<'_>) -> Result<Revision, String> {
    let text = told(found, "revision", at, source)?;
    let text = text.ok_or_else(|| format!("no revision at {:?}", at.to_string()))?;
    Ok(Revision::parse(&text))
}
