//! What a run is made of: its setup, and the steps of the world and of the adversary.
//!
//! A step is a decision ("answer the second living attempt"), not an input, so a stored trace
//! survives changes in the engine; a step that does not apply is skipped, so steps can be taken
//! out one by one.

use std::fmt;
use std::time::Duration;

use reflet_core::{
    Class, Config, FailureClass, Feed as EngineFeed, OnNewEpoch, OnRewind, RevisionOrder,
};
use serde::{Deserialize, Serialize};

use crate::world::{Feed, Poison, Shape};

/// A run that can be replayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The world, the engine's configuration, and how it ends.
    pub setup: Setup,
    /// What happens.
    pub steps: Vec<Step>,
}

/// What a run starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// What the source offers.
    pub shape: Shape,
    /// How many keys there can be.
    pub keys: u32,
    /// How many of them exist at the start.
    pub initial: u32,
    /// How many replicas answer.
    pub replicas: u8,
    /// The engine's seed.
    pub seed: u64,
    /// The engine's patience, limits and policies, where they differ from run to run.
    pub tuning: Tuning,
    /// The driver asks `holds` before it decodes.
    pub lazy: bool,
    /// The subscribers from the start on.
    pub subscribers: Vec<Interest>,
    /// What comes after the steps.
    pub ending: Ending,
}

/// The part of the configuration that differs from run to run; times in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// `Timing::burst`.
    pub burst: u32,
    /// `Timing::min_interval`.
    pub min_interval: u32,
    /// `Timing::page_burst`.
    pub page_burst: u32,
    /// `Timing::page_interval`.
    pub page_interval: u32,
    /// `Timing::silence`.
    pub silence: Option<u32>,
    /// `Timing::backoff_max`.
    pub backoff_max: u32,
    /// `Timing::verify_period`.
    pub verify_period: Option<u32>,
    /// `Timing::stable_after`.
    pub stable_after: u32,
    /// `Limits::objects`.
    pub objects: Option<u32>,
    /// `Limits::staged_bytes`.
    pub staged: Option<u32>,
    /// `Limits::pages`.
    pub pages: Option<u32>,
    /// `Limits::graves`.
    pub graves: u32,
    /// `Limits::page_items`.
    pub page_items: u32,
    /// `Limits::retained_bytes`.
    pub retained: u32,
    /// `Limits::notices`.
    pub notices: u32,
    /// `Limits::quarantined`.
    pub quarantined: u32,
    /// `Policy::new_epoch` refuses.
    pub refuse_epochs: bool,
    /// `Policy::rewind`: accept after so many lists, over so long.
    pub rewind: Option<(u32, u32)>,
    /// `Policy::dead_ends`.
    pub dead_ends: u32,
    /// `Policy::gone_limit`.
    pub gone_limit: u32,
}

/// What a subscriber wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interest {
    /// Everything, without a filter.
    All,
    /// Keys with even numbers.
    EvenKeys,
    /// Objects whose content is even: they enter and leave as they change.
    EvenWrites,
    /// Nothing.
    Nothing,
}

/// What an index is by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    /// The key: one term, which nobody shares and which never changes.
    Key,
    /// The content: one of three terms, another one with nearly each change.
    Content,
    /// Up to three terms, some of them said twice.
    Several,
    /// Nothing.
    Nothing,
    /// None or twenty terms, of which most stay when the object changes.
    Many,
    /// An owner, by its key.
    Owner,
}

/// How somebody subscribes who does not just want to hear of everything or of some of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// What it wants to hear of.
    pub interest: Interest,
    /// It is one worker of a group: its number, counted from zero, and how many there are.
    pub worker: Option<(u8, u8)>,
    /// It wants everything once more on this period, in milliseconds.
    pub redeliver: Option<u32>,
    /// It wants every version, with so many bytes waiting at most.
    pub lossless: Option<u32>,
}

impl From<Interest> for Joining {
    fn from(interest: Interest) -> Self {
        Self {
            interest,
            worker: None,
            redeliver: None,
            lossless: None,
        }
    }
}

/// What comes after the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The adversary stops, and the engine must converge.
    Heal,
    /// The writer never stops, and neither does one fault; the lag must stay bounded.
    Load(Nuisance),
    /// Each watch opens and fails at once; the waits must grow.
    Flap,
}

/// A fault that never stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Nuisance {
    /// None.
    None,
    /// Watches are closed cleanly, again and again.
    Close,
    /// Attempts fail.
    Fail,
    /// Connections die without a word.
    Mute,
    /// Words come twice.
    Repeat,
    /// History is compacted all the time.
    Compact,
}

impl Nuisance {
    /// Each of them.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Close,
        Self::Fail,
        Self::Mute,
        Self::Repeat,
        Self::Compact,
    ];
}

