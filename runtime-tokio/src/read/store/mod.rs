//! Where readers read: two sides, one of them live, and a past for those who look at it.
//!
//! **Two sides.** Both hold all objects. Readers look at the *live* one, the writer changes the
//! *hidden* one; a publication is a *flip* of the two, after which the writer does to the other side
//! what it did to the first. So a publication of any size is one store to an atomic number, and
//! everything of it shows at once.
//!
//! **Who waits for whom.** A side is a set of shards, each behind a lock of its own, but no reader
//! ever waits for one: it only tries, on the live side, where nobody writes. Where that fails a
//! flip has come in between, and it tries the new live side. Once it is in, it makes sure that the
//! side is still live. If it is, nothing can be written here while the reader stays, and nothing was
//! written since the flip; if it is not, it may be looking at what is not published yet, and starts
//! again. (The second look cannot be fooled: who sees what a writer left in the shard has taken its
//! lock after the writer, and so sees the flip that came before.) The writer leaves a shard that it
//! finds somebody in for the next publication, and waits there only for one who has stayed since.
//!
//! **The past.** A view *pins* a flip. As long as there are pins, a shard keeps, beside what is now,
//! the *records* of what was: "until this flip, the value was that". So a view reads like anybody
//! else, and takes the first record that ends after its flip in place of what is now. A record is
//! made before the flip that ends it, once per pinned flip and object, and belongs to the newest pin
//! that needs it; when that pin goes, the next older one that needs it has it, or it is freed, so
//! many with each publication. Where nothing is pinned, there are no records, and nothing asks.
//!
//! **Indexes** and the order of the keys need neither sides nor records: a publication has a root of
//! each, see `lookups` and `order`. Who looks something up pins the publication for as long as that
//! takes.

mod address;
// For the test that compiles this source by itself.
#[cfg(test)]
#[allow(dead_code, reason = "used there")]
mod check;
mod garbage;
mod keep;
mod locked;
mod lookups;
mod order;
mod pins;
mod shard;
mod table;
mod writer;

use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::TryLockError;

use foldhash::fast::FixedState;
use reflet_core::Revision;
use reflet_core::index::{IndexId, KeyOrderId};

use crate::probe::canary;
use crate::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering, RwLock, SHARDS, spin_loop};
use address::Address;
pub(crate) use garbage::Garbage;
pub(crate) use lookups::Found;
use lookups::Lookups;
use order::KeyOrder;
use pins::Pins;
use shard::{Hash, Shard};
pub(crate) use writer::Writer;

/// A point at which the cache was one state of the source, as readers see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub struct Published {
    /// The revision, where the source has revisions; `None` before the first publication, too.
    pub revision: Option<Revision>,
    /// Everything up to that revision is there; otherwise more of it may follow.
    pub complete: bool,
    /// How many rewinds came before, whether or not the source has a name for that: revisions are only
    /// comparable within one of these.
    pub local_epoch: u64,
    /// It was restored from a snapshot, and the source has not confirmed it yet: so it may be old.
    pub restored: bool,
}

/// Makes room for so many, and for some more if there was none. Not for twice as many, as a vector
/// does by itself: what is not used yet is paid for on both sides.
fn make_room<T>(row: &mut Vec<T>, len: usize) {
    if len > row.capacity() {
        row.reserve_exact(len + len / 16 + 8 - row.len());
    }
}

/// What a side says of itself.
#[derive(Clone, Default)]
pub(crate) struct Head {
    pub(crate) published: Published,
    pub(crate) len: usize,
    pub(crate) lookups: Lookups,
    pub(crate) order: KeyOrder,
}

struct Side<V> {
    head: RwLock<Head>,
    shards: Box<[Apart<RwLock<Shard<V>>>]>,
}

/// In a cache line that it shares with nobody, so that who changes it disturbs nobody.
#[repr(align(64))]
struct Apart<T>(T);

/// All objects, for any number of readers and one [`Writer`].
pub(crate) struct Store<V> {
    /// How many publications there were. The live side is the one of its parity.
    flip: Apart<AtomicU64>,
    sides: [Side<V>; 2],
    pins: Mutex<Pins>,
    hasher: FixedState,
}

impl<V> Store<V> {
    fn new(seed: u64) -> Self {
        let side = || Side {
            head: RwLock::new(Head::default()),
            shards: (0..SHARDS)
                .map(|_| Apart(RwLock::new(Shard::new())))
                .collect(),
        };
        Self {
            flip: Apart(AtomicU64::new(0)),
            sides: [side(), side()],
            pins: Mutex::new(Pins::default()),
            hasher: FixedState::with_seed(seed),
        }
    }

    /// What the newest publication says of itself.
    pub(crate) fn head(&self) -> Head {
        self.read_live(|side| &side.head, Head::clone)
    }

    /// The value of a key.
    pub(crate) fn load(&self, key: &str) -> Option<V>
    where
        V: Clone,
    {
        let hash = self.hash(key);
        self.read_shard(hash.shard(), |shard| shard.get(hash, key).cloned())
    }

