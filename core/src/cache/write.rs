//! The write side: changes, publications, and who subscribes. Nothing here panics, whatever the
//! caller says (P12).

use core::hash::BuildHasher;

use crate::probe::{canary, reach};

use super::entries::{Entries, Live};
use super::marking::Marks;
use super::{
    Cache, Digest, Filter, Incarnation, Indexes, Key, Log, Place, Publication, Revision,
    STEPS_PER_CALL, SubscriberId, Subscribers, Subscription, Table, VersionRef,
};

/// An object as its source has it now.
pub(crate) struct Upsert<'a, K: Key, V> {
    pub(crate) key: &'a K::Borrowed,
    /// The same key, where somebody owns it already: then it is shared instead of made anew.
    pub(crate) owned: Option<&'a K>,
    pub(crate) version: VersionRef<'a>,
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) value: V,
    /// Its size on the wire, in bytes.
    pub(crate) size: usize,
}

impl<K: Key, V> Upsert<'_, K, V> {
    /// A key to keep.
    pub(crate) fn to_key(&self) -> K {
        to_key(self.key, self.owned)
    }
}

fn to_key<K: Key>(key: &K::Borrowed, owned: Option<&K>) -> K {
    owned.map_or_else(|| K::own(key), K::clone)
}

/// The hash that an entry is found by. Only a free place has no key, and those are not in the table.
fn hash_of<K: Key, V>(hasher: &impl BuildHasher, entries: &Entries<K, V>, id: u32) -> u64 {
    let key = entries.key(id);
    key.map_or(0, |key| hasher.hash_one(key.borrow()))
}

/// What an upsert was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upserted {
    /// The object was not there.
    Added,
    /// It was there, in another state.
    Updated,
    /// Another incarnation was there: a delete, which nobody has seen, and an add.
    Recreated,
}

impl<K: Key, V: Clone, S: BuildHasher> Cache<K, V, S> {
    /// An empty cache. `retained_limit` is the most bytes that one position may hold back, and `seed`
    /// what tells the ids that it gives out from those of other caches.
    pub(crate) fn new(hasher: S, seed: u64, retained_limit: usize, track_digest: bool) -> Self {
        Self {
            hasher,
            table: Table::new(),
            log: Log::new(retained_limit),
            subscribers: Subscribers::new(seed),
            indexes: Indexes::new(seed),
            lapsed: alloc::collections::BTreeSet::new(),
            lossless: alloc::collections::BTreeSet::new(),
            hidden: None,
            live: 0,
            bytes: 0,
            digest: track_digest.then(Digest::default),
            marks: Marks::default(),
            epoch: 0,
            restored: false,
            published: None,
            follower: None,
        }
    }

    /// Room for so many objects, those that are here included, so that the table does not grow
    /// step by step.
    pub(crate) fn reserve(&mut self, objects: usize) {
        let Self {
            hasher, table, log, ..
        } = self;
        let entries = &log.nodes.entries;
        table.reserve(objects, |id| hash_of(hasher, entries, id));
    }

    /// A change of an object whose place is not known.
    #[cfg(any(test, feature = "simulated"))]
    pub(crate) fn upsert(&mut self, upsert: Upsert<'_, K, V>) -> Upserted {
        self.upsert_at(self.place(upsert.key), upsert).1
    }

    /// A change of an object; tells its place from now on. Whether there is a change at all, the
    /// caller has decided. An unknown incarnation is taken for the one that is there.
    ///
    /// This marks nothing: an event beside a list that is older than the list must not keep an
    /// object that the list no longer has.
    pub(crate) fn upsert_at(
        &mut self,
        Place(found): Place,
        upsert: Upsert<'_, K, V>,
    ) -> (Place, Upserted) {
        if !self.lossless.is_empty() {
            self.record_upsert(found, &upsert);
        }
        let Upsert {
            key,
            owned,
            version,
            incarnation,
            value,
            size,
        } = upsert;
        let indexed = !self.indexes.is_empty();
        if indexed {
            self.indexes.stage(key, &value);
        }
        let mut live = Live {
            value,
            version,
            incarnation,
            size,
        };
        let (id, upserted) = match found {
            None => {
                let id = self.log.add(to_key(key, owned), live);
                let Self {
                    hasher, table, log, ..
                } = self;
                let entries = &log.nodes.entries;
                let hash_of = |id| hash_of(hasher, entries, id);
                table.insert(hasher.hash_one(key), id, hash_of);
                self.count_in(id, version, size);
                (id, Upserted::Added)
            }
            Some(id) => match self.recount(id, version, size) {
                None => {
                    self.log.recreate(id, live);
                    self.count_in(id, version, size);
                    (id, Upserted::Added)
                }
                Some(before)
                    if before
                        .zip(incarnation)
                        .is_none_or(|(before, now)| before == now) =>
                {
                    live.incarnation = incarnation.or(before);
                    self.log.update(id, live);
                    (id, Upserted::Updated)
                }
                Some(_) => {
                    self.note_gone(id);
                    self.log.recreate(id, live);
                    (id, Upserted::Recreated)
                }
            },
        };
        if indexed {
            self.index_staged(id, upserted);
        }
        self.reclaim(STEPS_PER_CALL);
        (Place(Some(id)), upserted)
    }

