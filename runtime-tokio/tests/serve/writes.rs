//! Writes: transactions, preconditions, limits and hostile bodies.

use reflet_tokio::serve::{
    Change, Collection, CollectionOptions, KeyProblem, OpenError, Precondition, WriteError,
};
use serde_json::json;

use crate::rig::{Rig, raw};

fn put(key: &str, precondition: Precondition) -> Change {
    Change::Put {
        key: key.into(),
        value: raw(0),
        precondition,
    }
}

fn delete(key: &str) -> Change {
    Change::Delete {
        key: key.into(),
        precondition: Precondition::None,
    }
}

#[test]
fn a_new_incarnation_has_a_new_uid_and_an_equal_value_a_new_version() {
    let rig = Rig::new();
    let first = rig.put("a", 1);
    let second = rig.put("a", 1);
    assert_eq!(
        (second.version, second.uid, second.created),
        (2, first.uid, false)
    );
    rig.delete("a");
    let third = rig.put("a", 1);
    assert_eq!((third.version, third.uid, third.created), (4, 4, true));
}

#[test]
fn a_transaction_happens_whole_or_not_at_all() {
    let rig = Rig::new();
    rig.put("a", 1);
    let before = rig.things.export();
    let refused = |changes| rig.things.transaction(changes).unwrap_err();

    let stale = vec![
        put("b", Precondition::None),
        put("a", Precondition::Version(9)),
    ];
    let wanted = Precondition::Version(9);
    assert_eq!(
        refused(stale),
        WriteError::Conflict {
            key: "a".into(),
            have: Some(1),
            wanted
        }
    );
    let twice = vec![put("b", Precondition::None), delete("b")];
    assert_eq!(refused(twice), WriteError::DuplicateKey { key: "b".into() });
    let missing = vec![put("b", Precondition::None), delete("c")];
    assert_eq!(refused(missing), WriteError::NotFound { key: "c".into() });
    assert_eq!(refused(vec![]), WriteError::Empty);
    let problem = KeyProblem::ControlCharacter;
    assert_eq!(
        refused(vec![put("\u{7f}", Precondition::None)]),
        WriteError::KeyInvalid {
            key: "\u{7f}".into(),
            problem
        }
    );
    assert_eq!(rig.things.export(), before);

    let committed = rig.things.transaction(vec![
        put("b", Precondition::Absent),
        put("a", Precondition::Version(1)),
    ]);
    assert_eq!(committed.unwrap().revision, 2);
    assert_eq!(rig.things.revision(), 2);
}

#[test]
fn every_precondition_is_checked_in_both_ways() {
    let rig = Rig::new();
    rig.put("a", 1);
    let fails = |key, precondition| {
        matches!(
            rig.things.put(key, raw(0), precondition),
            Err(WriteError::Conflict { wanted, .. }) if wanted == precondition
        )
    };
    assert!(fails("a", Precondition::Absent));
    assert!(fails("b", Precondition::Exists));
    assert!(fails("b", Precondition::Version(0)));
    assert!(fails("a", Precondition::Version(2)));
    assert!(!fails("a", Precondition::Exists));
    assert!(!fails("a", Precondition::Version(2)));
    assert!(!fails("b", Precondition::Absent));
    assert_eq!(rig.things.revision(), 4);
}

#[test]
fn limits_refuse_with_their_number() {
    let mut options = CollectionOptions::default();
    options.max_objects = 2;
    options.max_key_bytes = 4;
    options.max_value_bytes = 10;
    options.max_value_depth = 2;
    options.max_changes = 2;
    options.max_total_bytes = 18;
    let things = Collection::new("things", options).unwrap();
    let put = |key: &str, value: serde_json::Value| {
        things
            .put(key, raw(value), Precondition::None)
            .map(|written| written.version)
    };
    let problem = KeyProblem::TooLong { bytes: 5, limit: 4 };
    let invalid = |key: &str, problem| WriteError::KeyInvalid {
        key: key.into(),
        problem,
    };
    assert_eq!(put("abcde", json!(1)), Err(invalid("abcde", problem)));
    let words = invalid("abcde", problem).to_string();
    assert_eq!(words, "the key \"abcde\" is 5 bytes long, the limit is 4");
    let long = "é".repeat(1_000);
    let problem = KeyProblem::TooLong {
        bytes: 2_000,
        limit: 4,
    };
    let shown = "é".repeat(32);
    assert_eq!(put(&long, json!(1)), Err(invalid(&shown, problem)));
    assert_eq!(put("", json!(1)), Err(invalid("", KeyProblem::Empty)));
    let key = String::from("a");
    let large = WriteError::ValueTooLarge {
        key: key.clone(),
        bytes: 11,
        limit: 10,
    };
    assert_eq!(put("a", json!("123456789")), Err(large));
    assert_eq!(
        put("a", json!([[[]]])),
        Err(WriteError::ValueTooDeep { key, limit: 2 })
    );
    assert_eq!(put("a", json!("12345678")), Ok(1));
    assert_eq!(
        put("b", json!("123456")),
        Err(WriteError::TooManyBytes { limit: 18 })
    );
    assert_eq!(put("b", json!([[]])), Ok(2));
    assert_eq!(
        put("c", json!(1)),
        Err(WriteError::TooManyObjects { limit: 2 })
    );
    assert_eq!(put("b", json!(1)), Ok(3), "replacing is not growing");
    things.delete("b", Precondition::None).unwrap();
    assert_eq!(
        put("b", json!([[]])),
        Ok(5),
        "what was deleted or replaced does not count"
    );
    let three = vec![delete("a"), delete("b"), delete("c")];
    let refused = things.transaction(three).unwrap_err();
    assert_eq!(
        refused,
        WriteError::TooManyChanges {
            changes: 3,
            limit: 2
        }
    );
}

