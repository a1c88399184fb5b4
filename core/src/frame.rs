//! What a source read, before its payload is decoded.
//!
//! An [`Input`] carries a value; a frame carries the bytes that a value is made of, and how. So the
//! envelope is read first, and the payload only where the cache does not hold that version yet:
//! [`Informer::feed`] does both at once, and a driver that shares its informer between threads can do
//! the two steps by itself, and decode while it does not hold the lock.

use alloc::string::String;
use core::fmt;
use core::hash::BuildHasher;

use crate::digest::Digest;
use crate::informer::Informer;
use crate::input::{Attempt, Body, Change, Event, Input, Item, Removal};
use crate::key::Key;
use crate::time::Timestamp;
use crate::token::{Incarnation, Revision, VersionRef};

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

impl<V> fmt::Debug for Payload<'_, V> {
    /// Values are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.debug_tuple("Value").finish_non_exhaustive(),
            Self::Encoded(bytes, _) => f
                .debug_struct("Encoded")
                .field("bytes", &bytes.len())
                .finish_non_exhaustive(),
        }
    }
}

impl<V> Payload<'_, V> {
    /// Makes a value of the bytes; `Err`: what is wrong with them, in the decoder's words, and they stay
    /// what they are.
    fn settle(&mut self) -> Result<(), String> {
        if let Self::Encoded(bytes, decode) = self {
            *self = Self::Value(decode(bytes)?);
        }
        Ok(())
    }
}

impl<'a, V> Frame<'a, V> {
    /// The key of the object that it is about, if it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Upsert { envelope, .. } => Some(envelope.key),
            Self::Delete { key, .. } => Some(key),
            Self::Undecodable { .. }
            | Self::BatchEnd(_)
            | Self::InitialEnd(_)
            | Self::Progress(..)
            | Self::Heartbeat
            | Self::Hint => None,
        }
    }

    /// The envelope of an object whose payload need not be decoded if the cache holds it: what
    /// [`Informer::holds`] is to be asked about.
    #[must_use]
    pub fn encoded(&self) -> Option<&Envelope<'a>> {
        match self {
            Self::Upsert {
                envelope,
                payload: Payload::Encoded(..),
                ..
            } => Some(envelope),
            Self::Upsert { .. }
            | Self::Delete { .. }
            | Self::Undecodable { .. }
            | Self::BatchEnd(_)
            | Self::InitialEnd(_)
            | Self::Progress(..)
            | Self::Heartbeat
            | Self::Hint => None,
        }
    }

    /// Whether it is a change, which may change what the cache holds.
    #[must_use]
    pub fn is_change(&self) -> bool {
        matches!(
            self,
            Self::Upsert {
                commit: Some(_),
                ..
            } | Self::Delete { .. }
        )
    }

    /// Decodes the payload, unless the cache holds it.
    #[must_use]
    pub fn decode(mut self, held: bool) -> Decoded<'a, V> {
        let mut error = None;
        match &mut self {
            Self::Upsert { payload, .. } if !held => error = payload.settle().err(),
            // A delete needs no payload: one that cannot be decoded is as good as none.
            Self::Delete { last, .. } => drop(last.take_if(|last| last.settle().is_err())),
            _ => {}
        }
        Decoded { frame: self, error }
    }
}

impl<V> fmt::Debug for Frame<'_, V> {
    /// Values are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upsert {
                envelope, commit, ..
            } => f
                .debug_struct("Upsert")
                .field("envelope", envelope)
                .field("commit", commit)
                .finish_non_exhaustive(),
            Self::Delete { key, commit, .. } => f
                .debug_struct("Delete")
                .field("key", key)
                .field("commit", commit)
                .finish_non_exhaustive(),
            Self::Undecodable { size, error } => f
                .debug_struct("Undecodable")
                .field("size", size)
                .field("error", error)
                .finish(),
            Self::BatchEnd(revision) => f.debug_tuple("BatchEnd").field(revision).finish(),
            Self::InitialEnd(revision) => f.debug_tuple("InitialEnd").field(revision).finish(),
            Self::Progress(revision, digest) => f
                .debug_tuple("Progress")
                .field(revision)
                .field(digest)
                .finish(),
            Self::Heartbeat => f.write_str("Heartbeat"),
            Self::Hint => f.write_str("Hint"),
        }
    }
}

/// A frame whose payload has been decoded, as far as it had to be.
pub struct Decoded<'a, V> {
    /// A payload that is still encoded is held by the cache, or could not be decoded.
    frame: Frame<'a, V>,
    /// Why the payload could not be decoded.
    error: Option<String>,
}

impl<V> Decoded<'_, V> {
    /// Hands it over as what [`Informer::handle`] takes.
    pub fn hand_over<K: Key<Borrowed = str>, R>(
        self,
        handle: impl FnOnce(Input<'_, K, V>) -> R,
    ) -> R {
        match self.frame {
            Frame::Upsert {
                envelope,
                payload,
                commit,
            } => {
                let body = match (payload, &self.error) {
                    (Payload::Value(value), _) => Body::Value(value),
                    (Payload::Encoded(..), None) => Body::Unchanged,
                    (Payload::Encoded(..), Some(error)) => Body::Undecodable(error),
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
                handle(match commit {
                    Some(commit) => event(Change::Upsert(item), commit),
                    None => Input::Item(item),
                })
            }
            Frame::Delete {
                key,
                version,
                incarnation,
                last,
                size,
                commit,
            } => {
                let last = match last {
                    Some(Payload::Value(last)) => Some(last),
                    Some(Payload::Encoded(..)) | None => None,
                };
                let removal = Removal {
                    key,
                    version,
                    incarnation,
                    last,
                    size,
                };
                handle(event(Change::Delete(removal), commit))
            }
            Frame::Undecodable { size, error } => handle(Input::Undecodable {
                size,
                error: &error,
            }),
            Frame::BatchEnd(revision) => handle(Input::BatchEnd { revision }),
            Frame::InitialEnd(revision) => handle(Input::InitialEnd { revision }),
            Frame::Progress(revision, digest) => handle(Input::Progress { revision, digest }),
            Frame::Heartbeat => handle(Input::Heartbeat),
            Frame::Hint => handle(Input::Hint),
        }
    }
}

impl<V> fmt::Debug for Decoded<'_, V> {
    /// Values are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoded").finish_non_exhaustive()
    }
}

fn event<K: Key, V>(change: Change<'_, K, V>, commit: Commit) -> Input<'_, K, V> {
    Input::Event(Event {
        change,
        revision: commit.revision,
        previous: commit.previous,
    })
}

impl<K: Key<Borrowed = str>, V: Clone, S: BuildHasher + Clone> Informer<K, V, S> {
    /// [`handle`](Self::handle) for what is not decoded yet: the payload is decoded only if the cache
    /// does not hold it.
    pub fn feed(&mut self, now: Timestamp, attempt: Attempt, frame: Frame<'_, V>) {
        let held = frame.encoded().is_some_and(|envelope| {
            self.holds(
                attempt,
                envelope.key,
                envelope.version,
                envelope.incarnation,
            )
        });
        frame
            .decode(held)
            .hand_over(|input| self.handle(now, attempt, input));
    }
}
