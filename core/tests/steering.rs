//! Rewinds, the four kinds of source, pacing, and stopping.

mod rig;

use std::time::Duration;

use reflet_core::{
    Class, Command, Condition, Config, Epoch, FailureClass, Feed, Input, LimitKind, Notice,
    OnNewEpoch, OnRewind, Revision, RevisionOrder, SourceProfile, State, TimerReason, Verify,
    WatchFrom,
};
use rig::{Rig, config, full_profile, item, objects, plain_profile};

fn in_epoch(config: Config, epoch: &str) -> Rig {
    let mut rig = Rig::new(config);
    let list = rig.expect_list();
    rig.page(list, Some(epoch), 10, &[("a", 1), ("b", 2)], None);
    rig.drain();
    rig.notices();
    rig
}

#[test]
fn a_new_epochs_empty_list_is_the_truth() {
    let mut rig = in_epoch(config(full_profile()), "one");
    let watch = rig.expect_watch(10);
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.page(list, Some("two"), 1, &[], None);
    assert_eq!((rig.cache(), rig.revision()), (vec![], Some(1)));
    let rewound = Notice::Rewound {
        from: Some(10.into()),
        to: Some(1.into()),
        epoch: Some(Epoch::new("two")),
    };
    assert!(rig.notices().contains(&rewound));
    rig.drain();
    assert_eq!(rig.mirror.marks.last().unwrap().local_epoch, 1);
    rig.expect_watch(1);
}

#[test]
fn a_restored_source_that_has_overtaken_us_is_taken_with_its_content() {
    let mut rig = in_epoch(config(full_profile()), "one");
    let watch = rig.expect_watch(10);
    rig.say(
        watch,
        Input::Opened {
            epoch: Some(Epoch::new("two")),
        },
    );
    let list = rig.expect_list();
    rig.say(
        list,
        Input::Page {
            epoch: Some(Epoch::new("two")),
            revision: Some(50.into()),
        },
    );
    assert!(
        !rig.informer.holds(list, "a", 1.into(), None),
        "the same version can have other content"
    );
    rig.say(
        list,
        Input::Item(reflet_core::Item {
            body: reflet_core::Body::Value(99),
            ..item("a", 1)
        }),
    );
    rig.say(list, Input::Item(item("b", 2)));
    rig.say(list, Input::PageEnd { next: None });
    rig.drain();
    assert_eq!(rig.cache(), objects(&[("a", 99), ("b", 2)]));
    let updates = rig
        .mirror
        .log
        .iter()
        .filter(|delta| matches!(delta, reflet_core::cache::Delta::Updated { .. }));
    assert_eq!(updates.count(), 1, "b has the same content: no delta");
}

#[test]
fn a_policy_can_refuse_a_new_epoch_until_the_old_one_is_back() {
    let mut config = config(full_profile());
    config.policy.new_epoch = OnNewEpoch::Refuse;
    let mut rig = in_epoch(config, "one");
    let watch = rig.expect_watch(10);
    rig.fail(watch, FailureClass::Gone);
    for _ in 0..3 {
        let list = rig.expect_list();
        rig.page(list, Some("two"), 50, &[], None);
        assert_eq!(rig.reason(), Some(Condition::NewEpochRefused));
        assert_eq!(rig.cache().len(), 2);
    }
    let list = rig.expect_list();
    rig.page(list, Some("one"), 11, &[("a", 3)], None);
    assert_eq!(
        (rig.cache(), rig.state()),
        (objects(&[("a", 3)]), State::Live)
    );
}

#[test]
fn a_rewind_without_epochs_is_accepted_after_enough_evidence_only() {
    let mut config = config(plain_profile());
    config.source.replica_lag = Duration::from_secs(20);
    config.policy.rewind = OnRewind::AcceptAfter {
        lists: 3,
        span: Duration::from_secs(10),
    };
    let (mut rig, watch) = Rig::watching(config);
    rig.fail(watch, FailureClass::Gone);
    let since = rig.now;
    let mut lists = 0;
    while rig.cache().len() == 2 {
        let list = rig.expect_list();
        rig.list(list, 5, &[("z", 1)]);
        lists += 1;
        assert!(lists < 1_000);
    }
    assert!(lists >= 3 && rig.now.saturating_since(since) > Duration::from_secs(20));
    assert_eq!(
        (rig.cache(), rig.revision()),
        (objects(&[("z", 1)]), Some(5))
    );
    rig.drain();
    assert_eq!(rig.mirror.objects.len(), 1);
}