#[test]
fn a_collection_needs_a_name_that_fits_into_a_path() {
    for name in ["", ".", "..", "a/b", "a b", "é", &"x".repeat(129)] {
        let refused = Collection::new(name, CollectionOptions::default()).unwrap_err();
        assert_eq!(refused, OpenError::NameInvalid { name: name.into() });
    }
}

#[tokio::test]
async fn objects_are_created_replaced_read_and_deleted_by_key() {
    let rig = Rig::new();
    let created = rig
        .request("PUT", "/v1/things/a%2Fb%20c", &[], " { \"n\" :\n1 } ")
        .await;
    assert_eq!(created.status, 201);
    assert_eq!(
        created.body,
        json!({"key": "a/b c", "version": "1", "uid": "1", "revision": "1"})
    );
    assert_eq!(created.header("etag"), "\"1\"");

    let read = rig.get("/v1/things/a/b%20c").await;
    assert_eq!(
        read.body,
        json!({"key": "a/b c", "version": "1", "uid": "1", "value": {"n": 1}})
    );
    assert_eq!(
        (read.header("etag"), read.header("x-reflet-revision")),
        ("\"1\"", "1")
    );
    assert_eq!(
        rig.things.get("a/b c").unwrap().value.get(),
        "{\"n\":1}",
        "on one line"
    );

    assert_eq!(
        rig.request("PUT", "/v1/things/a%2Fb%20c", &[], "null")
            .await
            .status,
        200
    );
    let deleted = rig.request("DELETE", "/v1/things/a%2Fb%20c", &[], "").await;
    assert_eq!(deleted.status, 200);
    assert_eq!(
        deleted.body,
        json!({"key": "a/b c", "version": "3", "uid": "1", "revision": "3"})
    );
    rig.get("/v1/things/a%2Fb%20c")
        .await
        .assert_error(404, "NotFound");
    rig.request("DELETE", "/v1/things/a", &[], "")
        .await
        .assert_error(404, "NotFound");
}

#[tokio::test]
async fn headers_carry_preconditions() {
    let rig = Rig::new();
    rig.put("a", 1);
    let put = async |key: &str, name, value| {
        rig.request("PUT", &format!("/v1/things/{key}"), &[(name, value)], "2")
            .await
    };
    put("a", "if-none-match", "*")
        .await
        .assert_error(412, "Conflict");
    put("a", "if-match", "\"9\"")
        .await
        .assert_error(412, "Conflict");
    put("b", "if-match", "*")
        .await
        .assert_error(412, "Conflict");
    assert_eq!(put("a", "if-match", "\"1\"").await.status, 200);
    assert_eq!(put("a", "if-match", "*").await.status, 200);
    assert_eq!(put("b", "if-none-match", "*").await.status, 201);
    for wrong in ["1", "W/\"1\"", "\"1\", \"2\"", "\"x\"", ""] {
        put("a", "if-match", wrong)
            .await
            .assert_error(400, "BadRequest");
    }
    let twice = [("if-match", "\"3\""), ("if-match", "\"3\"")];
    rig.request("PUT", "/v1/things/a", &twice, "2")
        .await
        .assert_error(400, "BadRequest");
    let stale = [("if-match", "\"1\"")];
    rig.request("DELETE", "/v1/things/a", &stale, "")
        .await
        .assert_error(412, "Conflict");
    assert_eq!(rig.things.revision(), 4);
}

