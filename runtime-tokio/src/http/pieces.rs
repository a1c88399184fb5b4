//! The seam between how a watch travels and what it says: whatever the transport, it brings pieces,
//! and pieces become entries for whoever understands them.

use std::time::Duration;

use bytes::Bytes;

use reflet_core::wire::parts::{Lossy, split};

use super::sse::Event;

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
    /// The server asks for a pause of at least that long after the stream's end.
    Retry(Duration),
}

/// One event as it came.
#[derive(Clone, Copy)]
pub(super) enum Entry<'a> {
    /// Its JSON; nothing at all is a heartbeat.
    Json(&'a str, &'a Lossy<'a>, Labels<'a>),
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
    /// Whether it is no event, but a mere sign of life.
    pub(super) fn is_blank(&self) -> bool {
        matches!(self, Self::Json(json, ..) if json.trim_ascii().is_empty())
    }

    /// An event of whose framing nothing is known.
    pub(super) fn json(json: &'a str, source: &'a Lossy<'a>) -> Self {
        Self::Json(json, source, Labels::default())
    }
}

/// The text of an event, and its labels.
pub(super) struct Text<'a> {
    /// `Err`: it has so many bytes, which are too many.
    source: Result<Lossy<'a>, usize>,
    labels: Labels<'a>,
}

impl Text<'_> {
    pub(super) fn entry(&self) -> Entry<'_> {
        match &self.source {
            Ok(source) => Entry::Json(source.text(), source, self.labels),
            Err(bytes) => Entry::TooLong(*bytes),
        }
    }
}

/// The texts of everything that was read at once, where a text may have `limit` bytes. One at a
/// time: a moment's worth of line feeds would take many times its memory.
pub(super) fn texts(pieces: &[Piece], limit: usize) -> impl Iterator<Item = Text<'_>> {
    let text = move |event, labels| Text {
        source: within(event, limit),
        labels,
    };
    let plain = Labels::default();
    pieces.iter().flat_map(move |piece| {
        let lines = match piece {
            Piece::Lines(lines) => Some(split(lines).map(move |line| text(line, plain))),
            Piece::Event(_)
            | Piece::Labelled(_)
            | Piece::Heartbeat
            | Piece::TooLong(_)
            | Piece::Retry(_) => None,
        };
        let only = match piece {
            Piece::Lines(_) | Piece::Retry(_) => None,
            Piece::Event(event) => Some(text(event, plain)),
            Piece::Labelled(event) => Some(text(&event.data, labels(event))),
            Piece::Heartbeat => Some(text(&[], plain)),
            Piece::TooLong(bytes) => Some(Text {
                source: Err(*bytes),
                labels: plain,
            }),
        };
        lines.into_iter().flatten().chain(only)
    })
}

/// An event; `Err`: it has so many bytes, which are too many.
fn within(event: &[u8], limit: usize) -> Result<Lossy<'_>, usize> {
    match event.len() {
        bytes if bytes > limit => Err(bytes),
        _ => Ok(Lossy::new(event)),
    }
}

fn labels(event: &Event) -> Labels<'_> {
    Labels {
        name: event.name.as_deref(),
        id: event.id.as_deref(),
    }
}
