//! Indexes: what is found by them is compared with a scan of the cache, whenever that has changed.

use std::sync::Arc;

use reflet_core::cache::{Cache, Entry};
use reflet_core::index::{Index, IndexBy, IndexId, KeyOrderId};
use reflet_core::probe;

use super::Run;
use crate::oracles::{Checked, Followed, Promise, check_found, check_order};
use crate::story::Kind;
use crate::trace::By;

type Objects = Cache<Arc<str>, u64>;

/// No more indexes than that, and no more shares in the order of the keys.
const MOST: usize = 6;

/// The indexes that there are, and those that there were.
#[derive(Default)]
pub(super) struct Lookups {
    indexes: Vec<(By, IndexId)>,
    orders: Vec<KeyOrderId>,
    removed: Vec<IndexId>,
    given_back: Vec<KeyOrderId>,
    /// How many changes the cache had seen when all was compared.
    checked: Option<u64>,
}

impl By {
    /// The numbers of the terms that an object is found under.
    fn terms(self, key: &str, value: u64, mut add: impl FnMut(u16)) {
        let write = u16::try_from(value & 0xfff).unwrap_or(0);
        match self {
            Self::Key => add(number(key)),
            Self::Content => add(write % 3),
            Self::Several => {
                let bits = (0..3).filter(|bit| write >> bit & 1 == 1);
                let again = write.is_multiple_of(2).then_some(2).into_iter();
                bits.clone().chain(again).for_each(&mut add);
                if write.is_multiple_of(4) {
                    bits.for_each(add);
                }
            }
            Self::Nothing => {}
            Self::Many if write.is_multiple_of(4) => {}
            Self::Many => (0..20).for_each(|i| add((write + i) % 24)),
            Self::Owner => add(write % 5),
        }
    }

    /// A term by its number; the order is the same.
    fn term(self, number: u16) -> Vec<u8> {
        match self {
            Self::Owner => owner(number).into_bytes(),
            Self::Key | Self::Content | Self::Several | Self::Nothing | Self::Many => {
                number.to_be_bytes().to_vec()
            }
        }
    }

    fn index(self) -> IndexBy<Arc<str>, u64> {
        if self == Self::Owner {
            return IndexBy::owners(|value: &u64, owners| {
                Self::Owner.terms("", *value, |term| owners.add(owner(term)));
            });
        }
        IndexBy::new(format!("{self:?}"), move |key: &str, value: &u64, terms| {
            self.terms(key, *value, |term| terms.add(term.to_be_bytes()));
        })
    }
}

/// A key's number.
fn number(key: &str) -> u16 {
    let digits = key.get(1..).and_then(|digits| digits.parse::<u32>().ok());
    digits.map_or(0, |number| (number & 0xffff) as u16)
}

fn owner(number: u16) -> String {
    format!("k{number:05}")
}

impl Run<'_> {
    pub(super) fn add_index(&mut self, by: By) -> Checked {
        if self.lookups.indexes.len() >= MOST {
            return Ok(());
        }
        let id = self.engine.add_index(by.index());
        self.say_of_cache(format_args!("index {id} is added, by {by:?}"));
        self.lookups.indexes.push((by, id));
        self.check_all_lookups()
    }

    pub(super) fn remove_index(&mut self, which: usize) -> Checked {
        if which >= self.lookups.indexes.len() {
            return Ok(());
        }
        let (_, id) = self.lookups.indexes.remove(which);
        self.say_of_cache(format_args!("index {id} is removed"));
        let known = self.engine.remove_index(id);
        Promise::OneRealState.require(known, || format!("there was no index {id}"))?;
        self.lookups.removed.push(id);
        self.check_all_lookups()
    }

    pub(super) fn order_keys(&mut self, wanted: bool) -> Checked {
        if wanted {
            if self.lookups.orders.len() < MOST {
                let id = self.engine.add_key_order();
                self.say_of_cache(format_args!("the order of the keys is wanted"));
                self.lookups.orders.push(id);
            }
            return self.check_all_lookups();
        }
        if self.lookups.orders.is_empty() {
            return Ok(());
        }
        let id = self.lookups.orders.remove(0);
        self.say_of_cache(format_args!("the order of the keys is wanted by one less"));
        let known = self.engine.remove_key_order(id);
        Promise::OneRealState.require(known, || format!("there was no order {id}"))?;
        self.lookups.given_back.push(id);
        self.check_all_lookups()
    }

    /// A new process has the same indexes, of whatever it begins with.
    pub(super) fn index_again(&mut self) {
        let Lookups {
            indexes, orders, ..
        } = std::mem::take(&mut self.lookups);
        for (by, _) in indexes {
            let id = self.engine.add_index(by.index());
            self.lookups.indexes.push((by, id));
        }
        if !self.engine.cache().is_empty() && !self.lookups.indexes.is_empty() {
            probe::count("index of restored objects");
        }
        for _ in orders {
            let id = self.engine.add_key_order();
            self.lookups.orders.push(id);
        }
    }

    /// What is found is what a scan finds, if the cache has changed since that was looked at.
    pub(super) fn check_lookups(&mut self) -> Checked {
        let changes = self.engine.cache().changes();
        if self.lookups.checked == Some(changes) || self.lookups.is_idle() {
            return Ok(());
        }
        if !self.is_large() {
            return self.check_all_lookups();
        }
        self.lookups.checked = Some(changes);
        self.lookups.check_some(self.engine.cache(), changes)
    }

    pub(super) fn check_all_lookups(&mut self) -> Checked {
        let cache = self.engine.cache();
        self.lookups.checked = Some(cache.changes());
        let mut order = 0;
        for (by, id) in &self.lookups.indexes {
            check_index(cache, *by, *id, &mut order)?;
        }
        self.lookups.check_both(cache)?;
        self.lookups.check_keys(cache)?;
        self.lookups.check_removed(cache)?;
        self.hash.number(order);
        Ok(())
    }

    fn say_of_cache(&mut self, words: std::fmt::Arguments<'_>) {
        let lane = self.lanes.cache;
        self.story.say(lane, Kind::Normal, words, String::new);
    }
}