#[tokio::test]
async fn several_changes_are_one_transaction() {
    let rig = Rig::new();
    rig.put("old", 1);
    let changes = json!({"changes": [
        {"op": "put", "key": "a", "value": null, "if_absent": true},
        {"op": "delete", "key": "old", "if_version": "1"},
    ]});
    let done = rig
        .request("POST", "/v1/things", &[], changes.to_string())
        .await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(
        done.body,
        json!({"revision": "2", "written": [
            {"key": "a", "version": "2", "uid": "2"},
            {"key": "old", "version": "2", "uid": "1"},
        ]})
    );
    let again = rig
        .request("POST", "/v1/things", &[], changes.to_string())
        .await;
    again.assert_error(412, "Conflict");
    assert_eq!(rig.things.revision(), 2);
}

#[tokio::test]
async fn hostile_bodies_are_refused_and_change_nothing() {
    let mut options = CollectionOptions::default();
    options.max_value_bytes = 4 << 20;
    let rig = Rig::with(options);
    let deep = "[".repeat(2_000_000);
    let closed = format!("{deep}{}", "]".repeat(2_000_000));
    let send =
        async |method, path, body: &str| rig.request(method, path, &[], body.to_owned()).await;
    for body in ["", "{", "{\"a\":}", "1 2", "nul", "\"\u{1}\"", &deep] {
        send("PUT", "/v1/things/a", body)
            .await
            .assert_error(400, "BadRequest");
    }
    let reply = send("PUT", "/v1/things/a", "{\n  \"a\": x}").await;
    assert!(
        reply.body["message"]
            .as_str()
            .unwrap()
            .contains("line 2 column 8"),
        "{}",
        reply.body
    );
    send("PUT", "/v1/things/a", &closed)
        .await
        .assert_error(413, "TooLarge");
    send("PUT", "/v1/things/a", &" ".repeat(5 << 20))
        .await
        .assert_error(413, "TooLarge");
    send("POST", "/v1/things", &" ".repeat(9 << 20))
        .await
        .assert_error(413, "TooLarge");
    let value = format!("{{\"changes\":[{{\"op\":\"put\",\"key\":\"a\",\"value\":{closed}}}]}}");
    send("POST", "/v1/things", &value)
        .await
        .assert_error(413, "TooLarge");
    for body in [
        "[]",
        "{\"changes\":[]}",
        "{\"changes\":[{}]}",
        r#"{"changes":[{"op":"put","key":"a"}]}"#,
        r#"{"changes":[{"op":"delete","key":"a","value":1}]}"#,
        r#"{"changes":[{"op":"move","key":"a","value":1}]}"#,
        r#"{"changes":[{"op":"put","key":"a","value":1,"if_verison":"1"}]}"#,
        r#"{"changes":[{"op":"put","key":"a","value":1,"if_version":1}]}"#,
        r#"{"changes":[{"op":"put","key":"a","value":1,"if_version":"-1"}]}"#,
        r#"{"changes":[{"op":"put","key":"a","value":1,"if_absent":true,"if_exists":true}]}"#,
        r#"{"changes":[{"op":"put","key":"","value":1}]}"#,
        &deep,
        &format!("{{\"changes\":{deep}"),
        &format!("{{\"x\":{closed}}}"),
    ] {
        send("POST", "/v1/things", body)
            .await
            .assert_error(400, "BadRequest");
    }
    send("PUT", "/v1/things/", "1")
        .await
        .assert_error(400, "BadRequest");
    send("PUT", "/v1/things/%00", "1")
        .await
        .assert_error(400, "BadRequest");
    send("PUT", "/v1/things/%ff", "1")
        .await
        .assert_error(400, "BadRequest");
    send("PUT", "/v1/things/a?if_absent=true", "1")
        .await
        .assert_error(400, "BadRequest");
    send("PUT", "/v1/things", "1")
        .await
        .assert_error(405, "MethodNotAllowed");
    assert_eq!((rig.things.revision(), rig.things.len()), (0, 0));
}

#[tokio::test]
async fn a_read_only_router_refuses_writes() {
    let things = Collection::new("things", CollectionOptions::default()).unwrap();
    let rig = Rig::reading(things);
    for (method, path) in [
        ("PUT", "/v1/things/a"),
        ("DELETE", "/v1/things/a"),
        ("POST", "/v1/things"),
    ] {
        rig.request(method, path, &[], "1")
            .await
            .assert_error(405, "MethodNotAllowed");
    }
    assert_eq!(rig.request("GET", "/v1/things", &[], "").await.status, 200);
    assert_eq!(
        rig.request("HEAD", "/v1/things?watch=jsonl&from=0", &[], "")
            .await
            .status,
        200
    );
}
