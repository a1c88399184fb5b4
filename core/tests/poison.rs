//! What was rejected, what was deleted, and what belongs to another history.
#![allow(clippy::panic, reason = "the helpers of a test may panic")]

mod rig;

use std::time::Duration;

use reflet_core::{
    Attempt, BadInput, Body, Change, Class, Command, Epoch, Event, FailureClass, Feed, Input, Item,
    Notice, OnRewind, Removal, Revision, RevisionOrder, SourceProfile, State, TimerReason, Verify,
    VersionRef, WatchFrom,
};
use rig::{Rig, config, full_profile, item, objects, plain_profile};

fn event(rig: &mut Rig, attempt: Attempt, revision: u64, item: Item<'_, std::sync::Arc<str>, u64>) {
    let change = Change::Upsert(item);
    let revision = Some(revision.into());
    rig.say(
        attempt,
        Input::Event(Event {
            change,
            revision,
            previous: None,
        }),
    );
}

fn delete(rig: &mut Rig, attempt: Attempt, revision: u64, key: &str, version: u64) {
    let version = Some(version.into());
    let change = Change::Delete(Removal {
        key,
        version,
        incarnation: None,
        last: None,
        size: 9,
    });
    let revision = Some(revision.into());
    rig.say(
        attempt,
        Input::Event(Event {
            change,
            revision,
            previous: None,
        }),
    );
}

/// A key in an incarnation, whose value is the version and the incarnation.
fn born(key: &str, version: u64, incarnation: u64) -> Item<'_, std::sync::Arc<str>, u64> {
    Item {
        incarnation: Some(incarnation.into()),
        body: Body::Value(incarnation * 100 + version),
        ..item(key, version)
    }
}

fn bad<'a>(item: Item<'a, std::sync::Arc<str>, u64>) -> Item<'a, std::sync::Arc<str>, u64> {
    Item {
        body: Body::Undecodable("bad"),
        ..item
    }
}

fn stream(rig: &mut Rig) -> (Attempt, Option<Revision>) {
    match rig.next_start() {
        Some(Command::Watch {
            attempt,
            from: WatchFrom::Initial { at_least },
            ..
        }) => (attempt, at_least),
        other => panic!("expected an initial stream, got {other:?}"),
    }
}

fn streaming() -> SourceProfile {
    SourceProfile {
        feed: Feed::InitialStream,
        ..plain_profile()
    }
}

/// A rig whose initial stream (a=1 at revision 10) is in.
fn streamed(config: reflet_core::Config) -> (Rig, Attempt) {
    let mut rig = Rig::new(config);
    let (watch, _) = stream(&mut rig);
    rig.opened(watch);
    rig.put(watch, 1, "a", 1);
    rig.say(
        watch,
        Input::InitialEnd {
            revision: Some(10.into()),
        },
    );
    (rig, watch)
}

#[test]
fn a_rejection_in_a_batch_that_was_cut_is_forgotten_with_it() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    event(&mut rig, watch, 11, bad(item("a", 11)));
    rig.fail(watch, FailureClass::Retryable);
    assert_eq!(rig.health().quarantined_count, 0);
}

#[test]
fn a_rejected_incarnation_that_is_deleted_takes_the_older_one_along() {
    for opaque in [false, true] {
        let order = if opaque {
            RevisionOrder::Opaque
        } else {
            RevisionOrder::Ordered
        };
        let (mut rig, watch) = Rig::watching(config(SourceProfile {
            order,
            ..plain_profile()
        }));
        event(&mut rig, watch, 11, born("c", 5, 1));
        event(&mut rig, watch, 13, bad(born("c", 1, 2)));
        assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2), ("c", 105)]));
        delete(&mut rig, watch, 14, "c", 1);
        assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
        assert_eq!(rig.health().quarantined_count, 0);
    }
}

#[test]
fn a_re_created_object_may_have_a_lower_version_than_the_deleted_one() {
    let source = SourceProfile {
        order: RevisionOrder::Opaque,
        ..plain_profile()
    };
    let (mut rig, watch) = Rig::watching(config(source));
    event(&mut rig, watch, 11, born("c", 5, 1));
    delete(&mut rig, watch, 12, "c", 5);
    delete(&mut rig, watch, 12, "c", 5);
    event(&mut rig, watch, 13, born("c", 4, 1));
    assert_eq!(
        rig.cache(),
        objects(&[("a", 1), ("b", 2)]),
        "an older update of what was deleted"
    );
    event(&mut rig, watch, 14, born("c", 1, 2));
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2), ("c", 201)]));
}

