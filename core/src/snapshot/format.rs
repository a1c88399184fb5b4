//! What the pieces are made of.

use alloc::boxed::Box;

use crc32fast::Hasher;
use serde::{Deserialize, Serialize};

use crate::output::Rejection;
use crate::token::{Version, VersionRef};

/// The schema that is written, and the only one that is read.
pub const SCHEMA: u32 = 1;

pub(super) const MAGIC: [u8; 8] = *b"\x89REFLET\n";
/// The magic and the schema.
pub(super) const PREAMBLE: usize = 12;
/// A piece's length and checksum.
pub(super) const HEAD: usize = 8;
/// A piece is closed when it has reached this: it is at most one object longer.
pub(super) const PIECE: usize = 64 << 10;
pub(super) const IDENTITY_BYTES: usize = 4096;
/// The most that a record has beside its key, version and value: tags, lengths and numbers.
pub(super) const RECORD_BYTES: usize = 64;
/// A rejected object's words are kept to this many bytes.
pub(super) const WORDS_BYTES: usize = 512;

/// The first piece.
#[derive(Serialize, Deserialize)]
pub(super) struct Header<'a> {
    pub(super) identity: &'a str,
    pub(super) epoch: Option<&'a str>,
    pub(super) revision: Option<&'a str>,
    pub(super) rewinds: u64,
    pub(super) objects: u64,
    pub(super) quarantined: u64,
    pub(super) unnamed: u64,
}

/// What the other pieces hold one after the other: first the objects, then the quarantined keys.
#[derive(Serialize, Deserialize)]
pub(super) enum Record<'a, K, V> {
    Object {
        key: K,
        #[serde(borrow)]
        version: Stamp<'a>,
        incarnation: Option<u64>,
        size: u64,
        value: V,
    },
    Quarantined {
        key: K,
        #[serde(borrow)]
        why: Why<'a>,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) enum Stamp<'a> {
    Number(u64),
    Text(&'a str),
}

impl<'a> Stamp<'a> {
    pub(super) fn of(version: &'a Version) -> Self {
        match version.number_or_text() {
            Ok(number) => Self::Number(number),
            Err(text) => Self::Text(text),
        }
    }

    pub(super) fn version(&self) -> Version {
        match self {
            Self::Number(number) => (*number).into(),
            Self::Text(text) => VersionRef::parse(text).to_version(),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) enum Why<'a> {
    Undecodable(&'a str),
    KeyTooLong(u64),
    VersionTooLong(u64),
}

impl<'a> Why<'a> {
    pub(super) fn of(error: &'a Rejection) -> Self {
        match error {
            Rejection::Undecodable(words) => Self::Undecodable(words),
            Rejection::KeyTooLong { bytes } => Self::KeyTooLong(*bytes as u64),
            Rejection::VersionTooLong { bytes } => Self::VersionTooLong(*bytes as u64),
        }
    }

    pub(super) fn rejection(&self) -> Rejection {
        match self {
            Self::Undecodable(words) => {
                let end = words.floor_char_boundary(WORDS_BYTES);
                Rejection::Undecodable(Box::from(words.get(..end).unwrap_or_default()))
            }
            Self::KeyTooLong(bytes) => Rejection::KeyTooLong {
                bytes: to_usize(*bytes),
            },
            Self::VersionTooLong(bytes) => Rejection::VersionTooLong {
                bytes: to_usize(*bytes),
            },
        }
    }
}

/// A number of another machine: too large for this one is too large for every limit.
pub(super) fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The checksum over everything so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Checksum(Hasher);

impl Checksum {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn value(&self) -> u32 {
        self.0.clone().finalize()
    }
}
