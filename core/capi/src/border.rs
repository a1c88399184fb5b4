//! The border to C: the guard around each entry point, and bytes that cross it.

use std::any::Any;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::slice;

use crate::status::{Error, Status, remember};

/// Bytes: a pointer and a length, never ended by a NUL.
///
/// As an argument they are borrowed for the call. `data` may be NULL where `length` is 0, which means
/// that the thing is not there; empty bytes that are there have another pointer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    /// The first byte.
    pub data: *const u8,
    /// How many there are.
    pub length: usize,
}

impl Default for Bytes {
    fn default() -> Self {
        Self::NONE
    }
}

impl Bytes {
    /// Nothing.
    pub const NONE: Self = Self {
        data: ptr::null(),
        length: 0,
    };

    /// Bytes to hand out, or to hand in from a test.
    #[must_use]
    pub const fn of(bytes: &[u8]) -> Self {
        Self {
            data: bytes.as_ptr(),
            length: bytes.len(),
        }
    }

    /// What came in; `None`: it is not there. The lifetime is the entry point's, which does not keep
    /// it.
    pub(crate) fn get<'call>(self, what: &str) -> Result<Option<&'call [u8]>, Error> {
        if self.data.is_null() {
            return match self.length {
                0 => Ok(None),
                length => Err(Error::null(&format!("{what}, which has {length} bytes,"))),
            };
        }
        // Larger than any object can be: from_raw_parts must not see it.
        if isize::try_from(self.length).is_err() {
            let words = format!("{what} has {} bytes, which no memory has", self.length);
            return Err(Error::bad_argument(words));
        }
        // SAFETY: the caller of the entry point has promised that so many bytes are there, and that
        // nobody writes to them before the call returns. The length was checked.
        Ok(Some(unsafe {
            slice::from_raw_parts(self.data, self.length)
        }))
    }

    /// A text that came in; `None`: it is not there.
    pub(crate) fn text<'call>(self, what: &str) -> Result<Option<&'call str>, Error> {
        let Some(bytes) = self.get(what)? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let words = format!("{what} is no UTF-8: {error}");
            Error::new(Status::RefletBadUtf8, words)
        })?;
        Ok(Some(text))
    }

    /// A text that must be there, or may be empty where it is not.
    pub(crate) fn text_or_empty<'call>(self, what: &str) -> Result<&'call str, Error> {
        Ok(self.text(what)?.unwrap_or_default())
    }
}

/// The place for the answer, if there is one: to be asked for before anything is done, so that
/// nothing is lost.
pub(crate) fn place<T>(out: Option<&mut MaybeUninit<T>>) -> Result<&mut MaybeUninit<T>, Error> {
    out.ok_or_else(|| Error::null("the place for the answer"))
}

/// The guard that each entry point runs in: whatever happens there becomes a status, and words.
pub(crate) fn guard(call: impl FnOnce() -> Result<(), Error>) -> Status {
    // What a call had in its hands when it panicked is behind a lock, which is poisoned then.
    let error = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => return Status::RefletOk,
        Ok(Err(error)) => error,
        Err(panic) => Error::new(Status::RefletPanicked, words_of(panic)),
    };
    remember(&error.words);
    error.status
}

fn words_of(panic: Box<dyn Any + Send>) -> String {
    let words = panic
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    // What somebody else panicked with could panic again when it is dropped.
    if words.is_none() {
        std::mem::forget(panic);
    }
    format!("a panic was caught: {}", words.unwrap_or_default())
}
