//! Long polling.

use reflet_tokio::serve::{Change, CollectionOptions, Precondition};
use serde_json::json;
use tokio::time::Instant;

use crate::rig::{Reply, Rig, raw};

fn revisions(reply: &Reply) -> Vec<&str> {
    let events = reply.body["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["revision"].as_str().unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_poll_answers_at_once_with_what_is_there() {
    let rig = Rig::new();
    rig.put("a", json!({"text": "line\nbreak, comma"}));
    let began = Instant::now();
    let news = rig.get("/v1/things?watch=poll&from=0&wait_ms=5000").await;
    assert_eq!(
        news.body,
        json!({"revision": "1", "epoch": &*rig.things.epoch(), "events": [
            {"type": "ADDED", "revision": "1", "previous": "0", "key": "a", "version": "1",
             "uid": "1", "last": true, "value": {"text": "line\nbreak, comma"}}]})
    );
    assert_eq!(began.elapsed().as_millis(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_poll_waits_for_the_next_transaction() {
    let rig = Rig::new();
    let began = Instant::now();
    let (news, ()) = tokio::join!(
        rig.get("/v1/things?watch=poll&from=0&wait_ms=5000"),
        async {
            rig.put("a", 1);
        }
    );
    assert_eq!(revisions(&news), ["1"]);
    assert_eq!(began.elapsed().as_millis(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_poll_without_news_is_not_modified_and_says_how_far_it_is() {
    let mut options = CollectionOptions::default();
    options.max_poll_wait = std::time::Duration::from_secs(60);
    let rig = Rig::with(options);
    rig.put("a", 1);
    for (wait, waited) in [
        ("&wait_ms=2500", 2_500),
        ("&wait_ms=0", 0),
        ("&wait_ms=99999999", 60_000),
        ("", 60_000),
    ] {
        let began = Instant::now();
        let nothing = rig
            .get(&format!("/v1/things?watch=poll&from=1{wait}"))
            .await;
        assert_eq!(nothing.status, 304);
        assert_eq!(nothing.header("x-reflet-revision"), "1");
        assert_eq!(nothing.header("x-reflet-epoch"), &*rig.things.epoch());
        assert_eq!(began.elapsed().as_millis(), waited);
    }
}

#[tokio::test(start_paused = true)]
async fn a_limited_poll_never_tears_a_transaction() {
    let rig = Rig::new();
    let put = |key: &str| Change::Put {
        key: key.into(),
        value: raw(0),
        precondition: Precondition::None,
    };
    rig.things
        .transaction(vec![put("a"), put("b"), put("c")])
        .unwrap();
    rig.put("a", 1);
    rig.put("a", 2);
    rig.put("a", 3);

    let first = rig.get("/v1/things?watch=poll&from=0&limit=2").await;
    assert_eq!(
        revisions(&first),
        ["1", "1", "1"],
        "at least one transaction, whole"
    );
    assert_eq!(first.body["revision"], "1");
    assert_eq!(first.header("x-reflet-revision"), "4", "there is more");
    let second = rig.get("/v1/things?watch=poll&from=1&limit=2").await;
    assert_eq!(revisions(&second), ["2", "3"]);
    let third = rig.get("/v1/things?watch=poll&from=3&limit=2").await;
    assert_eq!(revisions(&third), ["4"]);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_poll_hears_of_close_and_restore_and_loses_nothing_to_a_compaction() {
    let rig = Rig::new();
    rig.put("a", 1);
    let export = rig.things.export();
    let path = "/v1/things?watch=poll&from=1&wait_ms=5000";
    let (gone, ()) = tokio::join!(rig.get(path), async {
        let continuity = reflet_tokio::serve::Continuity::NewEpoch;
        rig.things.restore(&export, continuity).unwrap();
    });
    gone.assert_error(410, "Gone");
    assert_eq!(gone.header("x-reflet-epoch"), &*rig.things.epoch());
    let (closed, ()) = tokio::join!(rig.get(path), async { rig.things.close() });
    assert_eq!(closed.status, 304);
    rig.get(path).await.assert_error(503, "Unavailable");

    let rig = Rig::new();
    rig.put("a", 1);
    let (closed, ()) = tokio::join!(rig.get(path), async {
        rig.put("a", 2);
        rig.things.close();
    });
    assert_eq!(closed.status, 304);
    let told = closed.header("x-reflet-revision");
    assert_eq!(told, "1", "what happened meanwhile is not skipped");

    let rig = Rig::new();
    rig.put("a", 1);
    rig.things.compact(1);
    rig.get("/v1/things?watch=poll&from=0")
        .await
        .assert_error(410, "Gone");
    rig.get("/v1/things?watch=poll&from=2")
        .await
        .assert_error(412, "Behind");
    let (news, ()) = tokio::join!(rig.get(path), async {
        rig.things.compact(1);
        rig.put("a", 2);
    });
    assert_eq!(revisions(&news), ["2"]);
}
