//! Reading from any thread, without ever waiting: a [`Reader`] for what is now, a [`View`] for what
//! was at one publication. Both read a copy of the cache; the engine and its lock are never touched. A
//! [`ReadView`] makes such a copy for an engine that is driven by hand.
//!
//! The copy is brought up to date under the engine's lock, by whoever has published something and
//! before the lock is given back. So no delta is handed out before readers can see what it leads to
//! (P9), and readers see nothing in between publications.

mod reader;
pub(crate) mod store;
mod view;

use std::fmt;
use std::sync::{Arc, Weak};

use reflet_core::Informer;
use reflet_core::cache::{Drained, SlotChange};
use tokio::sync::watch;

use crate::probe::canary;
use crate::shared::Shared;
pub use reader::{Reader, WaitError};
pub use store::Published;
use store::{Garbage, Writer};
pub use view::{Found, Iter, View};

/// How many slots of the engine are looked at under its lock, while a first copy is made.
const SLOTS: usize = 1024;

/// What those who wait are told.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    /// How many publications readers have seen.
    pub(crate) number: u64,
    pub(crate) published: Published,
    /// The informer is stopped: nothing follows.
    pub(crate) ended: bool,
}

impl News {
    /// Takes what is newer. Whoever has unlocked the engine first may come second.
    pub(crate) fn follow(&mut self, newer: Self) -> bool {
        let follows = newer.number > self.number;
        if follows {
            self.number = newer.number;
            self.published = newer.published;
            self.ended |= newer.ended;
        }
        follows
    }
}

/// What readers read of an engine: a copy of its cache that is brought up to date after each change.
///
/// An [`Informer`](crate::Informer) has one of its own. This is for who drives an engine by hand, in
/// a plain loop, in a test, on another runtime, and still wants to read from many threads:
///
/// ```
/// use std::sync::Arc;
/// use reflet_tokio::read::ReadView;
/// use reflet_tokio::reflet_core::{Body, Command, Config, Informer, Input, Item, Timestamp};
///
/// let now = Timestamp::ZERO;
/// let mut engine: Informer<Arc<str>, u32> = Informer::new(Config::default(), 42, now);
/// let mut view = ReadView::new(&mut engine, 42);
/// let reader = view.reader(&mut engine);
///
/// let Some(Command::List { attempt, .. }) = engine.poll_command() else { unreachable!() };
/// engine.handle(now, attempt, Input::Page { epoch: None, revision: Some(7.into()) });
/// let body = Body::Value(1);
/// let item = Item { key: "a", version: 5.into(), incarnation: None, size: 40, body };
/// engine.handle(now, attempt, Input::Item(item));
/// engine.handle(now, attempt, Input::PageEnd { next: None });
/// assert_eq!(reader.load("a"), None);
/// // Before any delta is handed out.
/// drop(view.bring_up(&mut engine));
/// assert_eq!(reader.load("a"), Some(1));
/// ```
pub struct ReadView<V> {
    writer: Writer<V>,
    /// Some of the first copy is missing.
    partial: bool,
    news: watch::Sender<News>,
    /// What readers see. Who waits is told of it a moment later.
    last: News,
}

/// What is left to be done when nothing is locked any more: dropping this wakes those who wait for
/// changes, and lets go of values that were replaced, whose destructors may take their time.
#[must_use = "to be dropped when nothing is locked any more"]
pub struct Afterwards<V> {
    news: Option<(watch::Sender<News>, News)>,
    _garbage: Garbage<V>,
}

impl<V: Clone> ReadView<V> {
    /// A view of an engine that nobody else follows. The seed protects against keys that are chosen
    /// to collide.
    ///
    /// Nothing is copied yet: of an engine that is full already, [`bring_up`](Self::bring_up) copies
    /// a part with each call, until [`is_whole`](Self::is_whole).
    #[must_use]
    pub fn new(engine: &mut Informer<Arc<str>, V>, seed: u64) -> Self {
        Self::telling(engine, seed, watch::Sender::default())
    }

