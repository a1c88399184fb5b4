//! The cache's contents: reading, listing, accounting, and ids.

use super::*;

#[test]
fn a_delete_and_an_add_again_by_unsubscribed_eyes_leave_nothing() {
    let mut rig = Rig::new();
    rig.put("a", 1);
    rig.put("a", 2);
    rig.remove("a");
    rig.assert_settled();
    assert_eq!(
        (rig.0.len(), rig.0.bytes(), rig.0.digest()),
        (0, 0, Some(Digest::default()))
    );
}

#[test]
fn ids_of_the_past_are_harmless() {
    let mut rig = Rig::new();
    let old = rig.join();
    rig.put("a", 1);
    rig.publish(1);
    rig.poll(old);
    assert!(rig.0.unsubscribe(old));
    let new = rig.join();
    assert!(new != old && new > old && format!("{old} {new}") == "0.0 0.1");
    assert!(!rig.0.unsubscribe(old) && !rig.0.set_filter(old, None) && !rig.0.has_news(old));
    assert_eq!((rig.poll(old), rig.0.lag(old)), (String::new(), None));
    assert_eq!(rig.0.subscriber_ids().collect::<Vec<_>>(), [new]);
    assert_eq!(rig.drain(new), ["+a=1", "@1!"]);
}

#[test]
fn hostile_sizes_overflow_nothing() {
    let mut rig = Rig::new();
    let id = rig.join();
    for value in 0..20 {
        for name in ["a", "b"] {
            let version = u64::from(value).into();
            rig.0.upsert(Upsert {
                key: name,
                owned: None,
                version,
                incarnation: None,
                value,
                size: usize::MAX,
            });
        }
        rig.publish(u64::from(value));
        assert_eq!(rig.0.bytes(), usize::MAX);
        if value % 3 == 0 {
            rig.drain(id);
        }
        if value % 4 == 1 {
            rig.remove("a");
        }
        rig.0.check();
    }
    rig.remove("b");
    rig.remove("a");
    assert_eq!(rig.0.bytes(), 0);
}

#[test]
fn what_a_list_did_not_see_is_deleted_in_the_order_of_changes() {
    let mut rig = Rig::new();
    let id = rig.join();
    for name in ["d", "a", "c", "b"] {
        rig.put(name, 1);
    }
    rig.publish(1);
    rig.drain(id);
    rig.0.start_marking();
    assert!(rig.0.mark("a") && !rig.0.mark("x"));
    rig.put("a", 2);
    rig.put("new", 1);
    assert_eq!(rig.0.delete_unmarked(&mut |key| &**key == "c"), 3);
    rig.publish(2);
    assert_eq!(rig.drain(id), ["~a=1>2", "-d=1/1?", "-b=1/1?", "@2"]);
    rig.0.start_marking();
    for name in ["a", "c"] {
        assert!(rig.0.mark(name) && rig.0.restamp(name, VersionRef::from(9), None, SIZE));
    }
    assert_eq!(
        rig.0
            .delete_unmarked(&mut |_| panic!("all are marked, nobody needs to be asked")),
        0
    );
    rig.assert_settled();
}

#[test]
fn a_new_version_of_the_same_content_is_no_news() {
    let mut rig = Rig::new();
    let id = rig.join();
    rig.put("a", 1);
    rig.put("b", 1);
    rig.publish(1);
    rig.drain(id);
    assert!(
        rig.0
            .restamp("a", VersionRef::from(9), Some(Incarnation::from(3)), 7)
    );
    assert!(!rig.0.restamp("x", VersionRef::from(9), None, 7));
    assert!(!rig.0.has_news(id));
    let entry = rig.0.entry("a").unwrap();
    assert_eq!(
        (*entry.value, entry.size, entry.incarnation),
        (1, 7, Some(Incarnation::from(3)))
    );
    assert_eq!(entry.version, VersionRef::from(9));
    let digest = Digest::of(b"a", 9.into()).plus(Digest::of(b"b", 1.into()));
    assert_eq!(
        (rig.0.digest(), rig.0.bytes()),
        (Some(digest), 2 + SIZE + 7)
    );
    rig.0.check();
}

#[test]
fn the_cache_is_read_in_the_order_of_last_changes() {
    let mut rig = Rig::new();
    let id = rig.join();
    for name in ["c", "a", "b"] {
        rig.put(name, 1);
    }
    rig.publish(1);
    rig.poll(id);
    rig.put("c", 2);
    rig.remove("a");
    let order: Vec<_> = rig
        .0
        .iter()
        .map(|entry| (entry.key.clone(), *entry.value))
        .collect();
    assert_eq!(order, vec![("b".into(), 1), ("c".into(), 2)]);
    assert!(rig.0.contains("b") && !rig.0.contains("a") && rig.0.get("a").is_none());
    assert_eq!((rig.0.get("c"), rig.0.len()), (Some(&2), 2));
}

#[test]
fn what_has_no_room_in_an_entry_is_told_all_the_same() {
    let mut rig = Rig::new();
    let id = rig.join();
    let four_gigabytes = u32::MAX as usize;
    let odd = [
        (VersionRef::parse("a text"), 7, None),
        (VersionRef::parse("007"), four_gigabytes + 1, Some(0)),
        (VersionRef::NONE, usize::MAX, Some(u64::MAX)),
        (VersionRef::from(u64::MAX), four_gigabytes, None),
        (VersionRef::parse("18446744073709551616"), 0, Some(0)),
    ];
    // Each follows each, with somebody who needs the one before, and with nobody.
    for (before, after) in odd.iter().flat_map(|a| odd.iter().map(move |b| (a, b))) {
        for read in [false, true] {
            for (value, (version, size, incarnation)) in (0..).zip([before, after]) {
                let incarnation = incarnation.map(Incarnation::from);
                let place = rig.0.place("a");
                rig.0.upsert_at(
                    place,
                    Upsert {
                        key: "a",
                        owned: None,
                        version: *version,
                        incarnation,
                        value,
                        size: *size,
                    },
                );
                rig.publish(1);
                if read {
                    rig.drain(id);
                }
                let entry = rig.0.entry("a").unwrap();
                assert_eq!((*entry.value, entry.version), (value, *version));
                assert_eq!(entry.size, *size);
                assert!(incarnation.is_none() || entry.incarnation == incarnation);
                assert_eq!(rig.0.bytes(), size.saturating_add(1));
                rig.0.check();
            }
            rig.remove("a");
            rig.0.check();
        }
    }
    rig.publish(2);
    rig.drain(id);
    rig.assert_settled();
}

#[test]
fn an_entry_is_six_words_and_a_row() {
    if cfg!(target_pointer_width = "64") {
        assert_eq!(super::super::entries::BYTES_EACH, 48 + 12);
    }
}

#[test]
fn to_look_ahead_changes_nothing_whatever_the_keys_are() {
    let mut rig = Rig::new();
    let id = rig.join();
    let names: Vec<_> = (0..100).map(key).collect();
    for name in &names[..50] {
        rig.put(name, 1);
    }
    rig.publish(1);
    rig.drain(id);
    rig.remove("k7");
    let twice = names.iter().chain(&names).map(String::as_str);
    rig.0.look_ahead(twice, |value| *value as usize);
    rig.0.look_ahead([], |_| 0);
    rig.publish(2);
    assert_eq!(rig.drain(id), ["-k7=1/1", "@2"]);
    assert_eq!(rig.0.len(), 49);
}
