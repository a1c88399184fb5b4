//! The handle: everything that a user can ask of a running informer.

use std::fmt;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reflet_core::cache::{Cache, Filter, Partition, SubscriberId, Subscription};
use reflet_core::index::{IndexBy, IndexId, KeyOrderId, Terms};
use reflet_core::{FenceError, Health, Revision, Timestamp, Verify};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::builder::Builder;
use crate::error::NotSynced;
use crate::handler::{self, Handler, HandlerTask};
use crate::notice::Notices;
use crate::panic::catch;
use crate::read::Reader;
use crate::shared::{Shared, Status};
#[cfg(feature = "snapshot")]
use crate::snapshot::WarmStart;
use crate::source::Source;
use crate::subscribe::Deltas;

/// A running informer: a local copy of a source's collection that keeps itself true.
///
/// Cheap to clone. It runs until [`shutdown`](Self::shutdown), or until the last handle is
/// dropped; streams and handlers do not keep it running. Reading works from any thread, after the
/// end too, and always shows at least what any stream was handed.
pub struct Informer<V> {
    handle: Arc<Handle<V>>,
}

struct Handle<V> {
    shared: Arc<Shared<V>>,
    /// The driver's task and those of the handlers.
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// The tasks that a shutdown waits for. Here, so that a shutdown that is itself given up
    /// leaves them to the next one.
    ending: tokio::sync::Mutex<Vec<JoinHandle<()>>>,
    #[cfg(feature = "snapshot")]
    warm: WarmStart,
}