    /// Whether there is a value of a key.
    pub(crate) fn contains(&self, key: &str) -> bool {
        let hash = self.hash(key);
        self.read_shard(hash.shard(), |shard| shard.get(hash, key).is_some())
    }

    fn load_at(&self, key: &str, flip: u64) -> Option<V>
    where
        V: Clone,
    {
        let hash = self.hash(key);
        self.read_shard(hash.shard(), |shard| shard.get_at(hash, key, flip).cloned())
    }

    fn hash(&self, key: &str) -> Hash {
        Hash(self.hasher.hash_one(key))
    }

    fn read_shard<T>(&self, shard: usize, look: impl FnOnce(&Shard<V>) -> T) -> T {
        self.read_live(|side| &side.shards[shard].0, look)
    }

    /// Looks at something on the live side. Waits for nobody: each further try means that the
    /// writer has got one publication further.
    fn read_live<L, T>(
        &self,
        at: impl Fn(&Side<V>) -> &RwLock<L>,
        look: impl FnOnce(&L) -> T,
    ) -> T {
        loop {
            let flip = self.flip.0.load(Ordering::Acquire);
            let guard = match at(self.side(flip)).try_read() {
                Ok(guard) => guard,
                // What a writer did before it panicked is whole: no user's code runs in between.
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    spin_loop();
                    continue;
                }
            };
            if self.flip.0.load(Ordering::Acquire) == flip {
                return look(&guard);
            }
        }
    }

    fn side(&self, flip: u64) -> &Side<V> {
        &self.sides[(flip & 1) as usize]
    }

    fn pins(&self) -> MutexGuard<'_, Pins> {
        self.pins
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Pins the newest publication.
    pub(crate) fn pin(self: &Arc<Self>) -> Pin<V> {
        let mut pins = self.pins();
        // Nobody flips while the pins are locked, so neither this nor the side changes.
        let flip = self.flip.0.load(Ordering::Acquire);
        if !canary!(ViewMovesOn) {
            pins.hold(flip);
        }
        let head = self.head();
        drop(pins);
        Pin {
            store: Arc::clone(self),
            flip,
            head,
        }
    }
}

/// One publication, kept readable.
pub(crate) struct Pin<V> {
    store: Arc<Store<V>>,
    flip: u64,
    pub(crate) head: Head,
}

impl<V> Pin<V> {
    pub(crate) fn get(&self, key: &str) -> Option<V>
    where
        V: Clone,
    {
        self.store.load_at(key, self.flip)
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        let hash = self.store.hash(key);
        self.store.read_shard(hash.shard(), |shard| {
            shard.get_at(hash, key, self.flip).is_some()
        })
    }

    /// What an index finds under a term.
    pub(crate) fn found(&self, id: IndexId, term: &[u8]) -> Found<'_> {
        self.head.lookups.found(id, term)
    }

    /// What is found under both of two terms.
    pub(crate) fn both(&self, one: (IndexId, &[u8]), other: (IndexId, &[u8])) -> Found<'_> {
        self.head.lookups.both(one, other)
    }

    /// Where the objects are whose keys are within `bounds`, in order.
    pub(crate) fn range(
        &self,
        id: KeyOrderId,
        bounds: (Bound<&str>, Bound<&str>),
    ) -> impl DoubleEndedIterator<Item = Address> + use<'_, V> {
        self.head.order.range(id, bounds)
    }

    /// The object at a place that was found.
    pub(crate) fn object(&self, place: Address) -> Option<(Arc<str>, V)>
    where
        V: Clone,
    {
        let local = place.local();
        self.store.read_shard(place.shard(), |shard| {
            let (key, value) = shard.object_at(local, self.flip)?;
            Some((Arc::clone(key), value.clone()))
        })
    }

    /// Appends the objects of some of the places from `at` on, and moves it on. False at the end.
    pub(crate) fn read_on(&self, at: &mut Place, objects: &mut Vec<(Arc<str>, V)>) -> bool
    where
        V: Clone,
    {
        let Place { shard, local } = *at;
        if shard == SHARDS {
            return false;
        }
        let next = self
            .store
            .read_shard(shard, |shard| shard.read_on(local, self.flip, objects));
        *at = match next {
            Some(local) => Place { shard, local },
            None => Place {
                shard: shard + 1,
                local: 0,
            },
        };
        true
    }
}

impl<V> Clone for Pin<V> {
    fn clone(&self) -> Self {
        // What is held by one cannot be let go of before the other holds it, too.
        if !canary!(ViewMovesOn) {
            self.store.pins().hold(self.flip);
        }
        Self {
            store: Arc::clone(&self.store),
            flip: self.flip,
            head: self.head.clone(),
        }
    }
}

impl<V> Drop for Pin<V> {
    fn drop(&mut self) {
        self.store.pins().release(self.flip);
    }
}

/// Where a walk through all objects is. An object keeps its place for as long as anybody can see it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    shard: usize,
    local: usize,
}
