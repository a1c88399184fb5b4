//! What the source said, handed in by the program.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

use reflet_core::{
    Body as CoreBody, Change, Digest, Epoch, Event, Failure as CoreFailure, FailureClass,
    Incarnation, Input as CoreInput, Item, Removal, Revision, Timestamp, VersionRef,
};

use crate::border::{Bytes, guard, place};
use crate::informer::Informer;
use crate::state::lock;
use crate::status::{Error, Status};
use crate::value::Value;

/// What happened to an attempt.
///
/// A list's life is PAGE, its ITEMs and UNDECODABLEs, PAGE_END, and so on for each page (or one
/// UNMODIFIED). A watch's is OPENED, then UPSERTs, DELETEs, BATCH_ENDs, PROGRESS and HEARTBEATs.
/// Either ends by CLOSED or FAILED. What is out of place is refused, with a notice.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// The watch is open. Read: `epoch`.
    Opened = 0,
    /// A page begins. Read: `epoch`, `revision` (of the state that the page shows).
    Page,
    /// An object in a page. Read: `key`, `version`, `uid`, `body`, `value`, `size`, `message`.
    Item,
    /// The page is over. Read: `next`.
    PageEnd,
    /// The full state is still what it was at the revision that the command named.
    Unmodified,
    /// An object was created or updated, or is part of an initial stream. Read: what ITEM reads, and
    /// `revision`, `previous`.
    Upsert,
    /// An object was deleted. Read: `key`, `version`, `uid`, `size`, `revision`, `previous`, and
    /// `value`, the last state, if it is known.
    Delete,
    /// An item or event whose key could not even be read. Read: `size`, `message`.
    Undecodable,
    /// All events of the transaction that made `revision` have been handed in.
    BatchEnd,
    /// The initial stream is complete. Read: `revision`.
    InitialEnd,
    /// Everything up to `revision` has been handed in. Read: `has_digest`, `digest`.
    Progress,
    /// A sign of life without content.
    Heartbeat,
    /// A hint that something has changed.
    Hint,
    /// The source ended the attempt cleanly.
    Closed,
    /// The attempt failed, or was refused. Read: `failure`, `message`, `retry_after_ms`.
    Failed,
}

const KINDS: [InputKind; 15] = [
    InputKind::Opened,
    InputKind::Page,
    InputKind::Item,
    InputKind::PageEnd,
    InputKind::Unmodified,
    InputKind::Upsert,
    InputKind::Delete,
    InputKind::Undecodable,
    InputKind::BatchEnd,
    InputKind::InitialEnd,
    InputKind::Progress,
    InputKind::Heartbeat,
    InputKind::Hint,
    InputKind::Closed,
    InputKind::Failed,
];

/// What there is of an object's payload.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// `value`.
    Value = 0,
    /// Nothing, since reflet_informer_holds() said that the informer has it.
    Unchanged,
    /// Nothing that could be decoded; `message` says why. The last good version stays.
    Undecodable,
}

/// How an attempt failed: this decides what happens next.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Worth another try: a refused or broken connection, HTTP 408, 425, 429 and 5xx.
    Retryable = 0,
    /// The history needed to go on is no longer there: HTTP 410.
    Gone,
    /// The revision asked for is not there yet.
    Behind,
    /// We are not allowed: HTTP 401 and 403.
    Denied,
    /// The source does not know this kind of request.
    Unsupported,
    /// There is no such collection: HTTP 404.
    NotFound,
    /// What came is not the protocol: malformed, cut off, or over a limit.
    Malformed,
    /// Any other answer.
    Unexpected,
}

