//! What an informer does with what it was restored from.

use std::time::Duration;

use reflet_core::cache::{Delta, Filter, Polled};
use reflet_core::{
    Body, Class, Command, Condition, Epoch, FailureClass, Feed, Input, Item, Notice, OnNewEpoch,
    Revision, RevisionOrder, SourceProfile, State, VersionRef,
};

use crate::rig::{Rig, config, full_profile, item, objects, plain_profile};
use crate::{bytes, restored};

/// A rig restored at revision 10 with a=1 and b=2, whose mirror has been told of them.
fn warm() -> Rig {
    let (before, _) = Rig::watching(config(plain_profile()));
    let mut rig = restored(config(plain_profile()), &bytes(&before));
    rig.drain();
    rig.notices();
    rig.mirror.log.clear();
    rig
}

#[test]
fn what_was_held_is_served_at_once_and_called_stale() {
    let (before, _) = Rig::watching(config(plain_profile()));
    let mut rig = restored(config(plain_profile()), &bytes(&before));

    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
    assert_eq!(rig.revision(), Some(10));
    assert!(!rig.informer.is_synced());
    assert_eq!(
        (rig.state(), rig.reason()),
        (State::Stale, Some(Condition::Restored))
    );
    let told = Notice::Restored {
        revision: Some(10.into()),
        objects: 2,
    };
    assert_eq!(rig.notices(), [told]);

    rig.drain();
    assert_eq!(rig.mirror.objects.len(), 2);
    let [mark] = rig.mirror.marks.as_slice() else {
        panic!("{:?}", rig.mirror.marks)
    };
    assert!(mark.restored && mark.initial && mark.complete);
    assert_eq!(mark.revision, Some(Revision::from(10)));
}

#[test]
fn it_goes_on_from_the_snapshots_revision() {
    let mut rig = warm();
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    assert!(
        !rig.informer.is_synced(),
        "an open watch alone proves nothing"
    );

    rig.put(watch, 11, "a", 3);
    rig.drain();
    assert!(rig.informer.is_synced());
    assert_eq!(rig.state(), State::Live);
    let [Delta::Updated { old: 1, new: 3, .. }, Delta::Mark(mark)] = rig.mirror.log.as_slice()
    else {
        panic!("{:?}", rig.mirror.log)
    };
    assert!(!mark.restored && !mark.initial);
}

#[test]
fn progress_at_the_snapshots_revision_confirms_it() {
    let mut rig = warm();
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    rig.progress(watch, 10);
    rig.drain();

    assert_eq!(rig.state(), State::Live);
    let synced = Notice::Synced {
        revision: Some(10.into()),
        objects: 2,
    };
    assert_eq!(rig.notices(), [synced, Notice::Live]);
    let [Delta::Mark(mark)] = rig.mirror.log.as_slice() else {
        panic!("{:?}", rig.mirror.log)
    };
    assert!(!mark.restored && mark.complete);
}

#[test]
fn a_watch_that_says_nothing_is_followed_by_a_list() {
    let mut rig = warm();
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    rig.pass(rig.informer.config().timing.stable_after);
    assert!(!rig.informer.is_synced());

    let list = rig.expect_list();
    rig.list(list, 10, &[("a", 1), ("b", 2)]);
    rig.drain();
    assert!(rig.informer.is_synced());
    assert!(matches!(rig.mirror.log.as_slice(), [Delta::Mark(mark)] if !mark.restored));
}

#[test]
fn a_watch_that_confirms_is_followed_by_none() {
    let mut rig = warm();
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    rig.progress(watch, 10);
    rig.pass(rig.informer.config().timing.stable_after * 3);
    assert_eq!(rig.command(), None);
}

#[test]
fn a_relist_after_gone_tells_only_what_differs() {
    let mut rig = warm();
    let watch = rig.expect_watch(10);
    rig.fail(watch, FailureClass::Gone);
    assert_eq!(rig.state(), State::Stale);

    let list = rig.expect_list();
    let held = VersionRef::from(1);
    assert!(
        !rig.informer.holds(list, "a", held, None),
        "before its page"
    );
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision: Some(20.into()),
        },
    );
    assert!(
        rig.informer.holds(list, "a", held, None),
        "a need not be decoded"
    );
    let unchanged = Item {
        body: Body::Unchanged,
        ..item("a", 1)
    };
    rig.say(list, Input::Item(unchanged));
    rig.say(list, Input::Item(item("c", 3)));
    rig.say(list, Input::PageEnd { next: None });
    rig.drain();

    assert!(rig.informer.is_synced());
    let [deleted, added, mark] = rig.mirror.log.as_slice() else {
        panic!("{:?}", rig.mirror.log)
    };
    let mut told = [deleted, added];
    told.sort_by_key(|delta| matches!(delta, Delta::Deleted { .. }));
    assert!(matches!(told[0], Delta::Added { new: 3, .. }));
    assert!(matches!(
        told[1],
        Delta::Deleted {
            seen: 2,
            inferred: true,
            ..
        }
    ));
    assert!(matches!(mark, Delta::Mark(mark) if !mark.restored));
}

