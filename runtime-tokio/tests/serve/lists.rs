//! Lists: pages, pins and tokens.

use reflet_tokio::serve::CollectionOptions;
use serde_json::{Value, json};

use crate::rig::Rig;

fn keys(items: &[Value]) -> Vec<&str> {
    items
        .iter()
        .map(|item| item["key"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_list_shows_envelopes_in_the_order_of_keys() {
    let rig = Rig::new();
    rig.put("b", json!({"n": 1}));
    rig.put("a", "x");
    rig.put("b", json!({"n": 2}));

    let page = rig.get("/v1/things").await;

    let epoch = rig.things.epoch();
    assert_eq!(
        page.body,
        json!({
            "revision": "3", "epoch": &*epoch,
            "items": [
                {"key": "a", "version": "2", "uid": "2", "value": "x"},
                {"key": "b", "version": "3", "uid": "1", "value": {"n": 2}},
            ],
        })
    );
    assert_eq!(page.header("x-reflet-revision"), "3");
    assert_eq!(page.header("x-reflet-epoch"), &*epoch);
    assert_eq!(page.header("content-type"), "application/json");
}

#[tokio::test]
async fn an_empty_collection_is_a_list_without_items_at_revision_0() {
    let page = Rig::new().get("/v1/things").await;
    assert_eq!(
        (&page.body["revision"], &page.body["items"]),
        (&json!("0"), &json!([]))
    );
    assert!(page.body.get("continue").is_none());
}

#[tokio::test]
async fn later_pages_show_the_state_at_the_revision_of_the_first() {
    let rig = Rig::new();
    for key in ["a", "b", "c", "d", "e"] {
        rig.put(key, "old");
    }
    let first = rig.get("/v1/things?limit=2").await;
    let token = first.body["continue"].as_str().unwrap().to_owned();

    rig.put("a", "new");
    rig.delete("c");
    rig.put("d", "new");
    rig.put("d", "newer");
    rig.put("ca", "born later");
    rig.put("z", "born later");
    rig.delete("e");
    rig.put("e", "born again");

    let rest = rig
        .get(&format!("/v1/things?limit=9&continue={token}"))
        .await;
    let items = rest.body["items"].as_array().unwrap();
    assert_eq!(keys(items), ["c", "d", "e"]);
    assert!(items.iter().all(|item| item["value"] == "old"), "{items:?}");
    assert_eq!(rest.body["revision"], "5");
    assert_eq!(
        rest.header("x-reflet-revision"),
        "5",
        "headers are about the page"
    );
    assert!(rest.body.get("continue").is_none());
}

#[tokio::test]
async fn a_page_whose_revision_is_no_longer_kept_is_gone() {
    let rig = Rig::new();
    for key in ["a", "b", "c"] {
        rig.put(key, 0);
    }
    let first = rig.get("/v1/things?limit=1").await;
    let path = format!(
        "/v1/things?continue={}",
        first.body["continue"].as_str().unwrap()
    );

    rig.put("b", 1);
    rig.things.compact(3);
    assert_eq!(
        rig.get(&path).await.status,
        200,
        "3 itself can still be rebuilt"
    );
    rig.things.compact(4);
    let gone = rig.get(&path).await;
    gone.assert_error(410, "Gone");
    assert_eq!(gone.header("x-reflet-revision"), "4");
}

#[tokio::test]
async fn a_page_ends_early_when_it_holds_enough_bytes() {
    let mut options = CollectionOptions::default();
    options.max_page_bytes = 100;
    let rig = Rig::with(options);
    for key in ["a", "b", "c"] {
        rig.put(key, "x".repeat(80));
    }
    let first = rig.get("/v1/things?limit=3").await;
    assert_eq!(first.body["items"].as_array().unwrap().len(), 2);
    assert_eq!(
        keys(&rig.list(3).await),
        ["a", "b", "c"],
        "nothing is lost for it"
    );
}

#[tokio::test]
async fn limits_are_bounded_by_the_server() {
    let mut options = CollectionOptions::default();
    (options.default_page_items, options.max_page_items) = (2, 3);
    let rig = Rig::with(options);
    for key in 0..5 {
        rig.put(&key.to_string(), key);
    }
    let items = async |path| rig.get(path).await.body["items"].as_array().unwrap().len();
    assert_eq!(items("/v1/things").await, 2);
    assert_eq!(items("/v1/things?limit=18446744073709551615").await, 3);
}

#[tokio::test]
async fn a_list_that_must_be_newer_than_there_is_is_behind() {
    let rig = Rig::new();
    rig.put("a", 0);
    assert_eq!(rig.get("/v1/things?at_least=1").await.status, 200);
    let behind = rig.get("/v1/things?at_least=2").await;
    behind.assert_error(412, "Behind");
    assert_eq!(behind.header("x-reflet-revision"), "1");
}

#[tokio::test]
async fn hostile_queries_are_refused_with_a_reason() {
    let rig = Rig::new();
    rig.put("a", 0);
    let epoch = rig.things.epoch();
    for query in [
        "limit=0".into(),
        "limit=-1".into(),
        "limit=1&limit=1".into(),
        "limit=99999999999999999999".into(),
        "continue=".into(),
        "continue=1".into(),
        "continue=%00%ff".into(),
        format!("continue=1.{epoch}.6"),
        format!("continue=1.{epoch}.zz"),
        format!("continue=1.{epoch}.ff"),
        format!("continue=+1.{epoch}.61"),
        format!("continue=01.{epoch}.61"),
        "at_least=x".into(),
        "watch=lines&from=0".into(),
        "watch=jsonl".into(),
        "watch=poll".into(),
        "watch=jsonl&from=1e3".into(),
        "watch=jsonl&from=0&limit=3".into(),
        "selector=app".into(),
    ] {
        rig.get(&format!("/v1/things?{query}"))
            .await
            .assert_error(400, "BadRequest");
    }
    let elsewhere = "/v1/things?continue=1.other.61";
    rig.get(elsewhere).await.assert_error(410, "Gone");
    let future = format!("/v1/things?continue=18446744073709551615.{epoch}.61");
    rig.get(&future).await.assert_error(410, "Gone");
    rig.get("/v1/nothing").await.assert_error(404, "NotFound");
    rig.get("/v1/%ff").await.assert_error(400, "BadRequest");
}
