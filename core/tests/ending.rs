//! What follows the end of a watch, and what runs beside it.
#![allow(clippy::panic, reason = "the helpers of a test may panic")]

mod rig;

use std::time::Duration;

use reflet_core::{
    Body, Change, Command, Condition, Epoch, Event, FailureClass, Feed, Input, Item, LimitKind,
    Notice, OnNewEpoch, Removal, SourceProfile, TimerReason, Verify, VersionRef, WatchFrom,
};
use rig::{Rig, config, full_profile, item, objects, plain_profile};

#[test]
fn a_healthy_watch_that_falls_silent_is_resumed_at_once() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.say(watch, Input::Heartbeat);
    rig.pass(Duration::from_secs(30));
    assert_eq!(rig.command(), Some(Command::Cancel { attempt: watch }));
    assert!(matches!(rig.command(), Some(Command::Watch { .. })));
}

#[test]
fn a_second_gone_in_a_row_is_paced() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.list(list, 20, &[("a", 1)]);
    let watch = rig.expect_watch(20);
    rig.fail(watch, FailureClass::Gone);
    let deadline = rig.informer.poll_timeout().unwrap();
    assert_eq!(deadline.reason, TimerReason::Backoff);
}

#[test]
fn a_verify_ends_with_its_watch_and_follows_the_next_one() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.informer.verify(rig.now, Verify::Versions);
    let list = rig.expect_list();
    rig.fail(watch, FailureClass::Retryable);
    assert_eq!(rig.command(), Some(Command::Cancel { attempt: list }));
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    for _ in 0..4 {
        rig.pass(Duration::from_secs(9));
        rig.say(watch, Input::Heartbeat);
    }
    rig.expect_list();
}

#[test]
fn a_verify_that_had_not_begun_follows_the_next_watch_too() {
    let mut config = config(full_profile());
    config.timing.burst = 2;
    config.timing.min_interval = Duration::from_secs(5);
    let (mut rig, watch) = Rig::watching(config);
    rig.informer.verify(rig.now, Verify::Versions);
    assert_eq!(rig.command(), None, "the pacer holds it back");
    rig.fail(watch, FailureClass::Retryable);
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    while !rig.informer.has_command() {
        rig.pass(Duration::from_secs(1));
        rig.say(watch, Input::Heartbeat);
        assert!(rig.now.as_nanos() < 100_000_000_000, "no verify");
    }
    rig.expect_list();
}

#[test]
fn a_list_for_another_reason_is_a_verify_too() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.put_after(watch, 12, 13, "a", 13);
    let watch = rig.expect_watch(10);
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.list(list, 13, &[("a", 13)]);
    let watch = rig.expect_watch(13);
    rig.opened(watch);
    for _ in 0..10 {
        rig.pass(Duration::from_secs(9));
        rig.say(watch, Input::Heartbeat);
        assert_eq!(rig.command(), None);
    }
}

#[test]
fn a_watch_that_made_a_step_is_no_dead_end() {
    let mut config = config(plain_profile());
    config.policy.dead_ends = 1;
    let (mut rig, watch) = Rig::watching(config);
    rig.progress(watch, 11);
    rig.fail(watch, FailureClass::Behind);
    rig.expect_watch(11);
}

#[test]
fn hints_that_close_are_opened_again_and_are_no_dead_end() {
    let feed = Feed::HintOnly;
    let mut rig = Rig::new(config(SourceProfile {
        feed,
        ..plain_profile()
    }));
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1)]);
    for _ in 0..8 {
        let Some(Command::Watch {
            attempt,
            from: WatchFrom::Now,
            ..
        }) = rig.next_start()
        else {
            panic!("no hints")
        };
        rig.say(attempt, Input::Closed);
    }
}

#[test]
fn a_watch_in_a_refused_epoch_is_retried_slowly() {
    let mut config = config(plain_profile());
    config.policy.new_epoch = OnNewEpoch::Refuse;
    let mut rig = Rig::new(config);
    let list = rig.expect_list();
    rig.page(list, Some("one"), 10, &[("a", 1)], None);
    let watch = rig.expect_watch(10);
    let epoch = Some(Epoch::new("two"));
    rig.say(watch, Input::Opened { epoch });
    assert_eq!(rig.reason(), Some(Condition::NewEpochRefused));
    let deadline = rig.informer.poll_timeout().unwrap();
    assert_eq!(deadline.reason, TimerReason::SlowRetry);
}

#[test]
fn in_an_ordered_history_a_delete_is_a_delete_whatever_its_version() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    let change = Change::Delete(Removal {
        key: "b",
        version: Some(1.into()),
        incarnation: None,
        last: None,
        size: 9,
    });
    let revision = Some(11.into());
    rig.say(
        watch,
        Input::Event(Event {
            change,
            revision,
            previous: None,
        }),
    );
    assert_eq!(rig.cache(), objects(&[("a", 1)]));
}

#[test]
fn the_same_content_in_a_new_history_is_held_in_its_new_version() {
    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    rig.page(list, Some("one"), 10, &[("a", 9)], None);
    let watch = rig.expect_watch(10);
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    let (epoch, revision) = (Some(Epoch::new("two")), Some(5.into()));
    rig.say(list, Input::Page { epoch, revision });
    let body = Body::Value(9);
    rig.say(
        list,
        Input::Item(Item {
            body,
            ..item("a", 3)
        }),
    );
    rig.say(list, Input::PageEnd { next: None });
    let watch = rig.expect_watch(5);
    assert!(rig.informer.holds(watch, "a", VersionRef::from(3), None));
}

#[test]
fn a_verify_beside_which_too_much_happens_is_put_off() {
    let mut config = config(full_profile());
    config.limits.objects = 2;
    let (mut rig, watch) = Rig::watching(config);
    rig.informer.verify(rig.now, Verify::Versions);
    let list = rig.expect_list();
    for (revision, key) in [(11, "a"), (12, "b"), (13, "c")] {
        rig.delete(watch, revision, key);
        rig.batch_end(watch, revision);
    }
    assert_eq!(rig.command(), Some(Command::Cancel { attempt: list }));
    for _ in 0..4 {
        rig.pass(Duration::from_secs(9));
        rig.say(watch, Input::Heartbeat);
    }
    rig.expect_list();
}

#[test]
fn a_list_of_too_many_bytes_freezes() {
    let mut config = config(plain_profile());
    config.limits.bytes = 100;
    let mut rig = Rig::new(config);
    let list = rig.expect_list();
    let big = |key| Item {
        size: 60,
        ..item(key, 1)
    };
    let revision = Some(10.into());
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision,
        },
    );
    rig.say(list, Input::Item(big("a")));
    rig.say(list, Input::Item(big("b")));
    let limit = LimitKind::Bytes;
    assert_eq!(rig.reason(), Some(Condition::Frozen(limit)));
    assert!(rig.notices().contains(&Notice::Frozen { limit }));
}
