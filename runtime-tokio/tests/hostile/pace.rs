//! How often a server is asked that gives no reason to wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reflet_tokio::http::Transport;
use reflet_tokio::reflet_core::{Condition, FailureClass, Notice, State};
use serde_json::json;

use crate::rig::{POLLS, Phase, Rig, gone};
use crate::server::{Act, Request, answer, chunk, lines, ok, stream_head};

/// A stream that ends cleanly right after it was opened.
fn short() -> Vec<Act> {
    vec![Act::Send([stream_head(), b"0\r\n\r\n".to_vec()].concat())]
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_at_once_for_ever_is_paced() {
    let mut rig = Rig::at(Phase::Lines, |request| match request.is_watch() {
        true => short(),
        false => {
            ok(r#"{"revision":"2","items":[{"key":"a","version":"1"},{"key":"b","version":"2"}]}"#)
        }
    })
    .await;
    rig.notice(|notice| {
        matches!(
            notice,
            Notice::Stale {
                reason: Condition::DeadEnd
            }
        )
        .then_some(())
    })
    .await;
    rig.survives(Phase::Lines).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_after_each_step_is_paced() {
    let rig = Rig::at(Phase::Lines, |request| {
        let next = request.query("from").unwrap().parse::<u64>().unwrap() + 1;
        let line = format!("{{\"type\":\"BOOKMARK\",\"revision\":\"{next}\"}}\n");
        let bytes = [stream_head(), chunk(line), b"0\r\n\r\n".to_vec()].concat();
        vec![Act::Send(bytes)]
    })
    .await;
    // Each one is healthy and resumed at once, as far as the pace allows.
    rig.until(|health| health.revision == Some(600.into()))
        .await;
    assert_eq!(rig.shown(), rig.truth());
    rig.is_paced();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_kept_and_dies_of_the_next_request_costs_that_attempt() {
    for phase in Phase::ALL {
        let requests = AtomicU64::new(0);
        let mut rig = Rig::at(phase, move |_| {
            match requests.fetch_add(1, Ordering::Relaxed) % 2 {
                0 => vec![Act::Send(answer("500 x", "", "busy"))],
                _ => vec![Act::Close],
            }
        })
        .await;
        rig.failure(FailureClass::Retryable, "500").await;
        let (mut failed, before) = (0, rig.server.log().len());
        rig.run(Duration::from_secs(600)).await;
        rig.heard(|notice| failed += usize::from(matches!(notice, Notice::Failed { .. })));
        assert!(failed > 20, "{failed}");
        assert_eq!(rig.server.log().len() - before, failed, "{phase:?}");
        rig.survives(phase).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_history_that_is_always_gone_is_paced_and_told() {
    for (phase, transport) in [(Phase::Lines, Transport::JsonLines), (Phase::Polls, POLLS)] {
        let mut rig = Rig::new(transport);
        rig.is_live().await;
        let sane = rig.server.sane();
        rig.server.turn(move |request| match request.is_watch() {
            true => gone(),
            false => sane(request),
        });
        rig.says(&Notice::HistoryTooShort).await;
        rig.until(|health| health.reason == Some(Condition::HistoryTooShort))
            .await;
        rig.survives(phase).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_goes_back_for_ever_is_refused_and_paced() {
    let mut rig = Rig::at(Phase::Relist, |_| ok(r#"{"revision":"1","items":[]}"#)).await;
    rig.says(&Notice::StaleList {
        got: 1.into(),
        have: 2.into(),
    })
    .await;
    rig.suffers(Phase::Relist, &Condition::OlderThanCache);
    rig.survives(Phase::Relist).await;
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_changes_with_every_answer_is_paced() {
    let mut rig = Rig::new(Transport::JsonLines);
    rig.is_live().await;
    let epochs = AtomicU64::new(0);
    rig.server.turn(move |request: &Request| {
        let epoch = epochs.fetch_add(1, Ordering::Relaxed).to_string();
        if request.is_watch() {
            let head = format!("HTTP/1.1 200 OK\r\nx-reflet-epoch: {epoch}\r\n\r\n");
            return vec![Act::Send(head.into()), Act::Silence];
        }
        let item = json!({"key": "a", "version": "1", "value": "one"});
        let page = json!({"revision": "1", "epoch": epoch, "items": [item]}).to_string();
        vec![Act::Send(
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{page}",
                page.len()
            )
            .into(),
        )]
    });
    rig.notice(|notice| matches!(notice, Notice::Rewound { .. }).then_some(()))
        .await;
    rig.run(Duration::from_secs(600)).await;
    assert_eq!(rig.shown(), [("a".to_owned(), "one".into())]);
    rig.recovers().await;
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_that_never_waits_is_asked_once_a_second() {
    let mut rig = Rig::at(Phase::Polls, |_| {
        vec![Act::Send(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec())]
    })
    .await;
    rig.run(Duration::from_secs(1)).await;
    let before = rig.server.log().len();
    rig.run(Duration::from_secs(600)).await;
    assert_eq!(rig.informer.health().state, State::Live);
    let asked = rig.server.log().len() - before;
    assert!((599..=601).contains(&asked), "{asked}");
    rig.recovers().await;
}

#[tokio::test(start_paused = true)]
async fn polls_that_always_bring_something_keep_their_distance() {
    let rig = Rig::at(Phase::Polls, |request| {
        let next = request.query("from").unwrap().parse::<u64>().unwrap() + 1;
        ok(json!({"revision": next.to_string(), "events": []}).to_string())
    })
    .await;
    rig.until(|health| health.state == State::Stale).await;
    rig.until(|health| health.state == State::Live).await;
    let (before, busy) = (rig.server.log().len(), Duration::from_millis(50));
    rig.run(busy * 1_000).await;
    let asked = rig.server.log().len() - before;
    assert!(asked <= 1_001, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_is_never_right_is_verified_now_and_then() {
    let mut rig = Rig::new(Transport::JsonLines);
    rig.is_live().await;
    let sane = rig.server.sane();
    rig.server.turn(move |request| match request.is_watch() {
        true => {
            lines("{\"type\":\"BOOKMARK\",\"revision\":\"2\",\"digest\":\"00000000deadbeef\"}\n")
        }
        false => sane(request),
    });
    rig.notice(|notice| matches!(notice, Notice::DigestMismatch { .. }).then_some(()))
        .await;
    rig.suffers(Phase::Lines, &Condition::LossDetected);
    let before = rig.server.log().len();
    rig.survives(Phase::Lines).await;
    // A list and a watch each 30 s.
    let asked = rig.server.log().len() - before;
    assert!(asked <= 50, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn missing_events_are_found_and_the_revision_stays_before_the_gap() {
    const GAP: &str = r#"{"type":"MODIFIED","revision":"9","previous":"8","key":"a","version":"9","value":"?","last":true}"#;
    for phase in [Phase::Lines, Phase::Polls] {
        let mut rig = Rig::at(phase, move |request| match request.query("watch") {
            Some("jsonl") => vec![
                Act::Send([stream_head(), chunk([GAP, "\n"].concat())].concat()),
                Act::Silence,
            ],
            Some(_) => ok(format!(r#"{{"revision":"9","events":[{GAP}]}}"#)),
            None => vec![Act::Close],
        })
        .await;
        rig.says(&Notice::Gap {
            have: 2.into(),
            expected: 8.into(),
        })
        .await;
        rig.suffers(phase, &Condition::LossDetected);
        assert_eq!(rig.informer.revision(), Some(2.into()));
        rig.survives(phase).await;
    }
}
