#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::alloc_instead_of_core, missing_debug_implementations)]
//! An informer keeps a local, always-current, queryable copy of a remote collection: it lists
//! once, watches for changes, updates a cache, and tells subscribers exactly how to get from what
//! they knew to what is true. This crate is its engine, as a state machine without I/O: it owns no
//! socket, clock, thread or entropy, and needs nothing but `alloc`.
//!
//! ```text
//!        a source (Kubernetes, etcd, Consul, a REST service, …)
//!            ▲ list / watch / cancel      │ pages, events, progress, failures
//!  driver    │ poll_command()             ▼ handle(now, attempt, input)
//!  ──────────┼────────────────────────────┼───────────────────────────────
//!  engine    │      reflector: which list or watch to run, when to give up, back off
//!            │          │ accepted changes, in atomic batches
//!            │      cache: live objects and one compacted change log
//!            │          │ each subscriber reads the log at its own pace
//!            ▼          ▼
//!     poll_timeout()  poll_delta(subscriber): added, updated, deleted, caught up
//! ```
//!
//! The driver hands in what happened with [`Informer::handle`] and the time with
//! [`Informer::handle_timeout`], and drains [`Informer::poll_command`],
//! [`Informer::poll_notice`], [`Informer::poll_timeout`] and [`Informer::poll_delta`], in any
//! order. A whole life of an informer, with the driver's part played by hand:
//!
//! ```
//! use std::sync::Arc;
//! use reflet_core::cache::{Delta, Polled};
//! use reflet_core::{Body, Command, Config, Informer, Input, Item, Timestamp};
//!
//! let now = Timestamp::ZERO;
//! let mut informer: Informer<Arc<str>, Arc<String>> = Informer::new(Config::default(), 42, now);
//! let subscriber = informer.subscribe(None);
//!
//! // It wants a list …
//! let Some(Command::List { attempt, .. }) = informer.poll_command() else { unreachable!() };
//! // … the source answers with one page at revision 7 …
//! informer.handle(now, attempt, Input::Page { epoch: None, revision: Some(7.into()) });
//! let body = Body::Value(Arc::new("127.0.0.1:9000".to_owned()));
//! let item = Item { key: "hello", version: 5.into(), incarnation: None, size: 40, body };
//! informer.handle(now, attempt, Input::Item(item));
//! informer.handle(now, attempt, Input::PageEnd { next: None });
//!
//! // … which is now in the cache, and the subscriber is told.
//! assert_eq!(informer.cache().get("hello").map(|value| value.as_str()), Some("127.0.0.1:9000"));
//! assert!(matches!(informer.poll_delta(subscriber), Polled::Delta(Delta::Added { .. })));
//! assert!(matches!(informer.poll_delta(subscriber), Polled::Delta(Delta::Mark(mark)) if mark.complete));
//! assert_eq!(informer.poll_delta(subscriber), Polled::Idle);
//!
//! // Next it wants to watch what comes after revision 7.
//! assert!(matches!(informer.poll_command(), Some(Command::Watch { .. })));
//! ```
//!
//! Where to go from here: the [`guide`] has the concepts, the life of an event, how to write a driver
//! and a source, and what is promised and how that is checked. Details are in the module docs, above
//! all those of [`cache`] and [`Informer`].

extern crate alloc;

pub mod cache;
mod config;
mod digest;
mod fence;
#[cfg(feature = "simulated")]
mod fingerprint;
pub mod frame;
pub mod guide;
mod hash;
pub mod index;
mod indexing;
mod informer;
mod input;
mod key;
mod output;
#[cfg(feature = "simulated")]
pub mod probe;
#[cfg(not(feature = "simulated"))]
mod probe;
mod reflector;
mod slab;
#[cfg(feature = "snapshot")]
pub mod snapshot;
mod table;
mod time;
mod token;
#[cfg(feature = "wire")]
pub mod wire;
mod words;

pub use config::{
    Class, Config, Feed, Limits, OnNewEpoch, OnRewind, Policy, RevisionOrder, SourceProfile, Timing,
};
pub use digest::Digest;
pub use fence::{Fence, FenceError};
pub use hash::{SeededHasher, SeededState};
pub use informer::{Informer, Verify};
pub use input::{Attempt, Body, Change, Event, Failure, FailureClass, Input, Item, Removal};
pub use key::Key;
pub use output::{
    BadInput, Command, Condition, Deadline, Health, LimitKind, ListReason, Notice, Rejection,
    State, SubscriberHealth, TimerReason, WatchFrom,
};
pub use time::Timestamp;
pub use token::{Epoch, Incarnation, Revision, Version, VersionRef};
