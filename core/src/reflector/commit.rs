//! A full state becomes visible at once and whole.

use core::hash::BuildHasher;

use crate::config::{Class, OnNewEpoch, OnRewind, RevisionOrder};
use crate::informer::Informer;
use crate::key::Key;
use crate::output::{BadInput, ListReason, Notice};
use crate::token::{Epoch, Revision};

use super::apply::{Applied, Compare};
use super::run::{Header, Snapshot};
use super::staging::Staged;
use super::{check_revision, is_before};

/// What the first words of a full state say about it.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// Go on.
    Take,
    /// It cannot be used at all.
    Bad(BadInput),
    /// The policy refuses its epoch.
    EpochRefused,
    /// It is older than what we have.
    Older,
}

/// What became of a full state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    /// It is visible.
    Yes,
    /// It is older than what we have, and was refused.
    Older,
    /// It does not fit; the collection is frozen, and the next step is set.
    Frozen,
}

/// What changed by a full state.
#[derive(Clone, Copy, Debug, Default)]
struct Difference {
    added: usize,
    updated: usize,
    deleted: usize,
    /// Of these, the changes that no event can account for.
    diverged: usize,
}

impl<K: Key, V: Clone, S: BuildHasher + Clone> Informer<K, V, S> {
    /// Judges the epoch of a full state.
    pub(crate) fn judge_epoch(
        &mut self,
        snapshot: &mut Snapshot<K, V>,
        epoch: Option<&Epoch>,
    ) -> Verdict {
        if epoch.is_some_and(|epoch| epoch.as_str().len() > self.config.limits.token_bytes) {
            return Verdict::Bad(BadInput::TokenTooLong);
        }
        if self.position.continues(epoch) {
            return Verdict::Take;
        }
        match self.config.policy.new_epoch {
            OnNewEpoch::Accept => {
                snapshot.rewound = true;
                snapshot.shortcuts = false;
                Verdict::Take
            }
            OnNewEpoch::Refuse => {
                self.notices.push(Notice::EpochRefused {
                    epoch: epoch.cloned(),
                });
                Verdict::EpochRefused
            }
        }
    }

    /// Judges the revision of a full state: a collection never goes back within an epoch (P2).
    /// `floor` is what it must not be older than.
    pub(crate) fn judge_revision(
        &mut self,
        snapshot: &mut Snapshot<K, V>,
        header: Header,
        floor: Option<Revision>,
    ) -> Verdict {
        let order = self.config.source.order;
        if let Err(bad) = check_revision(
            header.revision.as_ref(),
            order,
            self.config.limits.token_bytes,
        ) {
            return Verdict::Bad(bad);
        }
        snapshot.newest.clone_from(&header.revision);
        let has_epoch = header.epoch.is_some();
        snapshot.header = Some(header);
        if snapshot.rewound || order == RevisionOrder::Opaque {
            return Verdict::Take;
        }
        let revision = snapshot
            .header
            .as_ref()
            .and_then(|header| header.revision.clone());
        let (Some(have), Some(got)) = (floor, revision) else {
            return Verdict::Take;
        };
        if !is_before(&got, &have) {
            self.rewind.clear();
            return Verdict::Take;
        }
        self.notices.push(Notice::StaleList { got, have });
        if has_epoch || self.config.policy.rewind == OnRewind::Refuse {
            return Verdict::Older;
        }
        // It may be evidence of a rewind, if it is complete.
        snapshot.older = true;
        snapshot.shortcuts = false;
        Verdict::Take
    }

    /// Makes a full state visible, if it may be.
    pub(crate) fn commit_snapshot(
        &mut self,
        mut snapshot: Snapshot<K, V>,
        beside: bool,
    ) -> Committed {
        let header = snapshot.header.take().unwrap_or(Header {
            epoch: None,
            revision: None,
        });
        if snapshot.older && !self.accepts_rewind(&mut snapshot, header.revision.as_ref()) {
            return Committed::Older;
        }
        if snapshot.unknown_rejected
            && let Some(limit) = self.over_limit(&snapshot.staging.changes)
        {
            self.freeze(limit);
            return Committed::Frozen;
        }
        if snapshot.rewound {
            self.announce_rewind(&header);
        }
        let difference = self.replace(&mut snapshot, header.revision.as_ref());
        self.touched = None;
        self.take_position(&snapshot, header, beside);
        self.degraded = snapshot.unknown_rejected;
        if !snapshot.unknown_rejected {
            for key in self.quarantine.end_list() {
                self.notices.push(Notice::ObjectRecovered { key });
            }
        }
        self.publish();
        self.tell_commit(snapshot.reason, difference);
        self.last_list = self.now;
        self.verify_due = self
            .config
            .timing
            .verify_period
            .map(|period| self.now.saturating_add(period));
        Committed::Yes
    }

    fn accepts_rewind(
        &mut self,
        snapshot: &mut Snapshot<K, V>,
        revision: Option<&Revision>,
    ) -> bool {
        let (policy, lag) = (self.config.policy.rewind, self.config.source.replica_lag);
        let accepted =
            revision.is_some_and(|revision| self.rewind.judge(policy, lag, self.now, revision));
        if accepted {
            self.rewind.clear();
            snapshot.rewound = true;
        }
        accepted
    }

    /// Revisions before and after mean different things: said before the first delta of the new
    /// history, and counted in every mark.
    fn announce_rewind(&mut self, header: &Header) {
        self.notices.push(Notice::Rewound {
            from: self.position.seen.clone(),
            to: header.revision.clone(),
            epoch: header.epoch.clone(),
        });
        self.cache.rewind();
        self.position.forget_revisions();
        self.graves.clear();
    }

