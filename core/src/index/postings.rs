//! The objects that are found under one term.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::{mem, slice};

use crate::probe::reach;

use super::found::Ids;

/// So many ids are kept in a plain vector, where adding one moves at most two kilobytes.
const MOST_IN_FEW: usize = 512;
/// A set that has shrunk to this becomes a vector again. Far from the other limit, so that a term
/// that goes to and fro pays for no conversions.
const FEWEST_IN_MANY: usize = 128;

/// Ids in ascending order. Most terms have one or a few; one that a million objects share takes
/// logarithmic time.
#[derive(Clone, Default)]
pub(super) enum Postings {
    /// Of a free place only: a term goes with its last object.
    #[default]
    None,
    One(u32),
    Few(Vec<u32>),
    Many(Box<Many>),
}

#[derive(Clone)]
pub(super) struct Many(BTreeSet<u32>);

impl Postings {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Few(ids) => ids.len(),
            Self::Many(many) => many.0.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(super) fn insert(&mut self, id: u32) {
        match self {
            Self::None => *self = Self::One(id),
            Self::One(first) => {
                let (low, high) = ((*first).min(id), (*first).max(id));
                if low != high {
                    *self = Self::Few(vec![low, high]);
                }
            }
            Self::Few(ids) => {
                if let Err(at) = ids.binary_search(&id) {
                    if ids.len() < MOST_IN_FEW {
                        ids.insert(at, id);
                        return;
                    }
                    reach!("term that hundreds share");
                    let mut many = Many(mem::take(ids).into_iter().collect());
                    many.0.insert(id);
                    *self = Self::Many(Box::new(many));
                }
            }
            Self::Many(many) => {
                many.0.insert(id);
            }
        }
    }

    pub(super) fn remove(&mut self, id: u32) {
        match self {
            Self::None => {}
            Self::One(only) => {
                if *only == id {
                    *self = Self::None;
                }
            }
            Self::Few(ids) => {
                if let Ok(at) = ids.binary_search(&id) {
                    ids.remove(at);
                }
                if ids.is_empty() {
                    *self = Self::None;
                } else if ids.len() * 4 <= ids.capacity() {
                    ids.shrink_to(ids.len() * 2);
                }
            }
            Self::Many(many) => {
                many.0.remove(&id);
                if many.0.len() <= FEWEST_IN_MANY {
                    *self = Self::Few(mem::take(&mut many.0).into_iter().collect());
                }
            }
        }
    }

    pub(super) fn iter(&self) -> Ids<'_> {
        match self {
            Self::None => Ids::none(),
            Self::One(id) => Ids::of_slice(slice::from_ref(id)),
            Self::Few(ids) => Ids::of_slice(ids),
            Self::Many(many) => Ids::of_set(&many.0),
        }
    }
}
