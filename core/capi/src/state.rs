//! What is behind an informer's handle: the engine, what it takes to speak of its attempts and
//! subscribers by number, and what was lent out of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};

use reflet_core::cache::SubscriberId;
use reflet_core::index::KeyOrderId;
use reflet_core::{Attempt, Command};

use crate::border::Bytes;
use crate::handle;
use crate::informer::Informer;
use crate::status::{Error, Status};
use crate::value::{Engine, Value};

/// How many informers there were.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// What an informer's handle holds.
pub(crate) struct State {
    /// Tells it from all others in this process.
    pub(crate) id: u64,
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

impl State {
    pub(crate) fn new(mut engine: Engine) -> Self {
        engine.set_content_eq(|one, other| one == other);
        Self {
            id: COUNT.fetch_add(1, Ordering::Relaxed),
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

/// What is behind an informer. What was lent by the call before is gone.
pub(crate) fn lock<'call>(informer: *mut Informer) -> Result<MutexGuard<'call, State>, Error> {
    let mut state = handle::lock(informer)?;
    state.lent.clear();
    Ok(state)
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use super::*;
    use crate::command::{CommandKind, reflet_informer_poll_command};
    use crate::config::{PROMISE_BATCH_ENDS, PROMISE_COMMIT_REVISIONS, reflet_config_init};
    use crate::informer::{
        reflet_informer_free, reflet_informer_handle_timeout, reflet_informer_new,
        reflet_informer_verify,
    };
    use crate::input::{Input, InputKind, reflet_informer_handle};

    fn out<T>(call: impl FnOnce(&mut MaybeUninit<T>) -> Status) -> T {
        let mut place = MaybeUninit::uninit();
        assert_eq!(call(&mut place), Status::RefletOk);
        // SAFETY: what ended well has written its answer.
        unsafe { place.assume_init() }
    }

    /// A program that says anything at any time, and sometimes does not look for commands.
    #[test]
    fn attempts_that_are_over_are_forgotten_however_they_ended() {
        // SAFETY: the places are there, and the handle is alive until it is freed.
        let informer = unsafe {
            let mut config = out(|place| reflet_config_init(Some(place)));
            config.promises = PROMISE_BATCH_ENDS | PROMISE_COMMIT_REVISIONS;
            out(|place| reflet_informer_new(Some(&config), 1, 0, Some(place)))
        };
        let (mut random, mut now, mut attempts, mut begun, mut most) = (1_u64, 0, vec![], 0, 0);
        let mut draw = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        for _ in 0..20_000 {
            now += draw(3) * draw(3_000_000_000);
            let revision = draw(50).to_string();
            let input = Input {
                kind: draw(InputKind::Failed as u64 + 1) as u32,
                failure: draw(8) as u32,
                attempt: attempts.get(draw(3) as usize).copied().unwrap_or(0),
                key: Bytes::of(b"key"),
                version: Bytes::of(revision.as_bytes()),
                revision: Bytes::of(revision.as_bytes()),
                ..Input::default()
            };
            // SAFETY: the handle is alive, and so are the bytes.
            unsafe {
                reflet_informer_handle(informer, now, Some(&input));
                reflet_informer_handle_timeout(informer, now);
                if draw(50) == 0 {
                    reflet_informer_verify(informer, now, 1);
                }
                while draw(10) > 0 {
                    let command = out(|place| reflet_informer_poll_command(informer, Some(place)));
                    match command.kind {
                        CommandKind::List | CommandKind::Watch => {
                            begun += 1;
                            attempts.insert(0, command.attempt);
                            attempts.truncate(3);
                        }
                        CommandKind::None | CommandKind::Cancel | CommandKind::Other => {}
                    }
                }
                let known = lock(informer).map_or(0, |state| state.attempts.len());
                most = most.max(known);
            }
        }
        assert!(begun > 500, "{begun}");
        assert!(most < 5, "{most}");
        // SAFETY: it is freed once.
        assert_eq!(unsafe { reflet_informer_free(informer) }, Status::RefletOk);
    }
}