    /// Brings the cache to the state that was collected.
    fn replace(
        &mut self,
        snapshot: &mut Snapshot<K, V>,
        revision: Option<&Revision>,
    ) -> Difference {
        let compare = match (snapshot.rewound, snapshot.shortcuts) {
            (true, _) => Compare::Rewound,
            (false, true) => Compare::Versions,
            (false, false) => Compare::Content,
        };
        let mut difference = Difference::default();
        let settled = self.settles(snapshot, revision);
        for change in core::mem::take(&mut snapshot.staging.changes) {
            let (key, version) = match &change {
                Staged::Upsert(upsert) => (upsert.key.clone(), Some(upsert.version.clone())),
                Staged::Delete { key, .. } => (key.clone(), None),
            };
            if self.is_newer_than_list(&key, revision) {
                self.cache.mark(key.borrow());
                continue;
            }
            let applied = self.apply(change, compare);
            self.cache.mark(key.borrow());
            match applied {
                Applied::Added => difference.added += 1,
                Applied::Updated => difference.updated += 1,
                Applied::Unchanged => continue,
            }
            let old_news =
                version.is_some_and(|version| self.is_old_news(snapshot, &version.as_revision()));
            difference.diverged += usize::from(settled || old_news);
        }
        if !snapshot.unknown_rejected {
            difference.deleted = self.delete_missing(revision);
            difference.diverged += if settled { difference.deleted } else { 0 };
        }
        difference
    }

    /// Objects that a complete list does not have are gone; nobody saw their deletes.
    fn delete_missing(&mut self, revision: Option<&Revision>) -> usize {
        let touched = self.touched.take();
        let deleted = self.cache.delete_unmarked(&mut |key| {
            touched
                .as_ref()
                .is_some_and(|touched| is_touched_after(touched.get(key), revision))
        });
        self.touched = touched;
        deleted
    }

    /// Whether a list that runs beside the watch has been overtaken by an event about this key.
    fn is_newer_than_list(&self, key: &K, revision: Option<&Revision>) -> bool {
        self.touched
            .as_ref()
            .is_some_and(|touched| is_touched_after(touched.get(key), revision))
    }

    /// Whether the watch had already brought everything up to a verifying list's revision, so that
    /// each difference is a divergence.
    fn settles(&self, snapshot: &Snapshot<K, V>, revision: Option<&Revision>) -> bool {
        if snapshot.reason != ListReason::Verify || snapshot.rewound {
            return false;
        }
        match (revision, &self.position.complete) {
            (Some(list), Some(ours)) if self.position.ordered => !is_before(ours, list),
            (Some(list), Some(ours)) => list == ours,
            (None, _) | (_, None) => false,
        }
    }

    /// Whether a difference is in a version that the watch should have brought.
    fn is_old_news(&self, snapshot: &Snapshot<K, V>, commit: &Revision) -> bool {
        snapshot.reason == ListReason::Verify
            && !snapshot.rewound
            && self.config.source.commit_revisions
            && self
                .position
                .complete
                .as_ref()
                .is_some_and(|ours| commit.is_decimal() && !is_before(ours, commit))
    }

    fn take_position(&mut self, snapshot: &Snapshot<K, V>, header: Header, beside: bool) {
        if header.epoch.is_some() {
            self.position.epoch = header.epoch;
        }
        let Some(revision) = header.revision else {
            self.position.forget_revisions();
            return;
        };
        let behind_watch = beside
            && self.position.ordered
            && self
                .position
                .complete
                .as_ref()
                .is_some_and(|ours| is_before(&revision, ours));
        if behind_watch {
            return;
        }
        self.position.complete_at(revision.clone());
        if self.config.source.class == Class::Fuzzy
            && let Some(newest) = &snapshot.newest
            && *newest != revision
        {
            self.position.fuzzy_until = Some(newest.clone());
            self.position.saw(newest.clone());
        }
    }

    /// Gives subscribers the point that they can catch up to.
    pub(crate) fn publish(&mut self) {
        let complete = self.position.is_whole() && !self.degraded;
        self.cache.publish(self.position.seen.clone(), complete);
        self.report_lapsed();
    }

    fn tell_commit(&mut self, reason: ListReason, difference: Difference) {
        let Difference {
            added,
            updated,
            deleted,
            diverged,
        } = difference;
        if core::mem::take(&mut self.frozen) {
            self.notices.push(Notice::Thawed);
        }
        if diverged > 0 {
            self.notices.push(Notice::Diverged { objects: diverged });
        }
        if !self.synced {
            self.synced = true;
            let (revision, objects) = (self.position.seen.clone(), self.cache.len());
            self.notices.push(Notice::Synced { revision, objects });
            return;
        }
        let routine = matches!(
            reason,
            ListReason::Poll | ListReason::Hint | ListReason::Verify
        );
        if !routine || added + updated + deleted > 0 {
            self.notices.push(Notice::Relisted {
                reason,
                added,
                updated,
                deleted,
            });
        }
    }
}

/// Whether a key was touched by an event later than `revision`. An event without a revision
/// counts as later: that is the safe side.
fn is_touched_after(touched: Option<&Option<Revision>>, revision: Option<&Revision>) -> bool {
    match (touched, revision) {
        (None, _) => false,
        (Some(Some(event)), Some(list)) => is_before(list, event),
        (Some(_), _) => true,
    }
}
