//! A watch that goes on for ever: JSON lines, server-sent events, or messages of a WebSocket.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use reflet_core::{Epoch, Failure, Revision};

use super::events::Events;
use super::failure::{Asked, malformed, retryable};
use super::lines::Lines;
use super::path::Path;
use super::pieces::{Endless, Piece, feed};
use super::request::Client;
use super::sse::{Decoder as ServerSent, Item};
use super::websocket::{Message, Socket};
use crate::probe::reach;
use crate::source::{Decoder, Frame, Sink};

/// An event that has grown by so many bytes is a sign of life: a long one on a slow network is no
/// silence. One that hardly grows is.
const GROWTH_BYTES: usize = 1 << 10;

/// What is spoken over a WebSocket.
const SUBPROTOCOL: &str = "reflet.v1";

/// A watch that is asked for.
pub(super) struct Watch<'a, V> {
    pub(super) client: &'a Client,
    /// The collection's path.
    pub(super) path: &'a str,
    pub(super) from: &'a Revision,
    pub(super) epoch: Option<&'a Epoch>,
    /// The most bytes of an event.
    pub(super) limit: usize,
    pub(super) decoder: &'a Decoder<V>,
}

impl<V: Clone + Send + Sync + 'static> Watch<'_, V> {
    /// Follows the collection by JSON lines until the stream ends.
    pub(super) async fn lines(&self, sink: &mut Sink<V>) -> Result<(), Failure> {
        let accept = "application/x-ndjson";
        let mut framing = Framing::Lines(Lines::new(self.limit));
        self.stream("jsonl", accept, &mut framing, sink).await
    }

    /// Follows the collection by server-sent events until the stream ends.
    pub(super) async fn server_sent(&self, sink: &mut Sink<V>) -> Result<(), Failure> {
        let mut framing = Framing::ServerSent {
            decoder: ServerSent::new(self.limit),
            items: Vec::new(),
            retry: Duration::ZERO,
        };
        let accept = "text/event-stream";
        let ended = self.stream("sse", accept, &mut framing, sink).await;
        framing.patient(ended)
    }

    /// Follows the collection by the messages of a WebSocket until it is closed.
    pub(super) async fn socket(&self, sink: &mut Sink<V>) -> Result<(), Failure> {
        let path = self.target("websocket");
        let opened = Socket::open(self.client, path.as_str(), Some(SUBPROTOCOL), self.limit);
        let (mut socket, answer) = opened.await?;
        sink.opened(answer.epoch()?);
        drop(answer);
        let mut events = Events::new(self.decoder);
        loop {
            let messages = socket.read().await?;
            if messages.is_empty() {
                return Ok(());
            }
            let pieces = messages.into_iter().map(|message| match message {
                Message::Text(text) => Piece::Event(text),
                Message::Alive => Piece::Heartbeat,
            });
            let pieces: Vec<_> = pieces.collect();
            feed(&pieces, self.limit, &mut events, sink).await?;
        }
    }

    /// What is asked for by this transport.
    fn target(&self, transport: &str) -> Path {
        Path::new(self.path)
            .with("watch", transport)
            .with("from", self.from)
            .with_some("epoch", self.epoch)
    }

    async fn stream(
        &self,
        transport: &str,
        accept: &'static str,
        framing: &mut Framing,
        sink: &mut Sink<V>,
    ) -> Result<(), Failure> {
        let path = self.target(transport);
        let mut answer = self.client.get(path.as_str(), accept).await?;
        if answer.status() != StatusCode::OK {
            reach!("watch refused as gone", answer.status() == StatusCode::GONE);
            return Err(answer.refusal(Asked::Watch).await);
        }
        answer.check_content(framing.content())?;
        sink.opened(answer.epoch()?);

        let mut events = Events::new(self.decoder);
        loop {
            let chunks = match answer.read().await {
                Ok(chunks) => chunks,
                Err(failure) => return Err(framing.cut(failure)),
            };
            if chunks.is_empty() {
                break;
            }
            let before = framing.unfinished();
            let (pieces, outcome) = framing.split_up(chunks);
            feed(&pieces, self.limit, &mut events, sink).await?;
            outcome?;
            if pieces.is_empty() && framing.unfinished() / GROWTH_BYTES > before / GROWTH_BYTES {
                sink.frame(Frame::Heartbeat);
            }
        }
        match framing.unfinished() {
            0 => {
                reach!("stream ended cleanly");
                answer.finish().await;
                Ok(())
            }
            bytes => {
                reach!("stream ended in mid-line");
                let unit = framing.unit();
                let words =
                    format!("the stream was closed in mid-{unit}, after {bytes} bytes of it");
                Err(retryable(&words))
            }
        }
    }
}

