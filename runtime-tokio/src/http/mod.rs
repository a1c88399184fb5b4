//! The HTTP source: lists and watches a collection that a server publishes by Reflet's own
//! protocol.
//!
//! A list is fetched page by page; a watch is a stream of JSON lines, of server-sent events or of the
//! messages of a WebSocket, or a series of long polls.
//! Only the envelope of an object is parsed here; its payload is decoded when the cache does not
//! hold that version yet. One bad object never costs the others.
//!
//! Nothing is spawned and no thread is used: dropping an attempt's future closes its socket, and
//! all of it runs over any byte stream that a [`Connect`] opens. Redirects are followed within the
//! same origin only, and certificates are always checked.
//!
//! ```
//! use reflet_tokio::http::{HttpSource, Transport};
//! # #[derive(serde::Deserialize)] struct Route { backend: String }
//!
//! let source = HttpSource::<Route>::builder("http://10.0.0.7:8080", "routes")
//!     .transport(Transport::JsonLines)
//!     .build()?;
//! # let _ = source;
//! # Ok::<(), reflet_tokio::http::BuildError>(())
//! ```

mod builder;
mod connect;
mod failure;
mod gzip;
mod list;
mod pieces;
mod poll;
mod redirect;
mod request;
pub mod rest;
mod secrets;
mod sse;
mod tls;
mod transport;
mod watch;
mod websocket;

// They need real sockets and real time.
#[cfg(not(feature = "simulated"))]
#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use reflet_core::wire::parts::{in_words, profile};
use reflet_core::{Failure, FailureClass, SourceProfile, WatchFrom};
use serde::de::DeserializeOwned;

pub use self::builder::{BuildError, HttpLimits, HttpSourceBuilder, OwnProtocol};
pub use self::connect::{Connect, Target, TcpConnector};
pub use self::poll::PollTiming;
pub use ::http::{HeaderName, HeaderValue};

use self::request::Client;
use self::watch::Watch;
use crate::source::{ListRequest, Sink, Source, WatchRequest};

/// How a collection is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum Transport {
    /// One response that goes on for ever, a line per event.
    #[default]
    JsonLines,
    /// One response that goes on for ever, in the framing of browsers' `EventSource`: for networks
    /// and tools that know it. Where the server sends `retry:`, that is the least pause before the
    /// next attempt, also after a clean end.
    ServerSentEvents,
    /// A WebSocket with a message per event, for networks that buffer endless responses but let a
    /// socket through. What its close codes mean is written down in `PROTOCOL.md`. A message is held
    /// in memory whole, so one that is skipped as too long costs up to eight times
    /// [`line_bytes`](HttpLimits::line_bytes).
    WebSocket,
    /// Requests that the server holds back until something happens, for networks that do not let
    /// an endless response through.
    LongPoll(PollTiming),
}

/// A collection published over HTTP, whose objects are `T`s in JSON.
pub struct HttpSource<T> {
    client: Client,
    /// The collection's path.
    path: String,
    transport: Transport,
    limits: HttpLimits,
    heartbeat: Duration,
    fresh_lists: bool,
    value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + Send + Sync + 'static> HttpSource<T> {
    /// A source for `collection` below `url`, which is `http://host[:port][/prefix]` or
    /// `https://…`.
    #[must_use]
    pub fn builder(url: &str, collection: &str) -> HttpSourceBuilder<T> {
        HttpSourceBuilder::new(url, OwnProtocol::new(collection))
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Source for HttpSource<T> {
    type Value = Arc<T>;

    fn profile(&self) -> SourceProfile {
        let heartbeat = match self.transport {
            Transport::JsonLines | Transport::ServerSentEvents | Transport::WebSocket => {
                self.heartbeat
            }
            Transport::LongPoll(timing) => timing
                .wait
                .saturating_add(timing.idle_interval.max(timing.busy_interval)),
        };
        SourceProfile {
            fresh_lists: self.fresh_lists,
            ..profile(heartbeat)
        }
    }

    async fn list(
        &self,
        request: ListRequest,
        sink: &mut Sink<Self::Value>,
    ) -> Result<(), Failure> {
        let limit = self.limits.page_bytes;
        let decoder = &decode::<T>;
        let listed = list::page(&self.client, &self.path, &request, limit, decoder, sink).await;
        listed.map_err(|failure| self.client.discreet(failure))
    }

    async fn watch(
        &self,
        request: WatchRequest,
        sink: &mut Sink<Self::Value>,
    ) -> Result<(), Failure> {
        let WatchRequest { from, epoch } = request;
        let from = match from {
            WatchFrom::Revision(revision) => revision,
            WatchFrom::Initial { .. } | WatchFrom::Now => {
                return Err(Failure::new(
                    FailureClass::Unsupported,
                    "a watch of this protocol starts at a revision",
                ));
            }
        };
        let (client, path, epoch) = (&self.client, &self.path, epoch.as_ref());
        let decoder = &decode::<T>;
        let watch = Watch {
            client,
            path,
            from: &from,
            epoch,
            limit: self.limits.line_bytes,
            decoder,
        };
        let ended = match self.transport {
            Transport::JsonLines => watch.lines(sink).await,
            Transport::ServerSentEvents => watch.server_sent(sink).await,
            Transport::WebSocket => watch.socket(sink).await,
            Transport::LongPoll(timing) => {
                let limit = self.limits.page_bytes;
                let start = (&from, epoch);
                poll::follow(client, path, start, timing, limit, decoder, sink).await
            }
        };
        ended.map_err(|failure| client.discreet(failure))
    }
}

/// Decodes payloads of one type.
fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<Arc<T>, String> {
    match serde_json::from_slice(json) {
        Ok(value) => Ok(Arc::new(value)),
        Err(error) => Err(in_words(&error)),
    }
}

impl<T> fmt::Debug for HttpSource<T> {
    /// Header values that are marked sensitive are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSource")
            .field("target", &self.client.target)
            .field("path", &self.path)
            .field("transport", &self.transport)
            .field("headers", &self.client.headers)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
