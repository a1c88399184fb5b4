//! Entries, superseded versions and gaps, all linked in one list in the order of their sequence
//! numbers.

use crate::key::Key;
use crate::slab::Slab;

use super::entries::{Birth, Entries};

const KIND_SHIFT: u32 = 30;
const ID_MASK: u32 = (1 << KIND_SHIFT) - 1;

/// A place in the list: what kind of node it is in the two highest bits, its id in the others. A
/// thousand million nodes of a kind are some hundred gigabytes, more than fits beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link(u32);

/// What a link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Entry(u32),
    Old(u32),
    Gap(u32),
    /// Before the first node, and after the last.
    End,
}

impl Link {
    pub(super) const END: Self = Self(u32::MAX);

    pub(super) const fn entry(id: u32) -> Self {
        Self(id & ID_MASK)
    }

    pub(super) const fn old(id: u32) -> Self {
        Self((id & ID_MASK) | 1 << KIND_SHIFT)
    }

    pub(super) const fn gap(id: u32) -> Self {
        Self((id & ID_MASK) | 2 << KIND_SHIFT)
    }

    pub(super) const fn node(self) -> Node {
        let id = self.0 & ID_MASK;
        match self.0 >> KIND_SHIFT {
            0 => Node::Entry(id),
            1 => Node::Old(id),
            2 => Node::Gap(id),
            _ => Node::End,
        }
    }
}

/// A node's neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Links {
    prev: Link,
    next: Link,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            prev: Link::END,
            next: Link::END,
        }
    }
}

/// A superseded version: what a key was in `[seq, until)`. Lives as long as a pin covers it.
#[derive(Clone)]
pub(super) struct OldNode<V> {
    pub(super) links: Links,
    /// It is still in the list, at its old place, for a pass that has not come by yet.
    pub(super) in_list: bool,
    /// Whose version it is.
    pub(super) entry: u32,
    pub(super) seq: u64,
    pub(super) until: u64,
    pub(super) birth: Birth,
    pub(super) state: OldState<V>,
    /// The bytes that it is charged with.
    pub(super) cost: u64,
    /// The position of the pin that pays, or of the passes' end that a tombstone is kept for;
    /// where there is none any more, it is an orphan.
    pub(super) owner: u64,
    /// The next version that the same pin owns, or tombstone kept for the same passes.
    pub(super) next_owned: Option<u32>,
}

#[derive(Clone, Default)]
pub(super) enum OldState<V> {
    /// A free place in the slab.
    #[default]
    Vacant,
    Value(V),
    Deleted {
        inferred: bool,
    },
}

impl<V> Default for OldNode<V> {
    fn default() -> Self {
        Self {
            links: Links::default(),
            in_list: false,
            entry: 0,
            seq: 0,
            until: 0,
            birth: Birth::default(),
            state: OldState::Vacant,
            cost: 0,
            owner: 0,
            next_owned: None,
        }
    }
}

/// A place between two nodes, for pins and cursors to rest at.
///
/// All that rest between the same two nodes share one gap: when the node between two gaps leaves,
/// the lighter gap is merged into the heavier one, as in a union-find forest. Otherwise every pass
/// would have to step over the pins of all subscribers that fell asleep while one hot key changed.
#[derive(Clone, Default)]
pub(super) struct GapNode {
    links: Links,
    /// The gap that this one was merged into; only a gap without one is in the list.
    parent: Option<u32>,
    /// Pins and cursors that name this gap, and gaps that were merged into it.
    refs: u32,
    weight: u32,
}

/// All nodes, and the list through them.
#[derive(Clone)]
pub(super) struct Nodes<K, V> {
    pub(super) entries: Entries<K, V>,
    pub(super) olds: Slab<OldNode<V>>,
    pub(super) gaps: Slab<GapNode>,
    first: Link,
    last: Link,
}

impl<K, V> Nodes<K, V> {
    /// All nodes, in the order of their sequence numbers.
    pub(super) fn walk(&self) -> impl Iterator<Item = Node> {
        let mut at = Link::END;
        core::iter::from_fn(move || {
            at = self.next(at);
            (at != Link::END).then_some(at.node())
        })
    }

    /// The entries that are live, in the same order.
    pub(super) fn live_ids(&self) -> impl Iterator<Item = u32> {
        self.walk().filter_map(|node| match node {
            Node::Entry(id) => self.entries.is_live(id).then_some(id),
            Node::Old(_) | Node::Gap(_) | Node::End => None,
        })
    }

    pub(super) const fn new() -> Self {
        Self {
            entries: Entries::new(),
            olds: Slab::new(),
            gaps: Slab::new(),
            first: Link::END,
            last: Link::END,
        }
    }

    fn links(&self, link: Link) -> Links {
        match link.node() {
            Node::Entry(id) => self.entries.links(id),
            Node::Old(id) => self.olds[id].links,
            Node::Gap(id) => self.gaps[id].links,
            Node::End => Links {
                prev: self.last,
                next: self.first,
            },
        }
    }

