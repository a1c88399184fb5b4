//! The engine: a reflector that decides, and a cache that remembers.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::fmt;
use core::hash::BuildHasher;
use core::iter;

use crate::cache::{
    Cache, Delta, DeltaRef, Drained, Filter, Polled, Reached, SlotChange, SubscriberId,
    Subscription,
};
use crate::config::{Config, Feed, RevisionOrder};
use crate::hash::SeededState;
use crate::input::{Attempt, Failure, Input};
use crate::key::Key;
use crate::output::{Command, Deadline, Health, ListReason, Notice, State, TimerReason};
use crate::probe::{canary, reach};
use crate::reflector::{
    Backoff, Graves, ListRun, Notices, Pacer, Position, Quarantine, Redeliveries, RewindJudge,
    Status, Wait, WatchRun,
};
use crate::time::Timestamp;
use crate::token::{Incarnation, VersionRef};

/// What a verifying list compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum Verify {
    /// Keys and versions: objects that the cache holds in the same version are not decoded.
    Versions,
    /// The content too: finds a restored source that has overtaken our revision.
    Content,
}

/// An informer: a sans-IO state machine that keeps a copy of one remote collection.
///
/// It owns no socket, clock, thread or entropy. The driver hands in what the source said
/// ([`handle`](Self::handle)) and the time ([`handle_timeout`](Self::handle_timeout)), then drains
/// what comes out: commands, notices, deltas. The order of draining does not matter, and not
/// draining is safe: it delays only what is not drained.
///
/// The same configuration, seed and sequence of calls give the same outputs, in any process and on
/// any target (P11). No sequence of calls and no content makes it panic (P12).
///
/// A clone is the same engine once more, attempts and subscribers included: to see what would happen. Of
/// two that drive the same source only one should be.
///
/// `K` is the key, `V` the value (`Arc<T>` is the usual choice, since values are cloned into
/// deltas), `S` the hasher: seeded, so that a hostile source cannot choose colliding keys.
#[derive(Clone)]
pub struct Informer<K: Key, V, S = SeededState> {
    pub(crate) config: Config,
    /// What also tells its attempts and ids from those of other informers.
    pub(crate) seed: u64,
    pub(crate) cache: Cache<K, V, S>,
    /// Whether two values are the same content.
    pub(crate) same: fn(&V, &V) -> bool,
    /// The latest time that was handed in: time never runs backwards here.
    pub(crate) now: Timestamp,

    // The main line: exactly one of these, unless a verify or a hint's list runs beside a watch.
    pub(crate) wait: Option<Wait>,
    /// Both are boxed, since a run is moved for each input.
    pub(crate) list: Option<Box<ListRun<K, V>>>,
    pub(crate) watch: Option<Box<WatchRun<K, V>>>,
    /// A list that waits to run beside the watch.
    pub(crate) side: Option<Wait>,

    // What is known of the source's history.
    pub(crate) position: Position,
    pub(crate) rewind: RewindJudge,
    pub(crate) graves: Graves<K>,
    pub(crate) quarantine: Quarantine<K>,
    /// Something with an unknown key was rejected.
    pub(crate) degraded: bool,

    // When to start what.
    pub(crate) pacer: Pacer,
    pub(crate) page_pacer: Pacer,
    pub(crate) backoff: Backoff,
    /// Nothing starts before this: the source said so.
    pub(crate) embargo: Timestamp,
    /// Since when the source has been doing well, after the last failure.
    pub(crate) well_since: Option<Timestamp>,
    pub(crate) verify_due: Option<Timestamp>,
    /// A list is taken then, unless what was restored is confirmed before.
    pub(crate) confirm_by: Option<Timestamp>,
    pub(crate) last_list: Timestamp,
    pub(crate) reclaim_at: Option<Timestamp>,
    pub(crate) redeliveries: Redeliveries,
    pub(crate) attempts: u64,
    /// The attempt that read what was taken over last as a whole.
    pub(crate) last_read: Option<Attempt>,

    // What happened in a row, and what follows from it.
    pub(crate) dead_ends: u32,
    pub(crate) gone_in_a_row: u32,
    /// The next list takes any state, also one older than ours.
    pub(crate) unconstrained: bool,
    /// The next list's items are all decoded.
    pub(crate) full_payloads: bool,
    /// The initial stream does not work; lists are used instead.
    pub(crate) fell_back: bool,
    pub(crate) frozen: bool,
    pub(crate) synced: bool,
    pub(crate) stopped: bool,

