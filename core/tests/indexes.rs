//! Objects are found by what is in them, whatever happened before.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic")]

mod rig;

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use reflet_core::cache::Cache;
use reflet_core::index::{Index, IndexBy, IndexId, Terms};
use reflet_core::{Body, Change, Event, Incarnation, Input, Item, Notice};
use rig::{Rig, Value, config, item, objects, plain_profile};

type By = IndexBy<Arc<str>, Value>;
type Keys = Vec<String>;

/// Finds a value by its last decimal digit.
fn digit() -> By {
    By::new("digit", |_, value, terms| {
        terms.add((value % 10).to_string())
    })
}

/// Finds a value by each of its divisors up to ten, so often that some come twice.
fn divisors() -> By {
    By::new("divisors", |_, value, terms| {
        let divisors = (1..=10_u64).filter(|by| value.is_multiple_of(*by));
        terms.extend(divisors.clone().map(u64::to_be_bytes));
        terms.extend(divisors.rev().take(3).map(u64::to_be_bytes));
    })
}

/// The keys of what is found, sorted.
fn sorted<'a>(found: impl Iterator<Item = reflet_core::cache::Entry<'a, Arc<str>, Value>>) -> Keys {
    let mut keys: Keys = found.map(|entry| entry.key.to_string()).collect();
    keys.sort();
    keys
}

fn in_order<'a>(
    found: impl Iterator<Item = reflet_core::cache::Entry<'a, Arc<str>, Value>>,
) -> Keys {
    found.map(|entry| entry.key.to_string()).collect()
}

fn by(cache: &Cache<Arc<str>, Value>, id: IndexId, term: &str) -> Keys {
    sorted(cache.by_index(id, term))
}

/// A rig whose first list is in, and a watch from revision 100.
fn listed(items: &[(&str, Value)]) -> (Rig, reflet_core::Attempt) {
    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    rig.list(list, 100, items);
    let watch = rig.expect_watch(100);
    rig.opened(watch);
    (rig, watch)
}

#[test]
fn an_index_follows_every_change() {
    let (mut rig, watch) = listed(&[("a", 11), ("b", 22), ("c", 31)]);
    let id = rig.informer.add_index(digit());
    assert_eq!(by(rig.informer.cache(), id, "1"), ["a", "c"]);
    rig.put(watch, 101, "d", 41);
    rig.put(watch, 102, "a", 52);
    rig.delete(watch, 103, "c");
    let cache = rig.informer.cache();
    assert_eq!(by(cache, id, "1"), ["d"]);
    assert_eq!(by(cache, id, "2"), ["a", "b"]);
    assert_eq!((cache.count_by(id, "1"), cache.count_by(id, "2")), (1, 2));
    assert_eq!(cache.count_by(id, "3"), 0);
    let terms = cache.index(id).unwrap().terms();
    assert_eq!(terms, [(&b"1"[..], 1), (&b"2"[..], 2)]);
}

#[test]
fn a_relist_moves_what_changed_and_drops_what_has_gone() {
    let (mut rig, watch) = listed(&[("a", 11), ("b", 22), ("c", 31)]);
    let id = rig.informer.add_index(digit());
    rig.fail(watch, reflet_core::FailureClass::Gone);
    let list = rig.expect_list();
    rig.list(list, 200, &[("a", 11), ("b", 91), ("d", 2)]);
    let cache = rig.informer.cache();
    assert_eq!(by(cache, id, "1"), ["a", "b"]);
    assert_eq!(by(cache, id, "2"), ["d"]);
}

