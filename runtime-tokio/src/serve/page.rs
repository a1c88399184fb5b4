//! The state at an earlier revision: the present one with the history undone.
//!
//! Nothing is kept per reader, so any number of slow lists costs no memory. A list can go on for
//! as long as a watch could be resumed from its revision; it would be of no use any longer.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::history::{Forgotten, History};
use super::object::Object;

/// Objects by key.
pub(super) type Objects = BTreeMap<Arc<str>, Arc<Object>>;

/// How much fits on one page.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageLimits {
    pub(super) items: usize,
    pub(super) bytes: usize,
}

/// A part of the collection at one revision, in the order of the keys.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) items: Vec<Arc<Object>>,
    /// Whether there are objects after the last item.
    pub(super) more: bool,
}

/// The objects after the key `after` as they were at `revision`.
pub(super) fn page_at(
    objects: &Objects,
    history: &History,
    revision: u64,
    after: Option<&str>,
    limits: PageLimits,
) -> Result<Page, Forgotten> {
    let mut undone = BTreeMap::new();
    for transaction in history.after(revision)? {
        for step in &transaction.steps {
            if after.is_none_or(|after| after < &**step.key()) {
                // The first change after the revision knows what was there at the revision.
                undone.entry(&**step.key()).or_insert(step.before());
            }
        }
    }
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let present = objects.range::<str, _>((start, Bound::Unbounded));
    let mut rest = overlay(present.map(|(_, object)| object), undone).peekable();

    let mut items = Vec::new();
    let mut bytes = 0usize;
    while items.len() < limits.items && bytes < limits.bytes {
        let Some(object) = rest.next() else { break };
        bytes = bytes.saturating_add(object.bytes());
        items.push(Arc::clone(object));
    }
    Ok(Page {
        more: rest.peek().is_some(),
        items,
    })
}

/// `base` with `changes` laid over it, in the order of the keys: an object is put in the place of
/// what is there, `None` takes it away.
pub(super) fn overlay<'a>(
    base: impl Iterator<Item = &'a Arc<Object>>,
    changes: BTreeMap<&'a str, Option<&'a Arc<Object>>>,
) -> impl Iterator<Item = &'a Arc<Object>> {
    let mut base = base.peekable();
    let mut changes = changes.into_iter().peekable();
    std::iter::from_fn(move || {
        loop {
            let (Some(&(changed, _)), kept) = (changes.peek(), base.peek()) else {
                return base.next();
            };
            if kept.is_some_and(|object| &*object.key < changed) {
                return base.next();
            }
            if kept.is_some_and(|object| &*object.key == changed) {
                base.next();
            }
            if let Some((_, Some(object))) = changes.next() {
                return Some(object);
            }
        }
    })
}
