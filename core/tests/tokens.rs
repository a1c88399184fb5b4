//! Tokens, keys and digests, as users hand them in and read them.
#![allow(clippy::panic, reason = "the helpers of a test may panic")]

mod rig;

use std::sync::Arc;

use reflet_core::cache::Delta;
use reflet_core::{
    Body, Change, Command, Digest, Epoch, Event, Incarnation, Informer, Input, Item, Key, Revision,
    SourceProfile, Timestamp, Verify, Version, VersionRef,
};
use rig::{Rig, config, item, objects, plain_profile};

#[test]
fn tokens_print_as_they_came() {
    for text in ["7", "007", "18446744073709551616", "abc", ""] {
        let (revision, version) = (Revision::parse(text), Version::parse(text));
        let borrowed = VersionRef::parse(text);
        let shown = [
            revision.to_string(),
            version.to_string(),
            borrowed.to_string(),
        ];
        assert_eq!(shown, [text; 3]);
        assert_eq!(format!("{revision:?}"), format!("Revision({text})"));
        assert_eq!(format!("{version:?}"), format!("Version({text})"));
        assert_eq!(format!("{borrowed:?}"), format!("VersionRef({text})"));
        assert!(borrowed == version && borrowed.to_version() == version);
        assert_eq!(version.as_ref(), borrowed);
        let epoch = Epoch::new(text);
        assert_eq!((epoch.as_str(), epoch.to_string()), (text, text.to_owned()));
        assert_eq!(format!("{epoch:?}"), format!("Epoch({text})"));
    }
    assert_eq!(Revision::parse("7").as_u64(), Some(7));
    assert_eq!(Revision::parse("007").as_u64(), None);
    assert_eq!(Version::from(7), Version::parse("7"));
    assert_eq!(VersionRef::from(7), VersionRef::parse("7"));
}

#[test]
fn an_incarnation_of_a_uid_is_its_fnv_1a_hash() {
    assert_eq!(
        Incarnation::from_uid("a"),
        Incarnation::from(0xaf63_dc4c_8601_ec8c)
    );
    assert_ne!(Incarnation::from_uid("a"), Incarnation::from_uid("b"));
}

/// A list, a look-up, a digest and a limit, with whatever kind of key.
fn holds_its_keys<K: Key>(short: &K::Borrowed, long: &K::Borrowed) {
    assert_eq!(K::own(short).borrow(), short);
    let mut config = config(SourceProfile {
        digests: true,
        ..plain_profile()
    });
    config.limits.key_bytes = 5;
    let mut informer = Informer::<K, u64>::new(config, 7, Timestamp::ZERO);
    let Some(Command::List { attempt, .. }) = informer.poll_command() else {
        panic!("no list")
    };
    let now = Timestamp::from_millis(1);
    let (epoch, revision) = (None, Some(1.into()));
    informer.handle(now, attempt, Input::Page { epoch, revision });
    for key in [short, long] {
        let item = Item {
            key,
            version: 1.into(),
            incarnation: None,
            size: 10,
            body: Body::Value(1),
        };
        informer.handle(now, attempt, Input::Item(item));
    }
    informer.handle(now, attempt, Input::PageEnd { next: None });
    let cache = informer.cache();
    assert!(cache.contains(short) && !cache.contains(long));
    assert_eq!((cache.len(), cache.bytes()), (1, 15));
    let digest = Digest::of(b"short", 1.into());
    assert_eq!(cache.digest(), Some(digest));
}

#[test]
fn keys_are_texts_or_bytes() {
    holds_its_keys::<Arc<str>>("short", "longer");
    holds_its_keys::<Box<str>>("short", "longer");
    holds_its_keys::<String>("short", "longer");
    holds_its_keys::<Arc<[u8]>>(b"short", b"longer");
    holds_its_keys::<Vec<u8>>(b"short", b"longer");
}

#[test]
fn a_digest_is_the_same_in_every_language() {
    let share = |key: &[u8], version: &str| Digest::of(key, VersionRef::parse(version));
    assert_eq!(share(b"a", "1"), Digest(0x1f87_ef29_e5be_3b48));
    assert_eq!(
        share(b"key", "18446744073709551616"),
        Digest(0x1fdf_ce06_f6e1_8f91)
    );
}

fn unstamped(key: &str, value: u64) -> Item<'_, Arc<str>, u64> {
    Item {
        version: VersionRef::NONE,
        ..item(key, value)
    }
}

#[test]
fn objects_without_a_version_are_compared_by_their_content() {
    let (mut rig, watch) = Rig::watching(config(plain_profile()));
    for (value, revision) in [(3, 11), (4, 12), (4, 13)] {
        let change = Change::Upsert(unstamped("a", value));
        let event = Event {
            change,
            revision: Some(revision.into()),
            previous: None,
        };
        rig.say(watch, Input::Event(event));
    }
    rig.drain();
    rig.mirror.log.clear();
    rig.informer.verify(rig.now, Verify::Versions);
    let list = rig.expect_list();
    let revision = Some(20.into());
    rig.say(
        list,
        Input::Page {
            epoch: None,
            revision,
        },
    );
    assert!(
        !rig.informer.holds(list, "a", VersionRef::NONE, None),
        "it must be decoded"
    );
    rig.say(list, Input::Item(unstamped("a", 4)));
    rig.say(list, Input::Item(unstamped("b", 5)));
    rig.say(list, Input::PageEnd { next: None });
    rig.drain();
    assert_eq!(rig.cache(), objects(&[("a", 4), ("b", 5)]));
    let told = rig.mirror.log.iter();
    let changes: Vec<_> = told
        .filter(|delta| !matches!(delta, Delta::Mark(_)))
        .collect();
    let updated = Delta::Updated {
        key: "b".into(),
        old: 2,
        new: 5,
    };
    assert_eq!(changes, [&updated], "what is the same is no news");
}
