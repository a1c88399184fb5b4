//! What a collection may cost, and how it behaves in time.

use std::sync::Arc;
use std::time::Duration;

use super::export::Journal;

/// Limits and intervals of one collection, and its journal.
///
/// Every limit is enforced; what goes beyond one is refused with a typed error, or (history) is
/// forgotten, oldest first. Begin with the defaults, and set what differs:
///
/// ```
/// # use reflet_tokio::serve::CollectionOptions;
/// let mut options = CollectionOptions::default();
/// options.max_objects = 10_000;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CollectionOptions {
    /// Most objects the collection may hold. Default: 1,000,000.
    pub max_objects: usize,
    /// Most bytes of keys and values together, of the live objects. Default: 1 GiB.
    pub max_total_bytes: usize,
    /// Longest key, in bytes of UTF-8. Default: 512.
    pub max_key_bytes: usize,
    /// Longest value, in bytes of JSON; also the largest body of a `PUT`. Default: 1 MiB.
    pub max_value_bytes: usize,
    /// Deepest nesting of arrays and objects in a value. Many JSON parsers give up at 128, and a
    /// value arrives inside an envelope. Default: 100.
    pub max_value_depth: usize,
    /// Most changes in one transaction. Default: 10,000.
    pub max_changes: usize,
    /// Largest body of a `POST` with several changes, in bytes. Default: 8 MiB.
    pub max_transaction_bytes: usize,
    /// Longest time for a body to arrive whole. Default: 30 s.
    pub body_timeout: Duration,
    /// Most transactions kept to resume from. Default: 16,384.
    pub history_transactions: usize,
    /// Most bytes kept to resume from, as an estimate that counts the encoded lines and the
    /// replaced values; the newest transaction is always kept. Default: 64 MiB.
    pub history_bytes: usize,
    /// Items on a page, or events in the answer to a poll, when the client does not say.
    /// Default: 500.
    pub default_page_items: usize,
    /// Most items on a page whatever the client says, and most events in the answer to a poll
    /// (except that a transaction is never torn). Default: 10,000.
    pub max_page_items: usize,
    /// A page or the answer to a poll ends early once it holds this many bytes. Default: 4 MiB.
    pub max_page_bytes: usize,
    /// Most watches and waiting polls at a time. Default: 10,000.
    pub max_watchers: usize,
    /// A watcher takes transactions out of the shared history in chunks of about this many bytes
    /// (at least one transaction): all that is ever buffered for it. Default: 64 KiB.
    pub watcher_buffer_bytes: usize,
    /// A watch that has been quiet for so long sends an empty line. Default: 10 s.
    pub heartbeat_interval: Duration,
    /// A watch without changes for so long sends a bookmark. Default: 30 s.
    pub bookmark_interval: Duration,
    /// Longest wait of one poll, whatever the client says. Default: 60 s.
    pub max_poll_wait: Duration,
    /// Called before a transaction becomes visible. Default: none, and the collection is forgotten
    /// with the process.
    pub journal: Option<Arc<dyn Journal>>,
}

impl Default for CollectionOptions {
    fn default() -> Self {
        Self {
            max_objects: 1_000_000,
            max_total_bytes: 1 << 30,
            max_key_bytes: 512,
            max_value_bytes: 1 << 20,
            max_value_depth: 100,
            max_changes: 10_000,
            max_transaction_bytes: 8 << 20,
            body_timeout: Duration::from_secs(30),
            history_transactions: 16_384,
            history_bytes: 64 << 20,
            default_page_items: 500,
            max_page_items: 10_000,
            max_page_bytes: 4 << 20,
            max_watchers: 10_000,
            watcher_buffer_bytes: 64 << 10,
            heartbeat_interval: Duration::from_secs(10),
            bookmark_interval: Duration::from_secs(30),
            max_poll_wait: Duration::from_secs(60),
            journal: None,
        }
    }
}
