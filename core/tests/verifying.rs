//! Lists beside an open watch, and what must not get lost between the two.
#![allow(clippy::panic, reason = "the helpers of a test may panic")]

mod rig;

use std::time::Duration;

use reflet_core::cache::Delta;
use reflet_core::{
    Body, Class, Command, Condition, Config, Digest, FailureClass, Feed, Input, Item, Notice,
    OnRewind, Revision, SourceProfile, State, Verify, VersionRef,
};
use rig::{Rig, config, full_profile, item, objects, plain_profile};

/// Without batch ends, but good enough for a verify beside the watch.
fn stamped_profile() -> SourceProfile {
    SourceProfile {
        commit_revisions: true,
        predecessors: true,
        ..plain_profile()
    }
}

/// A rig with an open watch and a verifying list beside it.
fn verifying(config: Config) -> (Rig, reflet_core::Attempt, reflet_core::Attempt) {
    let (mut rig, watch) = Rig::watching(config);
    rig.informer.verify(rig.now, Verify::Versions);
    let list = rig.expect_list();
    (rig, watch, list)
}

fn begin(rig: &mut Rig, list: reflet_core::Attempt, revision: u64) {
    let revision = Some(revision.into());
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision,
        },
    );
}

fn bad(key: &str, version: u64) -> Item<'_, std::sync::Arc<str>, u64> {
    Item {
        body: Body::Undecodable("bad"),
        ..item(key, version)
    }
}

fn unreadable(rig: &mut Rig, attempt: reflet_core::Attempt) {
    rig.say(
        attempt,
        Input::Undecodable {
            size: 5,
            error: "bad",
        },
    );
}

/// Time passes, and the watch shows signs of life.
fn wait(rig: &mut Rig, watch: reflet_core::Attempt) {
    for _ in 0..4 {
        rig.pass(Duration::from_secs(9));
        rig.say(watch, Input::Heartbeat);
    }
}

/// Takes any older list for a rewind.
fn easily_rewound() -> Config {
    let mut config = config(full_profile());
    config.policy.rewind = OnRewind::AcceptAfter {
        lists: 1,
        span: Duration::ZERO,
    };
    config.source.replica_lag = Duration::ZERO;
    config
}

#[test]
fn a_list_takes_over_the_batch_that_the_watch_had_begun() {
    let (mut rig, watch, list) = verifying(config(full_profile()));
    rig.put_after(watch, 10, 11, "c", 11);
    rig.list(list, 14, &[("a", 1), ("b", 2)]);
    rig.put_after(watch, 10, 11, "d", 11);
    rig.batch_end(watch, 11);
    assert_eq!(
        (rig.cache(), rig.revision()),
        (objects(&[("a", 1), ("b", 2)]), Some(14))
    );
    rig.fail(watch, FailureClass::Retryable);
    rig.expect_watch(14);
}

#[test]
fn a_list_that_overtakes_the_watch_leaves_no_gap_behind() {
    let (mut rig, watch, list) = verifying(config(stamped_profile()));
    rig.put_after(watch, 10, 11, "c", 11);
    rig.list(list, 14, &[("a", 1), ("b", 2)]);
    rig.put_after(watch, 14, 15, "d", 15);
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2), ("d", 15)]));
    assert!(
        !rig.notices()
            .iter()
            .any(|notice| matches!(notice, Notice::Gap { .. }))
    );
    rig.fail(watch, FailureClass::Retryable);
    rig.expect_watch(14);
}

#[test]
fn a_list_of_any_state_beside_the_watch_is_still_not_older_than_the_cache() {
    let (mut rig, watch, list) = verifying(config(full_profile()));
    rig.fail(list, FailureClass::Behind);
    wait(&mut rig, watch);
    let Some(Command::List {
        attempt,
        at_least: None,
        ..
    }) = rig.next_start()
    else {
        panic!("no unconstrained list")
    };
    rig.list(attempt, 9, &[("old", 1)]);
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
    assert!(rig.notices().contains(&Notice::StaleList {
        got: 9.into(),
        have: 10.into()
    }));
}

#[test]
fn an_older_list_beside_the_watch_is_no_evidence_of_a_rewind() {
    let (mut rig, watch, mut list) = verifying(easily_rewound());
    let revision = 10.into();
    rig.say(
        watch,
        Input::Progress {
            revision,
            digest: None,
        },
    );
    for _ in 0..3 {
        rig.list(list, 9, &[("old", 1)]);
        wait(&mut rig, watch);
        list = rig.expect_list();
    }
    assert_eq!(
        (rig.cache(), rig.state()),
        (objects(&[("a", 1), ("b", 2)]), State::Live)
    );
}

/// A source that was set back may let a watch wait for ever that starts at a revision it no longer
/// has, as etcd does.
#[test]
fn a_watch_that_never_spoke_of_our_revision_does_not_hide_a_rewind() {
    let (mut rig, watch, list) = verifying(easily_rewound());
    rig.say(watch, Input::Heartbeat);
    rig.list(list, 9, &[("old", 1)]);
    for _ in 0..3 {
        rig.pass(Duration::from_secs(60));
        let list = rig.expect_list();
        rig.list(list, 9, &[("old", 1)]);
        if rig.cache() == objects(&[("old", 1)]) {
            return;
        }
    }
    panic!("the rewind was never found: {:?}", rig.informer.health());
}

