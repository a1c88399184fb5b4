//! The pages of a list, until it commits at once and whole.

use alloc::boxed::Box;
use core::hash::BuildHasher;

use crate::config::{Class, Feed};
use crate::informer::Informer;
use crate::input::{Failure, FailureClass, Input};
use crate::key::Key;
use crate::output::{BadInput, Command, Condition, LimitKind, ListReason, Notice, TimerReason};
use crate::probe::{canary, reach};
use crate::token::{Epoch, Revision};

use super::apply::{Compare, Refusal};
use super::commit::{Committed, Verdict};
use super::run::{Header, ListRun, Retry, WatchKind};
use super::steer::retry_for;
use super::{check_revision, is_before};

/// What an input makes of a list.
type Step<K, V> = Option<Box<ListRun<K, V>>>;

impl<K: Key, V: Clone, S: BuildHasher + Clone> Informer<K, V, S> {
    /// Takes one input of the list in flight. `None`: the list is over.
    pub(crate) fn on_list(
        &mut self,
        mut run: Box<ListRun<K, V>>,
        input: Input<'_, K, V>,
    ) -> Step<K, V> {
        run.heard = Some(self.now);
        match input {
            Input::Page { epoch, revision } if !run.in_page && !self.is_unasked(&run) => {
                self.page(run, epoch, revision)
            }
            Input::Item(item) if run.in_page => match self.collect(&mut run.snapshot, item) {
                Ok(()) => Some(run),
                Err(refusal) => self.refuse_item(run, refusal),
            },
            Input::Undecodable { error, .. } if run.in_page => {
                run.snapshot.unknown_rejected = true;
                self.reject_unknown(error);
                Some(run)
            }
            Input::PageEnd { next } if run.in_page => self.page_end(run, next),
            Input::Unmodified if run.known.is_some() && run.pages == 0 && !run.in_page => {
                reach!("not modified");
                self.has_read(run.attempt);
                self.after_commit(run.beside);
                None
            }
            Input::Heartbeat => Some(run),
            Input::Closed => {
                let failure = Failure::new(
                    FailureClass::Retryable,
                    "closed before the list was complete",
                );
                self.list_failed(run, failure)
            }
            Input::Failed(failure) => self.list_failed(run, failure),
            Input::Page { .. }
            | Input::Item(_)
            | Input::Undecodable { .. }
            | Input::PageEnd { .. }
            | Input::Unmodified
            | Input::Opened { .. }
            | Input::Event(_)
            | Input::BatchEnd { .. }
            | Input::InitialEnd { .. }
            | Input::Progress { .. }
            | Input::Hint => self.refuse_list(run, BadInput::OutOfPlace),
        }
    }

    /// Whether the driver has not even polled the request for the page that comes next.
    fn is_unasked(&self, run: &ListRun<K, V>) -> bool {
        let queued = self.commands.iter().any(|command| match command {
            Command::List { attempt, .. } => *attempt == run.attempt,
            Command::Watch { .. } | Command::Cancel { .. } => false,
        });
        queued || run.page_due.is_some()
    }

    fn page(
        &mut self,
        mut run: Box<ListRun<K, V>>,
        epoch: Option<Epoch>,
        revision: Option<Revision>,
    ) -> Step<K, V> {
        run.in_page = true;
        let header = Header { epoch, revision };
        if run.pages > 0 {
            return self.later_page(run, &header);
        }
        let verdict = match self.judge_epoch(&mut run.snapshot, header.epoch.as_ref()) {
            Verdict::Take => self.judge_revision(&mut run.snapshot, header, run.floor.clone()),
            verdict => verdict,
        };
        let nameless = run
            .snapshot
            .header
            .as_ref()
            .is_some_and(|header| header.epoch.is_none());
        let older = run.snapshot.older || matches!(verdict, Verdict::Older);
        if nameless && older && self.verifies_beside(&run) && !self.watch_confirms() {
            // A watch from a revision that the source no longer has may wait for ever.
            reach!("watch from a revision that the source may not have");
            self.cancel_watch();
            run.beside = false;
        }
        match verdict {
            Verdict::Take if run.snapshot.older && self.verifies_beside(&run) => {
                reach!("verify beside the watch is older than the cache");
                // The watch beside it shows that the source was not set back.
                self.cancel(run.attempt);
                self.list_over(run, Condition::OlderThanCache, Retry::Backoff)
            }
            Verdict::Take if run.snapshot.rewound && run.beside => {
                // The watch beside it belongs to a history that is no more: start over.
                reach!("new epoch in a list beside a watch");
                self.list = Some(run);
                self.clear_line();
                self.go(
                    self.relist(ListReason::NewEpoch),
                    self.now,
                    TimerReason::Paced,
                );
                None
            }
            Verdict::Take => {
                if canary!(SyncedEarly) && !self.synced {
                    self.tell_synced();
                }
                Some(run)
            }
            Verdict::Bad(what) => self.refuse_list(run, what),
            Verdict::EpochRefused => {
                self.cancel(run.attempt);
                self.list_over(run, Condition::NewEpochRefused, Retry::Slow)
            }
            Verdict::Older => {
                self.cancel(run.attempt);
                self.list_over(run, Condition::OlderThanCache, Retry::Backoff)
            }
        }
    }

