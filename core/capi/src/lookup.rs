//! What the local copy holds.

use std::ffi::c_void;
use std::mem::MaybeUninit;

use crate::border::{Bytes, guard, place};
use crate::informer::Informer;
use crate::state::{Lent, lock};
use crate::status::{Error, Status};

/// An object of the local copy.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// The version that its source gave it; empty if it has none.
    pub version: Bytes,
}

/// What reflet_informer_visit() calls for each object. What `entry` points to is there until it returns.
/// 0: go on; anything else: that was enough.
///
/// It must not call anything with the same handle (REFLET_BUSY), jump out, or throw.
pub type Visitor =
    Option<unsafe extern "C-unwind" fn(context: *mut c_void, entry: *const Entry) -> i32>;

/// How many objects there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_len(
    informer: *mut Informer,
    len: Option<&mut MaybeUninit<usize>>,
) -> Status {
    guard(|| {
        let place = place(len)?;
        let state = lock(informer)?;
        place.write(state.engine.cache().len());
        Ok(())
    })
}

/// Looks an object up. REFLET_NOT_FOUND: there is none with that key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_get(
    informer: *mut Informer,
    key: Bytes,
    entry: Option<&mut MaybeUninit<Entry>>,
) -> Status {
    guard(|| {
        let place = place(entry)?;
        let mut state = lock(informer)?;
        let key = key.text("the key")?.ok_or_else(|| Error::null("the key"))?;
        let state = &mut *state;
        let Some(found) = state.engine.cache().entry(key) else {
            let words = "there is no object with that key";
            return Err(Error::new(Status::RefletNotFound, words));
        };
        place.write(Entry {
            key: state.lent.key(found.key.clone()),
            value: state.lent.value(found.value.clone()),
            version: state.lent.text(found.version.to_string()),
        });
        Ok(())
    })
}

/// Calls `visitor` for each object whose key begins with `prefix`, in the order of the keys' bytes. No
/// prefix: for all objects.
///
/// The first call makes the informer keep the order of the keys from then on, which takes time by what
/// is there, and a little with each object that comes or goes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reflet_informer_visit(
    informer: *mut Informer,
    prefix: Bytes,
    visitor: Visitor,
    context: *mut c_void,
) -> Status {
    guard(|| {
        let visitor = visitor.ok_or_else(|| Error::null("the visitor"))?;
        let mut state = lock(informer)?;
        let prefix = prefix.get("the prefix")?.unwrap_or_default();
        let state = &mut *state;
        let order = *state
            .key_order
            .get_or_insert_with(|| state.engine.add_key_order());
        let mut lent = Lent::default();
        for found in state.engine.cache().prefix(order, prefix) {
            let entry = Entry {
                key: Bytes::of(found.key.as_bytes()),
                value: Bytes::of(&found.value.0),
                version: lent.text(found.version.to_string()),
            };
            // SAFETY: the caller of the entry point has promised a function that may be called so.
            if unsafe { visitor(context, &raw const entry) } != 0 {
                break;
            }
            lent.clear();
        }
        Ok(())
    })
}
