//! Reading from any thread, without ever waiting: a [`Reader`] for what is now, a [`View`] for what
//! was at one publication. Both read a copy of the cache, the [`store`]; the engine and its lock are
//! never touched.
//!
//! The copy is brought up to date under the engine's lock, by whoever has published something and
//! before the lock is given back. So no delta is handed out before readers can see what it leads to
//! (P9), and readers see nothing in between publications.

mod reader;
pub(crate) mod store;
mod view;

use std::sync::Arc;

use reflet_core::Informer;
use reflet_core::cache::{Change, Drained};

pub use reader::{Reader, WaitError};
pub use store::Published;
pub(crate) use store::Store;
use store::{Garbage, Writer};
pub use view::{Iter, View};

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

/// The copy that readers read, and whether all of it is there.
pub(crate) struct Copying<V> {
    writer: Writer<V>,
    partial: bool,
}

/// What is left to be done when the engine is unlocked.
pub(crate) struct Outcome<V> {
    pub(crate) news: Option<News>,
    pub(crate) garbage: Garbage<V>,
}

impl<V: Clone> Copying<V> {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            writer: Writer::new(seed),
            partial: true,
        }
    }

    /// The store, if all of it is there.
    pub(crate) fn whole(&self) -> Option<Arc<Store<V>>> {
        (!self.partial).then(|| Arc::clone(self.writer.store()))
    }

    /// Has readers see what was published last.
    pub(crate) fn bring_up(&mut self, engine: &mut Informer<Arc<str>, V>) -> Outcome<V> {
        let writer = &mut self.writer;
        let drained = engine.drain_changes(SLOTS, |change| match change {
            Change::Gone { slot } => writer.gone(slot),
            Change::Now { slot, entry } => writer.now(slot, entry.key, entry.value),
        });
        self.partial = drained == Drained::Part;
        let news = match drained {
            Drained::Nothing => None,
            Drained::Part => {
                writer.settle_part();
                None
            }
            Drained::Published => {
                let cache = engine.cache();
                let published = Published {
                    revision: cache.revision().cloned(),
                    complete: cache.is_complete(),
                    epoch: cache.local_epoch(),
                };
                writer.publish(published.clone());
                Some(News {
                    number: writer.flip(),
                    published,
                    ended: false,
                })
            }
        };
        Outcome {
            news,
            garbage: writer.take_garbage(),
        }
    }
}
