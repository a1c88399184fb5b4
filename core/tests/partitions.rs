//! Several workers that share the keys.

mod rig;

use core::num::NonZero;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use reflet_core::cache::{Delta, Filter, Partition, Subscription};
use rig::{Mirror, Rig, Value, config, plain_profile};

/// Written down: other processes, of other versions, count on it.
const HOMES: [u32; 6] = [0, 1, 0, 3, 3, 0];
const FOUR: NonZero<u32> = NonZero::new(4).unwrap();

fn workers(rig: &mut Rig, of: NonZero<u32>) -> Vec<Mirror> {
    let subscriptions = Partition::all(of).map(|its| Subscription::new().partition(its));
    subscriptions
        .map(|to| Mirror::of(&mut rig.informer, to))
        .collect()
}

/// What the workers have together; no key is had twice.
fn together(workers: &[Mirror]) -> BTreeMap<Arc<str>, Value> {
    let mut all = BTreeMap::new();
    for worker in workers {
        for (key, value) in &worker.objects {
            assert_eq!(all.insert(Arc::clone(key), *value), None, "{key} twice");
        }
    }
    all
}

#[test]
fn a_key_belongs_to_one_partition_and_to_the_same_one_for_ever() {
    let homes = ["a", "b", "default/web-1", "default/web-2", "", "ключ"].map(|key| {
        let mut homes = Partition::all(FOUR).filter(|its| its.has::<Arc<str>>(key));
        let home = homes.next().expect("a home").index();
        assert_eq!(homes.next(), None);
        home
    });
    assert_eq!(homes, HOMES);
    assert_eq!(Partition::new(4, FOUR), None);
    let last = Partition::new(3, FOUR).expect("the last one");
    assert_eq!((last.index(), last.of()), (3, FOUR));
    assert_eq!(last.to_string(), "3 of 4");
}

#[test]
fn a_worker_that_is_stuck_holds_up_nobody() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    let mut workers = workers(&mut rig, FOUR);
    let keys: Vec<_> = (0..40).map(|key| format!("k{key}")).collect();
    for (key, revision) in keys.iter().zip(11..) {
        rig.put(watch, revision, key, revision);
    }
    let stuck = workers.pop().expect("four workers");
    for worker in &mut workers {
        worker.drain(&mut rig.informer);
        assert!(worker.objects.len() > 3);
        assert!(!rig.informer.has_delta(worker.id));
    }
    let told = together(&workers).len();
    workers.push(stuck);
    workers[3].drain(&mut rig.informer);
    assert_eq!(told + workers[3].objects.len(), 42);
    assert_eq!(together(&workers).len(), 42);
}

#[test]
fn a_partition_and_a_filter_go_together() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    let all = Partition::all(FOUR).map(|its| {
        let odd = Filter::new(|_: &Arc<str>, value: &Value| value % 2 == 1);
        Subscription::new().partition(its).filter(odd)
    });
    let mut workers: Vec<_> = all.map(|to| Mirror::of(&mut rig.informer, to)).collect();
    for revision in 11..31 {
        rig.put(watch, revision, &format!("k{}", revision % 7), revision);
    }
    for worker in &mut workers {
        worker.drain(&mut rig.informer);
    }
    let mut expected: BTreeMap<Arc<str>, Value> = rig
        .cache()
        .into_iter()
        .map(|(key, value)| (key.into(), value))
        .collect();
    expected.retain(|_, value| *value % 2 == 1);
    assert_eq!(together(&workers), expected);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// However each of them reads: together they see everything, each key in one place and in
    /// order, and at their marks they are the cache.
    #[test]
    fn together_they_have_everything_and_each_key_in_order(
        of in 1..9_u32,
        writes in prop::collection::vec((0..12_u64, any::<bool>(), prop::collection::vec(0..9_usize, 0..3)), 1..60),
    ) {
        let (mut rig, watch) = Rig::watching(config(plain_profile()));
        let mut workers = workers(&mut rig, NonZero::new(of).unwrap_or(NonZero::<u32>::MIN));
        for ((key, put, readers), revision) in writes.into_iter().zip(11..) {
            let key = format!("k{key}");
            if put {
                rig.put(watch, revision, &key, revision);
            } else {
                rig.delete(watch, revision, &key);
            }
            for reader in readers {
                if let Some(worker) = workers.get_mut(reader) {
                    worker.drain(&mut rig.informer);
                }
            }
        }
        for worker in &mut workers {
            worker.drain(&mut rig.informer);
        }
        let all: BTreeMap<_, _> = together(&workers);
        let cached: BTreeMap<Arc<str>, _> =
            rig.cache().into_iter().map(|(key, value)| (key.into(), value)).collect();
        prop_assert_eq!(all, cached);
        for worker in &workers {
            let mut newest: BTreeMap<&str, Value> = BTreeMap::new();
            for delta in &worker.log {
                if let Delta::Added { key, new } | Delta::Updated { key, new, .. } = delta {
                    let before = newest.insert(key, *new);
                    prop_assert!(before.is_none_or(|before| before < *new), "{} goes back", key);
                }
            }
        }
    }
}
