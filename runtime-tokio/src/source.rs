//! What a source is to the driver: something that can list and watch, and says what it saw.
//!
//! A source owns its connections and the decoding of its bytes. It never decides what happens
//! next: it returns how an attempt ended, and the engine chooses. It reads its frames' envelopes
//! first; the payload of a frame is only decoded when the cache does not hold it yet.

use std::future::Future;
use std::sync::Arc;

use reflet_core::{
    Body, Change, Digest, Epoch, Event, Failure, Incarnation, Input, Item, Removal, Revision,
    SourceProfile, VersionRef, WatchFrom,
};

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
pub struct WatchRequest {
    /// Where to start.
    pub from: WatchFrom,
    /// The epoch that the start belongs to, where the source has epochs.
    pub epoch: Option<Epoch>,
}

/// One thing that a source read: an object, a change, or a word about the stream.
pub enum Frame<'a, V> {
    /// An object of a page or of an initial stream, or one that was created or updated.
    Upsert {
        /// Its key, version and size.
        envelope: Envelope<'a>,
        /// Its payload.
        payload: Payload<'a, V>,
        /// The transaction that made the change, on a watch; `None` in a page.
        commit: Option<Commit>,
    },
    /// An object was deleted.
    Delete {
        /// Its key.
        key: &'a str,
        /// The version of the delete or of the last state, where the source gives one.
        version: Option<VersionRef<'a>>,
        /// The incarnation of the object that went, where the source gives it.
        incarnation: Option<Incarnation>,
        /// The last state, where the source gives it.
        last: Option<Payload<'a, V>>,
        /// The size on the wire, in bytes.
        size: usize,
        /// The transaction that made the change.
        commit: Commit,
    },
    /// Something whose key could not even be read.
    Undecodable {
        /// The size on the wire, in bytes.
        size: usize,
        /// What was wrong, and where.
        error: String,
    },
    /// The transaction that made this revision is complete.
    BatchEnd(Revision),
    /// The initial stream is complete.
    InitialEnd(Option<Revision>),
    /// Everything up to the revision has been handed over.
    Progress(Revision, Option<Digest>),
    /// A sign of life.
    Heartbeat,
    /// Something changed: look again.
    Hint,
}

/// What is known of an object without decoding its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its version.
    pub version: VersionRef<'a>,
    /// Its incarnation, where the source tells re-created objects apart.
    pub incarnation: Option<Incarnation>,
    /// Its size on the wire, in bytes.
    pub size: usize,
}

/// Where a change stands in the source's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// The revision of the transaction, where the source gives it.
    pub revision: Option<Revision>,
    /// The revision of the transaction before it on the same stream, where the source gives it.
    pub previous: Option<Revision>,
}

/// Decodes a payload; the error says what is wrong, in words for a human.
pub type Decoder<V> = dyn Fn(&[u8]) -> Result<V, String> + Send + Sync;

/// An object's payload.
pub enum Payload<'a, V> {
    /// The value itself.
    Value(V),
    /// Its bytes, decoded only if the cache does not hold that version already.
    Encoded(&'a [u8], &'a Decoder<V>),
}

impl<V> Payload<'_, V> {
    fn decode(self) -> Result<V, String> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Encoded(bytes, decode) => decode(bytes),
        }
    }
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

