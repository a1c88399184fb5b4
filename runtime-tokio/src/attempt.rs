//! One request of the source under way, and its line to the engine.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use reflet_core::{Attempt, Failure, FailureClass, Input, Timestamp};

use crate::panic;
use crate::probe::reach;
use crate::shared::{Inner, Shared};
use crate::source::{Engine, Envelope, ListRequest, Port, Sink, Source, WatchRequest};

type RequestFuture = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// A request that the source is working on. Polled within the driver's own task: to drop it is to
/// cancel it.
pub(crate) struct Running {
    pub(crate) attempt: Attempt,
    /// The page has been answered in full. What is left of the request (reading the end of a
    /// response) says nothing any more, not even how it ended.
    answered: Arc<AtomicBool>,
    request: RequestFuture,
}

impl Running {
    pub(crate) fn list<S: Source>(
        source: Arc<S>,
        shared: &Arc<Shared<S::Value>>,
        attempt: Attempt,
        request: ListRequest,
    ) -> Self {
        let answered = Arc::default();
        let mut sink = Outlet::sink(shared, attempt, &answered);
        Self {
            attempt,
            answered,
            request: caught(async move { source.list(request, &mut sink).await }),
        }
    }

    pub(crate) fn watch<S: Source>(
        source: Arc<S>,
        shared: &Arc<Shared<S::Value>>,
        attempt: Attempt,
        request: WatchRequest,
    ) -> Self {
        let answered = Arc::default();
        let mut sink = Outlet::sink(shared, attempt, &answered);
        Self {
            attempt,
            answered,
            request: caught(async move { source.watch(request, &mut sink).await }),
        }
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ready when the request is over, with what the engine has to be told of it.
    pub(crate) fn poll<V>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Input<'static, Arc<str>, V>>> {
        self.request.as_mut().poll(cx).map(|end| {
            if self.is_answered() {
                return None;
            }
            Some(match end {
                Ok(()) => Input::Closed,
                Err(failure) => Input::Failed(failure),
            })
        })
    }

    /// Ends the request. A destructor that panics is the source's affair alone.
    pub(crate) fn cancel(self) {
        reach!("request cancelled");
        if let Err(words) = panic::catch(|| drop(self.request)) {
            tracing::error!(%words, "a source panicked while its request was cancelled");
        }
    }
}

/// A source that panics has failed like any other: the driver and the cache live on (P10).
fn caught(request: impl Future<Output = Result<(), Failure>> + Send + 'static) -> RequestFuture {
    Box::pin(AssertUnwindSafe(request).catch_unwind().map(|end| {
        end.unwrap_or_else(|panic| {
            let message = format!("source panicked: {}", panic::words(&*panic));
            Err(Failure::new(FailureClass::Unexpected, message))
        })
    }))
}

/// Where a request's words enter the engine.
struct Outlet<V> {
    shared: Arc<Shared<V>>,
    attempt: Attempt,
    answered: Arc<AtomicBool>,
}

impl<V: Clone + Send + Sync + 'static> Outlet<V> {
    fn sink(shared: &Arc<Shared<V>>, attempt: Attempt, answered: &Arc<AtomicBool>) -> Sink<V> {
        Sink::new(Self {
            shared: Arc::clone(shared),
            attempt,
            answered: Arc::clone(answered),
        })
    }
}

impl<V: Clone + Send + Sync> Engine<V> for Outlet<V> {
    fn with(&self, act: &mut dyn FnMut(&mut dyn Port<V>)) {
        let now = self.shared.now();
        self.shared.change(|inner| {
            act(&mut Inlet {
                now,
                inner,
                outlet: self,
            });
        });
    }
}

/// The outlet while the engine is locked.
struct Inlet<'a, V> {
    now: Timestamp,
    inner: &'a mut Inner<V>,
    outlet: &'a Outlet<V>,
}

impl<V: Clone> Port<V> for Inlet<'_, V> {
    fn look_ahead(&self, keys: &mut dyn Iterator<Item = &str>) {
        self.inner.engine.look_ahead(keys, |_| 0);
    }

    fn holds(&self, envelope: &Envelope<'_>) -> bool {
        self.inner.engine.holds(
            self.outlet.attempt,
            envelope.key,
            envelope.version,
            envelope.incarnation,
        )
    }

    fn handle(&mut self, input: Input<'_, Arc<str>, V>) {
        // The pages of a list share an attempt: a late word about this one would be taken for the
        // next one's.
        if self.outlet.answered.load(Ordering::Relaxed) {
            return;
        }
        if matches!(input, Input::PageEnd { .. } | Input::Unmodified) {
            self.outlet.answered.store(true, Ordering::Relaxed);
        }
        self.inner.moved |= can_move(&input);
        self.inner
            .engine
            .handle(self.now, self.outlet.attempt, input);
    }
}

/// Whether an input can give a subscriber something to read. What only stages or keeps alive does
/// not, and waking ten thousand streams for a heartbeat would be a pity.
fn can_move<V>(input: &Input<'_, Arc<str>, V>) -> bool {
    match input {
        Input::Opened { .. }
        | Input::Page { .. }
        | Input::Item(_)
        | Input::Heartbeat
        | Input::Hint => false,
        Input::PageEnd { .. }
        | Input::Unmodified
        | Input::Event(_)
        | Input::Undecodable { .. }
        | Input::BatchEnd { .. }
        | Input::InitialEnd { .. }
        | Input::Progress { .. }
        | Input::Closed
        | Input::Failed(_) => true,
    }
}
