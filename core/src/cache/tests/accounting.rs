//! Accounting: what a subscriber holds back, to the byte.

use super::*;
use crate::cache::log::{ENTRY_COST, OLD_COST};

const OLD: usize = OLD_COST as usize + SIZE;
const TOMBSTONE: usize = ENTRY_COST as usize + SIZE;

#[test]
fn a_superseded_value_and_a_tombstone_cost_their_sizes_and_a_constant() {
    let mut rig = Rig::new();
    let id = rig.join();
    rig.put("a", 1);
    rig.put("key", 1);
    rig.publish(1);
    rig.drain(id);
    rig.put("a", 2);
    assert_eq!(rig.0.retained_bytes(), OLD);
    rig.remove("key");
    assert_eq!(rig.0.retained_bytes(), 2 * OLD + TOMBSTONE + "key".len());
    assert_eq!(rig.0.lag(id), Some((2, 2 * OLD + TOMBSTONE + "key".len())));
    rig.put("key", 2);
    assert_eq!(rig.0.retained_bytes(), 2 * OLD, "no tombstone any more");
    rig.publish(2);
    rig.drain(id);
    rig.assert_settled();
}

#[test]
fn the_limit_may_be_filled() {
    for (limit, is_reset) in [(OLD, false), (OLD - 1, true)] {
        let mut rig = Rig::with_limit(limit);
        let id = rig.join();
        rig.put("a", 1);
        rig.publish(1);
        rig.drain(id);
        rig.put("a", 2);
        assert_eq!(rig.0.take_lapsed(), is_reset.then_some(id));
    }
}

#[test]
fn a_subscriber_in_mid_pass_pays_for_both_ends() {
    let mut rig = Rig::new();
    let id = rig.join();
    rig.put("a", 1);
    rig.publish(1);
    rig.drain(id);
    rig.put("b", 1);
    rig.put("c", 1);
    rig.publish(2);
    assert_eq!(rig.poll(id), "+b=1");
    rig.put("c", 2);
    rig.put("a", 2);
    assert_eq!(rig.0.lag(id), Some((4, 2 * OLD)));
    rig.publish(3);
    assert_eq!(rig.drain(id), ["+c=1", "@2", "~c=1>2", "~a=1>2", "@3"]);
    rig.assert_settled();
}

#[test]
fn a_subscriber_that_walks_again_pays_once() {
    let mut rig = Rig::new();
    let id = rig.join();
    rig.put("a", 1);
    rig.put("b", 2);
    rig.publish(1);
    rig.drain(id);
    assert!(rig.0.set_filter(id, Some(even())));
    assert_eq!(rig.poll(id), "-a=1/1");
    rig.put("b", 3);
    assert_eq!(rig.0.lag(id), Some((1, OLD)));
    rig.publish(2);
    assert_eq!(rig.drain(id), ["@1", "-b=2/3", "@2"]);
    rig.assert_settled();
}

#[test]
fn a_tombstone_is_paid_for_once_whoever_leaves() {
    let mut rig = Rig::new();
    let [early, middle, late] = [1, 2, 3].map(|value| {
        let id = rig.join();
        rig.put("a", value);
        rig.publish(u64::from(value));
        rig.drain(id);
        id
    });
    rig.remove("a");
    assert_eq!(rig.0.retained_bytes(), 3 * OLD + TOMBSTONE + 1);
    rig.0.unsubscribe(middle);
    while rig.0.reclaim(1) {}
    assert_eq!(rig.0.retained_bytes(), 2 * OLD + TOMBSTONE + 1);
    rig.0.unsubscribe(late);
    while rig.0.reclaim(1) {}
    assert_eq!(rig.0.retained_bytes(), OLD + TOMBSTONE + 1);
    assert_eq!(rig.0.lag(early), Some((3, OLD + TOMBSTONE + 1)));
    rig.publish(4);
    assert_eq!(rig.drain(early), ["-a=1/3", "@4"]);
    rig.assert_settled();
}
