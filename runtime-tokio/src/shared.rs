//! What the driver, the handles and the streams share: the engine behind one lock, and the ways
//! to wake each other. Nobody waits for anything while holding the lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use reflet_core::cache::SubscriberId;
use reflet_core::{Attempt, FenceError, Revision, Timestamp};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use crate::notice::Notice;
use crate::read::{News, ReadView, Reader};

/// How many notices wait for a reader that is slow to take them.
const NOTICES: usize = 1024;

/// What an informer shows at a glance, each time it changes: see
/// [`Informer::status`](crate::Informer::status).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub struct Status {
    /// A complete state of the source has been seen in this run.
    pub synced: bool,
    /// The informer was stopped: nothing changes any more.
    pub stopped: bool,
    /// The newest revision that the cache shows, where the source has revisions.
    pub revision: Option<Revision>,
    /// The cache shows all of that revision.
    pub complete: bool,
    /// How many objects the cache holds.
    pub objects: usize,
}

/// Everything behind the lock.
pub(crate) struct Inner<V> {
    pub(crate) engine: reflet_core::Informer<Arc<str>, V>,
    /// What readers read, from the first reader on.
    pub(crate) read: Option<ReadView<V>>,
    /// The streams that found nothing to do. One that is awake is not in here, so that a change
    /// costs nothing for it.
    pub(crate) sleepers: BTreeMap<SubscriberId, Waker>,
    /// When the driver is going to look at the engine again.
    pub(crate) next_look: Option<Timestamp>,
    /// Something was handled that can give a subscriber work.
    pub(crate) moved: bool,
    /// Somebody asked for the end, or the driver is gone.
    pub(crate) stopping: bool,
}

/// What those who wait for a read of the source are told.
#[derive(Clone, Copy, Default)]
struct Reads {
    /// The attempt of the newest one that everybody sees.
    last: Option<Attempt>,
    ended: bool,
}

pub(crate) struct Shared<V> {
    inner: Mutex<Inner<V>>,
    pub(crate) driver: AtomicWaker,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) notices: broadcast::Sender<Notice>,
    /// What readers are waiting for.
    news: watch::Sender<News>,
    /// What fences are waiting for.
    reads: watch::Sender<Reads>,
    pub(crate) name: Arc<str>,
    started: Instant,
    seed: u64,
}

impl<V> Shared<V> {
    pub(crate) fn new(
        name: Arc<str>,
        engine: reflet_core::Informer<Arc<str>, V>,
        started: Instant,
        seed: u64,
    ) -> Self {
        Self {
            inner: Mutex::new(Inner {
                engine,
                read: None,
                sleepers: BTreeMap::new(),
                next_look: None,
                moved: false,
                stopping: false,
            }),
            driver: AtomicWaker::new(),
            status: watch::Sender::new(Status::default()),
            notices: broadcast::Sender::new(NOTICES),
            news: watch::Sender::new(News::default()),
            reads: watch::Sender::new(Reads::default()),
            name,
            started,
            seed,
        }
    }

