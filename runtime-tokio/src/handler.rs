//! Deltas as calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reflet_core::cache::{Delta, GapReason, Mark};
use tokio::sync::{Notify, watch};

use crate::error::NotSynced;
use crate::notice::Notice;
use crate::panic;
use crate::probe::reach;
use crate::shared::Shared;
use crate::subscribe::{Batch, Deltas};

/// How many calls are made before other tasks get their turn.
const CALLS_PER_TURN: usize = 64;

/// Somebody who wants to be called about every change.
///
/// Calls come one after the other, in order, from a task of the handler's own: a slow handler
/// delays only itself, and what it has not been told yet is merged and bounded. The calls are
/// synchronous, and occupy a thread of the runtime while they run: a handler that has to wait for
/// something should hand its work to a queue. A call that panics is reported, and the next change
/// is handed over all the same.
pub trait Handler<V>: Send + 'static {
    /// There is a new object.
    fn added(&mut self, key: Arc<str>, new: V) {
        let _ = (key, new);
    }

    /// An object changed; `old` is what this handler was last told.
    fn updated(&mut self, key: Arc<str>, old: V, new: V) {
        let _ = (key, old, new);
    }

    /// An object is gone; `seen` is what this handler was last told, `last` its last known state.
    /// `inferred`: nobody saw it go, it is just no longer there.
    fn deleted(&mut self, key: Arc<str>, seen: V, last: V, inferred: bool) {
        let _ = (key, seen, last, inferred);
    }

    /// An object that did not change is handed over once more, because this handler is subscribed
    /// [with redeliveries](reflet_core::cache::Subscription::redeliver_every). Unless a handler says
    /// otherwise that is an update to what it was, as in client-go.
    fn redelivered(&mut self, key: Arc<str>, value: V)
    where
        V: Clone,
    {
        self.updated(key, value.clone(), value);
    }

    /// Versions may be missing between what was told before and what follows. Comes only where this
    /// handler is subscribed as [lossless](reflet_core::cache::Subscription::lossless).
    fn gap(&mut self, why: GapReason) {
        let _ = why;
    }

    /// Everything up to a point of the source's history has been handed over.
    fn caught_up(&mut self, mark: &Mark) {
        let _ = mark;
    }

    /// The initial state has been handed over, and is now complete. Comes once, and again after
    /// each reset, after that state's `caught_up`; where the state was restored from a snapshot,
    /// only after the source has confirmed it.
    fn synced(&mut self) {}

    /// This handler was too far behind: everything that it was told is void, and all objects
    /// follow as added.
    fn reset(&mut self) {}
}

/// A handler at work. Dropping this changes nothing: the handler works until it or the informer
/// is stopped.
#[derive(Clone, Debug)]
pub struct HandlerTask {
    /// Closed when the task is over.
    synced: watch::Receiver<bool>,
    stop: Arc<Notify>,
    failures: Arc<AtomicU64>,
}

impl HandlerTask {
    /// Waits until the handler has been told the whole initial state, and the calls have returned
    /// (P9).
    ///
    /// # Errors
    /// [`NotSynced::Stopped`] if that will never be.
    pub async fn synced(&self) -> Result<(), NotSynced> {
        let mut synced = self.synced.clone();
        match synced.wait_for(|synced| *synced).await {
            Ok(_) => Ok(()),
            Err(_) => Err(NotSynced::Stopped),
        }
    }

    /// Stops the handler after the batch it is in, and waits until it has been dropped.
    pub async fn stop(&self) {
        self.stop.notify_one();
        let mut task = self.synced.clone();
        while task.changed().await.is_ok() {}
    }

    /// How many calls to the handler have panicked.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

/// The handler's side of a [`HandlerTask`].
struct Worker<V: Clone, H> {
    handler: H,
    deltas: Deltas<V>,
    shared: Arc<Shared<V>>,
    failures: Arc<AtomicU64>,
    /// The initial state is not complete yet, or comes from a snapshot alone (P9).
    unsynced: bool,
}

/// A handler's task, and the future that it is.
pub(crate) fn task<V, H>(
    handler: H,
    deltas: Deltas<V>,
    shared: Arc<Shared<V>>,
) -> (HandlerTask, impl Future<Output = ()> + Send + 'static)
where
    V: Clone + Send + Sync + 'static,
    H: Handler<V>,
{
    let (synced, receiver) = watch::channel(false);
    let task = HandlerTask {
        synced: receiver,
        stop: Arc::default(),
        failures: Arc::default(),
    };
    let worker = Worker {
        handler,
        deltas,
        shared,
        failures: Arc::clone(&task.failures),
        unsynced: true,
    };
    let stop = Arc::clone(&task.stop);
    let future = async move {
        worker.run(&synced, &stop).await;
        // Only now, with the handler dropped, does `stop` return.
        drop(synced);
    };
    (task, future)
}

impl<V, H> Worker<V, H>
where
    V: Clone + Send + Sync + 'static,
    H: Handler<V>,
{
    async fn run(mut self, synced: &watch::Sender<bool>, stop: &Notify) {
        loop {
            let batch = tokio::select! {
                biased;
                () = stop.notified() => return,
                batch = self.deltas.next() => batch,
            };
            let Some(batch) = batch else { return };
            let was_unsynced = self.hand_over(batch).await;
            reach!(
                "handler slower than the source",
                self.shared.lock().engine.has_delta(self.deltas.id())
            );
            if was_unsynced && !self.unsynced {
                synced.send_if_modified(|synced| !std::mem::replace(synced, true));
            }
        }
    }

    /// Hands over a batch. Returns whether the handler was unsynced before its end.
    async fn hand_over(&mut self, batch: Batch<V>) -> bool {
        for (count, delta) in batch.deltas.into_iter().enumerate() {
            // Before the first call too: whom this task has just woken may wait on this very
            // thread, and must not have to wait for a slow call.
            if count % CALLS_PER_TURN == 0 {
                reach!("handler gives way in mid-batch", count > 0);
                tokio::task::yield_now().await;
            }
            self.call(|handler| match delta {
                Delta::Added { key, new } => handler.added(key, new),
                Delta::Updated { key, old, new } => handler.updated(key, old, new),
                Delta::Deleted {
                    key,
                    seen,
                    last,
                    inferred,
                } => handler.deleted(key, seen, last, inferred),
                Delta::Redelivered { key, value } => handler.redelivered(key, value),
                Delta::Gap(why) => handler.gap(why),
                Delta::Reset => handler.reset(),
                Delta::Mark(mark) => handler.caught_up(&mark),
            });
        }
        self.call(|handler| handler.caught_up(&batch.mark));
        self.unsynced |= batch.mark.initial;
        let was_unsynced = self.unsynced;
        if was_unsynced && !batch.mark.restored {
            self.call(H::synced);
            self.unsynced = false;
        }
        was_unsynced
    }

    /// Makes one call. A panic ends that call and nothing else (P10).
    fn call(&mut self, call: impl FnOnce(&mut H)) {
        let handler = &mut self.handler;
        if let Err(message) = panic::catch(|| call(handler)) {
            reach!("panicking handler isolated");
            self.failures.fetch_add(1, Ordering::Relaxed);
            self.shared.publish(Notice::HandlerPanicked {
                subscriber: self.deltas.id(),
                message,
            });
        }
    }
}
