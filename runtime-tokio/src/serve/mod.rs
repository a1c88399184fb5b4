//! The server side of the Reflet protocol: publish a collection, and let informers follow it.
//!
//! A [`Collection`] holds objects (a key and a JSON value) and numbers every transaction with a
//! revision. [`Publish`] turns collections into an [`axum::Router`] that lists them page by page
//! at one revision and streams every later transaction, as JSON lines, server-sent events or the
//! messages of a WebSocket, or by long polling. What goes over the wire is written down in
//! `PROTOCOL.md` beside this crate's manifest, for whoever writes the other end in another language.
//!
//! ```
//! use reflet_tokio::serve::{Collection, CollectionOptions, Precondition, Publish, to_raw_value};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let routes = Collection::new("routes", CollectionOptions::default())?;
//! let written = routes.put("hello", to_raw_value("world")?, Precondition::Absent)?;
//! assert_eq!(written.version, 1);
//!
//! // Anybody may list and watch; `writable(true)` would also let them write, and `access` says who.
//! let router: axum::Router = Publish::new().collection(&routes).router();
//! # drop(router);
//! # Ok(())
//! # }
//! ```
//!
//! A watcher that is slower than the history is told so (410) and ended. One that does not read at
//! all cannot be told: it costs one portion of the history and its place among the watchers until
//! its connection ends. The server around it should therefore cut off connections whose writes
//! make no progress for a while.
//!
//! So are clients that are slow to send a request's head: how long a body may take is decided here
//! ([`CollectionOptions::body_timeout`]), the rest is the server's. hyper's HTTP/1 connections cut
//! them off after 30 s where they have a timer (`http1::Builder::timer`), and never without one.
//!
//! This module never spawns a thread, never opens a socket and never reads a clock other than
//! tokio's: the server around it decides all that. It spawns a task for each WebSocket, by
//! `tokio::spawn`, since nobody else drives a connection after its upgrade; the task ends with the
//! connection, the collection's [`close`](Collection::close), or the client's close. The server
//! around it has to serve its connections with upgrades (as `axum::serve` does; with hyper,
//! `with_upgrades`), or WebSockets end as soon as they are open. From which pages browsers may open
//! one is for a layer before the router to decide, by the request's `Origin`: nothing here looks at
//! it, and browsers send no tokens of their own accord.

mod access;
mod body;
mod collection;
mod digest;
mod error;
mod export;
mod framing;
mod history;
mod json;
mod object;
mod options;
mod page;
mod query;
mod reply;
mod router;
mod state;
mod watch;
mod websocket;
mod write;

pub use access::{Access, AccessError, ClientId, Rights};
pub use collection::{Collection, Committed, Written};
pub use digest::object_digest;
pub use error::{JournalError, KeyProblem, OpenError, RestoreError, WriteError};
pub use export::{Commit, CommitKind, Continuity, EXPORT_FORMAT, Export, Journal};
pub use object::{Change, Object, Precondition, Step};
pub use options::CollectionOptions;
pub use router::Publish;
pub use serde_json::value::{RawValue, to_raw_value};
