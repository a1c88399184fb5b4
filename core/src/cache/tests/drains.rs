//! Drains: several deltas in one go, and what is left when one is broken off.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// One object of each kind of news, and a pair: as `take` tells it.
const NEWS: [&str; 5] = ["~a=1>2", "-b=1/1", "-c=1/1?", "+c=3", "+d=4"];

fn with_news(rig: &mut Rig) {
    for name in ["a", "b", "c"] {
        rig.put_as(name, 1, Some(1));
    }
    rig.publish(1);
    for id in rig.0.subscriber_ids().collect::<Vec<_>>() {
        rig.drain(id);
    }
    rig.put("a", 2);
    rig.remove("b");
    rig.put_as("c", 3, Some(2));
    rig.put("d", 4);
    rig.publish(2);
}

#[test]
fn a_drain_goes_up_to_the_next_mark_or_as_far_as_it_may() {
    for most in 0..7 {
        let mut rig = Rig::new();
        let id = rig.join();
        with_news(&mut rig);
        let mut heard = Vec::new();
        loop {
            let part = rig.take(id, most);
            let deltas = part.len() - 1;
            assert!(deltas <= most.max(1));
            heard.extend_from_slice(&part[..deltas]);
            if part[deltas] == "@2" {
                break;
            }
            assert_eq!((part[deltas].as_str(), deltas), ("budget", most.max(1)));
        }
        assert_eq!(heard, NEWS);
        assert!(rig.take(id, most).is_empty());
        rig.assert_settled();
    }
}

#[test]
fn drains_and_polls_take_turns() {
    let mut rig = Rig::new();
    let id = rig.join();
    with_news(&mut rig);
    assert_eq!(rig.poll(id), "~a=1>2");
    assert_eq!(rig.take(id, 2), ["-b=1/1", "-c=1/1?", "budget"]);
    rig.put("d", 5);
    rig.publish(3);
    assert_eq!(rig.poll(id), "+c=3");
    assert_eq!(rig.take(id, 9), ["+d=4", "@2"]);
    assert_eq!(rig.poll(id), "~d=4>5");
    assert_eq!(rig.take(id, 9), ["@3"]);
    rig.assert_settled();
}

#[test]
fn whoever_panics_over_a_delta_is_handed_it_again_and_nothing_else() {
    for fatal in 0..NEWS.len() {
        let mut rig = Rig::new();
        let (id, other) = (rig.join(), rig.join());
        with_news(&mut rig);
        let mut heard = Vec::new();
        for _ in 0..3 {
            let fold = |delta: DeltaRef<'_, Box<str>, u32>| {
                let delta = words(&delta.to_delta());
                assert_ne!(delta, NEWS[fatal], "a bug of the caller's");
                heard.push(delta);
            };
            let drain = AssertUnwindSafe(|| rig.0.drain(id, 9, fold));
            assert!(catch_unwind(drain).is_err());
            rig.0.check();
        }
        assert_eq!(heard, NEWS[..fatal], "what came before is told once");
        rig.put("a", 6);
        rig.publish(3);
        heard.extend(rig.take(id, 9));
        assert_eq!(heard, [&NEWS[..], &["@2"]].concat());
        assert_eq!(rig.take(id, 9), ["~a=2>6", "@3"]);
        assert_eq!(rig.drain(other)[..2], ["-b=1/1", "-c=1/1?"]);
        rig.assert_settled();
    }
}

#[test]
fn a_reset_that_nobody_took_is_told_again() {
    let mut rig = Rig::with_limit(0);
    let id = rig.join();
    with_news(&mut rig);
    let drain = AssertUnwindSafe(|| rig.0.drain(id, 9, |_| panic!("a bug of the caller's")));
    assert!(catch_unwind(drain).is_err());
    assert_eq!(rig.take(id, 9), ["reset", "+a=2", "+c=3", "+d=4", "@2!"]);
}

