//! Fences: what was in the source when somebody asked is in the cache once a read that began later
//! has been taken over.
#![allow(clippy::panic, reason = "the helpers of a test may panic")]

mod rig;

use std::time::Duration;

use reflet_core::{
    Class, Command, Config, FailureClass, Feed, Fence, FenceError, Input, RevisionOrder,
    SourceProfile,
};
use rig::{Rig, config, full_profile, objects, plain_profile};

fn fresh(source: SourceProfile) -> Config {
    config(SourceProfile {
        fresh_lists: true,
        ..source
    })
}

fn fence(rig: &mut Rig) -> Fence {
    rig.informer
        .fence(rig.now)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn passed(rig: &Rig, fence: Fence) -> bool {
    fence.is_passed_by(rig.informer.last_read())
}

#[test]
fn a_fence_is_passed_by_a_list_that_began_later() {
    for profile in [full_profile(), plain_profile()] {
        let (mut rig, watch) = Rig::watching(fresh(profile));
        let fence = fence(&mut rig);
        rig.say(watch, Input::Heartbeat);
        let list = rig.expect_list();
        assert!(!passed(&rig, fence), "asked for is not read");
        rig.page(list, None, 12, &[("a", 1)], Some("more"));
        let Some(Command::List { attempt, .. }) = rig.next_start() else {
            panic!("the next page is asked for");
        };
        assert!(!passed(&rig, fence), "half a list shows nothing");
        rig.page(attempt, None, 12, &[("b", 12)], None);
        assert!(passed(&rig, fence));
        assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 12)]));
    }
}

#[test]
fn a_list_under_way_does_not_pass_a_fence_and_one_is_enough_for_many() {
    let (mut rig, _) = Rig::watching(fresh(full_profile()));
    let first = fence(&mut rig);
    let list = rig.expect_list();
    let late = [(); 5].map(|()| fence(&mut rig));
    rig.list(list, 12, &[("a", 1)]);
    assert!(passed(&rig, first));
    assert!(late.iter().all(|fence| !passed(&rig, *fence)));
    rig.pass(Duration::ZERO);
    let next = rig.expect_list();
    rig.list(next, 12, &[("a", 1)]);
    assert!(late.iter().all(|fence| passed(&rig, *fence)));
    rig.pass(Duration::from_secs(9));
    assert!(rig.command().is_none(), "no list for each");
}

#[test]
fn a_list_that_nobody_has_heard_of_has_not_begun() {
    let mut rig = Rig::new(fresh(full_profile()));
    let fence = fence(&mut rig);
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1)]);
    assert!(passed(&rig, fence));
    rig.expect_watch(10);
}

#[test]
fn a_fence_outlasts_failures() {
    let (mut rig, watch) = Rig::watching(fresh(plain_profile()));
    let fence = fence(&mut rig);
    let list = rig.expect_list();
    rig.fail(list, FailureClass::Retryable);
    let list = rig.expect_list();
    rig.list(list, 9, &[("a", 1)]);
    assert!(!passed(&rig, fence), "an older list is refused");
    let list = rig.expect_list();
    rig.list(list, 12, &[("a", 1)]);
    assert!(passed(&rig, fence));
    assert_ne!(list, watch);
}

#[test]
fn a_list_with_an_object_that_cannot_be_read_does_not_pass_a_fence() {
    let (mut rig, _) = Rig::watching(fresh(plain_profile()));
    let fence = fence(&mut rig);
    let list = rig.expect_list();
    let (epoch, revision) = (None, Some(12.into()));
    rig.say(list, Input::Page { epoch, revision });
    let (size, error) = (5, "bad");
    rig.say(list, Input::Undecodable { size, error });
    rig.say(list, Input::PageEnd { next: None });
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
    assert!(!passed(&rig, fence), "a or b may have been deleted");
    let Some(Command::Watch { attempt, .. }) = rig.next_start() else {
        panic!("the source is followed meanwhile");
    };
    rig.opened(attempt);
    rig.pass(Duration::from_secs(30));
    let list = rig.expect_list();
    rig.list(list, 12, &[("b", 2)]);
    assert!(passed(&rig, fence));
    assert_eq!(rig.cache(), objects(&[("b", 2)]));
}

#[test]
fn a_source_that_is_polled_is_asked_at_once_and_may_say_that_nothing_has_changed() {
    let mut config = fresh(SourceProfile {
        feed: Feed::FullState { blocking: false },
        class: Class::Whole,
        order: RevisionOrder::Opaque,
        ..SourceProfile::default()
    });
    config.timing.poll_interval = Duration::from_secs(60);
    let mut rig = Rig::new(config);
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1)]);
    let before = rig.now;
    let fence = fence(&mut rig);
    let list = rig.expect_list();
    assert_eq!(rig.now, before, "it does not wait for the next poll");
    assert!(!passed(&rig, fence));
    rig.say(list, Input::Unmodified);
    assert!(passed(&rig, fence));
}

#[test]
fn an_initial_stream_passes_a_fence_too() {
    let mut rig = Rig::new(fresh(SourceProfile {
        feed: Feed::InitialStream,
        ..plain_profile()
    }));
    let fence = fence(&mut rig);
    let mut streams = 0;
    while !passed(&rig, fence) {
        streams += 1;
        assert!(streams <= 2, "the stream under way, and one more at most");
        let attempt = match rig.next_start() {
            Some(Command::Watch { attempt, .. }) => attempt,
            Some(Command::List { attempt, .. }) => {
                rig.list(attempt, 12, &[("a", 1)]);
                continue;
            }
            other => panic!("{other:?}"),
        };
        rig.opened(attempt);
        rig.put(attempt, 10, "a", 1);
        let revision = Some(10.into());
        rig.say(attempt, Input::InitialEnd { revision });
        rig.pass(Duration::from_millis(1));
    }
    assert_eq!(rig.cache(), objects(&[("a", 1)]));
}

#[test]
fn a_source_that_promises_too_little_has_no_fences() {
    let (mut rig, _) = Rig::watching(config(full_profile()));
    let refused = rig.informer.fence(rig.now);
    assert_eq!(refused, Err(FenceError::NotOffered));
    assert!(rig.command().is_none());
    let (mut rig, _) = Rig::watching(fresh(full_profile()));
    rig.informer.stop(rig.now);
    assert_eq!(rig.informer.fence(rig.now), Err(FenceError::Stopped));
}

#[test]
fn fences_keep_the_pace() {
    let mut config = fresh(full_profile());
    config.timing.burst = 4;
    config.timing.min_interval = Duration::from_secs(1);
    let (mut rig, watch) = Rig::watching(config);
    let (start, mut lists) = (rig.now, 0_u32);
    while rig.now.saturating_since(start) < Duration::from_secs(60) {
        fence(&mut rig);
        rig.pass(Duration::from_millis(10));
        rig.say(watch, Input::Heartbeat);
        while let Some(command) = rig.command() {
            if let Command::List { attempt, .. } = command {
                lists += 1;
                rig.list(attempt, 12, &[("a", 1)]);
            }
        }
    }
    assert!((50..=64).contains(&lists), "{lists} lists in a minute");
}
