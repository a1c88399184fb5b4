//! Limits: who pays, who is reset, and how many steps anything takes.

use super::*;
use crate::cache::log::OLD_COST;

const OLD: usize = OLD_COST as usize + SIZE;

#[test]
fn who_falls_too_far_behind_is_reset_and_nobody_else_notices() {
    let play = |with_sleeper: bool| {
        let mut rig = Rig::with_limit(1_000);
        let quick = rig.join();
        let sleeper = with_sleeper.then(|| rig.join());
        let mut heard = Vec::new();
        for round in 0..50 {
            rig.put(&key(round % 20), round);
            if round % 7 == 6 {
                rig.remove(&key(round % 20));
            }
            rig.publish(u64::from(round));
            heard.extend(rig.drain(quick));
            if round == 20 {
                sleeper.map(|id| rig.drain(id));
            }
            let limits = 1_000 * rig.0.subscriber_ids().count();
            assert!(sleeper.is_none() || rig.0.retained_bytes() <= limits);
        }
        (rig, heard, sleeper)
    };
    let (_, undisturbed, _) = play(false);
    let (mut rig, heard, sleeper) = play(true);
    assert_eq!(heard, undisturbed);
    let sleeper = sleeper.unwrap();
    assert_eq!(
        (rig.0.take_lapsed(), rig.0.take_lapsed()),
        (Some(sleeper), None)
    );
    assert!(rig.0.has_news(sleeper));
    let heard = rig.drain(sleeper);
    assert_eq!(
        (heard[0].as_str(), heard[heard.len() - 1].as_str()),
        ("reset", "@49!")
    );
    assert_eq!(heard.len(), 2 + rig.0.len());
    assert_eq!(rig.0.take_lapsed(), None, "told once");
    rig.assert_settled();
}

#[test]
fn the_slowest_pays_for_what_all_hold() {
    let mut rig = Rig::new();
    let (slow, slower) = (rig.join(), rig.join());
    rig.put("a", 1);
    rig.publish(1);
    rig.drain(slower);
    rig.put("b", 1);
    rig.publish(2);
    rig.drain(slow);
    rig.put("a", 2);
    rig.publish(3);
    let retained = rig.0.retained_bytes();
    assert_eq!(rig.0.lag(slower), Some((2, retained)));
    assert_eq!(rig.0.lag(slow), Some((1, 0)));
    assert!(rig.0.unsubscribe(slower));
    while rig.0.reclaim(1) {}
    assert_eq!(
        (rig.0.lag(slow), rig.0.lag(slower)),
        (Some((1, retained)), None)
    );
    assert_eq!(rig.drain(slow), ["~a=1>2", "@3"]);
    rig.assert_settled();
}

#[test]
fn what_a_leaver_held_is_freed_a_few_steps_at_a_time() {
    let mut rig = Rig::new();
    let id = rig.join();
    for number in 0..1_000 {
        rig.put(&key(number), 0);
    }
    rig.publish(1);
    rig.drain(id);
    for number in 0..1_000 {
        rig.remove(&key(number));
    }
    let retained = rig.0.retained_bytes();
    assert!(
        retained > 1_000 * 2 * SIZE,
        "values and tombstones are accounted for"
    );
    rig.0.take_steps();
    rig.0.unsubscribe(id);
    assert_eq!(rig.0.take_steps(), 0);
    assert_eq!(rig.0.retained_bytes(), retained);
    rig.put("x", 1);
    assert_eq!(rig.0.take_steps(), STEPS_PER_CALL as u64);
    assert!(rig.0.reclaim(900));
    assert!(!rig.0.reclaim(96));
    rig.assert_settled();
}

#[test]
fn a_poll_that_finds_nothing_yields_and_goes_on_from_there() {
    let mut rig = Rig::new();
    let id = rig
        .0
        .subscribe(Subscription::new().filter(Filter::new(|_, value: &u32| *value > 0)));
    let nodes = 10 * NODES_PER_POLL as u32;
    for number in 0..nodes {
        rig.put(&key(number), 0);
    }
    rig.put("last", 1);
    rig.publish(1);
    for _ in 0..10 {
        rig.0.take_steps();
        assert_eq!(rig.poll(id), "yield");
        assert_eq!(rig.0.take_steps(), NODES_PER_POLL as u64);
        rig.put("last", 2);
    }
    rig.publish(2);
    assert_eq!(rig.drain(id), ["+last=1", "@1!", "~last=1>2", "@2"]);
    rig.assert_settled();
}

#[test]
fn ten_thousand_laggards_on_a_hot_key_cost_no_more_steps_each_than_one() {
    for backwards in [false, true] {
        let mut rig = Rig::new();
        let laggards: Vec<_> = (0..10_000).map(|_| rig.join()).collect();
        rig.0.take_steps();
        for (value, id) in (0..).zip(&laggards) {
            rig.put("hot", value);
            rig.publish(u64::from(value));
            while !matches!(rig.0.poll(*id), Polled::Idle) {}
        }
        assert!(
            rig.0.take_steps() <= 10_000 * 8,
            "a sleeper costs a write nothing"
        );
        rig.put("hot", 10_000);
        rig.publish(10_000);
        let polled: Vec<_> = (0..).zip(laggards).collect();
        let polled: Vec<(u32, SubscriberId)> = if backwards {
            polled.into_iter().rev().collect()
        } else {
            polled
        };
        for (value, id) in polled {
            assert_eq!(
                [rig.poll(id), rig.poll(id)],
                [format!("~hot={value}>10000"), "@10000".into()]
            );
        }
        // A look-up in the chain by halving, a few nodes, and the reclaiming.
        assert!(rig.0.take_steps() <= 10_000 * (16 + 4 + 2 * STEPS_PER_CALL as u64));
        rig.assert_settled();
    }
}

#[test]
fn nobody_is_charged_for_a_tombstone_that_only_another_pass_needs() {
    let mut rig = Rig::with_limit(2 * OLD);
    let sleeper = rig.join();
    rig.put("gone", 1);
    rig.publish(1);
    rig.drain(sleeper);
    let quick = rig.join();
    rig.put("a", 1);
    rig.put("b", 1);
    rig.remove("gone");
    rig.publish(2);
    rig.drain(quick);
    let newcomer = rig.join();
    assert_eq!(
        rig.poll(newcomer),
        "+a=1",
        "its pass ends where the quick one rests"
    );
    rig.put("gone", 2);
    rig.put("a", 2);
    rig.put("b", 2);
    rig.publish(3);
    rig.0.check();
    assert_eq!(
        rig.drain(newcomer),
        ["+b=1", "@2!", "+gone=2", "~a=1>2", "~b=1>2", "@3"]
    );
    assert_eq!(rig.drain(quick), ["+gone=2", "~a=1>2", "~b=1>2", "@3"]);
    assert_eq!(rig.0.take_lapsed(), None);
    rig.drain(sleeper);
    rig.assert_settled();
}
