//! What waits to become visible as a whole: a list before its last page, a batch before its end.

use alloc::vec::Vec;

use crate::input::Removal;
use crate::key::Key;
use crate::output::Rejection;
use crate::token::{Incarnation, Version, VersionRef};

/// One change that is not visible yet.
#[derive(Clone, Debug)]
pub(crate) enum Staged<K, V> {
    Upsert(StagedUpsert<K, V>),
    Delete(StagedDelete<K, V>),
    /// The newest version is of no use.
    Rejected {
        key: K,
        version: Version,
        error: Rejection,
    },
}

impl<K, V> Staged<K, V> {
    pub(crate) fn key(&self) -> &K {
        match self {
            Self::Upsert(upsert) => &upsert.key,
            Self::Delete(delete) => &delete.key,
            Self::Rejected { key, .. } => key,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct StagedUpsert<K, V> {
    pub(crate) key: K,
    pub(crate) version: Version,
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) value: V,
    pub(crate) size: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct StagedDelete<K, V> {
    pub(crate) key: K,
    pub(crate) version: Option<Version>,
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) last: Option<V>,
}

impl<K, V> StagedDelete<K, V> {
    pub(crate) fn version(&self) -> Option<VersionRef<'_>> {
        self.version.as_ref().map(Version::as_ref)
    }
}

/// Changes in the order in which they came, and how many bytes they stand for (P8).
#[derive(Clone, Debug)]
pub(crate) struct Staging<K, V> {
    pub(crate) changes: Vec<Staged<K, V>>,
    pub(crate) bytes: usize,
}

impl<K: Key, V> Staging<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            changes: Vec::new(),
            bytes: 0,
        }
    }

    pub(crate) fn upsert(
        &mut self,
        key: &K::Borrowed,
        version: VersionRef<'_>,
        incarnation: Option<Incarnation>,
        value: V,
        size: usize,
    ) {
        self.charge(size);
        let (key, version) = (K::own(key), version.to_version());
        self.changes.push(Staged::Upsert(StagedUpsert {
            key,
            version,
            incarnation,
            value,
            size,
        }));
    }

    pub(crate) fn delete(&mut self, removal: Removal<'_, K, V>) {
        let Removal {
            key,
            version,
            incarnation,
            last,
            size,
        } = removal;
        self.charge(size);
        self.changes.push(Staged::Delete(StagedDelete {
            key: K::own(key),
            version: version.map(VersionRef::to_version),
            incarnation,
            last,
        }));
    }

    pub(crate) fn reject(
        &mut self,
        key: &K::Borrowed,
        version: VersionRef<'_>,
        error: Rejection,
        size: usize,
    ) {
        let words = match &error {
            Rejection::Undecodable(words) => words.len(),
            Rejection::KeyTooLong { .. } | Rejection::VersionTooLong { .. } => 0,
        };
        self.charge(size.saturating_add(words));
        // A version over the limit is not worth keeping.
        let version = match error {
            Rejection::Undecodable(_) => version.to_version(),
            Rejection::KeyTooLong { .. } | Rejection::VersionTooLong { .. } => 0.into(),
        };
        self.changes.push(Staged::Rejected {
            key: K::own(key),
            version,
            error,
        });
    }

    fn charge(&mut self, size: usize) {
        self.bytes = self.bytes.saturating_add(Self::cost(size));
    }

    /// What one change of this size counts for.
    pub(crate) fn cost(size: usize) -> usize {
        size.saturating_add(size_of::<Staged<K, V>>())
    }
}