    pub(crate) status: Status,
    pub(crate) last_error: Option<(Timestamp, Failure)>,
    pub(crate) commands: VecDeque<Command>,
    pub(crate) notices: Notices<K>,
}

impl<K: Key, V: Clone> Informer<K, V> {
    /// An informer that starts at once: its first command is there to be polled.
    ///
    /// All randomness (jitter, the hasher) comes from `seed`: take it from an entropy source in
    /// production, and fix it in a test.
    #[must_use]
    pub fn new(config: Config, seed: u64, now: Timestamp) -> Self {
        Self::with_hasher(config, seed, now, SeededState::new(seed))
    }
}

impl<K: Key, V: Clone, S: BuildHasher + Clone> Informer<K, V, S> {
    /// An informer with a hasher of one's own. It must be deterministic for P11 to hold, and should
    /// be seeded. The seed is asked for all the same: it draws the jitter, and tells ids from those
    /// of other informers.
    #[must_use]
    pub fn with_hasher(config: Config, seed: u64, now: Timestamp, hasher: S) -> Self {
        let mut informer = Self::idle(config, seed, now, hasher);
        informer.go(
            informer.relist(ListReason::Initial),
            now,
            TimerReason::Paced,
        );
        informer
    }

    /// An informer that has not begun.
    pub(crate) fn idle(config: Config, seed: u64, now: Timestamp, hasher: S) -> Self {
        let config = config.sanitized();
        let (timing, limits) = (&config.timing, &config.limits);
        Self {
            seed,
            // A subscriber in the middle of a pass holds two positions.
            cache: Cache::new(
                hasher,
                seed,
                limits.retained_bytes / 2,
                config.source.digests,
            ),
            same: |_, _| false,
            now,
            wait: None,
            list: None,
            watch: None,
            side: None,
            position: Position {
                ordered: config.source.order == RevisionOrder::Ordered,
                ..Position::default()
            },
            rewind: RewindJudge::default(),
            graves: Graves::new(limits.graves),
            quarantine: Quarantine::new(limits.quarantined),
            degraded: false,
            pacer: Pacer::new(timing.burst, timing.min_interval),
            page_pacer: Pacer::new(timing.page_burst, timing.page_interval),
            backoff: Backoff::new(timing.backoff_min, timing.backoff_max, seed),
            embargo: Timestamp::ZERO,
            well_since: None,
            verify_due: None,
            confirm_by: None,
            last_list: Timestamp::ZERO,
            reclaim_at: None,
            redeliveries: Redeliveries::new(seed),
            attempts: 0,
            last_read: None,
            dead_ends: 0,
            gone_in_a_row: 0,
            unconstrained: false,
            full_payloads: false,
            fell_back: false,
            frozen: false,
            synced: false,
            stopped: false,
            status: Status::new(now),
            last_error: None,
            commands: VecDeque::new(),
            notices: Notices::new(limits.notices),
            config,
        }
    }

    /// Says how contents are compared where versions cannot tell: after a rewind, for
    /// [`Verify::Content`], and of objects that have none. By default every such object counts as
    /// changed.
    pub fn set_content_eq(&mut self, same: fn(&V, &V) -> bool) {
        self.same = same;
    }

    /// Takes one thing that happened to an attempt. Never fails: what cannot be used is refused
    /// with a notice, and what belongs to an attempt that is over is ignored.
    pub fn handle(&mut self, now: Timestamp, attempt: Attempt, input: Input<'_, K, V>) {
        self.advance(now);
        let hears_late_pages = canary!(ApplyLatePages) && self.watch.is_none();
        let list = |run: &mut Box<ListRun<K, V>>| run.attempt == attempt || hears_late_pages;
        let watch =
            |run: &mut Box<WatchRun<K, V>>| run.attempt == attempt || canary!(ApplyLateEvents);
        if let Some(run) = self.list.take_if(list) {
            if let Some(run) = self.on_list(run, input) {
                self.list = Some(run);
            } else {
                self.start_due();
            }
        } else if let Some(run) = self.watch.take_if(watch) {
            if let Some(run) = self.on_watch(run, input) {
                self.watch = Some(run);
            }
        } else {
            reach!(
                "late page of a dead list",
                matches!(input, Input::PageEnd { .. })
            );
            reach!(
                "late event of a dead watch",
                matches!(input, Input::Event(_))
            );
        }
        self.settle();
    }

