//! The settings of an informer that a program in C can make.

use std::mem::MaybeUninit;
use std::time::Duration;

use reflet_core::{Class, Feed as CoreFeed, Limits, RevisionOrder, SourceProfile, Timing};

use crate::border::{guard, place};
use crate::status::{Error, Status};

/// How a source hands over its collection.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// A list, paged or not, then a watch from the list's revision.
    ListWatch = 0,
    /// The initial state comes in the watch, closed by an end mark.
    InitialStream,
    /// Each answer is the full state, and is asked for on a period.
    Poll,
    /// Each answer is the full state; the source holds the request back until something has changed.
    BlockingQuery,
    /// A stream of hints that something has changed; each makes a list.
    HintOnly,
}

/// How far one complete answer of a source is the state at one revision.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceClass {
    /// All pages of a list are one state, and the watch is complete after it.
    Pinned = 0,
    /// One answer is the whole state.
    Whole,
    /// Pages of several states, or an initial stream without order.
    Fuzzy,
}

/// A source's promise: the watch says where each transaction ends, by REFLET_INPUT_KIND_BATCH_END.
pub const PROMISE_BATCH_ENDS: u32 = 1;
/// A source's promise: each event names the revision before its own, in `previous`.
pub const PROMISE_PREDECESSORS: u32 = 1 << 1;
/// A source's promise: progress carries a digest of the whole collection.
pub const PROMISE_DIGESTS: u32 = 1 << 2;
/// A source's promise: an object's versions are decimals that grow with each change.
pub const PROMISE_VERSIONS_ORDERED: u32 = 1 << 3;
/// A source's promise: events, deletes included, carry the revision that made them, and an object's
/// version is that revision.
pub const PROMISE_COMMIT_REVISIONS: u32 = 1 << 4;
/// A source's promise: no list is older than the request for it.
pub const PROMISE_FRESH_LISTS: u32 = 1 << 5;
/// Not promised: revisions can be compared for equality only (hashes, ETags). Without this they are
/// decimals that ordinary operations never lower.
pub const PROMISE_OPAQUE_REVISIONS: u32 = 1 << 6;

const ALL_PROMISES: u32 = (1 << 7) - 1;

/// What the informer must know about its source, how patient it is and how much it takes in.
///
/// Let reflet_config_init() fill it in, then change what should be otherwise. Times are in
/// milliseconds; settings that make no sense are raised to the nearest that does.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How the source hands over its collection: a reflet_feed.
    pub feed: u32,
    /// How far one answer is one state: a reflet_source_class.
    pub source_class: u32,
    /// What else the source promises: REFLET_PROMISE_… with `|` between them. What is not promised is
    /// not relied on.
    pub promises: u32,
    /// How many items to ask for in one page.
    pub page_items: u32,
    /// The longest quiet that the source promises on a healthy watch; 0: it promises none.
    pub heartbeat_ms: u64,
    /// The longest time for a watch to open, and for the first word of a list.
    pub open_timeout_ms: u64,
    /// The longest silence within a list.
    pub page_timeout_ms: u64,
    /// The longest time for a whole list.
    pub list_deadline_ms: u64,
    /// The longest silence of an open watch; 0: three heartbeats, or ten minutes without heartbeats.
    pub silence_ms: u64,
    /// How many attempts may start in a row.
    pub burst: u32,
    /// Attempts in a row that came to nothing at one revision, before the whole is listed instead.
    pub dead_ends: u32,
    /// The average time between attempts beyond the burst.
    pub min_interval_ms: u64,
    /// The first wait after a failure, at most: the wait is drawn from 0 up to it.
    pub backoff_min_ms: u64,
    /// Where that stops doubling.
    pub backoff_max_ms: u64,
    /// The wait after an answer that only a human can change.
    pub slow_retry_ms: u64,
    /// The longest wait that is obeyed when the source asks for one.
    pub max_retry_after_ms: u64,
    /// How long a watch must make progress before waits begin from the smallest again.
    pub stable_after_ms: u64,
    /// The period of a source that is polled.
    pub poll_interval_ms: u64,
    /// The period of lists that look for differences; 0: only where a loss was seen.
    pub verify_period_ms: u64,
    /// The most objects. Beyond this and the next two limits nothing is applied, and what was good
    /// stays.
    pub max_objects: u64,
    /// The most bytes of all objects, keys included.
    pub max_bytes: u64,
    /// The most bytes of a list or a transaction that is not whole yet.
    pub max_staged_bytes: u64,
    /// The longest key in bytes; an object with a longer one is rejected.
    pub max_key_bytes: u64,
    /// The most bytes that one subscriber holds back; beyond that it is reset.
    pub max_retained_bytes: u64,
}

