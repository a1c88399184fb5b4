//! What health and notices say.

mod rig;

use std::time::Duration;

use reflet_core::{
    Condition, Failure, FailureClass, Feed, Input, ListReason, Notice, Rejection, SourceProfile,
    State,
};
use rig::{Rig, config, full_profile, plain_profile};

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
fn attempts_are_numbered_from_one() {
    let mut rig = Rig::new(config(plain_profile()));
    let list = rig.expect_list();
    rig.list(list, 10, &[]);
    let watch = rig.expect_watch(10);
    assert_eq!((list.number(), watch.number()), (1, 2));
    assert_eq!(format!("{list} {watch}"), "#1 #2");
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
    let failure = Failure::new(FailureClass::NotFound, "no such thing");
    assert_eq!(failure.to_string(), "not found: no such thing");
}

#[test]
fn a_cache_prints_what_it_holds_in_short() {
    let (rig, _watch) = Rig::watching(config(plain_profile()));
    let shown = format!("{:?}", rig.informer.cache());
    for words in ["len: 2", "revision: Some(Revision(10))", "complete: true"] {
        assert!(shown.contains(words), "{shown}");
    }
}

#[test]
fn a_poll_is_told_of_if_it_brought_a_change() {
    let mut rig = Rig::new(config(SourceProfile {
        feed: Feed::FullState { blocking: false },
        ..plain_profile()
    }));
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1), ("b", 1)]);
    for (revision, items, change) in [
        (11, &[("a", 1), ("b", 1)][..], None),
        (12, &[("a", 2), ("b", 1)][..], Some((0, 1, 0))),
        (13, &[("a", 2)][..], Some((0, 0, 1))),
        (14, &[("a", 2), ("c", 3), ("d", 4)][..], Some((2, 0, 0))),
    ] {
        rig.notices();
        let list = rig.expect_list();
        rig.list(list, revision, items);
        let told = change.map(|(added, updated, deleted)| Notice::Relisted {
            reason: ListReason::Poll,
            added,
            updated,
            deleted,
        });
        assert_eq!(rig.notices(), Vec::from_iter(told));
    }
}
