//! What a watch brings: events, batches, progress, and the end of an initial stream.

use alloc::boxed::Box;
use core::hash::BuildHasher;

use crate::cache::Upsert;
use crate::config::RevisionOrder;
use crate::digest::Digest;
use crate::informer::Informer;
use crate::input::{Change, Event, Input, Item};
use crate::key::Key;
use crate::output::{BadInput, LimitKind, ListReason, Notice, TimerReason};
use crate::probe::{canary, reach};
use crate::token::{Epoch, Revision};

use super::apply::{Compare, Refusal};
use super::commit::{Committed, Verdict};
use super::run::{Header, Snapshot, WatchKind, WatchRun};
use super::staging::Staging;
use super::{check_revision, is_before};

/// What an input makes of a watch.
pub(super) type Step<K, V> = Option<Box<WatchRun<K, V>>>;

impl<K: Key, V: Clone, S: BuildHasher + Clone> Informer<K, V, S> {
    /// Takes one input of the watch in flight. `None`: the watch is over.
    pub(crate) fn on_watch(
        &mut self,
        run: Box<WatchRun<K, V>>,
        input: Input<'_, K, V>,
    ) -> Step<K, V> {
        let step = self.watch_word(run, input);
        // A word that was accepted shows that the cache follows the source.
        if let Some(run) = &step
            && run.spoke
            && matches!(run.kind, WatchKind::Changes { .. })
        {
            if run.confirms {
                self.confirm_restored();
            }
            self.calm();
        }
        step
    }

    fn watch_word(&mut self, mut run: Box<WatchRun<K, V>>, input: Input<'_, K, V>) -> Step<K, V> {
        run.heard = self.now;
        match input {
            Input::Opened { epoch } => return self.opened(run, epoch),
            Input::Closed => return self.watch_closed(run),
            Input::Failed(failure) => return self.watch_failed(run, failure),
            Input::Heartbeat => self.delivered(&mut run),
            Input::Hint => {
                self.delivered(&mut run);
                if matches!(run.kind, WatchKind::Hints) {
                    self.hinted(ListReason::Hint);
                } else {
                    reach!("hint in a watch of changes");
                    self.want_verify_after_loss();
                }
            }
            Input::Undecodable { error, .. } => self.unknown_event(&mut run, error),
            Input::Event(event) => return self.event(run, event),
            Input::BatchEnd { revision } => return self.batch_end(run, revision),
            Input::Progress { revision, digest } => return self.progressed(run, revision, digest),
            Input::InitialEnd { revision } => return self.initial_end(run, revision),
            Input::Page { .. } | Input::Item(_) | Input::PageEnd { .. } | Input::Unmodified => {
                return self.refuse_watch(run, BadInput::OutOfPlace);
            }
        }
        Some(run)
    }

    fn opened(&mut self, mut run: Box<WatchRun<K, V>>, epoch: Option<Epoch>) -> Step<K, V> {
        run.opened.get_or_insert(self.now);
        if let WatchKind::Initial(snapshot) = &mut run.kind {
            if snapshot.header.is_some() || snapshot.items > 0 {
                // Its items were judged by another epoch.
                return self.refuse_watch(run, BadInput::OutOfPlace);
            }
            match self.judge_epoch(snapshot, epoch.as_ref()) {
                Verdict::Take | Verdict::Older => {}
                Verdict::Bad(what) => return self.refuse_watch(run, what),
                Verdict::EpochRefused => return self.epoch_refused(run),
            }
            snapshot.header = Some(Header {
                epoch,
                revision: None,
            });
            return Some(run);
        }
        if epoch
            .as_ref()
            .is_some_and(|epoch| epoch.as_str().len() > self.config.limits.token_bytes)
        {
            return self.refuse_watch(run, BadInput::TokenTooLong);
        }
        if !self.position.continues(epoch.as_ref()) {
            return self.new_epoch(run, epoch);
        }
        if self.position.epoch.is_none() {
            self.position.epoch = epoch;
        }
        self.well_since.get_or_insert(self.now);
        if !self.synced {
            // An open watch alone proves nothing of what was restored: some sources leave one open
            // from a revision that they no longer have, for ever.
            let by = self.now.saturating_add(self.config.timing.stable_after);
            self.confirm_by.get_or_insert(by);
        }
        if canary!(ResetBackoffOnOpen) {
            self.backoff.reset();
        }
        if matches!(run.kind, WatchKind::Hints) {
            // What changed before the hints began to flow. Only lists can make it live.
            self.hinted(ListReason::Hint);
        } else if self.dead_ends == 0 || self.config.source.heartbeat.is_none() {
            self.calm();
        }
        Some(run)
    }

