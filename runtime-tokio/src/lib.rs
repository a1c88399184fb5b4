#![warn(missing_debug_implementations)]
//! A local copy of a remote collection that keeps itself true, on tokio.
//!
//! Somewhere there is a *source* of truth: a Kubernetes API server, etcd, Consul, your own HTTP
//! service. Many programs need all of one of its collections, at once and always: a gateway its
//! routes, a scheduler its nodes. An *informer* lists the collection, watches it from the list's
//! revision on, and keeps a *cache* equal to what the source held at one known revision. Whatever
//! happens to the connection, to the source's history or to its clocks, it finds its way back, and
//! until then it says what it is waiting for.
//!
//! Whoever uses the cache has four ways, as many times over as needed:
//!
//! - look things up: [`Informer::get`], [`Informer::with_cache`], from any thread;
//! - read without ever waiting, by [`Informer::reader`]: one object, or all of them as they were at
//!   one revision;
//! - follow the changes as a stream: [`Informer::subscribe`] gives [`Batch`]es, each one the step
//!   from one true state to the next;
//! - be called about the changes: [`Informer::handle`] with a [`Handler`], or
//!   [`Informer::workers`] with several that share the keys.
//!
//! Nobody who is slow, silent or panicking changes what the others get.
//!
//! All decisions are made by the engine of [`reflet_core`], which has neither sockets nor a clock.
//! This crate has the sockets and the clock: a *driver* task that does what the engine says, and
//! [`Source`]s, which speak the protocols. A source of your own takes some fifty lines; the
//! example `simple_source` shows one, and [`scripted`] is one for tests.
//!
//! ```
//! use reflet_tokio::reflet_core::SourceProfile;
//! use reflet_tokio::{Delta, Informer, Revision, scripted};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // In real life a source that speaks to a server. This one says what the example tells it.
//!     let (source, mut script) = scripted::source(SourceProfile::default());
//!     let informer = Informer::builder(source).name("routes").start();
//!     let mut routes = informer.subscribe();
//!
//!     // The source is asked for a list.
//!     let list = script.next_request().await.ok_or("no list")?;
//!     list.objects(41, [("/api", 12, "10.0.0.7:80")]);
//!     informer.synced().await?;
//!     assert_eq!(informer.get("/api"), Some("10.0.0.7:80"));
//!
//!     // A stream begins with the whole state.
//!     let batch = routes.next().await.ok_or("no state")?;
//!     assert!(batch.mark.initial);
//!     assert_eq!(batch.mark.revision, Some(Revision::from(41)));
//!
//!     // Then come the changes.
//!     let watch = script.next_request().await.ok_or("no watch")?;
//!     watch.opened().upsert("/api", 42, "10.0.0.8:80");
//!     let batch = routes.next().await.ok_or("no change")?;
//!     assert_eq!(
//!         batch.deltas,
//!         [Delta::Updated {
//!             key: "/api".into(),
//!             old: "10.0.0.7:80",
//!             new: "10.0.0.8:80",
//!         }]
//!     );
//!
//!     informer.shutdown().await;
//!     Ok(())
//! }
//! ```

mod attempt;
mod builder;
mod driver;
mod error;
mod handler;
#[cfg(feature = "http")]
pub mod http;
mod informer;
mod notice;
mod panic;
mod probe;
pub mod read;
pub mod scripted;
#[cfg(feature = "serve")]
pub mod serve;
mod shared;
#[cfg(feature = "snapshot")]
pub mod snapshot;
pub mod source;
mod subscribe;
mod sync;

pub use builder::Builder;
pub use error::NotSynced;
pub use handler::{Handler, HandlerTask};
pub use informer::Informer;
pub use notice::{Notice, Notices};
#[doc(inline)]
pub use read::{Published, Reader, View, WaitError};
pub use reflet_core;
// What a user needs daily beside the informer itself; the rest is a module further.
#[doc(inline)]
pub use reflet_core::Revision;
#[doc(inline)]
pub use reflet_core::cache::{Delta, Filter, GapReason, Mark, Partition, Subscription};
#[doc(inline)]
pub use reflet_core::index::{IndexBy, IndexId, KeyOrderId, Terms};
pub use shared::Status;
#[cfg(feature = "snapshot")]
#[doc(inline)]
pub use snapshot::{SnapshotEncoding, SnapshotFailure, SnapshotOptions, WarmStart};
#[doc(inline)]
pub use source::Source;
pub use subscribe::{Batch, Deltas, Ended};

/// The examples of the README compile.
#[cfg(all(doctest, feature = "http"))]
#[doc = include_str!("../../README.md")]
struct Readme;
