//! What must hold between publications, checked by walking all of it.

use super::address::Address;
use super::locked::read;
use super::{Store, Writer};
use crate::sync::{Ordering, SHARDS};

impl<V: Clone + PartialEq + std::fmt::Debug> Writer<V> {
    /// Panics unless both sides are the same, and whatever is kept is kept for somebody.
    pub(crate) fn check(&self) {
        let mut kept: Vec<_> = self.owned.values().flatten().chain(&self.orphans).collect();
        kept.sort_by_key(|record| (record.address.shard(), record.address.local(), record.until));
        let kept: Vec<_> = kept
            .iter()
            .map(|record| (record.address.shard(), record.address.local(), record.until))
            .collect();
        let (mut found, mut live) = (Vec::new(), 0);
        for shard in 0..SHARDS {
            let sides = [0, 1].map(|side| read(self.store.side(side), shard));
            if self.late.is_empty() {
                assert_eq!(
                    sides[0].contents(),
                    sides[1].contents(),
                    "both sides are the same"
                );
            }
            let (slots, records) = sides[(self.flip & 1) as usize].contents();
            found.extend(
                records
                    .iter()
                    .map(|((local, until), _)| (shard, *local, *until)),
            );
            for (local, key, value) in slots {
                live += usize::from(value.is_some());
                let address = Address::new(shard, local);
                let waits = self.gone.contains(&address)
                    || records.iter().any(|((other, _), _)| *other == local);
                assert!(value.is_some() || waits, "{key} is kept for nobody");
            }
        }
        assert_eq!(found, kept, "each record is kept for one pin");
        assert_eq!(live, self.len);
    }

    /// Panics if anything is kept for somebody who looks at the past.
    pub(crate) fn assert_settled(&self) {
        self.check();
        assert_eq!(
            (self.owned.len(), self.orphans.len(), self.gone.len()),
            (0, 0, 0)
        );
        let places: usize = self.ledgers.iter().map(|ledger| ledger.hashes.len()).sum();
        let free: usize = self.ledgers.iter().map(|ledger| ledger.free.len()).sum();
        assert_eq!(
            places - free - self.freed.len(),
            self.len,
            "no place is lost"
        );
    }

    /// How many places there are, used or not.
    pub(crate) fn places(&self) -> usize {
        self.ledgers.iter().map(|ledger| ledger.hashes.len()).sum()
    }

    /// How many records there are.
    pub(crate) fn records(&self) -> usize {
        let shards = (0..SHARDS).map(|shard| read(self.store.side(self.flip), shard).contents().1);
        shards.map(|records| records.len()).sum()
    }
}

impl<V> Store<V> {
    /// How many pins that are gone the writer has not heard of yet.
    pub(crate) fn unheard(&self) -> usize {
        self.pins().unheard()
    }

    /// Somebody who stays in every shard of the live side.
    pub(crate) fn linger(&self) -> impl Sized {
        let live = self.side(self.flip.0.load(Ordering::Acquire));
        (0..SHARDS)
            .map(|shard| read(live, shard))
            .collect::<Vec<_>>()
    }
}