/// One thing that happened to an attempt. Fields that the kind does not read may be anything, so it
/// is best made with an initialiser that names what it sets and leaves the rest 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Input {
    /// What happened: a reflet_input_kind.
    pub kind: u32,
    /// What there is of the payload: a reflet_body.
    pub body: u32,
    /// The attempt that it happened to.
    pub attempt: u64,
    /// The object's key.
    pub key: Bytes,
    /// The object's version, as the source prints it; NULL: it has none.
    pub version: Bytes,
    /// What tells a re-created object from an updated one, where the source has such a thing; NULL: it
    /// has not.
    pub uid: Bytes,
    /// The object's payload. Copied.
    pub value: Bytes,
    /// The object's size on the wire, which the limits count; 0: that of key and value.
    pub size: usize,
    /// A revision of the collection, as the source prints it; NULL: it has none.
    pub revision: Bytes,
    /// The revision of the transaction before this one on the same stream, where the source tells.
    pub previous: Bytes,
    /// The source's epoch, where it has epochs.
    pub epoch: Bytes,
    /// The token that asks for the next page; NULL or empty: the list is complete.
    pub next: Bytes,
    /// Whether there is a digest: not 0.
    pub has_digest: u32,
    /// How the attempt failed: a reflet_failure.
    pub failure: u32,
    /// The digest of the whole collection at `revision`.
    pub digest: u64,
    /// How long the source asks to wait; 0: it does not ask.
    pub retry_after_ms: u64,
    /// What was wrong, in the words of the source or the decoder.
    pub message: Bytes,
}

impl Input {
    fn kind(&self) -> Result<InputKind, Error> {
        let kind = KINDS.into_iter().find(|kind| *kind as u32 == self.kind);
        kind.ok_or_else(|| Error::bad_argument(format!("there is no input kind {}", self.kind)))
    }

    fn read<'call>(&self, kind: InputKind) -> Result<CoreInput<'call, Arc<str>, Value>, Error> {
        Ok(match kind {
            InputKind::Opened => CoreInput::Opened {
                epoch: self.epoch()?,
            },
            InputKind::Page => CoreInput::Page {
                epoch: self.epoch()?,
                revision: self.revision()?,
            },
            InputKind::Item => CoreInput::Item(self.item()?),
            InputKind::PageEnd => CoreInput::PageEnd {
                next: self.next.text("the page token")?,
            },
            InputKind::Unmodified => CoreInput::Unmodified,
            InputKind::Upsert => CoreInput::Event(self.event(Change::Upsert(self.item()?))?),
            InputKind::Delete => CoreInput::Event(self.event(Change::Delete(self.removal()?))?),
            InputKind::Undecodable => CoreInput::Undecodable {
                size: self.size,
                error: self.message.text_or_empty("the message")?,
            },
            InputKind::BatchEnd => CoreInput::BatchEnd {
                revision: self.needed_revision()?,
            },
            InputKind::InitialEnd => CoreInput::InitialEnd {
                revision: self.revision()?,
            },
            InputKind::Progress => CoreInput::Progress {
                revision: self.needed_revision()?,
                digest: (self.has_digest != 0).then_some(Digest(self.digest)),
            },
            InputKind::Heartbeat => CoreInput::Heartbeat,
            InputKind::Hint => CoreInput::Hint,
            InputKind::Closed => CoreInput::Closed,
            InputKind::Failed => CoreInput::Failed(self.failure()?),
        })
    }

    fn key<'call>(&self) -> Result<&'call str, Error> {
        self.key
            .text("the key")?
            .ok_or_else(|| Error::null("the key"))
    }

    fn epoch(&self) -> Result<Option<Epoch>, Error> {
        Ok(self.epoch.text("the epoch")?.map(Epoch::new))
    }

    fn revision(&self) -> Result<Option<Revision>, Error> {
        Ok(self.revision.text("the revision")?.map(Revision::parse))
    }

    fn needed_revision(&self) -> Result<Revision, Error> {
        self.revision()?.ok_or_else(|| Error::null("the revision"))
    }

    fn incarnation(&self) -> Result<Option<Incarnation>, Error> {
        Ok(self.uid.text("the uid")?.map(Incarnation::from_uid))
    }

    fn size(&self) -> usize {
        match self.size {
            0 => self.key.length.saturating_add(self.value.length),
            size => size,
        }
    }

    fn item<'call>(&self) -> Result<Item<'call, Arc<str>, Value>, Error> {
        let body = match self.body {
            n if n == Body::Value as u32 => {
                CoreBody::Value(self.value.get("the value")?.unwrap_or_default().into())
            }
            n if n == Body::Unchanged as u32 => CoreBody::Unchanged,
            n if n == Body::Undecodable as u32 => {
                CoreBody::Undecodable(self.message.text_or_empty("the message")?)
            }
            n => return Err(Error::bad_argument(format!("there is no body {n}"))),
        };
        Ok(Item {
            key: self.key()?,
            version: version(self.version)?.unwrap_or(VersionRef::NONE),
            incarnation: self.incarnation()?,
            size: self.size(),
            body,
        })
    }