/// Some neighbouring keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first one's number.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Span {
    /// The keys.
    pub fn keys(self) -> impl Iterator<Item = u32> {
        (0..self.count).map(move |i| self.first.wrapping_add(i))
    }
}

/// What can happen to one word of the source on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// Nothing.
    None,
    /// The attempt fails instead: the class's number, and milliseconds of retry-after.
    Fail(u8, Option<u32>),
    /// The attempt is closed instead.
    Close,
    /// The connection dies, and nobody is told.
    Mute,
    /// The last word is said once more.
    Repeat,
    /// A word from before the last one is said once more.
    Again,
    /// A hint is said, whatever the watch.
    Hint,
    /// The next transaction is lost.
    LoseTransaction,
    /// One word of a transaction is lost.
    LoseWord,
    /// A batch end is lost.
    LoseBatchEnd,
    /// Two transactions change places.
    Swap,
    /// A payload cannot be decoded this time.
    SpoilPayload,
    /// Not even the key can be read this time.
    SpoilKey,
    /// The word is twisted: from here on the source is a liar.
    Lie(Lie),
}

impl Fault {
    /// Whether anybody can tell this fault from news, of a source of this shape: where neither its
    /// revisions nor its objects' versions have an order, nobody can.
    #[must_use]
    pub const fn fits(self, shape: &Shape) -> bool {
        match self {
            Self::Repeat | Self::Swap => !shape.opaque,
            Self::Again => !shape.opaque || shape.versions_ordered && shape.uids,
            Self::LoseBatchEnd => shape.batch_ends,
            _ => true,
        }
    }
}

/// How a word can be twisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lie {
    /// A revision far in the future.
    Huge,
    /// A revision that is no number.
    NotDecimal,
    /// Revision 0.
    Zero,
    /// A revision that is one lower.
    Lower,
    /// An epoch, token or revision of two megabytes.
    Long,
    /// A key of a megabyte.
    LongKey,
    /// The first page's token once more.
    Token,
    /// A word that belongs to the other kind of attempt.
    OutOfPlace,
    /// The end of a batch that was never begun.
    BatchEnd,
    /// *Unchanged* is said of an object that is not held.
    Unchanged,
    /// No revision at all.
    NoRevision,
    /// An object of an initial stream comes as a delete.
    Removal,
}

impl Lie {
    /// Each of them.
    pub const ALL: [Self; 12] = [
        Self::Huge,
        Self::NotDecimal,
        Self::Zero,
        Self::Lower,
        Self::Long,
        Self::LongKey,
        Self::Token,
        Self::OutOfPlace,
        Self::BatchEnd,
        Self::Unchanged,
        Self::NoRevision,
        Self::Removal,
    ];

    /// Whether the end of a list or of an initial stream no longer looks like one.
    #[must_use]
    pub fn hides_an_end(self) -> bool {
        matches!(self, Self::Token | Self::OutOfPlace | Self::BatchEnd)
    }
}

/// One decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// One transaction.
    Write {
        /// Keys to write.
        put: Span,
        /// Keys to delete.
        delete: Span,
        /// What is wrong with what is written.
        poison: Poison,
        /// How far the revision moves.
        skip: u8,
    },
    /// Delete, and create again, in two transactions.
    Recreate(Span),
    /// Something happens in another collection.
    Elsewhere(u8),
    /// A replica catches up by so many revisions.
    Sync(u8, u8),
    /// History is dropped, but for so many transactions.
    Compact(u8),
    /// The source is set back by so many transactions.
    Restore(u8),
    /// A living attempt, counted from the newest, gets so many words; the last one with a fault.
    Serve(u8, u8, Fault),
    /// A dead attempt, counted from the newest, is answered late.
    Late(u8),
    /// So many milliseconds pass.
    Pass(u32),
    /// The deadline comes.
    Timeout,
    /// The engine is woken although nothing is due.
    Early,
    /// The next call is made with a time that many milliseconds ago.
    Backwards(u32),
    /// A subscriber takes so many deltas, one by one.
    Poll(u8, u8),
    /// A subscriber is lent all deltas, in batches as a driver asks for.
    Drain(u8),
    /// A subscriber joins.
    Subscribe(Interest),
    /// A subscriber leaves.
    Unsubscribe(u8),
    /// A subscriber wants something else.
    Refilter(u8, Interest),
    /// A verify is asked for; of the content too.
    Verify(bool),
    /// The driver does not look at commands and notices for so many steps.
    Neglect(u8),
    /// A snapshot is written, if there is a complete state.
    Save,
    /// The process dies, and starts again from its last snapshot, if there is one. Zero: that is as
    /// it was; else one of its bits has changed, counted from one.
    Crash(u16),
    /// A subscriber is lent so many deltas.
    Lend(u8, u8),
    /// An index is added.
    Index(By),
    /// An index is removed, counted from the oldest.
    Unindex(u8),
    /// A share in the order of the keys is taken, or the oldest one given back.
    Order(bool),
    /// Somebody begins to follow, with nothing. It looks after each call: while it makes its first
    /// copy at so many slots, at all with 255, and with 0 only when it is told to.
    Follow(u8),
    /// Nobody follows any more.
    Unfollow,
    /// The follower looks, while it makes its first copy at so many slots.
    Look(u8),
    /// A subscriber of another kind joins.
    Join(Joining),
    /// The workers of each group take everything, and compare.
    Muster,
    /// A subscriber wants everything once more.
    Redeliver(u8),
    /// A fence is put up. Where there are any the source promises fresh lists, and keeps it.
    Fence,
}