#[test]
fn one_fresh_answer_refutes_a_rewind() {
    let mut config = config(plain_profile());
    config.policy.rewind = OnRewind::AcceptAfter {
        lists: 2,
        span: Duration::ZERO,
    };
    config.source.replica_lag = Duration::ZERO;
    let (mut rig, watch) = Rig::watching(config);
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.list(list, 5, &[]);
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1), ("b", 2)]);
    let watch = rig.expect_watch(10);
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.list(list, 6, &[]);
    assert_eq!(rig.cache().len(), 2);
}

#[test]
fn an_initial_stream_shows_at_its_end_mark() {
    let feed = Feed::InitialStream;
    let mut rig = Rig::new(config(SourceProfile {
        feed,
        ..plain_profile()
    }));
    let Some(Command::Watch {
        attempt,
        from: WatchFrom::Initial { at_least: None },
        ..
    }) = rig.next_start()
    else {
        panic!("no initial stream")
    };
    rig.opened(attempt);
    rig.put(attempt, 3, "a", 3);
    rig.put(attempt, 2, "b", 2);
    assert!(rig.cache().is_empty());
    rig.say(
        attempt,
        Input::InitialEnd {
            revision: Some(10.into()),
        },
    );
    assert_eq!(rig.cache(), objects(&[("a", 3), ("b", 2)]));
    rig.put(attempt, 11, "c", 11);
    assert_eq!(rig.cache().len(), 3);
    rig.progress(attempt, 11);
    rig.say(attempt, Input::Closed);
    // The initial state is asked for once, not on each reconnect.
    rig.expect_watch(11);
}

#[test]
fn a_stream_whose_end_mark_does_not_come_falls_back_to_lists() {
    for unsupported in [false, true] {
        let feed = Feed::InitialStream;
        let mut rig = Rig::new(config(SourceProfile {
            feed,
            ..plain_profile()
        }));
        let Some(Command::Watch { attempt, .. }) = rig.next_start() else {
            panic!("no initial stream")
        };
        rig.opened(attempt);
        if unsupported {
            rig.fail(attempt, FailureClass::Unsupported);
        } else {
            for _ in 0..60 {
                rig.put(attempt, 3, "a", 3);
                rig.pass(Duration::from_secs(5));
            }
        }
        assert!(rig.notices().contains(&Notice::FellBack));
        let list = rig.expect_list();
        rig.list(list, 10, &[("a", 3)]);
        rig.expect_watch(10);
    }
}

#[test]
fn an_empty_initial_stream_is_complete_too() {
    let feed = Feed::InitialStream;
    let mut rig = Rig::new(config(SourceProfile {
        feed,
        ..plain_profile()
    }));
    let Some(Command::Watch { attempt, .. }) = rig.next_start() else {
        panic!("no initial stream")
    };
    rig.opened(attempt);
    rig.say(
        attempt,
        Input::InitialEnd {
            revision: Some(10.into()),
        },
    );
    assert!(rig.informer.is_synced());
}

#[test]
fn a_full_state_source_is_asked_again_with_what_is_known() {
    let source = SourceProfile {
        feed: Feed::FullState { blocking: false },
        class: Class::Whole,
        order: RevisionOrder::Opaque,
        ..SourceProfile::default()
    };
    let mut rig = Rig::new(config(source));
    let list = rig.expect_list();
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision: Some(Revision::parse("etag-1")),
        },
    );
    rig.say(list, Input::Item(item("a", 1)));
    rig.say(list, Input::PageEnd { next: None });
    assert_eq!(
        rig.informer.poll_timeout().unwrap().reason,
        TimerReason::Poll
    );
    let Some(Command::List { attempt, known, .. }) = rig.next_start() else {
        panic!("no list")
    };
    assert_eq!(known, Some(Revision::parse("etag-1")));
    rig.say(attempt, Input::Unmodified);
    assert_eq!(rig.state(), State::Live);

    let list = rig.expect_list();
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision: Some(Revision::parse("etag-0")),
        },
    );
    rig.say(list, Input::PageEnd { next: None });
    assert!(
        rig.cache().is_empty(),
        "opaque answers apply in the order of requests"
    );
}