    /// A change of the version only, of an object whose place is not known.
    #[cfg(any(test, feature = "simulated"))]
    pub(crate) fn restamp(
        &mut self,
        key: &K::Borrowed,
        version: VersionRef<'_>,
        incarnation: Option<Incarnation>,
        size: usize,
    ) -> bool {
        self.restamp_at(self.place(key), version, incarnation, size)
    }

    /// The same content under another version: nobody is told. An incarnation is learnt where it
    /// was not known. False if there is no live object.
    pub(crate) fn restamp_at(
        &mut self,
        Place(found): Place,
        version: VersionRef<'_>,
        incarnation: Option<Incarnation>,
        size: usize,
    ) -> bool {
        let recounted = found.and_then(|id| Some((id, self.recount(id, version, size)?)));
        let Some((id, before)) = recounted else {
            return false;
        };
        let entries = &mut self.log.nodes.entries;
        entries.restamp(id, version, incarnation.or(before), size);
        true
    }

    /// The object has gone; `last` is its last state, where the source told. `inferred`: nobody saw
    /// it go. False if no such object is live.
    pub(crate) fn delete(&mut self, key: &K::Borrowed, last: Option<V>, inferred: bool) -> bool {
        match self.find_live(key) {
            Some(id) => {
                self.delete_entry(id, last, inferred);
                true
            }
            None => false,
        }
    }

    pub(super) fn delete_entry(&mut self, id: u32, last: Option<V>, inferred: bool) {
        if !self.lossless.is_empty() {
            self.record_delete(id, last.as_ref(), inferred);
        }
        self.take_out(id);
        if !self.indexes.is_empty()
            && let Some(key) = self.log.nodes.entries.key(id)
        {
            self.indexes.take_out(id, key.borrow());
        }
        self.unmark_entry(id);
        self.note_gone(id);
        if let Some(key) = self.log.delete(id, last, inferred) {
            self.table.remove(self.hasher.hash_one(key.borrow()), id);
        }
        self.reclaim(STEPS_PER_CALL);
    }

    /// The state now in the cache is the source's at `revision`; `complete`: all of it. Until then
    /// no subscriber is told of a change.
    pub(crate) fn publish(&mut self, revision: Option<Revision>, complete: bool) {
        let (seq, epoch, restored) = (self.log.tail, self.epoch, self.restored);
        let before = self.published.as_ref().map(|last| last.number);
        let number = match &self.published {
            None => 1,
            Some(last)
                if (&last.revision, last.complete, last.restored, last.epoch)
                    == (&revision, complete, restored, epoch) =>
            {
                last.number
            }
            Some(last) => last.number + 1,
        };
        self.published = Some(Publication {
            seq,
            number,
            revision,
            complete,
            restored,
            epoch,
        });
        if !self.lossless.is_empty() {
            self.publish_records(before != Some(number));
        }
    }

    /// What is here comes from a snapshot, taken after so many rewinds: until it is confirmed,
    /// each publication says so (P13).
    #[cfg(feature = "snapshot")]
    pub(crate) fn set_restored(&mut self, rewinds: u64) {
        self.epoch = rewinds;
        self.restored = true;
    }

    /// What is published from now on is the source's own word.
    pub(crate) fn confirm(&mut self) {
        self.restored = false;
    }

    /// The source's history went back: what is published from now on is of another epoch.
    pub(crate) fn rewind(&mut self) {
        self.epoch = self.epoch.saturating_add(1);
    }

    /// A new subscriber, which will be told everything that is live and that it wants to hear of.
    pub(crate) fn subscribe(&mut self, subscription: Subscription<K, V>) -> SubscriberId {
        let lossless = subscription.lossless.is_some();
        let id = self.subscribers.add(subscription);
        if lossless {
            self.lossless.insert(id.slot());
        }
        id
    }

