//! What counts as progress, what as a dead end, and when to try again.
#![allow(clippy::panic, reason = "the helpers of a test may panic")]

mod rig;

use std::time::Duration;

use reflet_core::{
    BadInput, Class, Command, Condition, Epoch, FailureClass, Feed, Input, LimitKind, Notice,
    OnRewind, RevisionOrder, SourceProfile, State, Verify,
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
    let revision = Some(3.into());
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision,
        },
    );
    let body = reflet_core::Body::Undecodable("bad");
    rig.say(
        list,
        Input::Item(reflet_core::Item {
            body,
            ..item("a", 2)
        }),
    );
    rig.say(list, Input::PageEnd { next: None });
    let (list, conditional) = known(&mut rig);
    assert!(!conditional, "what was rejected may be good by now");
    rig.list(list, 4, &[("a", 1)]);
    rig.informer.verify(rig.now, Verify::Content);
    assert!(!known(&mut rig).1, "the content is to be looked at");
}

/// A rig with evidence of a rewind: one list after the other, a long time apart.
fn rewinding(lists: u32, revisions: &[u64]) -> Rig {
    let mut config = config(plain_profile());
    config.policy.rewind = OnRewind::AcceptAfter {
        lists,
        span: Duration::from_secs(1),
    };
    config.source.replica_lag = Duration::ZERO;
    let (mut rig, watch) = Rig::watching(config);
    rig.fail(watch, FailureClass::Gone);
    for revision in revisions {
        let list = rig.expect_list();
        rig.pass(Duration::from_secs(5));
        rig.list(list, *revision, &[("z", 1)]);
    }
    rig
}

#[test]
fn a_long_time_is_not_enough_for_a_rewind_without_as_many_lists() {
    assert_eq!(rewinding(4, &[5, 5, 5]).revision(), Some(10));
    assert_eq!(rewinding(4, &[5, 5, 5, 5]).revision(), Some(5));
}

#[test]
fn lists_that_go_back_and_forth_are_replicas_and_no_rewind() {
    assert_eq!(rewinding(3, &[6, 5, 6, 5, 6, 5]).revision(), Some(10));
    assert_eq!(rewinding(3, &[6, 5, 6, 6]).revision(), Some(6));
}

#[test]
fn rejections_beyond_the_limit_are_counted_until_a_list_does_without() {
    let mut config = config(plain_profile());
    config.limits.quarantined = 1;
    let (mut rig, watch) = Rig::watching(config);
    rig.fail(watch, FailureClass::Gone);
    for count in [2, 0] {
        let list = rig.expect_list();
        let revision = Some(20.into());
        rig.say(
            list,
            Input::Page {
                epoch: None,
                revision,
            },
        );
        for key in ["a", "b"] {
            let body = match count {
                0 => reflet_core::Body::Value(20),
                _ => reflet_core::Body::Undecodable("bad"),
            };
            rig.say(
                list,
                Input::Item(reflet_core::Item {
                    body,
                    ..item(key, 20)
                }),
            );
        }
        rig.say(list, Input::PageEnd { next: None });
        assert_eq!(rig.health().quarantined_count, count);
        let watch = rig.expect_watch(20);
        rig.fail(watch, FailureClass::Gone);
    }
}

#[test]
fn the_pages_of_a_list_are_paced_on_their_own() {
    let mut config = config(plain_profile());
    config.timing.page_burst = 3;
    config.timing.page_interval = Duration::from_secs(1);
    let mut rig = Rig::new(config);
    let list = rig.expect_list();
    let mut asked = Vec::new();
    for page in 0..10 {
        rig.page(list, None, 10, &[("a", 1)], Some(&page.to_string()));
        let command = loop {
            match rig.command() {
                Some(command) => break command,
                None => rig.pass_until(rig.informer.poll_timeout().unwrap().at),
            }
        };
        assert!(matches!(command, Command::List { attempt, page: Some(_), .. } if attempt == list));
        asked.push(rig.now);
    }
    for (i, from) in asked.iter().enumerate() {
        for (j, to) in asked.iter().enumerate().skip(i) {
            assert!((j - i + 1) as u64 <= 3 + to.saturating_since(*from).as_secs());
        }
    }
    rig.page(list, None, 10, &[("b", 2)], None);
    assert_eq!(rig.cache().len(), 2);
}