#[test]
fn hints_schedule_lists_and_many_hints_schedule_one() {
    let source = SourceProfile {
        feed: Feed::HintOnly,
        ..plain_profile()
    };
    let mut rig = Rig::new(config(source));
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1)]);
    let Some(Command::Watch {
        attempt: hints,
        from: WatchFrom::Now,
        ..
    }) = rig.next_start()
    else {
        panic!("no hints")
    };
    rig.opened(hints);
    let list = rig.expect_list();
    for _ in 0..50 {
        rig.say(hints, Input::Hint);
    }
    rig.list(list, 11, &[("a", 2)]);
    let list = rig.expect_list();
    rig.list(list, 12, &[("a", 3)]);
    assert_eq!((rig.cache(), rig.command()), (objects(&[("a", 3)]), None));
    rig.say(hints, Input::Closed);
    assert!(matches!(
        rig.next_start(),
        Some(Command::Watch {
            from: WatchFrom::Now,
            ..
        })
    ));
}

#[test]
fn a_fuzzy_list_is_partial_until_the_watch_has_passed_it() {
    let mut rig = Rig::new(config(SourceProfile {
        class: Class::Fuzzy,
        ..plain_profile()
    }));
    let list = rig.expect_list();
    rig.page(list, None, 10, &[("a", 1)], Some("next"));
    rig.command();
    rig.page(list, None, 14, &[("b", 14)], None);
    assert!(!rig.health().complete);
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    rig.put(watch, 12, "c", 12);
    rig.progress(watch, 13);
    assert!(!rig.health().complete);
    rig.progress(watch, 14);
    assert!(rig.health().complete);
}

#[test]
fn fuzzy_lists_without_a_watch_of_changes_are_always_partial() {
    for feed in [Feed::FullState { blocking: false }, Feed::HintOnly] {
        let of = |class| {
            let mut rig = Rig::new(config(SourceProfile {
                feed,
                class,
                ..plain_profile()
            }));
            let list = rig.expect_list();
            rig.list(list, 10, &[("a", 1)]);
            rig.drain();
            let mark = rig.mirror.marks.last().unwrap();
            assert!(mark.initial && rig.informer.is_synced());
            (rig.health().complete, mark.complete)
        };
        assert_eq!(of(Class::Fuzzy), (false, false));
        assert_eq!(of(Class::Whole), (true, true));
    }
}

#[test]
fn an_older_update_cannot_bring_a_deleted_object_back() {
    let source = SourceProfile {
        class: Class::Whole,
        order: RevisionOrder::Opaque,
        ..plain_profile()
    };
    let (mut rig, watch) = Rig::watching(config(source));
    rig.put(watch, 11, "c", 7);
    rig.delete(watch, 12, "c");
    rig.put(watch, 13, "c", 6);
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
    rig.put(watch, 14, "c", 8);
    assert_eq!(rig.cache().len(), 3);
}

#[test]
fn attempts_are_paced_whatever_the_source_does() {
    let mut config = config(plain_profile());
    config.timing.burst = 3;
    config.timing.min_interval = Duration::from_secs(1);
    let (mut rig, watch) = Rig::watching(config);
    let mut starts = vec![rig.now];
    let mut attempt = watch;
    let mut revision = 10;
    // Each watch makes progress and closes: always resumed at once, were it not for the pacer.
    for _ in 0..30 {
        revision += 1;
        rig.opened(attempt);
        rig.put(attempt, revision, "a", revision);
        rig.progress(attempt, revision);
        rig.say(attempt, Input::Closed);
        attempt = rig.expect_watch(revision);
        starts.push(rig.now);
    }
    for (i, from) in starts.iter().enumerate() {
        for (j, to) in starts.iter().enumerate().skip(i) {
            assert!((j - i + 1) as u64 <= 3 + to.saturating_since(*from).as_secs());
        }
    }
}

#[test]
fn a_new_attempt_starts_within_the_bound_with_timeouts_alone() {
    let mut rig = Rig::new(config(plain_profile()));
    let bound = rig.informer.config().next_attempt_bound();
    let mut last = rig.now;
    for _ in 0..50 {
        let started = loop {
            match rig.command() {
                Some(Command::List { .. } | Command::Watch { .. }) => break rig.now,
                Some(Command::Cancel { .. }) => {}
                None => rig.pass_until(rig.informer.poll_timeout().unwrap().at),
            }
        };
        assert!(started.saturating_since(last) <= bound);
        last = started;
    }
}

