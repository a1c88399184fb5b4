//! The keys whose newest version was rejected.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::output::Rejection;

/// Which keys are quarantined, and why. Bounded (P8): beyond the limit keys are only counted.
#[derive(Clone, Debug)]
pub(crate) struct Quarantine<K> {
    keys: BTreeMap<K, Rejected>,
    limit: usize,
    /// Rejections beyond the limit since the last list was taken.
    overflow: usize,
    /// Of these, the ones since the running list was started: they may be newer than it.
    recent: usize,
    /// The number of the newest list that was taken: what it did not reject again is released.
    list: u64,
}

#[derive(Clone, Debug)]
struct Rejected {
    error: Rejection,
    list: u64,
}

impl<K: Ord + Clone> Quarantine<K> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            keys: BTreeMap::new(),
            limit,
            overflow: 0,
            recent: 0,
            list: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.overflow == 0
    }

    /// Whether any quarantined key is known by name.
    pub(crate) fn names_any(&self) -> bool {
        !self.keys.is_empty()
    }

    pub(crate) fn count(&self) -> usize {
        self.keys.len().saturating_add(self.overflow)
    }

    /// How many were rejected beyond those that can be named.
    #[cfg(feature = "snapshot")]
    pub(crate) fn unnamed(&self) -> usize {
        self.overflow
    }

    /// What was quarantined in the run before. Of what cannot be named, nobody knows whether a
    /// list that has begun makes it good again; none has.
    #[cfg(feature = "snapshot")]
    pub(crate) fn restore(&mut self, named: Vec<(K, Rejection)>, unnamed: usize) {
        for (key, error) in named {
            self.reject(key, error);
        }
        self.overflow = self.overflow.saturating_add(unnamed);
        self.recent = 0;
    }

    #[cfg(feature = "simulated")]
    pub(crate) fn recent(&self) -> usize {
        self.recent
    }

    pub(crate) fn report(&self) -> Vec<(K, Rejection)> {
        self.keys
            .iter()
            .map(|(key, rejected)| (key.clone(), rejected.error.clone()))
            .collect()
    }

    pub(crate) fn reject(&mut self, key: K, error: Rejection) {
        if self.keys.len() >= self.limit && !self.keys.contains_key(&key) {
            self.overflow = self.overflow.saturating_add(1);
            self.recent = self.recent.saturating_add(1);
            return;
        }
        self.keys.insert(
            key,
            Rejected {
                error,
                list: self.list,
            },
        );
    }

    /// A good version of the key came, or it was deleted. True if it was quarantined.
    pub(crate) fn release(&mut self, key: &K) -> bool {
        self.keys.remove(key).is_some()
    }

    /// A list is started.
    pub(crate) fn start_list(&mut self) {
        self.recent = 0;
    }

    /// A complete list is about to be taken. True: there are rejections without a name that may be
    /// newer than it, or not.
    pub(crate) fn begin_list(&mut self) -> bool {
        self.list = self.list.saturating_add(1);
        self.overflow = self.recent;
        self.recent > 0
    }

    /// A complete list was taken: releases what it did not reject again, unless `spare` says that
    /// the rejection is newer than the list.
    pub(crate) fn end_list(&mut self, spare: impl Fn(&K) -> bool) -> Vec<K> {
        let list = self.list;
        let released: Vec<_> = self
            .keys
            .iter()
            .filter(|(key, rejected)| rejected.list != list && !spare(key))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &released {
            self.keys.remove(key);
        }
        released
    }
}
