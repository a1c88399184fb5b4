//! What was taken out of the store.

use super::Head;
use super::lookups::Indexed;
use super::shard::Shard;

/// What was taken out, to be dropped when nothing is locked any more: users' destructors may take
/// their time.
pub(crate) struct Garbage<V> {
    pub(super) values: Vec<V>,
    pub(super) shards: Vec<Shard<V>>,
    pub(super) head: Head,
    pub(super) indexes: Vec<Indexed<V>>,
}

impl<V> Default for Garbage<V> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            shards: Vec::new(),
            head: Head::default(),
            indexes: Vec::new(),
        }
    }
}