/// All of one index. What is found is added to `order`, in its order (P11).
fn check_index(cache: &Objects, by: By, id: IndexId, order: &mut u64) -> Checked {
    let Some(index) = cache.index(id) else {
        return Promise::OneRealState.broken(format!("index {id}, by {by:?}, is gone"));
    };
    let mut scan = Vec::new();
    for entry in cache.iter() {
        by.terms(entry.key, *entry.value, |term| {
            scan.push((term, &**entry.key))
        });
    }
    scan.sort_unstable();
    scan.dedup();
    let mut terms = index.terms().into_iter();
    for group in scan.chunk_by(|one, other| one.0 == other.0) {
        let (number, what) = (group[0].0, || format!("{by:?} {}", group[0].0));
        let term = by.term(number);
        let (listed, truth) = (terms.next(), (&*term, group.len()));
        Promise::OneRealState.require(listed == Some(truth), || {
            format!("{} is listed as {listed:?}, not {truth:?}", what())
        })?;
        let count = cache.count_by(id, &term);
        Promise::OneRealState.require(count == group.len(), || {
            format!("{} has {count} objects, not {}", what(), group.len())
        })?;
        check_order(index.ids(&term), what)?;
        let mut found: Vec<_> = if by == By::Owner {
            keys(cache.dependents(id, &owner(number)))
        } else {
            keys(cache.by_index(id, &term))
        };
        for key in &found {
            *order = order
                .wrapping_mul(31)
                .wrapping_add(self::number(key).into());
        }
        found.sort_unstable();
        let scanned: Vec<_> = group.iter().map(|(_, key)| *key).collect();
        check_found(&found, &scanned, what)?;
    }
    let surplus = terms.next();
    Promise::OneRealState.require(surplus.is_none(), || {
        format!("{by:?} lists {surplus:?}, and no object has it")
    })?;
    let never = cache.count_by(id, "never") + cache.by_index(id, "never").count();
    Promise::OneRealState.require(never == 0, || format!("{by:?} finds what no object has"))
}

impl Lookups {
    /// Whether nothing is indexed.
    pub(super) fn is_idle(&self) -> bool {
        self.indexes.is_empty() && self.orders.is_empty()
    }

    /// What is found comes in the order of the slots that a follower has it in.
    pub(super) fn check_slots(&self, cache: &Objects, followed: &Followed) -> Checked {
        for (by, id) in &self.indexes {
            for (term, _) in cache.index(*id).map(Index::terms).unwrap_or_default() {
                let found = cache.by_index(*id, term);
                let slots = found.filter_map(|entry| followed.slot(entry.key));
                check_order(slots, || format!("what {by:?} finds, by slots,"))?;
            }
        }
        Ok(())
    }

