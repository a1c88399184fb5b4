//! What goes in: the words of a source, one attempt at a time.

use alloc::boxed::Box;
use core::fmt;
use core::time::Duration;

use crate::digest::Digest;
use crate::key::Key;
use crate::token::{Epoch, Incarnation, Revision, VersionRef};

/// One numbered list or watch of one informer. What arrives for an attempt that is over is ignored, and
/// so is what arrives for one of an informer with another seed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    number: u64,
    /// Whose it is: the informer's seed, which is shown to nobody.
    of: u64,
}

impl Attempt {
    pub(crate) const fn new(number: u64, of: u64) -> Self {
        Self { number, of }
    }

    /// The seed of the informer that made it.
    pub(crate) const fn of(self) -> u64 {
        self.of
    }

    /// The attempt's number: 1 for the first one of an informer.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.number
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attempt({})", self.number)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.number)
    }
}

/// One thing that happened to an attempt.
///
/// A list's life is `Page`, its `Item`s and `Undecodable`s, `PageEnd`, and so on for each page
/// (or one `Unmodified`); a watch's is `Opened`, then events, batch ends, progress and heartbeats.
/// Either ends by `Closed` or `Failed`. Anything out of place is refused with a notice.
#[derive(Debug)]
pub enum Input<'a, K: Key, V> {
    /// The watch is open: the source accepted it.
    Opened {
        /// The source's epoch, where it has one.
        epoch: Option<Epoch>,
    },
    /// A page begins. Comes before its items, so that `holds` answers for the right epoch.
    Page {
        /// The source's epoch, where it has one.
        epoch: Option<Epoch>,
        /// The revision that the page shows, where the source has one.
        revision: Option<Revision>,
    },
    /// An object in a page.
    Item(Item<'a, K, V>),
    /// The page is over.
    PageEnd {
        /// The token that asks for the next page; `None` or an empty one: the list is complete.
        next: Option<&'a str>,
    },
    /// The full state is still what it was at the revision that the command named (HTTP 304).
    Unmodified,
    /// A change, or an object of an initial stream.
    Event(Event<'a, K, V>),
    /// An item or event whose key could not even be read.
    Undecodable {
        /// Its size on the wire, in bytes.
        size: usize,
        /// What was wrong, in the decoder's words.
        error: &'a str,
    },
    /// All events of the transaction that made `revision` have been handed over.
    BatchEnd {
        /// The revision that is now complete.
        revision: Revision,
    },
    /// The initial stream is complete.
    InitialEnd {
        /// The revision of that state, where the source has one.
        revision: Option<Revision>,
    },
    /// Everything up to a revision has been handed over (a bookmark, a progress notification).
    Progress {
        /// The revision.
        revision: Revision,
        /// The digest of the collection at that revision, where the source gives it.
        digest: Option<Digest>,
    },
    /// A sign of life without content.
    Heartbeat,
    /// A hint that something changed.
    Hint,
    /// The source ended the attempt cleanly.
    Closed,
    /// The attempt failed, or was refused.
    Failed(Failure),
}

/// An object as a page or an event carries it.
#[derive(Debug)]
pub struct Item<'a, K: Key, V> {
    /// Its key.
    pub key: &'a K::Borrowed,
    /// Its version; [`VersionRef::NONE`] where the source gives none.
    pub version: VersionRef<'a>,
    /// Its incarnation, where the source tells re-created objects apart.
    pub incarnation: Option<Incarnation>,
    /// Its size on the wire in bytes, key and envelope included: what limits count.
    pub size: usize,
    /// Its payload.
    pub body: Body<'a, V>,
}

/// The payload of an item.
#[derive(Debug)]
pub enum Body<'a, V> {
    /// The decoded value.
    Value(V),
    /// `holds` said that the cache has it; it was not decoded.
    Unchanged,
    /// It could not be decoded; what was wrong, in the decoder's words.
    Undecodable(&'a str),
}

/// One change that a watch reports.
#[derive(Debug)]
pub struct Event<'a, K: Key, V> {
    /// What changed.
    pub change: Change<'a, K, V>,
    /// The revision of the transaction that made the change, where the source gives it.
    pub revision: Option<Revision>,
    /// The revision of the transaction before that one on the same stream, where the source
    /// gives it.
    pub previous: Option<Revision>,
}

/// What changed about an object.
#[derive(Debug)]
pub enum Change<'a, K: Key, V> {
    /// It was created or updated. Which of the two does not matter: the cache knows.
    Upsert(Item<'a, K, V>),
    /// It was deleted.
    Delete(Removal<'a, K, V>),
}

/// A delete as an event carries it. It needs no payload.
#[derive(Debug)]
pub struct Removal<'a, K: Key, V> {
    /// The key.
    pub key: &'a K::Borrowed,
    /// The version of the delete or of the last state, where the source gives one.
    pub version: Option<VersionRef<'a>>,
    /// The incarnation of the object that went, where the source gives it.
    pub incarnation: Option<Incarnation>,
    /// The last state, where the source gives it and it could be decoded.
    pub last: Option<V>,
    /// The size on the wire, in bytes.
    pub size: usize,
}

/// How and why an attempt failed: what a source says, and what is told of it. Made by
/// [`Failure::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub struct Failure {
    /// What kind of failure it is: this decides what happens next.
    pub class: FailureClass,
    /// The source's own words, or the transport's. Kept to its first 512 bytes.
    pub message: Box<str>,
    /// How long the source asks us to wait.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure of `class`, with the source's words.
    #[must_use]
    pub fn new(class: FailureClass, message: impl Into<Box<str>>) -> Self {
        Self {
            class,
            message: message.into(),
            retry_after: None,
        }
    }

    /// The same failure, with the wait that the source asked for.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.message)
    }
}

/// The kinds of failure that are answered differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum FailureClass {
    /// Worth another try: a refused or broken connection, HTTP 408, 425, 429 and 5xx.
    Retryable,
    /// The history needed to go on is no longer there: HTTP 410, etcd's `ErrCompacted`.
    Gone,
    /// The revision asked for is not there yet: a lagging replica.
    Behind,
    /// We are not allowed: HTTP 401 and 403.
    Denied,
    /// The source does not know this kind of request.
    Unsupported,
    /// There is no such collection: HTTP 404.
    NotFound,
    /// What came is not the protocol: malformed, cut off, or over a limit of the transport.
    Malformed,
    /// Any other answer, redirects included.
    Unexpected,
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Retryable => "retryable",
            Self::Gone => "gone",
            Self::Behind => "behind",
            Self::Denied => "denied",
            Self::Unsupported => "unsupported",
            Self::NotFound => "not found",
            Self::Malformed => "malformed",
            Self::Unexpected => "unexpected",
        })
    }
}