#[test]
fn a_filter_that_panics_in_mid_drain_takes_back_nothing() {
    let mut rig = Rig::new();
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let its = Filter::new(move |_, value: &u32| {
        assert!(
            *value != 3 || is_mended.load(Ordering::Relaxed),
            "a bug of the caller's"
        );
        true
    });
    let id = rig.0.subscribe(Subscription::new().filter(its));
    for value in 1..=4 {
        rig.put(&key(value), value);
    }
    rig.publish(1);
    let mut heard = Vec::new();
    for _ in 0..2 {
        let fold = |delta: DeltaRef<'_, Box<str>, u32>| heard.push(words(&delta.to_delta()));
        let drain = AssertUnwindSafe(|| rig.0.drain(id, 9, fold));
        assert!(catch_unwind(drain).is_err());
        rig.0.check();
    }
    assert_eq!(heard, ["+k1=1", "+k2=2"]);
    mended.store(true, Ordering::Relaxed);
    assert_eq!(rig.take(id, 9), ["+k3=3", "+k4=4", "@1!"]);
    rig.assert_settled();
}

#[test]
fn a_drain_looks_at_as_many_nodes_as_it_may_hand_over() {
    let nodes = 10 * NODES_PER_POLL;
    let mut rig = Rig::new();
    let id = rig
        .0
        .subscribe(Subscription::new().filter(Filter::new(|_, value: &u32| *value > 0)));
    for number in 0..nodes {
        rig.put(&key(number as u32), 0);
    }
    rig.put("last", 1);
    rig.publish(1);
    for most in [1, NODES_PER_POLL, 2 * NODES_PER_POLL] {
        rig.0.take_steps();
        assert_eq!(rig.take(id, most), ["budget"]);
        assert_eq!(rig.0.take_steps(), most.max(NODES_PER_POLL) as u64);
    }
    assert_eq!(rig.take(id, nodes), ["+last=1", "@1!"]);
    rig.assert_settled();
}

#[test]
fn a_panic_takes_nothing_off_a_journal() {
    let mut rig = Rig::new();
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let its = Filter::new(move |_, value: &u32| {
        assert!(
            *value != 3 || is_mended.load(Ordering::Relaxed),
            "a bug of the caller's"
        );
        true
    });
    let id = rig
        .0
        .subscribe(Subscription::new().filter(its).lossless(1 << 20));
    rig.publish(1);
    assert_eq!(rig.take(id, 9), ["@1!"]);
    for value in 1..=4 {
        rig.put("a", value);
    }
    rig.publish(2);
    let mut heard = Vec::new();
    let fold = |delta: DeltaRef<'_, Box<str>, u32>| heard.push(words(&delta.to_delta()));
    let drain = AssertUnwindSafe(|| rig.0.drain(id, 9, fold));
    assert!(catch_unwind(drain).is_err(), "the filter's");
    assert_eq!(heard, ["+a=1", "~a=1>2"]);
    mended.store(true, Ordering::Relaxed);
    let drain = AssertUnwindSafe(|| rig.0.drain(id, 9, |_| panic!("a bug of the caller's")));
    assert!(catch_unwind(drain).is_err(), "the taker's");
    rig.0.check();
    assert_eq!(rig.take(id, 1), ["~a=2>3", "budget"]);
    assert_eq!(rig.take(id, 9), ["~a=3>4", "@2"]);
    assert_eq!(rig.take(id, 9), Vec::<String>::new());
    rig.assert_settled();
}

#[test]
fn a_journal_and_the_pass_after_it_share_one_budget() {
    let mut rig = Rig::new();
    let records = 10 * NODES_PER_POLL;
    let some = Filter::new(|_, value: &u32| *value > 0);
    let id = rig
        .0
        .subscribe(Subscription::new().filter(some).lossless(1 << 30));
    rig.publish(1);
    assert_eq!(rig.take(id, 9), ["@1!"]);
    for _ in 0..records {
        rig.put("a", 0);
    }
    rig.put("a", 1);
    rig.publish(2);
    for left in (0..10).rev() {
        assert_eq!(rig.take(id, 1), ["budget"]);
        let (behind, _) = rig.0.lag(id).unwrap();
        let rest = 2 + left * NODES_PER_POLL;
        assert_eq!(behind, rest as u64, "the last change, its mark, and these");
    }
    assert_eq!(rig.take(id, 9), ["+a=1", "@2"]);
    rig.assert_settled();
}
