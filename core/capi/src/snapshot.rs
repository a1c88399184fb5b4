//! Warm starts: the local copy as bytes, and an informer from them.

use std::mem::MaybeUninit;

use reflet_core::Timestamp;
use reflet_core::snapshot::{Decoder, SnapshotError};

use crate::border::{Bytes, guard, place};
use crate::config::Config;
use crate::handle::hand_over;
use crate::informer::Informer;
use crate::state::lock;
use crate::status::{Error, Status};
use crate::value::Engine;

/// Takes a snapshot of the local copy, to begin with after a restart. REFLET_NOT_READY: there is no
/// complete state right now.
///
/// `identity` says what it is a snapshot of, in at most 4096 bytes: the source, the collection, and in
/// which form the values are. `snapshot` is set to bytes to be written to a file, which the informer
/// has until the next call with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_snapshot(
    informer: *mut Informer,
    identity: Bytes,
    snapshot: Option<&mut MaybeUninit<Bytes>>,
) -> Status {
    guard(|| {
        let place = place(snapshot)?;
        let mut state = lock(informer)?;
        let identity = identity.text_or_empty("the identity")?;
        let taken = state.engine.snapshot().ok_or_else(|| {
            let words = "there is no complete state right now: try again later";
            Error::new(Status::RefletNotReady, words)
        })?;
        let bytes = taken.to_bytes(identity).map_err(|error| unusable(&error))?;
        place.write(state.lent.bytes(bytes));
        Ok(())
    })
}

/// Makes an informer that begins with what a snapshot holds, which is served at once, and marked as
/// restored until the source has confirmed it. Everything else is as with reflet_informer_new().
///
/// REFLET_BAD_SNAPSHOT: the snapshot is damaged, was taken under another identity, or is over a limit;
/// reflet_last_error() says which. There is no informer then: make one without a snapshot.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_restore(
    config: Option<&Config>,
    seed: u64,
    now: u64,
    identity: Bytes,
    snapshot: Bytes,
    informer: Option<&mut MaybeUninit<*mut Informer>>,
) -> Status {
    guard(|| {
        let place = place(informer)?;
        let config = Config::read(config)?;
        let identity = identity.text_or_empty("the identity")?;
        let bytes = snapshot.get("the snapshot")?.unwrap_or_default();
        let mut decoder = Decoder::new(identity, &config.limits);
        let engine = decoder
            .push(bytes)
            .and_then(|()| decoder.finish())
            .and_then(|taken| Engine::restore(config, seed, Timestamp::from_nanos(now), taken))
            .map_err(|error| unusable(&error))?;
        hand_over(place, Informer::new(engine));
        Ok(())
    })
}

fn unusable(error: &SnapshotError) -> Error {
    Error::new(Status::RefletBadSnapshot, error.to_string())
}
