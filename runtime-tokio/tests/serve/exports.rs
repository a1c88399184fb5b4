//! Exports, restores and the journal.

use std::sync::Arc;

use reflet_tokio::serve::{
    Collection, CollectionOptions, Continuity, Export, KeyProblem, Object, Precondition,
    RestoreError, WriteError,
};
use serde_json::json;

use crate::rig::{Notebook, Rig, raw};

fn reopen(export: &Export, continuity: Continuity) -> Collection {
    Collection::restored(export, continuity, CollectionOptions::default()).unwrap()
}

fn sample() -> Rig {
    let rig = Rig::new();
    rig.put("a", 1);
    rig.put("b", json!({"n": [1, 2]}));
    rig.put("a", 3);
    rig
}

#[test]
fn an_export_survives_being_written_down() {
    let export = sample().things.export();
    let text = serde_json::to_string(&export).unwrap();
    let read: Export = serde_json::from_str(&text).unwrap();
    assert_eq!(read, export);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&value["format"], &value["revision"]),
        (&json!(1), &json!("3"))
    );
    assert_eq!(
        value["objects"][0],
        json!({"key": "a", "version": "3", "uid": "1", "value": 3})
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_in_the_same_epoch_clients_resume_where_they_are() {
    let before = sample();
    let export = before.things.export();
    let rig = Rig::of(reopen(&export, Continuity::SameEpoch));

    assert_eq!(rig.things.export(), export);
    assert_eq!(rig.things.digest(), before.things.digest());
    let epoch = rig.things.epoch();
    let older = rig
        .get(&format!("/v1/things?watch=jsonl&from=2&epoch={epoch}"))
        .await;
    older.assert_error(410, "Gone");
    let mut watch = rig.watch(&format!("from=3&epoch={epoch}")).await;
    rig.put("c", 4);
    assert_eq!(watch.change().await["revision"], "4");
}

#[tokio::test(start_paused = true)]
async fn after_a_restore_into_a_new_epoch_every_client_lists_again() {
    let rig = sample();
    let backup = rig.things.export();
    let old_epoch = rig.things.epoch();
    rig.put("a", 4);
    let page = rig.get("/v1/things?limit=1").await;
    let mut watch = rig.watch("from=4").await;
    assert_eq!(watch.line().await.unwrap()["type"], "BOOKMARK");

    rig.things.restore(&backup, Continuity::NewEpoch).unwrap();

    let last = watch.line().await.unwrap();
    assert_eq!(
        (&last["type"], &last["reason"]),
        (&json!("ERROR"), &json!("Gone"))
    );
    assert_eq!(watch.line().await, None);
    assert_ne!(rig.things.epoch(), old_epoch);
    assert_eq!(rig.things.revision(), 3);
    assert_eq!(rig.things.export().objects, backup.objects);
    let path = format!("/v1/things?watch=jsonl&from=3&epoch={old_epoch}");
    rig.get(&path).await.assert_error(410, "Gone");
    let token = page.body["continue"].as_str().unwrap();
    rig.get(&format!("/v1/things?continue={token}"))
        .await
        .assert_error(410, "Gone");
}

#[tokio::test(start_paused = true)]
async fn a_live_restore_in_the_same_epoch_ends_watches_and_drops_the_history() {
    let rig = sample();
    let export = rig.things.export();
    let mut watch = rig.watch("from=3").await;
    rig.things.restore(&export, Continuity::SameEpoch).unwrap();
    assert_eq!(watch.change().await["type"], "ERROR");
    assert_eq!(rig.things.oldest_revision(), 3);
    assert_eq!(*rig.things.epoch(), *export.epoch);
}

#[test]
fn an_invalid_export_is_refused_and_changes_nothing() {
    let rig = sample();
    let before = rig.things.export();
    let refused = |change: &dyn Fn(&mut Export)| {
        let mut export = before.clone();
        change(&mut export);
        rig.things
            .restore(&export, Continuity::SameEpoch)
            .unwrap_err()
    };
    let object = |key: &str, uid, version| {
        Arc::new(Object {
            key: key.into(),
            version,
            uid,
            value: raw(0).into(),
        })
    };
    let out_of_order = |uid, version| RestoreError::VersionsInvalid {
        key: "x".into(),
        uid,
        version,
        revision: 3,
    };
    assert_eq!(
        refused(&|e| e.format = 2),
        RestoreError::UnknownFormat { format: 2 }
    );
    let other = RestoreError::OtherCollection {
        have: "things".into(),
        export: "x".into(),
    };
    assert_eq!(refused(&|e| e.name = "x".into()), other);
    for epoch in ["", "a.b", "a b", &"x".repeat(65)] {
        let wrong = RestoreError::EpochInvalid {
            epoch: epoch.into(),
        };
        assert_eq!(refused(&|e| e.epoch = epoch.into()), wrong);
    }
    for (uid, version) in [(0, 1), (2, 1), (1, 4)] {
        let refusal = refused(&|e| e.objects.push(object("x", uid, version)));
        assert_eq!(refusal, out_of_order(uid, version));
    }
    let twice = RestoreError::Object(WriteError::DuplicateKey { key: "a".into() });
    assert_eq!(refused(&|e| e.objects.push(object("a", 1, 1))), twice);
    let (key, problem) = (String::new(), KeyProblem::Empty);
    let empty = RestoreError::Object(WriteError::KeyInvalid { key, problem });
    assert_eq!(refused(&|e| e.objects.push(object("", 1, 1))), empty);
    assert_eq!(rig.things.export(), before);

    let mut options = CollectionOptions::default();
    options.max_objects = 1;
    let refused = Collection::restored(&before, Continuity::SameEpoch, options).unwrap_err();
    assert_eq!(
        refused,
        RestoreError::Object(WriteError::TooManyObjects { limit: 1 })
    );
}

#[test]
fn revisions_end_with_an_error_and_not_with_a_wrap() {
    let mut export = sample().things.export();
    export.revision = u64::MAX;
    let things = reopen(&export, Continuity::NewEpoch);
    let refused = things.put("a", raw(1), Precondition::None).unwrap_err();
    assert_eq!(refused, WriteError::RevisionsExhausted);
}

#[test]
fn the_journal_keeps_what_readers_are_about_to_see() {
    let notebook = Arc::new(Notebook::default());
    let rig = Rig::with(notebook.options());
    rig.put("a", 1);
    rig.put("b", 2);
    rig.put("a", 3);
    rig.delete("b");
    let kept = notebook.kept.lock().unwrap();
    let revisions: Vec<u64> = kept.iter().map(|export| export.revision).collect();
    assert_eq!(revisions, [1, 2, 3, 4]);
    assert_eq!(kept[1].objects.len(), 2);
    assert_eq!(kept[2].objects[0].value.get(), "3");
    assert_eq!(kept[3], rig.things.export());
}

#[tokio::test(start_paused = true)]
async fn what_the_journal_cannot_keep_never_happened() {
    let notebook = Arc::new(Notebook::default());
    let rig = Rig::with(notebook.options());
    rig.put("a", 1);
    let before = rig.things.export();
    *notebook.broken.lock().unwrap() = true;

    rig.request("PUT", "/v1/things/a", &[], "2")
        .await
        .assert_error(503, "Unavailable");
    assert!(matches!(
        rig.things.delete("a", Precondition::None),
        Err(WriteError::Journal(error)) if error.message == "disk full"
    ));
    assert!(matches!(
        rig.things.restore(&before, Continuity::NewEpoch),
        Err(RestoreError::Journal(_))
    ));
    assert_eq!(rig.things.export(), before);
    assert_eq!(
        rig.get("/v1/things?watch=poll&from=1&wait_ms=0")
            .await
            .status,
        304
    );

    *notebook.broken.lock().unwrap() = false;
    assert_eq!(rig.put("a", 2).version, 2, "the revision was not used up");
}

#[test]
fn a_new_epoch_is_kept_before_anybody_sees_it() {
    let export = sample().things.export();
    let notebook = Arc::new(Notebook::default());
    let things = Collection::restored(&export, Continuity::NewEpoch, notebook.options()).unwrap();
    assert_eq!(notebook.last(), things.export());
    things.restore(&export, Continuity::NewEpoch).unwrap();
    assert_eq!(notebook.last(), things.export());
}
