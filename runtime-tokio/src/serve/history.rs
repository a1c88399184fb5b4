//! The bounded history of transactions: what watches stream from, and what turns the present
//! state back into that of an earlier revision.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::json;
use super::object::Step;

/// What a line and the bookkeeping of a step take beside its key and values, roughly, in bytes.
const STEP_OVERHEAD: usize = 256;

/// One committed transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) revision: u64,
    /// The collection's digest after it.
    pub(super) digest: u64,
    pub(super) steps: Vec<Step>,
    /// An upper estimate of what it keeps in memory.
    pub(super) bytes: usize,
    /// Encoded when the first watcher needs it, then shared by all.
    lines: OnceLock<Bytes>,
}

impl Transaction {
    pub(super) fn new(revision: u64, digest: u64, steps: Vec<Step>) -> Self {
        let bytes = steps.iter().map(kept_bytes).fold(0, usize::saturating_add);
        Self {
            revision,
            digest,
            steps,
            bytes,
            lines: OnceLock::new(),
        }
    }

    /// The transaction as lines of JSON, each closed by a line break.
    pub(super) fn lines(&self) -> Bytes {
        self.lines.get_or_init(|| self.encode()).clone()
    }

    fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            // A delete carries the last value, and its own revision as the version.
            let (kind, object) = match step {
                Step::Added { after } => ("ADDED", after),
                Step::Modified { after, .. } => ("MODIFIED", after),
                Step::Deleted { before } => ("DELETED", before),
            };
            out.push(b'{');
            json::field(&mut out, "type", kind);
            json::counter(&mut out, "revision", self.revision);
            json::counter(&mut out, "previous", self.revision.saturating_sub(1));
            object.write_fields(self.revision, index + 1 == self.steps.len(), &mut out);
            out.extend(b"}\n");
        }
        out.into()
    }
}

/// What a step keeps in memory: its line, and both its values, although neighbours in the history
/// often share one.
fn kept_bytes(step: &Step) -> usize {
    let before = step.before().map_or(0, |object| object.bytes());
    let after = step.after().map_or(0, |object| object.bytes());
    let line = if step.after().is_some() {
        after
    } else {
        before
    };
    [before, after, line]
        .into_iter()
        .fold(STEP_OVERHEAD, usize::saturating_add)
}

/// The newest transactions, oldest first and without gaps, within two bounds.
#[derive(Debug)]
pub(super) struct History {
    transactions: VecDeque<Arc<Transaction>>,
    /// The oldest revision that can be resumed from: that before the first transaction kept.
    base: u64,
    base_digest: u64,
    bytes: usize,
    max_transactions: usize,
    max_bytes: usize,
}

/// The revision lies outside of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forgotten;

impl History {
    /// An empty history after `revision`.
    pub(super) fn new(
        revision: u64,
        digest: u64,
        max_transactions: usize,
        max_bytes: usize,
    ) -> Self {
        Self {
            transactions: VecDeque::new(),
            base: revision,
            base_digest: digest,
            bytes: 0,
            max_transactions,
            max_bytes,
        }
    }

    /// The oldest revision that can be resumed from.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Appends the next transaction, and returns those that had to make room, so that they can be
    /// dropped outside of the lock.
    #[must_use]
    pub(super) fn push(&mut self, transaction: Arc<Transaction>) -> Vec<Arc<Transaction>> {
        debug_assert!(
            self.transactions
                .back()
                .map_or(self.base, |last| last.revision)
                .checked_add(1)
                .is_some_and(|next| next == transaction.revision),
            "revisions have no gaps"
        );
        self.bytes = self.bytes.saturating_add(transaction.bytes);
        self.transactions.push_back(transaction);
        let mut dropped = Vec::new();
        while self.transactions.len() > self.max_transactions
            || (self.bytes > self.max_bytes && self.transactions.len() > 1)
        {
            dropped.extend(self.pop());
        }
        dropped
    }

    /// Forgets everything up to and including `revision`.
    #[must_use]
    pub(super) fn compact(&mut self, revision: u64) -> Vec<Arc<Transaction>> {
        let mut dropped = Vec::new();
        while self.base < revision && !self.transactions.is_empty() {
            dropped.extend(self.pop());
        }
        dropped
    }

    fn pop(&mut self) -> Option<Arc<Transaction>> {
        let oldest = self.transactions.pop_front()?;
        self.base = oldest.revision;
        self.base_digest = oldest.digest;
        self.bytes = self.bytes.saturating_sub(oldest.bytes);
        Some(oldest)
    }

    /// The transactions after `revision`, oldest first.
    pub(super) fn after(
        &self,
        revision: u64,
    ) -> Result<impl DoubleEndedIterator<Item = &Arc<Transaction>>, Forgotten> {
        let skipped = revision.checked_sub(self.base).ok_or(Forgotten)?;
        let skipped = usize::try_from(skipped).map_err(|_| Forgotten)?;
        if skipped > self.transactions.len() {
            return Err(Forgotten);
        }
        Ok(self.transactions.range(skipped..))
    }

    /// The collection's digest at `revision`.
    pub(super) fn digest_at(&self, revision: u64) -> Result<u64, Forgotten> {
        let skipped = revision.checked_sub(self.base).ok_or(Forgotten)?;
        let Some(index) = skipped.checked_sub(1) else {
            return Ok(self.base_digest);
        };
        let index = usize::try_from(index).map_err(|_| Forgotten)?;
        self.transactions
            .get(index)
            .map(|at| at.digest)
            .ok_or(Forgotten)
    }
}
