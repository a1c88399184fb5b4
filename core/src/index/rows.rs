//! Under which terms each object is found, so that an update can take it back out without the old
//! value.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

/// What fits beside the length into the 16 bytes of a row.
const INLINE: usize = 3;

/// One object's terms, as ids in ascending order. Up to three need no allocation.
#[derive(Clone)]
pub(super) enum Row {
    Few { len: u8, terms: [u32; INLINE] },
    Many(Box<Many>),
}

#[derive(Clone)]
pub(super) struct Many(Vec<u32>);

impl Default for Row {
    fn default() -> Self {
        Self::Few {
            len: 0,
            terms: [0; INLINE],
        }
    }
}

impl Row {
    pub(super) fn terms(&self) -> &[u32] {
        match self {
            Self::Few { len, terms } => terms.get(..usize::from(*len)).unwrap_or_default(),
            Self::Many(many) => &many.0,
        }
    }

    fn has(&self, term: u32) -> bool {
        match self {
            Self::Few { .. } => self.terms().contains(&term),
            Self::Many(many) => many.0.binary_search(&term).is_ok(),
        }
    }

    /// Takes other terms, in ascending order.
    pub(super) fn set(&mut self, new: &[u32]) {
        if let (Some(len), true) = (u8::try_from(new.len()).ok(), new.len() <= INLINE) {
            let mut terms = [0; INLINE];
            for (place, term) in terms.iter_mut().zip(new) {
                *place = *term;
            }
            *self = Self::Few { len, terms };
            return;
        }
        match self {
            Self::Few { .. } => *self = Self::Many(Box::new(Many(new.to_vec()))),
            Self::Many(many) => {
                many.0.clear();
                many.0.extend_from_slice(new);
                many.0.shrink_to(new.len().saturating_mul(2));
            }
        }
    }
}

const PAGE_BITS: u32 = 10;
const PAGE: usize = 1 << PAGE_BITS;

/// Rows by the ids of objects, which are small numbers: in pages, so that growing never moves more
/// than one page.
#[derive(Clone, Default)]
pub(super) struct Rows {
    pages: Vec<Vec<Row>>,
}

impl Rows {
    /// An object's terms; none of an object that was never put.
    pub(super) fn terms(&self, id: u32) -> &[u32] {
        self.get(id).map_or(&[], Row::terms)
    }

    pub(super) fn has(&self, id: u32, term: u32) -> bool {
        self.get(id).is_some_and(|row| row.has(term))
    }

    /// Takes an object's terms out; to be put back with [`put`](Self::put) if it stays.
    pub(super) fn take(&mut self, id: u32) -> Row {
        self.get_mut(id).map(mem::take).unwrap_or_default()
    }

    pub(super) fn put(&mut self, id: u32, row: Row) {
        if self.get(id).is_none() {
            self.grow(id);
        }
        if let Some(place) = self.get_mut(id) {
            *place = row;
        }
    }

    fn get(&self, id: u32) -> Option<&Row> {
        self.pages.get(page(id))?.get(place(id))
    }

    fn get_mut(&mut self, id: u32) -> Option<&mut Row> {
        self.pages.get_mut(page(id))?.get_mut(place(id))
    }

    #[cold]
    fn grow(&mut self, id: u32) {
        let (page, place) = (page(id), place(id));
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, Vec::new);
        }
        if let Some(rows) = self.pages.get_mut(page) {
            if rows.capacity() <= place {
                // A first page starts small; none gets larger than a page.
                let capacity = (place + 1).max(rows.capacity() * 2).min(PAGE);
                rows.reserve_exact(capacity - rows.len());
            }
            rows.resize_with(place + 1, Row::default);
        }
    }
}

const fn page(id: u32) -> usize {
    (id >> PAGE_BITS) as usize
}

const fn place(id: u32) -> usize {
    id as usize & (PAGE - 1)
}
