//! Those who read what an informer shows: now, for a while, and when something they wait for has
//! come. What they see is what the cache shows at that very moment, and a view stays what it was.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use futures_util::FutureExt as _;
use madsim::time::{sleep, timeout};
use reflet_core::cache::Mark;
use reflet_core::index::{IndexBy, IndexId, KeyOrderId};
use reflet_core::{Revision, State, Timestamp, probe};
use reflet_tokio::{Published, Reader, View, WaitError};

use super::audit::TURN;
use super::books::{Books, Value};
use super::client::Watched;
use super::plan::millis;
use super::world::{Reporter, World, lock};
use crate::oracles::{Checked, Content, Promise, Revisions, check_read, same_state};

/// Of a hundred informers, so many have onlookers.
const READ: u8 = 70;
/// The groups that writers put objects into, and one more.
const GROUPS: u8 = 5;

/// A publication's place: its local epoch, and its revision.
type Place = (u64, u64);

/// One who reads.
pub(super) struct Onlooker {
    name: String,
    reader: Reader<Arc<Value>>,
    by_group: IndexId,
    by_key: KeyOrderId,
    seen: Mutex<Revisions>,
    waiting: Mutex<Option<Waiting>>,
}

/// Somebody waits for a revision.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    epoch: u64,
    revision: u64,
    /// Since when there is nothing left to wait for, as far as it was noticed.
    over: Option<Timestamp>,
}

fn place(published: &Published) -> Place {
    let revision = published.revision.as_ref();
    let revision = revision.and_then(|revision| revision.as_u64());
    (published.local_epoch, revision.unwrap_or(0))
}

fn content<'a>(
    objects: impl IntoIterator<Item = (Arc<str>, Arc<Value>)> + 'a,
    books: &Books,
) -> Content {
    let objects = objects.into_iter();
    objects
        .map(|(key, value)| (key, books.number(&value)))
        .collect()
}

impl Onlooker {
    fn new(name: String, watched: &Watched) -> Arc<Self> {
        let by_group = IndexBy::new("group", |_, value: &Arc<Value>, terms| {
            terms.add([value.group]);
        });
        let informer = &watched.informer;
        Arc::new(Self {
            name,
            reader: informer.reader(),
            // Of what readers have already.
            by_group: informer.add_index(by_group),
            by_key: informer.add_key_order(),
            seen: Mutex::default(),
            waiting: Mutex::default(),
        })
    }

    /// What is seen now is what the cache shows, also while somebody has the engine locked (P9).
    fn check_now(&self, watched: &Watched, books: &Books) -> Checked {
        let (shown, objects, view) = watched.informer.with_cache(|cache| {
            let shown = Published {
                revision: cache.revision().cloned(),
                complete: cache.is_complete(),
                local_epoch: cache.local_epoch(),
                restored: cache.is_restored(),
            };
            let objects = cache
                .iter()
                .map(|entry| (entry.key.clone(), entry.value.clone()));
            (shown, objects.collect::<Vec<_>>(), self.reader.view())
        });
        let seen = self.reader.published();
        let (epoch, revision) = place(&seen);
        lock(&self.seen).show(epoch, revision)?;
        let same = seen == shown && *view.published() == shown;
        Promise::HonestReadiness.require(same, || {
            format!("readers see {seen:?}, the cache shows {shown:?}")
        })?;
        let (ours, theirs) = (content(&view, books), content(objects, books));
        same_state(&ours, &theirs, || "what readers see".to_owned())?;
        let len = self.reader.len();
        Promise::OneRealState.require(len == ours.len(), || {
            format!("readers count {len} objects, not {}", ours.len())
        })?;
        self.check_lookups(&view, books)
    }

