//! Objects, the changes that clients ask for, and the steps that a transaction makes of them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::json;

/// One object of a collection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Object {
    /// Its name within the collection.
    pub key: Arc<str>,
    /// The revision of the transaction that last wrote it.
    #[serde(with = "json::decimal_text")]
    pub version: u64,
    /// The revision that created this incarnation: an object that was deleted and put again is
    /// another one.
    #[serde(with = "json::decimal_text")]
    pub uid: u64,
    /// Its value, without whitespace between tokens.
    pub value: Arc<RawValue>,
}

impl PartialEq for Object {
    /// Values are compared by their text.
    fn eq(&self, other: &Self) -> bool {
        (&self.key, self.version, self.uid, self.value.get())
            == (&other.key, other.version, other.uid, other.value.get())
    }
}

impl Eq for Object {}

impl Object {
    /// Bytes of key and value, what limits count.
    pub(super) fn bytes(&self) -> usize {
        self.key.len().saturating_add(self.value.get().len())
    }

    /// Appends the object's envelope and, last, its value, without the braces around them; `last`
    /// marks the end of a transaction.
    pub(super) fn write_fields(&self, version: u64, last: bool, out: &mut Vec<u8>) {
        json::field(out, "key", &self.key);
        json::counter(out, "version", version);
        json::counter(out, "uid", self.uid);
        if last {
            out.extend(b"\"last\":true,");
        }
        out.extend(b"\"value\":");
        out.extend(self.value.get().bytes());
    }
}

/// What must be true of an object for a change to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum Precondition {
    /// Nothing: the change is made whatever is there.
    #[default]
    None,
    /// The object exists at this version.
    Version(u64),
    /// There is no such object.
    Absent,
    /// The object exists, at any version.
    Exists,
}

impl Precondition {
    pub(super) fn holds(self, have: Option<u64>) -> bool {
        match self {
            Self::None => true,
            Self::Version(wanted) => have == Some(wanted),
            Self::Absent => have.is_none(),
            Self::Exists => have.is_some(),
        }
    }
}

impl fmt::Display for Precondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("anything"),
            Self::Version(version) => write!(f, "version {version}"),
            Self::Absent => f.write_str("its absence"),
            Self::Exists => f.write_str("its existence"),
        }
    }
}

/// One change of a transaction, as its author asks for it.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "simulated"), non_exhaustive)]
pub enum Change {
    /// Create the object or replace its value. A value equal to the present one is still a new
    /// version: the author said that it was written now.
    Put {
        /// The object's key.
        key: String,
        /// Its new value.
        value: Box<RawValue>,
        /// What must be true before.
        precondition: Precondition,
    },
    /// Delete the object, which must exist.
    Delete {
        /// The object's key.
        key: String,
        /// What must be true before.
        precondition: Precondition,
    },
}

/// One change of a transaction, as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new object, or a new incarnation of a deleted one.
    Added {
        /// What is there now.
        after: Arc<Object>,
    },
    /// An object with a new value.
    Modified {
        /// What was there before.
        before: Arc<Object>,
        /// What is there now.
        after: Arc<Object>,
    },
    /// An object that is no longer there.
    Deleted {
        /// What was there before.
        before: Arc<Object>,
    },
}

impl Step {
    /// The key of the object that changed.
    #[must_use]
    pub fn key(&self) -> &Arc<str> {
        match self {
            Self::Added { after } | Self::Modified { after, .. } => &after.key,
            Self::Deleted { before } => &before.key,
        }
    }

    /// What was there before.
    #[must_use]
    pub fn before(&self) -> Option<&Arc<Object>> {
        match self {
            Self::Added { .. } => None,
            Self::Modified { before, .. } | Self::Deleted { before } => Some(before),
        }
    }

    /// What is there now.
    #[must_use]
    pub fn after(&self) -> Option<&Arc<Object>> {
        match self {
            Self::Added { after } | Self::Modified { after, .. } => Some(after),
            Self::Deleted { .. } => None,
        }
    }
}
