//! What counts as progress, what as a dead end, and when to try again.
#![allow(clippy::panic, reason = "the helpers of a test may panic")]

mod rig;

use std::time::Duration;

use reflet_core::{
    BadInput, Class, Command, Condition, Epoch, FailureClass, Feed, Input, LimitKind, Notice,
    OnRewind, RevisionOrder, SourceProfile, Verify,
};
use rig::{Rig, config, full_profile, item, objects, plain_profile};

fn polled() -> SourceProfile {
    SourceProfile {
        feed: Feed::FullState { blocking: false },
        class: Class::Whole,
        order: RevisionOrder::Opaque,
        ..SourceProfile::default()
    }
}

#[test]
fn a_list_is_a_way_out_of_dead_ends() {
    let (mut rig, mut watch) = Rig::watching(config(plain_profile()));
    for _ in 0..2 {
        for _ in 0..2 {
            rig.say(watch, Input::Closed);
            watch = rig.expect_watch(10);
        }
        rig.fail(watch, FailureClass::Gone);
        let list = rig.expect_list();
        rig.list(list, 10, &[("a", 1), ("b", 2)]);
        watch = rig.expect_watch(10);
    }
}

#[test]
fn steps_between_closes_are_no_dead_end() {
    let (mut rig, mut watch) = Rig::watching(config(plain_profile()));
    for revision in 11..20 {
        rig.say(watch, Input::Closed);
        watch = rig.expect_watch(revision - 1);
        rig.opened(watch);
        rig.progress(watch, revision);
        rig.fail(watch, FailureClass::Behind);
        watch = rig.expect_watch(revision);
    }
}

#[test]
fn the_lists_that_are_evidence_of_a_rewind_ask_for_any_state() {
    let mut config = config(plain_profile());
    config.policy.rewind = OnRewind::AcceptAfter {
        lists: 3,
        span: Duration::ZERO,
    };
    let (mut rig, watch) = Rig::watching(config);
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.list(list, 5, &[]);
    assert_eq!(rig.reason(), Some(Condition::OlderThanCache));
    assert!(matches!(
        rig.next_start(),
        Some(Command::List { at_least: None, .. })
    ));
}

#[test]
fn backoff_starts_afresh_after_a_stable_period_of_polls() {
    let mut config = config(polled());
    config.timing.backoff_min = Duration::from_millis(1);
    let mut rig = Rig::new(config);
    for _ in 0..30 {
        let list = rig.expect_list();
        rig.fail(list, FailureClass::Retryable);
    }
    for _ in 0..3 {
        let list = rig.expect_list();
        rig.list(list, 1, &[("a", 1)]);
    }
    let list = rig.expect_list();
    rig.fail(list, FailureClass::Retryable);
    let wait = rig.health().next_attempt.unwrap().saturating_since(rig.now);
    assert!(wait <= Duration::from_millis(1), "{wait:?}");
}

#[test]
fn a_list_with_something_unreadable_that_does_not_fit_freezes() {
    let mut config = config(plain_profile());
    config.limits.objects = 2;
    let (mut rig, watch) = Rig::watching(config);
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision: Some(12.into()),
        },
    );
    rig.say(
        list,
        Input::Undecodable {
            size: 5,
            error: "bad",
        },
    );
    rig.say(list, Input::Item(item("c", 3)));
    rig.say(list, Input::PageEnd { next: None });
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
    assert_eq!(rig.reason(), Some(Condition::Frozen(LimitKind::Objects)));
}

#[test]
fn pages_of_two_epochs_are_a_torn_list() {
    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    rig.page(list, Some("one"), 10, &[("a", 1)], Some("next"));
    rig.command();
    rig.page(list, Some("two"), 10, &[("b", 1)], None);
    let what = BadInput::TornList;
    assert!(rig.notices().contains(&Notice::BadInput {
        attempt: list,
        what
    }));
    assert!(rig.cache().is_empty());
}

#[test]
fn a_page_that_was_not_asked_for_ends_the_list() {
    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    rig.page(list, None, 10, &[("a", 1)], Some("next"));
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision: Some(10.into()),
        },
    );
    let what = BadInput::OutOfPlace;
    assert!(rig.notices().contains(&Notice::BadInput {
        attempt: list,
        what
    }));
}

