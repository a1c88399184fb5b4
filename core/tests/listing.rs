//! Lists: visible at once and whole, or not at all.

mod rig;

use std::time::Duration;

use reflet_core::cache::Delta;
use reflet_core::{
    BadInput, Body, Command, Condition, FailureClass, Input, Item, LimitKind, ListReason, Notice,
    Rejection, State, TimerReason, Verify, VersionRef,
};
use rig::{Rig, config, full_profile, item, objects, plain_profile};

#[test]
fn nothing_shows_before_the_last_page() {
    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    rig.page(list, None, 10, &[("a", 1)], Some("next"));
    rig.drain();
    assert_eq!((rig.cache(), rig.mirror.log.len()), (vec![], 0));
    assert!(
        matches!(rig.command(), Some(Command::List { attempt, page: Some(page), .. })
        if attempt == list && &*page == "next")
    );

    rig.page(list, None, 10, &[("b", 2)], None);
    rig.drain();
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
    let mark = rig.mirror.marks.last().unwrap();
    assert!(mark.initial && mark.complete);
    assert_eq!(
        rig.notices(),
        [Notice::Synced {
            revision: Some(10.into()),
            objects: 2
        }]
    );
    rig.expect_watch(10);
}

#[test]
fn an_empty_page_token_is_the_end_of_the_list() {
    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    rig.page(list, None, 10, &[("a", 1)], Some(""));
    assert!(rig.informer.is_synced());
    rig.expect_watch(10);
}

#[test]
fn a_token_that_comes_twice_ends_the_list() {
    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    rig.page(list, None, 10, &[("a", 1)], Some("next"));
    rig.command();
    rig.page(list, None, 10, &[("b", 1)], Some("next"));
    assert_eq!(
        rig.notices(),
        [Notice::BadInput {
            attempt: list,
            what: BadInput::RepeatedPageToken
        }]
    );
    assert_ne!(rig.expect_list(), list);
    assert!(rig.cache().is_empty());
}

#[test]
fn tokens_that_lead_in_a_circle_end_the_list() {
    for (before, around) in [(0, 2), (3, 2), (5, 40), (40, 5)] {
        let mut rig = Rig::new(config(plain_profile()));
        let list = rig.expect_list();
        let mut pages = 0;
        let notices = loop {
            let page = if pages < before {
                pages
            } else {
                before + (pages - before) % around
            };
            rig.page(list, None, 10, &[], Some(&page.to_string()));
            pages += 1;
            let notices = rig.notices();
            if !notices.is_empty() {
                break notices;
            }
            rig.pass(Duration::from_millis(10));
            assert!(rig.command().is_some(), "the next page is asked for");
            assert!(pages <= 4 * (before + around), "{before} and {around}");
        };
        let what = BadInput::RepeatedPageToken;
        let attempt = list;
        assert_eq!(notices, [Notice::BadInput { attempt, what }]);
        assert!(pages > before + around, "{before} and {around}: {pages}");
    }
}

#[test]
fn pages_of_two_revisions_are_a_torn_list() {
    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    rig.page(list, None, 10, &[("a", 1)], Some("next"));
    rig.command();
    rig.page(list, None, 11, &[("b", 1)], None);
    assert_eq!(
        rig.notices(),
        [Notice::BadInput {
            attempt: list,
            what: BadInput::TornList
        }]
    );
    assert!(rig.cache().is_empty() && !rig.informer.is_synced());
}

#[test]
fn gone_in_mid_page_starts_the_list_again() {
    let mut rig = Rig::new(config(plain_profile()));
    let first = rig.expect_list();
    rig.page(first, None, 10, &[("a", 1)], Some("next"));
    rig.fail(first, FailureClass::Gone);
    let second = rig.expect_list();
    rig.list(second, 12, &[("b", 2)]);
    assert_eq!(rig.cache(), objects(&[("b", 2)]));
}