#[test]
fn a_recreated_object_is_found_by_its_new_terms_only() {
    let (mut rig, watch) = listed(&[("a", 1)]);
    let (id, order) = (
        rig.informer.add_index(digit()),
        rig.informer.add_key_order(),
    );
    rig.drain();
    // Once without a delete, then from its tombstone: somebody still has to be told.
    let born = |value: Value, uid: u64| Item {
        incarnation: Some(Incarnation::from(uid)),
        ..item("a", value)
    };
    for (value, uid, revision) in [(2, 1, 101), (3, 2, 102)] {
        let event = Event {
            change: Change::Upsert(born(value, uid)),
            revision: Some(revision.into()),
            previous: None,
        };
        rig.say(watch, Input::Event(event));
    }
    let cache = rig.informer.cache();
    assert!(by(cache, id, "1").is_empty() && by(cache, id, "2").is_empty());
    assert_eq!(by(cache, id, "3"), ["a"]);
    rig.delete(watch, 103, "a");
    let cache = rig.informer.cache();
    assert_eq!(cache.count_by(id, "3"), 0);
    assert_eq!(cache.iter_by_key(order).count(), 0);
    rig.put(watch, 104, "a", 104);
    rig.drain();
    let cache = rig.informer.cache();
    assert_eq!(by(cache, id, "4"), ["a"]);
    assert_eq!(in_order(cache.iter_by_key(order)), ["a"]);
}

#[test]
fn a_function_may_say_nothing_the_same_twice_or_very_much() {
    let (mut rig, watch) = listed(&[("none", 1), ("twice", 2), ("much", 3)]);
    let id = rig
        .informer
        .add_index(By::new("odd", |_, value, terms| match value {
            1 => {}
            2 => terms.extend(["x", "x", ""]),
            _ => terms.extend((*value..10_000 + value).map(|n| n.to_string())),
        }));
    let cache = rig.informer.cache();
    assert_eq!(cache.count_by(id, "x"), 1);
    assert_eq!(by(cache, id, ""), ["twice"]);
    assert_eq!(
        (by(cache, id, "9999"), by(cache, id, "3")),
        (vec!["much".into()], vec!["much".into()])
    );
    assert_eq!(cache.index(id).unwrap().terms_len(), 10_002);
    rig.put(watch, 101, "much", 5);
    let cache = rig.informer.cache();
    assert_eq!(
        (cache.count_by(id, "4"), cache.count_by(id, "10004")),
        (0, 1)
    );
    rig.delete(watch, 102, "much");
    assert_eq!(rig.informer.cache().index(id).unwrap().terms_len(), 2);
    rig.delete(watch, 103, "twice");
    assert_eq!(rig.informer.cache().index(id).unwrap().terms(), []);
}

#[test]
fn two_terms_are_intersected_within_one_index_and_across_two() {
    let values: Vec<(String, Value)> = (1..=60).map(|n| (format!("k{n:02}"), n)).collect();
    let items: Vec<_> = values.iter().map(|(key, value)| (&**key, *value)).collect();
    let (mut rig, _watch) = listed(&items);
    let (digit, divisors) = (
        rig.informer.add_index(digit()),
        rig.informer.add_index(divisors()),
    );
    let cache = rig.informer.cache();
    let (six, ten) = (6_u64.to_be_bytes(), 10_u64.to_be_bytes());
    assert_eq!(
        sorted(cache.by_both((divisors, six), (divisors, ten))),
        ["k30", "k60"]
    );
    assert_eq!(
        sorted(cache.by_both((digit, "2"), (divisors, six))),
        ["k12", "k42"]
    );
    assert_eq!(
        sorted(cache.by_both((divisors, six), (digit, "2"))),
        ["k12", "k42"]
    );
    assert_eq!(cache.by_both((digit, "1"), (digit, "2")).count(), 0);
    assert_eq!(cache.by_both((digit, "1"), (divisors, [0_u8])).count(), 0);
}

#[test]
fn a_removed_index_finds_nothing_and_its_id_is_never_given_out_again() {
    let (mut rig, _watch) = listed(&[("a", 1)]);
    let gone = rig.informer.add_index(digit());
    assert!(rig.informer.remove_index(gone) && !rig.informer.remove_index(gone));
    let other = rig.informer.add_index(digit());
    assert_ne!(gone, other);
    let cache = rig.informer.cache();
    assert_eq!(
        (cache.count_by(gone, "1"), cache.by_index(gone, "1").count()),
        (0, 0)
    );
    assert_eq!(cache.by_both((gone, "1"), (other, "1")).count(), 0);
    assert!(cache.index(gone).is_none());
    assert_eq!(cache.indexes().collect::<Vec<_>>(), [other]);
    assert_eq!(by(cache, other, "1"), ["a"]);
}

