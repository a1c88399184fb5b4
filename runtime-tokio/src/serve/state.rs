//! What is behind a collection's lock.

use std::sync::Arc;

use super::error::OpenError;
use super::history::{Forgotten, History, Transaction};
use super::options::CollectionOptions;
use super::page::Objects;
use super::write::share;

/// Where a collection is: in every response's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) epoch: Arc<str>,
    pub(super) revision: u64,
}

/// A collection's state.
#[derive(Debug)]
pub(super) struct State {
    pub(super) epoch: Arc<str>,
    /// How often the collection was restored: a watcher of an earlier life must end, also when
    /// the epoch is the same.
    pub(super) life: u64,
    pub(super) revision: u64,
    pub(super) objects: Objects,
    /// Bytes of keys and values of the objects.
    pub(super) bytes: usize,
    pub(super) digest: u64,
    pub(super) history: History,
    pub(super) closed: bool,
}

/// What a watcher finds when it looks ahead of where it is.
pub(super) enum Ahead {
    /// The next transactions, oldest first; never empty.
    News(Vec<Arc<Transaction>>),
    /// It has seen everything; the digest of that.
    Nothing {
        digest: u64,
    },
    Forgotten,
    Restored,
    Closed,
}

/// Where a watcher is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) life: u64,
    pub(super) revision: u64,
}

/// How much a watcher takes at a time; at least one transaction, and never a part of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portion {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

impl State {
    /// A state without history.
    pub(super) fn new(
        epoch: Arc<str>,
        life: u64,
        revision: u64,
        objects: Objects,
        options: &CollectionOptions,
    ) -> Self {
        let digest = objects.values().map(share).fold(0, u64::wrapping_add);
        let bytes = objects
            .values()
            .map(|o| o.bytes())
            .fold(0, usize::saturating_add);
        let transactions = options.history_transactions.max(1);
        let history = History::new(revision, digest, transactions, options.history_bytes);
        Self {
            epoch,
            life,
            revision,
            objects,
            bytes,
            digest,
            history,
            closed: false,
        }
    }

    pub(super) fn head(&self) -> Head {
        Head {
            epoch: Arc::clone(&self.epoch),
            revision: self.revision,
        }
    }

    /// Makes a planned transaction visible; returns what the history forgets for it.
    #[must_use]
    pub(super) fn publish(&mut self, transaction: Arc<Transaction>) -> Vec<Arc<Transaction>> {
        for step in &transaction.steps {
            if let Some(old) = step.before() {
                self.bytes = self.bytes.saturating_sub(old.bytes());
            }
            match step.after() {
                Some(new) => {
                    self.bytes = self.bytes.saturating_add(new.bytes());
                    self.objects.insert(Arc::clone(&new.key), Arc::clone(new));
                }
                None => {
                    self.objects.remove(step.key());
                }
            }
        }
        self.revision = transaction.revision;
        self.digest = transaction.digest;
        self.history.push(transaction)
    }

    /// What comes after `position`.
    pub(super) fn ahead(&self, position: Position, portion: Portion) -> Ahead {
        if self.closed {
            return Ahead::Closed;
        }
        if position.life != self.life {
            return Ahead::Restored;
        }
        let transactions = match self.history.after(position.revision) {
            Ok(transactions) => transactions,
            Err(Forgotten) => return Ahead::Forgotten,
        };
        let (mut events, mut bytes) = (0usize, 0usize);
        let fits = |transaction: &&Arc<Transaction>| {
            let first = events == 0;
            events = events.saturating_add(transaction.steps.len());
            bytes = bytes.saturating_add(transaction.bytes);
            first || (events <= portion.events && bytes <= portion.bytes)
        };
        let news: Vec<_> = transactions.take_while(fits).map(Arc::clone).collect();
        if news.is_empty() {
            Ahead::Nothing {
                digest: self.digest,
            }
        } else {
            Ahead::News(news)
        }
    }
}

/// A random epoch of 128 bits, as hex digits.
pub(super) fn fresh_epoch() -> Result<Arc<str>, OpenError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| OpenError::Entropy {
        message: error.to_string(),
    })?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)).into())
}
