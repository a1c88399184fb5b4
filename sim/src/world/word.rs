//! What the source can say.

use std::fmt;

use reflet_core::FailureClass;

use super::{Object, Poison};

/// One thing that the source says to one attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// The watch is open; the history's number.
    Opened(usize),
    /// A page begins: its history, and its revision.
    Page(usize, u64),
    /// An object in a page.
    Item(u32, Object),
    /// The page is over; the token of the next one.
    PageEnd(Option<String>),
    /// Nothing has changed.
    Unmodified,
    /// A key was written, at a revision, after the one before.
    Put(u32, Object, u64, u64),
    /// A key was deleted: what it was, at a revision, after the one before.
    Delete(u32, Object, u64, u64),
    /// A transaction is over.
    BatchEnd(u64),
    /// An object of the initial stream.
    Initial(u32, Object),
    /// The initial stream is over.
    InitialEnd(u64),
    /// Everything up to a revision was said, and its digest.
    Progress(u64, Option<u64>),
    /// A sign of life.
    Heartbeat,
    /// Something changed.
    Hint,
    /// The end.
    Closed,
    /// The end, for a reason, with milliseconds to wait.
    Failed(FailureClass, Option<u32>),
}

impl Word {
    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(
            self,
            Self::Closed | Self::Failed(..) | Self::PageEnd(None) | Self::Unmodified
        )
    }

    /// Whether it completes a full state.
    #[must_use]
    pub fn completes(&self) -> bool {
        matches!(self, Self::PageEnd(None) | Self::InitialEnd(_))
    }

    /// Whether it belongs to a transaction on a watch.
    #[must_use]
    pub fn is_change(&self) -> bool {
        matches!(self, Self::Put(..) | Self::Delete(..))
    }

    /// Whether it belongs to a list.
    #[must_use]
    pub fn is_of_a_list(&self) -> bool {
        matches!(
            self,
            Self::Page(..) | Self::Item(..) | Self::PageEnd(_) | Self::Unmodified
        )
    }

    /// Whether it tells a revision.
    #[must_use]
    pub fn has_revision(&self) -> bool {
        match self {
            Self::Page(..)
            | Self::Put(..)
            | Self::Delete(..)
            | Self::BatchEnd(_)
            | Self::Initial(..)
            | Self::InitialEnd(_)
            | Self::Progress(..) => true,
            Self::Opened(_)
            | Self::Item(..)
            | Self::PageEnd(_)
            | Self::Unmodified
            | Self::Heartbeat
            | Self::Hint
            | Self::Closed
            | Self::Failed(..) => false,
        }
    }

    /// The object that it carries.
    pub fn object_mut(&mut self) -> Option<&mut Object> {
        match self {
            Self::Item(_, object) | Self::Initial(_, object) | Self::Put(_, object, ..) => {
                Some(object)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = |f: &mut fmt::Formatter<'_>, what: &str, key: u32, object: &Object| {
            let poison = match object.poison {
                Poison::None => "",
                Poison::Payload => " (undecodable)",
                Poison::Key => " (unreadable)",
            };
            write!(f, "{what} k{key:05} v{}{poison}", object.version)
        };
        match self {
            Self::Opened(epoch) => write!(f, "opened in e{epoch}"),
            Self::Page(epoch, at) => write!(f, "page of r{at} in e{epoch}"),
            Self::Item(key, it) => object(f, "item", *key, it),
            Self::PageEnd(None) => f.write_str("last page ends"),
            Self::PageEnd(Some(token)) => write!(f, "page ends, next {token:?}"),
            Self::Unmodified => f.write_str("unmodified"),
            Self::Put(key, it, at, previous) => {
                object(f, "put", *key, it)?;
                write!(f, " at r{at} after r{previous}")
            }
            Self::Delete(key, it, at, previous) => {
                object(f, "delete", *key, it)?;
                write!(f, " at r{at} after r{previous}")
            }
            Self::BatchEnd(at) => write!(f, "batch of r{at} ends"),
            Self::Initial(key, it) => object(f, "initial", *key, it),
            Self::InitialEnd(at) => write!(f, "initial state of r{at} ends"),
            Self::Progress(at, Some(digest)) => write!(f, "progress r{at}, digest {digest:x}"),
            Self::Progress(at, None) => write!(f, "progress r{at}"),
            Self::Heartbeat => f.write_str("heartbeat"),
            Self::Hint => f.write_str("hint"),
            Self::Closed => f.write_str("closed"),
            Self::Failed(class, None) => write!(f, "failed: {class}"),
            Self::Failed(class, Some(wait)) => write!(f, "failed: {class}, retry after {wait} ms"),
        }
    }
}