/// Fills in the settings that suit a source of Reflet's own kind, with ordered revisions, that promises
/// nothing else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_config_init(config: Option<&mut MaybeUninit<Config>>) -> Status {
    guard(|| {
        place(config)?.write(Config::from_core(&reflet_core::Config::default()));
        Ok(())
    })
}

impl Config {
    /// The core's settings, as C sees them.
    pub(crate) fn from_core(config: &reflet_core::Config) -> Self {
        let (source, timing) = (&config.source, &config.timing);
        let (limits, policy) = (&config.limits, &config.policy);
        Self {
            feed: feed_number(source.feed),
            source_class: class_number(source.class),
            promises: promises(source),
            page_items: limits.page_items,
            heartbeat_ms: source.heartbeat.map_or(0, ms),
            open_timeout_ms: ms(timing.open_timeout),
            page_timeout_ms: ms(timing.page_timeout),
            list_deadline_ms: ms(timing.list_deadline),
            silence_ms: timing.silence.map_or(0, ms),
            burst: timing.burst,
            dead_ends: policy.dead_ends,
            min_interval_ms: ms(timing.min_interval),
            backoff_min_ms: ms(timing.backoff_min),
            backoff_max_ms: ms(timing.backoff_max),
            slow_retry_ms: ms(timing.slow_retry),
            max_retry_after_ms: ms(timing.max_retry_after),
            stable_after_ms: ms(timing.stable_after),
            poll_interval_ms: ms(timing.poll_interval),
            verify_period_ms: timing.verify_period.map_or(0, ms),
            max_objects: limits.objects as u64,
            max_bytes: limits.bytes as u64,
            max_staged_bytes: limits.staged_bytes as u64,
            max_key_bytes: limits.key_bytes as u64,
            max_retained_bytes: limits.retained_bytes as u64,
        }
    }

    /// The settings that came in, for the core.
    pub(crate) fn read(config: Option<&Self>) -> Result<reflet_core::Config, Error> {
        let config = config.ok_or_else(|| Error::null("the config"))?;
        let mut core = reflet_core::Config::default();
        config.set_source(&mut core.source)?;
        config.set_timing(&mut core.timing);
        config.set_limits(&mut core.limits);
        core.policy.dead_ends = config.dead_ends;
        Ok(core)
    }

    fn set_source(&self, source: &mut SourceProfile) -> Result<(), Error> {
        if self.promises & !ALL_PROMISES != 0 {
            return Err(Error::bad_argument("a promise that nobody knows"));
        }
        let promises = |promise| self.promises & promise != 0;
        source.feed = feed_of(self.feed)?;
        source.class = class_of(self.source_class)?;
        if promises(PROMISE_OPAQUE_REVISIONS) {
            source.order = RevisionOrder::Opaque;
        }
        source.batch_ends = promises(PROMISE_BATCH_ENDS);
        source.predecessors = promises(PROMISE_PREDECESSORS);
        source.digests = promises(PROMISE_DIGESTS);
        source.versions_ordered = promises(PROMISE_VERSIONS_ORDERED);
        source.commit_revisions = promises(PROMISE_COMMIT_REVISIONS);
        source.fresh_lists = promises(PROMISE_FRESH_LISTS);
        source.heartbeat = some_ms(self.heartbeat_ms);
        Ok(())
    }