    /// A subscriber is handed once more what it has and what does not change meanwhile: in the next
    /// pass, not in the one under way. False if there is no such subscriber.
    pub(crate) fn redeliver(&mut self, id: SubscriberId) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(id) else {
            return false;
        };
        reach!("redelivery due in mid-pass", subscriber.pass.is_some());
        reach!(
            "redelivery due that was not taken yet",
            subscriber.redeliver
        );
        subscriber.redeliver = true;
        true
    }

    /// Changes what a subscriber wants to hear of. What that lets in is added, what it shuts out is
    /// deleted, and a mark says when that is done. False if there is no such subscriber.
    pub(crate) fn set_filter(&mut self, id: SubscriberId, filter: Option<Filter<K, V>>) -> bool {
        let Some(subscriber) = self.subscribers.get_mut(id) else {
            return false;
        };
        if subscriber.has_nothing() {
            // Nothing was handed out yet, so there is nothing to take back.
            subscriber.filter = filter;
        } else {
            reach!("filter changed in mid-pass", subscriber.pass.is_some());
            subscriber.wanted = Some(filter);
        }
        subscriber.marked = 0;
        true
    }

    /// Forgets a subscriber. What was kept for it is freed by and by.
    pub(crate) fn unsubscribe(&mut self, id: SubscriberId) -> bool {
        let Some(subscriber) = self.subscribers.get(id) else {
            return false;
        };
        reach!("unsubscribed in mid-pass", subscriber.pass.is_some());
        self.let_go(id);
        self.lapsed.remove(&id);
        self.lossless.remove(&id.slot());
        self.subscribers.remove(id);
        true
    }

    /// How far behind a subscriber is: in changes, and in the bytes that its positions hold back.
    pub(crate) fn lag(&self, id: SubscriberId) -> Option<(u64, usize)> {
        let subscriber = self.subscribers.get(id)?;
        let charge = |position| self.log.pins.get(position).map_or(0, |pin| pin.charge);
        let end = subscriber.pass.as_ref().map_or(0, |pass| pass.end);
        let bytes = charge(subscriber.base)
            + if end == subscriber.base {
                0
            } else {
                charge(end)
            };
        let (records, queued) = subscriber.recorded();
        let rests = !subscriber.records_writes();
        let behind = if rests {
            self.log.tail - subscriber.base
        } else {
            0
        };
        Some((
            behind.saturating_add(records as u64),
            usize::try_from(bytes + u128::from(queued)).unwrap_or(usize::MAX),
        ))
    }

    /// All subscribers, in ascending order.
    pub(crate) fn subscriber_ids(&self) -> impl Iterator<Item = SubscriberId> {
        self.subscribers.ids()
    }

    /// A subscriber that was put over its limit; each one once per reset.
    pub(crate) fn take_lapsed(&mut self) -> Option<SubscriberId> {
        if let Some(id) = self
            .log
            .pins
            .lapsed_holder()
            .and_then(|slot| self.subscribers.at(slot))
        {
            self.reset(id);
            if canary!(ResetAll) {
                for other in self.subscribers.ids().collect::<alloc::vec::Vec<_>>() {
                    self.reset(other);
                }
            }
        }
        self.lapsed.pop_first()
    }

    /// Settles so many versions that nobody pays for any more. True if more are left.
    pub(crate) fn reclaim(&mut self, steps: usize) -> bool {
        for _ in 0..steps {
            if canary!(LeakSuperseded) || !self.log.pins.has_orphans() {
                return false;
            }
            if let Some((id, key)) = self.log.reclaim_one() {
                self.table.remove(self.hasher.hash_one(key.borrow()), id);
            }
        }
        self.log.pins.has_orphans()
    }

    /// The last publication, if nothing has changed since.
    pub(super) fn published_tail(&self) -> Option<&Publication> {
        self.published
            .as_ref()
            .filter(|publication| publication.seq == self.log.tail)
    }

    fn index_staged(&mut self, id: u32, upserted: Upserted) {
        let key = self.log.nodes.entries.key(id);
        let added = match upserted {
            Upserted::Added => key,
            Upserted::Updated | Upserted::Recreated => None,
        };
        self.indexes.put_staged(id, added);
    }

    fn count_in(&mut self, id: u32, version: VersionRef<'_>, size: usize) {
        let Some(key) = self.log.nodes.entries.key(id) else {
            return;
        };
        let key = K::bytes(key.borrow());
        self.live += 1;
        self.bytes += key.len() as u128 + size as u128;
        if let Some(digest) = &mut self.digest {
            *digest = digest.plus(Digest::of(key, version));
        }
    }

    /// Counts a live object as another state of it, and tells its incarnation. `None` if it is not
    /// live.
    fn recount(
        &mut self,
        id: u32,
        version: VersionRef<'_>,
        size: usize,
    ) -> Option<Option<Incarnation>> {
        let entries = &self.log.nodes.entries;
        if !entries.is_live(id) {
            return None;
        }
        self.bytes = self.bytes - entries.size(id) as u128 + size as u128;
        if let Some(digest) = &mut self.digest {
            let entry = entries.live(id)?;
            let key = K::bytes(entry.key.borrow());
            let without = digest.minus(Digest::of(key, entry.version));
            *digest = without.plus(Digest::of(key, version));
        }
        Some(entries.incarnation(id))
    }

    /// Takes a live object out of the sums.
    fn take_out(&mut self, id: u32) {
        let Some(entry) = self.log.nodes.entries.live(id) else {
            return;
        };
        let key = K::bytes(entry.key.borrow());
        self.live -= 1;
        self.bytes -= key.len() as u128 + entry.size as u128;
        if let Some(digest) = &mut self.digest {
            *digest = digest.minus(Digest::of(key, entry.version));
        }
    }
}
