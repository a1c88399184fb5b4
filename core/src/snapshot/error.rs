//! Why there is no warm start.

use alloc::boxed::Box;
use core::fmt;

use crate::output::BadInput;

/// Why a snapshot cannot be read or written. Whatever it is, nothing of the snapshot was used: the
/// informer starts cold, as if there were none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum SnapshotError {
    /// It does not begin like a snapshot: some other file.
    NotASnapshot,
    /// It has a schema that this version does not know; most likely a newer version wrote it.
    UnknownSchema {
        /// Its schema.
        found: u32,
    },
    /// It ends before it is complete.
    Truncated {
        /// How many bytes there are.
        bytes: u64,
    },
    /// A checksum does not fit: bits have changed since it was written.
    Damaged {
        /// Where the damaged piece begins, in bytes.
        at: u64,
    },
    /// Something follows after its end.
    TrailingBytes {
        /// Where it ends, in bytes.
        at: u64,
    },
    /// A piece is longer than the limits allow: written under larger ones, or damaged.
    PieceTooLong {
        /// Where the piece begins, in bytes.
        at: u64,
        /// The length that it names, in bytes.
        bytes: u32,
    },
    /// It was taken of something else.
    Foreign {
        /// The identity that it names.
        found: Box<str>,
    },
    /// The checksums fit, but the content does not: most likely the type of the values has changed.
    Malformed {
        /// Where the piece begins, in bytes.
        at: u64,
    },
    /// It holds more than the configuration allows.
    OverLimit {
        /// The limit.
        limit: SnapshotLimit,
    },
    /// Its revision is none that the configured source could have.
    Unsuited {
        /// What is wrong with it.
        what: BadInput,
    },
    /// The identity has more than 4096 bytes.
    IdentityTooLong,
    /// A key or value could not be encoded: its `Serialize` failed.
    Unencodable,
}

/// A limit that a snapshot exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum SnapshotLimit {
    /// [`Limits::objects`](crate::Limits::objects).
    Objects,
    /// [`Limits::bytes`](crate::Limits::bytes), of the objects or of their encoding.
    Bytes,
    /// [`Limits::key_bytes`](crate::Limits::key_bytes).
    Key,
    /// [`Limits::token_bytes`](crate::Limits::token_bytes).
    Token,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASnapshot => f.write_str("not a snapshot: check the file's name"),
            Self::UnknownSchema { found } => write!(
                f,
                "the snapshot has schema {found}, and this version knows {}: read it with the \
                 version that wrote it, or do without",
                super::SCHEMA
            ),
            Self::Truncated { bytes } => write!(
                f,
                "the snapshot ends after {bytes} bytes, before it is complete: remove it"
            ),
            Self::Damaged { at } => write!(
                f,
                "the snapshot is damaged in the piece at byte {at}: remove it, and check the disk"
            ),
            Self::TrailingBytes { at } => write!(
                f,
                "something follows after the snapshot's end at byte {at}: remove it"
            ),
            Self::PieceTooLong { at, bytes } => write!(
                f,
                "the snapshot's piece at byte {at} names {bytes} bytes: raise the limit of bytes, \
                 or, if it is damaged, remove it"
            ),
            Self::Foreign { found } => write!(
                f,
                "the snapshot was taken of {found:?}: check the file's name and the identity"
            ),
            Self::Malformed { at } => write!(
                f,
                "the snapshot's piece at byte {at} cannot be decoded: if the type of the values \
                 has changed, change the identity with it"
            ),
            Self::OverLimit { limit } => {
                let what = match limit {
                    SnapshotLimit::Objects => "objects",
                    SnapshotLimit::Bytes => "bytes",
                    SnapshotLimit::Key => "key_bytes",
                    SnapshotLimit::Token => "token_bytes",
                };
                write!(
                    f,
                    "the snapshot is over the limit of {what}: raise it, or do without"
                )
            }
            Self::Unsuited { what } => write!(
                f,
                "the snapshot's revision does not fit the source ({what}): check what the \
                 source declares"
            ),
            Self::IdentityTooLong => {
                f.write_str("the identity has more than 4096 bytes: take a shorter one")
            }
            Self::Unencodable => {
                f.write_str("a key or a value cannot be encoded: check its `Serialize`")
            }
        }
    }
}

impl core::error::Error for SnapshotError {}