    fn set_timing(&self, timing: &mut Timing) {
        for (time, ms) in [
            (&mut timing.open_timeout, self.open_timeout_ms),
            (&mut timing.page_timeout, self.page_timeout_ms),
            (&mut timing.list_deadline, self.list_deadline_ms),
            (&mut timing.min_interval, self.min_interval_ms),
            (&mut timing.backoff_min, self.backoff_min_ms),
            (&mut timing.backoff_max, self.backoff_max_ms),
            (&mut timing.slow_retry, self.slow_retry_ms),
            (&mut timing.max_retry_after, self.max_retry_after_ms),
            (&mut timing.stable_after, self.stable_after_ms),
            (&mut timing.poll_interval, self.poll_interval_ms),
        ] {
            *time = Duration::from_millis(ms);
        }
        timing.burst = self.burst;
        timing.silence = some_ms(self.silence_ms);
        timing.verify_period = some_ms(self.verify_period_ms);
    }

    fn set_limits(&self, limits: &mut Limits) {
        for (limit, most) in [
            (&mut limits.objects, self.max_objects),
            (&mut limits.bytes, self.max_bytes),
            (&mut limits.staged_bytes, self.max_staged_bytes),
            (&mut limits.key_bytes, self.max_key_bytes),
            (&mut limits.retained_bytes, self.max_retained_bytes),
        ] {
            *limit = usize::try_from(most).unwrap_or(usize::MAX);
        }
        limits.page_items = self.page_items;
    }
}

fn feed_of(number: u32) -> Result<CoreFeed, Error> {
    Ok(match number {
        n if n == Feed::ListWatch as u32 => CoreFeed::ListWatch,
        n if n == Feed::InitialStream as u32 => CoreFeed::InitialStream,
        n if n == Feed::Poll as u32 => CoreFeed::FullState { blocking: false },
        n if n == Feed::BlockingQuery as u32 => CoreFeed::FullState { blocking: true },
        n if n == Feed::HintOnly as u32 => CoreFeed::HintOnly,
        n => return Err(Error::bad_argument(format!("there is no feed {n}"))),
    })
}

fn feed_number(feed: CoreFeed) -> u32 {
    (match feed {
        CoreFeed::InitialStream => Feed::InitialStream,
        CoreFeed::FullState { blocking: false } => Feed::Poll,
        CoreFeed::FullState { blocking: true } => Feed::BlockingQuery,
        CoreFeed::HintOnly => Feed::HintOnly,
        _ => Feed::ListWatch,
    }) as u32
}

fn class_of(number: u32) -> Result<Class, Error> {
    Ok(match number {
        n if n == SourceClass::Pinned as u32 => Class::Pinned,
        n if n == SourceClass::Whole as u32 => Class::Whole,
        n if n == SourceClass::Fuzzy as u32 => Class::Fuzzy,
        n => return Err(Error::bad_argument(format!("there is no source class {n}"))),
    })
}

fn class_number(class: Class) -> u32 {
    (match class {
        Class::Whole => SourceClass::Whole,
        Class::Fuzzy => SourceClass::Fuzzy,
        _ => SourceClass::Pinned,
    }) as u32
}

fn promises(source: &SourceProfile) -> u32 {
    let opaque = source.order == RevisionOrder::Opaque;
    [
        (source.batch_ends, PROMISE_BATCH_ENDS),
        (source.predecessors, PROMISE_PREDECESSORS),
        (source.digests, PROMISE_DIGESTS),
        (source.versions_ordered, PROMISE_VERSIONS_ORDERED),
        (source.commit_revisions, PROMISE_COMMIT_REVISIONS),
        (source.fresh_lists, PROMISE_FRESH_LISTS),
        (opaque, PROMISE_OPAQUE_REVISIONS),
    ]
    .into_iter()
    .filter_map(|(given, promise)| given.then_some(promise))
    .sum()
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A time that 0 stands for the lack of.
fn some_ms(ms: u64) -> Option<Duration> {
    (ms != 0).then(|| Duration::from_millis(ms))
}
