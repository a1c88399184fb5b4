//! Watches: batches, progress, gaps, and every way to end.

mod rig;

use std::time::Duration;

use reflet_core::cache::Delta;
use reflet_core::{
    BadInput, Body, Change, Command, Condition, Digest, Event, Failure, FailureClass, Input, Item,
    LimitKind, ListReason, Notice, State, TimerReason,
};
use rig::{Rig, config, full_profile, item, objects, plain_profile};

#[test]
fn a_batch_shows_as_a_whole() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.put_after(watch, 10, 11, "a", 11);
    rig.delete(watch, 11, "b");
    assert_eq!(
        (rig.cache(), rig.revision()),
        (objects(&[("a", 1), ("b", 2)]), Some(10))
    );
    rig.batch_end(watch, 11);
    rig.drain();
    assert_eq!(
        (rig.cache(), rig.revision()),
        (objects(&[("a", 11)]), Some(11))
    );
    assert!(rig.mirror.marks.last().unwrap().complete);
}

#[test]
fn a_cut_batch_is_discarded_and_resumed_before() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.put_after(watch, 10, 11, "a", 11);
    rig.fail(watch, FailureClass::Retryable);
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    rig.put_after(watch, 10, 11, "a", 11);
    rig.batch_end(watch, 11);
    assert_eq!(rig.cache(), objects(&[("a", 11), ("b", 2)]));
}

#[test]
fn a_revision_does_not_advance_past_a_batch_without_an_end() {
    for strange in 0..3 {
        let (mut rig, watch) = Rig::watching(config(full_profile()));
        rig.put_after(watch, 10, 11, "a", 11);
        match strange {
            0 => rig.progress(watch, 12),
            1 => rig.put_after(watch, 11, 12, "b", 12),
            _ => rig.batch_end(watch, 12),
        }
        assert!(rig.notices().contains(&Notice::BadInput {
            attempt: watch,
            what: BadInput::WrongBatchEnd
        }));
        assert_eq!(
            (rig.cache(), rig.revision()),
            (objects(&[("a", 1), ("b", 2)]), Some(10))
        );
        rig.expect_watch(10);
    }
}

#[test]
fn without_batch_ends_changes_show_at_once_as_partial_and_resume_trails() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.put(watch, 11, "a", 11);
    rig.drain();
    let mark = rig.mirror.marks.last().unwrap().clone();
    assert_eq!((mark.revision, mark.complete), (Some(11.into()), false));
    rig.delete(watch, 11, "b");
    rig.put(watch, 12, "c", 12);
    rig.drain();
    rig.fail(watch, FailureClass::Retryable);
    // 11 is complete since 12 began; 12 itself may be cut.
    let watch = rig.expect_watch(11);
    rig.opened(watch);
    let before = rig.mirror.log.len();
    rig.put(watch, 12, "c", 12);
    rig.put(watch, 12, "d", 12);
    rig.progress(watch, 12);
    rig.drain();
    let added = Delta::Added {
        key: "d".into(),
        new: 12,
    };
    let news: Vec<_> = rig
        .mirror
        .log
        .iter()
        .skip(before)
        .filter(|delta| !matches!(delta, Delta::Mark(_)))
        .collect();
    assert_eq!(news, [&added], "what came twice is no news");
    assert!(rig.mirror.marks.last().unwrap().complete);
}

#[test]
fn progress_that_goes_backwards_is_ignored() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.progress(watch, 20);
    rig.progress(watch, 15);
    assert_eq!(rig.revision(), Some(20));
    rig.fail(watch, FailureClass::Retryable);
    rig.expect_watch(20);
}

#[test]
fn a_gap_is_found_and_resumed_before_and_a_verify_follows() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.put_after(watch, 12, 13, "a", 13);
    assert!(rig.notices().contains(&Notice::Gap {
        have: 10.into(),
        expected: 12.into()
    }));
    assert_eq!(
        (rig.cache(), rig.revision()),
        (objects(&[("a", 1), ("b", 2)]), Some(10))
    );
    assert_eq!(rig.reason(), Some(Condition::LossDetected));
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    rig.put_after(watch, 10, 12, "b", 12);
    rig.batch_end(watch, 12);
    rig.put_after(watch, 12, 13, "a", 13);
    rig.batch_end(watch, 13);
    assert_eq!(rig.cache(), objects(&[("a", 13), ("b", 12)]));
    for _ in 0..4 {
        rig.pass(Duration::from_secs(9));
        rig.say(watch, Input::Heartbeat);
    }
    let list = rig.expect_list();
    rig.list(list, 13, &[("a", 13), ("b", 12)]);
    assert_eq!(rig.state(), State::Live);
}

