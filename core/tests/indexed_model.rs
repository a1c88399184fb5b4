//! Indexes beside a naive model: whatever happens, each lookup equals a scan with the function.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic")]

mod rig;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use proptest::prelude::*;
use reflet_core::cache::{Entry, SubscriberId};
use reflet_core::index::{Index, IndexBy, IndexId, KeyOrder, KeyOrderId, Terms};
use reflet_core::{Attempt, Change, Event, FailureClass, Input, Item};
use rig::{Rig, Value, config, item, plain_profile};

type By = IndexBy<Arc<str>, Value>;
type TermSet = BTreeSet<Vec<u8>>;

/// By few terms, by many, by none, by the key.
fn definition(kind: usize) -> By {
    match kind % 4 {
        0 => By::new("digit", |_, value, terms| terms.add([(value % 4) as u8])),
        1 => By::new("bits", |_, value, terms| {
            terms.extend(
                (0..9_u8)
                    .filter(|bit| value >> bit & 1 == 1)
                    .map(|bit| [bit % 5]),
            );
        }),
        2 => By::new("up to", |_, value, terms| {
            terms.extend((0..value % 7).rev().map(|n| n.to_string()));
        }),
        _ => By::new("key and value", |key, value, terms| {
            if value % 3 > 0 {
                terms.add(format!("{key}{}", value % 2));
            }
        }),
    }
}

fn scan(by: &By, key: &str, value: Value) -> TermSet {
    let mut terms = Terms::new();
    by.collect(key, &value, &mut terms);
    terms.iter().map(<[u8]>::to_vec).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Put {
        key: u8,
        value: Value,
        incarnation: Option<u64>,
    },
    Delete {
        key: u8,
    },
    Relist {
        keys: u8,
        shift: u8,
    },
    AddIndex {
        kind: usize,
    },
    RemoveIndex {
        which: usize,
    },
    AddOrder,
    RemoveOrder {
        which: usize,
    },
    Subscribe,
    Unsubscribe,
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let put = (0..8_u8, 0..500_u64, prop::option::weighted(0.3, 0..3_u64));
    prop_oneof![
        12 => put.prop_map(|(key, value, incarnation)| Step::Put { key, value, incarnation }),
        6 => (0..8_u8).prop_map(|key| Step::Delete { key }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(keys, shift)| Step::Relist { keys, shift }),
        3 => (0..4_usize).prop_map(|kind| Step::AddIndex { kind }),
        2 => (0..6_usize).prop_map(|which| Step::RemoveIndex { which }),
        1 => Just(Step::AddOrder),
        1 => (0..3_usize).prop_map(|which| Step::RemoveOrder { which }),
        1 => Just(Step::Subscribe),
        1 => Just(Step::Unsubscribe),
        3 => Just(Step::Drain),
    ]
}

fn name(key: u8) -> String {
    format!("{}/{key}", key % 3)
}

/// An informer with indexes, and what it should hold.
struct World {
    rig: Rig,
    watch: Attempt,
    revision: u64,
    live: BTreeMap<String, Value>,
    indexes: Vec<(IndexId, By)>,
    orders: Vec<KeyOrderId>,
    gone: Vec<IndexId>,
    gone_orders: Vec<KeyOrderId>,
    other: Option<SubscriberId>,
}

impl World {
    fn new() -> Self {
        let mut rig = Rig::new(config(plain_profile()));
        let list = rig.expect_list();
        rig.list(list, 1, &[]);
        let watch = rig.expect_watch(1);
        rig.opened(watch);
        Self {
            rig,
            watch,
            revision: 1,
            live: BTreeMap::new(),
            indexes: Vec::new(),
            orders: Vec::new(),
            gone: Vec::new(),
            gone_orders: Vec::new(),
            other: None,
        }
    }

    fn apply(&mut self, step: &Step) {
        self.revision += 1;
        match *step {
            Step::Put {
                key,
                value,
                incarnation,
            } => self.put(key, value, incarnation),
            Step::Delete { key } => {
                self.live.remove(&name(key));
                self.rig.delete(self.watch, self.revision, &name(key));
            }
            Step::Relist { keys, shift } => self.relist(keys, shift),
            Step::AddIndex { kind } => {
                let by = definition(kind);
                self.indexes
                    .push((self.rig.informer.add_index(by.clone()), by));
            }
            Step::RemoveIndex { which } => {
                if which < self.indexes.len() {
                    let (id, _) = self.indexes.remove(which);
                    assert!(self.rig.informer.remove_index(id));
                    self.gone.push(id);
                }
            }
            Step::AddOrder => self.orders.push(self.rig.informer.add_key_order()),
            Step::RemoveOrder { which } => {
                if which < self.orders.len() {
                    let id = self.orders.remove(which);
                    assert!(self.rig.informer.remove_key_order(id));
                    self.gone_orders.push(id);
                }
            }
            Step::Subscribe => self.other = Some(self.rig.informer.subscribe(None)),
            Step::Unsubscribe => {
                if let Some(id) = self.other.take() {
                    self.rig.informer.unsubscribe(id);
                }
            }
            Step::Drain => self.rig.drain(),
        }
    }