#[test]
fn a_late_page_of_a_dead_list_changes_nothing() {
    let mut rig = Rig::new(config(plain_profile()));
    let first = rig.expect_list();
    rig.fail(first, FailureClass::Retryable);
    let second = rig.expect_list();
    rig.list(first, 99, &[("ghost", 1)]);
    rig.list(second, 10, &[("a", 1)]);
    rig.list(first, 99, &[("ghost", 1)]);
    assert_eq!(
        (rig.cache(), rig.revision()),
        (objects(&[("a", 1)]), Some(10))
    );
}

#[test]
fn a_relist_of_unchanged_objects_yields_no_delta() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    let before = rig.mirror.log.len();
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision: Some(20.into()),
        },
    );
    assert!(rig.informer.holds(list, "a", VersionRef::from(1), None));
    assert!(!rig.informer.holds(list, "b", VersionRef::from(3), None));
    let unchanged = Item {
        body: Body::Unchanged,
        ..item("a", 1)
    };
    rig.say(list, Input::Item(unchanged));
    rig.say(list, Input::Item(item("b", 2)));
    rig.say(list, Input::PageEnd { next: None });
    rig.drain();
    let news: Vec<_> = rig
        .mirror
        .log
        .get(before..)
        .unwrap()
        .iter()
        .filter(|d| !matches!(d, Delta::Mark(_)))
        .collect();
    assert!(news.is_empty(), "{news:?}");
    let relisted = Notice::Relisted {
        reason: ListReason::Gone,
        added: 0,
        updated: 0,
        deleted: 0,
    };
    assert!(rig.notices().contains(&relisted));
}

#[test]
fn what_a_list_does_not_have_is_deleted_and_flagged_as_inferred() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.list(list, 20, &[("b", 3)]);
    rig.drain();
    assert!(rig.mirror.log.contains(&Delta::Deleted {
        key: "a".into(),
        seen: 1,
        last: 1,
        inferred: true
    }));
    assert!(rig.mirror.log.contains(&Delta::Updated {
        key: "b".into(),
        old: 2,
        new: 3
    }));
}

#[test]
fn unchanged_of_what_is_not_held_restarts_with_full_payloads() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision: Some(20.into()),
        },
    );
    rig.say(
        list,
        Input::Item(Item {
            body: Body::Unchanged,
            ..item("c", 9)
        }),
    );
    assert!(rig.notices().contains(&Notice::BadInput {
        attempt: list,
        what: BadInput::NotHeld
    }));
    let list = rig.expect_list();
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision: Some(20.into()),
        },
    );
    assert!(!rig.informer.holds(list, "a", VersionRef::from(1), None));
}

#[test]
fn a_stale_list_is_refused_and_retried() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.list(list, 9, &[]);
    assert!(rig.notices().contains(&Notice::StaleList {
        got: 9.into(),
        have: 10.into()
    }));
    assert_eq!(
        (rig.state(), rig.reason()),
        (State::Stale, Some(Condition::OlderThanCache))
    );
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1), ("b", 2)]);
    assert_eq!(rig.state(), State::Live);
}

#[test]
fn an_undecodable_object_keeps_its_last_good_version_and_is_named() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision: Some(20.into()),
        },
    );
    rig.say(
        list,
        Input::Item(Item {
            body: Body::Undecodable("no number"),
            ..item("a", 5)
        }),
    );
    rig.say(list, Input::Item(item("b", 3)));
    rig.say(list, Input::PageEnd { next: None });
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 3)]));
    let error = Rejection::Undecodable("no number".into());
    assert_eq!(rig.health().quarantined, [("a".into(), error)]);
    let watch = rig.expect_watch(20);
    rig.opened(watch);
    rig.put(watch, 21, "a", 6);
    assert!(rig.health().quarantined.is_empty());
    assert!(
        rig.notices()
            .contains(&Notice::ObjectRecovered { key: "a".into() })
    );
}

