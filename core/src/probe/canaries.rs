//! Engines that are known to be wrong: whoever cannot find these errors finds no others.

extern crate std;

use core::cell::Cell;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use std::thread_local;

// One run is one thread's business, and many run side by side.
thread_local! {
    static PLANTED: Cell<Option<Canary>> = const { Cell::new(None) };
}

macro_rules! canaries {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A known error of informers. Planted, it must be found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Canary {
            $($(#[$doc])* $variant,)*
        }

        impl Canary {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name, in words joined by hyphens.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

canaries! {
    /// P2, P3: pages of a list that is over are heard by the list that runs now.
    ApplyLatePages = "apply-late-pages",
    /// P3: events of a watch that is over are heard by the watch that is open now.
    ApplyLateEvents = "apply-late-events",
    /// P4: what is deleted is forgotten at once; a subscriber that saw it is never told.
    ForgetTombstones = "forget-tombstones",
    /// P7: a watch that opens counts as success, so a source that opens and fails is asked
    /// again without ever growing waits.
    ResetBackoffOnOpen = "reset-backoff-on-open",
    /// P2, P3: a list older than the cache is taken.
    AcceptStaleList = "accept-stale-list",
    /// P3: the events of a transaction are shown one by one although the source says where it
    /// ends.
    TearBatch = "tear-batch",
    /// P3: a transaction cut off by the end of its watch is applied as far as it came.
    ApplyCutBatch = "apply-cut-batch",
    /// P3, P9: marks say *complete* of a revision of which more may follow.
    CallPartialComplete = "call-partial-complete",
    /// P3: a watch resumes after the last event's revision, also where more of it was to come.
    ResumeFromLastEvent = "resume-from-last-event",
    /// P2, P3: a list beside a watch undoes what the watch has brought since.
    VerifyUndoesNews = "verify-undoes-news",
    /// P1, P3: an update whose version is below the collection's revision is taken for old.
    CompareVersionWithRevision = "compare-version-with-revision",
    /// P9: synced is said at the first page of the first list.
    SyncedEarly = "synced-early",
    /// P3, P9: each page is shown as it comes, before the list is complete.
    PublishPages = "publish-pages",
    /// P3, P4: a list is over after its first page.
    IgnoreNextPage = "ignore-next-page",
    /// P4: objects that did not change are told once more after each list.
    ResendUnchanged = "resend-unchanged",
    /// P1: after *gone* the watch is tried again from the same revision, for ever.
    IgnoreGone = "ignore-gone",
    /// P3, P4: after *gone* in mid-list the pages so far are taken for the whole.
    ContinueAfterGone = "continue-after-gone",
    /// P5: an event whose predecessor was never seen is applied.
    SkipGap = "skip-gap",
    /// P5: progress whose digest differs from the cache's counts as progress.
    IgnoreDigest = "ignore-digest",
    /// P5: no verify follows a detected loss.
    NoVerifyAfterLoss = "no-verify-after-loss",
    /// P1, P6: a watch that says nothing is waited for, for ever.
    IgnoreSilence = "ignore-silence",
    /// P6: there is no deadline while an attempt waits to start.
    NoTimerWhileWaiting = "no-timer-while-waiting",
    /// P7: an attempt starts before the time that the source has asked for.
    IgnoreRetryAfter = "ignore-retry-after",
    /// P7: attempts and pages are not paced: healthy watches that close at once follow each
    /// other without end.
    NoPacing = "no-pacing",
    /// P1: watches that never get beyond their resume point are opened again, for ever.
    NeverLeaveDeadEnd = "never-leave-dead-end",
    /// P2, P3: a source of another epoch is taken for the one before.
    IgnoreEpoch = "ignore-epoch",
    /// P3: same version means same content, also across epochs.
    TrustVersionsAcrossEpochs = "trust-versions-across-epochs",
    /// P2: one older list is enough evidence of a rewind.
    AcceptRewindAtOnce = "accept-rewind-at-once",
    /// P2: progress below the cache's revision sets that back.
    ProgressLowersRevision = "progress-lowers-revision",
    /// P5: progress in the middle of a transaction completes it without the rest.
    ProgressCompletesBatch = "progress-completes-batch",
    /// P2: an older version of an object replaces a newer one.
    ApplyOlderVersions = "apply-older-versions",
    /// P3: an update that arrives after the delete of its object brings the object back.
    Resurrect = "resurrect",
    /// P4: an object that was deleted and created anew is told as updated.
    MergeRecreation = "merge-recreation",
    /// P4: `old` is what the cache has, not what the subscriber was last handed.
    OldIsCurrent = "old-is-current",
    /// P4: an object that leaves a subscriber's filter is not told as deleted.
    ForgetFilterLeave = "forget-filter-leave",
    /// P4: an object that changes while a subscriber is on its way to it is passed over, and the
    /// mark says that nothing is missing.
    LoseOvertaken = "lose-overtaken",
    /// P9: a new subscriber's initial state is called complete before any of it was handed out.
    MarkBeforeInitialState = "mark-before-initial-state",
    /// P4, P9: the mark at the end of a pass names the newest revision, not that of the pass.
    MarkNewestRevision = "mark-newest-revision",
    /// P4: there is one partition more than there are workers.
    LosePartition = "lose-partition",
    /// P4: what did not change is redelivered once, and never again.
    RedeliverOnce = "redeliver-once",
    /// P4: a redelivery begins where the subscriber is, and not with the oldest object.
    RedeliverNewsOnly = "redeliver-news-only",
    /// P4: what did not fit a lossless subscriber's bound is missing without a word.
    OverflowWithoutGap = "overflow-without-gap",
    /// P4: lossless subscribers are not told that a list hides what came and went.
    ListWithoutGap = "list-without-gap",
    /// P8: any amount may wait for a lossless subscriber.
    NoLosslessBound = "no-lossless-bound",
    /// P8: a subscriber may hold back any amount.
    NoRetentionLimit = "no-retention-limit",
    /// P8: what was kept for subscribers is never freed.
    LeakSuperseded = "leak-superseded",
    /// P8: notices that nobody polls are all kept.
    UnboundedNotices = "unbounded-notices",
    /// P8: events are applied although they do not fit.
    ApplyOverLimit = "apply-over-limit",
    /// P10: a subscriber that is over its limit takes all others with it.
    ResetAll = "reset-all",
    /// P12: an object that cannot be decoded is taken for deleted.
    UndecodableDeletes = "undecodable-deletes",
    /// P3, P12: a list in which an unknown key could not be read still infers deletes.
    InferDespiteUnknown = "infer-despite-unknown",
    /// P1: a rejected object that is good again stays quarantined.
    NeverReleased = "never-released",
    /// P3, P12: *not found* is taken for an empty collection.
    NotFoundIsEmpty = "not-found-is-empty",
    /// P9: what was restored counts as the source's own word.
    RestoreAsSynced = "restore-as-synced",
    /// P2: a list older than the restored snapshot is taken.
    RestoreWithoutRevisionFloor = "restore-without-revision-floor",
    /// P2, P13: a restored informer does not know its revision's epoch.
    RestoreWithoutEpoch = "restore-without-epoch",
    /// P13: a snapshot is taken between two states of the source.
    SnapshotPartial = "snapshot-partial",
    /// P3: what is deleted is still counted under its terms.
    IndexKeepsDeleted = "index-keeps-deleted",
    /// P3: an object that changes is found under the terms that it had before.
    IndexMissesUpdate = "index-misses-update",
    /// P3: an object that changes is found under its new terms, and still under all old ones.
    IndexKeepsOldTerms = "index-keeps-old-terms",
    /// P3: the order of the keys has the keys that there were when it was built, and no new ones.
    OrderForgetsAdded = "order-forgets-added",
    /// P3: a follower is not told what is gone.
    FollowerForgetsGone = "follower-forgets-gone",
    /// P3: a follower is told that it has all while its first copy has just begun.
    FollowerHasPart = "follower-has-part",
    /// P3: what changes while a follower makes its first copy is not handed to it.
    FollowerLosesOvertaken = "follower-loses-overtaken",
    /// P3, P9: a follower is handed nothing of a publication before the next one is there.
    FollowerIsLate = "follower-is-late",
    /// P3: a mapping takes each event for a transaction of its own, although the service says where
    /// one ends.
    MappingTearsBatch = "mapping-tears-batch",
    /// P3: a view shows what is published while it is held.
    ViewMovesOn = "view-moves-on",
    /// P3: readers find an object that has changed under its new terms, and still under the old ones.
    ReadersFindByOldTerms = "readers-find-by-old-terms",
    /// P9: who waits for a revision is told of one before it.
    WaitEndsEarly = "wait-ends-early",
    /// P9: who waits for a revision is not told that it is there.
    WaitIsNotWoken = "wait-is-not-woken",
    /// P9: a fence is passed by a read that had begun before it was put up.
    FencePassedByEarlierRead = "fence-passed-by-earlier-read",
    /// P1: a fence waits for a read, and nobody asks for one.
    FenceAsksNobody = "fence-asks-nobody",
    /// P9: a fence is passed by a list that was refused, or failed.
    FencePassedByFailedRead = "fence-passed-by-failed-read",
    /// P11: waits are drawn from the process, not from the seed alone.
    JitterFromProcess = "jitter-from-process",
}

impl fmt::Display for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Plants an error in all engines of this thread, or none.
pub fn plant(canary: Option<Canary>) {
    PLANTED.set(canary);
}

/// Whether this error is planted.
#[must_use]
pub fn is_planted(canary: Canary) -> bool {
    PLANTED.get() == Some(canary)
}

/// Another number with each call, and in each process.
pub(crate) fn noise() -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let calls = CALLS.fetch_add(1, Ordering::Relaxed);
    crate::digest::mix(calls.wrapping_add(u64::from(std::process::id()) << 32))
}