/// How events are told apart in a stream of bytes.
enum Framing {
    Lines(Lines),
    ServerSent {
        decoder: ServerSent,
        items: Vec<Item>,
        /// The least pause before the next attempt that the server has asked for.
        retry: Duration,
    },
}

impl Framing {
    /// What the content type has to contain.
    fn content(&self) -> &'static str {
        match self {
            Self::Lines(_) => "JSON",
            Self::ServerSent { .. } => "event-stream",
        }
    }

    fn unit(&self) -> &'static str {
        match self {
            Self::Lines(_) => "line",
            Self::ServerSent { .. } => "event",
        }
    }

    fn unfinished(&self) -> usize {
        match self {
            Self::Lines(lines) => lines.unfinished(),
            Self::ServerSent { decoder, .. } => decoder.unfinished(),
        }
    }

    /// The pieces that `chunks` complete, and whether the stream can go on after them.
    fn split_up(&mut self, chunks: Vec<Bytes>) -> (Vec<Piece>, Result<(), Failure>) {
        let mut pieces = Vec::new();
        for chunk in chunks {
            if let Err(Endless { bytes }) = self.push(chunk, &mut pieces) {
                let unit = match self {
                    Self::Lines(_) => "a line",
                    Self::ServerSent { .. } => "an event",
                };
                let words = format!("{unit} without an end: {bytes} bytes so far");
                return (pieces, Err(malformed(&words)));
            }
        }
        (pieces, Ok(()))
    }

    fn push(&mut self, chunk: Bytes, pieces: &mut Vec<Piece>) -> Result<(), Endless> {
        match self {
            Self::Lines(lines) => lines.push(chunk, pieces),
            Self::ServerSent {
                decoder,
                items,
                retry,
            } => {
                let outcome = decoder.push(&chunk, items);
                for item in items.drain(..) {
                    match item {
                        // One with a name is a word of a later version of the protocol.
                        Item::Event(event) if event.name.is_none() => {
                            pieces.push(Piece::Event(event.data));
                        }
                        Item::Event(_) | Item::Nothing => pieces.push(Piece::Heartbeat),
                        Item::Retry(wait) => *retry = wait,
                        Item::TooLong(bytes) => pieces.push(Piece::TooLong(bytes)),
                    }
                }
                outcome
            }
        }
    }

    /// A stream that broke off, perhaps in the middle of an event: the engine discards what is
    /// incomplete.
    fn cut(&self, mut failure: Failure) -> Failure {
        if self.unfinished() > 0 {
            reach!("stream cut in mid-line", matches!(self, Self::Lines(_)));
            reach!(
                "stream cut in mid-event",
                matches!(self, Self::ServerSent { .. })
            );
            failure.message = format!("{}, in mid-{}", failure.message, self.unit()).into();
        }
        failure
    }

    /// However the stream ended, the server may have asked for a pause after it. A clean end cannot
    /// say so to the engine; it is one that is to be tried again after the pause then (P7).
    fn patient(&self, ended: Result<(), Failure>) -> Result<(), Failure> {
        let retry = match self {
            Self::ServerSent { retry, .. } => *retry,
            Self::Lines(_) => Duration::ZERO,
        };
        if retry.is_zero() {
            return ended;
        }
        let mut failure = match ended {
            Ok(()) => retryable("the stream ended, and asked for a pause"),
            Err(failure) => failure,
        };
        failure.retry_after = failure.retry_after.max(Some(retry));
        Err(failure)
    }
}
