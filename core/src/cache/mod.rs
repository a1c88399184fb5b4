//! The cache, and its one compacted change log.
//!
//! **One order.** Every change of a key takes the next *sequence number*. A key's current version,
//! a live value or a tombstone, is its *entry*; all entries are linked in the order of their last
//! changes, and a change moves its entry to the tail. There is no queue per subscriber (but
//! for lossless ones): a subscriber is a position in that order.
//!
//! **Pins.** A subscriber that has been handed everything up to `p` holds a *pin* at `p`; all that
//! rest at the same position share one, so ten thousand subscribers at the tail cost a write what
//! one does (P10). A version in force from `seq` until `until` is *covered* by the pin if
//! `seq <= p < until`: that is what the pin's holders last saw. A superseded version lives exactly
//! as long as some pin covers it, and is charged to the oldest such pin, so the slowest subscriber
//! pays. When a pin goes, what it owned is given to the next pin that covers it or is freed, a few
//! steps with each later call. A tombstone lives exactly as long as an older version of its key
//! does: nobody else needs to be told that the key has gone.
//!
//! **Passes.** A subscriber that has news walks a *pass* from its base to the tail of that moment,
//! and pins both ends. It visits the nodes between them in order, and says something at the version
//! that is in force at the *end*: the step from the version in force at the *base*, found in the
//! key's chain of superseded versions, to this one (P4). It can stop anywhere, and writes may come
//! in between: an entry that moves away while a pass may still be coming leaves the superseded
//! version at its old place, and a tombstone that a new object takes the place of leaves a mark
//! there for as long as the pass is under way. So what is handed out is the state at one published point, however
//! slowly it is polled; a key that changes all the time cannot hold a pass up; and the mark at the
//! end says of exactly that state which revision it is (P9). At the end of the pass its end becomes
//! the next base.
//!
//! **Re-walks.** A pass for another filter, or for a *redelivery*, begins before the first node
//! instead of at its base. What did not change since the base it compares under the two filters, or
//! hands out once more as what it is.
//!
//! **Journals.** A lossless subscriber is told of every write, from a bounded queue of its own. See
//! `journal.rs`.
//!
//! **Waiting for memory** is most of what a change takes in a large cache. So an entry is small, and
//! split by who looks at it (`entries.rs`); marks are bits beside the entries (`marking.rs`); and a
//! driver that knows several keys ahead can have them waited for together
//! ([`Informer::look_ahead`](crate::Informer::look_ahead)).
//!
//! **The follower.** A driver's own copy needs no pin: what changed last is at the log's end. See
//! `changes.rs`.
//!
//! **Limits.** A pin that is charged with more than the limit lapses: its holders are told to
//! forget everything and start again from nothing, and nobody else notices (P8, P10). A subscriber
//! in the middle of a pass holds two positions, each within the limit. One poll looks at a bounded
//! number of nodes, and then yields with its place kept (P12).
//!
//! **Indexes** ([`crate::index`]) are of what is live, and know objects by the ids of their entries.
//! Whatever writes a live value or takes one away tells them in the same step.

use alloc::collections::BTreeSet;
use core::fmt;
use core::hash::BuildHasher;

use crate::digest::Digest;
use crate::hash::SeededState;
use crate::index::Indexes;
use crate::key::Key;
use crate::table::Table;
use crate::token::{Incarnation, Revision, VersionRef};

mod chain;
mod changes;
#[cfg(any(test, feature = "simulated"))]
mod check;
mod delta;
mod entries;
#[cfg(feature = "simulated")]
mod fingerprint;
mod journal;
mod log;
mod lookup;
mod marking;
#[cfg(all(test, not(feature = "simulated")))]
mod model;
#[cfg(feature = "simulated")]
pub mod model;
#[cfg(test)]
mod model_tests;
mod nodes;
mod partition;
mod pins;
mod poll;
mod subscribers;
mod subscription;
#[cfg(test)]
mod tests;
mod visit;
mod write;

pub use changes::{Drained, SlotChange};
pub use delta::{Delta, DeltaRef, GapReason, Mark, Polled, Reached};
pub use lookup::Found;
pub use partition::Partition;
pub use subscribers::{Filter, SubscriberId};
pub use subscription::Subscription;
pub(crate) use write::Upsert;
#[cfg(any(test, feature = "simulated", feature = "snapshot"))]
pub(crate) use write::Upserted;

use changes::Follower;
use log::Log;
use marking::Marks;
use nodes::Node;
use subscribers::Subscribers;

/// How many versions each write and each poll settle of those that nobody pays for any more. More
/// than a write can leave behind, so that they never pile up.
const STEPS_PER_CALL: usize = 4;

/// How many keys are looked up before what was found is looked at.
const LOOK_AHEAD: usize = 32;

/// A local copy of a collection, together with what its subscribers still have to be told.
///
/// Deterministic: the same calls in the same order give the same answers, in the same order, on
/// any target (P11).
#[derive(Clone)]
pub struct Cache<K: Key, V, S = SeededState> {
    hasher: S,
    table: Table,
    log: Log<K, V>,
    subscribers: Subscribers<K, V>,
    indexes: Indexes<K, V>,
    /// Subscribers that were reset, and of which `take_lapsed` has not told yet.
    lapsed: BTreeSet<SubscriberId>,
    /// The slots of lossless subscribers.
    lossless: BTreeSet<u32>,
    /// A list is being brought in: what it hides is to be told with its first change, or in any
    /// case.
    hidden: Option<bool>,
    live: usize,
    /// Of live objects: keys and sizes. Wide enough for any sum of sizes.
    bytes: u128,
    digest: Option<Digest>,
    /// Which live entries the running or last list has marked.
    marks: Marks,
    epoch: u64,
    /// What is here comes from a snapshot, and the source has not confirmed it yet.
    restored: bool,
    published: Option<Publication>,
    follower: Option<Follower>,
}

