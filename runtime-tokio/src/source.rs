//! What a source is to the driver: something that can list and watch, and says what it saw.
//!
//! A source owns its connections and the decoding of its bytes. It never decides what happens
//! next: it returns how an attempt ended, and the engine chooses. It reads its frames' envelopes
//! first; the payload of a frame is only decoded when the cache does not hold it yet.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use reflet_core::frame::Decoded;
pub use reflet_core::frame::{Commit, Decoder, Envelope, Frame, Payload};
use reflet_core::{Epoch, Failure, Input, Revision, SourceProfile, WatchFrom};

/// How many frames are handed to the engine before other tasks get their turn.
const FRAMES_PER_TURN: usize = 256;

/// A remote collection that can be listed and watched.
///
/// The futures are dropped when the engine cancels the attempt: they must be cancel-safe in the
/// sense that dropping one closes its connection, or returns it clean.
pub trait Source: Send + Sync + 'static {
    /// The type of the objects; `Arc<T>` is the usual choice, since values are cloned.
    type Value: Clone + Send + Sync + 'static;

    /// What the source can do and what it promises.
    fn profile(&self) -> SourceProfile;

    /// Fetches one page: [`Sink::page`], then frames, then [`Sink::page_end`] — or
    /// [`Sink::unmodified`]. What comes after that is not heard, and the future should end soon:
    /// when a few more requests have begun, what is left of it is dropped.
    ///
    /// # Errors
    /// How and why the request failed; the engine decides when to try again.
    fn list(
        &self,
        request: ListRequest,
        sink: &mut Sink<Self::Value>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Follows the collection: [`Sink::opened`], then frames until the source ends the stream,
    /// which is `Ok`.
    ///
    /// # Errors
    /// How and why the watch failed; the engine decides when to try again.
    fn watch(
        &self,
        request: WatchRequest,
        sink: &mut Sink<Self::Value>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The page that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListRequest {
    /// The token of the page to go on with; `None`: the first page.
    pub page: Option<Box<str>>,
    /// The state must not be older than this.
    pub at_least: Option<Revision>,
    /// A full-state source: say *unmodified* if the revision is still this one.
    pub known: Option<Revision>,
    /// The epoch that `at_least` and `known` belong to, where the source has epochs.
    pub epoch: Option<Epoch>,
    /// How many items the page should have.
    pub limit: u32,
}

/// The watch that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchRequest {
    /// Where to start.
    pub from: WatchFrom,
    /// The epoch that the start belongs to, where the source has epochs.
    pub epoch: Option<Epoch>,
}

/// The engine's side of a sink: what may be done while the engine is locked.
pub(crate) trait Port<V> {
    /// What is handed over next is about these keys: a hint.
    fn look_ahead(&self, _keys: &mut dyn Iterator<Item = &str>) {}
    fn holds(&self, envelope: &Envelope<'_>) -> bool;
    fn handle(&mut self, input: Input<'_, Arc<str>, V>);
}

/// Locks the engine for a moment.
pub(crate) trait Engine<V>: Send + Sync {
    fn with(&self, act: &mut dyn FnMut(&mut dyn Port<V>));
}

/// What is to be handed over when its turn comes.
enum Turn<'a, V> {
    Decoded(Decoded<'a, V>),
    /// A change whose payload the cache held when it was asked. One before it may have changed that.
    Held(Frame<'a, V>),
}

impl<'a, V> Turn<'a, V> {
    fn of(frame: Frame<'a, V>, held: bool) -> Self {
        if held && frame.is_change() {
            return Self::Held(frame);
        }
        Self::Decoded(frame.decode(held))
    }

    fn take(self, port: &mut dyn Port<V>) {
        let decoded = match self {
            Self::Decoded(decoded) => decoded,
            Self::Held(frame) => {
                let held = frame.encoded().is_some_and(|envelope| port.holds(envelope));
                frame.decode(held)
            }
        };
        decoded.hand_over(|input| port.handle(input));
    }
}

/// Where a source says what it saw. Belongs to one attempt: what is said after the attempt was
/// cancelled is not heard.
pub struct Sink<V> {
    engine: Box<dyn Engine<V>>,
    /// How many frames were handed over since other tasks had their turn.
    in_a_row: usize,
}

impl<V> fmt::Debug for Sink<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}

impl<V: Clone> Sink<V> {
    pub(crate) fn new(engine: impl Engine<V> + 'static) -> Self {
        Self {
            engine: Box::new(engine),
            in_a_row: 0,
        }
    }

    /// The watch is open.
    pub fn opened(&mut self, epoch: Option<Epoch>) {
        self.say(Input::Opened { epoch });
    }

    /// A page begins.
    pub fn page(&mut self, epoch: Option<Epoch>, revision: Option<Revision>) {
        self.say(Input::Page { epoch, revision });
    }

    /// The page is over; `next` asks for the next one.
    pub fn page_end(&mut self, next: Option<&str>) {
        self.say(Input::PageEnd { next });
    }

    /// The full state is still what it was at the known revision.
    pub fn unmodified(&mut self) {
        self.say(Input::Unmodified);
    }

    /// Hands over what was read, in order. The engine is locked for at most 256 frames at a time,
    /// not while payloads are decoded (but for one that the cache held until a frame before it), and other tasks get their turn in between, however few each
    /// call brings.
    pub async fn feed(&mut self, frames: Vec<Frame<'_, V>>)
    where
        V: Send,
    {
        let mut frames = frames.into_iter();
        while frames.len() > 0 {
            let turn: Vec<_> = frames.by_ref().take(FRAMES_PER_TURN).collect();
            self.in_a_row += turn.len();
            self.feed_turn(turn);
            if self.in_a_row >= FRAMES_PER_TURN {
                self.in_a_row = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Hands over one frame. Where many come together, [`feed`](Self::feed) costs less.
    pub fn frame(&mut self, frame: Frame<'_, V>) {
        self.feed_turn(vec![frame]);
    }

    fn feed_turn(&mut self, frames: Vec<Frame<'_, V>>) {
        let mut held = Vec::with_capacity(frames.len());
        self.engine.with(&mut |port| {
            port.look_ahead(&mut frames.iter().filter_map(Frame::key));
            let held_by = |frame: &Frame<'_, V>| frame.encoded().is_some_and(|at| port.holds(at));
            held.extend(frames.iter().map(held_by));
        });
        let decoded = frames
            .into_iter()
            .zip(held)
            .map(|(frame, held)| Turn::of(frame, held));
        let mut decoded: Vec<_> = decoded.collect();
        self.engine.with(&mut |port| {
            for turn in decoded.drain(..) {
                turn.take(port);
            }
        });
    }

    fn say(&mut self, input: Input<'_, Arc<str>, V>) {
        let mut input = Some(input);
        self.engine.with(&mut |port| {
            if let Some(input) = input.take() {
                port.handle(input);
            }
        });
    }
}
