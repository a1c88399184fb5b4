//! The seam between how a watch travels and what it says: whatever the transport, it brings pieces,
//! and pieces become entries for whoever understands them.

use bytes::Bytes;

use super::envelope::Source;
use super::lines::split;
use super::sse::Event;

/// How many times the limit something may be long before the stream is given up.
pub(super) const GIVE_UP_FACTOR: usize = 8;

/// What a transport brings, in the order in which it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Whole lines, each with its line feed: an event each, or nothing at all.
    Lines(Bytes),
    /// One event.
    Event(Bytes),
    /// One event, with what its framing says of it.
    Labelled(Event),
    /// A sign of life.
    Heartbeat,
    /// An event of so many bytes was skipped.
    TooLong(usize),
}

/// An event is longer than anybody may be expected to read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endless {
    /// How many bytes of it came.
    pub(super) bytes: usize,
}

/// One event as it came.
#[derive(Clone, Copy)]
pub(super) enum Entry<'a> {
    /// Its JSON; nothing at all is a heartbeat.
    Json(&'a str, &'a Source<'a>, Labels<'a>),
    /// It was too long to be kept: so many bytes.
    TooLong(usize),
}

/// What a transport's framing says of an event. Nothing, but for server-sent events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Labels<'a> {
    /// Its type, where it has another one than `message`.
    pub(super) name: Option<&'a str>,
    /// Its own id.
    pub(super) id: Option<&'a str>,
}

impl<'a> Entry<'a> {
    /// An event of whose framing nothing is known.
    pub(super) fn json(json: &'a str, source: &'a Source<'a>) -> Self {
        Self::Json(json, source, Labels::default())
    }
}

/// The text of everything that was read at once, and its labels. `Err`: an event of so many bytes,
/// which are more than `limit`.
pub(super) struct Texts<'a>(Vec<(Result<Source<'a>, usize>, Labels<'a>)>);

impl<'a> Texts<'a> {
    pub(super) fn of(pieces: &'a [Piece], limit: usize) -> Self {
        let within = |event: &'a [u8]| match event.len() {
            bytes if bytes > limit => Err(bytes),
            _ => Ok(Source::new(event)),
        };
        let plain = Labels::default();
        let mut texts = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Lines(lines) => texts.extend(split(lines).map(|line| (within(line), plain))),
                Piece::Event(bytes) => texts.push((within(bytes), plain)),
                Piece::Labelled(event) => texts.push((within(&event.data), labels(event))),
                Piece::Heartbeat => texts.push((Ok(Source::new(&[])), plain)),
                Piece::TooLong(bytes) => texts.push((Err(*bytes), plain)),
            }
        }
        Self(texts)
    }

    pub(super) fn entries(&self) -> Vec<Entry<'_>> {
        let entries = self.0.iter().map(|(source, labels)| match source {
            Ok(source) => Entry::Json(source.text(), source, *labels),
            Err(bytes) => Entry::TooLong(*bytes),
        });
        entries.collect()
    }
}

fn labels(event: &Event) -> Labels<'_> {
    Labels {
        name: event.name.as_deref(),
        id: event.id.as_deref(),
    }
}