#[test]
fn time_that_runs_backwards_or_to_the_end_is_harmless() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.informer.handle_timeout(reflet_core::Timestamp::ZERO);
    rig.put_after(watch, 10, 11, "a", 11);
    rig.batch_end(watch, 11);
    rig.informer.handle_timeout(reflet_core::Timestamp::MAX);
    for _ in 0..10 {
        rig.informer.handle_timeout(reflet_core::Timestamp::MAX);
    }
    assert!(rig.informer.poll_timeout().is_some());
    let started = std::iter::from_fn(|| rig.command())
        .filter(|command| !matches!(command, Command::Cancel { .. }));
    assert!(started.count() <= 2, "no flood at the end of time");
    assert_eq!(rig.cache(), objects(&[("a", 11), ("b", 2)]));
}

#[test]
fn stopping_cancels_everything_and_leaves_the_cache() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.informer.stop(rig.now);
    assert_eq!(rig.command(), Some(Command::Cancel { attempt: watch }));
    assert_eq!(
        (rig.state(), rig.informer.poll_timeout()),
        (State::Stopped, None)
    );
    rig.put(watch, 11, "a", 11);
    rig.informer.handle_timeout(reflet_core::Timestamp::MAX);
    assert_eq!(
        (rig.cache(), rig.command()),
        (objects(&[("a", 1), ("b", 2)]), None)
    );
}

#[test]
fn notices_are_bounded_and_what_was_dropped_is_counted() {
    let mut config = config(plain_profile());
    config.limits.notices = 4;
    config.limits.pages = 1;
    let mut rig = Rig::new(config);
    let list = rig.expect_list();
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision: Some(1.into()),
        },
    );
    for _ in 0..10 {
        rig.say(
            list,
            Input::Undecodable {
                size: 1,
                error: "bad",
            },
        );
    }
    rig.say(list, Input::PageEnd { next: Some("more") });
    assert_eq!(rig.reason(), Some(Condition::Frozen(LimitKind::Pages)));
    let notices = rig.notices();
    assert_eq!(
        (notices.len(), notices.first()),
        (5, Some(&Notice::Lost(7)))
    );
}

#[test]
fn a_condition_names_the_epoch_that_it_belongs_to() {
    let source = SourceProfile {
        feed: Feed::FullState { blocking: false },
        class: Class::Whole,
        ..SourceProfile::default()
    };
    let mut rig = in_epoch(config(source), "one");
    let Some(Command::List { known, epoch, .. }) = rig.next_start() else {
        panic!("no list")
    };
    assert_eq!(
        (known, epoch),
        (Some(Revision::from(10)), Some(Epoch::new("one")))
    );
}

#[test]
fn what_waits_beside_a_watch_does_not_outlive_it() {
    let mut config = config(full_profile());
    config.limits.objects = 2;
    config.timing.burst = 2;
    config.timing.min_interval = Duration::from_secs(20);
    let (mut rig, watch) = Rig::watching(config);
    rig.informer.verify(rig.now, Verify::Versions);
    assert_eq!(rig.command(), None, "the verify waits for the pacer");
    rig.put_after(watch, 10, 11, "c", 11);
    rig.batch_end(watch, 11);
    assert_eq!(rig.reason(), Some(Condition::Frozen(LimitKind::Objects)));
    let list = rig.expect_list();
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.command(), None, "one list at a time");
    rig.list(list, 12, &[("a", 1)]);
    rig.expect_watch(12);
}

#[test]
fn hints_alone_do_not_make_a_failing_source_live() {
    let source = SourceProfile {
        feed: Feed::HintOnly,
        ..plain_profile()
    };
    let mut rig = Rig::new(config(source));
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1)]);
    let Some(Command::Watch { attempt: hints, .. }) = rig.next_start() else {
        panic!("no hints")
    };
    rig.opened(hints);
    let list = rig.expect_list();
    rig.fail(list, FailureClass::Denied);
    rig.say(hints, Input::Hint);
    assert_eq!(rig.state(), State::Stale);
    let list = rig.expect_list();
    rig.list(list, 11, &[("a", 2)]);
    assert_eq!(rig.state(), State::Live);
}
