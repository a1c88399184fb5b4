//! Limits are exact: what just fits is taken, and one byte or one object more is not.
#![allow(clippy::panic, reason = "the helpers of a test may panic")]

mod rig;

use std::sync::Arc;

use reflet_core::{
    Attempt, BadInput, Body, Change, Command, Epoch, Event, Failure, FailureClass, Feed, Input,
    Item, LimitKind, Notice, Rejection, Removal, Revision, SourceProfile, Verify, VersionRef,
};
use rig::{Rig, config, full_profile, item, objects, plain_profile};

/// Whether the collection froze, and over which limit.
fn frozen(rig: &mut Rig) -> Option<LimitKind> {
    rig.notices().into_iter().find_map(|notice| match notice {
        Notice::Frozen { limit } => Some(limit),
        _ => None,
    })
}

fn refused(rig: &mut Rig) -> Option<BadInput> {
    rig.notices().into_iter().find_map(|notice| match notice {
        Notice::BadInput { what, .. } => Some(what),
        _ => None,
    })
}

/// An object that counts as so many bytes, its key of one byte included.
fn sized(key: &str, bytes: usize, version: u64) -> Item<'_, Arc<str>, u64> {
    Item {
        size: bytes - key.len(),
        ..item(key, version)
    }
}

fn list_sized(rig: &mut Rig, list: Attempt, sizes: [usize; 2]) {
    let revision = Some(10.into());
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision,
        },
    );
    for (key, bytes) in ["a", "b"].into_iter().zip(sizes) {
        rig.say(list, Input::Item(sized(key, bytes, 1)));
    }
    rig.say(list, Input::PageEnd { next: None });
}

fn event(rig: &mut Rig, watch: Attempt, revision: u64, item: Item<'_, Arc<str>, u64>) {
    let change = Change::Upsert(item);
    let revision = Some(revision.into());
    rig.say(
        watch,
        Input::Event(Event {
            change,
            revision,
            previous: None,
        }),
    );
}

fn delete_of(rig: &mut Rig, watch: Attempt, revision: u64, key: &str, size: usize) {
    let change = Change::Delete(Removal {
        key,
        version: None,
        incarnation: None,
        last: None,
        size,
    });
    let revision = Some(revision.into());
    rig.say(
        watch,
        Input::Event(Event {
            change,
            revision,
            previous: None,
        }),
    );
}

#[test]
fn a_list_may_fill_the_limits_for_objects_and_bytes() {
    for (bytes, expected) in [(50, None), (51, Some(LimitKind::Bytes))] {
        let mut config = config(plain_profile());
        config.limits.objects = 2;
        config.limits.bytes = 100;
        let mut rig = Rig::new(config);
        let list = rig.expect_list();
        list_sized(&mut rig, list, [50, bytes]);
        assert_eq!(frozen(&mut rig), expected);
    }
    for (limit, expected) in [(2, None), (1, Some(LimitKind::Objects))] {
        let mut config = config(plain_profile());
        config.limits.objects = limit;
        let mut rig = Rig::new(config);
        let list = rig.expect_list();
        list_sized(&mut rig, list, [50, 50]);
        assert_eq!(frozen(&mut rig), expected);
    }
}

#[test]
fn a_watch_may_fill_the_limits_for_objects_and_bytes() {
    for profile in [plain_profile(), full_profile()] {
        let filled = |bytes: usize, objects: usize, change: &dyn Fn(&mut Rig, Attempt)| {
            let mut config = config(profile.clone());
            config.limits.bytes = bytes;
            config.limits.objects = objects;
            let mut rig = Rig::new(config);
            let list = rig.expect_list();
            list_sized(&mut rig, list, [40, 40]);
            let watch = rig.expect_watch(10);
            rig.opened(watch);
            change(&mut rig, watch);
            rig.batch_end(watch, 11);
            frozen(&mut rig)
        };
        let grow = |rig: &mut Rig, watch| event(rig, watch, 11, sized("a", 60, 11));
        assert_eq!(filled(100, 2, &grow), None);
        assert_eq!(filled(99, 2, &grow), Some(LimitKind::Bytes));
        let add = |rig: &mut Rig, watch| event(rig, watch, 11, sized("c", 20, 11));
        assert_eq!(filled(100, 3, &add), None);
        assert_eq!(filled(99, 3, &add), Some(LimitKind::Bytes));
        assert_eq!(filled(100, 2, &add), Some(LimitKind::Objects));
    }
}

