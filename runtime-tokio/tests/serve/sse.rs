//! Watches as server-sent events. Time is paused: it moves only when everybody waits.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use http::{Request, StatusCode};
use reflet_tokio::serve::{Change, Continuity, Precondition, object_digest};

use crate::rig::{Rig, raw};

/// A stream that was opened, its text as it comes.
struct Stream(Body);

impl Stream {
    async fn open(rig: &Rig, query: &str, last_event_id: &str) -> Self {
        let request = Request::get(format!("/v1/things?watch=sse&{query}"))
            .header("last-event-id", last_event_id)
            .body(Body::empty());
        let response = rig.send(request.unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(response.into_body())
    }

    /// What is said next; nothing at the end.
    async fn next(&mut self) -> String {
        match poll_fn(|cx| Pin::new(&mut self.0).poll_frame(cx)).await {
            Some(frame) => String::from_utf8(frame.unwrap().into_data().unwrap().into()).unwrap(),
            None => String::new(),
        }
    }
}

fn put(key: &str) -> Change {
    Change::Put {
        key: key.into(),
        value: raw(1),
        precondition: Precondition::None,
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_is_where_to_resume_and_only_whole_revisions_have_one() {
    let rig = Rig::new();
    rig.put("a", 1);
    let epoch = rig.things.epoch();
    let mut stream = Stream::open(&rig, "from=1", "").await;
    let digest = object_digest("a", 1);
    let bookmark = format!(
        "id: 1.{epoch}\ndata: {{\"type\":\"BOOKMARK\",\"revision\":\"1\",\"digest\":\"{digest:016x}\"}}\n\n"
    );
    assert_eq!(stream.next().await, bookmark);

    rig.things.transaction(vec![put("b"), put("c")]).unwrap();
    let event = |key: &str, last: &str| {
        format!(
            "data: {{\"type\":\"ADDED\",\"revision\":\"2\",\"previous\":\"1\",\"key\":\"{key}\",\
             \"version\":\"2\",\"uid\":\"2\"{last},\"value\":1}}\n\n"
        )
    };
    let last = event("c", ",\"last\":true");
    let whole = format!("{}id: 2.{epoch}\n{last}", event("b", ""));
    assert_eq!(stream.next().await, whole);
    assert_eq!(stream.next().await, ":\n\n", "a heartbeat");
}

#[tokio::test(start_paused = true)]
async fn the_last_event_s_id_wins_over_the_address_that_a_browser_was_given() {
    let rig = Rig::new();
    for key in ["a", "b", "c"] {
        rig.put(key, 1);
    }
    let id = format!("2.{}", rig.things.epoch());
    for query in ["from=0", "from=0&epoch=other", ""] {
        let mut stream = Stream::open(&rig, query, &id).await;
        assert!(stream.next().await.contains("\"revision\":\"2\""));
        assert!(stream.next().await.contains("\"key\":\"c\""));
    }
    let other = [("last-event-id", "2.other")];
    let reply = rig.request("GET", "/v1/things?watch=sse", &other, "");
    reply.await.assert_error(410, "Gone");
    for wrong in ["2", "x.y", ".", "-1.e"] {
        let headers = [("last-event-id", wrong)];
        let reply = rig
            .request("GET", "/v1/things?watch=sse&from=0", &headers, "")
            .await;
        reply.assert_error(400, "BadRequest");
    }
    let reply = rig.get("/v1/things?watch=sse").await;
    reply.assert_error(400, "BadRequest");
    let headers = [("last-event-id", &*id)];
    let reply = rig
        .request("GET", "/v1/things?watch=jsonl", &headers, "")
        .await;
    reply.assert_error(400, "BadRequest");
}

#[tokio::test(start_paused = true)]
async fn an_error_is_the_last_event_and_has_no_id() {
    let rig = Rig::new();
    let mut stream = Stream::open(&rig, "from=0", "").await;
    stream.next().await;
    let export = rig.things.export();
    rig.things.restore(&export, Continuity::NewEpoch).unwrap();
    let error = stream.next().await;
    assert!(
        error.starts_with("data: {\"type\":\"ERROR\",\"status\":410,"),
        "{error}"
    );
    assert!(error.ends_with("}\n\n"), "{error:?}");
    assert_eq!(stream.next().await, "");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_client_wants_or_the_server_closes() {
    let rig = Rig::new();
    let mut short = Stream::open(&rig, "from=0&timeout_ms=1000", "").await;
    let mut long = Stream::open(&rig, "from=0", "").await;
    short.next().await;
    long.next().await;
    assert_eq!(short.next().await, "");
    assert_eq!(rig.things.watchers(), 1);
    tokio::time::advance(Duration::from_secs(1)).await;
    rig.things.close();
    assert_eq!(long.next().await, "");
    assert_eq!(rig.things.watchers(), 0);
}