#[test]
fn dependents_are_found_by_their_owners() {
    let (mut rig, watch) = listed(&[("owner", 0), ("a", 1), ("b", 2)]);
    // Values from 1 on are owned; even ones by two.
    let id = rig.informer.add_index(By::owners(|value, owners| {
        if *value > 0 {
            owners.add("owner");
        }
        if *value > 0 && value.is_multiple_of(2) {
            owners.add("another");
        }
    }));
    assert_eq!(
        sorted(rig.informer.cache().dependents(id, "owner")),
        ["a", "b"]
    );
    assert_eq!(
        sorted(rig.informer.cache().dependents(id, "another")),
        ["b"]
    );
    rig.delete(watch, 101, "owner");
    rig.delete(watch, 102, "b");
    let cache = rig.informer.cache();
    assert_eq!(
        sorted(cache.dependents(id, "owner")),
        ["a"],
        "whose owner has gone"
    );
    assert_eq!(cache.dependents(id, "another").count(), 0);
}

#[test]
fn keys_are_walked_in_order_by_prefix_and_by_range() {
    let (mut rig, watch) = listed(&[("b/2", 1), ("a/1", 2), ("b/1", 3), ("c", 4), ("b", 5)]);
    let order = rig.informer.add_key_order();
    rig.put(watch, 101, "b/15", 6);
    rig.put(watch, 102, "b/1", 7);
    rig.delete(watch, 103, "c");
    let cache = rig.informer.cache();
    assert_eq!(
        in_order(cache.iter_by_key(order)),
        ["a/1", "b", "b/1", "b/15", "b/2"]
    );
    assert_eq!(in_order(cache.iter_by_key(order).rev().take(1)), ["b/2"]);
    assert_eq!(in_order(cache.prefix(order, b"b/")), ["b/1", "b/15", "b/2"]);
    assert_eq!(in_order(cache.prefix(order, b"")).len(), 5);
    assert_eq!(in_order(cache.prefix(order, b"d")).len(), 0);
    assert_eq!(in_order(cache.range(order, "b".."b/15")), ["b", "b/1"]);
    assert_eq!(in_order(cache.range(order, ..="b")), ["a/1", "b"]);
    let after = (Bound::Excluded("b/1"), Bound::Unbounded);
    assert_eq!(
        in_order(cache.range(order, after).take(1)),
        ["b/15"],
        "the next page"
    );
    assert_eq!(
        cache
            .prefix(order, b"b/1")
            .map(|entry| *entry.value)
            .collect::<Vec<_>>(),
        [7, 6]
    );
}

#[test]
fn bounds_in_the_wrong_order_hold_nothing() {
    let (mut rig, _watch) = listed(&[("a", 1), ("b", 2)]);
    let order = rig.informer.add_key_order();
    let cache = rig.informer.cache();
    let backwards = ["b".."a", "a".."a"];
    for bounds in backwards {
        assert_eq!(cache.range(order, bounds).count(), 0);
    }
    let none = (Bound::Excluded("a"), Bound::Excluded("a"));
    assert_eq!(cache.range(order, none).count(), 0);
    assert_eq!(in_order(cache.range(order, "a"..="a")), ["a"]);
}

