//! What somebody asks for who subscribes.

use core::fmt;
use core::time::Duration;

use super::partition::Partition;
use super::subscribers::Filter;

/// What a subscriber is to be told of, and how. By default: everything, each object as it is when
/// the subscriber comes to look.
///
/// ```
/// use core::num::NonZero;
/// use core::time::Duration;
/// use reflet_core::cache::{Filter, Partition, Subscription};
///
/// let second_of_four = Partition::new(1, NonZero::new(4).unwrap()).unwrap();
/// let subscription: Subscription<String, u32> = Subscription::new()
///     .filter(Filter::new(|_, value| *value > 10))
///     .partition(second_of_four)
///     .redeliver_every(Duration::from_secs(600));
/// # let _ = subscription;
/// ```
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub struct Subscription<K, V> {
    /// Only what this lets through. May be changed later.
    pub filter: Option<Filter<K, V>>,
    /// Only the keys of this partition.
    pub partition: Option<Partition>,
    /// Everything is handed out once more at least this often, while somebody takes it.
    pub redeliver_every: Option<Duration>,
    /// Every version that comes, and a gap where one may be missing; so many bytes may wait.
    pub lossless: Option<usize>,
}

impl<K, V> Subscription<K, V> {
    /// To everything.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            filter: None,
            partition: None,
            redeliver_every: None,
            lossless: None,
        }
    }

    /// Only to what a filter lets through: entering it is an add, and leaving it a delete.
    #[must_use]
    pub fn filter(mut self, filter: Filter<K, V>) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Only to the keys of one partition, so that several workers share the work: what happens to
    /// one key is told to one of them, in order. Each has a position of its own, so one that is
    /// stuck holds nobody up.
    #[must_use]
    pub fn partition(mut self, partition: Partition) -> Self {
        self.partition = Some(partition);
        self
    }

    /// With everything that did not change handed out once more on a period, as
    /// [`Delta::Redelivered`](super::Delta::Redelivered), for whoever has to look at the world anew
    /// from time to time. Each wait is drawn from nine tenths of the period to the whole, so that
    /// many informers do not do it at once; at least a millisecond.
    ///
    /// A redelivery that is due is not doubled: who does not take it in time gets it once.
    #[must_use]
    pub fn redeliver_every(mut self, period: Duration) -> Self {
        self.redeliver_every = Some(period);
        self
    }

    /// With every version of every object that comes into the cache after the subscriber's initial
    /// state, in order, and a mark after each publication: for whoever must not miss an intermediate
    /// state, as an audit log. Where versions may be missing, a [`Delta::Gap`](super::Delta::Gap)
    /// says so: because more than `bytes` waited to be handed out, or because a list was taken, which
    /// does not say what came and went in between. A version that was rejected is no such gap: it
    /// was never in the cache.
    ///
    /// What waits counts with keys, sizes on the wire and a constant each, beside what
    /// [`Limits::retained_bytes`](crate::Limits::retained_bytes) allows. Each lossless subscriber
    /// makes each write a little dearer, which other subscribers do not.
    #[must_use]
    pub fn lossless(mut self, bytes: usize) -> Self {
        self.lossless = Some(bytes);
        self
    }
}

impl<K, V> Default for Subscription<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Clone for Subscription<K, V> {
    fn clone(&self) -> Self {
        Self {
            filter: self.filter.clone(),
            ..*self
        }
    }
}

impl<K, V> fmt::Debug for Subscription<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("filter", &self.filter)
            .field("partition", &self.partition)
            .field("redeliver_every", &self.redeliver_every)
            .field("lossless", &self.lossless)
            .finish()
    }
}

impl<K, V> From<Option<Filter<K, V>>> for Subscription<K, V> {
    fn from(filter: Option<Filter<K, V>>) -> Self {
        Self {
            filter,
            ..Self::new()
        }
    }
}