#[test]
fn a_rejected_item_of_unknown_key_infers_no_deletes() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision: Some(20.into()),
        },
    );
    rig.say(
        list,
        Input::Undecodable {
            size: 3,
            error: "not an object",
        },
    );
    rig.say(list, Input::PageEnd { next: None });
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
    assert!(rig.health().degraded && !rig.health().complete);
}

#[test]
fn over_a_limit_the_collection_freezes_until_a_list_fits() {
    let mut config = config(plain_profile());
    config.limits.objects = 2;
    let (mut rig, watch) = Rig::watching(config);
    rig.put(watch, 11, "c", 3);
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
    assert_eq!(rig.reason(), Some(Condition::Frozen(LimitKind::Objects)));
    let list = rig.expect_list();
    rig.list(list, 12, &[("a", 1), ("b", 2), ("c", 3)]);
    assert_eq!((rig.cache().len(), rig.revision()), (2, Some(10)));
    let list = rig.expect_list();
    rig.list(list, 13, &[("c", 3)]);
    assert_eq!(rig.cache(), objects(&[("c", 3)]));
    let notices = rig.notices();
    assert!(
        notices.contains(&Notice::Frozen {
            limit: LimitKind::Objects
        }) && notices.contains(&Notice::Thawed)
    );
}

#[test]
fn a_list_that_stages_too_much_freezes() {
    let mut config = config(plain_profile());
    config.limits.staged_bytes = 1_000;
    let mut rig = Rig::new(config);
    let list = rig.expect_list();
    let huge = Item {
        size: 2_000,
        ..item("a", 1)
    };
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision: Some(10.into()),
        },
    );
    rig.say(list, Input::Item(huge));
    assert_eq!(
        (rig.state(), rig.reason()),
        (
            State::Syncing,
            Some(Condition::Frozen(LimitKind::StagedBytes))
        )
    );
}

#[test]
fn a_list_that_goes_silent_or_on_for_ever_ends_by_its_deadlines() {
    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    rig.pass(Duration::from_secs(10));
    assert!(rig.notices().contains(&Notice::TimedOut {
        attempt: list,
        reason: TimerReason::Opening
    }));

    let list = rig.expect_list();
    for page in 0..100 {
        rig.page(list, None, 10, &[("a", 1)], Some(&page.to_string()));
        rig.command();
        rig.pass(Duration::from_secs(4));
    }
    assert!(rig.notices().contains(&Notice::TimedOut {
        attempt: list,
        reason: TimerReason::ListDeadline
    }));
}

#[test]
fn a_key_over_the_limit_is_refused_and_harms_nobody() {
    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    let long = "k".repeat(5_000);
    rig.list(list, 10, &[("a", 1), (&long, 2), ("b", 3)]);
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 3)]));
    let error = Rejection::KeyTooLong { bytes: 5_000 };
    assert!(rig.notices().contains(&Notice::UnknownRejected { error }));
}

#[test]
fn statuses_that_only_a_human_can_change_are_retried_slowly_and_told() {
    for class in [
        FailureClass::Denied,
        FailureClass::NotFound,
        FailureClass::Unexpected,
    ] {
        let (mut rig, watch) = Rig::watching(config(plain_profile()));
        rig.fail(watch, class);
        assert_eq!(
            (rig.state(), rig.reason()),
            (State::Stale, Some(Condition::Failing(class)))
        );
        assert_eq!(
            rig.cache().len(),
            2,
            "an error is never an empty collection"
        );
        let (_, failure) = rig.health().last_error.unwrap();
        assert_eq!(&*failure.message, "scripted");
        let deadline = rig.informer.poll_timeout().unwrap();
        assert_eq!(deadline.reason, TimerReason::SlowRetry);
        assert_eq!(
            deadline.at.saturating_since(rig.now),
            Duration::from_secs(30)
        );
        rig.expect_watch(10);
    }
}