    /// The pages of a pinned list belong to one revision, or the list is torn.
    fn later_page(&mut self, mut run: Box<ListRun<K, V>>, header: &Header) -> Step<K, V> {
        let first = run.snapshot.header.as_ref();
        let same_epoch = first.is_none_or(|first| first.epoch == header.epoch);
        let same_revision = first.is_none_or(|first| first.revision == header.revision);
        let fuzzy = self.config.source.class == Class::Fuzzy;
        if !same_epoch || !(same_revision || fuzzy) {
            reach!("torn list", same_epoch);
            reach!("new epoch in mid-list", !same_epoch);
            return self.refuse_list(run, BadInput::TornList);
        }
        let (order, limit) = (self.config.source.order, self.config.limits.token_bytes);
        if let Err(what) = check_revision(header.revision.as_ref(), order, limit) {
            return self.refuse_list(run, what);
        }
        let newest = &mut run.snapshot.newest;
        if let (Some(newest), Some(revision)) = (newest, &header.revision)
            && is_before(newest, revision)
        {
            reach!("fuzzy list moves on while it is read");
            newest.clone_from(revision);
        }
        Some(run)
    }

    fn page_end(&mut self, mut run: Box<ListRun<K, V>>, next: Option<&str>) -> Step<K, V> {
        run.in_page = false;
        run.pages = run.pages.saturating_add(1);
        // An empty token is no token: asking with it would start the list again, for ever.
        let next = next.filter(|next| !next.is_empty() && !canary!(IgnoreNextPage));
        let Some(next) = next else {
            self.commit_list(run);
            return None;
        };
        if next.len() > self.config.limits.token_bytes {
            return self.refuse_list(run, BadInput::TokenTooLong);
        }
        if run.has_been_at(next) {
            reach!("repeated page token");
            return self.refuse_list(run, BadInput::RepeatedPageToken);
        }
        if canary!(PublishPages) {
            for change in core::mem::take(&mut run.snapshot.staging.changes) {
                let key = change.key().clone();
                self.apply(change, Compare::Versions);
                self.cache.mark(key.borrow());
            }
            self.publish();
        }
        if run.pages >= self.config.limits.pages {
            reach!("too many pages");
            return self.refuse_item(run, Refusal::Limit(LimitKind::Pages));
        }
        run.turn_to(next);
        run.page_due = Some(self.page_pacer.next_at().max(self.now));
        self.ask_page(&mut run);
        reach!("page waits for its turn", run.page_due.is_some());
        Some(run)
    }

    /// Asks for the next page if it is due. Pages belong to one attempt, so they are paced on
    /// their own (P7): a source whose tokens never end is not hammered either.
    pub(crate) fn ask_page(&mut self, run: &mut ListRun<K, V>) {
        if run.page_due.is_none_or(|due| due > self.now) {
            return;
        }
        if self.page_pacer.take(self.now) {
            run.page_due = None;
            run.heard = Some(self.now);
            self.commands.push_back(Command::List {
                attempt: run.attempt,
                page: run.token.clone(),
                at_least: run.at_least.clone(),
                known: None,
                epoch: self.position.epoch.clone(),
                limit: self.config.limits.page_items,
            });
        } else {
            run.page_due = Some(self.page_pacer.next_at());
        }
    }

    fn commit_list(&mut self, run: Box<ListRun<K, V>>) {
        let beside = run.beside;
        let with_watch = self.verifies_beside(&run);
        reach!("verify beside the watch", with_watch);
        let epoch = self.cache.local_epoch();
        let committed = self.commit_snapshot(run.snapshot, with_watch);
        if let Committed::Yes = committed {
            self.has_read(run.attempt);
        }
        match committed {
            Committed::Yes if self.cache.local_epoch() != epoch && with_watch => {
                // The watch beside it belongs to a history that is no more.
                self.cancel_watch();
                self.after_commit(false);
            }
            Committed::Yes => {
                self.overtake_watch();
                self.after_commit(beside);
            }
            Committed::Older => {
                // Evidence of a rewind, but not enough yet: another list, any state will do.
                self.trouble(Condition::OlderThanCache);
                self.unconstrained = true;
                let (at, why) = self.retry_at(Retry::Backoff);
                self.go_on_listing(beside, ListReason::Retry, at, why);
            }
            Committed::Frozen => {}
        }
    }

    /// Whether it runs beside a watch that brings changes.
    fn verifies_beside(&self, run: &ListRun<K, V>) -> bool {
        run.beside && self.config.source.feed != Feed::HintOnly
    }

