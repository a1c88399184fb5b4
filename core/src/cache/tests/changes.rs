//! A follower's copy, against the cache.

use alloc::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::cache::{Drained, SlotChange};

/// What a follower makes of what it is handed: by slot, the key and the value.
#[derive(Default)]
struct Copy(BTreeMap<u32, (Box<str>, u32)>);

impl Copy {
    fn drain(&mut self, rig: &mut Rig, slots: usize) -> Drained {
        let mut handed = BTreeSet::new();
        rig.0.drain_changes(slots, |change| match change {
            SlotChange::Gone { slot } => {
                assert!(!handed.contains(&slot), "what is gone comes first");
                self.0.remove(&slot);
            }
            SlotChange::Now { slot, entry } => {
                assert!(handed.insert(slot), "each object once");
                let before = self.0.insert(slot, (entry.key.clone(), *entry.value));
                assert!(
                    before.is_none_or(|(key, _)| key == *entry.key),
                    "one object a slot"
                );
            }
        })
    }

    fn objects(&self) -> BTreeMap<Box<str>, u32> {
        let objects = self.0.values().cloned();
        let all: BTreeMap<_, _> = objects.collect();
        assert_eq!(all.len(), self.0.len(), "each key once");
        all
    }
}

fn cached(rig: &Rig) -> BTreeMap<Box<str>, u32> {
    let entries = rig.0.iter();
    entries
        .map(|entry| (entry.key.clone(), *entry.value))
        .collect()
}

#[test]
fn a_follower_is_handed_what_was_published_and_only_that() {
    let (mut rig, mut copy) = (Rig::new(), Copy::default());
    assert_eq!(copy.drain(&mut rig, 9), Drained::Nothing, "nobody follows");
    rig.0.follow(true);
    rig.put("a", 1);
    assert_eq!(
        copy.drain(&mut rig, 9),
        Drained::Nothing,
        "it waits for its publication"
    );
    rig.publish(1);
    assert_eq!(copy.drain(&mut rig, 9), Drained::Published);
    assert_eq!(copy.objects(), cached(&rig));
    rig.publish(1);
    assert_eq!(
        copy.drain(&mut rig, 9),
        Drained::Nothing,
        "the same again is no news"
    );
    rig.publish(2);
    assert_eq!(
        copy.drain(&mut rig, 9),
        Drained::Published,
        "a later revision is"
    );
    rig.0.follow(false);
    rig.put("a", 2);
    rig.publish(3);
    assert_eq!(copy.drain(&mut rig, 9), Drained::Nothing);
}

#[test]
fn a_first_copy_is_handed_over_in_parts_while_writes_go_on() {
    let (mut rig, mut copy) = (Rig::new(), Copy::default());
    (0..10).for_each(|n| {
        rig.put(&key(n), n);
    });
    rig.publish(1);
    rig.0.follow(true);
    assert_eq!(copy.drain(&mut rig, 4), Drained::Part);
    // Of what was copied and of what was not; and a new object in an old place.
    rig.put(&key(1), 100);
    rig.put(&key(8), 100);
    rig.remove(&key(2));
    rig.remove(&key(9));
    rig.put("new", 7);
    rig.publish(2);
    assert_eq!(copy.drain(&mut rig, 4), Drained::Part);
    rig.remove("new");
    rig.publish(3);
    assert_eq!(copy.drain(&mut rig, 4), Drained::Published);
    assert_eq!(copy.objects(), cached(&rig));
}

#[test]
fn a_first_copy_comes_to_its_end_also_where_nothing_is_asked_for() {
    let (mut rig, mut copy) = (Rig::new(), Copy::default());
    (0..10).for_each(|n| {
        rig.put(&key(n), n);
    });
    rig.publish(1);
    rig.0.follow(true);
    let parts = (0..10).take_while(|_| copy.drain(&mut rig, 0) == Drained::Part);
    assert_eq!(parts.count(), 9);
    assert_eq!(copy.objects(), cached(&rig));
}

/// What nobody drains is bounded by what the follower has, however much comes and goes.
#[test]
fn what_is_kept_for_a_follower_is_bounded() {
    let (mut rig, mut copy) = (Rig::new(), Copy::default());
    rig.0.follow(true);
    (0..10).for_each(|n| {
        rig.put(&key(n), n);
    });
    rig.publish(1);
    copy.drain(&mut rig, 100);
    for n in 0..1_000 {
        rig.remove(&key(n % 10));
        rig.put_as(&key(n % 10), n, Some(u64::from(n)));
        rig.put_as(&key(n % 10), n, Some(u64::from(n) + 1));
    }
    rig.publish(2);
    let mut gone = 0;
    rig.0.drain_changes(100, |change| {
        gone += usize::from(matches!(change, SlotChange::Gone { .. }))
    });
    assert_eq!(gone, 10);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u32, Option<u64>),
    Remove(u32),
    Publish,
    Drain(usize),
    Join,
    Poll,
    Leave,
    Follow,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u32..8, prop::option::of(0_u64..2)).prop_map(|(n, born)| Step::Put(n, born)),
        4 => (0_u32..8).prop_map(Step::Remove),
        3 => Just(Step::Publish),
        3 => (1_usize..6).prop_map(Step::Drain),
        1 => Just(Step::Join),
        2 => Just(Step::Poll),
        1 => Just(Step::Leave),
        1 => Just(Step::Follow),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn a_follower_has_what_was_published(steps in steps()) {
        let (mut rig, mut copy, mut value) = (Rig::new(), Copy::default(), 0);
        let mut subscribers = Vec::new();
        for step in steps {
            match step {
                Step::Put(n, born) => {
                    value += 1;
                    rig.put_as(&key(n), value, born);
                }
                Step::Remove(n) => {
                    rig.0.delete(&key(n), None, false);
                }
                Step::Publish => rig.publish(u64::from(value)),
                Step::Drain(slots) => {
                    let was = copy.objects();
                    match copy.drain(&mut rig, slots) {
                        Drained::Published => prop_assert_eq!(copy.objects(), cached(&rig)),
                        Drained::Nothing | Drained::Part => {
                            prop_assert!(copy.0.len() >= was.len(), "nothing goes before the end");
                        }
                    }
                }
                Step::Join => subscribers.push(rig.join()),
                Step::Poll => {
                    for id in &subscribers {
                        rig.poll(*id);
                    }
                }
                Step::Leave => {
                    if let Some(id) = subscribers.pop() {
                        rig.0.unsubscribe(id);
                    }
                }
                Step::Follow => {
                    copy = Copy::default();
                    rig.0.follow(true);
                }
            }
        }
    }
}