    /// Indexes and the order of the keys find in a view what a walk through it finds (P3).
    fn check_lookups(&self, view: &View<Arc<Value>>, books: &Books) -> Checked {
        let mut groups: BTreeMap<u8, Content> = BTreeMap::new();
        for (key, value) in view {
            let group = groups.entry(value.group).or_default();
            group.insert(key, books.number(&value));
        }
        let keys: Vec<_> = view.iter_by_key(self.by_key).map(|(key, _)| key).collect();
        let mut walked: Vec<_> = groups.values().flat_map(BTreeMap::keys).collect();
        walked.sort();
        Promise::OneRealState.require(keys.iter().eq(walked), || {
            format!("in the order of the keys readers find {keys:?}")
        })?;
        for group in 0..GROUPS {
            let there = groups.remove(&group).unwrap_or_default();
            let found = content(view.by_index(self.by_group, [group]), books);
            same_state(&found, &there, || format!("what is found in group {group}"))?;
            let count = view.count_by(self.by_group, [group]);
            Promise::OneRealState.require(count == there.len(), || {
                format!("an index counts {count} objects, not {}", there.len())
            })?;
        }
        Ok(())
    }

    /// Who waits is told when there is nothing left to wait for.
    fn check_waiting(&self, now: Timestamp) -> Checked {
        let (epoch, revision) = place(&self.reader.published());
        let Some(waiting) = &mut *lock(&self.waiting) else {
            return Ok(());
        };
        if epoch == waiting.epoch && revision < waiting.revision {
            return Ok(());
        }
        let since = *waiting.over.get_or_insert(now);
        Promise::HonestReadiness.require(now.saturating_since(since) <= TURN, || {
            format!("at r{revision} of {epoch} somebody still waits: {waiting:?}")
        })
    }
}

impl Watched {
    pub(super) fn check_onlookers(&self, reporter: &Reporter) -> Checked {
        let (now, books) = (reporter.clock(), reporter.books());
        for onlooker in &*lock(&self.onlookers) {
            onlooker.check_now(self, &books)?;
            onlooker.check_waiting(now)?;
        }
        Ok(())
    }

    /// A subscriber was handed a mark: readers have seen what it is of (P9).
    pub(super) fn check_readers_at(&self, mark: &Mark) -> Checked {
        let revision = mark.revision.as_ref();
        let told = revision.and_then(|revision| revision.as_u64());
        let told = (mark.local_epoch, told.unwrap_or(0));
        for onlooker in &*lock(&self.onlookers) {
            check_read(place(&onlooker.reader.published()), told)?;
        }
        Ok(())
    }

    /// A subscriber was handed changes of these keys: readers find what the cache shows (P9).
    pub(super) fn check_readers_of<'a>(&self, keys: impl Iterator<Item = &'a str>) -> Checked {
        let onlookers = lock(&self.onlookers);
        if onlookers.is_empty() {
            return Ok(());
        }
        for key in keys {
            let shown = self.informer.get(key);
            for onlooker in &*onlookers {
                let read = onlooker.reader.load(key);
                Promise::HonestReadiness.require(read == shown, || {
                    format!("a subscriber was told of {key}; readers find {read:?}, not {shown:?}")
                })?;
            }
        }
        Ok(())
    }

    /// The informer was stopped: nobody waits any more, and what it showed can still be read.
    pub(super) fn check_onlookers_after_the_end(&self, reporter: &Reporter) -> Checked {
        self.check_onlookers(reporter)?;
        for onlooker in &*lock(&self.onlookers) {
            let waiting = *lock(&onlooker.waiting);
            Promise::Isolation.require(waiting.is_none(), || {
                format!("{} still waits: {waiting:?}", onlooker.name)
            })?;
        }
        Ok(())
    }
}

/// Lets onlookers come, to an informer that has any, from the node that this is called on.
pub(super) fn look_on(world: &Arc<World>, watched: &Arc<Watched>, mut rng: Rng) {
    if rng.u8(..100) >= READ {
        return;
    }
    for index in 0..rng.usize(1..=2) {
        let looking = Looking {
            name: format!("{}/r{index}", watched.name),
            waits: index == 0,
            world: Arc::clone(world),
            watched: Arc::clone(watched),
            reporter: world.reporter.clone(),
            rng: rng.fork(),
        };
        madsim::task::spawn(looking.live());
    }
}

