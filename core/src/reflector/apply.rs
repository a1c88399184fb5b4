//! How accepted changes reach the cache, and what is rejected on the way.

use alloc::sync::Arc;
use core::hash::BuildHasher;

use crate::cache::{Place, Upsert};
use crate::config::{Class, RevisionOrder};
use crate::informer::Informer;
use crate::input::{Body, Item};
use crate::key::Key;
use crate::output::{BadInput, LimitKind, Notice, Rejection};
use crate::probe::{canary, reach};
use crate::token::{Incarnation, Revision, VersionRef};

use super::is_before;
use super::run::Snapshot;
use super::staging::{Staged, StagedDelete, StagedUpsert};

/// A decoder's words are kept to this many bytes.
const WORDS_BYTES: usize = 512;

/// Why an item ends its attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    Bad(BadInput),
    Limit(LimitKind),
}

/// How a state is compared with the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    /// Same version, same content.
    Versions,
    /// The content decides where versions are equal.
    Content,
    /// Another history: the content decides, and versions may go back.
    Rewound,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    Added,
    Updated,
    Unchanged,
}

impl<K: Key, V: Clone, S: BuildHasher + Clone> Informer<K, V, S> {
    /// Takes one item of a full state. Most did not change: such an item costs a mark.
    pub(crate) fn collect(
        &mut self,
        snapshot: &mut Snapshot<K, V>,
        item: Item<'_, K, V>,
    ) -> Result<(), Refusal> {
        let Item {
            key,
            version,
            incarnation,
            size,
            body,
        } = item;
        snapshot.items = snapshot.items.saturating_add(1);
        snapshot.bytes = snapshot
            .bytes
            .saturating_add(size)
            .saturating_add(K::bytes(key).len());
        if snapshot.items > self.config.limits.objects {
            return Err(Refusal::Limit(LimitKind::Objects));
        }
        if snapshot.bytes > self.config.limits.bytes {
            return Err(Refusal::Limit(LimitKind::Bytes));
        }
        if !self.admits(key) {
            return Ok(());
        }
        let held = snapshot.shortcuts && self.is_held(key, version, incarnation);
        match self.judge_body(version, body) {
            Err(error) => snapshot.staging.reject(key, version, error, size),
            Ok(None) if !held => {
                reach!("unchanged said of what is not held");
                return Err(Refusal::Bad(BadInput::NotHeld));
            }
            Ok(_) if held => {
                self.cache.mark(key);
            }
            Ok(Some(value)) => snapshot
                .staging
                .upsert(key, version, incarnation, value, size),
            Ok(None) => {}
        }
        if snapshot.staging.bytes > self.config.limits.staged_bytes {
            return Err(Refusal::Limit(LimitKind::StagedBytes));
        }
        Ok(())
    }

    /// Whether the cache has exactly this version of this incarnation.
    pub(crate) fn is_held(
        &self,
        key: &K::Borrowed,
        version: VersionRef<'_>,
        incarnation: Option<Incarnation>,
    ) -> bool {
        self.cache.entry(key).is_some_and(|entry| {
            same_version(entry.version, version) && same_incarnation(entry.incarnation, incarnation)
        })
    }

    /// What the cache has of exactly this version of this incarnation.
    pub(crate) fn held(
        &self,
        key: &K::Borrowed,
        version: VersionRef<'_>,
        incarnation: Option<Incarnation>,
    ) -> Option<V> {
        let held = self.is_held(key, version, incarnation);
        self.cache.get(key).filter(|_| held).cloned()
    }

    /// Whether the key is short enough; says so where not.
    pub(crate) fn admits(&mut self, key: &K::Borrowed) -> bool {
        let bytes = K::bytes(key).len();
        let admitted = bytes <= self.config.limits.key_bytes;
        if !admitted {
            reach!("key too long");
            let error = Rejection::KeyTooLong { bytes };
            self.notices.push(Notice::UnknownRejected { error });
        }
        admitted
    }

    /// The value of an item, `None` where it is said to be unchanged, or why it is rejected.
    pub(crate) fn judge_body(
        &self,
        version: VersionRef<'_>,
        body: Body<'_, V>,
    ) -> Result<Option<V>, Rejection> {
        let bytes = version.text_bytes();
        if bytes > self.config.limits.token_bytes {
            return Err(Rejection::VersionTooLong { bytes });
        }
        match body {
            Body::Value(value) => Ok(Some(value)),
            Body::Unchanged => Ok(None),
            Body::Undecodable(words) => Err(undecodable(words)),
        }
    }

    /// True if it was quarantined.
    fn release(&mut self, key: &K) -> bool {
        let released = !canary!(NeverReleased) && self.quarantine.release(key);
        if released {
            reach!("poison recovered");
            self.notices
                .push(Notice::ObjectRecovered { key: key.clone() });
        }
        released
    }

    /// Something whose key is not known was rejected.
    pub(crate) fn reject_unknown(&mut self, words: &str) {
        reach!("poison with unknown key");
        self.notices.push(Notice::UnknownRejected {
            error: undecodable(words),
        });
    }

