//! What is remembered of deleted objects, so that an old update does not bring them back.

mod rig;

use reflet_core::{
    Change, Class, Event, Input, Item, Removal, RevisionOrder, SourceProfile, Verify,
};
use rig::{Rig, config, item, objects, plain_profile};

#[test]
fn the_grave_of_a_re_created_object_is_its_own() {
    let source = SourceProfile {
        class: Class::Whole,
        order: RevisionOrder::Opaque,
        ..plain_profile()
    };
    let (mut rig, watch) = Rig::watching(config(source));
    let said = |rig: &mut Rig, revision: u64, change| {
        let event = Event {
            change,
            revision: Some(revision.into()),
            previous: None,
        };
        rig.say(watch, Input::Event(event));
    };
    let of = |uid: u64, value| {
        let incarnation = Some(uid.into());
        Change::Upsert(Item {
            incarnation,
            ..item("c", value)
        })
    };
    let delete = |version: u64| {
        Change::Delete(Removal {
            key: "c",
            version: Some(version.into()),
            incarnation: None,
            last: None,
            size: 1,
        })
    };
    // Objects of one key, one after another; an old update of the last one comes late.
    for (revision, uid, version) in [(11, 1, 2), (13, 2, 2), (15, 3, 1)] {
        said(&mut rig, revision, of(uid, version));
        said(&mut rig, revision + 1, delete(version));
        said(&mut rig, revision + 1, of(uid, 1));
    }
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
    said(&mut rig, 17, of(4, 9));
    said(&mut rig, 17, of(3, 1));
    let both = objects(&[("a", 1), ("b", 2), ("c", 9)]);
    assert_eq!(rig.cache(), both, "nor does it take the next one's place");
}

#[test]
fn beyond_their_limit_the_oldest_graves_are_forgotten() {
    for (graves, remembered) in [(0, false), (2, false), (3, true)] {
        let source = SourceProfile {
            versions_ordered: true,
            order: RevisionOrder::Opaque,
            ..plain_profile()
        };
        let mut limited = config(source);
        limited.limits.graves = graves;
        let (mut rig, watch) = Rig::watching(limited);
        let event = |change| {
            Input::Event(Event {
                change,
                revision: Some(11.into()),
                previous: None,
            })
        };
        for key in ["c", "d", "e"] {
            rig.say(watch, event(Change::Upsert(item(key, 5))));
            let removal = Removal {
                key,
                version: Some(6.into()),
                incarnation: None,
                last: None,
                size: 1,
            };
            rig.say(watch, event(Change::Delete(removal)));
        }
        // An update from before the oldest delete.
        rig.say(watch, event(Change::Upsert(item("c", 4))));
        let back = rig.informer.cache().get("c").is_some();
        assert_eq!(back, !remembered, "{graves} graves");
    }
}

/// A history in which changes may come out of order, of objects of the key `c`.
fn changes_of_c(steps: &[(u64, Said)]) -> Rig {
    let source = SourceProfile {
        class: Class::Whole,
        order: RevisionOrder::Opaque,
        ..plain_profile()
    };
    let (mut rig, watch) = Rig::watching(config(source));
    for (revision, said) in steps {
        let change = match *said {
            Said::Put(uid, version) => Change::Upsert(Item {
                incarnation: Some(uid.into()),
                ..item("c", version)
            }),
            Said::Delete(uid, version) => Change::Delete(Removal {
                key: "c",
                version: Some(version.into()),
                incarnation: Some(uid.into()),
                last: None,
                size: 1,
            }),
        };
        let event = Event {
            change,
            revision: Some((*revision).into()),
            previous: None,
        };
        rig.say(watch, Input::Event(event));
    }
    rig
}

/// Of which object, and in which version.
enum Said {
    Put(u64, u64),
    Delete(u64, u64),
}

#[test]
fn a_delete_that_names_the_object_before_does_not_bury_this_one() {
    use Said::{Delete, Put};
    // The delete was lost, and comes with a replay; then the next object comes once more.
    let rig = changes_of_c(&[
        (11, Put(1, 1)),
        (13, Put(2, 1)),
        (12, Delete(1, 1)),
        (13, Put(2, 1)),
    ]);
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2), ("c", 1)]));
}

#[test]
fn a_delete_that_was_heard_before_takes_nothing_away() {
    use Said::{Delete, Put};
    let rig = changes_of_c(&[
        (11, Put(1, 5)),
        (12, Delete(1, 5)),
        (13, Put(2, 1)),
        (12, Delete(1, 5)),
    ]);
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2), ("c", 1)]));
}

#[test]
fn an_object_of_which_only_the_delete_was_heard_is_gone() {
    use Said::{Delete, Put};
    // Which of two objects is the newer one, nothing tells but the order in which they are named.
    let rig = changes_of_c(&[(11, Put(1, 5)), (13, Delete(2, 1)), (12, Put(2, 1))]);
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
}

/// A delete that does not tell which object of its key it is about.
#[test]
fn a_list_brings_back_what_an_old_delete_took_away() {
    let source = SourceProfile {
        class: Class::Whole,
        order: RevisionOrder::Opaque,
        ..plain_profile()
    };
    let (mut rig, watch) = Rig::watching(config(source));
    rig.delete(watch, 11, "b");
    rig.informer.verify(rig.now, Verify::Versions);
    let list = rig.expect_list();
    rig.list(list, 12, &[("a", 1), ("b", 2)]);
    assert_eq!(rig.cache(), objects(&[("a", 1), ("b", 2)]));
}