#[test]
fn a_watch_that_never_spoke_of_our_revision_does_not_hide_a_rewind_that_is_refused() {
    let mut config = easily_rewound();
    config.policy.rewind = OnRewind::Refuse;
    let (mut rig, watch, list) = verifying(config);
    rig.say(watch, Input::Heartbeat);
    rig.list(list, 9, &[("old", 1)]);
    assert_eq!(rig.state(), State::Stale);
    assert_eq!(
        rig.informer.health().reason,
        Some(Condition::OlderThanCache)
    );
}

#[test]
fn what_a_verify_of_the_content_could_not_read_is_no_news_once_it_reads_the_same() {
    let (mut rig, _watch) = Rig::watching(config(stamped_profile()));
    for (mode, unreadable) in [(Verify::Content, true), (Verify::Versions, false)] {
        rig.informer.verify(rig.now, mode);
        let list = rig.expect_list();
        begin(&mut rig, list, 10);
        let b = if unreadable {
            bad("b", 2)
        } else {
            item("b", 2)
        };
        rig.say(list, Input::Item(item("a", 1)));
        rig.say(list, Input::Item(b));
        rig.say(list, Input::PageEnd { next: None });
    }
    rig.mirror.log.clear();
    rig.drain();
    assert!(rig.health().quarantined.is_empty());
    assert!(
        !rig.mirror
            .log
            .iter()
            .any(|delta| matches!(delta, Delta::Updated { .. })),
        "{:?}",
        rig.mirror.log
    );
}

#[test]
fn a_hints_list_is_not_older_than_the_cache() {
    let mut rig = Rig::new(config(SourceProfile {
        feed: Feed::HintOnly,
        ..plain_profile()
    }));
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1)]);
    let Some(Command::Watch { attempt: hints, .. }) = rig.next_start() else {
        panic!("no hints")
    };
    rig.opened(hints);
    let Some(Command::List { attempt, known, .. }) = rig.next_start() else {
        panic!("no list")
    };
    assert_eq!(known, Some(Revision::from(10)));
    rig.list(attempt, 9, &[("old", 1)]);
    assert_eq!(
        (rig.cache(), rig.revision()),
        (objects(&[("a", 1)]), Some(10))
    );
}

#[test]
fn a_list_does_not_make_up_for_an_event_that_was_lost_while_it_ran() {
    let (mut rig, watch, list) = verifying(config(full_profile()));
    begin(&mut rig, list, 10);
    unreadable(&mut rig, watch);
    rig.say(list, Input::Item(item("a", 1)));
    rig.say(list, Input::Item(item("b", 2)));
    rig.say(list, Input::PageEnd { next: None });
    assert!(
        rig.health().degraded,
        "the event may be newer than the list"
    );
    wait(&mut rig, watch);
    let list = rig.expect_list();
    rig.list(list, 12, &[("a", 12), ("b", 2)]);
    assert!(!rig.health().degraded);
}

#[test]
fn an_event_that_is_lost_in_a_batch_spoils_it_whatever_list_came_in_between() {
    let (mut rig, watch) = Rig::watching(config(full_profile()));
    rig.put_after(watch, 10, 11, "a", 11);
    unreadable(&mut rig, watch);
    wait(&mut rig, watch);
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1), ("b", 2)]);
    assert!(!rig.health().degraded);
    rig.batch_end(watch, 11);
    assert!(rig.health().degraded && !rig.health().complete);
}

#[test]
fn a_list_with_something_unreadable_is_taken_again() {
    let mut rig = Rig::new(config(full_profile()));
    let list = rig.expect_list();
    begin(&mut rig, list, 10);
    unreadable(&mut rig, list);
    rig.say(list, Input::PageEnd { next: None });
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    wait(&mut rig, watch);
    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1)]);
    assert_eq!(
        (rig.cache(), rig.health().degraded),
        (objects(&[("a", 1)]), false)
    );
}

#[test]
fn a_verify_of_the_content_that_fails_is_taken_again_with_content() {
    for beside in [true, false] {
        let profile = if beside {
            full_profile()
        } else {
            plain_profile()
        };
        let (mut rig, watch) = Rig::watching(config(profile));
        rig.informer.verify(rig.now, Verify::Content);
        let list = rig.expect_list();
        begin(&mut rig, list, 10);
        rig.fail(list, FailureClass::Retryable);
        wait(&mut rig, watch);
        let list = rig.expect_list();
        begin(&mut rig, list, 10);
        assert!(!rig.informer.holds(list, "a", VersionRef::from(1), None));
        rig.say(list, Input::Item(item("a", 1)));
        rig.say(list, Input::Item(item("b", 2)));
        rig.say(list, Input::PageEnd { next: None });
        // Once is enough.
        wait(&mut rig, watch);
        rig.informer.verify(rig.now, Verify::Versions);
        if beside {
            let list = rig.expect_list();
            begin(&mut rig, list, 10);
            assert!(rig.informer.holds(list, "a", VersionRef::from(1), None));
        }
    }
}