    /// Which limit the cache would exceed with these changes.
    pub(crate) fn over_limit(&self, changes: &[Staged<K, V>]) -> Option<LimitKind> {
        let mut sums = (self.cache.len(), self.cache.bytes());
        for change in changes {
            match change {
                Staged::Upsert(upsert) => {
                    sums = self.sums_with(sums, upsert.key.borrow(), upsert.size);
                }
                Staged::Delete(StagedDelete { key, .. }) => {
                    if let Some(old) = self.cache.entry(key.borrow()) {
                        let (objects, bytes) = &mut sums;
                        *objects = objects.saturating_sub(1);
                        let key = K::bytes(key.borrow()).len();
                        *bytes = bytes.saturating_sub(old.size.saturating_add(key));
                    }
                }
                Staged::Rejected { .. } => {}
            }
        }
        self.exceeded(sums)
    }

    /// Which limit the cache would exceed with this one object.
    pub(crate) fn over_limit_with(&self, key: &K::Borrowed, size: usize) -> Option<LimitKind> {
        let sums = (self.cache.len(), self.cache.bytes());
        // Most of the time there is room for one more, whatever it takes the place of.
        let added = size.saturating_add(K::bytes(key).len());
        self.exceeded((sums.0.saturating_add(1), sums.1.saturating_add(added)))?;
        self.exceeded(self.sums_with(sums, key, size))
    }

    /// Numbers and bytes of objects, with an object more or in another state.
    fn sums_with(
        &self,
        (objects, bytes): (usize, usize),
        key: &K::Borrowed,
        size: usize,
    ) -> (usize, usize) {
        let old = self.cache.entry(key);
        let key = K::bytes(key).len();
        let freed = old.map_or(0, |old| old.size.saturating_add(key));
        (
            objects.saturating_add(usize::from(old.is_none())),
            bytes
                .saturating_add(size)
                .saturating_add(key)
                .saturating_sub(freed),
        )
    }

    fn exceeded(&self, (objects, bytes): (usize, usize)) -> Option<LimitKind> {
        if canary!(ApplyOverLimit) {
            None
        } else if objects > self.config.limits.objects {
            Some(LimitKind::Objects)
        } else if bytes > self.config.limits.bytes {
            Some(LimitKind::Bytes)
        } else {
            None
        }
    }

    /// Applies a watch's changes, in their order.
    pub(crate) fn apply_events(
        &mut self,
        changes: alloc::vec::Vec<Staged<K, V>>,
        revision: Option<&Revision>,
    ) {
        for change in changes {
            self.touch(change.key(), revision);
            self.apply(change, Compare::Versions);
        }
    }

    /// A verify that runs beside the watch must not undo what came after its revision.
    pub(crate) fn touch(&mut self, key: &K, revision: Option<&Revision>) {
        let Some(list) = &mut self.list else {
            return;
        };
        if self.config.source.class == Class::Fuzzy && self.cache.has_marked(key.borrow()) {
            reach!("replay over what a fuzzy list found unchanged");
            list.snapshot.unmarked.insert(key.clone());
        }
        let touched = &mut list.snapshot.touched;
        touched.insert(key.clone(), revision.cloned());
        if touched.len() > self.config.limits.objects {
            // Too much happened beside it (P8): a later verify will do.
            reach!("too much happened beside a verify");
            self.cancel_list();
            self.want_verify_after_loss();
        }
    }

    /// Applies one change, and tells where its key is now. Never back (P2): what is older than the
    /// cache is not applied.
    pub(crate) fn apply(&mut self, change: Staged<K, V>, compare: Compare) -> (Applied, Place) {
        match change {
            Staged::Upsert(StagedUpsert {
                key,
                version,
                incarnation,
                value,
                size,
            }) => {
                let upsert = Upsert {
                    key: key.borrow(),
                    owned: Some(&key),
                    version: version.as_ref(),
                    incarnation,
                    value,
                    size,
                };
                self.apply_upsert(upsert, compare)
            }
            Staged::Delete(mut delete) => {
                let last = delete.last.take();
                let applied = self.apply_delete(&delete, last);
                (applied, self.cache.place(delete.key.borrow()))
            }
            // Its last good version stays in force.
            Staged::Rejected {
                key,
                version,
                error,
            } => {
                reach!("poison with known key");
                if canary!(UndecodableDeletes) {
                    self.cache.delete(key.borrow(), None, false);
                }
                self.quarantine.reject(key.clone(), error.clone());
                let place = self.cache.place(key.borrow());
                self.notices.push(Notice::ObjectRejected {
                    key,
                    version,
                    error,
                });
                (Applied::Unchanged, place)
            }
        }
    }

