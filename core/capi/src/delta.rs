//! Subscribers, and what they are told.

use std::mem::MaybeUninit;
use std::sync::Arc;

use reflet_core::cache::{Delta as CoreDelta, Mark, Polled, SubscriberId};

use crate::border::{Bytes, guard, place};
use crate::informer::Informer;
use crate::state::{Lent, State, lock};
use crate::status::{Error, Status};
use crate::value::Value;

/// One step from what a subscriber knew to what is true.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeltaKind {
    /// Nothing now: the subscriber has caught up.
    None = 0,
    /// Call again: what one call may do was spent on finding the next delta.
    Again,
    /// An object that the subscriber does not have: `key`, `value`.
    Added,
    /// An object that the subscriber has, in another state: `key`, `old_value`, `value`. Never a
    /// re-created one, which is deleted and added.
    Updated,
    /// An object that the subscriber has is no longer there: `key`, `old_value`, `inferred`, and in
    /// `value` the last state that is known of it.
    Deleted,
    /// An object that did not change, handed out once more: `key`, `value`.
    Redelivered,
    /// Versions may be missing between what was told before and what follows.
    Gap,
    /// The subscriber has everything up to a point of the source's history, and nothing later:
    /// `revision`, `local_epoch`, `complete`, `restored`, `initial`.
    Mark,
    /// The subscriber was too far behind. Forget everything: all objects follow as added.
    Reset,
    /// Something that this version of the interface has no words for.
    Other,
}

/// One delta. Fields that do not belong to its kind are 0 and NULL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Delta {
    /// What it is.
    pub kind: DeltaKind,
    /// A delete that nobody saw: the object is missing from a complete list.
    pub inferred: bool,
    /// A mark: the subscriber has all of the revision. Where the source does not say where its
    /// transactions end, the newest revision is partial until a later one begins.
    pub complete: bool,
    /// A mark: the state comes from a snapshot that the source has not confirmed yet.
    pub restored: bool,
    /// A mark: the first one after subscribing or a reset.
    pub initial: bool,
    /// The object's key.
    pub key: Bytes,
    /// What the subscriber was last handed of the object.
    pub old_value: Bytes,
    /// The object's value.
    pub value: Bytes,
    /// A mark: the revision, where the source has them.
    pub revision: Bytes,
    /// A mark: how often history was rewound before. Revisions can be compared within one of these only.
    pub local_epoch: u64,
}

impl Delta {
    const NONE: Self = Self {
        kind: DeltaKind::None,
        inferred: false,
        complete: false,
        restored: false,
        initial: false,
        key: Bytes::NONE,
        old_value: Bytes::NONE,
        value: Bytes::NONE,
        revision: Bytes::NONE,
        local_epoch: 0,
    };

    const fn of(kind: DeltaKind) -> Self {
        Self { kind, ..Self::NONE }
    }

    fn lend(lent: &mut Lent, polled: Polled<Arc<str>, Value>) -> Self {
        let delta = match polled {
            Polled::Delta(delta) => delta,
            Polled::Yield => return Self::of(DeltaKind::Again),
            _ => return Self::NONE,
        };
        match delta {
            CoreDelta::Added { key, new, .. } => Self {
                key: lent.key(key),
                value: lent.value(new),
                ..Self::of(DeltaKind::Added)
            },
            CoreDelta::Updated { key, old, new, .. } => Self {
                key: lent.key(key),
                old_value: lent.value(old),
                value: lent.value(new),
                ..Self::of(DeltaKind::Updated)
            },
            CoreDelta::Deleted {
                key,
                seen,
                last,
                inferred,
                ..
            } => Self {
                key: lent.key(key),
                old_value: lent.value(seen),
                value: lent.value(last),
                inferred,
                ..Self::of(DeltaKind::Deleted)
            },
            CoreDelta::Redelivered { key, value, .. } => Self {
                key: lent.key(key),
                value: lent.value(value),
                ..Self::of(DeltaKind::Redelivered)
            },
            CoreDelta::Gap(_) => Self::of(DeltaKind::Gap),
            CoreDelta::Mark(mark) => Self::mark(lent, &mark),
            CoreDelta::Reset => Self::of(DeltaKind::Reset),
            _ => Self::of(DeltaKind::Other),
        }
    }

    fn mark(lent: &mut Lent, mark: &Mark) -> Self {
        Self {
            revision: lent.printed(mark.revision.as_ref()),
            local_epoch: mark.local_epoch,
            complete: mark.complete,
            restored: mark.restored,
            initial: mark.initial,
            ..Self::of(DeltaKind::Mark)
        }
    }
}

impl State {
    fn subscriber(&self, number: u64) -> Result<SubscriberId, Error> {
        self.subscribers.get(&number).copied().ok_or_else(|| {
            let words = format!("there is no subscriber {number}, or no longer");
            Error::new(Status::RefletUnknownSubscriber, words)
        })
    }
}

/// Subscribes: all objects follow as added, then a mark, then what changes. `subscriber` is set to the
/// subscriber's number, which is not given out again.
///
/// A subscriber that is not polled costs a bounded number of bytes, and then is reset.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_subscribe(
    informer: *mut Informer,
    subscriber: Option<&mut MaybeUninit<u64>>,
) -> Status {
    guard(|| {
        let place = place(subscriber)?;
        let mut state = lock(informer)?;
        let id = state.engine.subscribe(None);
        state.last_subscriber = state.last_subscriber.saturating_add(1);
        let number = state.last_subscriber;
        state.subscribers.insert(number, id);
        place.write(number);
        Ok(())
    })
}

/// Ends a subscription.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_unsubscribe(
    informer: *mut Informer,
    subscriber: u64,
) -> Status {
    guard(|| {
        let mut state = lock(informer)?;
        let id = state.subscriber(subscriber)?;
        state.subscribers.remove(&subscriber);
        state.engine.unsubscribe(id);
        Ok(())
    })
}

/// A subscriber's next delta. Call it until the kind is REFLET_DELTA_KIND_NONE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_poll_delta(
    informer: *mut Informer,
    subscriber: u64,
    delta: Option<&mut MaybeUninit<Delta>>,
) -> Status {
    guard(|| {
        let place = place(delta)?;
        let mut state = lock(informer)?;
        let id = state.subscriber(subscriber)?;
        let polled = state.engine.poll_delta(id);
        place.write(Delta::lend(&mut state.lent, polled));
        Ok(())
    })
}
