//! Lists that go on after a page, in the three ways in which they do.

use reflet_tokio::reflet_core::Notice as Said;
use serde_json::{Value, json};

use crate::rig::{POLL, classic, followed, with};

/// Many more configs than a page has.
const MANY: usize = 10;

fn paged(path: &str, paging: Value) -> Value {
    let words = [
        ("/list/path", json!(path)),
        ("/list/paging", paging),
        ("/list/revision", json!("none")),
    ];
    with(classic(), &words)
}

/// The list is whole, follows what happens by polls, and is asked for page by page.
async fn is_followed(mapping: Value, path: &str, next: &str) {
    let (service, _, mut followed) = followed(mapping).await;
    for number in 0..MANY {
        service.put(&format!("k{number}"), "new");
    }
    followed.has_all(&service).await;
    service.asked(path);
    service.delete("k3");
    service.put("k7", "changed");
    followed.has_all(&service).await;
    let asked = service.asked(path);
    assert!(asked.len() >= 4, "{asked:?}");
    assert!(asked.iter().any(|asked| asked.contains(next)), "{asked:?}");

    // Fewer than a page, exactly one, and none at all.
    for left in [3, 2, 0] {
        for (id, _) in service.truth().into_iter().skip(left) {
            service.delete(&id);
        }
        followed.has_all(&service).await;
    }
    tokio::time::sleep(POLL * 5).await;
    assert_eq!(followed.shown(), []);
    let heard = followed.heard().await;
    assert!(
        !heard.iter().any(|said| matches!(said, Said::Failed { .. })),
        "{heard:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn by_numbers_up_to_an_empty_page() {
    let paging = json!({ "page_number": { "query": "page" } });
    is_followed(paged("by-number", paging), "/by-number", "page=4").await;
}

#[tokio::test(start_paused = true)]
async fn by_the_links_of_the_head() {
    is_followed(paged("by-link", json!("link")), "/by-link", "skip=9").await;
}

#[tokio::test(start_paused = true)]
async fn by_a_token_in_the_body() {
    let paging = json!({ "token": { "at": "/meta/next", "query": "after" } });
    let items = [("/list/items", json!("/data/configs"))];
    let mapping = with(paged("by-token", paging), &items);
    is_followed(mapping, "/by-token", "after=k4").await;
}

/// Each page shows a moment of its own, and the watch makes up for what lies between them.
#[tokio::test(start_paused = true)]
async fn pages_of_several_moments_are_made_whole_by_the_watch() {
    let paging = json!({ "token": { "at": "/meta/next", "query": "after" } });
    let watch = json!({ "changes": {
        "path": "configs/watch",
        "resume": { "query": "resourceVersion" },
        "events": {
            "name": { "field": "/event" }, "upsert": ["ADD", "UPDATE"], "delete": ["DELETE"],
            "gone": ["EXPIRED"], "transactions": "single",
        },
        "refusals": { "gone": [400] },
        "heartbeat_ms": 10_000,
    }});
    let revision = json!({ "field": { "at": "/meta/at", "order": "ordered" } });
    let words = [
        ("/list/items", json!("/data/configs")),
        ("/list/limit", json!("max")),
        ("/list/revision", revision),
        ("/watch", watch),
    ];
    let (service, network, mut followed) = followed(with(paged("by-token", paging), &words)).await;
    for round in 0..50 {
        service.put(&format!("k{}", round % 17), "changed");
        if round % 10 == 9 {
            // The list has to be taken again while it changes.
            network.stop_listening();
            network.cut();
            service.forget();
            network.listen(service.router());
            service.put(&format!("k{}", round % 13), "between");
        }
        tokio::task::yield_now().await;
    }
    followed.has_all(&service).await;
    assert!(followed.relisted().await);
    service.delete("k1");
    followed.has_all(&service).await;
}
