//! Warm starts: the cache is filled before the source has said a word (P13).
//!
//! What is restored is published at once, as what it is: the last known good state of another run.
//! It counts as *synced* only when the source has confirmed it (P9), and it is the floor that the
//! source must not fall below within its epoch (P2).

use core::hash::BuildHasher;

use crate::cache::{Upsert, Upserted};
use crate::config::{Config, Feed, RevisionOrder};
use crate::hash::SeededState;
use crate::informer::Informer;
use crate::key::Key;
use crate::output::{ListReason, Notice, TimerReason};
use crate::probe::{canary, reach};
use crate::snapshot::{Object, Snapshot, SnapshotError};
use crate::time::Timestamp;

use super::report::Status;
use super::run::Intent;

impl<K: Key, V: Clone> Informer<K, V> {
    /// An informer that starts with what a snapshot holds.
    ///
    /// Subscribers get it as their initial state, with a mark that says
    /// [`restored`](crate::cache::Mark::restored), and then only what differs. The state of health
    /// is [`Stale`](crate::State::Stale) until the source has confirmed it: by a complete list, or,
    /// where it can be watched from the snapshot's revision on, by an event or progress at or
    /// beyond it. A watch that says nothing of the kind for
    /// [`Timing::stable_after`](crate::Timing::stable_after) is followed by a list.
    ///
    /// # Errors
    /// If the snapshot is over the configuration's limits, or of another kind of source. Start
    /// with [`new`](Self::new) then.
    pub fn restore(
        config: Config,
        seed: u64,
        now: Timestamp,
        snapshot: Snapshot<K, V>,
    ) -> Result<Self, SnapshotError> {
        Self::restore_with_hasher(config, seed, now, SeededState::new(seed), snapshot)
    }
}

impl<K: Key, V: Clone, S: BuildHasher + Clone> Informer<K, V, S> {
    /// Like [`restore`](Informer::restore), with a hasher of one's own.
    ///
    /// # Errors
    /// The same.
    pub fn restore_with_hasher(
        config: Config,
        seed: u64,
        now: Timestamp,
        hasher: S,
        snapshot: Snapshot<K, V>,
    ) -> Result<Self, SnapshotError> {
        let mut informer = Self::idle(config, seed, now, hasher);
        snapshot.check(&informer.config)?;
        informer.fill(snapshot)?;
        informer.publish();
        let (revision, objects) = (informer.position.seen.clone(), informer.cache.len());
        informer
            .notices
            .push(Notice::Restored { revision, objects });
        informer.status = Status::restored(now);
        informer.synced = canary!(RestoreAsSynced);
        if let Some(period) = informer.config.timing.verify_period {
            informer.want_verify(now.saturating_add(period));
        }
        informer.go(informer.resume(), now, TimerReason::Paced);
        Ok(informer)
    }

    /// What the cache holds, if that is all of one revision: else a later call may find it so.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot<K, V>> {
        let whole = canary!(SnapshotPartial) || self.is_one_state();
        if !whole || !self.cache.is_synced() {
            return None;
        }
        let objects = self.cache.iter().map(|entry| Object {
            key: entry.key.clone(),
            version: entry.version.to_version(),
            incarnation: entry.incarnation,
            size: entry.size,
            value: entry.value.clone(),
        });
        Some(Snapshot {
            epoch: self.position.epoch.clone(),
            revision: self.position.seen.clone(),
            rewinds: self.cache.local_epoch(),
            objects: objects.collect(),
            quarantined: self.quarantine.report(),
            unnamed: self.quarantine.unnamed(),
        })
    }

    fn fill(&mut self, snapshot: Snapshot<K, V>) -> Result<(), SnapshotError> {
        let Snapshot {
            epoch,
            revision,
            rewinds,
            objects,
            quarantined,
            unnamed,
        } = snapshot;
        for object in objects {
            let place = self.cache.place(object.key.borrow());
            let upsert = Upsert {
                key: object.key.borrow(),
                owned: Some(&object.key),
                version: object.version.as_ref(),
                incarnation: object.incarnation,
                value: object.value,
                size: object.size,
            };
            if self.cache.upsert_at(place, upsert).1 != Upserted::Added {
                // A key that is there twice.
                return Err(SnapshotError::Malformed { at: 0 });
            }
        }
        reach!(
            "restored with quarantined keys",
            unnamed > 0 || !quarantined.is_empty()
        );
        self.quarantine.restore(quarantined, unnamed);
        self.position.epoch = epoch.filter(|_| !canary!(RestoreWithoutEpoch));
        if let Some(revision) = revision {
            self.position.complete_at(revision);
        }
        if canary!(RestoreAsSynced) {
            return Ok(());
        }
        self.cache.set_restored(rewinds);
        Ok(())
    }

    /// How to go on from a snapshot: a watch from its revision, where the source can be watched
    /// from one. Where changes come out of order, what was remembered of deletes is lost with the
    /// run before, so a list comes first.
    fn resume(&self) -> Intent {
        let source = &self.config.source;
        let watched = matches!(source.feed, Feed::ListWatch | Feed::InitialStream);
        let unordered = source.versions_ordered && source.order == RevisionOrder::Opaque;
        if watched && !unordered && self.position.complete.is_some() {
            reach!("restored, and resumed by a watch");
            Intent::Watch
        } else {
            reach!("restored, and a list comes first");
            self.relist(ListReason::Initial)
        }
    }
}