#[test]
fn a_page_that_nobody_has_asked_for_yet_is_refused() {
    let mut config = config(plain_profile());
    config.timing.page_burst = 1;
    config.timing.page_interval = Duration::from_secs(1);
    let mut rig = Rig::new(config);
    let list = rig.expect_list();
    rig.page(list, None, 10, &[("a", 1)], Some("one"));
    rig.command();
    rig.page(list, None, 10, &[("b", 1)], Some("two"));
    assert_eq!(rig.command(), None, "it waits for its turn");
    rig.page(list, None, 10, &[("c", 1)], None);
    assert!(rig.cache().is_empty());
    let refused = Notice::BadInput {
        attempt: list,
        what: BadInput::OutOfPlace,
    };
    assert!(rig.notices().contains(&refused));
}

#[test]
fn a_watch_that_opens_and_never_speaks_is_not_called_live_and_leads_to_a_list() {
    let (mut rig, _mute) = Rig::watching(config(full_profile()));
    for mute in 1..=3 {
        rig.pass(Duration::from_secs(30));
        assert_eq!((rig.state(), mute), (State::Stale, mute));
        if mute < 3 {
            let watch = rig.expect_watch(10);
            rig.opened(watch);
            assert_eq!(rig.state(), State::Stale, "to open is not to speak");
        }
    }
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1), ("b", 2)]);
    assert_eq!(rig.state(), State::Live);
}

#[test]
fn one_word_makes_a_watch_live_again() {
    let (mut rig, _mute) = Rig::watching(config(full_profile()));
    rig.pass(Duration::from_secs(30));
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    assert_eq!(rig.state(), State::Stale);
    rig.say(watch, Input::Heartbeat);
    assert_eq!(rig.state(), State::Live);
}

#[test]
fn what_did_not_come_in_time_is_the_last_error() {
    let (mut rig, _mute) = Rig::watching(config(full_profile()));
    rig.pass(Duration::from_secs(30));
    let (at, failure) = rig.health().last_error.unwrap();
    assert_eq!((at, &*failure.message), (rig.now, "the watch fell silent"));
}

#[test]
fn a_stream_that_opens_and_never_speaks_falls_back_to_lists() {
    let feed = Feed::InitialStream;
    let mut rig = Rig::new(config(SourceProfile {
        feed,
        ..full_profile()
    }));
    for _ in 0..20 {
        match rig.next_start() {
            Some(Command::Watch { attempt, .. }) => {
                rig.opened(attempt);
                rig.pass(Duration::from_secs(31));
            }
            Some(Command::List { attempt, .. }) => {
                rig.list(attempt, 10, &[("a", 1)]);
                assert!(rig.notices().contains(&Notice::FellBack));
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("it never lists");
}

#[test]
fn a_mute_watch_that_is_cut_before_its_silence_limit_is_a_dead_end_too() {
    for cut in [None, Some(FailureClass::Retryable)] {
        let (mut rig, mut watch) = Rig::watching(config(full_profile()));
        for mute in 1..=3 {
            rig.pass(Duration::from_secs(20));
            match cut {
                None => rig.say(watch, Input::Closed),
                Some(class) => rig.fail(watch, class),
            }
            assert_eq!(rig.state(), State::Stale);
            if mute < 3 {
                watch = rig.expect_watch(10);
                rig.opened(watch);
            }
        }
        rig.expect_list();
    }
}

#[test]
fn an_event_that_is_refused_does_not_make_it_live() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.put_after(watch, 11, 12, "a", 12);
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    rig.notices();
    rig.put_after(watch, 11, 12, "a", 12);
    assert!(!rig.notices().contains(&Notice::Live));
    assert_eq!(rig.reason(), Some(Condition::LossDetected));
}