    /// Whether the watch shows that the source has our revision.
    fn watch_confirms(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.confirms)
    }

    /// What the watch had begun is in the list, if that has come further.
    fn overtake_watch(&mut self) {
        let complete = self.position.complete.as_ref();
        let overtaken = |at: &Revision| complete.is_some_and(|complete| !is_before(complete, at));
        if let Some(run) = &mut self.watch {
            run.seen.take_if(|seen| overtaken(seen));
            if let WatchKind::Changes { batch } = &mut run.kind
                && batch.take_if(|(at, _)| overtaken(at)).is_some()
            {
                reach!("open batch overtaken by a list");
            }
        }
    }

    /// A complete state is in the cache: a new one, or still the one that is there.
    fn after_commit(&mut self, beside: bool) {
        self.dead_ends = 0;
        if matches!(self.config.source.feed, Feed::FullState { .. }) {
            self.well_since.get_or_insert(self.now);
        }
        self.calm();
        if beside {
            self.start_due();
        } else {
            self.follow();
        }
    }

    fn go_on_listing(
        &mut self,
        beside: bool,
        reason: ListReason,
        at: crate::Timestamp,
        why: TimerReason,
    ) {
        if beside {
            self.go_beside(reason, at, why);
        } else {
            self.go(self.relist(reason), at, why);
        }
    }

    pub(crate) fn refuse_item(&mut self, run: Box<ListRun<K, V>>, refusal: Refusal) -> Step<K, V> {
        match refusal {
            Refusal::Bad(what) => self.refuse_list(run, what),
            Refusal::Limit(limit) => {
                self.list = Some(run);
                self.freeze(limit);
                None
            }
        }
    }

    /// What came is not the protocol: end the list, and start it again later.
    fn refuse_list(&mut self, run: Box<ListRun<K, V>>, what: BadInput) -> Step<K, V> {
        self.notices.push(Notice::BadInput {
            attempt: run.attempt,
            what,
        });
        self.cancel(run.attempt);
        // Whoever sent *unchanged* for what is not held gets the next list's payloads in full.
        self.full_payloads |= what == BadInput::NotHeld;
        self.list_over(
            run,
            Condition::Failing(FailureClass::Malformed),
            Retry::Backoff,
        )
    }

    fn list_failed(&mut self, run: Box<ListRun<K, V>>, failure: Failure) -> Step<K, V> {
        let class = failure.class;
        self.withdraw(run.attempt);
        self.record(run.attempt, failure);
        if class == FailureClass::Gone {
            let midway = run.pages > 0 || run.in_page;
            reach!("gone in mid-page", midway);
            if canary!(ContinueAfterGone) && midway {
                self.commit_list(run);
                return None;
            }
        }
        if canary!(NotFoundIsEmpty) && class == FailureClass::NotFound {
            self.commit_list(run);
            return None;
        }
        if run.pages == 0 {
            self.unconstrain(class);
        }
        self.list_over(run, Condition::Failing(class), retry_for(class))
    }

    /// After a replica that is still behind, or knows nothing of the revision: asks for any state,
    /// and lets the rewind policy judge it.
    pub(crate) fn unconstrain(&mut self, class: FailureClass) {
        self.unconstrained |= matches!(class, FailureClass::Behind | FailureClass::Gone);
    }

    pub(crate) fn list_timed_out(&mut self, run: Box<ListRun<K, V>>, reason: TimerReason) {
        reach!("list deadline passed", reason == TimerReason::ListDeadline);
        reach!("silent list given up", reason == TimerReason::PageSilence);
        reach!(
            "list without an answer given up",
            reason == TimerReason::Opening
        );
        self.tell_timeout(run.attempt, reason);
        self.cancel(run.attempt);
        self.list_over(run, Condition::TimedOut(reason), Retry::Backoff);
    }

    /// The list is over without a result. Nothing of it was visible; nothing changes.
    fn list_over(
        &mut self,
        run: Box<ListRun<K, V>>,
        condition: Condition,
        retry: Retry,
    ) -> Step<K, V> {
        if canary!(FencePassedByFailedRead) {
            self.last_read = Some(run.attempt);
        }
        if self.verifies_beside(&run) {
            // The watch is as good as it was: verify later.
            reach!("verify beside the watch failed");
            self.want_verify(
                self.now
                    .saturating_add(self.config.timing.verify_min_interval),
            );
            return None;
        }
        let reason = match run.snapshot.reason {
            ListReason::Initial => ListReason::Initial,
            ListReason::Gone
            | ListReason::DeadEnd
            | ListReason::NewEpoch
            | ListReason::Retry
            | ListReason::Poll
            | ListReason::Hint
            | ListReason::Verify
            | ListReason::NoResume => ListReason::Retry,
        };
        self.trouble(condition);
        let (at, why) = self.retry_at(retry);
        self.go_on_listing(run.beside, reason, at, why);
        None
    }
}
