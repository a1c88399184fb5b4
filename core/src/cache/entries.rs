//! Entries: keys, their current versions, and their places in the list.
//!
//! An entry is split in two. What a change of a *neighbour* in the list writes too lies dense, in
//! rows of twelve bytes, so that neighbours are mostly in the processor's caches; what belongs to
//! the object alone is six words with the usual keys and values. What only few entries have (a past
//! that somebody still needs, a version that is no number, a size beyond four gigabytes) is kept
//! aside.

use alloc::boxed::Box;

use crate::key::Key;
use crate::slab::Slab;
use crate::token::{Incarnation, VersionRef};

use super::Entry;
use super::chain::Chain;
use super::nodes::Links;

/// A live object as it is written.
pub(super) struct Live<'a, V> {
    pub(super) value: V,
    pub(super) version: VersionRef<'a>,
    pub(super) incarnation: Option<Incarnation>,
    pub(super) size: usize,
}

/// What a key is now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State<'a, V> {
    Live(&'a V),
    /// A tombstone: what is left of an object while some cursor still has an older version of it.
    Dead {
        /// The last known state before it went; `None` where nobody has seen the object, and the
        /// tombstone is kept for the sake of its chain alone.
        last: Option<&'a V>,
        inferred: bool,
    },
}

/// A key and its current version, as a pass looks at them: found in one go.
pub(super) struct Current<'a, K, V> {
    pub(super) key: &'a K,
    /// When it came.
    pub(super) seq: u64,
    pub(super) birth: Birth,
    pub(super) state: State<'a, V>,
    /// What it superseded, as far as somebody needs it.
    pub(super) chain: &'a Chain,
}

/// Which incarnation a version belongs to. Two versions of one key that somebody still needs are
/// of the same incarnation if their births are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Birth {
    /// When it was created, where that is later than the oldest version that is still needed;
    /// else 0: then nobody has seen another one. A tombstone's is that of the object that went.
    pub(super) at: u64,
    /// The delete between the incarnation before and this one was inferred.
    pub(super) inferred: bool,
}

/// When a version came, and what kind of entry it is in: 56 bits of sequence number do not run out
/// either, within two thousand years of a million changes a second.
#[derive(Clone, Copy, Default)]
struct Stamp(u64);

impl Stamp {
    const LIVE: u64 = 1;
    const DEAD: u64 = 1 << 1;
    /// The tombstone's delete was inferred.
    const INFERRED: u64 = 1 << 2;
    const INCARNATION: u64 = 1 << 3;
    /// The version is a text, or there is none.
    const TEXT: u64 = 1 << 4;
    /// The row names an [`Aside`] instead of a size.
    const ASIDE: u64 = 1 << 5;
    /// The follower has been handed this object.
    const FOLLOWED: u64 = 1 << 6;
    const SEQ_SHIFT: u32 = 8;
    const FLAGS: u64 = (1 << Self::SEQ_SHIFT) - 1;

    const fn seq(self) -> u64 {
        self.0 >> Self::SEQ_SHIFT
    }

    fn set_seq(&mut self, seq: u64) {
        self.0 = seq << Self::SEQ_SHIFT | self.0 & Self::FLAGS;
    }

    const fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    fn set(&mut self, flag: u64, on: bool) {
        self.0 = if on { self.0 | flag } else { self.0 & !flag };
    }
}

/// The object's own part of an entry.
#[derive(Clone)]
struct Object<K, V> {
    /// `None` in a free place only.
    key: Option<K>,
    /// Of a tombstone: the last known state.
    value: Option<V>,
    /// A number, or the place of a text, or [`NO_VERSION`].
    version: u64,
    incarnation: u64,
    stamp: Stamp,
}

impl<K, V> Default for Object<K, V> {
    fn default() -> Self {
        Self {
            key: None,
            value: None,
            version: 0,
            incarnation: 0,
            stamp: Stamp::default(),
        }
    }
}

/// Instead of the place of a text: the source stamps no versions.
const NO_VERSION: u64 = u64::MAX;

/// The list's part of an entry.
#[derive(Clone, Copy, Default)]
struct Row {
    links: Links,
    /// The object's size, or the place of what is kept aside.
    size: u32,
}