    /// Locks the engine. A reader that panicked while it looked at the cache has changed nothing,
    /// and filters are caught before they unwind: so a poisoned lock is as good as any (P10).
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner<V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the engine that may bring its deadline forward.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Inner<V>) -> T) -> T
    where
        V: Clone,
    {
        let (result, sooner) = self.change(|inner| {
            let result = act(inner);
            let due = inner.engine.poll_timeout().map(|deadline| deadline.at);
            let sooner = due.is_some_and(|due| inner.next_look.is_none_or(|look| due < look));
            (result, sooner)
        });
        if sooner {
            self.driver.wake();
        }
        result
    }

    /// Shows a status, if it is another one.
    pub(crate) fn show(&self, status: Status) {
        self.status.send_if_modified(|shown| {
            let modified = *shown != status;
            *shown = status;
            modified
        });
    }

    /// Does something with the engine. What it has published readers see before anybody else can
    /// lock the engine, so before any delta of it is handed out (P9).
    pub(crate) fn change<T>(&self, act: impl FnOnce(&mut Inner<V>) -> T) -> T
    where
        V: Clone,
    {
        let mut inner = self.lock();
        let result = act(&mut inner);
        let Inner { engine, read, .. } = &mut *inner;
        let afterwards = read.as_mut().map(|read| read.bring_up(engine));
        let untidy = read.as_ref().is_some_and(ReadView::is_untidy);
        let last = engine.last_read();
        drop(inner);
        drop(afterwards);
        if untidy {
            // The driver goes on with it, a part each time that it looks here.
            self.driver.wake();
        }
        if self.reads.borrow().last < last {
            self.reads.send_if_modified(|told| {
                let newer = told.last < last;
                told.last = told.last.max(last);
                newer
            });
        }
        result
    }

    /// A handle on what readers read, which is made if there is none yet. That may take several
    /// steps, between which others have their turn.
    pub(crate) fn reader(self: &Arc<Self>) -> Reader<V>
    where
        V: Clone,
    {
        loop {
            self.change(|Inner { engine, read, .. }| {
                read.get_or_insert_with(|| ReadView::telling(engine, self.seed, self.news.clone()));
            });
            let inner = self.lock();
            if let Some(read) = inner.read.as_ref().filter(|read| read.is_whole()) {
                return read.handle(&inner.engine, Arc::downgrade(self));
            }
            drop(inner);
            std::thread::yield_now();
        }
    }

    /// Waits until everybody sees what the source held when this was called, or something newer.
    pub(crate) async fn fence(&self) -> Result<(), FenceError>
    where
        V: Clone,
    {
        let now = self.now();
        let fence = self.with(|inner| inner.engine.fence(now))?;
        self.driver.wake();
        let mut reads = self.reads.subscribe();
        let passed = |reads: &Reads| fence.is_passed_by(reads.last);
        // This very call keeps the channel open.
        let reads = reads.wait_for(|reads| passed(reads) || reads.ended).await;
        let passed = reads.is_ok_and(|reads| passed(&reads));
        passed.then_some(()).ok_or(FenceError::Stopped)
    }

    /// The time as the engine counts it: since the start of this informer.
    pub(crate) fn now(&self) -> Timestamp {
        let elapsed = Instant::now().saturating_duration_since(self.started);
        Timestamp::ZERO.saturating_add(elapsed)
    }

    /// The time as the runtime counts it. A deadline beyond a year is looked at again then, which
    /// keeps the sum in the range of every platform's clock.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        let now = self.now();
        self.started + now.saturating_since(Timestamp::ZERO) + at.saturating_since(now).min(YEAR)
    }

    /// Hands a subscriber everything once more. False if there is no such subscriber.
    pub(crate) fn redeliver(&self, id: SubscriberId) -> bool
    where
        V: Clone,
    {
        let (known, sleeper) = self.with(|inner| {
            let known = inner.engine.redeliver(id);
            (known, inner.sleepers.remove(&id))
        });
        sleeper.into_iter().for_each(Waker::wake);
        known
    }

    /// Asks the driver to end, and ends all streams at once. Needs no runtime and no clock, so it
    /// can be called from a destructor anywhere.
    pub(crate) fn stop(&self) {
        let sleepers = {
            let mut inner = self.lock();
            inner.stopping = true;
            std::mem::take(&mut inner.sleepers)
        };
        self.driver.wake();
        self.news
            .send_if_modified(|told| !std::mem::replace(&mut told.ended, true));
        self.reads
            .send_if_modified(|told| !std::mem::replace(&mut told.ended, true));
        sleepers.into_values().for_each(Waker::wake);
    }

    /// Tells logs and listeners. Must not be called with the engine locked.
    pub(crate) fn publish(&self, notice: Notice) {
        notice.log(&self.name);
        // An error only says that nobody listens.
        let _ = self.notices.send(notice);
    }
}

impl<V: Clone> Inner<V> {
    pub(crate) fn status(&self) -> Status {
        let cache = self.engine.cache();
        Status {
            synced: self.engine.is_synced(),
            stopped: self.stopping,
            revision: cache.revision().cloned(),
            complete: cache.is_complete(),
            objects: cache.len(),
        }
    }
}

impl<V: Clone> Shared<V> {
    /// Shows the engine's status as it is now.
    pub(crate) fn show_status(&self) {
        let status = self.lock().status();
        self.show(status);
    }
}