#[test]
fn a_batch_counts_what_it_deletes() {
    let swapped = |bytes: usize, objects: usize| {
        let mut config = config(full_profile());
        config.limits.bytes = bytes;
        config.limits.objects = objects;
        let mut rig = Rig::new(config);
        let list = rig.expect_list();
        list_sized(&mut rig, list, [40, 40]);
        let watch = rig.expect_watch(10);
        rig.opened(watch);
        rig.delete(watch, 11, "a");
        event(&mut rig, watch, 11, sized("c", 50, 11));
        rig.batch_end(watch, 11);
        frozen(&mut rig)
    };
    assert_eq!(swapped(90, 2), None);
    assert_eq!(swapped(89, 2), Some(LimitKind::Bytes));
}

/// What a list, a batch and an initial stream's delete stage, for a limit of so many bytes.
fn staged(limit: usize) -> [Option<LimitKind>; 3] {
    let with_limit = |source: SourceProfile| {
        let mut config = config(source);
        config.limits.staged_bytes = limit;
        Rig::new(config)
    };
    let mut listed = with_limit(plain_profile());
    let list = listed.expect_list();
    let revision = Some(10.into());
    let epoch = None;
    listed.say(list, Input::Page { epoch, revision });
    listed.say(list, Input::Item(sized("a", 41, 1)));

    let mut batched = with_limit(full_profile());
    let list = batched.expect_list();
    batched.list(list, 10, &[]);
    let watch = batched.expect_watch(10);
    batched.opened(watch);
    event(&mut batched, watch, 11, sized("a", 41, 11));

    let mut streamed = with_limit(SourceProfile {
        feed: Feed::InitialStream,
        ..plain_profile()
    });
    let Some(Command::Watch { attempt, .. }) = streamed.next_start() else {
        panic!("no stream")
    };
    streamed.opened(attempt);
    delete_of(&mut streamed, attempt, 1, "a", 40);
    [&mut listed, &mut batched, &mut streamed].map(frozen)
}

#[test]
fn what_is_staged_may_fill_its_limit() {
    // How much one change costs beside its size depends on the target.
    let fits = (40..1_000)
        .find(|limit| staged(*limit) == [None; 3])
        .unwrap();
    assert!(fits > 80, "a change costs more than its size: {fits}");
    assert_eq!(staged(fits - 1), [Some(LimitKind::StagedBytes); 3]);
}

#[test]
fn tokens_may_fill_their_limit() {
    let long = "1".repeat(30);
    let longer = "1".repeat(31);
    let config = || {
        let mut config = config(plain_profile());
        config.limits.token_bytes = 30;
        config
    };
    for (text, expected) in [(&long, None), (&longer, Some(BadInput::TokenTooLong))] {
        let mut rig = Rig::new(config());
        let list = rig.expect_list();
        let (epoch, revision) = (None, Some(Revision::parse(text)));
        rig.say(list, Input::Page { epoch, revision });
        assert_eq!(refused(&mut rig), expected, "a list's revision");

        let mut rig = Rig::new(config());
        let list = rig.expect_list();
        let (epoch, revision) = (Some(Epoch::new(text)), Some(1.into()));
        rig.say(list, Input::Page { epoch, revision });
        assert_eq!(refused(&mut rig), expected, "a list's epoch");

        let mut rig = Rig::new(config());
        let list = rig.expect_list();
        rig.page(list, None, 10, &[], Some(text));
        assert_eq!(refused(&mut rig), expected, "a page token");

        let mut rig = Rig::new(config());
        let list = rig.expect_list();
        rig.list(list, 10, &[("a", 1)]);
        let watch = rig.expect_watch(10);
        let epoch = Some(Epoch::new(text));
        rig.say(watch, Input::Opened { epoch });
        assert_eq!(refused(&mut rig), expected, "a watch's epoch");

        let (mut rig, watch) = Rig::watching(config());
        let (revision, digest) = (Revision::parse(text), None);
        rig.say(watch, Input::Progress { revision, digest });
        assert_eq!(refused(&mut rig), expected, "a watch's revision");
    }
}

