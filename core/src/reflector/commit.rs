//! A full state becomes visible at once and whole.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use crate::config::{Class, Feed, OnNewEpoch, OnRewind, RevisionOrder};
use crate::informer::Informer;
use crate::key::Key;
use crate::output::{BadInput, ListReason, Notice, State};
use crate::probe::{canary, reach};
use crate::token::{Epoch, Revision, Version, VersionRef};

use super::apply::{Applied, Compare, same_incarnation};
use super::run::{Header, Snapshot, WatchKind};
use super::staging::{Staged, StagedUpsert};
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
                reach!("new epoch in a full state");
                reach!(
                    "restored into another epoch",
                    !self.synced && self.cache.is_synced()
                );
                snapshot.rewound = true;
                snapshot.shortcuts &= canary!(TrustVersionsAcrossEpochs);
                Verdict::Take
            }
            OnNewEpoch::Refuse => {
                reach!("new epoch of a full state refused");
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
        if canary!(AcceptStaleList) || !is_before(&got, &have) {
            reach!("evidence of a rewind refuted", self.rewind.has_evidence());
            self.rewind.clear();
            return Verdict::Take;
        }
        reach!(
            "restored, and the list is older",
            !self.synced && self.cache.is_synced()
        );
        self.notices.push(Notice::StaleList { got, have });
        if has_epoch || self.config.policy.rewind == OnRewind::Refuse {
            reach!("stale list refused");
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
        mut snapshot: Box<Snapshot<K, V>>,
        beside: bool,
    ) -> Committed {
        let header = snapshot.header.take().unwrap_or(Header {
            epoch: None,
            revision: None,
        });
        if snapshot.older && !self.accepts_rewind(&mut snapshot, header.revision.as_ref()) {
            reach!("older list kept as evidence of a rewind");
            return Committed::Older;
        }
        if snapshot.unknown_rejected
            && let Some(limit) = self.over_limit(&snapshot.staging.changes)
        {
            reach!("degraded list does not fit");
            self.freeze(limit);
            return Committed::Frozen;
        }
        let nameless = header.epoch.is_none();
        if nameless
            && !snapshot.shortcuts
            && self.shows_another_history(&snapshot, header.revision.as_ref())
        {
            reach!("rewind found by a verify of the content");
            snapshot.rewound = true;
        }
        if snapshot.rewound {
            // What a watch beside it told of since belongs to a history that is no more.
            snapshot.touched.clear();
            snapshot.unmarked.clear();
            self.announce_rewind(&header);
            let mut changes = snapshot.staging.changes.iter();
            let rejected = changes.any(|change| matches!(change, Staged::Rejected { .. }));
            if snapshot.unknown_rejected || rejected {
                reach!("poison in another history");
                self.forget_versions(true);
            }
        }
        // Nobody knows which of these the list makes good again: the next one will.
        let unsure = self.quarantine.begin_list();
        self.cache
            .expect_gap(self.hides_changes(&snapshot, &header, beside));
        let difference = self.replace(&mut snapshot, header.revision.as_ref());
        if !snapshot.unknown_rejected {
            self.end_quarantine(&snapshot, header.revision.as_ref());
        }
        self.take_position(&snapshot, header, beside);
        self.degraded = snapshot.unknown_rejected;
        self.cache.confirm();
        self.publish();
        self.tell_commit(snapshot.reason, difference);
        self.full_payloads &= snapshot.shortcuts;
        self.last_list = self.now;
        if let Some(period) = self.config.timing.verify_period {
            self.want_verify(self.now.saturating_add(period));
        }
        reach!("degraded list", self.degraded);
        if self.degraded || unsure {
            self.want_verify_after_loss();
        }
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
            reach!("rewind accepted after several older lists");
            self.rewind.clear();
            snapshot.rewound = true;
        }
        accepted
    }

    /// Whether a state that is not older than ours holds an object in an older version: no history
    /// goes that way, so the source was set back and has overtaken our revision since.
    fn shows_another_history(
        &self,
        snapshot: &Snapshot<K, V>,
        revision: Option<&Revision>,
    ) -> bool {
        let source = &self.config.source;
        let told = source.versions_ordered
            && source.order == RevisionOrder::Ordered
            && source.class != Class::Fuzzy;
        told && snapshot.staging.changes.iter().any(|change| match change {
            Staged::Upsert(upsert) if !snapshot.is_overtaken(&upsert.key, revision) => {
                self.holds_newer(upsert)
            }
            Staged::Upsert(_) | Staged::Delete(_) | Staged::Rejected { .. } => false,
        })
    }

    fn holds_newer(&self, upsert: &StagedUpsert<K, V>) -> bool {
        self.cache.entry(upsert.key.borrow()).is_some_and(|entry| {
            same_incarnation(entry.incarnation, upsert.incarnation)
                && upsert.version.as_ref().is_older_than(entry.version)
        })
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

    /// What survives a rewind only because its new state was rejected has a version of the old
    /// history: the same version may stand for other content now, and a lower one may be newer.
    fn forget_versions(&mut self, marked_too: bool) {
        let keys = self.cache.iter().map(|entry| entry.key);
        let of = |key: &&K| marked_too || !self.cache.has_marked((*key).borrow());
        let kept: Vec<_> = keys.filter(of).cloned().collect();
        for key in kept {
            self.forget_version(&key);
        }
    }

    fn forget_version(&mut self, key: &K) {
        let place = self.cache.place(key.borrow());
        let size = self.cache.entry_at(place).map(|entry| entry.size);
        if let Some(size) = size {
            self.cache.restamp_at(place, VersionRef::NONE, None, size);
        }
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
        self.cache.reserve(snapshot.staging.changes.len());
        for change in core::mem::take(&mut snapshot.staging.changes) {
            let key = change.key();
            if snapshot.is_overtaken(key, revision) {
                reach!(
                    "delete above a running verify's revision",
                    !self.cache.contains(key.borrow())
                );
                self.cache.mark(key.borrow());
                continue;
            }
            let mut old_news = false;
            match &change {
                Staged::Upsert(upsert) => {
                    self.graves.reopen(key);
                    old_news = self.is_old_news(snapshot, &upsert.version);
                }
                // What is kept instead may belong to another history, and so may its version.
                Staged::Rejected { .. } if compare == Compare::Content => self.forget_version(key),
                Staged::Rejected { .. } | Staged::Delete(_) => {}
            }
            let (applied, place) = self.apply(change, compare);
            self.cache.mark_at(place);
            match applied {
                Applied::Added => difference.added += 1,
                Applied::Updated => difference.updated += 1,
                Applied::Unchanged => continue,
            }
            difference.diverged += usize::from(settled || old_news);
        }
        if snapshot.unknown_rejected && compare == Compare::Content {
            // Any of what the list does not show may be what could not be read of it.
            self.forget_versions(false);
        }
        if canary!(InferDespiteUnknown) || !snapshot.unknown_rejected {
            // Nobody saw their deletes.
            difference.deleted = self.cache.delete_unmarked(&mut |key| {
                snapshot.is_overtaken(key, revision) || snapshot.unmarked.contains(key)
            });
            difference.diverged += if settled { difference.deleted } else { 0 };
        }
        difference
    }

    /// Whether versions may have come and gone unseen before a full state, even if it is what we
    /// have. Not if nothing can have happened since; nor if a watch of changes has told everything
    /// up to its revision, or is going to: then only a difference shows that it has not.
    fn hides_changes(&self, snapshot: &Snapshot<K, V>, header: &Header, beside: bool) -> bool {
        let watched = self
            .watch
            .as_ref()
            .is_some_and(|watch| matches!(watch.kind, WatchKind::Changes { .. }));
        let still = header.revision.is_some()
            && header.revision == self.position.complete
            && self.position.is_whole();
        snapshot.rewound || !(still || beside && watched)
    }

    /// What the list did not reject is good again, or gone.
    fn end_quarantine(&mut self, snapshot: &Snapshot<K, V>, revision: Option<&Revision>) {
        let released = self
            .quarantine
            .end_list(|key| snapshot.is_overtaken(key, revision));
        for key in released {
            reach!("poison gone from a list");
            self.notices.push(Notice::ObjectRecovered { key });
        }
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
    fn is_old_news(&self, snapshot: &Snapshot<K, V>, version: &Version) -> bool {
        let told = snapshot.reason == ListReason::Verify
            && !snapshot.rewound
            && self.config.source.commit_revisions;
        told && self.position.complete.as_ref().is_some_and(|ours| {
            let commit = version.as_revision();
            commit.is_decimal() && !is_before(ours, &commit)
        })
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
            reach!("verify beside the watch is older than the watch");
        } else {
            self.position.complete_at(revision.clone());
        }
        if self.config.source.class == Class::Fuzzy
            && let Some(newest) = &snapshot.newest
        {
            self.position.saw(newest.clone());
        }
    }

    /// Whether the cache, quarantined keys apart, shows one state of the source (P3). Mixed pages
    /// become one only by a watch that passes them.
    pub(super) fn is_one_state(&self) -> bool {
        let source = &self.config.source;
        let passed = match source.feed {
            Feed::ListWatch | Feed::InitialStream => true,
            Feed::FullState { .. } | Feed::HintOnly => source.class != Class::Fuzzy,
        };
        self.position.is_whole() && !self.degraded && passed
    }

    /// Gives subscribers the point that they can catch up to.
    pub(crate) fn publish(&mut self) {
        let complete = canary!(CallPartialComplete) || self.is_one_state();
        self.cache.publish(self.position.seen.clone(), complete);
        self.report_lapsed();
    }

    /// The source has told that its history goes through what was restored (P9).
    pub(super) fn confirm_restored(&mut self) {
        if !self.synced {
            reach!("restored state confirmed by the watch");
            self.cache.confirm();
            self.publish();
            self.tell_synced();
        }
    }

    pub(super) fn tell_synced(&mut self) {
        self.synced = true;
        self.confirm_by = None;
        let (revision, objects) = (self.position.seen.clone(), self.cache.len());
        self.notices.push(Notice::Synced { revision, objects });
    }

    fn tell_commit(&mut self, reason: ListReason, difference: Difference) {
        let Difference {
            added,
            updated,
            deleted,
            diverged,
        } = difference;
        if core::mem::take(&mut self.frozen) {
            reach!("thawed");
            self.notices.push(Notice::Thawed);
        }
        if diverged > 0 {
            reach!("verify found divergence");
            self.notices.push(Notice::Diverged { objects: diverged });
        }
        if !self.synced {
            reach!(
                "restored state replaced by a list",
                self.status.state == State::Stale
            );
            self.tell_synced();
            return;
        }
        reach!("deletes inferred from a list", deleted > 0);
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