/// Where a source says what it saw. Belongs to one attempt: what is said after the attempt was
/// cancelled is not heard.
pub struct Sink<V> {
    engine: Box<dyn Engine<V>>,
    /// How many frames were handed over since other tasks had their turn.
    in_a_row: usize,
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
    /// never while a payload is decoded, and other tasks get their turn in between, however few each
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
            held.extend(frames.iter().map(|frame| frame.is_held(port)));
        });
        let decoded = frames
            .into_iter()
            .zip(held)
            .map(|(frame, held)| frame.decode(held));
        let mut decoded: Vec<_> = decoded.collect();
        self.engine.with(&mut |port| {
            for frame in decoded.drain(..) {
                frame.hand_over(port);
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

impl<'a, V> Frame<'a, V> {
    fn key(&self) -> Option<&str> {
        match self {
            Frame::Upsert { envelope, .. } => Some(envelope.key),
            Frame::Delete { key, .. } => Some(key),
            Frame::Undecodable { .. }
            | Frame::BatchEnd(_)
            | Frame::InitialEnd(_)
            | Frame::Progress(..)
            | Frame::Heartbeat
            | Frame::Hint => None,
        }
    }

    /// Whether decoding the payload can be spared.
    fn is_held(&self, port: &dyn Port<V>) -> bool {
        match self {
            Frame::Upsert {
                envelope,
                payload: Payload::Encoded(..),
                ..
            } => port.holds(envelope),
            Frame::Upsert { .. }
            | Frame::Delete { .. }
            | Frame::Undecodable { .. }
            | Frame::BatchEnd(_)
            | Frame::InitialEnd(_)
            | Frame::Progress(..)
            | Frame::Heartbeat
            | Frame::Hint => false,
        }
    }

    fn decode(self, held: bool) -> Decoded<'a, V> {
        match self {
            Frame::Upsert {
                envelope,
                payload,
                commit,
            } => {
                let body = if held {
                    Ok(None)
                } else {
                    payload.decode().map(Some)
                };
                Decoded::Upsert {
                    envelope,
                    body,
                    commit,
                }
            }
            Frame::Delete {
                key,
                version,
                incarnation,
                last,
                size,
                commit,
            } => {
                // A delete needs no payload: one that cannot be decoded is as good as none.
                let last = last.and_then(|last| last.decode().ok());
                Decoded::Delete {
                    removal: Removal {
                        key,
                        version,
                        incarnation,
                        last,
                        size,
                    },
                    commit,
                }
            }
            Frame::Undecodable { size, error } => Decoded::Undecodable { size, error },
            Frame::BatchEnd(revision) => Decoded::Word(Input::BatchEnd { revision }),
            Frame::InitialEnd(revision) => Decoded::Word(Input::InitialEnd { revision }),
            Frame::Progress(revision, digest) => {
                Decoded::Word(Input::Progress { revision, digest })
            }
            Frame::Heartbeat => Decoded::Word(Input::Heartbeat),
            Frame::Hint => Decoded::Word(Input::Hint),
        }
    }
}

/// A frame whose payload has been decoded, outside the engine's lock.
enum Decoded<'a, V> {
    /// The value, `None` where the cache holds it, or why it could not be decoded.
    Upsert {
        envelope: Envelope<'a>,
        body: Result<Option<V>, String>,
        commit: Option<Commit>,
    },
    Delete {
        removal: Removal<'a, Arc<str>, V>,
        commit: Commit,
    },
    Undecodable {
        size: usize,
        error: String,
    },
    Word(Input<'a, Arc<str>, V>),
}

impl<V> Decoded<'_, V> {
    fn hand_over(self, port: &mut dyn Port<V>) {
        match self {
            Decoded::Upsert {
                envelope,
                body,
                commit,
            } => {
                let error;
                let body = match body {
                    Ok(Some(value)) => Body::Value(value),
                    Ok(None) => Body::Unchanged,
                    Err(words) => {
                        error = words;
                        Body::Undecodable(&error)
                    }
                };
                let Envelope {
                    key,
                    version,
                    incarnation,
                    size,
                } = envelope;
                let item = Item {
                    key,
                    version,
                    incarnation,
                    size,
                    body,
                };
                port.handle(match commit {
                    Some(commit) => event(Change::Upsert(item), commit),
                    None => Input::Item(item),
                });
            }
            Decoded::Delete { removal, commit } => {
                port.handle(event(Change::Delete(removal), commit))
            }
            Decoded::Undecodable { size, error } => port.handle(Input::Undecodable {
                size,
                error: &error,
            }),
            Decoded::Word(input) => port.handle(input),
        }
    }
}

fn event<'a, V>(change: Change<'a, Arc<str>, V>, commit: Commit) -> Input<'a, Arc<str>, V> {
    Input::Event(Event {
        change,
        revision: commit.revision,
        previous: commit.previous,
    })
}