#[test]
fn versions_and_keys_may_fill_their_limits() {
    let (long, longer) = ("v".repeat(30), "v".repeat(31));
    for (text, expected) in [
        (&long, None),
        (&longer, Some(Rejection::VersionTooLong { bytes: 31 })),
    ] {
        let mut config = config(plain_profile());
        config.limits.token_bytes = 30;
        let (mut rig, watch) = Rig::watching(config);
        let version = VersionRef::parse(text);
        event(
            &mut rig,
            watch,
            11,
            Item {
                version,
                ..item("a", 11)
            },
        );
        let quarantined = rig.health().quarantined;
        assert_eq!(
            quarantined.first().map(|(_, error)| error),
            expected.as_ref()
        );
    }
    for (text, expected) in [
        (&long, None),
        (&longer, Some(Rejection::KeyTooLong { bytes: 31 })),
    ] {
        let mut config = config(plain_profile());
        config.limits.key_bytes = 30;
        let (mut rig, watch) = Rig::watching(config);
        event(&mut rig, watch, 11, item(text, 11));
        let rejected = rig.notices().into_iter().find_map(|notice| match notice {
            Notice::UnknownRejected { error } => Some(error),
            _ => None,
        });
        assert_eq!(rejected, expected);
        assert_eq!(rig.informer.cache().contains(text), expected.is_none());
    }
}

#[test]
fn a_verify_bears_as_many_changes_beside_it_as_objects_fit() {
    let mut config = config(full_profile());
    config.limits.objects = 2;
    let (mut rig, watch) = Rig::watching(config);
    rig.informer.verify(rig.now, Verify::Versions);
    let list = rig.expect_list();
    for (revision, key) in [(11, "a"), (12, "b"), (13, "a")] {
        rig.delete(watch, revision, key);
        rig.batch_end(watch, revision);
    }
    assert_eq!(rig.command(), None, "the list goes on");
    rig.list(list, 13, &[("c", 13)]);
    assert_eq!(rig.cache(), objects(&[("c", 13)]));
}

#[test]
fn a_list_may_have_as_many_pages_as_its_limit() {
    for (limit, expected) in [(3, None), (2, Some(LimitKind::Pages))] {
        let mut config = config(plain_profile());
        config.limits.pages = limit;
        let mut rig = Rig::new(config);
        let list = rig.expect_list();
        for next in [Some("one"), Some("two"), None] {
            rig.page(list, None, 10, &[], next);
            rig.command();
        }
        assert_eq!(frozen(&mut rig), expected);
    }
}

#[test]
fn the_words_of_a_source_are_kept_to_their_first_512_bytes() {
    // Two bytes each, so that the end falls into the middle of one behind an odd first byte.
    let words = format!("x{}", "é".repeat(400));
    let kept = format!("x{}", "é".repeat(255));
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    let failure = Failure::new(FailureClass::Denied, words.as_str());
    rig.say(watch, Input::Failed(failure));
    let (_, failure) = rig.health().last_error.unwrap();
    assert_eq!(&*failure.message, kept);
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    let error = words.as_str();
    rig.say(watch, Input::Undecodable { size: 1, error });
    let error = Rejection::Undecodable(kept.into());
    assert!(rig.notices().contains(&Notice::UnknownRejected { error }));
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    rig.fail(watch, FailureClass::Denied);
    let (_, failure) = rig.health().last_error.unwrap();
    assert_eq!(&*failure.message, "scripted");
}

#[test]
fn no_more_keys_are_quarantined_by_name_than_the_limit_and_none_twice() {
    let mut config = config(plain_profile());
    config.limits.quarantined = 1;
    let (mut rig, watch) = Rig::watching(config);
    for (revision, key, count) in [(11, "a", 1), (12, "a", 1), (13, "b", 2)] {
        let bad = Item {
            body: Body::Undecodable("bad"),
            ..item(key, revision)
        };
        event(&mut rig, watch, revision, bad);
        let health = rig.health();
        let named: Vec<_> = health.quarantined.iter().map(|(key, _)| &**key).collect();
        assert_eq!((named, health.quarantined_count), (vec!["a"], count));
    }
}
