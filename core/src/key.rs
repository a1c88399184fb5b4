//! What can be a key.

use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Debug;
use core::hash::Hash;

/// A collection's key: cheap to clone, and looked up by a borrowed form, so that an item that did
/// not change is recognised without a copy of its key.
///
/// `Arc<str>` is the usual choice, since each delta carries its key.
pub trait Key: Clone + Eq + Ord + Hash + Debug {
    /// What a page or an event carries: `str` for `Arc<str>`.
    type Borrowed: ?Sized + Eq + Ord + Hash + Debug;

    /// This key, borrowed. Equality, order and hash agree with the owned form.
    fn borrow(&self) -> &Self::Borrowed;

    /// A key of one's own.
    fn own(borrowed: &Self::Borrowed) -> Self;

    /// The bytes that stand for the key in limits, in accounting and in digests.
    fn bytes(borrowed: &Self::Borrowed) -> &[u8];
}

macro_rules! text_key {
    ($($owned:ty),*) => {$(
        impl Key for $owned {
            type Borrowed = str;

            fn borrow(&self) -> &str {
                self
            }

            fn own(borrowed: &str) -> Self {
                borrowed.into()
            }

            fn bytes(borrowed: &str) -> &[u8] {
                borrowed.as_bytes()
            }
        }
    )*};
}

text_key!(Arc<str>, Box<str>, String);

impl Key for Arc<[u8]> {
    type Borrowed = [u8];

    fn borrow(&self) -> &[u8] {
        self
    }

    fn own(borrowed: &[u8]) -> Self {
        borrowed.into()
    }

    fn bytes(borrowed: &[u8]) -> &[u8] {
        borrowed
    }
}

impl Key for alloc::vec::Vec<u8> {
    type Borrowed = [u8];

    fn borrow(&self) -> &[u8] {
        self
    }

    fn own(borrowed: &[u8]) -> Self {
        borrowed.to_owned()
    }

    fn bytes(borrowed: &[u8]) -> &[u8] {
        borrowed
    }
}
