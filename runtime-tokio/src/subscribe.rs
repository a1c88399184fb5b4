//! Deltas as a stream of batches, each of them a step from one state of the cache to another.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use reflet_core::cache::{Delta, DeltaRef, Filter, Mark, Reached, SubscriberId, Subscription};

use crate::notice::Notice;
use crate::panic;
use crate::probe::reach;
use crate::shared::Shared;

/// How many deltas are taken before the engine is unlocked and other tasks get their turn.
const DELTAS: usize = 256;

/// What leads from the last batch's state to the next one's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<V> {
    /// The steps, in order, marks left out. If there is a [`Delta::Reset`], it is the first one,
    /// and everything that was handed over before is void.
    pub deltas: Vec<Delta<Arc<str>, V>>,
    /// The state that they lead to.
    pub mark: Mark,
}

/// Why a stream of deltas ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum Ended {
    /// The informer was stopped.
    Stopped,
    /// The filter panicked, so what belongs to the stream is not known any more.
    FilterPanicked,
}

/// A subscription: a stream of [`Batch`]es that begins with the whole state.
///
/// It reads at its own pace: what it has not read yet is merged and bounded by
/// [`Limits::retained_bytes`](reflet_core::Limits::retained_bytes), and nobody else notices. To
/// drop it is to unsubscribe. It does not keep the informer running.
pub struct Deltas<V: Clone> {
    shared: Arc<Shared<V>>,
    id: SubscriberId,
    /// Steps of the batch that has not reached its mark yet. Kept here, so that a dropped
    /// `next()` loses nothing.
    partial: Vec<Delta<Arc<str>, V>>,
    filter_panic: FilterPanic,
    ended: Option<Ended>,
}

/// How a pass over the engine's deltas ended.
enum Pass {
    Mark(Mark),
    Idle,
    /// The budget is spent.
    Yield,
    Stopped,
}

impl<V: Clone> Deltas<V> {
    pub(crate) fn new(shared: Arc<Shared<V>>, mut to: Subscription<Arc<str>, V>) -> Self
    where
        V: 'static,
    {
        let filter_panic = FilterPanic::default();
        let guard = |filter: Filter<Arc<str>, V>| {
            filter_panic.guard(move |key, value| filter.matches(key, value))
        };
        to.filter = to.filter.map(guard);
        let id = shared.with(|inner| inner.engine.subscribe(to));
        Self {
            shared,
            id,
            partial: Vec::new(),
            filter_panic,
            ended: None,
        }
    }

    /// The next batch, or `None` once the stream has [`ended`](Self::ended). Safe to cancel:
    /// nothing is lost.
    pub async fn next(&mut self) -> Option<Batch<V>> {
        poll_fn(|cx| self.poll_batch(cx)).await
    }

    /// This subscription's id, by which [`Health`](reflet_core::Health) and notices call it.
    #[must_use]
    pub fn id(&self) -> SubscriberId {
        self.id
    }

    /// Why the stream ended; `None` while it goes on.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Changes the filter: objects that leave it are deleted for this stream, and those that enter
    /// it are added. The same rules as for
    /// [`subscribe_filtered`](crate::Informer::subscribe_filtered) hold.
    pub fn set_filter(&mut self, filter: impl Fn(&Arc<str>, &V) -> bool + Send + Sync + 'static) {
        let filter = self.filter_panic.guard(filter);
        self.shared
            .with(|inner| inner.engine.set_filter(self.id, Some(filter)));
    }

    /// Asks for everything that this stream has once more: see
    /// [`Informer::redeliver`](crate::Informer::redeliver).
    pub fn redeliver(&mut self) {
        self.shared.redeliver(self.id);
    }

    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Batch<V>>> {
        if self.ended.is_some() {
            return Poll::Ready(None);
        }
        let pass = self.pass(cx);
        if let Some(message) = self.filter_panic.take() {
            reach!("panicking filter isolated");
            self.shared.publish(Notice::FilterPanicked {
                subscriber: self.id,
                message,
            });
            return self.end(Ended::FilterPanicked);
        }
        match pass {
            Pass::Mark(mark) => Poll::Ready(Some(Batch {
                deltas: mem::take(&mut self.partial),
                mark,
            })),
            Pass::Idle => Poll::Pending,
            Pass::Yield => {
                reach!("batch read in several turns");
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Pass::Stopped => self.end(Ended::Stopped),
        }
    }

    /// Reads up to the next mark, as far as the budget goes.
    fn pass(&mut self, cx: &Context<'_>) -> Pass {
        // Void steps are dropped after the lock: a user's destructors may take their time.
        let mut void = Vec::new();
        self.shared.with(|inner| {
            if inner.stopping {
                return Pass::Stopped;
            }
            let partial = &mut self.partial;
            let reached = inner.engine.drain_deltas(self.id, DELTAS, |delta| {
                if let DeltaRef::Reset = delta {
                    reach!("subscriber reset in mid-batch", !partial.is_empty());
                    void.append(partial);
                }
                partial.push(delta.to_delta());
            });
            match reached {
                Reached::Mark(mark) => Pass::Mark(mark),
                Reached::Budget => Pass::Yield,
                Reached::Idle => {
                    inner.sleepers.insert(self.id, cx.waker().clone());
                    Pass::Idle
                }
            }
        })
    }

    fn end(&mut self, why: Ended) -> Poll<Option<Batch<V>>> {
        self.ended = Some(why);
        self.unsubscribe();
        Poll::Ready(None)
    }

    fn unsubscribe(&mut self) {
        let waker = self.shared.with(|inner| {
            inner.engine.unsubscribe(self.id);
            inner.sleepers.remove(&self.id)
        });
        drop(waker);
        self.partial.clear();
    }
}

impl<V: Clone> fmt::Debug for Deltas<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deltas")
            .field("informer", &self.shared.name)
            .field("id", &self.id)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl<V: Clone> Stream for Deltas<V> {
    type Item = Batch<V>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Batch<V>>> {
        self.poll_batch(cx)
    }
}

// Nothing in here is pinned: values move in and out.
impl<V: Clone> Unpin for Deltas<V> {}

impl<V: Clone> Drop for Deltas<V> {
    fn drop(&mut self) {
        reach!("subscriber dropped in mid-batch", !self.partial.is_empty());
        self.unsubscribe();
    }
}

/// The words of a filter's first panic, until somebody takes them.
#[derive(Clone, Default)]
struct FilterPanic(Arc<Mutex<Option<Box<str>>>>);

impl FilterPanic {
    /// Filters run inside the engine, which everybody shares: a panic must not unwind through it.
    /// What the filter then answers does not matter, since its stream ends (P10).
    fn guard<V>(
        &self,
        filter: impl Fn(&Arc<str>, &V) -> bool + Send + Sync + 'static,
    ) -> Filter<Arc<str>, V> {
        let words = self.clone();
        Filter::new(move |key, value| {
            panic::catch(|| filter(key, value)).unwrap_or_else(|panic| {
                words.lock().get_or_insert(panic);
                false
            })
        })
    }

    fn take(&self) -> Option<Box<str>> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Box<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