    /// Something came: the watch is alive.
    fn delivered(&mut self, run: &mut WatchRun<K, V>) {
        run.opened.get_or_insert(self.now);
        run.spoke = true;
        self.well_since.get_or_insert(self.now);
        if !matches!(run.kind, WatchKind::Initial(_)) {
            self.gone_in_a_row = 0;
        }
    }

    /// The watch brought something beyond the point that it resumed from.
    fn stepped(&mut self, run: &mut WatchRun<K, V>) {
        self.delivered(run);
        run.stepped = true;
        self.dead_ends = 0;
    }

    /// Whether a source that tells of this revision has all that we have seen.
    fn reaches(&self, revision: &Revision) -> bool {
        let seen = self.position.seen.as_ref();
        seen.is_none_or(|seen| !is_before(revision, seen))
    }

    /// A hint schedules a list; many hints schedule one.
    fn hinted(&mut self, reason: ListReason) {
        if self.side.is_none() {
            self.go_beside(reason, self.now, TimerReason::Paced);
        }
    }

    /// An event whose key is not known is lost: nobody can say which object is out of date.
    fn unknown_event(&mut self, run: &mut WatchRun<K, V>, error: &str) {
        self.delivered(run);
        self.reject_unknown(error);
        if let WatchKind::Initial(snapshot) = &mut run.kind {
            snapshot.unknown_rejected = true;
        } else {
            reach!("event with unknown key lost");
            run.unread = true;
            self.degrade();
        }
    }

    /// An event is lost; only a list that begins from now on makes up for it (P5).
    fn degrade(&mut self) {
        self.degraded = true;
        self.want_verify_after_loss();
        if let Some(list) = &mut self.list {
            reach!("event lost while a list runs");
            list.snapshot.unknown_rejected = true;
        }
    }

    /// Gives subscribers what the watch has brought. An event that could not be read is of this
    /// revision at the latest: a list that was taken in between may still have been older.
    fn show(&mut self, run: &mut WatchRun<K, V>) {
        if core::mem::take(&mut run.unread) {
            self.degrade();
        }
        self.publish();
    }

    fn event(&mut self, mut run: Box<WatchRun<K, V>>, event: Event<'_, K, V>) -> Step<K, V> {
        self.delivered(&mut run);
        match &mut run.kind {
            WatchKind::Hints => self.refuse_watch(run, BadInput::OutOfPlace),
            WatchKind::Initial(snapshot) => match self.collect_event(snapshot, event.change) {
                Ok(()) => Some(run),
                Err(Refusal::Bad(what)) => self.refuse_watch(run, what),
                Err(Refusal::Limit(limit)) => {
                    self.watch = Some(run);
                    self.freeze(limit);
                    None
                }
            },
            WatchKind::Changes { .. } => {
                let (order, limit) = (self.config.source.order, self.config.limits.token_bytes);
                let checked =
                    check_revision(event.revision.as_ref(), order, limit).and_then(|()| {
                        check_revision(event.previous.as_ref(), RevisionOrder::Opaque, limit)
                    });
                match checked {
                    Ok(()) => self.change(run, event),
                    Err(what) => self.refuse_watch(run, what),
                }
            }
        }
    }

