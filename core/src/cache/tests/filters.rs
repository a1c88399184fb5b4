//! Filters: what comes in, what goes out, and what a filter of the caller's can break.

use super::*;

#[test]
fn filters_turn_changes_into_comings_and_goings() {
    let mut rig = Rig::new();
    let id = rig.join_even();
    for (name, value) in [("a", 2), ("b", 3), ("c", 4), ("d", 5)] {
        rig.put(name, value);
    }
    rig.publish(1);
    assert_eq!(rig.drain(id), ["+a=2", "+c=4", "@1!"]);
    for (name, value) in [("a", 7), ("b", 8), ("c", 10), ("d", 11)] {
        rig.put(name, value);
    }
    rig.publish(2);
    assert_eq!(rig.drain(id), ["-a=2/7", "+b=8", "~c=4>10", "@2"]);
    rig.remove("c");
    rig.remove("d");
    rig.publish(3);
    assert_eq!(rig.drain(id), ["-c=10/10", "@3"]);
    rig.assert_settled();
}

#[test]
fn another_filter_is_a_walk_over_everything_that_tells_only_the_difference() {
    let mut rig = Rig::new();
    let id = rig.join_even();
    for value in 1..=4 {
        rig.put(&key(value), value);
    }
    rig.publish(1);
    assert_eq!(rig.drain(id), ["+k2=2", "+k4=4", "@1!"]);
    assert!(
        rig.0
            .set_filter(id, Some(Filter::new(|_, value: &u32| *value > 2)))
    );
    assert!(rig.0.has_news(id));
    assert_eq!(rig.poll(id), "-k2=2/2");
    rig.put("k3", 9);
    rig.put("k4", 1);
    rig.publish(2);
    assert_eq!(rig.drain(id), ["+k3=3", "@1", "~k3=3>9", "-k4=4/1", "@2"]);
    rig.assert_settled();
}

#[test]
fn a_filter_set_in_mid_pass_gets_the_only_mark() {
    let mut rig = Rig::new();
    let id = rig.join_even();
    for value in 1..=4 {
        rig.put(&key(value), value);
    }
    rig.publish(1);
    assert_eq!(rig.poll(id), "+k2=2");
    rig.0.set_filter(id, None);
    assert_eq!(rig.drain(id), ["+k4=4", "+k1=1", "+k3=3", "@1!"]);
    rig.assert_settled();
}

#[test]
fn a_reset_in_mid_walk_keeps_the_new_filter() {
    let mut rig = Rig::with_limit(0);
    let id = rig.join();
    rig.put("a", 1);
    rig.put("b", 2);
    rig.publish(1);
    rig.drain(id);
    rig.0.set_filter(id, Some(even()));
    assert_eq!(rig.poll(id), "-a=1/1");
    rig.put("b", 4);
    rig.publish(2);
    assert_eq!(rig.drain(id), ["reset", "+b=4", "@2!"]);
}

#[test]
fn a_panicking_filter_harms_only_itself() {
    let mut rig = Rig::new();
    let other = rig.join();
    let id = rig
        .0
        .subscribe(Subscription::new().filter(Filter::new(|_, value: &u32| {
            assert!(*value != 2, "a bug of the caller's");
            true
        })));
    for value in 1..=3 {
        rig.put(&key(value), value);
    }
    rig.publish(1);
    assert_eq!(rig.poll(id), "+k1=1");
    for _ in 0..2 {
        assert!(catch_unwind(AssertUnwindSafe(|| rig.0.poll(id))).is_err());
        rig.0.check();
    }
    rig.put("k2", 4);
    rig.publish(2);
    assert_eq!(rig.drain(other), ["+k1=1", "+k3=3", "+k2=4", "@2!"]);
    assert!(rig.0.unsubscribe(id));
    rig.assert_settled();
}
