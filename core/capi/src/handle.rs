//! What is behind a handle: an engine, what it takes to speak of its attempts and subscribers by number,
//! and what was lent out of it.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::sync::{Arc, MutexGuard};

use reflet_core::cache::SubscriberId;
use reflet_core::index::KeyOrderId;
use reflet_core::{Attempt, Command};

use crate::border::Bytes;
use crate::informer::Informer;
use crate::status::{Error, Status};
use crate::value::{Engine, Value};

/// What a handle holds.
pub(crate) struct State {
    pub(crate) engine: Engine,
    pub(crate) stopped: bool,
    /// The attempts that may still be alive, by their numbers: the engine takes no number for one.
    pub(crate) attempts: BTreeMap<u64, Attempt>,
    pub(crate) subscribers: BTreeMap<u64, SubscriberId>,
    pub(crate) last_subscriber: u64,
    /// There once somebody has walked in the order of the keys.
    pub(crate) key_order: Option<KeyOrderId>,
    /// The command that was polled last.
    pub(crate) command: Option<Command>,
    pub(crate) lent: Lent,
}

/// What the last call has lent to its caller: here until the next call with the handle.
#[derive(Default)]
pub(crate) struct Lent(Vec<Kept>);

enum Kept {
    Text(String),
    Key(Arc<str>),
    Value(Value),
    Bytes(Box<[u8]>),
}

impl Lent {
    pub(crate) fn text(&mut self, text: impl Into<String>) -> Bytes {
        self.keep(Kept::Text(text.into()))
    }

    /// The text of something that prints, or nothing.
    pub(crate) fn printed(&mut self, what: Option<impl ToString>) -> Bytes {
        what.map_or(Bytes::NONE, |what| self.text(what.to_string()))
    }

    pub(crate) fn key(&mut self, key: Arc<str>) -> Bytes {
        self.keep(Kept::Key(key))
    }

    pub(crate) fn value(&mut self, value: Value) -> Bytes {
        self.keep(Kept::Value(value))
    }

    pub(crate) fn bytes(&mut self, bytes: Box<[u8]>) -> Bytes {
        self.keep(Kept::Bytes(bytes))
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn keep(&mut self, kept: Kept) -> Bytes {
        self.0.push(kept);
        // The pointer is taken where the owner stays; what it owns does not move with the owner.
        let bytes = match self.0.last() {
            Some(Kept::Text(text)) => text.as_bytes(),
            Some(Kept::Key(key)) => key.as_bytes(),
            Some(Kept::Value(value)) => &value.0,
            Some(Kept::Bytes(bytes)) => bytes,
            None => &[],
        };
        Bytes::of(bytes)
    }
}

impl State {
    pub(crate) fn new(mut engine: Engine) -> Self {
        engine.set_content_eq(|one, other| one == other);
        Self {
            engine,
            stopped: false,
            attempts: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            last_subscriber: 0,
            key_order: None,
            command: None,
            lent: Lent::default(),
        }
    }

    /// For calls that hand something in.
    pub(crate) fn running(&self) -> Result<(), Error> {
        if self.stopped {
            return Err(Error::new(
                Status::RefletStopped,
                "the informer was stopped: make another one",
            ));
        }
        Ok(())
    }

    pub(crate) fn attempt(&self, number: u64) -> Result<Attempt, Error> {
        self.attempts.get(&number).copied().ok_or_else(|| {
            let words = format!("attempt {number} is over, or was never given out");
            Error::new(Status::RefletUnknownAttempt, words)
        })
    }
}

/// The state behind a handle. What was lent by the call before is gone.
pub(crate) fn lock<'call>(informer: *mut Informer) -> Result<MutexGuard<'call, State>, Error> {
    // SAFETY: NULL, or a handle that was given out and is not freed before the call returns: the
    // promise of the entry point's caller. Only shared references to it are ever made.
    let informer = unsafe { informer.as_ref() }.ok_or_else(|| Error::null("the informer"))?;
    let mut state = informer.try_lock()?;
    state.lent.clear();
    Ok(state)
}

/// Gives a new informer away.
pub(crate) fn hand_over(place: &mut MaybeUninit<*mut Informer>, informer: Box<Informer>) {
    place.write(Box::into_raw(informer));
}
