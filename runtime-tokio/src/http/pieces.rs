//! The seam between how a watch travels and what it says: whatever the transport, it brings pieces,
//! and pieces become the frames of [`Events`].

use bytes::Bytes;
use reflet_core::Failure;

use super::envelope::Source;
use super::events::{Entry, Events};
use super::lines::split;
use crate::source::Sink;

/// How many times the limit something may be long before the stream is given up.
pub(super) const GIVE_UP_FACTOR: usize = 8;

/// What a transport brings, in the order in which it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Whole lines, each with its line feed: an event each, or nothing at all.
    Lines(Bytes),
    /// One event.
    Event(Bytes),
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

/// Hands over everything that was read at once. What is longer than `limit` is reported instead.
pub(super) async fn feed<V: Clone + Send + Sync + 'static>(
    pieces: &[Piece],
    limit: usize,
    events: &mut Events<'_, V>,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    let mut sources = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Lines(lines) => sources.extend(split(lines).map(|line| within(line, limit))),
            Piece::Event(bytes) => sources.push(within(bytes, limit)),
            Piece::Heartbeat => sources.push(Ok(Source::new(&[]))),
            Piece::TooLong(bytes) => sources.push(Err(*bytes)),
        }
    }
    let entries = sources.iter().map(|source| match source {
        Ok(source) => Entry::Json(source.text(), source),
        Err(bytes) => Entry::TooLong(*bytes),
    });
    let entries: Vec<_> = entries.collect();
    events.feed(&entries, sink).await
}

/// An event; `Err`: it has so many bytes, which are too many.
fn within(event: &[u8], limit: usize) -> Result<Source<'_>, usize> {
    match event.len() {
        bytes if bytes > limit => Err(bytes),
        _ => Ok(Source::new(event)),
    }
}