#[test]
fn a_digest_mismatch_is_found_and_mended_by_a_list() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    let share = |key: &str, version: u64| Digest::of(key.as_bytes(), version.into());
    let good = share("a", 1).plus(share("b", 2));
    rig.say(
        watch,
        Input::Progress {
            revision: 11.into(),
            digest: Some(good),
        },
    );
    assert_eq!((rig.revision(), rig.state()), (Some(11), State::Live));
    let other = good.plus(share("c", 3));
    rig.say(
        watch,
        Input::Progress {
            revision: 12.into(),
            digest: Some(other),
        },
    );
    assert_eq!(
        (rig.revision(), rig.reason()),
        (Some(11), Some(Condition::LossDetected))
    );
    assert!(rig.notices().contains(&Notice::DigestMismatch {
        revision: 12.into()
    }));
    let list = rig.expect_list();
    rig.list(list, 12, &[("a", 1), ("b", 2), ("c", 3)]);
    let watch = rig.expect_watch(12);
    rig.opened(watch);
    rig.say(
        watch,
        Input::Progress {
            revision: 12.into(),
            digest: Some(other),
        },
    );
    assert_eq!(rig.state(), State::Live);
}

#[test]
fn gone_relists_not_older_than_what_we_have() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.put(watch, 11, "a", 11);
    rig.fail(watch, FailureClass::Gone);
    match rig.next_start() {
        Some(Command::List { at_least, .. }) => assert_eq!(at_least, Some(11.into())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_history_shorter_than_a_list_takes_is_named_and_paced() {
    let (mut rig, mut watch) = Rig::watching(config(plain_profile()));
    let mut revision = 10;
    for _ in 0..3 {
        rig.fail(watch, FailureClass::Gone);
        revision += 10;
        let list = rig.expect_list();
        rig.list(list, revision, &[("a", 1)]);
        watch = rig.expect_watch(revision);
    }
    assert!(rig.notices().contains(&Notice::HistoryTooShort));
    assert_eq!(rig.reason(), Some(Condition::HistoryTooShort));
    rig.opened(watch);
    rig.put(watch, revision + 1, "a", 2);
    assert_eq!(rig.reason(), None);
}

#[test]
fn a_watch_that_never_gets_beyond_its_revision_is_replaced_by_a_list() {
    for answer in [None, Some(FailureClass::Behind)] {
        let (mut rig, mut watch) = Rig::watching(config(plain_profile()));
        for closes in 1..=3 {
            match answer {
                None => rig.say(watch, Input::Closed),
                Some(class) => rig.fail(watch, class),
            }
            if closes < 3 {
                watch = rig.expect_watch(10);
            }
        }
        let list = rig.expect_list();
        // The list is behind, too: ask for any state.
        rig.fail(list, FailureClass::Behind);
        match rig.next_start() {
            Some(Command::List { at_least: None, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_healthy_watch_that_closes_is_resumed_at_once() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.put(watch, 11, "a", 11);
    rig.progress(watch, 11);
    rig.say(watch, Input::Closed);
    assert!(matches!(rig.command(), Some(Command::Watch { .. })));
    assert_eq!(rig.state(), State::Live);
}

#[test]
fn silence_ends_a_watch() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.pass(Duration::from_secs(25));
    rig.say(watch, Input::Heartbeat);
    rig.pass(Duration::from_secs(25));
    assert_eq!(rig.command(), None);
    rig.pass(Duration::from_secs(5));
    assert_eq!(rig.command(), Some(Command::Cancel { attempt: watch }));
    assert!(rig.notices().contains(&Notice::TimedOut {
        attempt: watch,
        reason: TimerReason::Silence
    }));
    rig.expect_watch(10);
}

#[test]
fn a_watch_that_does_not_open_is_given_up() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.fail(watch, FailureClass::Retryable);
    let watch = rig.expect_watch(10);
    assert_eq!(
        rig.informer.poll_timeout().unwrap().reason,
        TimerReason::Opening
    );
    rig.pass(Duration::from_secs(10));
    assert!(rig.notices().contains(&Notice::TimedOut {
        attempt: watch,
        reason: TimerReason::Opening
    }));
}

#[test]
fn a_late_event_of_a_dead_watch_changes_nothing() {
    let (mut rig, first) = Rig::watching(config(plain_profile()));
    rig.fail(first, FailureClass::Retryable);
    rig.put(first, 11, "a", 11);
    let second = rig.expect_watch(10);
    rig.opened(second);
    rig.put(first, 12, "b", 12);
    rig.progress(first, 99);
    assert_eq!(
        (rig.cache(), rig.revision()),
        (objects(&[("a", 1), ("b", 2)]), Some(10))
    );
}

#[test]
fn events_out_of_order_end_the_watch_and_lose_nothing() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.put(watch, 12, "b", 12);
    rig.put(watch, 11, "a", 11);
    assert!(rig.notices().contains(&Notice::BadInput {
        attempt: watch,
        what: BadInput::RevisionWentBack
    }));
    rig.expect_watch(10);
}

#[test]
fn an_ordered_source_must_give_decimal_revisions() {
    for (text, what) in [
        (None, BadInput::NoRevision),
        (Some("abc"), BadInput::RevisionNotDecimal),
        (Some("-1"), BadInput::RevisionNotDecimal),
    ] {
        let (mut rig, watch) = Rig::watching(config(plain_profile()));
        let revision = text.map(reflet_core::Revision::parse);
        let change = Change::Upsert(item("a", 9));
        rig.say(
            watch,
            Input::Event(Event {
                change,
                revision,
                previous: None,
            }),
        );
        assert!(rig.notices().contains(&Notice::BadInput {
            attempt: watch,
            what
        }));
        assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
    }
}

#[test]
fn an_objects_version_never_goes_back() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.put(watch, 11, "a", 50);
    rig.put(watch, 12, "a", 40);
    assert_eq!(rig.cache(), objects(&[("a", 50), ("b", 2)]));
}

#[test]
fn a_re_created_object_is_a_delete_and_an_add() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    let born = |value: u64, incarnation: u64| Item {
        incarnation: Some(incarnation.into()),
        ..item("c", value)
    };
    for (revision, value, incarnation) in [(11, 5, 1), (12, 6, 1), (13, 3, 2)] {
        let change = Change::Upsert(born(value, incarnation));
        rig.say(
            watch,
            Input::Event(Event {
                change,
                revision: Some(revision.into()),
                previous: None,
            }),
        );
        rig.drain();
    }
    let about_c: Vec<_> = rig
        .mirror
        .log
        .iter()
        .rev()
        .filter(|delta| !matches!(delta, Delta::Mark(_)))
        .take(3)
        .collect();
    assert!(
        matches!(
            about_c.as_slice(),
            [
                Delta::Added { new: 3, .. },
                Delta::Deleted { seen: 6, .. },
                Delta::Updated { old: 5, new: 6, .. },
            ]
        ),
        "{about_c:?}"
    );
}

#[test]
fn an_undecodable_event_is_quarantined_and_the_rest_of_the_batch_goes_on() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    let bad = Item {
        body: Body::Undecodable("bad"),
        ..item("a", 11)
    };
    let event = Event {
        change: Change::Upsert(bad),
        revision: Some(11.into()),
        previous: Some(10.into()),
    };
    rig.say(watch, Input::Event(event));
    rig.put_after(watch, 10, 11, "b", 11);
    rig.batch_end(watch, 11);
    assert_eq!(
        (rig.cache(), rig.revision()),
        (objects(&[("a", 1), ("b", 11)]), Some(11))
    );
    assert_eq!(rig.health().quarantined_count, 1);
    rig.delete(watch, 12, "a");
    rig.batch_end(watch, 12);
    assert_eq!(
        (rig.cache(), rig.health().quarantined_count),
        (objects(&[("b", 11)]), 0)
    );
}