    fn put(&mut self, key: u8, value: Value, incarnation: Option<u64>) {
        // Versions only rise; what an index sees of the value does not.
        let value = self.revision * 500 + value;
        let key = name(key);
        self.live.insert(key.clone(), value);
        let event = Event {
            change: Change::Upsert(Item {
                incarnation: incarnation.map(Into::into),
                ..item(&key, value)
            }),
            revision: Some(self.revision.into()),
            previous: None,
        };
        self.rig.say(self.watch, Input::Event(event));
    }

    /// The history is gone; a list has some objects changed, some new, some not any more.
    fn relist(&mut self, keys: u8, shift: u8) {
        let mut listed = BTreeMap::new();
        for key in (0..8).filter(|key| keys >> key & 1 == 1) {
            let fresh = self.revision * 500 + u64::from(key) * u64::from(shift) % 100;
            let old = self.live.get(&name(key)).copied();
            let value = old.filter(|_| shift >> key & 1 == 1).unwrap_or(fresh);
            listed.insert(name(key), value);
        }
        self.rig.fail(self.watch, FailureClass::Gone);
        let list = self.rig.expect_list();
        let items: Vec<_> = listed.iter().map(|(key, value)| (&**key, *value)).collect();
        self.rig.list(list, self.revision, &items);
        self.live = listed;
        self.watch = self.rig.expect_watch(self.revision);
        self.rig.opened(self.watch);
    }

    fn check(&self) {
        let cache = self.rig.informer.cache();
        let held: BTreeMap<String, Value> = cache
            .iter()
            .map(|entry| (entry.key.to_string(), *entry.value))
            .collect();
        assert_eq!(held, self.live);
        let mut truths = Vec::new();
        for (id, by) in &self.indexes {
            let mut truth: BTreeMap<Vec<u8>, BTreeSet<&str>> = BTreeMap::new();
            for (key, value) in &self.live {
                for term in scan(by, key, *value) {
                    truth.entry(term).or_default().insert(key);
                }
            }
            let terms = cache.index(*id).unwrap().terms();
            let expected: Vec<_> = truth
                .iter()
                .map(|(term, keys)| (&**term, keys.len()))
                .collect();
            assert_eq!(terms, expected, "{by:?}");
            for (term, keys) in &truth {
                assert_eq!(&set(cache.by_index(*id, term)), keys, "{by:?} {term:?}");
                assert_eq!(cache.by_index(*id, term).count(), keys.len(), "each once");
                assert_eq!(cache.count_by(*id, term), keys.len());
                for gone in &self.gone {
                    assert_eq!(cache.count_by(*gone, term), 0);
                }
            }
            truths.push((*id, truth));
        }
        for pair in truths.windows(2).chain(truths.chunks(1)) {
            let ((one, here), (two, there)) = (pair.first().unwrap(), pair.last().unwrap());
            for ((term, keys), (other, others)) in here.iter().zip(there.iter().rev()) {
                let both: BTreeSet<&str> = keys & others;
                assert_eq!(set(cache.by_both((*one, term), (*two, other))), both);
            }
        }
        self.check_order();
    }

    fn check_order(&self) {
        let cache = self.rig.informer.cache();
        let all: Vec<&str> = self.live.keys().map(|key| &**key).collect();
        let some: Vec<&str> = all
            .iter()
            .copied()
            .filter(|key| key.starts_with("1/"))
            .collect();
        let late: Vec<&str> = all.iter().copied().filter(|key| *key > "0/3").collect();
        for id in &self.orders {
            assert_eq!(list(cache.iter_by_key(*id)), all);
            assert_eq!(list(cache.prefix(*id, b"1/")), some);
            let range = (Bound::Excluded("0/3"), Bound::Unbounded);
            assert_eq!(list(cache.range(*id, range)), late);
        }
        for id in &self.gone_orders {
            assert_eq!(cache.iter_by_key(*id).count(), 0);
        }
    }
}

fn list<'a>(found: impl Iterator<Item = Entry<'a, Arc<str>, Value>>) -> Vec<&'a str> {
    found.map(|entry| &**entry.key).collect()
}

