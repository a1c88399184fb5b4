//! The routing table: what a request is judged by, built anew for each consistent state.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use reflet_core::Revision;

use super::limiter::Bucket;
use super::objects::{ApiKey, RateLimit, Route};
use super::path::{is_dots, segments};

/// The objects of one collection, by name.
pub(crate) type Objects<T> = BTreeMap<Arc<str>, Arc<T>>;

/// One state of the whole configuration. Never changes: requests that began with it end with it.
#[derive(Default)]
pub(crate) struct Table {
    root: Node,
    keys: HashMap<Box<str>, KeyState>,
    limits: BTreeMap<Arc<str>, Limit>,
    /// What it was built from, in the order of [`Table::build`]'s arguments.
    pub(crate) sources: [Built; 3],
}

/// The state of a collection that a table was built from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Built {
    /// Its revision.
    pub(crate) revision: Option<Revision>,
    /// How many rewinds the informer had accepted before.
    pub(crate) epoch: u64,
    /// How many objects it had.
    pub(crate) objects: usize,
}

/// The routes below one path.
#[derive(Default)]
struct Node {
    target: Option<Target>,
    below: HashMap<Box<[u8]>, Node>,
}

/// A route, and what guards it.
pub(crate) struct Target {
    /// The route.
    pub(crate) route: Arc<Route>,
    /// The buckets of all its limits.
    pub(crate) buckets: Vec<Arc<Bucket>>,
}

/// A route for a path.
pub(crate) struct Match<'a> {
    /// The route.
    pub(crate) target: &'a Target,
    /// Where the route's prefix ends in the path.
    pub(crate) prefix_end: usize,
}

/// What is known of a key that callers send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// It is good.
    Good {
        /// Whose it is.
        owner: Box<str>,
    },
    /// It was good once.
    Revoked,
}

/// A limit in force. Its bucket outlives the table for as long as the limit stays as it is.
struct Limit {
    limit: Arc<RateLimit>,
    bucket: Arc<Bucket>,
}

/// A path with `.` or `..` in it, which no route may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DotSegment;

impl fmt::Display for DotSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the path has a dot segment")
    }
}

impl std::error::Error for DotSegment {}

/// The three collections, each at one consistent state.
pub(crate) struct Collections<'a> {
    /// Where requests go.
    pub(crate) routes: (&'a Objects<Route>, Built),
    /// How many of them may.
    pub(crate) limits: (&'a Objects<RateLimit>, Built),
    /// Who may send them.
    pub(crate) keys: (&'a Objects<ApiKey>, Built),
}

impl Table {
    /// The table of these collections. Limits that are the same in `before` go on as they are;
    /// new and changed ones begin with their full burst. Of routes with the same prefix the one
    /// with the smallest name is taken.
    pub(crate) fn build(from: Collections<'_>, before: &Self, now: Instant) -> Self {
        let (routes, limits, keys) = (from.routes.0, from.limits.0, from.keys.0);
        let mut table = Self {
            sources: [from.routes.1, from.limits.1, from.keys.1],
            ..Self::default()
        };
        let mut buckets: HashMap<&str, Vec<Arc<Bucket>>> = HashMap::new();
        for (name, limit) in limits {
            let kept = before.limits.get(name).filter(|kept| kept.limit == *limit);
            let bucket = kept.map_or_else(
                || Arc::new(Bucket::new(limit, now)),
                |kept| Arc::clone(&kept.bucket),
            );
            buckets
                .entry(&limit.route)
                .or_default()
                .push(Arc::clone(&bucket));
            let limit = Arc::clone(limit);
            table
                .limits
                .insert(Arc::clone(name), Limit { limit, bucket });
        }
        for (name, route) in routes {
            let target = Target {
                route: Arc::clone(route),
                buckets: buckets.remove(&**name).unwrap_or_default(),
            };
            table.add_route(target);
        }
        for key in keys.values() {
            table.add_key(key);
        }
        table
    }

    fn add_route(&mut self, target: Target) {
        let mut node = &mut self.root;
        for segment in target.route.path_prefix.segments() {
            node = node.below.entry(segment.clone()).or_default();
        }
        node.target.get_or_insert(target);
    }

    fn add_key(&mut self, key: &ApiKey) {
        let state = if key.revoked {
            KeyState::Revoked
        } else {
            let owner = key.owner.as_str().into();
            KeyState::Good { owner }
        };
        let known = self
            .keys
            .entry(key.key.reveal().into())
            .or_insert_with(|| state.clone());
        if key.revoked {
            *known = state;
        }
    }

    /// The route with the longest prefix of this path.
    ///
    /// # Errors
    /// No route may take such a path.
    pub(crate) fn route(&self, path: &str) -> Result<Option<Match<'_>>, DotSegment> {
        let mut node = Some(&self.root);
        // `*` and an empty path are below nothing, not even below the route for `/`.
        let mut best = if path.starts_with('/') {
            self.root.found(0)
        } else {
            None
        };
        for segment in segments(path) {
            if is_dots(&segment) {
                return Err(DotSegment);
            }
            node = node.and_then(|node| node.below.get(&*segment.text));
            best = node.and_then(|node| node.found(segment.end)).or(best);
        }
        Ok(best)
    }

    /// What is known of a key; `None`: nothing.
    pub(crate) fn key(&self, key: &str) -> Option<&KeyState> {
        self.keys.get(key)
    }
}

impl Node {
    fn found(&self, prefix_end: usize) -> Option<Match<'_>> {
        let target = self.target.as_ref()?;
        Some(Match { target, prefix_end })
    }
}

/// The table in force; none before the first complete configuration.
#[derive(Default)]
pub(crate) struct InForce {
    table: RwLock<Option<Arc<Table>>>,
}

impl InForce {
    /// The table in force.
    pub(crate) fn load(&self) -> Option<Arc<Table>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.clone()
    }

    /// Puts a table in force: requests that come after this call are judged by it.
    pub(crate) fn swap(&self, table: Arc<Table>) {
        let mut slot = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let before = slot.replace(table);
        drop(slot);
        // The old one is freed here, where no request waits for it.
        drop(before);
    }
}