/// An onlooker at work.
struct Looking {
    name: String,
    /// It waits for what comes, too. Only one may at a time: in which order tokio wakes several is
    /// not the seed's choice (P11).
    waits: bool,
    world: Arc<World>,
    watched: Arc<Watched>,
    reporter: Reporter,
    rng: Rng,
}

/// The informer was stopped.
struct Over;

impl Looking {
    async fn live(mut self) {
        let late = self.rng.u8(..3) > 0;
        if late {
            sleep(millis(&mut self.rng, 0..20_000)).await;
        }
        let onlooker = self.come();
        let mut told = onlooker.reader.clone();
        let mut marks = Revisions::default();
        while !self.reporter.is_broken() {
            let gone_on = match self.rng.u8(..4) {
                _ if !self.waits => self.hold_a_view(&onlooker).await,
                0 => self.hold_a_view(&onlooker).await,
                1 | 2 => self.wait(&onlooker).await,
                _ => self.hear_of_changes(&mut told, &mut marks).await,
            };
            if gone_on.is_err() {
                return;
            }
            sleep(millis(&mut self.rng, 0..2_000)).await;
        }
    }

    fn come(&self) -> Arc<Onlooker> {
        let (name, watched) = (&self.name, &self.watched);
        let health = watched.informer.health();
        let onlooker = Onlooker::new(name.clone(), watched);
        if health.state == State::Syncing {
            probe::count("reader made before the first list is over");
        }
        if health.objects > 0 {
            probe::count("reader made of a cache with objects");
        }
        let seen = place(&onlooker.reader.published());
        self.reporter
            .say(format_args!("{name} reads from {seen:?} on"));
        let nonsense = onlooker
            .reader
            .wait_for(&Revision::parse("x"))
            .now_or_never();
        let refused = nonsense == Some(Err(WaitError::Unordered));
        self.check(Promise::Harmless.require(refused, || {
            format!("a wait for what is no number came to {nonsense:?}")
        }));
        lock(&watched.onlookers).push(Arc::clone(&onlooker));
        onlooker
    }

    fn check(&self, checked: Checked) {
        self.reporter.check(&self.name, checked);
    }

    /// A view stays what it was for as long as it is held, whatever comes (P3).
    async fn hold_a_view(&mut self, onlooker: &Onlooker) -> Result<(), Over> {
        let held = Held::new(onlooker, &self.watched, &self.reporter);
        for _ in 0..self.rng.usize(1..6) {
            sleep(millis(&mut self.rng, 10..3_000)).await;
            let checked = {
                let books = self.reporter.books();
                let held = held.check(&books).map(|()| &held.view);
                held.and_then(|view| onlooker.check_lookups(view, &books))
            };
            self.check(checked);
        }
        let seen = onlooker.reader.published();
        if seen.local_epoch != held.view.published().local_epoch {
            probe::count("view held over the end of an epoch");
        }
        let relists = self.watched.relists.load(Ordering::Relaxed);
        if relists > held.relists && seen != *held.view.published() {
            probe::count("view held over a relist");
        }
        let (name, place) = (&self.name, place(held.view.published()));
        self.reporter
            .say(format_args!("{name} has held a view of {place:?}"));
        self.go_on()
    }