#[test]
fn a_replay_after_a_fuzzy_list_buries_nothing() {
    let mut rig = Rig::new(config(SourceProfile {
        class: Class::Fuzzy,
        ..plain_profile()
    }));
    let list = rig.expect_list();
    rig.page(list, None, 10, &[("a", 1)], Some("next"));
    rig.command();
    rig.page(list, None, 14, &[("c", 13)], None);
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    rig.delete(watch, 12, "c");
    rig.put(watch, 13, "c", 13);
    rig.progress(watch, 14);
    assert_eq!(rig.cache(), objects(&[("a", 1), ("c", 13)]));
}

#[test]
fn a_version_of_the_old_history_is_not_trusted_in_the_new_one() {
    for key_is_known in [true, false] {
        let mut rig = Rig::new(config(plain_profile()));
        let list = rig.expect_list();
        rig.page(list, Some("one"), 10, &[("a", 1), ("b", 9)], None);
        let watch = rig.expect_watch(10);
        rig.fail(watch, FailureClass::Gone);
        let list = rig.expect_list();
        let epoch = Some(Epoch::new("two"));
        rig.say(
            list,
            Input::Page {
                epoch,
                revision: Some(5.into()),
            },
        );
        rig.say(list, Input::Item(item("a", 1)));
        if key_is_known {
            rig.say(list, Input::Item(bad(item("b", 9))));
        } else {
            rig.say(
                list,
                Input::Undecodable {
                    size: 5,
                    error: "bad",
                },
            );
        }
        rig.say(list, Input::PageEnd { next: None });
        assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 9)]));
        let watch = rig.expect_watch(5);
        rig.opened(watch);
        assert!(!rig.informer.holds(watch, "b", VersionRef::from(9), None));
        let other = Item {
            body: Body::Value(77),
            ..item("b", 6)
        };
        event(&mut rig, watch, 6, other);
        assert_eq!(
            rig.cache(),
            objects(&[("a", 1), ("b", 77)]),
            "a lower version is newer here"
        );
    }
}

#[test]
fn unchanged_of_what_is_not_held_ends_a_watch() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    let unchanged = Item {
        body: Body::Unchanged,
        ..item("a", 1)
    };
    event(&mut rig, watch, 11, unchanged);
    assert!(rig.notices().is_empty());
    let unchanged = Item {
        body: Body::Unchanged,
        ..item("a", 12)
    };
    event(&mut rig, watch, 12, unchanged);
    let what = BadInput::NotHeld;
    assert!(rig.notices().contains(&Notice::BadInput {
        attempt: watch,
        what
    }));
}

#[test]
fn a_stream_that_is_behind_is_asked_for_any_state() {
    for class in [FailureClass::Behind, FailureClass::Gone] {
        let (mut rig, watch) = streamed(config(streaming()));
        rig.fail(watch, FailureClass::Gone);
        let (watch, at_least) = stream(&mut rig);
        assert_eq!(at_least, Some(10.into()));
        rig.fail(watch, class);
        assert_eq!(stream(&mut rig).1, None);
    }
}

#[test]
fn a_rewind_that_a_stream_shows_is_taken_with_its_content() {
    let mut config = config(streaming());
    config.policy.rewind = OnRewind::AcceptAfter {
        lists: 1,
        span: Duration::ZERO,
    };
    config.source.replica_lag = Duration::ZERO;
    let (mut rig, watch) = streamed(config);
    rig.fail(watch, FailureClass::Gone);
    let mut floors = Vec::new();
    while rig.revision() != Some(5) {
        let (attempt, at_least) = stream(&mut rig);
        floors.push(at_least);
        rig.opened(attempt);
        let held = rig.informer.holds(attempt, "a", VersionRef::from(1), None);
        let body = if held {
            Body::Unchanged
        } else {
            Body::Value(99)
        };
        event(
            &mut rig,
            attempt,
            1,
            Item {
                body,
                ..item("a", 1)
            },
        );
        rig.say(
            attempt,
            Input::InitialEnd {
                revision: Some(5.into()),
            },
        );
    }
    assert_eq!(
        (rig.cache(), rig.revision()),
        (objects(&[("a", 99)]), Some(5))
    );
    assert_eq!(floors, [Some(10.into()), None, None]);
}

