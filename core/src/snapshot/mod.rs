//! Warm starts: what the cache held at one complete revision, to begin with after a restart.
//!
//! [`Informer::snapshot`] gives an owned picture of the cache, at the price of a clone of each key
//! and value (mostly counts in an `Arc`). It is turned into bytes by an [`Encoder`], piece by
//! piece, wherever that disturbs nobody; nothing is held twice. A [`Decoder`] turns bytes back into
//! a [`Snapshot`], and [`Informer::restore`] starts an informer from it: readers and subscribers
//! are served at once, everything they see is marked as restored, and what the source then says is
//! told as differences only (P13).
//!
//! **Format**, schema 1. Numbers are little-endian.
//!
//! ```text
//! magic     8 bytes   0x89 "REFLET" 0x0a
//! schema    u32
//! piece     length u32, checksum u32, then so many bytes; the first is the header, each further
//! …                   one a row of records, all in postcard
//! piece     length 0: the end
//! ```
//!
//! Each checksum is the CRC-32 of everything before it but the checksums, its own piece included:
//! so a piece that is damaged, missing, doubled or out of place is found before it is decoded. A
//! CRC finds every flipped bit and every burst of up to 32, costs little, and `crc32fast` has no
//! dependencies to speak of. It guards against accidents, not against forgery: a file that others
//! may write is as dangerous as any bytes handed to the value's `Deserialize`.
//!
//! **Hostile input** (P12). A length is checked against the [`Limits`] and against
//! what has really come before anything is allocated for it. A snapshot that is over a limit, of
//! another source, or not understood is refused as a whole with a [`SnapshotError`].
//!
//! Values are not self-describing: a snapshot written for another type may well decode to nonsense.
//! So the *identity* that both ends name should say what the objects are and in which version of
//! their type, besides the source, the collection and the selector.
//!
//! [`Informer::snapshot`]: crate::Informer::snapshot
//! [`Informer::restore`]: crate::Informer::restore

use alloc::vec::Vec;
use core::fmt;

use crate::config::{Config, Limits};
use crate::key::Key;
use crate::output::Rejection;
use crate::reflector::check_revision;
use crate::token::{Epoch, Incarnation, Revision, Version};

mod decode;
mod encode;
mod error;
mod format;

pub use decode::Decoder;
pub use encode::Encoder;
pub use error::{SnapshotError, SnapshotLimit};
pub use format::SCHEMA;

/// What an informer's cache held at one complete revision.
#[derive(Clone)]
pub struct Snapshot<K, V> {
    pub(crate) epoch: Option<Epoch>,
    pub(crate) revision: Option<Revision>,
    /// How many rewinds there were before.
    pub(crate) rewinds: u64,
    /// In the order of their last changes.
    pub(crate) objects: Vec<Object<K, V>>,
    /// Objects whose newest version was rejected: what is here of them is older.
    pub(crate) quarantined: Vec<(K, Rejection)>,
    /// How many more of these there were than could be named.
    pub(crate) unnamed: usize,
}

#[derive(Clone)]
pub(crate) struct Object<K, V> {
    pub(crate) key: K,
    pub(crate) version: Version,
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) size: usize,
    pub(crate) value: V,
}

impl<K, V> Snapshot<K, V> {
    /// The revision that it shows all of, where the source has revisions.
    #[must_use]
    pub fn revision(&self) -> Option<&Revision> {
        self.revision.as_ref()
    }

    /// The epoch that the revision belongs to, where the source has epochs.
    #[must_use]
    pub fn epoch(&self) -> Option<&Epoch> {
        self.epoch.as_ref()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are no objects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// All objects with their versions, in the order of their last changes, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Version, &V)> {
        let objects = self.objects.iter();
        objects.map(|object| (&object.key, &object.version, &object.value))
    }
}

impl<K, V> Snapshot<K, V> {
    /// The same with other values: to have them encoded in another way than by their `Serialize`.
    pub fn map<W>(self, mut convert: impl FnMut(V) -> W) -> Snapshot<K, W> {
        let objects = self.objects.into_iter().map(|object| Object {
            key: object.key,
            version: object.version,
            incarnation: object.incarnation,
            size: object.size,
            value: convert(object.value),
        });
        Snapshot {
            epoch: self.epoch,
            revision: self.revision,
            rewinds: self.rewinds,
            objects: objects.collect(),
            quarantined: self.quarantined,
            unnamed: self.unnamed,
        }
    }
}

impl<K: Key, V> Snapshot<K, V> {
    /// Whether an informer of this configuration may hold it.
    pub(crate) fn check(&self, config: &Config) -> Result<(), SnapshotError> {
        let limits = &config.limits;
        check_tokens(self.epoch.as_ref(), self.revision.as_ref(), limits)?;
        let (revision, order) = (self.revision.as_ref(), config.source.order);
        check_revision(revision, order, limits.token_bytes)
            .map_err(|what| SnapshotError::Unsuited { what })?;
        let mut tally = Tally::default();
        self.objects
            .iter()
            .try_for_each(|object| tally.admit(object, limits))
    }
}

/// Checks what the header says against the limits.
fn check_tokens(
    epoch: Option<&Epoch>,
    revision: Option<&Revision>,
    limits: &Limits,
) -> Result<(), SnapshotError> {
    let epoch = epoch.map_or(0, |epoch| epoch.as_str().len());
    let revision = revision.map_or(0, Revision::text_bytes);
    over(
        epoch.max(revision) > limits.token_bytes,
        SnapshotLimit::Token,
    )
}

/// What has been taken of a snapshot so far.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    objects: usize,
    bytes: usize,
}

impl Tally {
    fn admit<K: Key, V>(
        &mut self,
        object: &Object<K, V>,
        limits: &Limits,
    ) -> Result<(), SnapshotError> {
        let key = K::bytes(object.key.borrow()).len();
        let version = object.version.as_ref().text_bytes();
        self.objects = self.objects.saturating_add(1);
        self.bytes = self.bytes.saturating_add(object.size).saturating_add(key);
        over(key > limits.key_bytes, SnapshotLimit::Key)?;
        over(version > limits.token_bytes, SnapshotLimit::Token)?;
        over(self.objects > limits.objects, SnapshotLimit::Objects)?;
        over(self.bytes > limits.bytes, SnapshotLimit::Bytes)
    }
}

fn over(exceeded: bool, limit: SnapshotLimit) -> Result<(), SnapshotError> {
    if exceeded {
        return Err(SnapshotError::OverLimit { limit });
    }
    Ok(())
}

impl<K, V> fmt::Debug for Snapshot<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("epoch", &self.epoch)
            .field("revision", &self.revision)
            .field("objects", &self.objects.len())
            .field("quarantined", &self.quarantined.len())
            .finish_non_exhaustive()
    }
}
