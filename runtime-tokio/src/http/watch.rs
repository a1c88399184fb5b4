//! A watch of the protocol that goes on for ever: JSON lines, server-sent events, or messages of a
//! WebSocket.

use http::{HeaderMap, HeaderValue};
use reflet_core::{Epoch, Failure, Revision};

use super::pieces::{Entry, Labels};
use super::request::{Answer, Client};
use super::transport::{Asking, Listener};
use crate::source::{Decoder, Sink};
use reflet_core::wire::parts::{Events, Parsed, Path};

/// What is spoken over a WebSocket.
const SUBPROTOCOL: HeaderValue = HeaderValue::from_static("reflet.v1");

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
        let path = self.target("jsonl");
        let mut events = Heard::by(self.decoder);
        self.asking(&path).lines(&mut events, sink).await
    }

    /// Follows the collection by server-sent events until the stream ends.
    pub(super) async fn server_sent(&self, sink: &mut Sink<V>) -> Result<(), Failure> {
        let path = self.target("sse");
        let mut events = Heard::by(self.decoder);
        self.asking(&path).server_sent(&mut events, sink).await
    }

    /// Follows the collection by the messages of a WebSocket until it is closed.
    pub(super) async fn socket(&self, sink: &mut Sink<V>) -> Result<(), Failure> {
        let path = self.target("websocket");
        let mut events = Heard::by(self.decoder);
        let asking = self.asking(&path);
        asking.socket(Some(&SUBPROTOCOL), &mut events, sink).await
    }

    /// What is asked for by this transport.
    fn target(&self, transport: &str) -> Path {
        Path::new(self.path)
            .with("watch", transport)
            .with("from", self.from)
            .with_some("epoch", self.epoch)
    }

    fn asking<'p>(&'p self, path: &'p Path) -> Asking<'p> {
        Asking {
            client: self.client,
            path: path.as_str(),
            headers: HeaderMap::new(),
            limit: self.limit,
        }
    }
}

/// Understands the events of one attempt.
struct Heard<'d, V> {
    events: Events,
    decoder: &'d Decoder<V>,
}

impl<'d, V> Heard<'d, V> {
    fn by(decoder: &'d Decoder<V>) -> Self {
        Self {
            events: Events::default(),
            decoder,
        }
    }
}

impl<V: Clone + Send + Sync + 'static> Listener<V> for Heard<'_, V> {
    fn epoch(&self, answer: &Answer<'_>) -> Result<Option<Epoch>, Failure> {
        answer.epoch()
    }

    async fn hear(&mut self, entries: &[Entry<'_>], sink: &mut Sink<V>) -> Result<(), Failure> {
        let parsed: Vec<_> = entries.iter().map(parse).collect();
        let (frames, outcome) = self.events.frames(&parsed, self.decoder);
        sink.feed(frames).await;
        outcome
    }
}

fn parse<'a>(entry: &Entry<'a>) -> Parsed<'a> {
    match *entry {
        // One with a name is a word of a later version of the protocol.
        Entry::Json(_, _, Labels { name: Some(_), .. }) => Parsed::HEARTBEAT,
        Entry::Json(json, source, _) => Parsed::read(json, source),
        Entry::TooLong(size) => Parsed::too_long(size),
    }
}
