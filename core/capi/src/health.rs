//! The answer to "why is it doing nothing?".

use std::mem::MaybeUninit;

use reflet_core::State as CoreState;

use crate::border::{Bytes, guard, place};
use crate::informer::Informer;
use crate::state::lock;
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
            reason: lent.printed(report.reason.as_ref()),
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
        let mut state = lock(informer)?;
        let next = state.engine.poll_timeout();
        place.write(Deadline {
            at: next.map_or(u64::MAX, |next| next.at.as_nanos()),
            reason: state.lent.printed(next.map(|next| next.reason)),
        });
        Ok(())
    })
}