fn set<'a>(found: impl Iterator<Item = Entry<'a, Arc<str>, Value>>) -> BTreeSet<&'a str> {
    found.map(|entry| &**entry.key).collect()
}

/// So many objects change at once that postings grow from one to a thousand, and back.
#[derive(Clone, Debug)]
enum Many {
    Put { from: u32, count: u32, value: Value },
    Remove { from: u32, count: u32 },
}

fn many() -> impl Strategy<Value = Many> {
    let count = || prop_oneof![Just(1_u32), 1..20_u32, 100..700_u32];
    prop_oneof![
        3 => (0..1_500_u32, count(), 0..60_u64)
            .prop_map(|(from, count, value)| Many::Put { from, count, value }),
        2 => (0..1_500_u32, count()).prop_map(|(from, count)| Many::Remove { from, count }),
    ]
}

fn check_alone(index: &Index<Arc<str>, Value>, by: &By, objects: &BTreeMap<u32, Value>) {
    let mut truth: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
    for (id, value) in objects {
        for term in scan(by, "any", *value) {
            truth.entry(term).or_default().push(*id);
        }
    }
    assert_eq!(index.terms_len(), truth.len());
    for (term, ids) in &truth {
        assert_eq!(&index.ids(term).collect::<Vec<_>>(), ids);
        assert_eq!(
            (index.count(term), index.ids(term).len()),
            (ids.len(), ids.len())
        );
        let back: Vec<_> = index.ids(term).rev().collect();
        assert!(back.iter().rev().eq(ids));
    }
    for pair in truth.iter().collect::<Vec<_>>().windows(2) {
        let [(one, here), (two, there)] = pair else {
            continue;
        };
        let both: Vec<_> = here
            .iter()
            .copied()
            .filter(|id| there.contains(id))
            .collect();
        assert_eq!(
            index.intersection(one, index, two).collect::<Vec<_>>(),
            both
        );
        assert_eq!(
            index.intersection(two, index, one).collect::<Vec<_>>(),
            both
        );
        assert!(
            both.iter()
                .all(|id| index.has(one, *id) && index.has(two, *id))
        );
    }
    for (id, value) in objects.iter().step_by(97) {
        let terms: TermSet = index
            .terms_of(*id)
            .into_iter()
            .map(<[u8]>::to_vec)
            .collect();
        assert_eq!(terms, scan(by, "any", *value));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_lookup_equals_a_scan(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in &steps {
            world.apply(step);
            world.check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_index_of_its_own_equals_a_scan(
        kind in 0..4_usize,
        steps in prop::collection::vec(many(), 1..25),
    ) {
        let by = definition(kind);
        let (mut index, mut objects) = (Index::new(by.clone(), 1), BTreeMap::new());
        for step in &steps {
            match *step {
                Many::Put { from, count, value } => for id in from..from + count {
                    index.put(id, "any", &value);
                    objects.insert(id, value);
                },
                Many::Remove { from, count } => for id in from..from + count {
                    let before = objects.remove(&id).map_or(0, |value| scan(&by, "any", value).len());
                    assert_eq!(index.remove(id), before > 0);
                },
            }
            check_alone(&index, &by, &objects);
        }
        let copy = index.clone();
        for id in objects.keys() {
            index.remove(*id);
        }
        check_alone(&index, &by, &BTreeMap::new());
        check_alone(&copy, &by, &objects);
    }

    #[test]
    fn an_order_of_its_own_equals_a_sorted_map(
        steps in prop::collection::vec((any::<bool>(), "[ab\u{e9}]{0,3}", 0..9_u32), 1..60),
        low in "[ab]{0,2}", high in "[ab]{0,2}",
    ) {
        let (mut order, mut keys) = (KeyOrder::<Arc<str>>::new(), BTreeMap::new());
        for (insert, key, id) in steps {
            if insert {
                order.insert(key.as_str().into(), id);
                keys.insert(key, id);
            } else {
                assert_eq!(order.remove(&key), keys.remove(&key).is_some());
            }
        }
        assert_eq!((order.len(), order.is_empty()), (keys.len(), keys.is_empty()));
        assert!(order.iter().map(|(key, id)| (&**key, id)).eq(keys.iter().map(|(key, id)| (&**key, *id))));
        let within = keys.iter().filter(|(key, _)| low <= **key && **key < high).map(|(_, id)| *id);
        assert!(order.range(&*low..&*high).map(|(_, id)| id).eq(within));
        let begins = keys.iter().filter(|(key, _)| key.starts_with(&low)).map(|(_, id)| *id);
        assert!(order.prefix(low.as_bytes()).map(|(_, id)| id).eq(begins));
    }
}
