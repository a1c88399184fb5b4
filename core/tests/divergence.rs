//! Which differences a verifying list calls divergence, and which are news.

mod rig;

use std::time::Duration;

use reflet_core::{
    Class, Command, FailureClass, Input, Notice, OnRewind, Revision, RevisionOrder, SourceProfile,
    Verify,
};
use rig::{Rig, config, full_profile, item, objects, plain_profile};

fn diverged(rig: &mut Rig) -> usize {
    let notices = rig.notices().into_iter();
    let counts = notices.map(|notice| match notice {
        Notice::Diverged { objects } => objects,
        _ => 0,
    });
    counts.sum()
}

#[test]
fn an_opaque_source_has_diverged_if_it_differs_at_the_same_revision() {
    let list_at = |text: &str| Input::Page {
        epoch: None,
        revision: Some(Revision::parse(text)),
    };
    for (text, expected) in [("one", 2), ("two", 0)] {
        let mut rig = Rig::new(config(SourceProfile {
            order: RevisionOrder::Opaque,
            class: Class::Whole,
            ..SourceProfile::default()
        }));
        let list = rig.expect_list();
        rig.say(list, list_at("one"));
        rig.say(list, Input::Item(item("a", 1)));
        rig.say(list, Input::Item(item("b", 2)));
        rig.say(list, Input::PageEnd { next: None });
        let Some(Command::Watch { attempt, .. }) = rig.next_start() else {
            unreachable!("a watch follows")
        };
        rig.opened(attempt);
        rig.informer.verify(rig.now, Verify::Versions);
        let list = rig.expect_list();
        rig.notices();
        rig.say(list, list_at(text));
        rig.say(list, Input::Item(item("a", 3)));
        rig.say(list, Input::PageEnd { next: None });
        assert_eq!(rig.cache(), objects(&[("a", 3)]));
        assert_eq!(diverged(&mut rig), expected);
    }
}

#[test]
fn all_differences_at_a_revision_that_the_watch_has_passed_are_divergence() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.informer.verify(rig.now, Verify::Versions);
    let list = rig.expect_list();
    rig.put_after(watch, 10, 12, "c", 12);
    rig.batch_end(watch, 12);
    rig.notices();
    rig.list(list, 11, &[("a", 1)]);
    assert_eq!(rig.cache(), objects(&[("a", 1), ("c", 12)]));
    assert_eq!(diverged(&mut rig), 1, "b went, and nobody said so");
}

#[test]
fn what_a_list_ahead_of_the_watch_brings_is_news() {
    let (mut rig, _watch) = Rig::watching(config(full_profile()));
    rig.informer.verify(rig.now, Verify::Versions);
    let list = rig.expect_list();
    rig.list(list, 13, &[("a", 13), ("c", 12)]);
    assert_eq!(diverged(&mut rig), 0);
    assert_eq!(rig.cache(), objects(&[("a", 13), ("c", 12)]));
}

#[test]
fn a_list_that_is_no_verify_finds_news_and_no_divergence() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 3)]);
    assert_eq!(diverged(&mut rig), 0);
}

#[test]
fn a_watch_that_brings_something_newer_outlives_an_older_list_beside_it() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.put_after(watch, 10, 11, "c", 11);
    rig.batch_end(watch, 11);
    rig.informer.verify(rig.now, Verify::Versions);
    let list = rig.expect_list();
    let (epoch, revision) = (None, Some(5.into()));
    rig.say(list, Input::Page { epoch, revision });
    assert_eq!(rig.command(), Some(Command::Cancel { attempt: list }));
    assert_eq!(rig.command(), None, "the watch goes on");
}

#[test]
fn an_object_that_went_back_to_an_older_version_is_of_another_history() {
    let (mut rig, _watch) = Rig::watching(config(plain_profile()));
    rig.informer.verify(rig.now, Verify::Content);
    let list = rig.expect_list();
    rig.notices();
    rig.list(list, 20, &[("a", 1), ("b", 1)]);
    let rewound = Notice::Rewound {
        from: Some(10.into()),
        to: Some(20.into()),
        epoch: None,
    };
    assert!(rig.notices().contains(&rewound));
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 1)]));
    rig.drain();
    assert_eq!(rig.mirror.marks.last().unwrap().local_epoch, 1);
}

#[test]
fn transactions_that_follow_one_another_leave_no_gap() {
    for batch_ends in [true, false] {
        let predecessors = true;
        let (mut rig, watch) = Rig::watching(config(SourceProfile {
            predecessors,
            batch_ends,
            ..plain_profile()
        }));
        for revision in 11..15 {
            rig.put_after(watch, revision - 1, revision, "a", revision);
            if batch_ends {
                rig.batch_end(watch, revision);
            }
        }
        assert_eq!(
            (rig.cache(), rig.command()),
            (objects(&[("a", 14), ("b", 2)]), None)
        );
        rig.put_after(watch, 15, 16, "a", 16);
        let (have, expected) = (14.into(), 15.into());
        assert!(rig.notices().contains(&Notice::Gap { have, expected }));
    }
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
fn a_transaction_that_brought_nothing_is_a_predecessor_too() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.put_after(watch, 10, 11, "a", 11);
    rig.batch_end(watch, 11);
    rig.batch_end(watch, 15);
    rig.put_after(watch, 15, 16, "a", 16);
    rig.batch_end(watch, 16);
    assert_eq!(rig.cache(), objects(&[("a", 16), ("b", 2)]));
    let notices = rig.notices();
    assert!(
        !notices
            .iter()
            .any(|notice| matches!(notice, Notice::Gap { .. }))
    );
}

#[test]
fn a_watch_of_another_history_ends_with_the_list_that_found_it() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.informer.verify(rig.now, Verify::Content);
    let list = rig.expect_list();
    rig.list(list, 20, &[("a", 1), ("b", 1)]);
    assert_eq!(rig.command(), Some(Command::Cancel { attempt: watch }));
    rig.expect_watch(20);
}

#[test]
fn a_watch_that_only_tells_of_less_than_we_have_is_a_silent_one() {
    let mut config = config(full_profile());
    config.policy.rewind = OnRewind::AcceptAfter {
        lists: 1,
        span: Duration::ZERO,
    };
    config.source.replica_lag = Duration::ZERO;
    let (mut rig, mut watch) = Rig::watching(config);
    let promised = rig.now;
    let list = 'asked: loop {
        assert!(rig.now.saturating_since(promised) < rig.informer.config().convergence_bound());
        rig.pass(Duration::from_secs(9));
        rig.progress(watch, 4);
        while let Some(command) = rig.command() {
            match command {
                Command::Watch { attempt, .. } => {
                    watch = attempt;
                    rig.opened(watch);
                }
                Command::List { attempt, .. } => break 'asked attempt,
                Command::Cancel { .. } => {}
            }
        }
    };
    rig.list(list, 4, &[("a", 1)]);
    assert_eq!(rig.revision(), Some(10), "once may be a lagging replica");
    let list = rig.expect_list();
    rig.list(list, 4, &[("a", 1)]);
    assert_eq!(rig.revision(), Some(4), "the source was set back");
    assert_eq!(rig.cache(), objects(&[("a", 1)]));
}
