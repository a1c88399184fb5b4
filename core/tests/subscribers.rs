//! What subscribers hold back, and who is told of it.

mod rig;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reflet_core::cache::{Delta, DeltaRef, Reached};
use reflet_core::{Attempt, Notice, TimerReason};
use rig::{Rig, config, plain_profile};

#[test]
fn a_subscriber_can_leave_only_once() {
    let (mut rig, _watch): (Rig, Attempt) = Rig::watching(config(plain_profile()));
    let id = rig.informer.subscribe(None);
    assert!(rig.informer.has_delta(id) && rig.informer.set_filter(id, None));
    assert!(rig.informer.unsubscribe(id));
    assert!(!rig.informer.unsubscribe(id) && !rig.informer.set_filter(id, None));
    assert!(!rig.informer.has_delta(id));
}

/// A rig whose only subscriber has heard of ten objects, each of which has changed since.
fn behind(retained_bytes: usize) -> Rig {
    let mut config = config(plain_profile());
    config.limits.retained_bytes = retained_bytes;
    let mut rig = Rig::new(config);
    let list = rig.expect_list();
    let keys: Vec<_> = (0..10).map(|key| format!("k{key}")).collect();
    let items: Vec<_> = keys.iter().map(|key| (&**key, 1)).collect();
    rig.list(list, 10, &items);
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    rig.drain();
    rig.notices();
    for (key, revision) in keys.iter().zip(11..) {
        rig.put(watch, revision, key, revision);
    }
    rig
}

#[test]
fn deltas_are_lent_up_to_a_mark_and_not_copied() {
    let mut rig = behind(1_000_000);
    let subscriber = rig.health().subscribers[0].id;
    let owners: BTreeMap<Arc<str>, usize> = {
        let entries = rig.informer.cache().iter();
        entries.map(|entry| (Arc::from(&**entry.key), Arc::strong_count(entry.key)))
    }
    .collect();
    let mut heard = Vec::new();
    let mut lend = |most| {
        rig.informer.drain_deltas(subscriber, most, |delta| {
            let DeltaRef::Updated { key, old, new } = delta else {
                panic!("{delta:?} of an object that was there before");
            };
            assert_eq!(Arc::strong_count(key), owners[key]);
            heard.push((key.to_string(), *old, *new));
        })
    };
    assert_eq!([lend(4), lend(4)], [Reached::Budget, Reached::Budget]);
    assert!(matches!(lend(4), Reached::Mark(mark) if mark.revision == Some(20.into())));
    assert_eq!(lend(4), Reached::Idle);
    let changed = (0..10).map(|number| (format!("k{number}"), 1, number + 11));
    assert_eq!(heard, changed.collect::<Vec<_>>());
}

#[test]
fn who_holds_back_too_much_is_reset_and_named() {
    let mut rig = behind(1_000);
    let subscriber = rig.health().subscribers[0].id;
    assert!(
        rig.notices()
            .contains(&Notice::SubscriberReset { subscriber })
    );
    assert!(rig.informer.has_delta(subscriber));
    rig.drain();
    assert_eq!(rig.mirror.objects.len(), 10);
    assert!(rig.mirror.log.contains(&Delta::Reset));
    assert!(
        !rig.notices()
            .contains(&Notice::SubscriberReset { subscriber })
    );
}

#[test]
fn what_a_leaver_held_back_is_given_back_even_if_nothing_else_happens() {
    let mut rig = behind(1_000_000);
    let health = rig.health();
    assert!(health.retained_bytes > 10 * 8);
    let subscriber = health.subscribers[0];
    assert_eq!(
        (subscriber.lag, subscriber.retained_bytes),
        (10, health.retained_bytes)
    );
    assert!(rig.informer.unsubscribe(subscriber.id));
    let deadline = rig.informer.poll_timeout().unwrap();
    assert_eq!(deadline.reason, TimerReason::Reclaim);
    rig.pass(Duration::from_secs(1));
    let health = rig.health();
    assert_eq!((health.retained_bytes, health.subscribers.len()), (0, 0));
    assert_ne!(health.deadline.unwrap().reason, TimerReason::Reclaim);
}
