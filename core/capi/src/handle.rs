//! Handles: a lock behind a pointer that C holds. The lock is only tried, so whoever breaks the rules
//! about threads and callbacks is told so; a panic poisons it.

use std::mem::MaybeUninit;
use std::sync::{Mutex, MutexGuard, TryLockError};

use crate::status::{Error, Status};

/// What C holds a pointer to.
pub(crate) trait Handle {
    /// What is behind the lock.
    type Inner;

    /// What it is called in words.
    const NAME: &'static str;

    fn inner(&self) -> &Mutex<Self::Inner>;
}

/// What is behind a handle, until the call is over.
pub(crate) fn lock<'call, H: Handle + 'call>(
    handle: *mut H,
) -> Result<MutexGuard<'call, H::Inner>, Error> {
    let name = H::NAME;
    // SAFETY: NULL, or a handle that was given out and is not freed before the call returns: the
    // promise of the entry point's caller. Only shared references to it are ever made.
    let handle = unsafe { handle.as_ref() }.ok_or_else(|| Error::null(&format!("the {name}")))?;
    handle.inner().try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Error::new(
            Status::RefletBusy,
            format!(
                "the {name} is in use: by another thread, or by the call whose callback this is"
            ),
        ),
        TryLockError::Poisoned(_) => Error::new(
            Status::RefletPoisoned,
            format!("there was a panic in an earlier call with this {name}: free it"),
        ),
    })
}

/// Gives a new handle away.
pub(crate) fn hand_over<H: Handle>(place: &mut MaybeUninit<*mut H>, handle: H) {
    place.write(Box::into_raw(Box::new(handle)));
}

/// Takes a handle back and drops it, unless it is in use.
pub(crate) fn free<H: Handle>(handle: *mut H) -> Result<(), Error> {
    if handle.is_null() {
        return Ok(());
    }
    match lock(handle) {
        Err(error) if error.status == Status::RefletBusy => return Err(error),
        Ok(_) | Err(_) => {}
    }
    // SAFETY: it came from `hand_over`, nobody is using it, and nobody will: the promise of the entry
    // point's caller.
    drop(unsafe { Box::from_raw(handle) });
    Ok(())
}