/// The classes of failure, by their numbers in [`Fault::Fail`].
pub const CLASSES: [FailureClass; 8] = [
    FailureClass::Retryable,
    FailureClass::Gone,
    FailureClass::Behind,
    FailureClass::Denied,
    FailureClass::Unsupported,
    FailureClass::NotFound,
    FailureClass::Malformed,
    FailureClass::Unexpected,
];

/// Why bytes are not a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceError(String);

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a trace of this version: {}", self.0)
    }
}

impl std::error::Error for TraceError {}

/// What a trace file begins with; the last byte is the format's version.
const MAGIC: &[u8; 8] = b"reflet\0\x01";

impl Trace {
    /// The trace as a file's content.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Writing into a vector cannot fail.
        let body = postcard::to_stdvec(self).unwrap_or_default();
        [MAGIC.as_slice(), &body].concat()
    }

    /// Whether lists show at least what there was when they were asked for.
    #[must_use]
    pub fn has_fresh_lists(&self) -> bool {
        self.steps.contains(&Step::Fence)
    }

    /// The engine's configuration.
    #[must_use]
    pub fn config(&self) -> Config {
        let mut config = self.setup.config();
        config.source.fresh_lists = self.has_fresh_lists();
        config
    }

    /// The trace in a file's content.
    ///
    /// # Errors
    ///
    /// Where the content is none, or of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TraceError> {
        let body = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| TraceError("it begins with other bytes".to_owned()))?;
        postcard::from_bytes(body).map_err(|error| TraceError(error.to_string()))
    }
}

