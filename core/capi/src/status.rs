//! How a call ended, and the words for it.

use std::borrow::Cow;
use std::cell::UnsafeCell;
use std::ffi::c_char;

/// How a call ended. Everything but REFLET_OK has words, which reflet_last_error() gives.
///
/// cbindgen:rename-all=ScreamingSnakeCase
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It did what it should.
    RefletOk = 0,
    /// A pointer is NULL that must not be: a handle, a place for the answer, or bytes that have a
    /// length.
    RefletNull,
    /// A number that means nothing there: a kind that does not exist, a flag that nobody knows, a
    /// length that no memory has.
    RefletBadArgument,
    /// A key, revision, version, epoch, token or message that is no UTF-8.
    RefletBadUtf8,
    /// The attempt is over, or was never given out. Harmless: what a cancelled connection still
    /// brings ends here.
    RefletUnknownAttempt,
    /// There is no such subscriber, or no longer.
    RefletUnknownSubscriber,
    /// There is no object with that key.
    RefletNotFound,
    /// There is no complete state to take a snapshot of yet: try again later.
    RefletNotReady,
    /// The snapshot cannot be used: damaged, of something else, or over a limit. Start without it.
    RefletBadSnapshot,
    /// The informer was stopped: it takes nothing in any more. What it has can still be read.
    RefletStopped,
    /// The handle is in use: by another thread, or by the call that runs the callback from which
    /// this call was made. Nothing was done.
    RefletBusy,
    /// A panic was caught, which is a bug: in Reflet, or in a callback. The handle is poisoned.
    RefletPanicked,
    /// There was a panic in an earlier call with this handle: it is of no use but to be freed.
    RefletPoisoned,
}

/// Why a call did not do what it should.
pub(crate) struct Error {
    pub(crate) status: Status,
    pub(crate) words: Cow<'static, str>,
}

impl Error {
    pub(crate) fn new(status: Status, words: impl Into<Cow<'static, str>>) -> Self {
        let words = words.into();
        Self { status, words }
    }

    /// What must not be NULL is.
    pub(crate) fn null(what: &str) -> Self {
        Self::new(Status::RefletNull, format!("{what} is NULL"))
    }

    /// A number means nothing where it was given.
    pub(crate) fn bad_argument(words: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::RefletBadArgument, words)
    }
}

/// The longest message, with its NUL.
const WORDS: usize = 512;

thread_local! {
    /// A buffer that is there for as long as the thread is, so that a pointer to it never dangles.
    static LAST: UnsafeCell<[u8; WORDS]> = const { UnsafeCell::new([0; WORDS]) };
}

/// What was wrong when a call of this thread last gave something else than REFLET_OK, in words, with
/// a NUL at the end; empty if nothing was. Never NULL.
///
/// The text is the thread's: it stays until the thread's next call that fails, and the pointer is good
/// for as long as the thread lives.
#[unsafe(no_mangle)]
pub extern "C" fn reflet_last_error() -> *const c_char {
    LAST.try_with(|last| last.get().cast_const().cast())
        .unwrap_or(c"".as_ptr())
}

/// Keeps the words for [`reflet_last_error`]: as many as there is room for.
pub(crate) fn remember(words: &str) {
    let end = words.floor_char_boundary(WORDS - 1);
    let text = words.as_bytes().get(..end).unwrap_or_default();
    // A thread that is about to end has nobody left to ask.
    let _ = LAST.try_with(|last| {
        // SAFETY: only this thread has the buffer, and nobody in Rust keeps a reference to it; C may
        // keep a pointer, and is told that the text changes.
        let buffer = unsafe { &mut *last.get() };
        let (front, back) = buffer.split_at_mut(text.len());
        front.copy_from_slice(text);
        // A NUL in the text would end it early, and does no harm.
        back.fill(0);
    });
}