    fn removal<'call>(&self) -> Result<Removal<'call, Arc<str>, Value>, Error> {
        Ok(Removal {
            key: self.key()?,
            version: version(self.version)?,
            incarnation: self.incarnation()?,
            last: self.value.get("the value")?.map(Value::from),
            size: self.size(),
        })
    }

    fn event<'call>(
        &self,
        change: Change<'call, Arc<str>, Value>,
    ) -> Result<Event<'call, Arc<str>, Value>, Error> {
        let previous = self.previous.text("the previous revision")?;
        Ok(Event {
            change,
            revision: self.revision()?,
            previous: previous.map(Revision::parse),
        })
    }

    fn failure(&self) -> Result<CoreFailure, Error> {
        let class = match self.failure {
            n if n == Failure::Retryable as u32 => FailureClass::Retryable,
            n if n == Failure::Gone as u32 => FailureClass::Gone,
            n if n == Failure::Behind as u32 => FailureClass::Behind,
            n if n == Failure::Denied as u32 => FailureClass::Denied,
            n if n == Failure::Unsupported as u32 => FailureClass::Unsupported,
            n if n == Failure::NotFound as u32 => FailureClass::NotFound,
            n if n == Failure::Malformed as u32 => FailureClass::Malformed,
            n if n == Failure::Unexpected as u32 => FailureClass::Unexpected,
            n => return Err(Error::bad_argument(format!("there is no failure {n}"))),
        };
        let failure = CoreFailure::new(class, self.message.text_or_empty("the message")?);
        Ok(match self.retry_after_ms {
            0 => failure,
            ms => failure.retry_after(Duration::from_millis(ms)),
        })
    }
}

fn version<'call>(bytes: Bytes) -> Result<Option<VersionRef<'call>>, Error> {
    Ok(bytes.text("the version")?.map(VersionRef::parse))
}

/// Takes one thing that happened to an attempt.
///
/// A status other than REFLET_OK is about the call: nothing was taken. What the call could hand over
/// and the informer cannot use is refused with a notice, and REFLET_OK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_handle(
    informer: *mut Informer,
    now: u64,
    input: Option<&Input>,
) -> Status {
    guard(|| {
        let mut state = lock(informer)?;
        let input = input.ok_or_else(|| Error::null("the input"))?;
        state.running()?;
        let attempt = state.attempt(input.attempt)?;
        let kind = input.kind()?;
        let read = input.read(kind)?;
        state
            .engine
            .handle(Timestamp::from_nanos(now), attempt, read);
        match kind {
            // A list that goes on is asked for its next page by a command.
            InputKind::PageEnd | InputKind::Unmodified | InputKind::Closed | InputKind::Failed => {
                state.attempts.remove(&input.attempt);
            }
            InputKind::Opened
            | InputKind::Page
            | InputKind::Item
            | InputKind::Upsert
            | InputKind::Delete
            | InputKind::Undecodable
            | InputKind::BatchEnd
            | InputKind::InitialEnd
            | InputKind::Progress
            | InputKind::Heartbeat
            | InputKind::Hint => {}
        }
        Ok(())
    })
}

/// Whether the informer has an object in this very version already, so that its payload need not be
/// decoded: hand it in with REFLET_BODY_UNCHANGED then. Asked within a page or an open watch; `held` is
/// set to 0 or 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_holds(
    informer: *mut Informer,
    attempt: u64,
    key: Bytes,
    of_version: Bytes,
    uid: Bytes,
    held: Option<&mut MaybeUninit<i32>>,
) -> Status {
    guard(|| {
        let place = place(held)?;
        let state = lock(informer)?;
        let attempt = state.attempt(attempt)?;
        let key = key.text("the key")?.ok_or_else(|| Error::null("the key"))?;
        let version = version(of_version)?.unwrap_or(VersionRef::NONE);
        let incarnation = uid.text("the uid")?.map(Incarnation::from_uid);
        let answer = state.engine.holds(attempt, key, version, incarnation);
        place.write(answer.into());
        Ok(())
    })
}