#[test]
fn the_order_of_keys_stays_until_the_last_who_wants_it_has_left() {
    let (mut rig, watch) = listed(&[("b", 1)]);
    let (one, two) = (rig.informer.add_key_order(), rig.informer.add_key_order());
    assert!(rig.informer.remove_key_order(one) && !rig.informer.remove_key_order(one));
    rig.put(watch, 101, "a", 2);
    let cache = rig.informer.cache();
    assert_eq!(in_order(cache.iter_by_key(two)), ["a", "b"]);
    assert_eq!(cache.iter_by_key(one).count(), 0);
    assert_eq!(
        (
            cache.prefix(one, b"a").count(),
            cache.range(one, ..).count()
        ),
        (0, 0)
    );
    assert!(rig.informer.remove_key_order(two));
    rig.put(watch, 102, "c", 3);
    let three = rig.informer.add_key_order();
    assert_eq!(
        in_order(rig.informer.cache().iter_by_key(three)),
        ["a", "b", "c"]
    );
    assert_eq!(rig.informer.cache().iter_by_key(two).count(), 0);
}

#[test]
fn what_is_found_comes_in_the_same_order_under_any_seed() {
    let order = |seed: u64| {
        let mut index = Index::new(digit(), seed);
        for id in [7, 3, 900, 2, 2_000, 5, 1] {
            index.put(id, "any", &1);
        }
        index.remove(900);
        assert_eq!(index.ids("1").next_back(), Some(2_000));
        index.ids("1").collect::<Vec<_>>()
    };
    assert_eq!(order(1), [1, 2, 3, 5, 7, 2_000]);
    assert_eq!(order(1), order(2));
}

#[test]
fn a_clone_goes_its_own_way() {
    let (mut rig, watch) = listed(&[("a", 1)]);
    let (id, order) = (
        rig.informer.add_index(digit()),
        rig.informer.add_key_order(),
    );
    let before = rig.informer.clone();
    rig.put(watch, 101, "a", 102);
    rig.put(watch, 102, "b", 101);
    let (now, then) = (rig.informer.cache(), before.cache());
    assert_eq!(
        (by(now, id, "1"), by(now, id, "2")),
        (vec!["b".into()], vec!["a".into()])
    );
    assert_eq!(
        (by(then, id, "1"), then.count_by(id, "2")),
        (vec!["a".into()], 0)
    );
    assert_eq!(
        (
            now.iter_by_key(order).count(),
            then.iter_by_key(order).count()
        ),
        (2, 1)
    );
}

#[test]
fn a_function_that_panics_leaves_cache_and_indexes_as_they_were() {
    let (mut rig, watch) = listed(&[("a", 1)]);
    let before = rig.informer.add_index(digit());
    let _ = rig.informer.add_index(By::new("panics", |_, value, terms| {
        terms.add("x");
        assert_ne!(*value, 666, "the number of the beast");
    }));
    let after = rig.informer.add_index(digit());
    let order = rig.informer.add_key_order();
    for key in ["a", "new"] {
        let mut other = rig.informer.clone();
        let event = Event {
            change: Change::Upsert(item(key, 666)),
            revision: Some(101.into()),
            previous: None,
        };
        let handle = || other.handle(rig.now, watch, Input::Event(event));
        assert!(catch_unwind(AssertUnwindSafe(handle)).is_err());
        let cache = other.cache();
        assert_eq!((cache.len(), cache.get("a")), (1, Some(&1)));
        for id in [before, after] {
            assert_eq!(
                (by(cache, id, "1"), cache.count_by(id, "6")),
                (vec!["a".into()], 0)
            );
        }
        assert_eq!(in_order(cache.iter_by_key(order)), ["a"]);
    }
    let build = || {
        rig.informer
            .add_index(By::new("at once", |_, _, _| panic!("at once")))
    };
    assert!(catch_unwind(AssertUnwindSafe(build)).is_err());
    assert_eq!(
        rig.informer.cache().indexes().count(),
        3,
        "it was not added"
    );
}

#[test]
fn a_panic_can_be_contained_by_a_definition_around_another() {
    let wild = By::new("wild", |_, value, terms| {
        terms.add("before");
        assert!(*value < 10);
    });
    let tame = By::new("tame", move |key, value, terms| {
        let mut said = Terms::new();
        let ask = || wild.collect(key, value, &mut said);
        if catch_unwind(AssertUnwindSafe(ask)).is_ok() {
            terms.extend(said.iter());
        }
    });
    let (mut rig, watch) = listed(&[("a", 1), ("b", 100)]);
    let id = rig.informer.add_index(tame);
    rig.put(watch, 101, "c", 3);
    rig.put(watch, 102, "a", 11);
    assert_eq!(by(rig.informer.cache(), id, "before"), ["c"]);
}