/// What only few entries have.
#[derive(Clone, Default)]
struct Aside {
    size: usize,
    /// The versions that were superseded, as long as somebody needs them.
    chain: Chain,
    birth: Birth,
}

/// What an entry takes with the usual keys and values.
#[cfg(test)]
pub(super) const BYTES_EACH: usize = {
    type Shared<T> = alloc::sync::Arc<T>;
    size_of::<Object<Shared<str>, Shared<u64>>>() + size_of::<Row>()
};

static NOTHING_ASIDE: Aside = Aside {
    size: 0,
    chain: Chain::Empty,
    birth: Birth {
        at: 0,
        inferred: false,
    },
};

/// All entries, by their ids.
#[derive(Clone)]
pub(super) struct Entries<K, V> {
    /// These two have their places in common.
    objects: Slab<Object<K, V>>,
    rows: Slab<Row>,
    asides: Slab<Aside>,
    texts: Slab<Box<str>>,
}

impl<K, V> Entries<K, V> {
    pub(super) const fn new() -> Self {
        Self {
            objects: Slab::new(),
            rows: Slab::new(),
            asides: Slab::new(),
            texts: Slab::new(),
        }
    }

    /// The id after the highest one ever given out.
    pub(super) const fn end(&self) -> u32 {
        self.objects.end()
    }

    #[cfg(any(test, feature = "simulated"))]
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// `None` for a free place.
    pub(super) fn key(&self, id: u32) -> Option<&K> {
        self.objects[id].key.as_ref()
    }

    /// When the current version came.
    pub(super) fn seq(&self, id: u32) -> u64 {
        self.objects[id].stamp.seq()
    }

    pub(super) fn is_live(&self, id: u32) -> bool {
        self.objects[id].stamp.has(Stamp::LIVE)
    }

