//! What a subscriber is told.

use crate::token::Revision;

/// One step from what a subscriber knew to what is true.
///
/// Folding the deltas of one subscriber is valid at every step: `Added` only of what it does not
/// have, `old` and `seen` are what it was last handed (P4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta<K, V> {
    /// An object that the subscriber does not have.
    Added {
        /// Its key.
        key: K,
        /// Its value.
        new: V,
    },
    /// An object that the subscriber has, in another state. Never a re-created one.
    Updated {
        /// Its key.
        key: K,
        /// What the subscriber was last handed.
        old: V,
        /// Its value now.
        new: V,
    },
    /// An object that the subscriber has is no longer there, or has left its filter.
    Deleted {
        /// Its key.
        key: K,
        /// What the subscriber was last handed.
        seen: V,
        /// The last known state before the object went; what was seen, where a re-created object
        /// has already taken its place.
        last: V,
        /// No delete was observed: it is missing from a complete list.
        inferred: bool,
    },
    /// An object that the subscriber has, and that did not change: handed out once more because
    /// somebody asked for that. Comes in redeliveries only.
    Redelivered {
        /// Its key.
        key: K,
        /// What the subscriber was last handed.
        value: V,
    },
    /// To lossless subscribers only: between what was told before and what follows, versions may be
    /// missing. What follows is still the way from the one to the other.
    Gap(GapReason),
    /// The subscriber has everything up to a point of the source's history, and nothing later.
    Mark(Mark),
    /// The subscriber was too far behind. Forget everything: all objects follow as `Added`.
    Reset,
}

/// Why versions may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum GapReason {
    /// More waited for the subscriber than its bound allows.
    Overflow,
    /// A list was taken: it tells what has changed since, not how often, nor what came and went.
    Listed,
}

/// A [`Delta`] that is lent and not given: whoever only looks at it pays for no clone. Marks are
/// told in another way, see [`Reached::Mark`].
#[derive(Debug, PartialEq, Eq)]
pub enum DeltaRef<'a, K, V> {
    /// As [`Delta::Added`].
    Added {
        /// Its key.
        key: &'a K,
        /// Its value.
        new: &'a V,
    },
    /// As [`Delta::Updated`].
    Updated {
        /// Its key.
        key: &'a K,
        /// What the subscriber was last handed.
        old: &'a V,
        /// Its value now.
        new: &'a V,
    },
    /// As [`Delta::Deleted`].
    Deleted {
        /// Its key.
        key: &'a K,
        /// What the subscriber was last handed.
        seen: &'a V,
        /// The last known state before the object went; what was seen, where a re-created object
        /// has already taken its place.
        last: &'a V,
        /// No delete was observed: it is missing from a complete list.
        inferred: bool,
    },
    /// As [`Delta::Redelivered`].
    Redelivered {
        /// Its key.
        key: &'a K,
        /// What the subscriber was last handed.
        value: &'a V,
    },
    /// As [`Delta::Gap`].
    Gap(GapReason),
    /// As [`Delta::Reset`].
    Reset,
}

impl<K, V> Clone for DeltaRef<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for DeltaRef<'_, K, V> {}

impl<K: Clone, V: Clone> DeltaRef<'_, K, V> {
    /// The same delta, to keep.
    #[must_use]
    pub fn to_delta(self) -> Delta<K, V> {
        match self {
            Self::Added { key, new } => Delta::Added {
                key: key.clone(),
                new: new.clone(),
            },
            Self::Updated { key, old, new } => Delta::Updated {
                key: key.clone(),
                old: old.clone(),
                new: new.clone(),
            },
            Self::Deleted {
                key,
                seen,
                last,
                inferred,
            } => Delta::Deleted {
                key: key.clone(),
                seen: seen.clone(),
                last: last.clone(),
                inferred,
            },
            Self::Redelivered { key, value } => Delta::Redelivered {
                key: key.clone(),
                value: value.clone(),
            },
            Self::Gap(why) => Delta::Gap(why),
            Self::Reset => Delta::Reset,
        }
    }
}

/// How far [`Informer::drain_deltas`](crate::Informer::drain_deltas) came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// A mark: what was handed over up to here is the state that it names. There may be more.
    Mark(Mark),
    /// As many deltas as were asked for, or as many steps as one call may take: call again.
    Budget,
    /// Nothing more now: the subscriber has caught up, or is not subscribed.
    Idle,
}

/// A point at which a subscriber has caught up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub struct Mark {
    /// The revision, where the source has them.
    pub revision: Option<Revision>,
    /// How many times history was rewound before, whether or not the source has a name for that
    /// ([`Health::epoch`](crate::Health::epoch)): revisions are only comparable within one of these.
    pub local_epoch: u64,
    /// The subscriber has all of that revision. Where the source does not say where its
    /// transactions end, the newest revision is partial until a later one begins.
    pub complete: bool,
    /// The state comes from a snapshot of an earlier run, and the source has not confirmed it in
    /// this one yet: it may be old. The first mark without this says that it has.
    pub restored: bool,
    /// The first mark after subscribing or after a reset: the initial state is complete.
    pub initial: bool,
}

/// What `poll_delta` gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled<K, V> {
    /// The next delta.
    Delta(Delta<K, V>),
    /// The budget of one call was spent on finding the next delta: call again.
    Yield,
    /// Nothing now: the subscriber has caught up, or is not subscribed.
    Idle,
}
