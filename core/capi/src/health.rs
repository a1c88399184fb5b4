//! The answer to "why is it doing nothing?".

use std::mem::MaybeUninit;

use reflet_core::{Condition, State as CoreState, TimerReason};

use crate::border::{Bytes, guard, place};
use crate::handle::lock;
use crate::informer::Informer;
use crate::status::Status;

/// What an informer is doing, seen from outside.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// It was stopped; nothing will happen.
    Stopped = 0,
    /// No complete state has been seen in this run, and none was restored.
    Syncing,
    /// The local copy follows the source.
    Live,
    /// The local copy is the last known good state: the source does not answer well, or has not
    /// confirmed yet what was restored.
    Stale,
}

/// How an informer is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// What it is doing.
    pub state: HealthState,
    /// A complete state of the source has been seen in this run.
    pub synced: bool,
    /// The local copy shows all of its revision.
    pub complete: bool,
    /// Something whose key could not be read was rejected: what is missing from lists is no longer
    /// taken for deleted.
    pub degraded: bool,
    /// The source gives no way to find a silent loss, and no verify period is set.
    pub unverified: bool,
    /// Since when it is in this state.
    pub since: u64,
    /// The newest revision that the local copy shows; NULL: none yet, or the source has none.
    pub revision: Bytes,
    /// The source's epoch, where it has epochs.
    pub epoch: Bytes,
    /// How many objects there are.
    pub objects: usize,
    /// How many objects are rejected in their newest version.
    pub quarantined: usize,
    /// Bytes that are kept only because some subscriber has not moved on.
    pub retained_bytes: usize,
    /// What keeps it from being live, or from being whole while it is live, in words; NULL: nothing.
    pub reason: Bytes,
    /// The last failure, in the source's words; NULL: there was none. Kept after recovery.
    pub last_error: Bytes,
    /// When that was.
    pub last_error_at: u64,
}

/// When an informer wants to be woken, and why.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// When to call reflet_informer_handle_timeout(); UINT64_MAX: never, since it was stopped.
    pub at: u64,
    /// What is waited for, in words.
    pub reason: Bytes,
}

/// How the informer is. Takes time by the number of subscribers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_health(
    informer: *mut Informer,
    health: Option<&mut MaybeUninit<Health>>,
) -> Status {
    guard(|| {
        let place = place(health)?;
        let mut state = lock(informer)?;
        let report = state.engine.health();
        let synced = state.engine.is_synced();
        let lent = &mut state.lent;
        let (last_error_at, last_error) = match &report.last_error {
            Some((at, failure)) => (at.as_nanos(), Some(failure)),
            None => (0, None),
        };
        place.write(Health {
            state: match report.state {
                CoreState::Stopped => HealthState::Stopped,
                CoreState::Syncing => HealthState::Syncing,
                CoreState::Live => HealthState::Live,
                _ => HealthState::Stale,
            },
            synced,
            complete: report.complete,
            degraded: report.degraded,
            unverified: report.unverified,
            since: report.since.as_nanos(),
            revision: lent.printed(report.revision.as_ref()),
            epoch: lent.printed(report.epoch.as_ref()),
            objects: report.objects,
            quarantined: report.quarantined_count,
            retained_bytes: report.retained_bytes,
            reason: lent.printed(report.reason.as_ref().map(condition)),
            last_error: lent.printed(last_error),
            last_error_at,
        });
        Ok(())
    })
}

/// When the informer wants to be woken. Ask after everything that was handed in: the loop waits until
/// then, or until a socket is ready.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_deadline(
    informer: *mut Informer,
    deadline: Option<&mut MaybeUninit<Deadline>>,
) -> Status {
    guard(|| {
        let place = place(deadline)?;
        let state = lock(informer)?;
        let next = state.engine.poll_timeout();
        place.write(Deadline {
            at: next.map_or(u64::MAX, |next| next.at.as_nanos()),
            reason: next.map_or(Bytes::NONE, |next| Bytes::of(timer(next.reason).as_bytes())),
        });
        Ok(())
    })
}

pub(crate) fn condition(condition: &Condition) -> String {
    match condition {
        Condition::Starting => "the first list is under way".into(),
        Condition::Restored => "the source has not confirmed yet what was restored".into(),
        Condition::Failing(class) => format!("the last attempt failed: {class}"),
        Condition::TimedOut(reason) => format!("did not come in time: {}", timer(*reason)),
        Condition::NewEpochRefused => "the source has a new epoch, which is refused".into(),
        Condition::OlderThanCache => "the source's lists are older than what is here".into(),
        Condition::Frozen(limit) => format!("over the limit of {limit:?}: frozen"),
        Condition::HistoryTooShort => "the source keeps too little history".into(),
        Condition::LossDetected => "events were lost; a list will follow".into(),
        Condition::DeadEnd => "the source cannot be followed beyond one revision".into(),
        other => format!("{other:?}"),
    }
}

pub(crate) fn timer(reason: TimerReason) -> &'static str {
    match reason {
        TimerReason::Backoff => "the next attempt, after a failure",
        TimerReason::RetryAfter => "the next attempt, when the source said to come back",
        TimerReason::SlowRetry => "the next attempt, after an answer that only a human can change",
        TimerReason::Paced => "the next attempt or page, held back by the pace",
        TimerReason::Poll => "the next request of a source that is polled",
        TimerReason::Opening => "the first word of a list or a watch",
        TimerReason::PageSilence => "the next word of a list",
        TimerReason::ListDeadline => "the end of a list",
        TimerReason::Silence => "the next word of a watch",
        TimerReason::Verify => "the next list that looks for differences",
        TimerReason::Reclaim => "memory to give back",
        TimerReason::Redeliver => "a subscriber's next redelivery",
        _ => "something that has no name here",
    }
}