    /// What has one term in one index and one in another: two that the object has which changed
    /// last.
    fn check_both(&self, cache: &Objects) -> Checked {
        let turn = usize::try_from(cache.changes()).unwrap_or(0);
        let Some(newest) = cache.iter().last().filter(|_| !self.indexes.is_empty()) else {
            return Ok(());
        };
        let (one, one_id) = self.indexes[turn % self.indexes.len()];
        let (other, other_id) = self.indexes[turn / 7 % self.indexes.len()];
        let (Some(this), Some(that)) = (any_term(one, &newest, 0), any_term(other, &newest, turn))
        else {
            return Ok(());
        };
        let found = cache.by_both((one_id, one.term(this)), (other_id, other.term(that)));
        let mut found = keys(found);
        found.sort_unstable();
        let scanned = scan(cache, |entry| {
            has(one, entry, this) && has(other, entry, that)
        });
        check_found(&found, &scanned, || {
            format!("{one:?} {this} and {other:?} {that}")
        })
    }

    /// The keys, in their order.
    fn check_keys(&self, cache: &Objects) -> Checked {
        let Some(id) = self.orders.last().copied() else {
            return Ok(());
        };
        let all = scan(cache, |_| true);
        check_found(&keys(cache.iter_by_key(id)), &all, || "a walk".to_owned())?;
        let back: Vec<_> = all.iter().rev().copied().collect();
        let walk = keys(cache.iter_by_key(id).rev());
        check_found(&walk, &back, || "a walk back".to_owned())?;
        let (low, high) = (all.len() / 3, all.len() * 2 / 3);
        if let (Some(first), Some(last)) = (all.get(low), all.get(high)) {
            let range = keys(cache.range(id, *first..*last));
            check_found(&range, &all[low..high], || format!("{first}..{last}"))?;
            let backwards = keys(cache.range(id, *last..*first));
            check_found(&backwards, &[], || format!("{last}..{first}"))?;
        }
        check_prefix(cache, id, "k0000")?;
        check_prefix(cache, id, "k00001")
    }

    /// Nothing is found by what was removed.
    fn check_removed(&self, cache: &Objects) -> Checked {
        for id in &self.removed {
            let found = cache.index(*id).is_some() || cache.count_by(*id, 0_u16.to_be_bytes()) > 0;
            Promise::OneRealState.require(!found, || format!("index {id} was removed"))?;
        }
        for id in &self.given_back {
            let found = cache.iter_by_key(*id).next().is_some();
            Promise::OneRealState.require(!found, || format!("order {id} was given back"))?;
        }
        Ok(())
    }

    /// In a large world one index in turn, and only what the object is found under that changed
    /// last.
    fn check_some(&self, cache: &Objects, changes: u64) -> Checked {
        let turn = usize::try_from(changes).unwrap_or(0);
        if let Some(id) = self.orders.last().copied() {
            let block = turn / 10 % 100;
            check_prefix(cache, id, &format!("k{block:03}"))?;
        }
        let newest = cache.iter().last();
        let Some(newest) = newest.filter(|_| !self.indexes.is_empty()) else {
            return Ok(());
        };
        let (by, id) = self.indexes[turn % self.indexes.len()];
        let Some(number) = any_term(by, &newest, turn) else {
            return Ok(());
        };
        let (term, what) = (by.term(number), || format!("{by:?} {number}"));
        let mut found = keys(cache.by_index(id, &term));
        found.sort_unstable();
        let scanned = scan(cache, |entry| has(by, entry, number));
        let count = cache.count_by(id, &term);
        Promise::OneRealState.require(count == scanned.len(), || {
            format!("{} has {count} objects, not {}", what(), scanned.len())
        })?;
        check_found(&found, &scanned, what)
    }
}

fn check_prefix(cache: &Objects, id: KeyOrderId, prefix: &str) -> Checked {
    let scanned = scan(cache, |entry| entry.key.starts_with(prefix));
    let found = keys(cache.prefix(id, prefix.as_bytes()));
    check_found(&found, &scanned, || format!("the prefix {prefix}"))
}

fn keys<'a>(found: impl Iterator<Item = Entry<'a, Arc<str>, u64>>) -> Vec<&'a str> {
    found.map(|entry| &**entry.key).collect()
}

/// The keys of some objects, in order.
fn scan(cache: &Objects, mut which: impl FnMut(&Entry<'_, Arc<str>, u64>) -> bool) -> Vec<&str> {
    let mut keys = keys(cache.iter().filter(|entry| which(entry)));
    keys.sort_unstable();
    keys
}

fn has(by: By, entry: &Entry<'_, Arc<str>, u64>, number: u16) -> bool {
    let mut has = false;
    by.terms(entry.key, *entry.value, |term| has |= term == number);
    has
}

/// One of an object's terms, if it has any.
fn any_term(by: By, entry: &Entry<'_, Arc<str>, u64>, turn: usize) -> Option<u16> {
    let mut terms = Vec::new();
    by.terms(entry.key, *entry.value, |term| terms.push(term));
    terms.get(turn % terms.len().max(1)).copied()
}
