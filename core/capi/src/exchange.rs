//! One request and its answer, over a connection that is the program's.

use std::mem::MaybeUninit;
use std::sync::{Mutex, MutexGuard};

use reflet_core::Timestamp;
use reflet_core::wire::{Exchange as CoreExchange, Next as CoreNext};

use crate::border::{Bytes, guard, place};
use crate::endpoint::Endpoint;
use crate::handle::{self, Handle, free, hand_over};
use crate::informer::Informer;
use crate::state::{self, State};
use crate::status::{Error, Status};
use crate::value::Value;

/// One list or watch on its way over a connection: what to write to it, and what becomes of what is
/// read.
///
/// Made by reflet_exchange_new(), freed by reflet_exchange_free(). It belongs to the informer whose
/// command it carries out, and may be freed before or after it.
pub struct Exchange(Mutex<Inner>);

/// What is behind an exchange's handle.
pub(crate) struct Inner {
    core: CoreExchange,
    /// The informer that it belongs to.
    informer: u64,
    /// The informer knows how it ended. What the next page is asked for has the same attempt, and is
    /// none of its business.
    over: bool,
}

impl Handle for Exchange {
    type Inner = Inner;

    const NAME: &'static str = "exchange";

    fn inner(&self) -> &Mutex<Inner> {
        &self.0
    }
}

/// What an exchange needs next.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More of the answer.
    More = 0,
    /// Nothing: the informer knows how it ended. Free it, and close the connection.
    Close,
    /// Nothing: the informer knows how it ended. Free it; another request may be written to the
    /// connection.
    Keep,
}

impl Next {
    const fn of(next: CoreNext) -> Self {
        match next {
            CoreNext::More => Self::More,
            CoreNext::Done { keep: true } => Self::Keep,
            CoreNext::Done { keep: false } => Self::Close,
        }
    }
}

/// A value is its JSON, as it came.
fn value(json: &[u8]) -> Result<Value, String> {
    Ok(json.into())
}

impl Inner {
    /// The informer that is to hear of it, if its attempt is still alive.
    fn informer<'call>(&self, informer: *mut Informer) -> Result<MutexGuard<'call, State>, Error> {
        let state = state::lock(informer)?;
        if state.id != self.informer {
            let words = "the exchange belongs to another informer";
            return Err(Error::bad_argument(words));
        }
        state.running()?;
        state.attempt(self.core.attempt().number())?;
        if self.over {
            let words = "the exchange is over: free it";
            return Err(Error::new(Status::RefletUnknownAttempt, words));
        }
        Ok(state)
    }

    /// What follows from an answer, or a part of it.
    fn went_on(&mut self, state: &mut State, next: CoreNext) -> Next {
        let next = Next::of(next);
        if next != Next::More {
            self.over = true;
            // A list that goes on is asked for its next page by a command.
            state.attempts.remove(&self.core.attempt().number());
        }
        next
    }
}

/// Makes the exchange that carries out the informer's last command, which was just polled: a list or
/// a watch. REFLET_BAD_ARGUMENT: that command asked for neither, or was used already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_exchange_new(
    endpoint: *mut Endpoint,
    informer: *mut Informer,
    exchange: Option<&mut MaybeUninit<*mut Exchange>>,
) -> Status {
    guard(|| {
        let place = place(exchange)?;
        let endpoint = handle::lock(endpoint)?;
        let mut state = state::lock(informer)?;
        let core = state
            .command
            .take()
            .and_then(|command| CoreExchange::new(&endpoint, &command))
            .ok_or_else(|| Error::bad_argument("the last command is no list and no watch"))?;
        let informer = state.id;
        let inner = Inner {
            core,
            informer,
            over: false,
        };
        hand_over(place, Exchange(Mutex::new(inner)));
        Ok(())
    })
}

/// Frees an exchange. NULL is fine. If it is given up before its end, tell the informer first, by
/// reflet_exchange_failed(): else it waits until its patience is over. Where the informer has cancelled
/// the attempt it knows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_exchange_free(exchange: *mut Exchange) -> Status {
    guard(|| free(exchange))
}

/// The request, to be written to a connection, all of it. The bytes are the exchange's, until the next
/// call with it. They hold what the headers hold, secrets included. None: the protocol has no such
/// request; call reflet_exchange_failed().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_exchange_request(
    exchange: *mut Exchange,
    request: Option<&mut MaybeUninit<Bytes>>,
) -> Status {
    guard(|| {
        let place = place(request)?;
        let inner = handle::lock(exchange)?;
        place.write(match inner.core.request() {
            [] => Bytes::NONE,
            request => Bytes::of(request),
        });
        Ok(())
    })
}

/// Takes what was read from the connection, of any length, and tells the informer what it means. `next`
/// is set to what is needed next. REFLET_UNKNOWN_ATTEMPT: the informer is not interested any more, or the
/// exchange is over; free it and close the connection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_exchange_read(
    exchange: *mut Exchange,
    informer: *mut Informer,
    now: u64,
    bytes: Bytes,
    next: Option<&mut MaybeUninit<Next>>,
) -> Status {
    guard(|| {
        let place = place(next)?;
        let mut inner = handle::lock(exchange)?;
        let bytes = bytes.get("what was read")?.unwrap_or_default();
        let mut state = inner.informer(informer)?;
        let now = Timestamp::from_nanos(now);
        let read = inner.core.read(&mut state.engine, now, bytes, &value);
        place.write(inner.went_on(&mut state, read));
        Ok(())
    })
}

/// The connection was closed by the other side, and all that came was handed in: the exchange is over,
/// well or not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_exchange_closed(
    exchange: *mut Exchange,
    informer: *mut Informer,
    now: u64,
) -> Status {
    guard(|| {
        let mut inner = handle::lock(exchange)?;
        let mut state = inner.informer(informer)?;
        let now = Timestamp::from_nanos(now);
        let end = inner.core.closed(&mut state.engine, now, &value);
        inner.went_on(&mut state, end);
        Ok(())
    })
}

/// There is no connection, or it failed; `words` say why. The exchange is over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_exchange_failed(
    exchange: *mut Exchange,
    informer: *mut Informer,
    now: u64,
    words: Bytes,
) -> Status {
    guard(|| {
        let mut inner = handle::lock(exchange)?;
        let words = words.text_or_empty("the words")?;
        let mut state = inner.informer(informer)?;
        let now = Timestamp::from_nanos(now);
        let end = inner.core.failed(&mut state.engine, now, words);
        inner.went_on(&mut state, end);
        Ok(())
    })
}
