//! No panic crosses the border: it is caught, told, and the handle is of no use any more.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
#![allow(unsafe_code, reason = "the interface is called as C calls it")]

use std::ffi::{CStr, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use reflet::{Bytes, Config, Entry, Informer, Input, InputKind, Status};

/// An informer with one object.
fn informer() -> *mut Informer {
    let (mut config, mut informer) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    let mut command = MaybeUninit::uninit();
    // SAFETY: each place is there, and is read only after it was written.
    let (informer, attempt) = unsafe {
        assert_eq!(
            reflet::reflet_config_init(Some(&mut config)),
            Status::RefletOk
        );
        let config: &Config = config.assume_init_ref();
        let made = reflet::reflet_informer_new(Some(config), 1, 0, Some(&mut informer));
        assert_eq!(made, Status::RefletOk);
        let informer = informer.assume_init();
        let polled = reflet::reflet_informer_poll_command(informer, Some(&mut command));
        assert_eq!(polled, Status::RefletOk);
        (informer, command.assume_init().attempt)
    };
    for kind in [InputKind::Page, InputKind::Item, InputKind::PageEnd] {
        let input = Input {
            kind: kind as u32,
            attempt,
            key: Bytes::of(b"key"),
            revision: Bytes::of(b"1"),
            ..Input::default()
        };
        // SAFETY: the handle is alive, and the bytes are static.
        let taken = unsafe { reflet::reflet_informer_handle(informer, 0, Some(&input)) };
        assert_eq!(taken, Status::RefletOk);
    }
    informer
}

fn last_error() -> String {
    // SAFETY: the text ends with a NUL, and no other call changes it meanwhile.
    unsafe { CStr::from_ptr(reflet::reflet_last_error()) }
        .to_str()
        .unwrap()
        .to_owned()
}

/// A callback with a bug.
unsafe extern "C-unwind" fn panics(_: *mut c_void, _: *const Entry) -> i32 {
    panic!("a bug in a callback");
}

#[test]
fn a_panic_is_a_status_and_poisons_the_handle() {
    let informer = informer();
    let mut len = MaybeUninit::uninit();
    // SAFETY: the handle is alive until it is freed, at the end.
    unsafe {
        let status =
            reflet::reflet_informer_visit(informer, Bytes::NONE, Some(panics), ptr::null_mut());
        assert_eq!(status, Status::RefletPanicked);
        assert_eq!(last_error(), "a panic was caught: a bug in a callback");

        let after = reflet::reflet_informer_len(informer, Some(&mut len));
        assert_eq!(after, Status::RefletPoisoned);
        assert!(last_error().contains("free it"), "{}", last_error());
        let stopped = reflet::reflet_informer_stop(informer, 1);
        assert_eq!(stopped, Status::RefletPoisoned);
        assert_eq!(reflet::reflet_informer_free(informer), Status::RefletOk);
    }
}

#[test]
fn a_second_thread_is_told_that_the_handle_is_in_use() {
    /// What the callback asks from another thread.
    unsafe extern "C-unwind" fn asks(context: *mut c_void, _: *const Entry) -> i32 {
        let address = context.addr();
        let other = std::thread::spawn(move || {
            let informer = ptr::with_exposed_provenance_mut::<Informer>(address);
            let mut len = MaybeUninit::uninit();
            // SAFETY: the handle is alive, since the call that runs this callback goes on.
            unsafe { reflet::reflet_informer_len(informer, Some(&mut len)) }
        });
        assert_eq!(other.join().unwrap(), Status::RefletBusy);
        0
    }

    let informer = informer();
    informer.expose_provenance();
    // SAFETY: the handle is alive until it is freed.
    unsafe {
        let status =
            reflet::reflet_informer_visit(informer, Bytes::NONE, Some(asks), informer.cast());
        assert_eq!(status, Status::RefletOk, "{}", last_error());
        assert_eq!(reflet::reflet_informer_free(informer), Status::RefletOk);
    }
}