impl<V: Clone + Send + Sync + 'static> Informer<V> {
    /// Sets up an informer of a source.
    pub fn builder<S: Source<Value = V>>(source: S) -> Builder<S> {
        Builder::new(source)
    }

    /// `tasks`: the driver's, and those that a shutdown waits for with it.
    pub(crate) fn new(
        shared: Arc<Shared<V>>,
        tasks: Vec<JoinHandle<()>>,
        #[cfg(feature = "snapshot")] warm: WarmStart,
    ) -> Self {
        Self {
            handle: Arc::new(Handle {
                shared,
                tasks: Mutex::new(tasks),
                ending: tokio::sync::Mutex::default(),
                #[cfg(feature = "snapshot")]
                warm,
            }),
        }
    }

    /// How it began: with what its snapshot held, or cold, and why.
    #[cfg(feature = "snapshot")]
    #[must_use]
    pub fn warm_start(&self) -> &WarmStart {
        &self.handle.warm
    }

    /// Waits until the cache has held a complete state of the source in this run.
    ///
    /// # Errors
    /// [`NotSynced::Stopped`] if that will never be.
    pub async fn synced(&self) -> Result<(), NotSynced> {
        let status = self.shared().status.subscribe();
        // The informer's own sender lives as long as this call: the channel cannot close.
        match until(status, |status| status.synced || status.stopped).await {
            Some(Status { synced: true, .. }) => Ok(()),
            Some(_) | None => Err(NotSynced::Stopped),
        }
    }

    /// Like [`synced`](Self::synced), but not for longer than `patience`.
    ///
    /// # Errors
    /// [`NotSynced::TimedOut`] with the health at that time, which says why.
    pub async fn synced_within(&self, patience: Duration) -> Result<(), NotSynced> {
        match tokio::time::timeout(patience, self.synced()).await {
            Ok(synced) => synced,
            Err(_) => Err(NotSynced::TimedOut(Box::new(self.health()))),
        }
    }

    /// What the informer is doing, since when and why, and what it waits for. Its times are those
    /// of [`now`](Self::now).
    #[must_use]
    pub fn health(&self) -> Health<Arc<str>> {
        self.shared().lock().engine.health()
    }

    /// The present as the informer counts it, to turn the times in [`Health`] into durations:
    /// `informer.now().saturating_since(health.since)`.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared().now()
    }

    /// What the informer shows at a glance, and each change of that.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared().status.subscribe()
    }

    /// A handle for reading that never waits: not for the engine, nor for a writer, a relist or
    /// another reader.
    ///
    /// The first one has a copy made of what it reads, which then costs some 75 bytes an object and
    /// is kept up to date for as long as the informer lives. To make it of a cache that is full
    /// already takes this call a moment; others have their turn meanwhile.
    #[must_use]
    pub fn reader(&self) -> Reader<V> {
        self.shared().reader()
    }

    /// Whether there is an object of this key.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.with_cache(|cache| cache.contains(key))
    }

    /// The object of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<V> {
        self.with_cache(|cache| cache.get(key).cloned())
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.with_cache(Cache::len)
    }

    /// Whether there are none. So it is before the informer is synced, too.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest revision that the cache shows, where the source has revisions.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        self.with_cache(|cache| cache.revision().cloned())
    }

    /// All objects, in no particular order, as they were at one moment.
    #[must_use]
    pub fn objects(&self) -> Vec<(Arc<str>, V)> {
        self.with_cache(|cache| {
            let entries = cache.iter();
            entries
                .map(|entry| (Arc::clone(entry.key), entry.value.clone()))
                .collect()
        })
    }

    /// Looks at the cache. It does not change meanwhile, and everybody else waits: be brief, and
    /// do not call the informer from inside.
    pub fn with_cache<T>(&self, look: impl FnOnce(&Cache<Arc<str>, V>) -> T) -> T {
        look(self.shared().lock().engine.cache())
    }

    /// Adds an index of what is in the cache and of what comes: objects are found by it in
    /// [`with_cache`](Self::with_cache), by readers and in views. An object whose function panics is
    /// found under the terms that it had added before; a warning is traced.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use reflet_tokio::{IndexBy, Informer};
    /// # struct Route { owner: String }
    /// # fn show(informer: &Informer<Arc<Route>>) {
    /// let by_owner = informer.add_index(IndexBy::owners(|route: &Arc<Route>, owners| {
    ///     owners.add(&route.owner);
    /// }));
    /// for (name, _) in informer.reader().dependents(by_owner, "team/shop") {
    ///     println!("{name} is one of the shop's");
    /// }
    /// # }
    /// ```
    ///
    /// Takes time by what is in the cache, for which everybody but readers waits: best added before
    /// there is much.
    #[must_use = "nothing is found, nor removed, without the id"]
    pub fn add_index(&self, by: IndexBy<Arc<str>, V>) -> IndexId {
        let name: Arc<str> = by.name().into();
        let contained = IndexBy::new(Arc::clone(&name), move |key: &str, value: &V, terms| {
            if let Err(panic) = catch(|| by.collect(key, value, terms)) {
                tracing::warn!(index = &*name, key, panic = &*panic, "an index panicked");
            }
        });
        self.shared()
            .with(|inner| inner.engine.add_index(contained))
    }

    /// Adds an index by a function, whose types the compiler knows here: as
    /// [`add_index`](Self::add_index) of an [`IndexBy::new`].
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use reflet_tokio::Informer;
    /// # struct Route { upstream: String }
    /// # fn show(informer: &Informer<Arc<Route>>) {
    /// let by_upstream = informer.add_index_by("upstream", |_, route, terms| {
    ///     terms.add(&route.upstream);
    /// });
    /// let reader = informer.reader();
    /// for (name, route) in reader.by_index(by_upstream, "10.0.0.1") {
    ///     println!("{name} leads to {}", route.upstream);
    /// }
    /// # }
    /// ```
    #[must_use = "nothing is found, nor removed, without the id"]
    pub fn add_index_by(
        &self,
        name: impl Into<Arc<str>>,
        terms_of: impl Fn(&str, &V, &mut Terms) + Send + Sync + 'static,
    ) -> IndexId {
        self.add_index(IndexBy::new(name, terms_of))
    }

    /// Removes an index: nothing is found by it any more. False if there is no such index.
    pub fn remove_index(&self, id: IndexId) -> bool {
        self.shared().with(|inner| inner.engine.remove_index(id))
    }

    /// Keeps the order of the keys from now on, for walks in order, by prefix and by range in
    /// [`with_cache`](Self::with_cache) and in a [`View`](crate::View). All who ask share one.
    #[must_use = "nothing is found, nor removed, without the id"]
    pub fn add_key_order(&self) -> KeyOrderId {
        self.shared().with(|inner| inner.engine.add_key_order())
    }

    /// Gives a share in the order of the keys back. False if there is no such share.
    pub fn remove_key_order(&self, id: KeyOrderId) -> bool {
        self.shared()
            .with(|inner| inner.engine.remove_key_order(id))
    }

    /// Asks for a list whose purpose is to find what was lost. It is taken when the pace allows.
    pub fn verify(&self, mode: Verify) {
        let now = self.now();
        self.shared().with(|inner| inner.engine.verify(now, mode));
        self.shared().driver.wake();
    }

    /// Waits until the cache, and with it all readers, shows everything that was in the source when
    /// this was called: for that the source is read anew. All who call it before that read begins
    /// share it, and the pace of attempts is kept. As long as the source cannot be read it waits.
    /// Safe to cancel.
    ///
    /// Where a watch is open that is a verifying list, which is not cheap. To read one's own writes
    /// [`Reader::wait_for`] the revision that the source gave them, where it gives one.
    ///
    /// # Errors
    /// [`FenceError::NotOffered`], at once, if the source's lists promise too little
    /// ([`SourceProfile::fresh_lists`](reflet_core::SourceProfile::fresh_lists));
    /// [`FenceError::Stopped`] if the informer was stopped before.
    pub async fn fence(&self) -> Result<(), FenceError> {
        self.shared().fence().await
    }

    /// Subscribes to everything.
    #[must_use = "dropping the stream unsubscribes"]
    pub fn subscribe(&self) -> Deltas<V> {
        self.subscribe_to(Subscription::new())
    }

    /// Subscribes to the objects that a filter accepts. One that no longer passes is deleted for
    /// this stream. The filter must be pure: the same answer for the same object. It is called
    /// while the cache is locked, so it should be quick, and must not call the informer. If it
    /// panics, its stream ends.
    #[must_use = "dropping the stream unsubscribes"]
    pub fn subscribe_filtered(
        &self,
        filter: impl Fn(&Arc<str>, &V) -> bool + Send + Sync + 'static,
    ) -> Deltas<V> {
        self.subscribe_to(Subscription::new().filter(Filter::new(filter)))
    }

    /// Subscribes to what a [`Subscription`] says: through a filter, to one of several partitions of
    /// the keys, with redeliveries on a period, lossless; all of these go together.
    #[must_use = "dropping the stream unsubscribes"]
    pub fn subscribe_to(&self, to: Subscription<Arc<str>, V>) -> Deltas<V> {
        Deltas::new(Arc::clone(self.shared()), to)
    }

    /// Hands a subscriber everything once more that it has and that does not change meanwhile: the
    /// next time that it reads, not in a batch that it has begun. Asked for twice before it has
    /// begun, it is done once. False if there is no such subscriber.
    ///
    /// This costs the source nothing, and finds nothing that was lost: see
    /// [`verify`](Self::verify).
    pub fn redeliver(&self, subscriber: SubscriberId) -> bool {
        self.shared().redeliver(subscriber)
    }

    /// Has a handler called about every change, from a task of its own.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as `tokio::spawn` does.
    pub fn handle(&self, handler: impl Handler<V>) -> HandlerTask {
        self.handle_to(Subscription::new(), handler)
    }

    /// Has several handlers called, each from a task of its own and about its own share of the
    /// keys: what happens to one key is told to one of them, in order. One that is stuck holds up
    /// the keys of its share alone. Which share a key belongs to never changes: see [`Partition`].
    ///
    /// ```
    /// # use std::{num::NonZero, sync::Arc};
    /// # use reflet_tokio::{Handler, HandlerTask, Informer};
    /// # #[derive(Default)]
    /// # struct Worker;
    /// # impl Handler<u32> for Worker {}
    /// # fn start(informer: &Informer<u32>) -> Vec<HandlerTask> {
    /// let eight = NonZero::new(8).unwrap();
    /// informer.workers(eight, |_| Worker::default())
    /// # }
    /// ```
    ///
    /// For workers with a filter, or that read streams, see [`subscribe_to`](Self::subscribe_to)
    /// and [`Partition::all`].
    ///
    /// # Panics
    /// Outside of a tokio runtime, as `tokio::spawn` does.
    pub fn workers<H: Handler<V>>(
        &self,
        of: NonZero<u32>,
        mut handler: impl FnMut(Partition) -> H,
    ) -> Vec<HandlerTask> {
        let shares = Partition::all(of);
        let worker = |its| self.handle_to(Subscription::new().partition(its), handler(its));
        shares.map(worker).collect()
    }

    /// Has a handler called about what a [`Subscription`] says, from a task of its own.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as `tokio::spawn` does.
    pub fn handle_to(
        &self,
        to: Subscription<Arc<str>, V>,
        handler: impl Handler<V>,
    ) -> HandlerTask {
        let shared = Arc::clone(self.shared());
        let (task, future) = handler::task(handler, self.subscribe_to(to), shared);
        let mut tasks = self.handle.tasks();
        // Those that have ended are forgotten here, so that coming and going leaves no trace.
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(future));
        task
    }

    /// The notices from now on.
    #[must_use]
    pub fn notices(&self) -> Notices {
        Notices::new(self.shared().notices.subscribe())
    }

    /// Stops the informer for all its handles: attempts are cancelled, streams end, handlers
    /// finish the batch they are in. Returns when all its tasks are over. Calling it again, or at
    /// the same time, does no harm.
    ///
    /// Awaited inside a call to a handler of this informer it would wait for itself.
    pub async fn shutdown(&self) {
        self.shared().stop();
        let mut ending = self.handle.ending.lock().await;
        loop {
            ending.append(&mut self.handle.tasks());
            let Some(task) = ending.last_mut() else {
                return;
            };
            // An error says that the task panicked or was aborted with its runtime: it is over.
            let _ = task.await;
            ending.pop();
        }
    }

    fn shared(&self) -> &Arc<Shared<V>> {
        &self.handle.shared
    }
}

/// The first status that is as wanted; `None` if there will be none.
async fn until(
    mut status: watch::Receiver<Status>,
    wanted: impl FnMut(&Status) -> bool,
) -> Option<Status> {
    status
        .wait_for(wanted)
        .await
        .ok()
        .map(|status| status.clone())
}

impl<V> Handle<V> {
    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Drop for Handle<V> {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl<V> Clone for Informer<V> {
    fn clone(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
        }
    }
}

impl<V> fmt::Debug for Informer<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Informer")
            .field("name", &self.handle.shared.name)
            .field("status", &*self.handle.shared.status.borrow())
            .finish()
    }
}