    /// An object of an initial stream. A delete in it takes back what the stream brought before.
    fn collect_event(
        &mut self,
        snapshot: &mut Snapshot<K, V>,
        change: Change<'_, K, V>,
    ) -> Result<(), Refusal> {
        match change {
            Change::Upsert(item) => self.collect(snapshot, item),
            Change::Delete(removal) => {
                reach!("delete in an initial stream");
                snapshot.staging.delete(removal);
                if snapshot.staging.bytes > self.config.limits.staged_bytes {
                    return Err(Refusal::Limit(LimitKind::StagedBytes));
                }
                Ok(())
            }
        }
    }

    fn change(&mut self, mut run: Box<WatchRun<K, V>>, event: Event<'_, K, V>) -> Step<K, V> {
        let Event {
            change,
            revision,
            previous,
        } = event;
        let ordered = self.position.ordered;
        if let (true, Some(revision)) = (ordered, &revision) {
            if self
                .position
                .complete
                .as_ref()
                .is_some_and(|complete| !is_before(complete, revision))
            {
                // Already complete here: a duplicate. Nothing to do, and nothing lost.
                reach!("duplicate event ignored");
                return Some(run);
            }
            if run
                .seen
                .as_ref()
                .is_some_and(|seen| is_before(revision, seen))
            {
                reach!("event below its watch's revision");
                return self.refuse_watch(run, BadInput::RevisionWentBack);
            }
        }
        run.confirms |= revision
            .as_ref()
            .is_some_and(|revision| self.reaches(revision));
        let new_transaction = revision.is_some() && run.seen != revision;
        if new_transaction {
            if let WatchKind::Changes { batch: Some(_) } = run.kind {
                // The batch before it was never closed: its end is lost, and perhaps more (P5).
                reach!("batch without an end before the next one");
                return self.refuse_watch(run, BadInput::WrongBatchEnd);
            }
            if let Some(expected) = previous
                && let Some(have) = self.missed(&run, &expected)
                && !canary!(SkipGap)
            {
                reach!("gap found");
                self.notices.push(Notice::Gap { have, expected });
                return self.lost(run);
            }
            if !self.config.source.batch_ends
                && let Some(closed) = run.seen.take()
            {
                // A higher revision in the same attempt: the one before it is complete.
                reach!("partial revision completed by the next one");
                self.position.complete_at(closed);
                self.stepped(&mut run);
            }
            run.seen.clone_from(&revision);
        }
        self.stage(run, change, revision)
    }

    /// Whether a transaction's predecessor has not been seen; our last revision if so.
    fn missed(&self, run: &WatchRun<K, V>, expected: &Revision) -> Option<Revision> {
        if !self.config.source.predecessors {
            return None;
        }
        let have = match (&run.seen, &self.position.complete) {
            (Some(seen), _) if !self.config.source.batch_ends => seen,
            (_, Some(complete)) => complete,
            (_, None) => return None,
        };
        let missed = if self.position.ordered {
            is_before(have, expected)
        } else {
            have != expected
        };
        missed.then(|| have.clone())
    }