    fn set_links(&mut self, link: Link, links: Links) {
        match link.node() {
            Node::Entry(id) => *self.entries.links_mut(id) = links,
            Node::Old(id) => self.olds[id].links = links,
            Node::Gap(id) => self.gaps[id].links = links,
            Node::End => (self.last, self.first) = (links.prev, links.next),
        }
    }

    fn set_prev(&mut self, link: Link, prev: Link) {
        match link.node() {
            Node::Entry(id) => self.entries.links_mut(id).prev = prev,
            Node::Old(id) => self.olds[id].links.prev = prev,
            Node::Gap(id) => self.gaps[id].links.prev = prev,
            Node::End => self.last = prev,
        }
    }

    fn set_next(&mut self, link: Link, next: Link) {
        match link.node() {
            Node::Entry(id) => self.entries.links_mut(id).next = next,
            Node::Old(id) => self.olds[id].links.next = next,
            Node::Gap(id) => self.gaps[id].links.next = next,
            Node::End => self.first = next,
        }
    }

    fn join(&mut self, prev: Link, next: Link) {
        self.set_next(prev, next);
        self.set_prev(next, prev);
    }

    /// The node after `link`; the first node after [`Link::END`].
    #[inline(always)]
    pub(super) fn next(&self, link: Link) -> Link {
        if let Node::Entry(id) = link.node() {
            return self.entries.links(id).next;
        }
        self.links(link).next
    }

    /// The node before `link`; the last node before [`Link::END`].
    pub(super) fn prev(&self, link: Link) -> Link {
        self.links(link).prev
    }

    /// Puts a node that is not in the list behind `anchor`.
    pub(super) fn insert_after(&mut self, anchor: Link, link: Link) {
        let next = self.next(anchor);
        self.join(anchor, link);
        self.join(link, next);
    }

    pub(super) fn push_last(&mut self, link: Link) {
        let prev = core::mem::replace(&mut self.last, link);
        let next = Link::END;
        self.set_links(link, Links { prev, next });
        self.set_next(prev, link);
    }

    pub(super) fn move_to_last(&mut self, link: Link) {
        if self.last != link {
            self.unlink(link);
            self.push_last(link);
        }
    }

    /// Looks at an entry and at its neighbours, as moving it does. The answer has no meaning, and
    /// cannot be had without that.
    pub(super) fn touch(&self, id: u32, value: impl Fn(&V) -> usize) -> usize
    where
        K: Key,
    {
        let Links { prev, next } = self.entries.links(id);
        let neighbours = self.next(prev).0 ^ self.prev(next).0;
        self.entries.touch(id, value) ^ neighbours as usize
    }

    /// Takes an entry or a superseded version out of the list.
    pub(super) fn unlink(&mut self, link: Link) {
        let Links { prev, next } = self.links(link);
        self.join(prev, next);
        if let (Node::Gap(a), Node::Gap(b)) = (prev.node(), next.node()) {
            self.merge(a, b);
        }
    }

    fn merge(&mut self, a: u32, b: u32) {
        let (root, child) = if self.gaps[a].weight >= self.gaps[b].weight {
            (a, b)
        } else {
            (b, a)
        };
        let Links { prev, next } = self.gaps[child].links;
        self.join(prev, next);
        let weight = self.gaps[child].weight;
        self.gaps[child].parent = Some(root);
        let root = &mut self.gaps[root];
        root.refs += 1;
        root.weight = root.weight.saturating_add(weight);
    }

    /// A gap right behind `anchor`, for one more pin or cursor to name.
    pub(super) fn gap_after(&mut self, anchor: Link) -> u32 {
        let next = self.next(anchor);
        let gap = match (anchor.node(), next.node()) {
            (Node::Gap(id), _) | (_, Node::Gap(id)) => id,
            _ => {
                let id = self.gaps.insert(GapNode {
                    weight: 1,
                    ..GapNode::default()
                });
                self.insert_after(anchor, Link::gap(id));
                id
            }
        };
        self.gaps[gap].refs += 1;
        gap
    }

    pub(super) fn gap_at_end(&mut self) -> u32 {
        self.gap_after(self.last)
    }

    /// Where in the list a gap is by now.
    pub(super) fn gap_link(&self, mut gap: u32) -> Link {
        while let Some(parent) = self.gaps[gap].parent {
            gap = parent;
        }
        Link::gap(gap)
    }

    /// One pin or cursor names this gap no more.
    pub(super) fn leave_gap(&mut self, gap: u32) {
        let mut left = Some(gap);
        while let Some(gap) = left {
            let node = &mut self.gaps[gap];
            node.refs -= 1;
            if node.refs > 0 {
                return;
            }
            let node = self.gaps.remove(gap);
            if node.parent.is_none() {
                // Its neighbours are no gaps, so there is nothing to merge.
                self.join(node.links.prev, node.links.next);
            }
            left = node.parent;
        }
    }
}