#[test]
fn a_list_older_than_the_snapshot_is_refused() {
    let mut rig = warm();
    let watch = rig.expect_watch(10);
    rig.fail(watch, FailureClass::Gone);
    let list = rig.expect_list();
    rig.list(list, 9, &[("a", 0)]);
    rig.drain();

    let stale = Notice::StaleList {
        got: 9.into(),
        have: 10.into(),
    };
    assert!(rig.notices().contains(&stale));
    assert_eq!(
        (rig.cache(), rig.revision()),
        (objects(&[("a", 1), ("b", 2)]), Some(10))
    );
    assert!(!rig.informer.is_synced() && rig.mirror.log.is_empty());
    let again = rig.expect_list();
    rig.list(again, 10, &[("a", 1), ("b", 2)]);
    assert!(rig.informer.is_synced());
}

/// A rig restored from revision 10 of the epoch `one`.
fn warm_in_epoch(policy: OnNewEpoch) -> Rig {
    let mut before = Rig::new(config(full_profile()));
    let list = before.expect_list();
    before.page(list, Some("one"), 10, &[("a", 1), ("b", 2)], None);
    let mut config = config(full_profile());
    config.policy.new_epoch = policy;
    let mut rig = restored(config, &bytes(&before));
    rig.drain();
    rig.notices();
    rig.mirror.log.clear();
    rig
}

#[test]
fn another_epoch_is_a_rewind_as_always() {
    let mut rig = warm_in_epoch(OnNewEpoch::Accept);
    let Some(Command::Watch { attempt, epoch, .. }) = rig.next_start() else {
        panic!("no watch")
    };
    assert_eq!(epoch, Some(Epoch::new("one")));
    rig.say(
        attempt,
        Input::Opened {
            epoch: Some(Epoch::new("two")),
        },
    );
    let list = rig.expect_list();
    rig.page(list, Some("two"), 3, &[("a", 1)], None);
    rig.drain();

    assert!(rig.informer.is_synced());
    assert_eq!(
        (rig.cache(), rig.revision()),
        (objects(&[("a", 1)]), Some(3))
    );
    assert!(
        rig.notices()
            .iter()
            .any(|notice| matches!(notice, Notice::Rewound { .. }))
    );
    let [Delta::Deleted { seen: 2, .. }, Delta::Mark(mark)] = rig.mirror.log.as_slice() else {
        panic!("{:?}", rig.mirror.log)
    };
    assert_eq!((mark.local_epoch, mark.restored), (1, false));
}

#[test]
fn another_epoch_is_refused_where_the_policy_says_so() {
    let mut rig = warm_in_epoch(OnNewEpoch::Refuse);
    let Some(Command::Watch { attempt, .. }) = rig.next_start() else {
        panic!("no watch")
    };
    rig.say(
        attempt,
        Input::Opened {
            epoch: Some(Epoch::new("two")),
        },
    );
    assert_eq!(rig.reason(), Some(Condition::NewEpochRefused));
    assert_eq!(
        (rig.state(), rig.cache()),
        (State::Stale, objects(&[("a", 1), ("b", 2)]))
    );
}

#[test]
fn rewinds_are_counted_on_across_restarts() {
    let mut rig = warm_in_epoch(OnNewEpoch::Accept);
    let Some(Command::Watch { attempt, .. }) = rig.next_start() else {
        panic!("no watch")
    };
    rig.say(
        attempt,
        Input::Opened {
            epoch: Some(Epoch::new("two")),
        },
    );
    let list = rig.expect_list();
    rig.page(list, Some("two"), 3, &[("a", 1)], None);
    let rig = restored(config(full_profile()), &bytes(&rig));
    assert_eq!(rig.informer.cache().local_epoch(), 1);
}

