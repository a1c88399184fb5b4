//! One unbroken history of transactions.

use std::collections::BTreeMap;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

/// What is wrong with an object's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Poison {
    /// Nothing.
    None,
    /// Its payload cannot be decoded.
    Payload,
    /// Not even its key can be read.
    Key,
}

/// One object as the source has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its version.
    pub version: u64,
    /// What tells it from another object that had its key.
    pub uid: u64,
    /// Its content: the number of the write that made it, unique in the world.
    pub write: u64,
    /// What is wrong with it.
    pub poison: Poison,
}

impl Object {
    /// Its content as one number, which tells the incarnation too.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.uid << 32 | self.write
    }
}

/// A whole state, by key; persistent, so that each transaction can keep its own.
pub type State = OrdMap<u32, Object>;

/// What one transaction did to a key: what it was, and became.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The key.
    pub key: u32,
    /// What it was.
    pub before: Option<Object>,
    /// What it became.
    pub after: Option<Object>,
}

/// One transaction.
#[derive(Clone, Debug)]
pub struct Tx {
    /// Its revision.
    pub revision: u64,
    /// The revision of the transaction before it.
    pub previous: u64,
    /// What it changed, by key.
    pub changes: BTreeMap<u32, Change>,
    /// The state after it.
    pub state: State,
    /// The digest of that state.
    pub digest: u64,
}

impl Tx {
    pub(super) fn delete(&mut self, key: u32) {
        let before = self.before(key);
        self.state.remove(&key);
        self.note(key, before, None);
    }

    pub(super) fn put(&mut self, key: u32, write: u64, uids: bool, poison: Poison) {
        let before = self.before(key);
        let object = Object {
            version: match before {
                _ if !uids => self.revision,
                Some(object) => object.version + 1,
                None => 1,
            },
            uid: before.map_or(write, |object| object.uid),
            write,
            poison,
        };
        self.state.insert(key, object);
        self.note(key, before, Some(object));
    }

    /// What a key was before this transaction.
    fn before(&self, key: u32) -> Option<Object> {
        match self.changes.get(&key) {
            Some(change) => change.before,
            None => self.state.get(&key).copied(),
        }
    }

    fn note(&mut self, key: u32, before: Option<Object>, after: Option<Object>) {
        let change = Change { key, before, after };
        self.changes.insert(key, change);
    }
}

/// One unbroken history.
#[derive(Clone, Debug)]
pub struct History {
    /// Its transactions that can still be asked about, by revision; the first one is the base.
    pub txs: Vec<Tx>,
    /// The newest revision; it also grows by what happens in other collections.
    pub head: u64,
    /// What a watch can no longer start before.
    pub compacted: u64,
    /// How many of its transactions it has from the history before it.
    pub inherited: usize,
}

impl History {
    pub(super) fn new() -> Self {
        let base = Tx {
            revision: 1,
            previous: 0,
            changes: BTreeMap::new(),
            state: State::new(),
            digest: 0,
        };
        Self {
            txs: vec![base],
            head: 1,
            compacted: 1,
            inherited: 0,
        }
    }

    /// The newest transaction.
    #[must_use]
    pub fn last(&self) -> &Tx {
        &self.txs[self.txs.len() - 1]
    }

    /// How many transactions there are up to a revision.
    #[must_use]
    pub fn until(&self, revision: u64) -> usize {
        self.txs.partition_point(|tx| tx.revision <= revision)
    }

    /// The newest transaction up to a revision.
    #[must_use]
    pub fn at(&self, revision: u64) -> &Tx {
        &self.txs[self.until(revision).max(1) - 1]
    }

    pub(super) fn begin(&self, step: u64) -> Tx {
        let last = self.last();
        Tx {
            revision: self.head + step,
            previous: last.revision,
            changes: BTreeMap::new(),
            state: last.state.clone(),
            digest: last.digest,
        }
    }

    /// The transaction becomes part of history, if it changed anything.
    pub(super) fn commit(&mut self, mut tx: Tx) -> u64 {
        tx.changes
            .retain(|_, change| change.before.is_some() || change.after.is_some());
        for change in tx.changes.values() {
            let share = |object: Option<Object>| {
                object.map_or(0, |object| share(change.key, object.version))
            };
            tx.digest = tx
                .digest
                .wrapping_sub(share(change.before))
                .wrapping_add(share(change.after));
        }
        self.head = tx.revision;
        let changed = tx.changes.len() as u64;
        if changed > 0 {
            self.txs.push(tx);
        }
        changed
    }

    pub(super) fn compact(&mut self, keep: usize) {
        let kept = self.txs.len().saturating_sub(keep.max(1));
        let upto = if keep == 0 {
            self.head
        } else {
            self.txs[kept].revision
        };
        self.compacted = self.compacted.max(upto);
    }

    /// This history as it was `back` transactions ago.
    pub(super) fn restored(&self, back: usize) -> Self {
        let mut history = self.clone();
        history
            .txs
            .truncate(history.txs.len().saturating_sub(back).max(1));
        history.head = history.last().revision;
        history.inherited = history.txs.len();
        history.compacted = history.compacted.min(history.head);
        history
    }
}

/// One object's share of the digest, as the protocol defines it: FNV-1a of the key, 0xff and the
/// version's text, mixed by splitmix64's finalizer.
#[must_use]
pub fn share(key: u32, version: u64) -> u64 {
    let text = format!("k{key:05}\u{0}{version}");
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        let byte = if byte == 0 { 0xff } else { byte };
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let z = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