#[test]
fn a_verify_that_is_asked_for_while_a_list_runs_follows_it() {
    let (mut rig, _watch, list) = verifying(config(full_profile()));
    begin(&mut rig, list, 10);
    rig.informer.verify(rig.now, Verify::Content);
    rig.say(list, Input::Item(item("a", 1)));
    rig.say(list, Input::Item(item("b", 2)));
    rig.say(list, Input::PageEnd { next: None });
    rig.informer.handle_timeout(rig.now);
    let list = rig.expect_list();
    begin(&mut rig, list, 10);
    assert!(!rig.informer.holds(list, "a", VersionRef::from(1), None));
}

#[test]
fn a_rejected_event_stays_quarantined_when_an_older_list_has_the_good_version() {
    let (mut rig, watch, list) = verifying(config(full_profile()));
    begin(&mut rig, list, 10);
    let change = reflet_core::Change::Upsert(bad("a", 11));
    let (revision, previous) = (Some(11.into()), Some(10.into()));
    rig.say(
        watch,
        Input::Event(reflet_core::Event {
            change,
            revision,
            previous,
        }),
    );
    rig.batch_end(watch, 11);
    rig.say(list, Input::Item(item("a", 1)));
    rig.say(list, Input::Item(item("b", 2)));
    rig.say(list, Input::PageEnd { next: None });
    assert_eq!(rig.health().quarantined_count, 1);
}

#[test]
fn an_object_that_the_list_rejects_and_the_watch_brings_is_kept() {
    let (mut rig, watch, list) = verifying(config(full_profile()));
    begin(&mut rig, list, 11);
    rig.say(list, Input::Item(bad("c", 11)));
    rig.put_after(watch, 10, 11, "c", 11);
    rig.batch_end(watch, 11);
    rig.say(list, Input::Item(item("a", 1)));
    rig.say(list, Input::Item(item("b", 2)));
    rig.say(list, Input::PageEnd { next: None });
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2), ("c", 11)]));
}

#[test]
fn what_a_list_rejects_is_quarantined_also_if_an_older_event_deleted_it() {
    let (mut rig, watch, list) = verifying(config(full_profile()));
    begin(&mut rig, list, 14);
    rig.say(list, Input::Item(bad("a", 13)));
    rig.put_after(watch, 10, 12, "b", 12);
    rig.delete(watch, 12, "a");
    rig.batch_end(watch, 12);
    rig.say(list, Input::Item(item("b", 12)));
    rig.say(list, Input::PageEnd { next: None });
    assert_eq!(
        (rig.cache(), rig.revision()),
        (objects(&[("b", 12)]), Some(14))
    );
    assert_eq!(rig.health().quarantined_count, 1);
}

#[test]
fn a_fuzzy_list_beside_the_watch_is_partial_until_that_has_passed_it() {
    let (mut rig, watch, list) = verifying(config(SourceProfile {
        class: Class::Fuzzy,
        ..stamped_profile()
    }));
    rig.page(list, None, 10, &[("a", 1)], Some("next"));
    rig.command();
    rig.put_after(watch, 10, 11, "c", 11);
    rig.progress(watch, 12);
    rig.page(list, None, 14, &[("b", 14), ("c", 11)], None);
    assert_eq!((rig.revision(), rig.health().complete), (Some(14), false));
    rig.put_after(watch, 12, 14, "b", 14);
    rig.progress(watch, 14);
    assert!(rig.health().complete);
}

#[test]
fn a_digest_is_not_compared_with_half_of_a_later_transaction() {
    let (mut rig, watch) = Rig::watching(config(SourceProfile {
        digests: true,
        ..plain_profile()
    }));
    rig.put(watch, 11, "a", 11);
    rig.fail(watch, FailureClass::Retryable);
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    let share = |key: &str, version: u64| Digest::of(key.as_bytes(), version.into());
    let digest = Some(share("a", 1).plus(share("b", 2)));
    rig.say(
        watch,
        Input::Progress {
            revision: 10.into(),
            digest,
        },
    );
    assert_eq!(rig.state(), State::Live);
    assert!(rig.command().is_none(), "the watch goes on");
}

#[test]
fn an_object_that_the_watch_brought_at_the_lists_revision_and_the_list_lacks_is_divergence() {
    let (mut rig, watch, list) = verifying(config(full_profile()));
    begin(&mut rig, list, 11);
    rig.put_after(watch, 10, 11, "c", 11);
    rig.batch_end(watch, 11);
    rig.say(list, Input::Item(item("a", 1)));
    rig.say(list, Input::Item(item("b", 2)));
    rig.say(list, Input::PageEnd { next: None });
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
    assert!(rig.notices().contains(&Notice::Diverged { objects: 1 }));
}