#[test]
fn a_verify_beside_the_watch_keeps_what_came_after_its_revision() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.informer.verify(rig.now, Verify::Versions);
    let list = rig.expect_list();
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision: Some(10.into()),
        },
    );
    rig.put_after(watch, 10, 11, "c", 11);
    rig.batch_end(watch, 11);
    rig.delete(watch, 12, "a");
    rig.batch_end(watch, 12);
    // The list is the state at 10, except that b was silently lost from what we have.
    rig.say(list, Input::Item(item("a", 1)));
    rig.say(list, Input::Item(item("b", 7)));
    rig.say(list, Input::PageEnd { next: None });
    rig.drain();
    assert_eq!(rig.cache(), objects(&[("b", 7), ("c", 11)]));
    assert_eq!(rig.revision(), Some(12));
    assert!(rig.notices().contains(&Notice::Diverged { objects: 1 }));
    rig.put_after(watch, 12, 13, "d", 13);
    rig.batch_end(watch, 13);
    assert_eq!(rig.revision(), Some(13), "the watch went on all the time");
}

#[test]
fn a_verify_that_is_ahead_of_the_watch_is_news_and_old_events_do_not_undo_it() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.informer.verify(rig.now, Verify::Versions);
    let list = rig.expect_list();
    rig.list(list, 14, &[("b", 13), ("d", 14)]);
    assert!(
        !rig.notices()
            .iter()
            .any(|notice| matches!(notice, Notice::Diverged { .. }))
    );
    rig.put_after(watch, 10, 12, "c", 12);
    rig.batch_end(watch, 12);
    rig.put_after(watch, 12, 13, "b", 13);
    rig.batch_end(watch, 13);
    assert_eq!(
        (rig.cache(), rig.revision()),
        (objects(&[("b", 13), ("d", 14)]), Some(14))
    );
    rig.put_after(watch, 14, 15, "c", 15);
    rig.batch_end(watch, 15);
    rig.drain();
    assert_eq!(rig.cache(), objects(&[("b", 13), ("c", 15), ("d", 14)]));
}

#[test]
fn a_key_that_came_and_went_before_a_verify_is_not_kept_by_it() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.informer.verify(rig.now, Verify::Versions);
    let list = rig.expect_list();
    rig.put_after(watch, 10, 11, "c", 11);
    rig.batch_end(watch, 11);
    // At 14 c is gone again; the delete at 12 is still on its way, and will be a duplicate.
    rig.list(list, 14, &[("a", 1), ("b", 2)]);
    rig.delete(watch, 12, "c");
    rig.batch_end(watch, 12);
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
}

#[test]
fn a_verify_of_the_content_finds_what_versions_hide() {
    let (mut rig, _watch) = Rig::watching(config(full_profile()));
    rig.informer.verify(rig.now, Verify::Content);
    let list = rig.expect_list();
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision: Some(10.into()),
        },
    );
    assert!(!rig.informer.holds(list, "a", VersionRef::from(1), None));
    rig.say(
        list,
        Input::Item(Item {
            body: Body::Value(77),
            ..item("a", 1)
        }),
    );
    rig.say(list, Input::Item(item("b", 2)));
    rig.say(list, Input::PageEnd { next: None });
    rig.drain();
    assert_eq!(rig.cache(), objects(&[("a", 77), ("b", 2)]));
    assert!(rig.mirror.log.contains(&Delta::Updated {
        key: "a".into(),
        old: 1,
        new: 77
    }));
    assert!(rig.notices().contains(&Notice::Diverged { objects: 1 }));
}

#[test]
fn without_commit_revisions_a_verify_takes_the_watchs_place() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.informer.verify(rig.now, Verify::Versions);
    assert_eq!(rig.command(), Some(Command::Cancel { attempt: watch }));
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1), ("b", 3)]);
    assert!(rig.notices().contains(&Notice::Diverged { objects: 1 }));
    rig.expect_watch(10);
}
