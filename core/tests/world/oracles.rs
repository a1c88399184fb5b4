//! What must hold, seen through the public API only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reflet_core::cache::{Delta, Polled};
use reflet_core::{Health, RevisionOrder, State};

use super::{Case, World};

impl Case {
    /// P3: at a complete revision the cache is the source's state at that revision.
    pub fn check_state(&self, health: &Health<Arc<str>>, epoch: usize) {
        if let (true, Some(revision)) = (health.complete, &health.revision) {
            let number = World::number(revision);
            let apart: BTreeSet<_> = health
                .quarantined
                .iter()
                .map(|(key, _)| key.clone())
                .collect();
            let truth = expected(self.world.state_at(epoch, number), &apart);
            let ours: BTreeMap<_, _> = self
                .cached()
                .into_iter()
                .filter(|(key, _)| !apart.contains(key))
                .collect();
            assert_eq!(ours, truth, "P3: the cache at {number} in e{epoch}");
        }
    }

    /// P2: where versions are ordered, none goes back within one incarnation.
    pub fn check_versions(&mut self, local: u64) {
        // A fuzzy list is followed by a replay, in which older incarnations come and go once more.
        let checked = self.world.profile.versions_ordered && !self.world.is_fuzzy();
        if !checked || !self.world.habits.uids {
            return;
        }
        for entry in self.engine.cache().iter() {
            let key = (entry.key.clone(), *entry.value / 1_000, local);
            // What survived a rewind only because its new state was rejected has no version.
            let Ok(version) = entry.version.to_string().parse() else {
                continue;
            };
            let last = self.versions.insert(key, version).unwrap_or(0);
            assert!(
                last <= version,
                "P2: {} went from {last} to {version}",
                entry.key
            );
        }
    }

    pub fn drain(&mut self, which: usize, mut deltas: usize) {
        let id = self.folds[which].id;
        while deltas > 0 {
            deltas -= 1;
            match self.engine.poll_delta(id) {
                Polled::Delta(delta) => self.fold(which, delta),
                Polled::Yield => {}
                Polled::Idle => return,
            }
        }
    }

    pub fn fold(&mut self, which: usize, delta: Delta<Arc<str>, u64>) {
        let uids = self.world.habits.uids;
        let fold = &mut self.folds[which];
        match delta {
            Delta::Added { key, new } => assert_eq!(fold.objects.insert(key, new), None, "P4"),
            Delta::Updated { key, old, new } => {
                assert_eq!(fold.objects.insert(key, new), Some(old), "P4");
                assert!(
                    !uids || old / 1_000 == new / 1_000,
                    "P4: two incarnations merged"
                );
            }
            Delta::Deleted { key, seen, .. } => {
                assert_eq!(fold.objects.remove(&key), Some(seen), "P4");
            }
            Delta::Redelivered { key, .. } => panic!("nobody asked for {key} once more"),
            Delta::Gap(why) => panic!("nobody is lossless, but {why:?}"),
            Delta::Reset => fold.objects.clear(),
            Delta::Mark(mark) => {
                assert!(self.served, "P9: a mark before any full state");
                let ordered = self.world.profile.order == RevisionOrder::Ordered;
                if let Some(last) = fold
                    .last
                    .as_ref()
                    .filter(|last| last.local_epoch == mark.local_epoch)
                {
                    let back = mark
                        .revision
                        .as_ref()
                        .zip(last.revision.as_ref())
                        .is_some_and(|(new, old)| World::number(new) < World::number(old));
                    assert!(!ordered || !back, "P2: from {last:?} to {mark:?}");
                }
                if let (true, Some(revision)) = (mark.complete, &mark.revision) {
                    let epoch = self.epochs[&mark.local_epoch];
                    let state = self.world.state_at(epoch, World::number(revision));
                    let ours: BTreeMap<_, _> = fold
                        .objects
                        .iter()
                        .filter(|(key, _)| !self.poisoned.contains(*key))
                        .map(|(key, value)| (key.clone(), *value))
                        .collect();
                    assert_eq!(ours, expected(state, &self.poisoned), "P4: at {mark:?}");
                }
                fold.last = Some(mark);
            }
        }
    }

    /// P7: no window has more starts than its share.
    pub fn check_pace(&self) {
        let timing = &self.engine.config().timing;
        for (i, from) in self.starts.iter().enumerate() {
            for (j, to) in self.starts.iter().enumerate().skip(i) {
                let window = to.saturating_since(*from).as_nanos();
                let share = window / timing.min_interval.as_nanos() + u128::from(timing.burst);
                assert!(
                    (j - i + 1) as u128 <= share,
                    "P7: {} starts in {window} ns",
                    j - i + 1
                );
            }
        }
    }

    pub fn has_converged(&self) -> bool {
        let health = self.engine.health();
        let apart: BTreeSet<_> = health
            .quarantined
            .iter()
            .map(|(key, _)| key.clone())
            .collect();
        let ours: BTreeMap<_, _> = self
            .cached()
            .into_iter()
            .filter(|(key, _)| !apart.contains(key))
            .collect();
        health.state == State::Live
            && !health.degraded
            && ours == expected(self.world.truth(), &apart)
    }
}

pub fn expected(state: &super::State, apart: &BTreeSet<Arc<str>>) -> BTreeMap<Arc<str>, u64> {
    let objects = state
        .iter()
        .map(|(key, object)| (Arc::from(*key), object.value));
    objects.filter(|(key, _)| !apart.contains(key)).collect()
}
