use std::time::Duration;

use reflet_core::FailureClass;
use serde_json::Value;
use tokio::time::Instant;

use super::rig::{Recorder, Reply, Server, answer, not_modified, ok, watch, watch_request};
use crate::http::{HttpSource, PollTiming, Transport};
use crate::source::Source;

fn source(server: &Server) -> HttpSource<Value> {
    let transport = Transport::LongPoll(PollTiming::default());
    server.builder().transport(transport).build().unwrap()
}

fn news(revision: u32) -> Reply {
    let previous = revision - 1;
    ok(format!(
        r#"{{"revision":"{revision}","epoch":"e1","events":[{{"type":"ADDED","revision":"{revision}",
        "previous":"{previous}","key":"a","version":"{revision}","value":1,"last":true}}]}}"#
    ))
}

#[tokio::test(start_paused = true)]
async fn polls_follow_one_another_from_where_the_last_one_ended() {
    let gone = answer(
        "410 Gone",
        "",
        r#"{"status":410,"reason":"Gone","message":"old"}"#,
    );
    let server = Server::new(vec![
        not_modified(),
        news(13),
        news(14),
        not_modified(),
        gone,
    ]);
    let (said, outcome) = watch(&source(&server)).await;
    assert_eq!(outcome.unwrap_err().class, FailureClass::Gone);
    assert_eq!(
        said,
        [
            "opened e1",
            "progress 12",
            "upsert a@13 12<13 Number(1)",
            "batch end 13",
            "progress 13",
            "upsert a@14 13<14 Number(1)",
            "batch end 14",
            "progress 14",
            "progress 12",
        ]
    );
    let path =
        |from, wait| format!("/base/v1/things?watch=poll&from={from}&epoch=e1&wait_ms={wait}");
    assert_eq!(
        server.paths(),
        [
            path(12, 0),
            path(12, 25_000),
            path(13, 25_000),
            path(14, 25_000),
            path(14, 25_000)
        ]
    );
    assert_eq!(server.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_waits_is_not_hammered() {
    let script: Vec<_> = (0..10_000).map(|_| not_modified()).collect();
    let server = Server::new(script);
    let recorder = Recorder::default();
    let source = source(&server);
    let mut sink = recorder.sink();
    let watching = source.watch(watch_request(), &mut sink);
    let outcome = tokio::time::timeout(Duration::from_secs(100), watching).await;
    assert!(outcome.is_err(), "the watch goes on");
    let polls = server.paths().len();
    assert!((100..=102).contains(&polls), "{polls}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_repeats_itself_counts_as_bringing_nothing() {
    let script: Vec<_> = (0..10_000).map(|_| news(12)).collect();
    let server = Server::new(script);
    let recorder = Recorder::default();
    let source = source(&server);
    let mut sink = recorder.sink();
    let watching = source.watch(watch_request(), &mut sink);
    assert!(
        tokio::time::timeout(Duration::from_secs(100), watching)
            .await
            .is_err()
    );
    assert!(server.paths().len() <= 102);
}

#[tokio::test(start_paused = true)]
async fn polls_that_bring_news_are_paced_too() {
    let script: Vec<_> = (13..1_013).map(news).collect();
    let server = Server::new(script);
    let began = Instant::now();
    let (_, outcome) = watch(&source(&server)).await;
    assert_eq!(outcome.unwrap_err().class, FailureClass::Retryable);
    assert!(began.elapsed() >= Duration::from_millis(50) * 999);
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_changes_between_polls_is_gone() {
    let mut changed = not_modified();
    changed.bytes = String::from_utf8(changed.bytes)
        .unwrap()
        .replace("e1", "e2")
        .into_bytes();
    let server = Server::new(vec![news(13), changed]);
    let (_, outcome) = watch(&source(&server)).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.class, FailureClass::Gone);
    assert!(failure.message.contains("e2"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_events_or_with_nonsense_is_malformed() {
    for body in [
        "{}",
        r#"{"revision":"13","epoch":"e1"}"#,
        r#"{"revision":"13","epoch":"e1","events":7}"#,
        r#"{"revision":"x","epoch":"e1","events":[]}"#,
        r#"{"revision":"13","epoch":"e1","events":[{"type":"BOOKMARK"}]}"#,
    ] {
        let server = Server::new(vec![ok(body)]);
        let (said, outcome) = watch(&source(&server)).await;
        assert_eq!(outcome.expect_err(body).class, FailureClass::Malformed);
        assert_eq!(said, ["opened e1"]);
    }
}

#[test]
fn a_poll_that_is_held_back_is_no_silence() {
    let profile = |transport| {
        let builder = HttpSource::<Value>::builder("http://server", "things");
        let source: HttpSource<Value> = builder.transport(transport).build().unwrap();
        source.profile().heartbeat.unwrap()
    };
    let timing = PollTiming {
        wait: Duration::from_secs(40),
        ..PollTiming::default()
    };
    assert!(profile(Transport::LongPoll(timing)) >= Duration::from_secs(41));
    assert_eq!(profile(Transport::JsonLines), Duration::from_secs(10));
}