    /// The same; who waits for changes is told by this channel.
    pub(crate) fn telling(
        engine: &mut Informer<Arc<str>, V>,
        seed: u64,
        news: watch::Sender<News>,
    ) -> Self {
        engine.follow_changes();
        Self {
            writer: Writer::new(seed),
            partial: true,
            news,
            last: News::default(),
        }
    }

    /// Whether all is there that the engine had when this view was made, so that there can be
    /// readers.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        !self.partial
    }

    /// Whether a further [`bring_up`](Self::bring_up) lets go of something, even if nothing has
    /// changed: of what views saw that were dropped meanwhile. Each call lets go of a part.
    #[must_use]
    pub fn is_untidy(&self) -> bool {
        self.writer.is_untidy()
    }

    /// A handle for reading. What is missing of the first copy is made up for, which takes time by
    /// the number of objects.
    #[must_use]
    pub fn reader(&mut self, engine: &mut Informer<Arc<str>, V>) -> Reader<V> {
        while self.partial {
            drop(self.bring_up(engine));
        }
        self.handle(engine, Weak::new())
    }

    /// A handle for reading, to be made when all is there. Its fences are put up by `driver`.
    pub(crate) fn handle(
        &self,
        engine: &Informer<Arc<str>, V>,
        driver: Weak<Shared<V>>,
    ) -> Reader<V> {
        let store = Arc::clone(self.writer.store());
        // A new handle knows what it sees, also where that is still being told.
        self.news
            .send_if_modified(|told| told.follow(self.last.clone()));
        Reader::new(
            store,
            self.news.subscribe(),
            driver,
            &engine.config().source,
        )
    }

    /// Has readers see what was published last. To be called with the same engine each time, after
    /// whatever may have published something and before a delta is handed out: so no reader is ever
    /// behind a delta.
    pub fn bring_up(&mut self, engine: &mut Informer<Arc<str>, V>) -> Afterwards<V> {
        let writer = &mut self.writer;
        writer.expect(engine.cache().len());
        let drained = engine.drain_changes(SLOTS, |change| match change {
            SlotChange::Gone { slot } => writer.gone(slot),
            SlotChange::Now { slot, entry } => writer.now(slot, entry.key, entry.value),
        });
        self.partial = drained == Drained::Part;
        if self.partial {
            writer.settle_part();
            return self.afterwards(None);
        }
        let cache = engine.cache();
        let reordered = !cache.key_orders().eq(writer.key_orders());
        if reordered {
            writer.keep_order(cache.key_orders().collect());
        }
        let reindexed = !cache.indexes().eq(writer.indexes());
        if reindexed {
            let wanted = cache.indexes();
            let wanted = wanted.filter_map(|id| Some((id, cache.index(id)?.by().clone())));
            writer.keep_indexes(wanted.collect());
        }
        if drained == Drained::Published {
            let published = Published {
                revision: cache.revision().cloned(),
                complete: cache.is_complete(),
                local_epoch: cache.local_epoch(),
                restored: cache.is_restored(),
            };
            writer.publish(published.clone());
            let news = News {
                number: writer.flip(),
                published,
                ended: false,
            };
            self.last.clone_from(&news);
            return self.afterwards(Some(news));
        }
        if reindexed || reordered || writer.is_untidy() {
            // The same once more: found by other terms or in order, or with less kept beside it.
            writer.publish_again();
        }
        self.afterwards(None)
    }

    fn afterwards(&mut self, news: Option<News>) -> Afterwards<V> {
        Afterwards {
            news: news.map(|news| (self.news.clone(), news)),
            _garbage: self.writer.take_garbage(),
        }
    }
}

impl<V> Drop for Afterwards<V> {
    fn drop(&mut self) {
        if let Some((channel, news)) = self.news.take()
            && !canary!(WaitIsNotWoken)
        {
            channel.send_if_modified(|told| told.follow(news));
        }
    }
}

impl<V> fmt::Debug for ReadView<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadView")
            .field("published", &self.writer.store().head().published)
            .field("whole", &!self.partial)
            .finish_non_exhaustive()
    }
}

impl<V> fmt::Debug for Afterwards<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Afterwards").finish_non_exhaustive()
    }
}