    /// Applies one upsert. A key is only made where there is something to remember it for.
    pub(crate) fn apply_upsert(
        &mut self,
        upsert: Upsert<'_, K, V>,
        compare: Compare,
    ) -> (Applied, Place) {
        let Upsert {
            key,
            version,
            incarnation,
            size,
            ref value,
            ..
        } = upsert;
        if self.quarantine.names_any() {
            self.release(&upsert.to_key());
        }
        let mut applied = Applied::Added;
        let place = self.cache.place(key);
        let known = self.cache.entry_at(place);
        let same_object = known.filter(|entry| same_incarnation(entry.incarnation, incarnation));
        if let Some(entry) = same_object {
            applied = Applied::Updated;
            let same = same_version(entry.version, version);
            // Also what a rewind or a verify of the content left without a version.
            let unstamped = version.is_none() || entry.version.is_none();
            let same_content = match compare {
                _ if unstamped => (self.same)(entry.value, value),
                Compare::Versions => same,
                Compare::Content => same && (self.same)(entry.value, value),
                Compare::Rewound => (self.same)(entry.value, value),
            };
            let older = self.config.source.versions_ordered && version.is_older_than(entry.version);
            if same_content {
                reach!(
                    "same content in another history",
                    compare == Compare::Rewound
                );
                self.cache.restamp_at(place, version, incarnation, size);
                return (Applied::Unchanged, place);
            }
            if older && compare != Compare::Rewound && !canary!(ApplyOlderVersions) {
                reach!("older version ignored");
                return (Applied::Unchanged, place);
            }
            if canary!(CompareVersionWithRevision)
                && let Some(complete) = &self.position.complete
                && is_before(&version.to_version().as_revision(), complete)
            {
                return (Applied::Unchanged, place);
            }
        } else if !canary!(Resurrect)
            && self.graves.has_any()
            && self.graves.covers(&upsert.to_key(), version, incarnation)
        {
            reach!("grave stopped a resurrection");
            return (Applied::Unchanged, place);
        } else if known.is_some() {
            applied = Applied::Updated;
        }
        let (place, _) = self.cache.upsert_at(place, upsert);
        for (index, terms) in self.cache.cut_terms() {
            if let Some(entry) = self.cache.entry_at(place) {
                self.notices.push(Notice::TermsCut {
                    index: Arc::clone(index),
                    key: entry.key.clone(),
                    terms,
                });
            }
        }
        (applied, place)
    }

    fn apply_delete(&mut self, delete: &StagedDelete<K, V>, last: Option<V>) -> Applied {
        let was_rejected = self.release(&delete.key);
        if self.is_unordered() {
            if self.is_old_delete(delete, was_rejected) {
                return Applied::Unchanged;
            }
            self.bury(delete);
        }
        if self.cache.delete(delete.key.borrow(), last, false) {
            Applied::Updated
        } else {
            Applied::Unchanged
        }
    }

    /// Whether a delete that may have come out of order is older than what is there.
    fn is_old_delete(&self, delete: &StagedDelete<K, V>, was_rejected: bool) -> bool {
        let Some((entry, version)) = self.cache.entry(delete.key.borrow()).zip(delete.version())
        else {
            return false;
        };
        if !same_incarnation(entry.incarnation, delete.incarnation) {
            let known = self.graves.covers(&delete.key, version, delete.incarnation);
            reach!("old delete of another object of its key ignored", known);
            return known;
        }
        // Of a rejected object the cache has another version than the one that is deleted here.
        let older = !was_rejected && version.is_older_than(entry.version);
        reach!("delete older than the object ignored", older);
        older
    }

    /// Remembers a delete: of the object that it names, or else of the one that is there.
    fn bury(&mut self, delete: &StagedDelete<K, V>) {
        let known = self.cache.entry(delete.key.borrow());
        let known = known.filter(|entry| same_incarnation(entry.incarnation, delete.incarnation));
        let (held, incarnation) = known
            .map(|entry| (entry.version, entry.incarnation))
            .unzip();
        let version = delete.version().map(VersionRef::to_version);
        if let Some(version) = version.or_else(|| held.map(VersionRef::to_version))
            && !version.is_none()
        {
            let incarnation = delete.incarnation.or(incarnation.flatten());
            self.graves.bury(delete.key.clone(), version, incarnation);
        }
    }

    /// Whether this source's changes can arrive out of order.
    fn is_unordered(&self) -> bool {
        let source = &self.config.source;
        source.versions_ordered && source.order == RevisionOrder::Opaque
    }
}

/// Whether an item has the version that the cache has. Two objects without one may differ.
fn same_version(held: VersionRef<'_>, version: VersionRef<'_>) -> bool {
    !canary!(ResendUnchanged) && version == held && !version.is_none()
}

/// Whether two objects of one key may be the same one: an unknown incarnation is taken to be.
pub(crate) fn same_incarnation(a: Option<Incarnation>, b: Option<Incarnation>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == b,
        (None, _) | (_, None) => true,
    }
}

pub(crate) fn undecodable(words: &str) -> Rejection {
    let end = words.floor_char_boundary(WORDS_BYTES);
    Rejection::Undecodable(words.get(..end).unwrap_or_default().into())
}
