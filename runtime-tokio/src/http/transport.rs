//! How a watch travels that goes on for ever: by JSON lines, server-sent events, or messages of a
//! WebSocket. Nothing here knows what its events say.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use reflet_core::{Epoch, Failure};

use super::pieces::{Entry, Piece, Text, texts};
use super::request::{Answer, Client};
use super::sse::{Decoder as ServerSent, Item};
use super::websocket::{Message, Opening, Socket};
use crate::probe::reach;
use crate::source::{Frame, Sink};
use reflet_core::wire::parts::{Asked, Endless, Lines, Part, malformed, retryable};

/// An event that has grown by so many bytes is a sign of life: a long one on a slow network is no
/// silence. One that hardly grows is.
const GROWTH_BYTES: usize = 1 << 10;

/// How many events are handed over at a time: taken apart they need many times the memory of what
/// a server may send in a moment, which is a line feed for each.
const EVENTS_PER_TURN: usize = 1_024;

/// Who understands the events of a stream.
pub(super) trait Listener<V>: Send {
    /// The epoch that the head of the answer names.
    fn epoch(&self, answer: &Answer<'_>) -> Result<Option<Epoch>, Failure>;

    /// What a refusal means, where a status means something particular.
    fn judge(&self, status: StatusCode, failure: Failure) -> Failure {
        let _ = status;
        failure
    }

    /// Hands over a part of what was read, up to the first event that ends the attempt.
    fn hear(
        &mut self,
        entries: &[Entry<'_>],
        sink: &mut Sink<V>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// A stream that is asked for.
pub(super) struct Asking<'a> {
    pub(super) client: &'a Client,
    pub(super) path: &'a str,
    /// Headers of its own.
    pub(super) headers: HeaderMap,
    /// The most bytes of an event.
    pub(super) limit: usize,
}

impl Asking<'_> {
    /// Follows by JSON lines until the stream ends.
    pub(super) async fn lines<V: Clone + Send + Sync + 'static>(
        &self,
        listener: &mut impl Listener<V>,
        sink: &mut Sink<V>,
    ) -> Result<(), Failure> {
        let accept = "application/x-ndjson";
        let mut framing = Framing::Lines(Lines::new(self.limit));
        self.stream(accept, &mut framing, listener, sink).await
    }

    /// Follows by server-sent events until the stream ends.
    pub(super) async fn server_sent<V: Clone + Send + Sync + 'static>(
        &self,
        listener: &mut impl Listener<V>,
        sink: &mut Sink<V>,
    ) -> Result<(), Failure> {
        let mut framing = Framing::ServerSent {
            decoder: ServerSent::new(self.limit),
            items: Vec::new(),
            retry: Duration::ZERO,
        };
        let accept = "text/event-stream";
        let ended = self.stream(accept, &mut framing, listener, sink).await;
        framing.patient(ended)
    }

    /// Follows by the messages of a WebSocket until it is closed. `protocol` is the subprotocol
    /// that is offered, and required back.
    pub(super) async fn socket<V: Clone + Send + Sync + 'static>(
        &self,
        protocol: Option<&HeaderValue>,
        listener: &mut impl Listener<V>,
        sink: &mut Sink<V>,
    ) -> Result<(), Failure> {
        let headers = self.headers.clone();
        let opening = Socket::open(self.client, self.path, headers, protocol, self.limit);
        let (mut socket, answer) = match opening.await? {
            Opening::Opened(socket, answer) => (socket, answer),
            Opening::Refused(answer) => {
                reach!(
                    "socket refused as gone",
                    answer.status() == StatusCode::GONE
                );
                return Err(refused(answer, listener).await);
            }
        };
        sink.opened(listener.epoch(&answer)?);
        drop(answer);
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
            self.hand_over(&pieces, listener, sink).await?;
        }
    }

    async fn stream<V: Clone + Send + Sync + 'static>(
        &self,
        accept: &'static str,
        framing: &mut Framing,
        listener: &mut impl Listener<V>,
        sink: &mut Sink<V>,
    ) -> Result<(), Failure> {
        let asked = self.client.get_with(self.path, accept, &self.headers);
        let mut answer = asked.await?;
        if answer.status() != StatusCode::OK {
            reach!("watch refused as gone", answer.status() == StatusCode::GONE);
            return Err(refused(answer, listener).await);
        }
        answer.check_content(framing.content())?;
        sink.opened(listener.epoch(&answer)?);

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
            // A pause counts only if what came before it has not ended the attempt: whether more had
            // been read by then is chance.
            let mut rest = pieces.as_slice();
            while let Some(at) = rest
                .iter()
                .position(|piece| matches!(piece, Piece::Retry(_)))
            {
                let (before, after) = rest.split_at(at);
                self.hand_over(before, listener, sink).await?;
                if let [Piece::Retry(wait), after @ ..] = after {
                    framing.pause(*wait);
                    rest = after;
                }
            }
            self.hand_over(rest, listener, sink).await?;
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

    async fn hand_over<V>(
        &self,
        pieces: &[Piece],
        listener: &mut impl Listener<V>,
        sink: &mut Sink<V>,
    ) -> Result<(), Failure> {
        let mut texts = texts(pieces, self.limit);
        loop {
            let part: Vec<_> = texts.by_ref().take(EVENTS_PER_TURN).collect();
            if part.is_empty() {
                return Ok(());
            }
            let entries: Vec<_> = part.iter().map(Text::entry).collect();
            listener.hear(&entries, sink).await?;
        }
    }
}

async fn refused<V>(answer: Answer<'_>, listener: &impl Listener<V>) -> Failure {
    let status = answer.status();
    listener.judge(status, answer.refusal(Asked::Watch).await)
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
            Self::Lines(lines) => {
                let mut parts = Vec::new();
                let outcome = lines.push(chunk, &mut parts);
                pieces.extend(parts.into_iter().map(|part| match part {
                    Part::Lines(lines) => Piece::Lines(lines),
                    Part::TooLong(bytes) => Piece::TooLong(bytes),
                }));
                outcome
            }
            Self::ServerSent { decoder, items, .. } => {
                let outcome = decoder.push(&chunk, items);
                for item in items.drain(..) {
                    match item {
                        Item::Event(event) => pieces.push(Piece::Labelled(event)),
                        Item::Nothing => pieces.push(Piece::Heartbeat),
                        Item::Retry(wait) => pieces.push(Piece::Retry(wait)),
                        Item::TooLong(bytes) => pieces.push(Piece::TooLong(bytes)),
                    }
                }
                outcome
            }
        }
    }

    /// The server has asked for a pause.
    fn pause(&mut self, wait: Duration) {
        if let Self::ServerSent { retry, .. } = self {
            *retry = wait;
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
