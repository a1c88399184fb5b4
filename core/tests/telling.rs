//! What health and notices say, and how tokens print.
#![allow(clippy::panic, reason = "the helpers of a test may panic")]

mod rig;

use std::sync::Arc;
use std::time::Duration;

use reflet_core::{
    Attempt, Body, Class, Command, Condition, Epoch, FailureClass, Feed, Incarnation, Informer,
    Input, Item, Key, Notice, Rejection, Revision, RevisionOrder, SourceProfile, State,
    TimerReason, Timestamp, Verify, Version, VersionRef,
};
use rig::{Rig, config, full_profile, objects, plain_profile};

fn stale(rig: &mut Rig) -> Vec<Condition> {
    let notices = rig.notices().into_iter();
    let reasons = notices.filter_map(|notice| match notice {
        Notice::Stale { reason } => Some(reason),
        _ => None,
    });
    reasons.collect()
}

#[test]
fn a_source_is_unverified_if_nothing_would_find_a_loss() {
    let unverified = |source: SourceProfile, period| {
        let mut config = config(source);
        config.timing.verify_period = period;
        Rig::new(config).health().unverified
    };
    let source = SourceProfile::default;
    assert!(unverified(source(), None));
    assert!(!unverified(source(), Some(Duration::from_secs(60))));
    let predecessors = true;
    assert!(!unverified(
        SourceProfile {
            predecessors,
            ..source()
        },
        None
    ));
    let digests = true;
    assert!(!unverified(
        SourceProfile {
            digests,
            ..source()
        },
        None
    ));
    let feed = Feed::FullState { blocking: false };
    assert!(!unverified(SourceProfile { feed, ..source() }, None));
}

#[test]
fn each_reason_to_be_stale_is_told_once() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.fail(watch, FailureClass::Retryable);
    let retryable = Condition::Failing(FailureClass::Retryable);
    assert_eq!(stale(&mut rig), [retryable]);
    let since = rig.health().since;
    rig.pass(Duration::from_secs(1));
    for (class, told) in [
        (FailureClass::Retryable, vec![]),
        (
            FailureClass::Denied,
            vec![Condition::Failing(FailureClass::Denied)],
        ),
        (FailureClass::Denied, vec![]),
    ] {
        let watch = rig.expect_watch(10);
        rig.fail(watch, class);
        assert_eq!((stale(&mut rig), rig.health().since), (told, since));
    }
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    assert_eq!(rig.notices(), [Notice::Live]);
    assert_eq!((rig.state(), rig.reason()), (State::Live, None));
    assert!(rig.health().since > since);
}

#[test]
fn before_the_first_list_nothing_is_called_stale() {
    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    rig.fail(list, FailureClass::Retryable);
    assert_eq!((stale(&mut rig), rig.state()), (vec![], State::Syncing));
    assert!(!rig.informer.is_synced() && !rig.informer.cache().is_synced());
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1)]);
    assert!(rig.informer.is_synced() && rig.informer.cache().is_synced());
}

#[test]
fn the_cache_tells_whether_its_revision_is_complete() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    let cache = |rig: &Rig| {
        let cache = rig.informer.cache();
        (cache.revision().cloned(), cache.is_complete())
    };
    assert_eq!(cache(&rig), (Some(10.into()), true));
    rig.put(watch, 11, "a", 11);
    assert_eq!(cache(&rig), (Some(11.into()), false));
    assert!(!rig.health().complete);
    rig.progress(watch, 11);
    assert_eq!(cache(&rig), (Some(11.into()), true));
    assert!(rig.health().complete);
    assert!(!rig.informer.cache().is_empty());
}

#[test]
fn what_cannot_be_read_makes_the_cache_incomplete() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.say(
        watch,
        Input::Undecodable {
            size: 3,
            error: "bad",
        },
    );
    rig.put(watch, 11, "a", 11);
    rig.batch_end(watch, 11);
    assert!(!rig.informer.cache().is_complete() && !rig.health().complete);
}

#[test]
fn a_verify_of_a_polled_source_is_the_next_poll_at_once() {
    let source = SourceProfile {
        feed: Feed::FullState { blocking: false },
        class: Class::Whole,
        order: RevisionOrder::Opaque,
        ..SourceProfile::default()
    };
    let mut rig = Rig::new(config(source));
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1)]);
    assert_eq!(rig.command(), None);
    let deadline = rig.informer.poll_timeout().unwrap();
    assert_eq!(deadline.reason, TimerReason::Poll);
    rig.informer.verify(rig.now, Verify::Versions);
    let Some(Command::List { attempt, .. }) = rig.command() else {
        panic!("no list")
    };
    rig.fail(attempt, FailureClass::Denied);
    rig.informer.verify(rig.now, Verify::Versions);
    assert_eq!(
        rig.command(),
        None,
        "a wait after a failure is not cut short"
    );
    let deadline = rig.informer.poll_timeout().unwrap();
    assert_eq!(deadline.reason, TimerReason::SlowRetry);
}

#[test]
fn a_list_is_over_at_its_deadline_also_if_its_next_page_is_due_then() {
    let mut config = config(plain_profile());
    config.timing.page_burst = 1;
    config.timing.page_interval = Duration::from_secs(20);
    config.timing.list_deadline = Duration::from_secs(20);
    let mut rig = Rig::new(config);
    let list = rig.expect_list();
    for next in ["one", "two"] {
        rig.page(list, None, 10, &[], Some(next));
        rig.command();
    }
    let deadline = rig.informer.poll_timeout().unwrap();
    assert_eq!(deadline.reason, TimerReason::ListDeadline);
    rig.pass_until(deadline.at);
    assert_eq!(
        rig.reason(),
        Some(Condition::TimedOut(TimerReason::ListDeadline))
    );
}

