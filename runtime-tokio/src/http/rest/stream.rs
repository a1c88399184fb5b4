//! Watches that are one answer which goes on: of changes, or of mere hints.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use reflet_core::{Failure, Revision};

use super::check::IN_PATH;
use super::events::{Entry, Reader};
use super::list::header_epoch;
use super::mapping::{Changes, Hints, Refusals, Resume, Stream};
use super::{Mapped, refused, url};
use crate::http::envelope::Source;
use crate::http::failure::{malformed, retryable};
use crate::http::lines::{Lines, split};
use crate::http::path::{Path, encode};
use crate::http::pieces::Piece;
use crate::source::{Decoder, Frame, Sink};

/// An event that has grown by so many bytes is a sign of life: a long one on a slow network is no
/// silence. One that hardly grows is.
const GROWTH_BYTES: usize = 1 << 10;

/// Where a watch is asked for.
pub(super) struct Asked {
    pub(super) path: Path,
    pub(super) headers: HeaderMap,
}

impl Asked {
    /// The watch from this revision on.
    pub(super) fn from(path: Path, resume: &Resume, from: &Revision) -> Result<Self, Failure> {
        let mut headers = HeaderMap::new();
        let path = match resume {
            Resume::Query(name) => path.with(name, from),
            Resume::Path => path,
            Resume::Header(name) => {
                let value = HeaderValue::from_str(&from.to_string());
                let unsendable = |_| malformed("the revision cannot be sent in a header");
                headers.insert(name.0.clone(), value.map_err(unsendable)?);
                path
            }
        };
        Ok(Self { path, headers })
    }
}

/// A path, with the revision where it has a place for it.
pub(super) fn placed(path: &str, from: &Revision) -> String {
    path.replace(IN_PATH, &encode(&from.to_string()))
}

/// Follows the changes from a revision on until the stream ends.
pub(super) async fn changes<V: Clone + Send + Sync + 'static>(
    rest: &Mapped,
    changes: &Changes,
    from: &Revision,
    decoder: &Decoder<V>,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    let path = url(&rest.prefix, &placed(&changes.path, from), &changes.query);
    let asked = Asked::from(path, &changes.resume, from)?;
    let (events, refusals) = (&changes.events, &changes.refusals);
    let reader = Reader::new(&rest.mapping.object, events, refusals, decoder);
    follow(
        rest,
        &asked,
        &changes.stream,
        refusals,
        Ear::Changes(reader),
        sink,
    )
    .await
}

/// Listens for hints until the stream ends.
pub(super) async fn hints<V: Clone + Send + Sync + 'static>(
    rest: &Mapped,
    hints: &Hints,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    let asked = Asked {
        path: url(&rest.prefix, &hints.path, &hints.query),
        headers: HeaderMap::new(),
    };
    let refusals = Refusals::default();
    follow(rest, &asked, &hints.stream, &refusals, Ear::Hints, sink).await
}

/// What becomes of the events of a stream.
enum Ear<'m, V> {
    Changes(Reader<'m, V>),
    Hints,
}

impl<V: Clone + Send + Sync + 'static> Ear<'_, V> {
    async fn feed(&mut self, entries: &[Entry<'_>], sink: &mut Sink<V>) -> Result<(), Failure> {
        match self {
            Self::Changes(reader) => reader.feed(entries, sink).await,
            Self::Hints if entries.is_empty() => Ok(()),
            Self::Hints => {
                // Any number of them asks for one list.
                let speaks = |entry: &Entry<'_>| match entry {
                    Entry::Json(json, _) => !json.trim_ascii().is_empty(),
                    Entry::TooLong(_) => true,
                };
                let hint = entries.iter().any(speaks);
                sink.frame(if hint { Frame::Hint } else { Frame::Heartbeat });
                Ok(())
            }
        }
    }
}

async fn follow<V: Clone + Send + Sync + 'static>(
    rest: &Mapped,
    asked: &Asked,
    stream: &Stream,
    refusals: &Refusals,
    mut ear: Ear<'_, V>,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    let (accept, limit) = (stream.accept(), rest.limits.line_bytes);
    let target = asked.path.as_str();
    let mut answer = rest.client.get_with(target, accept, &asked.headers).await?;
    if answer.status() != StatusCode::OK {
        return Err(refused(answer, refusals).await);
    }
    answer.check_content("JSON")?;
    sink.opened(header_epoch(&answer, rest)?);

    let mut lines = Lines::new(limit);
    loop {
        let chunks = answer.read().await?;
        if chunks.is_empty() {
            break;
        }
        let before = lines.unfinished();
        let (pieces, outcome) = split_up(&mut lines, chunks);
        feed(&pieces, limit, &mut ear, sink).await?;
        outcome?;
        if pieces.is_empty() && lines.unfinished() / GROWTH_BYTES > before / GROWTH_BYTES {
            sink.frame(Frame::Heartbeat);
        }
    }
    match lines.unfinished() {
        0 => {
            answer.finish().await;
            Ok(())
        }
        bytes => {
            let words = format!("the stream was closed in mid-line, after {bytes} bytes of it");
            Err(retryable(&words))
        }
    }
}

impl Stream {
    fn accept(&self) -> &'static str {
        match self {
            Self::JsonLines => "application/x-ndjson",
        }
    }
}

/// The pieces that `chunks` complete, and whether the stream can go on after them.
fn split_up(lines: &mut Lines, chunks: Vec<Bytes>) -> (Vec<Piece>, Result<(), Failure>) {
    let mut pieces = Vec::new();
    for chunk in chunks {
        if let Err(endless) = lines.push(chunk, &mut pieces) {
            let words = format!("a line without an end: {} bytes so far", endless.bytes);
            return (pieces, Err(malformed(&words)));
        }
    }
    (pieces, Ok(()))
}

/// Hands over everything that one read brought at once.
async fn feed<V: Clone + Send + Sync + 'static>(
    pieces: &[Piece],
    limit: usize,
    ear: &mut Ear<'_, V>,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    let mut sources = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Lines(lines) => sources.extend(split(lines).map(|line| match line.len() {
                bytes if bytes > limit => Err(bytes),
                _ => Ok(Source::new(line)),
            })),
            Piece::Event(bytes) => sources.push(match bytes.len() {
                bytes if bytes > limit => Err(bytes),
                _ => Ok(Source::new(bytes)),
            }),
            Piece::Heartbeat => sources.push(Ok(Source::new(&[]))),
            Piece::TooLong(bytes) => sources.push(Err(*bytes)),
        }
    }
    let entries = sources.iter().map(|source| match source {
        Ok(source) => Entry::Json(source.text(), source),
        Err(bytes) => Entry::TooLong(*bytes),
    });
    let entries: Vec<_> = entries.collect();
    ear.feed(&entries, sink).await
}