#[test]
fn a_stream_opens_once() {
    let mut rig = Rig::new(config(streaming()));
    let (watch, _) = stream(&mut rig);
    for epoch in ["one", "two"] {
        rig.say(
            watch,
            Input::Opened {
                epoch: Some(Epoch::new(epoch)),
            },
        );
    }
    let what = BadInput::OutOfPlace;
    assert!(rig.notices().contains(&Notice::BadInput {
        attempt: watch,
        what
    }));
}

#[test]
fn a_stream_that_cannot_be_opened_in_time_is_tried_again() {
    let mut rig = Rig::new(config(streaming()));
    let (watch, _) = stream(&mut rig);
    rig.pass(Duration::from_secs(10));
    let reason = TimerReason::Opening;
    assert!(rig.notices().contains(&Notice::TimedOut {
        attempt: watch,
        reason
    }));
    stream(&mut rig);
}

#[test]
fn a_blocking_source_without_a_revision_to_wait_for_is_polled() {
    let mut rig = Rig::new(config(SourceProfile {
        feed: Feed::FullState { blocking: true },
        class: Class::Whole,
        order: RevisionOrder::Opaque,
        ..SourceProfile::default()
    }));
    let list = rig.expect_list();
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision: None,
        },
    );
    rig.say(list, Input::Item(item("a", 1)));
    rig.say(list, Input::PageEnd { next: None });
    let deadline = rig.informer.poll_timeout().unwrap();
    assert_eq!(deadline.reason, TimerReason::Poll);
    assert_eq!(
        deadline.at.saturating_since(rig.now),
        Duration::from_secs(10)
    );
    let list = rig.expect_list();
    rig.list(list, 3, &[("a", 1)]);
    assert!(
        rig.command().is_some(),
        "a request that the source holds back is sent at once"
    );
}

#[test]
fn backoff_does_not_start_afresh_by_time_spent_waiting() {
    let mut config = config(plain_profile());
    config.timing.backoff_min = Duration::from_secs(1);
    config.timing.backoff_max = Duration::from_secs(1_000);
    let (mut rig, mut watch) = Rig::watching(config);
    let mut longest = Duration::ZERO;
    for round in 0..24 {
        // It opens and fails at once, now for good reason, now for none; never is it stable.
        let class = if round % 2 == 0 {
            FailureClass::Denied
        } else {
            FailureClass::Retryable
        };
        rig.fail(watch, class);
        let at = rig.health().next_attempt.unwrap();
        longest = longest.max(at.saturating_since(rig.now));
        watch = rig.expect_watch(10);
        rig.opened(watch);
    }
    assert!(longest > Duration::from_secs(60), "{longest:?}");
    assert_eq!(rig.state(), State::Live);
}

#[test]
fn a_rewind_within_an_epoch_is_never_accepted() {
    let mut config = config(plain_profile());
    config.policy.rewind = OnRewind::AcceptAfter {
        lists: 1,
        span: Duration::ZERO,
    };
    config.source.replica_lag = Duration::ZERO;
    let mut rig = Rig::new(config);
    let list = rig.expect_list();
    rig.page(list, Some("one"), 10, &[("a", 1)], None);
    let watch = rig.expect_watch(10);
    rig.fail(watch, FailureClass::Gone);
    for _ in 0..5 {
        let list = rig.expect_list();
        rig.page(list, Some("one"), 5, &[], None);
    }
    assert_eq!(
        (rig.cache(), rig.revision()),
        (objects(&[("a", 1)]), Some(10))
    );
}

