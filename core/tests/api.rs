//! What may be relied on of the types, whatever they hold.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic")]

mod rig;

use std::error::Error;
use std::fmt::Debug;
use std::sync::Arc;

use reflet_core::cache::{
    Cache, Delta, Filter, GapReason, Mark, Partition, Polled, Reached, SubscriberId, Subscription,
};
use reflet_core::index::{Index, IndexBy, IndexId, KeyOrder, KeyOrderId, Terms};
use reflet_core::{
    Attempt, BadInput, Command, Condition, Config, Deadline, Epoch, Failure, FailureClass, Fence,
    FenceError, Health, Incarnation, Informer, LimitKind, Notice, Rejection, Revision,
    SourceProfile, Timestamp, Verify, Version,
};
use rig::{Rig, config, plain_profile};

type Key = Arc<str>;

fn crosses_threads<T: Send + Sync + Unpin + Debug + 'static>() {}

fn is_plain<T: Clone + PartialEq + Send + Sync + Unpin + Debug + 'static>() {}

fn is_an_error<T: Error + Clone + PartialEq + Send + Sync + 'static>() {}

/// An engine goes to another thread, is kept behind a lock, and can be shown, with any value that can.
#[test]
fn whatever_users_hold_crosses_threads_and_can_be_shown() {
    crosses_threads::<Informer<Key, Arc<u64>>>();
    crosses_threads::<Informer<String, Vec<u8>>>();
    crosses_threads::<Cache<Key, Arc<u64>>>();
    crosses_threads::<Subscription<Key, u64>>();
    crosses_threads::<Filter<Key, u64>>();
    crosses_threads::<IndexBy<Key, u64>>();
    crosses_threads::<Index<Key, u64>>();
    crosses_threads::<KeyOrder<Key>>();
    crosses_threads::<Terms>();
    is_plain::<Delta<Key, u64>>();
    is_plain::<Polled<Key, u64>>();
    is_plain::<(Reached, Mark, GapReason, Partition)>();
    is_plain::<(SubscriberId, IndexId, KeyOrderId, Attempt, Fence)>();
    is_plain::<(Config, SourceProfile, Command, Deadline, Timestamp, Verify)>();
    is_plain::<(Revision, Version, Epoch, Incarnation)>();
    is_plain::<(Health<Key>, Notice<Key>, Condition)>();
}

#[cfg(feature = "wire")]
#[test]
fn so_does_whatever_speaks_the_protocol() {
    use reflet_core::wire::{Endpoint, EndpointError, Exchange, Next, WireLimits};

    crosses_threads::<(Endpoint, Exchange)>();
    is_plain::<(WireLimits, Next)>();
    is_an_error::<EndpointError>();
}

#[test]
fn what_says_what_went_wrong_is_an_error() {
    is_an_error::<Failure>();
    is_an_error::<Rejection>();
    is_an_error::<BadInput>();
    is_an_error::<FenceError>();
    #[cfg(feature = "snapshot")]
    is_an_error::<reflet_core::snapshot::SnapshotError>();
}

/// What keeps an informer from being well is said in words that name what to do or to wait for.
#[test]
fn conditions_are_said_in_words() {
    let failing = Condition::Failing(FailureClass::Denied);
    assert_eq!(failing.to_string(), "the last attempt failed: denied");
    let frozen = Condition::Frozen(LimitKind::StagedBytes).to_string();
    assert!(
        frozen.contains("the limit of staged_bytes: raise it"),
        "{frozen}"
    );
}

/// Two informers of the same kind, with ids of their own.
fn two() -> (Rig, Rig) {
    let mut one = Rig::new(config(plain_profile()));
    let mut other = Rig::new(config(plain_profile()));
    other.informer = Informer::new(config(plain_profile()), 8, other.now);
    for (rig, key) in [(&mut one, "a"), (&mut other, "b")] {
        let list = rig.expect_list();
        rig.list(list, 10, &[(key, 1)]);
    }
    (one, other)
}

