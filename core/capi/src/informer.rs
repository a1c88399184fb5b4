//! Informers: how they are made, told the time, and freed.

use std::mem::MaybeUninit;
use std::sync::Mutex;

use reflet_core::{Timestamp, Verify};

use crate::border::{guard, place};
use crate::config::Config;
use crate::handle::{Handle, free, hand_over};
use crate::state::{State, lock};
use crate::status::Status;
use crate::value::Engine;

/// A local copy of one remote collection, and the logic that keeps it true.
///
/// Made by reflet_informer_new() or reflet_informer_restore(), freed by reflet_informer_free().
pub struct Informer(Mutex<State>);

impl Informer {
    pub(crate) fn new(engine: Engine) -> Self {
        Self(Mutex::new(State::new(engine)))
    }
}

impl Handle for Informer {
    type Inner = State;

    const NAME: &'static str = "informer";

    fn inner(&self) -> &Mutex<State> {
        &self.0
    }
}

/// Makes an informer. It begins at once: its first command is there to be polled.
///
/// `config` is only read. All randomness comes from `seed`: take it from an entropy source in
/// production. `now` is the time in nanoseconds of a monotonic clock, with any origin: the same clock
/// as in all other calls with this informer. The informer is written to `informer`; free it with
/// reflet_informer_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_new(
    config: Option<&Config>,
    seed: u64,
    now: u64,
    informer: Option<&mut MaybeUninit<*mut Informer>>,
) -> Status {
    guard(|| {
        let place = place(informer)?;
        let config = Config::read(config)?;
        let engine = Engine::new(config, seed, Timestamp::from_nanos(now));
        hand_over(place, Informer::new(engine));
        Ok(())
    })
}

/// Frees an informer and all that it has lent. NULL is fine. REFLET_BUSY if it is in use: then nothing
/// was freed. A poisoned informer is freed, too.
///
/// Each informer is freed once, and not used afterwards: that is for the program to see to, since
/// nothing here remembers informers that are gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_free(informer: *mut Informer) -> Status {
    guard(|| free(informer))
}

/// Tells the informer that time has passed. To be called when the deadline has come, which
/// reflet_informer_deadline() gives; early, late or twice is harmless.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_handle_timeout(
    informer: *mut Informer,
    now: u64,
) -> Status {
    guard(|| {
        let mut state = lock(informer)?;
        state.running()?;
        state.engine.handle_timeout(Timestamp::from_nanos(now));
        Ok(())
    })
}

/// Asks for a list that looks for differences from the source, as soon as the pace allows.
///
/// `content` not 0: the contents are compared too, and all objects are asked for in full, which finds a
/// source that was restored from a backup and has overtaken what was known of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_verify(
    informer: *mut Informer,
    now: u64,
    content: i32,
) -> Status {
    guard(|| {
        let mut state = lock(informer)?;
        state.running()?;
        let mode = match content {
            0 => Verify::Versions,
            _ => Verify::Content,
        };
        state.engine.verify(Timestamp::from_nanos(now), mode);
        Ok(())
    })
}

/// Stops the informer for good: what is under way is cancelled, by commands that are still to be
/// polled. What it has can be read until it is freed. A second time changes nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_stop(informer: *mut Informer, now: u64) -> Status {
    guard(|| {
        let mut state = lock(informer)?;
        state.engine.stop(Timestamp::from_nanos(now));
        state.stopped = true;
        Ok(())
    })
}