#[test]
fn a_stream_that_has_ended_and_falls_silent_is_no_reason_to_fall_back() {
    let feed = Feed::InitialStream;
    let mut rig = Rig::new(config(SourceProfile {
        feed,
        ..full_profile()
    }));
    let Some(Command::Watch { attempt, .. }) = rig.next_start() else {
        panic!("no stream")
    };
    rig.opened(attempt);
    let revision = Some(10.into());
    rig.say(attempt, Input::InitialEnd { revision });
    for _ in 0..3 {
        rig.say(attempt, Input::Heartbeat);
    }
    rig.pass(Duration::from_secs(30));
    let watch = rig.expect_watch(10);
    rig.pass(Duration::from_secs(30));
    assert!(!rig.notices().contains(&Notice::FellBack));
    let next = rig.expect_watch(10);
    assert!(next > watch);
}

#[test]
fn what_the_watch_overtook_is_no_sign_of_another_history() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.informer.verify(rig.now, Verify::Content);
    let list = rig.expect_list();
    rig.put_after(watch, 10, 11, "a", 11);
    rig.batch_end(watch, 11);
    rig.notices();
    rig.list(list, 10, &[("a", 1), ("b", 2)]);
    let notices = rig.notices();
    assert!(
        !notices
            .iter()
            .any(|notice| matches!(notice, Notice::Rewound { .. } | Notice::Diverged { .. })),
        "{notices:?}"
    );
    assert_eq!(rig.cache(), objects(&[("a", 11), ("b", 2)]));
}

#[test]
fn attempts_are_numbered_from_one() {
    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    rig.list(list, 10, &[]);
    let watch = rig.expect_watch(10);
    assert_eq!((list.number(), watch.number()), (1, 2));
    assert_eq!(format!("{list} {watch}"), "#1 #2");
}

#[test]
fn tokens_print_as_they_came() {
    for text in ["7", "007", "18446744073709551616", "abc", ""] {
        let (revision, version) = (Revision::parse(text), Version::parse(text));
        let borrowed = VersionRef::parse(text);
        let shown = [
            revision.to_string(),
            version.to_string(),
            borrowed.to_string(),
        ];
        assert_eq!(shown, [text; 3]);
        assert_eq!(format!("{revision:?}"), format!("Revision({text})"));
        assert_eq!(format!("{version:?}"), format!("Version({text})"));
        assert_eq!(format!("{borrowed:?}"), format!("VersionRef({text})"));
        assert!(borrowed == version && borrowed.to_version() == version);
        assert_eq!(version.as_ref(), borrowed);
        let epoch = Epoch::new(text);
        assert_eq!((epoch.as_str(), epoch.to_string()), (text, text.to_owned()));
        assert_eq!(format!("{epoch:?}"), format!("Epoch({text})"));
    }
    assert_eq!(Revision::parse("7").as_u64(), Some(7));
    assert_eq!(Revision::parse("007").as_u64(), None);
    assert_eq!(Version::from(7), Version::parse("7"));
    assert_eq!(VersionRef::from(7), VersionRef::parse("7"));
}

#[test]
fn an_incarnation_of_a_uid_is_its_fnv_1a_hash() {
    assert_eq!(
        Incarnation::from_uid("a"),
        Incarnation::from(0xaf63_dc4c_8601_ec8c)
    );
    assert_ne!(Incarnation::from_uid("a"), Incarnation::from_uid("b"));
}

#[test]
fn rejections_and_failures_say_what_was_wrong() {
    let bytes = 9;
    for (error, words) in [
        (Rejection::Undecodable("no JSON".into()), "no JSON"),
        (Rejection::KeyTooLong { bytes }, "key has 9 bytes"),
        (Rejection::VersionTooLong { bytes }, "version has 9 bytes"),
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
    let failure = reflet_core::Failure::new(FailureClass::NotFound, "no such thing");
    assert_eq!(failure.to_string(), "not found: no such thing");
}

/// A list, a look-up, a digest and a limit, with whatever kind of key.
fn holds_its_keys<K: Key>(short: &K::Borrowed, long: &K::Borrowed) {
    assert_eq!(K::own(short).borrow(), short);
    let mut config = config(SourceProfile {
        digests: true,
        ..plain_profile()
    });
    config.limits.key_bytes = 5;
    let mut informer = Informer::<K, u64>::new(config, 7, Timestamp::ZERO);
    let Some(Command::List { attempt, .. }) = informer.poll_command() else {
        panic!("no list")
    };
    let now = Timestamp::from_millis(1);
    let (epoch, revision) = (None, Some(1.into()));
    informer.handle(now, attempt, Input::Page { epoch, revision });
    for key in [short, long] {
        let item = Item {
            key,
            version: 1.into(),
            incarnation: None,
            size: 10,
            body: Body::Value(1),
        };
        informer.handle(now, attempt, Input::Item(item));
    }
    informer.handle(now, attempt, Input::PageEnd { next: None });
    let cache = informer.cache();
    assert!(cache.contains(short) && !cache.contains(long));
    assert_eq!((cache.len(), cache.bytes()), (1, 15));
    let digest = reflet_core::Digest::of(b"short", 1.into());
    assert_eq!(cache.digest(), Some(digest));
}

#[test]
fn keys_are_texts_or_bytes() {
    holds_its_keys::<Arc<str>>("short", "longer");
    holds_its_keys::<Box<str>>("short", "longer");
    holds_its_keys::<String>("short", "longer");
    holds_its_keys::<Arc<[u8]>>(b"short", b"longer");
    holds_its_keys::<Vec<u8>>(b"short", b"longer");
}

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
    assert!(rig.mirror.log.contains(&reflet_core::cache::Delta::Reset));
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