#[test]
fn a_rewind_that_lists_show_is_taken_with_its_content() {
    let mut config = config(plain_profile());
    config.policy.rewind = OnRewind::AcceptAfter {
        lists: 2,
        span: Duration::ZERO,
    };
    config.source.replica_lag = Duration::ZERO;
    let (mut rig, watch) = Rig::watching(config);
    rig.fail(watch, FailureClass::Gone);
    while rig.revision() != Some(5) {
        let list = rig.expect_list();
        let revision = Some(5.into());
        rig.say(
            list,
            Input::Page {
                epoch: None,
                revision,
            },
        );
        assert!(!rig.informer.holds(list, "a", VersionRef::from(1), None));
        let body = Body::Value(99);
        rig.say(
            list,
            Input::Item(Item {
                body,
                ..item("a", 1)
            }),
        );
        rig.say(list, Input::PageEnd { next: None });
    }
    assert_eq!(rig.cache(), objects(&[("a", 99)]));
}

#[test]
fn deletes_of_the_old_history_do_not_count_in_the_new_one() {
    let source = SourceProfile {
        order: RevisionOrder::Opaque,
        ..plain_profile()
    };
    let mut rig = Rig::new(config(source));
    let list = rig.expect_list();
    rig.page(list, Some("one"), 10, &[("c", 7)], None);
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    rig.delete(watch, 11, "c");
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.page(list, Some("two"), 5, &[], None);
    let watch = rig.expect_watch(5);
    rig.opened(watch);
    rig.put(watch, 6, "c", 6);
    assert_eq!(rig.cache(), objects(&[("c", 6)]));
}

#[test]
fn a_stream_opens_before_its_items() {
    let (mut rig, watch) = streamed(config(streaming()));
    rig.fail(watch, FailureClass::Gone);
    let (watch, _) = stream(&mut rig);
    rig.put(watch, 1, "a", 1);
    rig.opened(watch);
    let what = BadInput::OutOfPlace;
    assert!(rig.notices().contains(&Notice::BadInput {
        attempt: watch,
        what
    }));
}

#[test]
fn a_digest_is_not_compared_with_what_is_known_to_differ() {
    let digests = true;
    let other = Some(reflet_core::Digest(1));
    let mut rig = Rig::new(config(SourceProfile {
        class: Class::Fuzzy,
        digests,
        ..plain_profile()
    }));
    let list = rig.expect_list();
    rig.page(list, None, 10, &[("a", 1)], Some("next"));
    rig.command();
    rig.page(list, None, 14, &[("b", 14)], None);
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    let (revision, digest) = (12.into(), other);
    rig.say(watch, Input::Progress { revision, digest });
    assert_eq!(rig.state(), State::Live, "the list has something newer");

    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.say(
        watch,
        Input::Undecodable {
            size: 5,
            error: "bad",
        },
    );
    let (revision, digest) = (11.into(), other);
    rig.say(watch, Input::Progress { revision, digest });
    assert_eq!(rig.state(), State::Live, "an event is known to be lost");
}

#[test]
fn what_is_said_to_be_unchanged_is_good_again() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    let event = |body, revision: u64| {
        let item = Item {
            body,
            ..item("a", 1)
        };
        Input::Event(Event {
            change: Change::Upsert(item),
            revision: Some(revision.into()),
            previous: None,
        })
    };
    rig.say(watch, event(Body::Undecodable("bad"), 11));
    assert_eq!(rig.health().quarantined_count, 1);
    rig.say(watch, event(Body::Unchanged, 12));
    assert_eq!(rig.health().quarantined_count, 0);
    let recovered = Notice::ObjectRecovered { key: "a".into() };
    assert!(rig.notices().contains(&recovered));
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
}

#[test]
fn what_a_verify_of_the_content_could_not_read_is_compared_by_its_content_later() {
    let (mut rig, _watch) = Rig::watching(config(plain_profile()));
    rig.informer.verify(rig.now, Verify::Content);
    let list = rig.expect_list();
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision: Some(10.into()),
        },
    );
    rig.say(list, Input::Item(item("a", 1)));
    let (size, error) = (5, "bad");
    rig.say(list, Input::Undecodable { size, error });
    rig.say(list, Input::PageEnd { next: None });
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    // The source was set back: what it has as this version of b is something else.
    let other = Item {
        body: Body::Value(7),
        ..item("b", 2)
    };
    event(&mut rig, watch, 11, other);
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 7)]));
}