#[test]
fn an_unchanged_body_keeps_what_is_indexed() {
    let (mut rig, watch) = listed(&[("a", 1)]);
    let id = rig.informer.add_index(digit());
    let event = Event {
        change: Change::Upsert(Item {
            body: Body::Unchanged,
            ..item("a", 1)
        }),
        revision: Some(101.into()),
        previous: None,
    };
    rig.say(watch, Input::Event(event));
    assert_eq!(by(rig.informer.cache(), id, "1"), ["a"]);
}

/// Values are versions too, so that they only grow: their last digits count.
const DIGITS: Value = 10_000_000;

/// Finds a value under each number below its last digits.
fn below() -> By {
    By::new("below", |_, value, terms| {
        terms.extend((0..*value % DIGITS).map(u64::to_be_bytes));
    })
}

fn cut(rig: &mut Rig) -> Vec<(String, String, usize)> {
    let notices = rig.notices().into_iter();
    let cut = notices.filter_map(|notice| match notice {
        Notice::TermsCut { index, key, terms } => Some((index.to_string(), key.to_string(), terms)),
        _ => None,
    });
    cut.collect()
}

#[test]
fn an_object_with_too_many_terms_is_found_under_the_first_ones_and_told_until_it_has_fewer() {
    let mut limited = config(plain_profile());
    limited.limits.index_terms = 3;
    let mut rig = Rig::new(limited);
    let list = rig.expect_list();
    rig.list(list, 100, &[("few", 3), ("many", 1_000_000)]);
    let watch = rig.expect_watch(100);
    rig.opened(watch);
    let told = |key: &str, terms| ("below".to_owned(), key.to_owned(), terms);

    let id = rig.informer.add_index(below());
    assert_eq!(cut(&mut rig), [told("many", 1_000_000)]);
    let found = |rig: &Rig, term: u64| {
        let cache = rig.informer.cache();
        sorted(cache.by_index(id, term.to_be_bytes()))
    };
    assert_eq!(found(&rig, 2), ["few", "many"]);
    assert!(found(&rig, 3).is_empty());
    assert_eq!(rig.informer.cache().index(id).unwrap().terms_len(), 3);

    rig.put(watch, 101, "few", 4);
    assert_eq!(cut(&mut rig), [told("few", 4)]);
    assert!(found(&rig, 3).is_empty());
    rig.put(watch, 102, "few", DIGITS + 2);
    rig.put(watch, 103, "many", DIGITS + 3);
    assert_eq!(cut(&mut rig), []);
    assert_eq!(found(&rig, 2), ["many"]);
    let both = [("few", DIGITS + 2), ("many", DIGITS + 3)];
    assert_eq!(rig.cache(), objects(&both));
}

#[test]
fn a_bound_holds_for_what_a_definition_asks_another_one_and_for_each_object_anew() {
    let inner = below();
    let outer = By::new("outer", move |key, value, terms| {
        terms.add("own");
        inner.collect(key, value, terms);
    });
    let outer = outer.at_most(3);
    let mut terms = Terms::new();
    for _ in 0..2 {
        terms.clear();
        outer.collect("a", &10, &mut terms);
        assert_eq!((terms.len(), terms.refused()), (3, 8));
    }
    terms.clear();
    assert_eq!((terms.len(), terms.refused()), (0, 0));
    below().collect("a", &10, &mut terms);
    assert_eq!(
        (terms.len(), terms.refused()),
        (10, 0),
        "no bound is left behind"
    );

    let sly = By::new("sly", |_, value: &Value, terms| {
        for term in 0..*value {
            terms.clear();
            terms.add(term.to_be_bytes());
        }
    });
    sly.at_most(3).collect("a", &10, &mut terms);
    assert_eq!(terms.len(), 1);
}