    /// Puts a change where it waits for the end of its transaction, or applies it at once where
    /// the source does not say where that is.
    fn stage(
        &mut self,
        mut run: Box<WatchRun<K, V>>,
        change: Change<'_, K, V>,
        revision: Option<Revision>,
    ) -> Step<K, V> {
        let mut staging = Staging::new();
        let (batched, batch) = match (&mut run.kind, &revision) {
            (WatchKind::Changes { batch }, Some(revision))
                if self.config.source.batch_ends && !canary!(TearBatch) =>
            {
                (
                    true,
                    &mut batch
                        .get_or_insert_with(|| (revision.clone(), Staging::new()))
                        .1,
                )
            }
            _ => (false, &mut staging),
        };
        match change {
            Change::Upsert(item) => {
                let Item {
                    key,
                    version,
                    incarnation,
                    size,
                    body,
                } = item;
                if self.admits(key) {
                    let value = match self.judge_body(version, body) {
                        Err(error) => {
                            batch.reject(key, version, error, size);
                            None
                        }
                        // The cache has it. It counts all the same: it may be good again.
                        Ok(None) => match self.held(key, version, incarnation) {
                            Some(value) => Some(value),
                            None => return self.refuse_watch(run, BadInput::NotHeld),
                        },
                        Ok(value) => value,
                    };
                    if let Some(value) = value {
                        if !batched {
                            let upsert = Upsert {
                                key,
                                owned: None,
                                version,
                                incarnation,
                                value,
                                size,
                            };
                            return self.upsert_at_once(run, upsert, revision);
                        }
                        batch.upsert(key, version, incarnation, value, size);
                    }
                }
            }
            Change::Delete(removal) => batch.delete(removal),
        }
        if batch.bytes > self.config.limits.staged_bytes {
            return self.over(run, LimitKind::StagedBytes);
        }
        if batched {
            return Some(run);
        }
        if let Some(limit) = self.over_limit(&staging.changes) {
            return self.over(run, limit);
        }
        self.apply_events(staging.changes, revision.as_ref());
        if let Some(revision) = revision {
            self.position.saw(revision);
        }
        self.show(&mut run);
        Some(run)
    }

    /// Applies the change that most events bring, without staging it first: that would allocate.
    fn upsert_at_once(
        &mut self,
        mut run: Box<WatchRun<K, V>>,
        upsert: Upsert<'_, K, V>,
        revision: Option<Revision>,
    ) -> Step<K, V> {
        let limit = if Staging::<K, V>::cost(upsert.size) > self.config.limits.staged_bytes {
            Some(LimitKind::StagedBytes)
        } else {
            self.over_limit_with(upsert.key, upsert.size)
        };
        if let Some(limit) = limit {
            return self.over(run, limit);
        }
        if self.list.is_some() {
            self.touch(&upsert.to_key(), revision.as_ref());
        }
        self.apply_upsert(upsert, Compare::Versions);
        if let Some(revision) = revision {
            self.position.saw(revision);
        }
        self.show(&mut run);
        Some(run)
    }

    /// What the watch brought does not fit.
    fn over(&mut self, run: Box<WatchRun<K, V>>, limit: LimitKind) -> Step<K, V> {
        reach!(
            "batch over the limit for what is staged",
            limit == LimitKind::StagedBytes
        );
        self.watch = Some(run);
        self.freeze(limit);
        None
    }

    fn batch_end(&mut self, mut run: Box<WatchRun<K, V>>, revision: Revision) -> Step<K, V> {
        let WatchKind::Changes { batch } = &mut run.kind else {
            return self.refuse_watch(run, BadInput::OutOfPlace);
        };
        let Some((open, staging)) = batch.take() else {
            // Nothing of that transaction was for us, or it was a duplicate: it is progress.
            reach!("end of a batch that brought nothing");
            return self.progress(run, revision, None);
        };
        if open != revision {
            reach!("end of another batch");
            return self.refuse_watch(run, BadInput::WrongBatchEnd);
        }
        if let Some(limit) = self.over_limit(&staging.changes) {
            return self.over(run, limit);
        }
        self.apply_events(staging.changes, Some(&revision));
        self.position.complete_at(revision);
        self.stepped(&mut run);
        self.show(&mut run);
        Some(run)
    }

    /// The source says how far it is. One that was set back stays behind us for ever, and must not
    /// pass for live because of that; a replica that lags catches up, and then confirms it.
    fn progressed(
        &mut self,
        run: Box<WatchRun<K, V>>,
        revision: Revision,
        digest: Option<Digest>,
    ) -> Step<K, V> {
        let changes = matches!(run.kind, WatchKind::Changes { .. });
        let lags = changes && self.position.ordered && !self.reaches(&revision);
        let (spoke, since) = (run.spoke, run.lags_since.filter(|_| !run.confirms));
        let mut run = self.progress(run, revision, digest)?;
        if lags {
            reach!("watch that lags behind the cache");
            run.spoke = spoke;
            run.confirms = false;
            run.lags_since = since.or(Some(self.now));
        }
        Some(run)
    }

