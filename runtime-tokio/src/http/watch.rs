//! A watch as a stream of JSON lines.

use bytes::Bytes;
use http::StatusCode;
use reflet_core::{Epoch, Failure, Revision};

use super::envelope::Source;
use super::events::{Entry, Events};
use super::failure::{Asked, malformed, retryable};
use super::lines::{Lines, Piece, split};
use super::path::Path;
use super::request::Client;
use crate::probe::reach;
use crate::source::{Decoder, Frame, Sink};

/// A line that has grown by so many bytes is a sign of life: a long one on a slow network is no
/// silence. One that hardly grows is.
const GROWTH_BYTES: usize = 1 << 10;

/// Follows the collection until the stream ends.
pub(super) async fn follow<V: Clone + Send + Sync + 'static>(
    client: &Client,
    path: &str,
    from: &Revision,
    epoch: Option<&Epoch>,
    max_line: usize,
    decoder: &Decoder<V>,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    let path = Path::new(path)
        .with("watch", "jsonl")
        .with("from", from)
        .with_some("epoch", epoch);
    let mut answer = client.get(path.as_str(), "application/x-ndjson").await?;
    if answer.status() != StatusCode::OK {
        reach!("watch refused as gone", answer.status() == StatusCode::GONE);
        return Err(answer.refusal(Asked::Watch).await);
    }
    answer.check_content()?;
    sink.opened(answer.epoch()?);

    let mut lines = Lines::new(max_line);
    let mut events = Events::new(decoder);
    loop {
        let chunks = match answer.read().await {
            Ok(chunks) => chunks,
            Err(failure) => return Err(cut(&lines, failure)),
        };
        if chunks.is_empty() {
            break;
        }
        let before = lines.unfinished();
        let (pieces, outcome) = split_up(&mut lines, chunks);
        feed(&pieces, max_line, &mut events, sink).await?;
        outcome?;
        if pieces.is_empty() && lines.unfinished() / GROWTH_BYTES > before / GROWTH_BYTES {
            sink.frame(Frame::Heartbeat);
        }
    }
    match lines.unfinished() {
        0 => {
            reach!("stream ended cleanly");
            answer.finish().await;
            Ok(())
        }
        bytes => {
            reach!("stream ended in mid-line");
            let words = format!("the stream was closed in mid-line, after {bytes} bytes of it");
            Err(retryable(&words))
        }
    }
}

/// The pieces that `chunks` complete, and whether the stream can go on after them.
fn split_up(lines: &mut Lines, chunks: Vec<Bytes>) -> (Vec<Piece>, Result<(), Failure>) {
    let mut pieces = Vec::new();
    for chunk in chunks {
        if let Err(endless) = lines.push(chunk, &mut pieces) {
            let bytes = endless.bytes;
            return (
                pieces,
                Err(malformed(&format!(
                    "a line without an end: {bytes} bytes so far"
                ))),
            );
        }
    }
    (pieces, Ok(()))
}

/// Hands over everything that one read brought at once.
async fn feed<V: Clone + Send + Sync + 'static>(
    pieces: &[Piece],
    max_line: usize,
    events: &mut Events<'_, V>,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    let mut sources = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Lines(lines) => sources.extend(split(lines).map(|line| match line.len() {
                bytes if bytes > max_line => Err(bytes),
                _ => Ok(Source::new(line)),
            })),
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

/// A stream that broke off, perhaps in mid-line: the engine discards what is incomplete.
fn cut(lines: &Lines, mut failure: Failure) -> Failure {
    if lines.unfinished() > 0 {
        reach!("stream cut in mid-line");
        failure.message = format!("{}, in mid-line", failure.message).into();
    }
    failure
}
