//! Who listens: ids, filters, and how far each one is.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::delta::Mark;
use super::journal::Journal;
use super::partition::Partition;
use super::subscription::Subscription;

/// One subscriber of one informer. An id is never given out twice, and one that is no longer
/// subscribed, or that belongs to an informer with another seed, is harmless everywhere. Where two
/// informers have the same seed their ids may be the same, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId {
    slot: u32,
    generation: u32,
    /// Whose it is: the informer's seed, which is shown to nobody.
    of: u64,
}

impl fmt::Display for SubscriberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

impl fmt::Debug for SubscriberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubscriberId({self})")
    }
}

impl SubscriberId {
    pub(super) const fn slot(self) -> u32 {
        self.slot
    }
}

type Predicate<K, V> = dyn Fn(&K, &V) -> bool + Send + Sync;

/// What a subscriber wants to hear of: a pure function of key and value.
///
/// It is asked again about values that were handed out earlier, so it must always give the same
/// answer for the same key and value.
pub struct Filter<K, V>(Arc<Predicate<K, V>>);

impl<K, V> Filter<K, V> {
    /// The filter that lets through what `wants` says yes to.
    pub fn new(wants: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(wants))
    }

    /// Whether the filter lets this object through.
    #[must_use]
    pub fn matches(&self, key: &K, value: &V) -> bool {
        (self.0)(key, value)
    }

    /// The same for clones of one filter, and for these only.
    #[cfg(feature = "simulated")]
    pub(super) fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>().addr()
    }
}

impl<K, V> Clone for Filter<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> fmt::Debug for Filter<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Filter")
    }
}

/// How far one subscriber is.
#[derive(Clone)]
pub(super) struct Subscriber<K, V> {
    /// It has been handed what was in force at this position and passed `filter`; 0: nothing, or
    /// what its journal leads to.
    pub(super) base: u64,
    pub(super) filter: Option<Filter<K, V>>,
    /// The keys that it is told of at all.
    pub(super) partition: Option<Partition>,
    /// A filter that was set later, and waits for the pass under way to end.
    pub(super) wanted: Option<Option<Filter<K, V>>>,
    /// It wants everything once more, after the pass under way.
    pub(super) redeliver: bool,
    pub(super) pass: Option<Pass<K, V>>,
    /// It is told of every write.
    pub(super) journal: Option<Journal<K, V>>,
    /// The second delta of a pair, handed out before anything else: an object that is added.
    pub(super) pending: Option<(K, V)>,
    pub(super) owes_reset: bool,
    /// It has had no mark since it joined or was reset.
    pub(super) initial: bool,
    /// The number of the publication whose mark it was last given; 0: none, a mark is due.
    pub(super) marked: u64,
}

/// A walk from `base` to `end`.
#[derive(Clone)]
pub(super) struct Pass<K, V> {
    pub(super) end: u64,
    /// The gap up to which it has come.
    pub(super) cursor: u32,
    /// The new filter of a re-walk.
    pub(super) refilter: Option<Option<Filter<K, V>>>,
    /// What did not change is handed out once more.
    pub(super) redeliver: bool,
    /// What to say at the end, and the number of that publication.
    pub(super) mark: Mark,
    pub(super) publication: u64,
}

#[derive(Clone)]
struct Slot<K, V> {
    generation: u32,
    subscriber: Option<Subscriber<K, V>>,
}

/// All subscribers, in slots that are used again under a new generation.
#[derive(Clone)]
pub(super) struct Subscribers<K, V> {
    slots: Vec<Slot<K, V>>,
    free: Vec<u32>,
    /// What tells their ids from those of others.
    of: u64,
}

impl<K, V> Subscribers<K, V> {
    pub(super) const fn new(of: u64) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            of,
        }
    }

    pub(super) fn add(&mut self, subscription: Subscription<K, V>) -> SubscriberId {
        let subscriber = Some(Subscriber {
            base: 0,
            filter: subscription.filter,
            partition: subscription.partition,
            wanted: None,
            redeliver: false,
            pass: None,
            journal: subscription.lossless.map(Journal::new),
            pending: None,
            owes_reset: false,
            initial: true,
            marked: 0,
        });
        if let Some(slot) = self.free.pop() {
            let place = &mut self.slots[slot as usize];
            place.subscriber = subscriber;
            return SubscriberId {
                slot,
                generation: place.generation,
                of: self.of,
            };
        }
        let slot = self.slots.len() as u32;
        self.slots.push(Slot {
            generation: 0,
            subscriber,
        });
        SubscriberId {
            slot,
            generation: 0,
            of: self.of,
        }
    }

    pub(super) fn remove(&mut self, id: SubscriberId) {
        if id.of != self.of {
            return;
        }
        let Some(place) = self.slots.get_mut(id.slot as usize) else {
            return;
        };
        if place.generation == id.generation && place.subscriber.take().is_some() {
            // A slot whose generations have run out is not used again.
            if let Some(generation) = place.generation.checked_add(1) {
                place.generation = generation;
                self.free.push(id.slot);
            }
        }
    }

    pub(super) fn get(&self, id: SubscriberId) -> Option<&Subscriber<K, V>> {
        let place = self.slots.get(id.slot as usize)?;
        place
            .subscriber
            .as_ref()
            .filter(|_| place.generation == id.generation && id.of == self.of)
    }

    pub(super) fn get_mut(&mut self, id: SubscriberId) -> Option<&mut Subscriber<K, V>> {
        if id.of != self.of {
            return None;
        }
        let place = self.slots.get_mut(id.slot as usize)?;
        place
            .subscriber
            .as_mut()
            .filter(|_| place.generation == id.generation)
    }

    pub(super) fn in_slot(&self, slot: u32) -> Option<&Subscriber<K, V>> {
        self.slots.get(slot as usize)?.subscriber.as_ref()
    }

    pub(super) fn in_slot_mut(&mut self, slot: u32) -> Option<&mut Subscriber<K, V>> {
        self.slots.get_mut(slot as usize)?.subscriber.as_mut()
    }

    /// Every slot's generation, and the slots that are free, in the order of their next use.
    #[cfg(feature = "simulated")]
    pub(super) fn slots(&self) -> (impl Iterator<Item = u32>, &[u32]) {
        (self.slots.iter().map(|slot| slot.generation), &self.free)
    }

    /// Who is in a slot.
    pub(super) fn at(&self, slot: u32) -> Option<SubscriberId> {
        let place = self.slots.get(slot as usize)?;
        place.subscriber.as_ref().map(|_| SubscriberId {
            slot,
            generation: place.generation,
            of: self.of,
        })
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = SubscriberId> {
        (0_u32..).zip(&self.slots).filter_map(|(slot, place)| {
            place.subscriber.as_ref().map(|_| SubscriberId {
                slot,
                generation: place.generation,
                of: self.of,
            })
        })
    }
}
