//! Indexes: objects found by what is in them, not only by their keys.
//!
//! An index is *by* a function that says under which *terms* an object is found: any number of byte
//! strings, none, the same one twice, ten thousand. [`Informer::add_index`](crate::Informer::add_index)
//! adds one at any time, and what the cache's lookups find by it ([`by_index`], [`count_by`],
//! [`by_both`]) is always exactly what a scan of the cache with that function would: each change of
//! an object and of all its terms is one step.
//!
//! ```
//! use std::sync::Arc;
//! use reflet_core::index::IndexBy;
//! use reflet_core::{Body, Command, Config, Informer, Input, Item, Timestamp};
//!
//! struct Pod { node: &'static str, labels: Vec<&'static str>, owner: &'static str }
//!
//! let now = Timestamp::ZERO;
//! let mut informer: Informer<Arc<str>, Arc<Pod>> = Informer::new(Config::default(), 42, now);
//! let node = informer.add_index(IndexBy::new("node", |_, pod: &Arc<Pod>, terms| terms.add(pod.node)));
//! let label = informer.add_index(IndexBy::new("label", |_, pod: &Arc<Pod>, terms| terms.extend(&pod.labels)));
//! let owner = informer.add_index(IndexBy::owners(|pod: &Arc<Pod>, owners| owners.add(pod.owner)));
//! let order = informer.add_key_order();
//!
//! // A list brings two pods …
//! let Some(Command::List { attempt, .. }) = informer.poll_command() else { unreachable!() };
//! informer.handle(now, attempt, Input::Page { epoch: None, revision: Some(7.into()) });
//! for (key, node, labels) in [("shop/web-1", "n1", vec!["blue"]), ("shop/web-0", "n1", vec!["blue", "old"])] {
//!     let body = Body::Value(Arc::new(Pod { node, labels, owner: "shop/web" }));
//!     informer.handle(now, attempt, Input::Item(Item { key, version: 5.into(), incarnation: None, size: 40, body }));
//! }
//! informer.handle(now, attempt, Input::PageEnd { next: None });
//!
//! // … and they are found by what is in them.
//! let cache = informer.cache();
//! assert_eq!(cache.count_by(node, "n1"), 2);
//! let found: Vec<_> = cache.by_both((node, "n1"), (label, "old")).map(|pod| &**pod.key).collect();
//! assert_eq!(found, ["shop/web-0"]);
//! assert_eq!(cache.dependents(owner, "shop/web").count(), 2);
//! let first = cache.prefix(order, b"shop/").next().map(|pod| &**pod.key);
//! assert_eq!(first, Some("shop/web-0"));
//! ```
//!
//! **Order.** What is found under a term comes in the order of the places that the objects have in
//! the cache: it depends on nothing but the calls so far, never on hashes (P11). A place is kept
//! through updates, and a new object may take that of one that has gone. Walks in the order of keys,
//! by prefix and by range cost something for each key, so they are there where they are asked for:
//! [`Informer::add_key_order`](crate::Informer::add_key_order).
//!
//! **Costs.** Without an index a write pays one comparison. With one, a write asks the function and
//! looks each term up; where an object's terms are the same as before, that is all, and nothing is
//! allocated. Taking an object in or out of a term takes at most logarithmic time, however many
//! share it. In memory, on 64 bits: 16 bytes for each object, and where it has more than three
//! terms 24 bytes and 4 for each of these besides; 4 to 11 bytes for each term of each object; about
//! 50 bytes and the term itself for each term in use, however many objects share it; 8 kilobytes for
//! an index as such. An order of keys takes about 35 bytes for each key. How many terms of an object
//! count is bounded by [`Limits::index_terms`](crate::Limits::index_terms); how long they are is up to
//! the function.
//!
//! **A function must not panic**, and must be pure. Without `std` a panic cannot be caught here, so
//! it passes through the call that it happened in. The functions are asked before anything is
//! changed: cache and indexes are as they were, agree with each other, and stay readable. But the
//! call was not finished, so an engine whose `handle` panicked must be thrown away. Where there is
//! `std`, wrap the function: a definition can be asked by another one ([`IndexBy::collect`]), within
//! `catch_unwind`.
//!
//! **On its own.** An [`Index`] and a [`KeyOrder`] know nothing of the cache. A replica for readers
//! keeps its own by the same definition, over its own ids.
//!
//! [`by_index`]: crate::cache::Cache::by_index
//! [`count_by`]: crate::cache::Cache::count_by
//! [`by_both`]: crate::cache::Cache::by_both

mod by;
mod found;
mod inverted;
mod order;
mod postings;
mod rows;
mod set;

pub use by::{IndexBy, Terms};
pub use found::{Both, Ids};
pub use inverted::Index;
pub use order::KeyOrder;
pub(crate) use set::Indexes;
pub use set::{IndexId, KeyOrderId};