/// A point at which the cache was one state of the source.
#[derive(Clone)]
struct Publication {
    /// The tail at that time.
    seq: u64,
    /// Differs from that of the publication before if anything of it differs.
    number: u64,
    revision: Option<Revision>,
    complete: bool,
    restored: bool,
    epoch: u64,
}

/// Where a key is, if anything is known of it.
#[derive(Clone, Copy)]
pub(crate) struct Place(Option<u32>);

/// A live object, borrowed from the cache.
#[derive(Debug)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub struct Entry<'a, K, V> {
    /// Its key.
    pub key: &'a K,
    /// Its value.
    pub value: &'a V,
    /// The version that its source stamped on it.
    pub version: VersionRef<'a>,
    /// Its incarnation, where the source told.
    pub incarnation: Option<Incarnation>,
    /// Its size on the wire, in bytes.
    pub size: usize,
}

impl<K, V> Clone for Entry<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Entry<'_, K, V> {}

impl<K: Key, V, S> Cache<K, V, S> {
    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether there are no objects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The bytes of all objects: keys, and sizes on the wire.
    #[must_use]
    pub fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    /// All objects, in the order of their last changes, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_, K, V>> {
        let nodes = &self.log.nodes;
        nodes.walk().filter_map(|node| match node {
            Node::Entry(id) => nodes.entries.live(id),
            Node::Old(_) | Node::Gap(_) | Node::End => None,
        })
    }

    /// The revision that the cache was last published at, where the source has revisions.
    #[must_use]
    pub fn revision(&self) -> Option<&Revision> {
        self.published.as_ref()?.revision.as_ref()
    }

    /// Whether the cache was last published with all of its revision.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.published
            .as_ref()
            .is_some_and(|publication| publication.complete)
    }

    /// Whether what was last published comes from a snapshot, and the source has not confirmed it yet
    /// (P13).
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.published
            .as_ref()
            .is_some_and(|publication| publication.restored)
    }

    /// Whether the cache was ever published: before that, nobody is told anything (P9).
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.published.is_some()
    }

    /// How many times history was rewound. Revisions are only comparable within an epoch.
    #[must_use]
    pub fn local_epoch(&self) -> u64 {
        self.epoch
    }

    /// A number that grows with each change of an object that a subscriber would be told of, within
    /// this run.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.log.tail
    }

    /// The digest of all objects, where one is kept.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The bytes of everything that is kept only for subscribers: superseded values at their sizes
    /// on the wire, tombstones with their keys, and a constant for each.
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        let journals = self.lossless.iter().filter_map(|slot| {
            let journal = self.subscribers.in_slot(*slot)?.journal.as_ref()?;
            Some(u128::from(journal.bytes))
        });
        usize::try_from(self.log.retained + journals.sum::<u128>()).unwrap_or(usize::MAX)
    }
}

impl<K: Key, V, S: BuildHasher> Cache<K, V, S> {
    /// The value of a live object.
    #[must_use]
    pub fn get(&self, key: &K::Borrowed) -> Option<&V> {
        self.entry(key).map(|entry| entry.value)
    }

    /// A live object, with what its source said of it.
    #[must_use]
    pub fn entry(&self, key: &K::Borrowed) -> Option<Entry<'_, K, V>> {
        self.entry_at(self.place(key))
    }

    /// Where a key is, for calls that follow at once: any change of the cache makes it worthless.
    pub(crate) fn place(&self, key: &K::Borrowed) -> Place {
        Place(self.find(key))
    }

    /// The live object at a place.
    pub(crate) fn entry_at(&self, Place(id): Place) -> Option<Entry<'_, K, V>> {
        self.log.nodes.entries.live(id?)
    }

    /// Whether there is a live object with this key.
    #[must_use]
    pub fn contains(&self, key: &K::Borrowed) -> bool {
        self.find_live(key).is_some()
    }

    /// Looks at what changes of these keys will look at. A search and a change wait for memory half
    /// a dozen times, each time for what the last wait brought; the searches for many keys do not
    /// wait for each other. Changes nothing. `value` looks at a value as dropping it does.
    pub(crate) fn look_ahead<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k K::Borrowed>,
        value: impl Fn(&V) -> usize,
    ) where
        K::Borrowed: 'k,
    {
        let nodes = &self.log.nodes;
        let mut hashes = keys.into_iter().map(|key| self.hasher.hash_one(key));
        let mut touched = 0;
        loop {
            let mut ids = [None; LOOK_AHEAD];
            let mut begun = false;
            for (id, hash) in ids.iter_mut().zip(&mut hashes) {
                *id = self.table.candidate(hash);
                begun = true;
            }
            if !begun {
                break;
            }
            for id in ids.into_iter().flatten() {
                touched ^= nodes.touch(id, &value);
            }
        }
        core::hint::black_box(touched);
    }

    /// The entry of a key, live or not.
    fn find(&self, key: &K::Borrowed) -> Option<u32> {
        let entries = &self.log.nodes.entries;
        let is_it = |id: u32| entries.key(id).is_some_and(|other| other.borrow() == key);
        self.table.find(self.hasher.hash_one(key), is_it)
    }

    fn find_live(&self, key: &K::Borrowed) -> Option<u32> {
        self.find(key)
            .filter(|id| self.log.nodes.entries.is_live(*id))
    }
}

impl<K: Key, V, S> fmt::Debug for Cache<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("len", &self.live)
            .field("revision", &self.revision())
            .field("complete", &self.is_complete())
            .field("epoch", &self.epoch)
            .field("retained_bytes", &self.retained_bytes())
            .finish_non_exhaustive()
    }
}