#[test]
fn an_event_of_unknown_key_degrades_until_a_list() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.say(
        watch,
        Input::Undecodable {
            size: 10,
            error: "not JSON",
        },
    );
    assert!(rig.health().degraded);
    for _ in 0..4 {
        rig.pass(Duration::from_secs(9));
        rig.say(watch, Input::Heartbeat);
    }
    let list = rig.expect_list();
    rig.list(list, 12, &[("a", 12), ("b", 2)]);
    assert!(!rig.health().degraded);
    assert_eq!(rig.cache(), objects(&[("a", 12), ("b", 2)]));
}

#[test]
fn a_batch_over_the_limit_freezes() {
    let mut config = config(full_profile());
    config.limits.staged_bytes = 1_000;
    let (mut rig, watch) = Rig::watching(config);
    for _ in 0..20 {
        rig.put_after(watch, 10, 11, "a", 11);
    }
    assert_eq!(
        rig.reason(),
        Some(Condition::Frozen(LimitKind::StagedBytes))
    );
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
}

#[test]
fn a_retry_after_is_obeyed_and_capped() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    let failure =
        Failure::new(FailureClass::Retryable, "busy").retry_after(Duration::from_secs(77));
    rig.say(watch, Input::Failed(failure));
    let deadline = rig.informer.poll_timeout().unwrap();
    assert_eq!(
        (
            deadline.reason,
            deadline.at.saturating_since(rig.now).as_secs()
        ),
        (TimerReason::RetryAfter, 77)
    );
    let watch = rig.expect_watch(10);
    let failure = Failure::new(FailureClass::Retryable, "busy").retry_after(Duration::MAX);
    rig.say(watch, Input::Failed(failure));
    assert_eq!(
        rig.informer
            .poll_timeout()
            .unwrap()
            .at
            .saturating_since(rig.now)
            .as_secs(),
        300
    );
}

#[test]
fn a_subscriber_joins_in_the_middle_of_a_relist() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.page(list, None, 20, &[("b", 5)], Some("next"));
    rig.command();
    let mut late = rig::Mirror::new(&mut rig.informer);
    late.drain(&mut rig.informer);
    assert_eq!(late.objects.len(), 2);
    rig.page(list, None, 20, &[("c", 6)], None);
    late.drain(&mut rig.informer);
    rig.drain();
    assert_eq!(late.objects, rig.mirror.objects);
    assert_eq!(
        late.objects
            .into_iter()
            .map(|(key, value)| (key.to_string(), value))
            .collect::<Vec<_>>(),
        rig.cache()
    );
    let relisted = Notice::Relisted {
        reason: ListReason::Gone,
        added: 1,
        updated: 1,
        deleted: 1,
    };
    assert!(rig.notices().contains(&relisted));
}