#[test]
fn nothing_is_found_nor_removed_by_an_id_of_another_informer() {
    let (mut one, mut other) = two();
    let [mine, its] = [&mut one, &mut other].map(|rig| {
        let by = rig
            .informer
            .add_index_by("all", |_, _, terms| terms.add("x"));
        (by, rig.informer.add_key_order())
    });
    assert_ne!(mine, its);

    let cache = one.informer.cache();
    assert_eq!(cache.by_index(mine.0, "x").count(), 1);
    assert_eq!(cache.by_index(its.0, "x").count(), 0);
    assert_eq!(cache.count_by(its.0, "x"), 0);
    assert_eq!(cache.by_both((mine.0, "x"), (its.0, "x")).count(), 0);
    assert!(cache.index(its.0).is_none());
    assert_eq!(cache.iter_by_key(mine.1).count(), 1);
    assert_eq!(cache.iter_by_key(its.1).count(), 0);
    assert!(!one.informer.remove_index(its.0) && !one.informer.remove_key_order(its.1));
    assert!(one.informer.remove_index(mine.0) && one.informer.remove_key_order(mine.1));
}

/// A loop that has several informers may mix their answers up: better none than another's.
#[test]
fn nothing_is_heard_of_an_attempt_of_another_informer() {
    let (mut one, mut other) = two();
    let [mine, its] = [&mut one, &mut other].map(|rig| rig.expect_watch(10));
    assert_eq!(mine.number(), its.number());
    assert_ne!(mine, its);
    one.opened(its);
    one.put(its, 11, "a", 2);
    assert_eq!(one.informer.cache().get("a"), Some(&1));
    one.opened(mine);
    one.put(mine, 11, "a", 2);
    assert_eq!(one.informer.cache().get("a"), Some(&2));
}

#[test]
fn a_fence_is_passed_by_no_read_of_another_informer() {
    let fresh = SourceProfile {
        fresh_lists: true,
        ..plain_profile()
    };
    let mut one = Rig::new(config(fresh));
    let fence = one.informer.fence(one.now).unwrap();
    let (_, other) = two();
    assert!(!fence.is_passed_by(other.informer.last_read()));
    let list = one.expect_list();
    one.list(list, 10, &[("a", 1)]);
    assert!(fence.is_passed_by(one.informer.last_read()));
}

#[test]
fn nothing_is_handed_to_a_subscriber_of_another_informer() {
    let (mut one, mut other) = two();
    let [mine, its] = [&mut one, &mut other].map(|rig| rig.informer.subscribe(None));
    assert_ne!(mine, its);
    assert!(!one.informer.has_delta(its));
    assert_eq!(one.informer.poll_delta(its), Polled::Idle);
    assert_eq!(one.informer.drain_deltas(its, 10, |_| ()), Reached::Idle);
    assert!(!one.informer.redeliver(its) && !one.informer.set_filter(its, None));
    assert!(!one.informer.unsubscribe(its));

    let polled = one.informer.poll_delta(mine);
    assert!(matches!(polled, Polled::Delta(Delta::Added { key, .. }) if &*key == "a"));
}

/// The seed protects against keys that are chosen to collide: nothing that can be shown tells it.
#[test]
fn what_is_shown_of_an_informer_does_not_tell_its_seed() {
    let seed = 0x1234_5678_9abc_def0;
    let mut informer: Informer<Key, u64> = Informer::new(Config::default(), seed, Timestamp::ZERO);
    let subscriber = informer.subscribe(None);
    let index = informer.add_index_by("all", |_, _, terms| terms.add("x"));
    let shown = format!(
        "{informer:?} {subscriber:?} {index:?} {:?}",
        informer.health()
    );
    assert!(shown.contains("SubscriberId(0.0) IndexId(0)"), "{shown}");
    assert!(!shown.contains(&seed.to_string()), "{shown}");
}
