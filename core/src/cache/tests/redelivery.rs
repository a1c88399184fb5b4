//! Redeliveries and partitions.

use super::*;

#[test]
fn a_redelivery_hands_out_what_is_there_once_more_and_news_as_what_they_are() {
    let mut rig = Rig::new();
    let id = rig.join();
    for name in ["a", "b", "c", "d"] {
        rig.put(name, 1);
    }
    rig.publish(1);
    rig.drain(id);
    assert!(rig.0.redeliver(id) && rig.0.has_news(id));
    rig.put("b", 2);
    rig.remove("c");
    rig.put("e", 1);
    rig.publish(2);
    let all = ["=a=1", "=d=1", "~b=1>2", "-c=1/1", "+e=1", "@2"];
    assert_eq!(rig.drain(id), all);
    assert!(!rig.0.has_news(id));
    rig.assert_settled();
}

#[test]
fn what_changes_during_a_redelivery_is_redelivered_as_it_was_and_updated_after_it() {
    let mut rig = Rig::new();
    let id = rig.join();
    for name in ["a", "b", "c"] {
        rig.put(name, 1);
    }
    rig.publish(1);
    rig.drain(id);
    rig.0.redeliver(id);
    assert_eq!(rig.poll(id), "=a=1");
    rig.put("b", 2);
    rig.remove("c");
    rig.publish(2);
    assert_eq!(
        rig.drain(id),
        ["=b=1", "=c=1", "@1", "~b=1>2", "-c=1/1", "@2"]
    );
    rig.assert_settled();
}

#[test]
fn asking_twice_is_asking_once_but_not_for_what_is_under_way() {
    let mut rig = Rig::new();
    let id = rig.join();
    rig.put("a", 1);
    rig.put("b", 1);
    rig.publish(1);
    rig.drain(id);
    rig.0.redeliver(id);
    rig.0.redeliver(id);
    assert_eq!(rig.poll(id), "=a=1");
    rig.0.redeliver(id);
    rig.0.redeliver(id);
    assert_eq!(rig.drain(id), ["=b=1", "@1", "=a=1", "=b=1", "@1"]);
}

#[test]
fn nothing_is_redelivered_to_who_has_nothing() {
    let mut rig = Rig::new();
    let id = rig.join();
    rig.0.redeliver(id);
    rig.put("a", 1);
    assert_eq!(rig.drain(id), Vec::<String>::new());
    rig.publish(1);
    assert_eq!(rig.drain(id), ["+a=1", "@1!"]);
}

#[test]
fn a_redelivery_under_another_filter_hands_out_what_passes_both() {
    let mut rig = Rig::new();
    let id = rig.join();
    for value in 1..=4 {
        rig.put(&key(value), value);
    }
    rig.publish(1);
    rig.drain(id);
    rig.0.redeliver(id);
    rig.0.set_filter(id, Some(even()));
    let all = ["-k1=1/1", "=k2=2", "-k3=3/3", "=k4=4", "@1"];
    assert_eq!(rig.drain(id), all);
}

#[test]
fn a_reset_makes_up_for_a_redelivery() {
    let mut rig = Rig::with_limit(0);
    let id = rig.join();
    rig.put("a", 1);
    rig.publish(1);
    rig.drain(id);
    rig.0.redeliver(id);
    rig.put("a", 2);
    rig.publish(2);
    assert_eq!(rig.drain(id), ["reset", "+a=2", "@2!"]);
}

#[test]
fn a_partition_stays_what_it_is_when_its_filter_changes() {
    let mut rig = Rig::new();
    let of = core::num::NonZero::new(2).unwrap();
    let its = Partition::new(1, of).unwrap();
    let id = rig.0.subscribe(Subscription::new().partition(its));
    let share: Vec<u32> = (0..40).filter(|n| its.has::<Box<str>>(&key(*n))).collect();
    assert!((10..30).contains(&share.len()), "{share:?}");
    for number in 0..40 {
        rig.put(&key(number), number);
    }
    rig.publish(1);
    let mut expected: Vec<_> = share.iter().map(|n| format!("+{}={n}", key(*n))).collect();
    expected.push("@1!".into());
    assert_eq!(rig.drain(id), expected);
    rig.0.set_filter(id, Some(even()));
    let odd = share.iter().filter(|n| *n % 2 == 1);
    let mut expected: Vec<_> = odd.map(|n| format!("-{}={n}/{n}", key(*n))).collect();
    expected.push("@1".into());
    assert_eq!(rig.drain(id), expected);
}