    fn progress(
        &mut self,
        mut run: Box<WatchRun<K, V>>,
        revision: Revision,
        digest: Option<Digest>,
    ) -> Step<K, V> {
        let limit = self.config.limits.token_bytes;
        if let Err(what) = check_revision(Some(&revision), self.config.source.order, limit) {
            return self.refuse_watch(run, what);
        }
        self.delivered(&mut run);
        match &run.kind {
            // A batch that was never closed: the revision does not advance past it (P5).
            WatchKind::Changes { batch: Some(_) } if !canary!(ProgressCompletesBatch) => {
                reach!("progress in the middle of a batch");
                return self.refuse_watch(run, BadInput::WrongBatchEnd);
            }
            WatchKind::Changes { .. } => {}
            WatchKind::Initial(_) | WatchKind::Hints => return Some(run),
        }
        let newest = [run.seen.as_ref(), self.position.complete.as_ref()];
        if self.position.ordered
            && newest
                .iter()
                .flatten()
                .any(|newest| is_before(&revision, newest))
        {
            // Progress that goes backwards says nothing.
            reach!("progress that goes backwards");
            if canary!(ProgressLowersRevision) {
                self.position.forget_revisions();
                self.position.complete_at(revision);
                self.show(&mut run);
            }
            return Some(run);
        }
        run.confirms |= self.reaches(&revision);
        if let Some(digest) = digest
            && self.is_comparable_at(&revision)
            && self.cache.digest().is_some_and(|ours| ours != digest)
            && !canary!(IgnoreDigest)
        {
            reach!("digest mismatch");
            self.notices.push(Notice::DigestMismatch { revision });
            return self.diverged(&run);
        }
        if self.position.complete.as_ref() != Some(&revision) {
            reach!(
                "partial revision completed by progress",
                !self.position.is_whole()
            );
            self.position.complete_at(revision);
            self.stepped(&mut run);
            self.show(&mut run);
        }
        Some(run)
    }

    /// Whether the cache should be what the source has at this revision: nothing rejected, and
    /// nothing of a later one.
    fn is_comparable_at(&self, revision: &Revision) -> bool {
        let ahead = self
            .position
            .seen
            .as_ref()
            .is_some_and(|seen| is_before(revision, seen));
        self.quarantine.is_empty() && !self.degraded && !ahead
    }

    fn initial_end(
        &mut self,
        mut run: Box<WatchRun<K, V>>,
        revision: Option<Revision>,
    ) -> Step<K, V> {
        let WatchKind::Initial(snapshot) =
            core::mem::replace(&mut run.kind, WatchKind::Changes { batch: None })
        else {
            return self.refuse_watch(run, BadInput::OutOfPlace);
        };
        let mut snapshot = snapshot;
        let epoch = snapshot.header.take().and_then(|header| header.epoch);
        let full_payloads = !snapshot.shortcuts;
        let floor = self.floor();
        match self.judge_revision(&mut snapshot, Header { epoch, revision }, floor) {
            Verdict::Take if snapshot.older && !full_payloads => {
                // A stream tells its revision last: versions were taken for content, which does
                // not do for a rewind.
                reach!("older stream asked for again in full");
                self.full_payloads = true;
                return self.older_stream(&run);
            }
            Verdict::Take => {}
            Verdict::Bad(what) => return self.refuse_watch(run, what),
            Verdict::EpochRefused | Verdict::Older => return self.older_stream(&run),
        }
        match self.commit_snapshot(snapshot, false) {
            Committed::Yes => {
                run.confirms = true;
                self.has_read(run.attempt);
            }
            Committed::Older => return self.older_stream(&run),
            Committed::Frozen => {
                self.cancel(run.attempt);
                return None;
            }
        }
        self.delivered(&mut run);
        self.dead_ends = 0;
        self.calm();
        Some(run)
    }
}