impl Setup {
    /// The engine's configuration, but for what the steps tell of the source.
    fn config(&self) -> Config {
        let ms = |ms: u32| Duration::from_millis(ms.into());
        let mut config = Config::default();
        let (shape, tuning) = (&self.shape, &self.tuning);
        let source = &mut config.source;
        source.feed = match shape.feed {
            Feed::ListWatch => EngineFeed::ListWatch,
            Feed::InitialStream => EngineFeed::InitialStream,
            Feed::Polled => EngineFeed::FullState { blocking: false },
            Feed::Blocking => EngineFeed::FullState { blocking: true },
            Feed::Hints => EngineFeed::HintOnly,
        };
        source.class = match shape.feed {
            _ if shape.is_whole() => Class::Whole,
            _ if shape.fuzzy => Class::Fuzzy,
            _ => Class::Pinned,
        };
        source.order = if shape.opaque {
            RevisionOrder::Opaque
        } else {
            RevisionOrder::Ordered
        };
        source.batch_ends = shape.batch_ends;
        source.predecessors = shape.predecessors;
        source.digests = shape.digests;
        source.versions_ordered = shape.versions_ordered;
        source.commit_revisions = shape.commit_revisions;
        source.heartbeat = shape.heartbeat.then_some(Duration::from_secs(1));
        source.replica_lag = Duration::from_secs(5);
        let timing = &mut config.timing;
        timing.open_timeout = ms(2_000);
        timing.page_timeout = ms(3_000);
        timing.list_deadline = ms(10_000);
        timing.silence = tuning.silence.map(ms);
        timing.burst = tuning.burst;
        timing.min_interval = ms(tuning.min_interval);
        timing.page_burst = tuning.page_burst;
        timing.page_interval = ms(tuning.page_interval);
        timing.backoff_min = ms(50);
        timing.backoff_max = ms(tuning.backoff_max);
        timing.slow_retry = ms(5_000);
        timing.max_retry_after = ms(8_000);
        timing.stable_after = ms(tuning.stable_after);
        timing.poll_interval = ms(1_000);
        timing.verify_min_interval = ms(3_000);
        timing.verify_period = tuning.verify_period.map(ms);
        let limits = &mut config.limits;
        if let Some(objects) = tuning.objects {
            limits.objects = objects as usize;
        }
        limits.page_items = tuning.page_items;
        limits.retained_bytes = tuning.retained as usize;
        limits.notices = tuning.notices as usize;
        limits.quarantined = tuning.quarantined as usize;
        limits.staged_bytes = tuning.staged.map_or(64 << 20, |bytes| bytes as usize);
        limits.pages = tuning.pages.unwrap_or(limits.pages);
        limits.graves = tuning.graves as usize;
        let policy = &mut config.policy;
        policy.new_epoch = if tuning.refuse_epochs {
            OnNewEpoch::Refuse
        } else {
            OnNewEpoch::Accept
        };
        policy.rewind =
            tuning
                .rewind
                .map_or(OnRewind::Refuse, |(lists, span)| OnRewind::AcceptAfter {
                    lists,
                    span: ms(span),
                });
        policy.dead_ends = tuning.dead_ends;
        policy.gone_limit = tuning.gone_limit;
        config
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write {
                put,
                delete,
                poison,
                skip,
            } => {
                write!(
                    f,
                    "the source commits: puts {put}, deletes {delete}, {skip} revisions on"
                )?;
                match poison {
                    Poison::None => Ok(()),
                    Poison::Payload => f.write_str(", payloads undecodable"),
                    Poison::Key => f.write_str(", unreadable"),
                }
            }
            Self::Recreate(span) => write!(f, "the source deletes and re-creates {span}"),
            Self::Elsewhere(by) => write!(f, "{by} revisions pass elsewhere"),
            Self::Sync(replica, by) => write!(f, "replica {replica} catches up by {by} revisions"),
            Self::Compact(keep) => write!(f, "history is compacted, but for {keep} transactions"),
            Self::Restore(back) => write!(f, "the source is set back by {back} transactions"),
            Self::Serve(which, words, Fault::None) => {
                write!(f, "attempt {which} (0: the newest) gets {words} words")
            }
            Self::Serve(which, words, fault) => {
                write!(
                    f,
                    "attempt {which} (0: the newest) gets {words} words, the last one with {fault:?}"
                )
            }
            Self::Late(which) => write!(f, "dead attempt {which} is answered late"),
            Self::Pass(ms) => write!(f, "{ms} ms pass"),
            Self::Timeout => f.write_str("the deadline comes"),
            Self::Early => f.write_str("the engine is woken early"),
            Self::Backwards(ms) => write!(f, "the clock goes back by {ms} ms for one call"),
            Self::Poll(which, deltas) => write!(f, "subscriber {which} takes {deltas} deltas"),
            Self::Drain(which) => write!(f, "subscriber {which} is lent all deltas"),
            Self::Subscribe(interest) => write!(f, "a subscriber joins: {interest:?}"),
            Self::Unsubscribe(which) => write!(f, "subscriber {which} leaves"),
            Self::Refilter(which, interest) => {
                write!(f, "subscriber {which} now wants {interest:?}")
            }
            Self::Verify(content) => write!(f, "a verify is asked for (content: {content})"),
            Self::Neglect(steps) => write!(f, "the driver is busy for {steps} steps"),
            Self::Join(joining) => write!(f, "a subscriber joins: {joining:?}"),
            Self::Muster => f.write_str("the workers of each group take everything"),
            Self::Redeliver(which) => write!(f, "subscriber {which} wants everything once more"),
            Self::Save => f.write_str("a snapshot is written"),
            Self::Crash(0) => f.write_str("the process dies, and starts from its snapshot"),
            Self::Crash(bit) => write!(
                f,
                "the process dies, and bit {bit} of its snapshot has changed"
            ),
            Self::Lend(which, deltas) => write!(f, "subscriber {which} is lent {deltas} deltas"),
            Self::Index(by) => write!(f, "an index is added: {by:?}"),
            Self::Unindex(which) => write!(f, "index {which} is removed"),
            Self::Order(true) => f.write_str("the order of the keys is wanted"),
            Self::Order(false) => f.write_str("a share in the order of the keys is given back"),
            Self::Follow(0) => f.write_str("somebody begins to follow, and seldom looks"),
            Self::Follow(slots) => {
                write!(
                    f,
                    "somebody begins to follow, by {slots} slots after each call"
                )
            }
            Self::Unfollow => f.write_str("nobody follows any more"),
            Self::Look(slots) => write!(f, "the follower looks, at {slots} slots"),
            Self::Fence => f.write_str("a fence is put up"),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 => f.write_str("nothing"),
            1 => write!(f, "k{:05}", self.first),
            count => write!(f, "{count} keys from k{:05}", self.first),
        }
    }
}
