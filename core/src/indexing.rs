//! Indexes and the order of the keys: how they come and go. What they are is in [`crate::index`].

use alloc::sync::Arc;
use core::hash::BuildHasher;

use crate::index::{IndexBy, IndexId, KeyOrderId, Terms};
use crate::informer::Informer;
use crate::key::Key;
use crate::output::Notice;
use crate::probe::reach;

impl<K: Key, V: Clone, S: BuildHasher + Clone> Informer<K, V, S> {
    /// Adds an index of what is in the cache and of what comes, which the cache's lookups name by
    /// its id. Takes time by what is there. Of an object with more terms than
    /// [`Limits::index_terms`](crate::Limits::index_terms) the first ones count, and
    /// [`Notice::TermsCut`] says so.
    #[must_use = "nothing is found, nor removed, without the id"]
    pub fn add_index(&mut self, by: IndexBy<K, V>) -> IndexId {
        reach!("index added while a list runs", self.list.is_some());
        let by = by.at_most(self.config.limits.index_terms);
        let name = Arc::clone(by.shared_name());
        let notices = &mut self.notices;
        self.cache.add_index(by, |key, terms| {
            notices.push(Notice::TermsCut {
                index: Arc::clone(&name),
                key: key.clone(),
                terms,
            });
        })
    }

    /// Adds an index by a function, whose types the compiler knows here: as
    /// [`add_index`](Self::add_index) of an [`IndexBy::new`].
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use reflet_core::{Config, Informer, Timestamp};
    /// # struct Pod { node: String }
    /// # let mut informer: Informer<Arc<str>, Arc<Pod>> = Informer::new(Config::default(), 42, Timestamp::ZERO);
    /// let by_node = informer.add_index_by("node", |_, pod, terms| terms.add(&pod.node));
    /// assert_eq!(informer.cache().count_by(by_node, "n1"), 0);
    /// ```
    #[must_use = "nothing is found, nor removed, without the id"]
    pub fn add_index_by(
        &mut self,
        name: impl Into<Arc<str>>,
        terms_of: impl Fn(&K::Borrowed, &V, &mut Terms) + Send + Sync + 'static,
    ) -> IndexId {
        self.add_index(IndexBy::new(name, terms_of))
    }

    /// Removes an index: nothing is found by it any more. False if there is no such index.
    pub fn remove_index(&mut self, id: IndexId) -> bool {
        self.cache.remove_index(id)
    }

    /// Keeps the order of the cache's keys from now on, for walks in order, by prefix and by range.
    /// Takes time by what is there. All who ask for it share one, which is kept until the last has
    /// called [`remove_key_order`](Self::remove_key_order).
    #[must_use = "nothing is found, nor removed, without the id"]
    pub fn add_key_order(&mut self) -> KeyOrderId {
        self.cache.add_key_order()
    }

    /// Gives a share in the order of the keys back. False if there is no such share.
    pub fn remove_key_order(&mut self, id: KeyOrderId) -> bool {
        self.cache.remove_key_order(id)
    }
}
