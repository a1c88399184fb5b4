//! What can go wrong, one enum per operation.

use std::error::Error;
use std::fmt;

use super::export::EXPORT_FORMAT;
use super::object::Precondition;

/// Why a transaction was refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// The object is not in the state that the change asked for.
    Conflict {
        /// The object's key.
        key: String,
        /// Its version; `None` if there is no such object.
        have: Option<u64>,
        /// What the change asked for.
        wanted: Precondition,
    },
    /// A delete of an object that does not exist.
    NotFound {
        /// The key that was asked for.
        key: String,
    },
    /// The key is empty, too long or holds control characters.
    KeyInvalid {
        /// The key; of a longer one its first 64 bytes.
        key: String,
        /// What is wrong with it.
        problem: KeyProblem,
    },
    /// Two changes of one transaction have the same key.
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// The value is longer than `max_value_bytes`.
    ValueTooLarge {
        /// The object's key.
        key: String,
        /// The value's length in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The value is nested deeper than `max_value_depth`.
    ValueTooDeep {
        /// The object's key.
        key: String,
        /// The limit in levels.
        limit: usize,
    },
    /// The collection would hold more than `max_objects`.
    TooManyObjects {
        /// The limit in objects.
        limit: usize,
    },
    /// The collection would hold more than `max_total_bytes`.
    TooManyBytes {
        /// The limit in bytes.
        limit: usize,
    },
    /// The transaction has more than `max_changes`.
    TooManyChanges {
        /// The number of changes.
        changes: usize,
        /// The limit.
        limit: usize,
    },
    /// The transaction has no change: there is nothing to give a revision to.
    Empty,
    /// The collection has used up all revisions.
    RevisionsExhausted,
    /// The journal could not keep the transaction.
    Journal(JournalError),
}

/// What is wrong with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyProblem {
    /// It has no characters.
    Empty,
    /// It is longer than `max_key_bytes`.
    TooLong {
        /// The key's length in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// It holds a control character.
    ControlCharacter,
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong { bytes, limit } => {
                write!(f, "is {bytes} bytes long, the limit is {limit}")
            }
            Self::ControlCharacter => f.write_str("holds a control character"),
        }
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict {
                key,
                have: Some(have),
                wanted,
            } => {
                write!(
                    f,
                    "{key:?} is at version {have}, but {wanted} was asked for"
                )
            }
            Self::Conflict {
                key,
                have: None,
                wanted,
            } => {
                write!(f, "{key:?} does not exist, but {wanted} was asked for")
            }
            Self::NotFound { key } => write!(f, "there is no object {key:?}"),
            Self::KeyInvalid { key, problem } => write!(f, "the key {key:?} {problem}"),
            Self::DuplicateKey { key } => {
                write!(f, "{key:?} is changed twice in one transaction")
            }
            Self::ValueTooLarge { key, bytes, limit } => {
                write!(
                    f,
                    "the value of {key:?} has {bytes} bytes, the limit is {limit}"
                )
            }
            Self::ValueTooDeep { key, limit } => {
                write!(
                    f,
                    "the value of {key:?} is nested deeper than {limit} levels"
                )
            }
            Self::TooManyObjects { limit } => {
                write!(f, "the collection would hold more than {limit} objects")
            }
            Self::TooManyBytes { limit } => {
                write!(f, "the collection would hold more than {limit} bytes")
            }
            Self::TooManyChanges { changes, limit } => {
                write!(
                    f,
                    "the transaction has {changes} changes, the limit is {limit}"
                )
            }
            Self::Empty => f.write_str("the transaction has no changes"),
            Self::RevisionsExhausted => f.write_str("the collection has used up all revisions"),
            Self::Journal(error) => error.fmt(f),
        }
    }
}

impl Error for WriteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Journal(error) => Some(error),
            Self::Conflict { .. }
            | Self::NotFound { .. }
            | Self::KeyInvalid { .. }
            | Self::DuplicateKey { .. }
            | Self::ValueTooLarge { .. }
            | Self::ValueTooDeep { .. }
            | Self::TooManyObjects { .. }
            | Self::TooManyBytes { .. }
            | Self::TooManyChanges { .. }
            | Self::Empty
            | Self::RevisionsExhausted => None,
        }
    }
}

/// The journal could not keep a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub struct JournalError {
    /// What happened, in words.
    pub message: String,
}

impl JournalError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the journal failed: {}", self.message)
    }
}

impl Error for JournalError {}

/// Why a collection could not be created.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// A name is 1 to 128 of the characters `A-Z a-z 0-9 . _ -` and not `.` or `..`: it stands in a
    /// path.
    NameInvalid {
        /// The name.
        name: String,
    },
    /// The operating system gave no random bytes for the epoch.
    Entropy {
        /// The system's words.
        message: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameInvalid { name } => write!(
                f,
                "{name:?} cannot be a collection's name: take 1 to 128 of A-Z a-z 0-9 . _ -"
            ),
            Self::Entropy { message } => write!(f, "no random bytes for an epoch: {message}"),
        }
    }
}

impl Error for OpenError {}

/// Why an export was not restored. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// The export is of a format that this version does not know.
    UnknownFormat {
        /// The export's format number.
        format: u32,
    },
    /// The export is of another collection.
    OtherCollection {
        /// This collection's name.
        have: String,
        /// The export's.
        export: String,
    },
    /// The name or the entropy for a new epoch is missing.
    Open(OpenError),
    /// An epoch is 1 to 64 of the characters `A-Z a-z 0-9 _ -`.
    EpochInvalid {
        /// The export's epoch.
        epoch: String,
    },
    /// Not `0 < uid ≤ version ≤ revision`.
    VersionsInvalid {
        /// The object's key.
        key: String,
        /// The incarnation's first revision.
        uid: u64,
        /// The object's version.
        version: u64,
        /// The export's revision.
        revision: u64,
    },
    /// An object breaks a rule or a limit, or two have the same key.
    Object(WriteError),
    /// The journal could not keep the restored state.
    Journal(JournalError),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFormat { format } => write!(
                f,
                "the export has format {format}, and this version reads {EXPORT_FORMAT} only"
            ),
            Self::OtherCollection { have, export } => {
                write!(f, "the export is of {export:?}, not of {have:?}")
            }
            Self::Open(error) => error.fmt(f),
            Self::EpochInvalid { epoch } => {
                write!(f, "{epoch:?} is not an epoch: 1 to 64 of A-Z a-z 0-9 _ -")
            }
            Self::VersionsInvalid {
                key,
                uid,
                version,
                revision,
            } => write!(
                f,
                "{key:?}: uid {uid}, version {version} and revision {revision} are out of order"
            ),
            Self::Object(error) => error.fmt(f),
            Self::Journal(error) => error.fmt(f),
        }
    }
}

impl Error for RestoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Open(error) => Some(error),
            Self::Object(error) => Some(error),
            Self::Journal(error) => Some(error),
            Self::UnknownFormat { .. }
            | Self::OtherCollection { .. }
            | Self::EpochInvalid { .. }
            | Self::VersionsInvalid { .. } => None,
        }
    }
}