    /// `None` for a free place.
    pub(super) fn state(&self, id: u32) -> Option<State<'_, V>> {
        Self::state_of(&self.objects[id])
    }

    fn state_of(object: &Object<K, V>) -> Option<State<'_, V>> {
        let value = object.value.as_ref();
        if object.stamp.has(Stamp::DEAD) {
            let inferred = object.stamp.has(Stamp::INFERRED);
            return Some(State::Dead {
                last: value,
                inferred,
            });
        }
        value.map(State::Live)
    }

    /// What a pass has to know of an entry; `None` for a free place.
    #[inline(always)]
    pub(super) fn current(&self, id: u32) -> Option<Current<'_, K, V>> {
        let object = &self.objects[id];
        let aside = self.aside_of(object, id).unwrap_or(&NOTHING_ASIDE);
        Some(Current {
            key: object.key.as_ref()?,
            seq: object.stamp.seq(),
            birth: aside.birth,
            state: Self::state_of(object)?,
            chain: &aside.chain,
        })
    }

    /// The live object of an entry.
    pub(super) fn live(&self, id: u32) -> Option<Entry<'_, K, V>> {
        let object = &self.objects[id];
        if !object.stamp.has(Stamp::LIVE) {
            return None;
        }
        let version = match object.version {
            number if !object.stamp.has(Stamp::TEXT) => VersionRef::from(number),
            NO_VERSION => VersionRef::NONE,
            text => VersionRef::from_text(&self.texts[text as u32]),
        };
        Some(Entry {
            key: object.key.as_ref()?,
            value: object.value.as_ref()?,
            version,
            incarnation: Self::incarnation_of(object),
            size: self.size(id),
        })
    }

    /// The incarnation of what is live, where the source told.
    pub(super) fn incarnation(&self, id: u32) -> Option<Incarnation> {
        Self::incarnation_of(&self.objects[id])
    }

    fn incarnation_of(object: &Object<K, V>) -> Option<Incarnation> {
        let known = object.stamp.has(Stamp::INCARNATION);
        known.then(|| object.incarnation.into())
    }

    /// The size of what is live, or of the last state before it went.
    pub(super) fn size(&self, id: u32) -> usize {
        match self.aside(id) {
            Some(aside) => aside.size,
            None => self.rows[id].size as usize,
        }
    }

    /// The superseded versions of an entry.
    pub(super) fn chain(&self, id: u32) -> &Chain {
        &self.aside(id).unwrap_or(&NOTHING_ASIDE).chain
    }

    pub(super) fn birth(&self, id: u32) -> Birth {
        self.aside(id).map(|aside| aside.birth).unwrap_or_default()
    }

    fn aside(&self, id: u32) -> Option<&Aside> {
        self.aside_of(&self.objects[id], id)
    }

    #[inline(always)]
    fn aside_of(&self, object: &Object<K, V>, id: u32) -> Option<&Aside> {
        let aside = object.stamp.has(Stamp::ASIDE);
        aside.then(|| &self.asides[self.rows[id].size])
    }

    /// What is kept aside of an entry, from now on if it was not before.
    fn aside_mut(&mut self, id: u32) -> &mut Aside {
        let (object, row) = (&mut self.objects[id], &mut self.rows[id]);
        if !object.stamp.has(Stamp::ASIDE) {
            object.stamp.set(Stamp::ASIDE, true);
            row.size = self.asides.insert(Aside {
                size: row.size as usize,
                ..Aside::default()
            });
        }
        &mut self.asides[row.size]
    }

    /// Nothing is kept aside that has room in the row.
    fn settle(&mut self, id: u32) {
        let row = &mut self.rows[id];
        let aside = &mut self.asides[row.size];
        if !aside.chain.is_empty() {
            return;
        }
        match u32::try_from(aside.size) {
            Ok(size) => {
                self.asides.remove(row.size);
                row.size = size;
                self.objects[id].stamp.set(Stamp::ASIDE, false);
            }
            // Nobody needs to tell incarnations apart any more.
            Err(_) => aside.birth = Birth::default(),
        }
    }

    /// A key that is new here. Its place in the list is still to be found.
    pub(super) fn insert(&mut self, key: K, live: Live<'_, V>, seq: u64) -> u32 {
        let id = self.objects.insert(Object {
            key: Some(key),
            ..Object::default()
        });
        let row = self.rows.insert(Row::default());
        debug_assert_eq!(id, row, "both parts of an entry are in the same place");
        self.put(id, live, seq);
        id
    }

    /// An entry's new state. The old one goes, as far as it was not taken out before.
    pub(super) fn put(&mut self, id: u32, live: Live<'_, V>, seq: u64) {
        let Live {
            value,
            version,
            incarnation,
            size,
        } = live;
        let object = &mut self.objects[id];
        object.value = Some(value);
        object.stamp.set(Stamp::DEAD | Stamp::INFERRED, false);
        object.stamp.set(Stamp::LIVE, true);
        object.stamp.set_seq(seq);
        self.restamp(id, version, incarnation, size);
    }

    /// What the source says of the state that is there.
    pub(super) fn restamp(
        &mut self,
        id: u32,
        version: VersionRef<'_>,
        incarnation: Option<Incarnation>,
        size: usize,
    ) {
        let object = &mut self.objects[id];
        object.incarnation = incarnation.map_or(0, Incarnation::number);
        let known = incarnation.is_some();
        object.stamp.set(Stamp::INCARNATION, known);
        let aside = object.stamp.has(Stamp::ASIDE);
        match version.number_or_text() {
            Ok(number) if !object.stamp.has(Stamp::TEXT) => object.version = number,
            version => self.set_text(id, version),
        }
        match u32::try_from(size) {
            Ok(size) if !aside => self.rows[id].size = size,
            Ok(_) | Err(_) => self.set_size_aside(id, size),
        }
    }

    #[cold]
    fn set_size_aside(&mut self, id: u32, size: usize) {
        self.aside_mut(id).size = size;
        self.settle(id);
    }

    /// A version where the one before, the new one, or both are texts.
    #[cold]
    fn set_text(&mut self, id: u32, version: Result<u64, &str>) {
        let object = &mut self.objects[id];
        if object.stamp.has(Stamp::TEXT) && object.version != NO_VERSION {
            self.texts.remove(object.version as u32);
        }
        object.stamp.set(Stamp::TEXT, version.is_err());
        object.version = match version {
            Ok(number) => number,
            Err("") => NO_VERSION,
            Err(text) => u64::from(self.texts.insert(text.into())),
        };
    }

    /// The object has gone: its entry is a tombstone from `seq` on. Its size stays.
    pub(super) fn bury(&mut self, id: u32, last: V, inferred: bool, seq: u64) {
        self.restamp(id, VersionRef::from(0), None, self.size(id));
        let object = &mut self.objects[id];
        object.value = Some(last);
        object.stamp.set(Stamp::LIVE, false);
        object.stamp.set(Stamp::DEAD, true);
        object.stamp.set(Stamp::INFERRED, inferred);
        object.stamp.set_seq(seq);
    }

    /// Takes the value out of an entry that is about to be another one.
    pub(super) fn take_value(&mut self, id: u32) -> Option<V> {
        self.objects[id].value.take()
    }

    /// What current and later versions are of: an incarnation that follows another one, which
    /// somebody may have seen.
    pub(super) fn set_birth(&mut self, id: u32, birth: Birth) {
        if !self.chain(id).is_empty() {
            self.aside_mut(id).birth = birth;
        }
    }

    /// One more superseded version, the newest one.
    pub(super) fn push_old(&mut self, id: u32, old: u32) {
        self.aside_mut(id).chain.push(old);
    }

    /// Forgets the superseded version with the sequence number `seq`.
    pub(super) fn remove_old(&mut self, id: u32, seq: u64, seq_of: impl Fn(u32) -> u64) {
        self.aside_mut(id).chain.remove(seq, seq_of);
        self.settle(id);
    }

    /// Takes an entry out that is no longer in the list, with all that is kept aside of it.
    pub(super) fn remove(&mut self, id: u32) -> Option<K> {
        self.restamp(id, VersionRef::from(0), None, 0);
        let row = self.rows.remove(id);
        if self.objects[id].stamp.has(Stamp::ASIDE) {
            self.asides.remove(row.size);
        }
        self.objects.remove(id).key
    }

    /// Notes that the follower has been handed an object, or no longer has it. Returns whether it
    /// had it before.
    pub(super) fn set_followed(&mut self, id: u32, followed: bool) -> bool {
        let stamp = &mut self.objects[id].stamp;
        let before = stamp.has(Stamp::FOLLOWED);
        stamp.set(Stamp::FOLLOWED, followed);
        before
    }

    /// Looks at what a search for the entry's key and a change of the entry look at. The answer has
    /// no meaning, and cannot be had without that.
    pub(super) fn touch(&self, id: u32, value: impl Fn(&V) -> usize) -> usize
    where
        K: Key,
    {
        let object = &self.objects[id];
        let key = object.key.as_ref().map(|key| K::bytes(key.borrow()));
        let byte = key.and_then(|bytes| bytes.first().copied());
        let value = object.value.as_ref().map_or(0, value);
        value ^ usize::from(byte.unwrap_or_default())
    }

    pub(super) fn links(&self, id: u32) -> Links {
        self.rows[id].links
    }

    pub(super) fn links_mut(&mut self, id: u32) -> &mut Links {
        &mut self.rows[id].links
    }

    /// Whether what is kept aside is kept for a reason, for tests of invariants.
    #[cfg(any(test, feature = "simulated"))]
    pub(super) fn check(&self, ids: &[u32]) {
        let aside = ids.iter().filter_map(|id| self.aside(*id));
        let needed = |aside: &Aside| !aside.chain.is_empty() || u32::try_from(aside.size).is_err();
        let mut count = 0;
        for aside in aside {
            assert!(needed(aside), "nothing is kept aside without need");
            count += 1;
        }
        assert_eq!(count, self.asides.len(), "what is kept aside is an entry's");
        let text = |id: &&u32| {
            let object = &self.objects[**id];
            object.stamp.has(Stamp::TEXT) && object.version != NO_VERSION
        };
        assert_eq!(ids.iter().filter(text).count(), self.texts.len());
        assert_eq!(self.rows.len(), self.objects.len());
    }
}