#[test]
fn a_verify_that_finds_a_new_epoch_starts_over() {
    let mut rig = Rig::new(config(full_profile()));
    let list = rig.expect_list();
    rig.page(list, Some("one"), 10, &[("a", 1)], None);
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    rig.informer.verify(rig.now, Verify::Versions);
    let list = rig.expect_list();
    let (epoch, revision) = (Some(Epoch::new("two")), Some(10.into()));
    rig.say(list, Input::Page { epoch, revision });
    let cancelled: Vec<_> = std::iter::from_fn(|| rig.command())
        .filter_map(|command| match command {
            Command::Cancel { attempt } => Some(attempt),
            Command::List { .. } | Command::Watch { .. } => None,
        })
        .collect();
    assert_eq!(cancelled, [list, watch]);
    assert_eq!(rig.cache(), objects(&[("a", 1)]));
}

#[test]
fn a_source_is_verified_on_its_period() {
    let mut config = config(full_profile());
    config.timing.verify_period = Some(Duration::from_secs(60));
    let (mut rig, watch) = Rig::watching(config);
    for _ in 0..2 {
        for _ in 0..6 {
            assert_eq!(rig.command(), None);
            rig.pass(Duration::from_secs(10));
            rig.say(watch, Input::Heartbeat);
        }
        let list = rig.expect_list();
        rig.list(list, 10, &[("a", 1), ("b", 2)]);
    }
}

#[test]
fn an_old_difference_is_divergence_also_in_a_list_that_is_ahead() {
    let (mut rig, _watch) = Rig::watching(config(full_profile()));
    rig.informer.verify(rig.now, Verify::Versions);
    let list = rig.expect_list();
    rig.list(list, 14, &[("a", 5), ("b", 14)]);
    assert!(rig.notices().contains(&Notice::Diverged { objects: 1 }));
}

#[test]
fn a_hint_does_not_cut_a_backoff_short() {
    let feed = Feed::HintOnly;
    let mut rig = Rig::new(config(SourceProfile {
        feed,
        ..plain_profile()
    }));
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1)]);
    let Some(Command::Watch { attempt: hints, .. }) = rig.next_start() else {
        panic!("no hints")
    };
    rig.opened(hints);
    let list = rig.expect_list();
    rig.fail(list, FailureClass::Denied);
    let at = rig.health().next_attempt;
    rig.say(hints, Input::Hint);
    assert_eq!(rig.health().next_attempt, at);
}

#[test]
fn what_the_list_already_has_is_no_news() {
    for profile in [plain_profile(), full_profile()] {
        let (mut rig, watch) = Rig::watching(config(profile));
        rig.delete(watch, 10, "a");
        rig.batch_end(watch, 10);
        assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
        assert!(rig.notices().is_empty());
    }
}

#[test]
fn an_epoch_that_only_watches_tell_is_kept_too() {
    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1)]);
    for epoch in ["one", "two"] {
        let watch = rig.expect_watch(10);
        rig.say(
            watch,
            Input::Opened {
                epoch: Some(Epoch::new(epoch)),
            },
        );
        if epoch == "one" {
            rig.fail(watch, FailureClass::Retryable);
        }
    }
    rig.expect_list();
}

#[test]
fn no_change_is_only_asked_for_where_it_would_do() {
    let mut rig = Rig::new(config(polled()));
    let list = rig.expect_list();
    rig.list(list, 1, &[("a", 1)]);
    let known = |rig: &mut Rig| match rig.next_start() {
        Some(Command::List { attempt, known, .. }) => (attempt, known.is_some()),
        other => panic!("expected a list, got {other:?}"),
    };
    let (list, conditional) = known(&mut rig);
    assert!(conditional);
    let revision = Some(2.into());
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision,
        },
    );
    rig.say(
        list,
        Input::Undecodable {
            size: 5,
            error: "bad",
        },
    );
    rig.say(list, Input::PageEnd { next: None });
    let (list, conditional) = known(&mut rig);
    assert!(!conditional, "what is degraded is not good enough to keep");
    rig.list(list, 3, &[("a", 1)]);
    rig.informer.verify(rig.now, Verify::Content);
    assert!(!known(&mut rig).1, "the content is to be looked at");
}
