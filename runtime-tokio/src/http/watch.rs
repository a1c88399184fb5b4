//! A watch of the protocol that goes on for ever: JSON lines, server-sent events, or messages of a
//! WebSocket.

use http::{HeaderMap, HeaderValue};
use reflet_core::{Epoch, Failure, Revision};

use super::events::Events;
use super::path::Path;
use super::request::Client;
use super::transport::Asking;
use crate::source::{Decoder, Sink};

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
        let mut events = Events::new(self.decoder);
        self.asking(&path).lines(&mut events, sink).await
    }

    /// Follows the collection by server-sent events until the stream ends.
    pub(super) async fn server_sent(&self, sink: &mut Sink<V>) -> Result<(), Failure> {
        let path = self.target("sse");
        let mut events = Events::new(self.decoder);
        self.asking(&path).server_sent(&mut events, sink).await
    }

    /// Follows the collection by the messages of a WebSocket until it is closed.
    pub(super) async fn socket(&self, sink: &mut Sink<V>) -> Result<(), Failure> {
        let path = self.target("websocket");
        let mut events = Events::new(self.decoder);
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