#[test]
fn an_opaque_source_that_is_polled_is_listed_first() {
    let profile = || SourceProfile {
        feed: Feed::FullState { blocking: true },
        class: Class::Whole,
        order: RevisionOrder::Opaque,
        ..plain_profile()
    };
    let mut before = Rig::new(config(profile()));
    let list = before.expect_list();
    before.list(list, 70, &[("a", 1), ("b", 2)]);
    let mut rig = restored(config(profile()), &bytes(&before));
    rig.drain();
    rig.mirror.log.clear();

    let Some(Command::List {
        attempt,
        known: None,
        ..
    }) = rig.next_start()
    else {
        panic!("an unconditional list is due: a condition would hold the answer back")
    };
    rig.list(attempt, 5, &[("a", 1), ("b", 3)]);
    rig.drain();
    assert!(rig.informer.is_synced());
    assert!(matches!(
        rig.mirror.log.as_slice(),
        [Delta::Updated { old: 2, new: 3, .. }, Delta::Mark(_)]
    ));
}

#[test]
fn a_fuzzy_source_is_snapshotted_once_it_is_consistent() {
    let profile = || SourceProfile {
        class: Class::Fuzzy,
        ..plain_profile()
    };
    let mut before = Rig::new(config(profile()));
    let list = before.expect_list();
    before.page(list, None, 10, &[("a", 1)], Some("next"));
    let Some(Command::List { .. }) = before.command() else {
        panic!("no second page")
    };
    before.page(list, None, 12, &[("b", 2)], None);
    assert!(
        before.informer.snapshot().is_none(),
        "between two states of the source"
    );

    let watch = before.expect_watch(10);
    before.opened(watch);
    before.progress(watch, 12);
    let mut rig = restored(config(profile()), &bytes(&before));
    rig.expect_watch(12);
}

#[test]
fn a_partial_revision_is_not_snapshotted() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.put(watch, 11, "a", 3);
    assert!(rig.informer.snapshot().is_none());
    rig.progress(watch, 11);
    let snapshot = rig.informer.snapshot().unwrap();
    assert_eq!(snapshot.revision(), Some(&Revision::from(11)));
    assert_eq!(
        Rig::new(config(plain_profile()))
            .informer
            .snapshot()
            .map(|_| ()),
        None
    );
}

#[test]
fn a_filtered_subscriber_gets_what_passes_and_then_what_differs() {
    let mut rig = warm();
    let odd = rig
        .informer
        .subscribe(Some(Filter::new(|_, value: &u64| value % 2 == 1)));
    let mut told = Vec::new();
    let mut drain = |rig: &mut Rig| {
        while let Polled::Delta(delta) = rig.informer.poll_delta(odd) {
            told.push(delta);
        }
        std::mem::take(&mut told)
    };
    let initial = drain(&mut rig);
    assert!(
        matches!(initial.as_slice(), [Delta::Added { new: 1, .. }, Delta::Mark(mark)] if mark.restored)
    );
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    rig.put(watch, 11, "b", 5);
    let news = drain(&mut rig);
    assert!(
        matches!(news.as_slice(), [Delta::Added { new: 5, .. }, Delta::Mark(mark)] if !mark.restored)
    );
}

#[test]
fn quarantined_keys_stay_so() {
    let (mut before, watch) = Rig::watching(config(full_profile()));
    let body = Body::Undecodable("no such field");
    let poison = Item {
        body,
        version: VersionRef::from(7),
        ..item("b", 7)
    };
    before.say(
        watch,
        Input::Event(reflet_core::Event {
            change: reflet_core::Change::Upsert(poison),
            revision: Some(11.into()),
            previous: Some(10.into()),
        }),
    );
    before.batch_end(watch, 11);
    let mut rig = restored(config(full_profile()), &bytes(&before));
    assert_eq!(rig.health().quarantined, before.health().quarantined);
    assert_eq!(rig.health().quarantined_count, 1);

    let watch = rig.expect_watch(11);
    rig.opened(watch);
    rig.put_after(watch, 11, 12, "b", 8);
    rig.batch_end(watch, 12);
    assert_eq!(rig.health().quarantined_count, 0);
}

#[test]
fn a_failing_source_leaves_what_was_restored_in_force() {
    let mut rig = warm();
    let watch = rig.expect_watch(10);
    rig.fail(watch, FailureClass::Retryable);
    assert_eq!(rig.state(), State::Stale);
    assert_eq!(
        rig.reason(),
        Some(Condition::Failing(FailureClass::Retryable))
    );
    rig.pass(Duration::from_secs(600));
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
    assert!(!rig.informer.is_synced());
}

#[test]
fn the_verify_period_runs_from_the_restart_on() {
    let (before, _) = Rig::watching(config(plain_profile()));
    let mut config = config(plain_profile());
    config.timing.verify_period = Some(Duration::from_secs(60));
    let mut rig = restored(config, &bytes(&before));
    let watch = rig.expect_watch(10);
    rig.opened(watch);
    rig.progress(watch, 10);
    rig.pass(Duration::from_secs(61));
    rig.expect_list();
}