    /// Says which keys the next inputs are about, where a driver has read several at once. The engine
    /// then waits for memory once for many of them, instead of several times for each: in a cache
    /// that is larger than the processor's own, that is half of what a change takes. Nothing else
    /// comes of it, whatever the keys are.
    ///
    /// The engine drops the values that others take the place of, or hands them on. `touch` looks at
    /// one as that does, and returns what it found: [`Arc::strong_count`](alloc::sync::Arc::strong_count), or 0
    /// where a value has nothing outside of itself that all of its owners share.
    pub fn look_ahead<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k K::Borrowed>,
        touch: impl Fn(&V) -> usize,
    ) where
        K::Borrowed: 'k,
    {
        self.cache.look_ahead(keys, touch);
    }

    /// Tells the engine that time has passed. Call it when [`poll_timeout`](Self::poll_timeout)
    /// says so; calling it early, late or twice is harmless.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.advance(now);
        if !self.stopped {
            self.on_timeout();
        }
        self.settle();
    }

    /// The next thing for the driver to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Whether [`poll_command`](Self::poll_command) has something.
    #[must_use]
    pub fn has_command(&self) -> bool {
        !self.commands.is_empty()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and what for. `None` only after
    /// [`stop`](Self::stop) (P6).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if self.stopped {
            None
        } else {
            self.next_deadline()
        }
    }

    /// The next thing worth knowing.
    pub fn poll_notice(&mut self) -> Option<Notice<K>> {
        self.notices.pop()
    }

    /// Subscribes: all objects follow as added, then a mark, then what changes. `None` is to
    /// everything, and `Some(filter)` to what the filter lets through; [`Subscription`] has more.
    /// Filters must be pure.
    pub fn subscribe(&mut self, to: impl Into<Subscription<K, V>>) -> SubscriberId {
        let to = to.into();
        let (period, partition) = (to.redeliver_every, to.partition);
        let id = self.cache.subscribe(to);
        if let Some(period) = period {
            self.redeliveries.begin(id, period, partition, self.now);
        }
        id
    }

    /// Hands a subscriber everything once more that it has, as
    /// [`Delta::Redelivered`](crate::cache::Delta::Redelivered): in the next pass, not in the one
    /// under way. What changes meanwhile is told as what it is. Asked for twice before it has begun,
    /// it is done once. False if there is no such subscriber.
    ///
    /// This costs the source nothing, and finds no divergence: see [`verify`](Self::verify).
    pub fn redeliver(&mut self, subscriber: SubscriberId) -> bool {
        self.cache.redeliver(subscriber)
    }

    /// Changes a subscriber's filter: what enters it follows as added, what leaves it as deleted.
    /// False if there is no such subscriber.
    pub fn set_filter(&mut self, subscriber: SubscriberId, filter: Option<Filter<K, V>>) -> bool {
        self.cache.set_filter(subscriber, filter)
    }

    /// Ends a subscription. False if there is no such subscriber.
    pub fn unsubscribe(&mut self, subscriber: SubscriberId) -> bool {
        let known = self.cache.unsubscribe(subscriber);
        self.redeliveries.end(subscriber);
        self.settle();
        known
    }

    /// A subscriber's next delta.
    pub fn poll_delta(&mut self, subscriber: SubscriberId) -> Polled<K, V> {
        let polled = self.cache.poll(subscriber);
        self.settle();
        polled
    }

    /// The subscriber's next deltas, in order, until there is nothing to say for now:
    /// [`poll_delta`](Self::poll_delta) for loops that have time to look through all that changed.
    pub fn deltas(&mut self, subscriber: SubscriberId) -> impl Iterator<Item = Delta<K, V>> {
        iter::from_fn(move || {
            loop {
                match self.poll_delta(subscriber) {
                    Polled::Delta(delta) => return Some(delta),
                    Polled::Yield => {}
                    Polled::Idle => return None,
                }
            }
        })
    }

    /// Lends a subscriber its next deltas, in order: at most `most` of them (at least one), and none
    /// beyond its next mark. The same deltas as [`poll_delta`](Self::poll_delta) gives one by one,
    /// for less: nothing is cloned for whoever only looks, and the subscriber's place in the log
    /// moves once. What one call does is bounded by `most`, and by some hundred objects where it finds
    /// nothing to say.
    ///
    /// A delta counts as handed over once `take` has returned: if it panics, the next call begins
    /// with that delta. If a filter panics, the next call begins with the object that it was asked
    /// about. Either way what was handed over before is not handed over again.
    pub fn drain_deltas(
        &mut self,
        subscriber: SubscriberId,
        most: usize,
        take: impl FnMut(DeltaRef<'_, K, V>),
    ) -> Reached {
        let reached = self.cache.drain(subscriber, most, take);
        self.settle();
        reached
    }

    /// Whether [`poll_delta`](Self::poll_delta) may have something for this subscriber. Costs
    /// next to nothing, and errs on the side of yes.
    #[must_use]
    pub fn has_delta(&self, subscriber: SubscriberId) -> bool {
        self.cache.has_news(subscriber)
    }

    /// Begins to follow for a driver that keeps a copy of its own, such as a view for other threads
    /// to read: from now on [`drain_changes`](Self::drain_changes) has something. There is one
    /// follower: to begin again is to begin from nothing, and takes the other one's place.
    pub fn follow_changes(&mut self) {
        reach!("follower began while a list runs", self.list.is_some());
        self.cache.follow(true);
    }

    /// Nobody follows any more, and nothing is kept for who did.
    pub fn stop_following(&mut self) {
        self.cache.follow(false);
    }

    /// Hands the follower what was published since the last time: each object that changed once,
    /// in no particular order; where a slot is used again, first that what was there is gone. The first
    /// time that is all objects; of those at most `slots` places (at least one) are looked at in one
    /// call, so that nobody has to wait for a large copy.
    ///
    /// A driver that calls this before it unlocks the engine keeps its copy from ever being behind
    /// a delta (P9).
    pub fn drain_changes(
        &mut self,
        slots: usize,
        take: impl FnMut(SlotChange<'_, K, V>),
    ) -> Drained {
        self.cache.drain_changes(slots, take)
    }

    /// The local copy.
    #[must_use]
    pub fn cache(&self) -> &Cache<K, V, S> {
        &self.cache
    }

    /// Whether the cache has this very version already, so that its payload need not be decoded:
    /// hand it in as [`Body::Unchanged`](crate::Body::Unchanged). Always false where the same
    /// version could stand for other content: after an epoch change, for a verify of the
    /// content, and of an object without a version.
    #[must_use]
    pub fn holds(
        &self,
        attempt: Attempt,
        key: &K::Borrowed,
        version: VersionRef<'_>,
        incarnation: Option<Incarnation>,
    ) -> bool {
        let list = self.list.as_ref().filter(|run| run.attempt == attempt);
        let watch = self.watch.as_ref().filter(|run| run.attempt == attempt);
        let trusted = list.is_some_and(|run| run.in_page && run.snapshot.shortcuts)
            || watch.is_some_and(|run| run.trusts_versions());
        trusted && self.is_held(key, version, incarnation)
    }

    /// Asks for a verifying list as soon as the pacer allows.
    pub fn verify(&mut self, now: Timestamp, mode: Verify) {
        self.advance(now);
        if self.stopped {
            return;
        }
        self.full_payloads |= mode == Verify::Content;
        if let Feed::FullState { .. } = self.config.source.feed {
            if let Some(wait) = self.wait.take_if(|wait| wait.reason == TimerReason::Poll) {
                reach!("verify brings the next poll forward");
                self.go(wait.intent, self.now, TimerReason::Verify);
            }
        } else {
            reach!("verify wanted while a list runs", self.list.is_some());
            self.want_verify(self.now);
        }
        self.handle_timeout(now);
    }

    /// Stops for good: cancels what is under way. The cache and its subscribers stay readable.
    pub fn stop(&mut self, now: Timestamp) {
        self.advance(now);
        if self.stopped {
            return;
        }
        self.clear_line();
        self.stopped = true;
        self.enter(State::Stopped);
        self.notices.push(Notice::Stopped);
    }

    /// What the informer is doing, since when, and why it is not doing better.
    #[must_use]
    pub fn health(&self) -> Health<K> {
        self.report()
    }

    /// Whether a complete state of the source has been seen in this run (P9): a list, an initial
    /// stream, or a restored one that the source has confirmed.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// What follows every call.
    fn settle(&mut self) {
        self.report_lapsed();
        let more = self.cache.reclaim(0);
        self.plan_reclaim(more);
        debug_assert!(
            self.stopped || self.wait.is_some() || self.list.is_some() || self.watch.is_some(),
            "there is always a next step"
        );
    }
}

impl<K: Key, V, S> fmt::Debug for Informer<K, V, S> {
    /// Without the seed and the hasher, which nobody should know who may choose keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Informer")
            .field("state", &self.status.state())
            .field("cache", &self.cache)
            .field("attempts", &self.attempts)
            .field("synced", &self.synced)
            .finish_non_exhaustive()
    }
}