    /// A wait ends when what was waited for is there, and not before.
    async fn wait(&mut self, onlooker: &Onlooker) -> Result<(), Over> {
        let reader = &onlooker.reader;
        let (epoch, shown) = place(&reader.published());
        let newest = self.reporter.books().revision();
        let from = if self.rng.bool() { newest } else { shown };
        // Before the first publication nobody has come to any.
        let revision = (from + self.rng.u64(0..3)).max(1);
        *lock(&onlooker.waiting) = Some(Waiting {
            epoch,
            revision,
            over: None,
        });
        let patience = millis(&mut self.rng, 1_000..20_000);
        let came = timeout(patience, reader.wait_for(&Revision::from(revision))).await;
        *lock(&onlooker.waiting) = None;
        let (seen, name) = (place(&reader.published()), &self.name);
        let wanted = (epoch, revision);
        self.reporter.say(format_args!(
            "{name} waited for {wanted:?} at {shown}: {came:?}"
        ));
        let right = match &came {
            Err(_) => seen < wanted,
            Ok(Ok(published)) => {
                let came = place(published);
                came.0 == epoch && came >= wanted && seen >= came
            }
            Ok(Err(WaitError::EpochChanged)) => seen.0 != epoch,
            Ok(Err(WaitError::Stopped)) => self.is_over(),
            Ok(Err(WaitError::Unordered)) => false,
        };
        self.check(Promise::HonestReadiness.require(right, || {
            format!("a wait for {wanted:?} came to {came:?} when readers saw {seen:?}")
        }));
        match came {
            Ok(Ok(_)) if shown < revision => probe::count("revision waited for"),
            Ok(Err(WaitError::EpochChanged)) => probe::count("wait ended by another epoch"),
            Ok(Err(WaitError::Stopped)) => probe::count("wait ended by a stop"),
            Ok(_) | Err(_) => {}
        }
        self.go_on()
    }

    /// Each publication that is told of is there, and newer than the one before (P2).
    async fn hear_of_changes(
        &mut self,
        told: &mut Reader<Arc<Value>>,
        marks: &mut Revisions,
    ) -> Result<(), Over> {
        for _ in 0..self.rng.usize(1..6) {
            let patience = millis(&mut self.rng, 100..5_000);
            match timeout(patience, told.changed()).await {
                Ok(Ok(published)) => {
                    let (epoch, revision) = place(&published);
                    self.check(marks.show(epoch, revision));
                    self.check(check_read(place(&told.published()), (epoch, revision)));
                }
                Ok(Err(error)) => {
                    let right = error == WaitError::Stopped && self.is_over();
                    self.check(Promise::HonestReadiness.require(right, || {
                        format!("who waits for a change was told {error:?}")
                    }));
                    return Err(Over);
                }
                Err(_) => {}
            }
        }
        self.go_on()
    }

    /// It was told to end, or died with its process.
    fn is_over(&self) -> bool {
        let watched = &self.watched;
        let lives = |other: &Arc<Watched>| Arc::ptr_eq(other, watched);
        watched.stopped.load(Ordering::Relaxed) || !self.world.watched().iter().any(lives)
    }

    fn go_on(&self) -> Result<(), Over> {
        if self.is_over() { Err(Over) } else { Ok(()) }
    }
}

/// A view, and what was in it at first.
struct Held {
    view: View<Arc<Value>>,
    content: Content,
    relists: usize,
}

impl Held {
    fn new(onlooker: &Onlooker, watched: &Watched, reporter: &Reporter) -> Self {
        let view = onlooker.reader.view();
        let content = content(&view, &reporter.books());
        Self {
            view,
            content,
            relists: watched.relists.load(Ordering::Relaxed),
        }
    }

    fn check(&self, books: &Books) -> Checked {
        let what = || format!("a view of {:?} that is held", place(self.view.published()));
        same_state(&content(&self.view, books), &self.content, what)?;
        for (key, value) in &self.content {
            let found = self.view.get(key).map(|found| books.number(&found));
            Promise::OneRealState.require(found == Some(*value), || {
                format!("{}: {key} is {found:?}, not {value}", what())
            })?;
        }
        let absent = books
            .state()
            .keys()
            .filter(|key| !self.content.contains_key(*key));
        for key in absent {
            let found = self.view.get(key);
            Promise::OneRealState.require(found.is_none(), || {
                format!("{}: {key} was not in it, and is {found:?}", what())
            })?;
        }
        let len = self.view.len();
        Promise::OneRealState.require(len == self.content.len(), || {
            format!(
                "{} counts {len} objects, not {}",
                what(),
                self.content.len()
            )
        })
    }
}
