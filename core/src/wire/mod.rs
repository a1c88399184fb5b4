//! Reflet's own protocol over HTTP/1.1, from the client's side, without I/O: for gateways that have an
//! event loop of their own.
//!
//! An [`Exchange`] is one request and its answer: it says what to write to a connection, takes what
//! comes from it, in whatever pieces, and tells the informer what that means. Sockets, TLS, name
//! resolution and waiting are the caller's.
//!
//! ```
//! use std::sync::Arc;
//! use reflet_core::wire::{Endpoint, Exchange, Next, json};
//! use reflet_core::{Informer, Timestamp};
//!
//! let endpoint = Endpoint::new("10.0.0.7:8080", "routes")?;
//! let now = Timestamp::ZERO;
//! // Values are JSON, and kept as that.
//! let mut routes: Informer<Arc<str>, Arc<str>> = Informer::new(endpoint.config(), 42, now);
//!
//! // What the engine wants becomes a request …
//! let command = routes.poll_command().ok_or("no command")?;
//! let mut exchange = Exchange::new(&endpoint, &command).ok_or("not a request")?;
//! assert!(exchange.request().starts_with(b"GET /v1/routes?limit=500 HTTP/1.1\r\n"));
//! // … and what the connection brings becomes the informer's state.
//! let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 81\r\n\r\n\
//!     {\"revision\":\"7\",\"items\":[{\"key\":\"a\",\"version\":\"5\",\"uid\":\"5\",\"value\":\"10.0.0.1\"}]}";
//! let next = exchange.read(&mut routes, now, answer, &json);
//! assert_eq!(next, Next::Done { keep: true });
//! assert_eq!(routes.cache().get("a").map(|value| &**value), Some("\"10.0.0.1\""));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod date;
mod endpoint;
mod envelope;
mod events;
mod exchange;
mod lines;
mod page;
mod path;
mod refusal;
mod secrets;
mod stream;
mod text;

pub use endpoint::{Endpoint, EndpointError, WireLimits};
pub use exchange::{Exchange, Next};
pub use text::json;

/// What drivers that have HTTP of their own share with this one. Not covered by semantic versioning.
#[doc(hidden)]
pub mod parts {
    pub use super::endpoint::profile;
    pub use super::envelope::payload;
    pub use super::events::{Events, Parsed};
    pub use super::lines::{Endless, GIVE_UP_FACTOR, Lines, Part, split};
    pub use super::page::{Page, PageItem, same_epoch, stamped};
    pub use super::path::{Path, encode};
    pub use super::refusal::{Asked, Words, malformed, refused, retryable};
    pub use super::secrets::{hide_all, secrets_of};
    pub use super::text::{Elements, Lossy, Text, clip, in_words, shown, without_quotes};
}
