//! Servers that never come to an end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reflet_tokio::http::Transport;
use reflet_tokio::reflet_core::{
    BadInput, Condition, FailureClass, LimitKind, Limits, Notice, State, TimerReason,
};
use serde_json::json;

use crate::rig::{Phase, Rig};
use crate::server::{Act, Request, Server, chunk, lines, ok, stream_head};

/// A page with a new token each time.
fn page_without_last() -> impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static {
    let pages = AtomicU64::new(0);
    move |_| {
        let n = pages.fetch_add(1, Ordering::Relaxed).to_string();
        let item = json!({"key": n, "version": "3", "value": n});
        ok(json!({"revision": "1000", "items": [item], "continue": n}).to_string())
    }
}

async fn frozen(rig: &mut Rig, limit: LimitKind) {
    let said = rig.notice(|notice| match notice {
        Notice::Frozen { limit } => Some(*limit),
        _ => None,
    });
    assert_eq!(said.await, limit);
}

#[tokio::test(start_paused = true)]
async fn a_list_without_a_last_page_freezes_the_collection_until_one_fits() {
    type Limit = fn(&mut Limits);
    let limited: [(Limit, LimitKind); 4] = [
        (|limits| limits.pages = 50, LimitKind::Pages),
        (|limits| limits.objects = 50, LimitKind::Objects),
        (|limits| limits.bytes = 5_000, LimitKind::Bytes),
        (
            |limits| limits.staged_bytes = 20_000,
            LimitKind::StagedBytes,
        ),
    ];
    for (limits, kind) in limited {
        let server = Server::new();
        let mut rig = Rig::with(Transport::JsonLines, &server, |builder| {
            builder.limits(limits)
        });
        rig.is_live().await;
        let page = page_without_last();
        server.turn(move |request| match request.is_watch() {
            true => crate::rig::gone(),
            false => page(request),
        });
        frozen(&mut rig, kind).await;
        rig.suffers(Phase::Relist, &Condition::Frozen(kind));
        rig.survives(Phase::Relist).await;
        rig.says(&Notice::Thawed).await;
        assert!(server.log().len() < 30 * 150, "{}", server.log().len());
    }
}

#[tokio::test(start_paused = true)]
async fn slow_pages_without_end_are_given_up_at_the_deadline() {
    for phase in Phase::LISTS {
        let page = page_without_last();
        let slow = move |request: &Request| {
            let mut acts = page(request);
            acts.insert(0, Act::Wait(Duration::from_secs(9)));
            acts
        };
        let mut rig = Rig::at(phase, slow).await;
        rig.timed_out(TimerReason::ListDeadline).await;
        rig.suffers(phase, &Condition::TimedOut(TimerReason::ListDeadline));
        rig.survives(phase).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_token_that_repeats_ends_the_list() {
    for phase in Phase::LISTS {
        let mut rig = Rig::at(phase, |_| {
            ok(r#"{"revision":"3","items":[],"continue":"more"}"#)
        })
        .await;
        let said = rig.notice(|notice| match notice {
            Notice::BadInput { what, .. } => Some(*what),
            _ => None,
        });
        assert_eq!(said.await, BadInput::RepeatedPageToken);
        rig.suffers(phase, &Condition::Failing(FailureClass::Malformed));
        rig.survives(phase).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_trickles_without_end_is_given_up_at_the_deadline() {
    for phase in Phase::LISTS {
        let drip = |_: &Request| {
            vec![
                Act::Send(stream_head()),
                Act::Endless(Duration::from_secs(1), Box::new(|_| chunk(" "))),
            ]
        };
        let mut rig = Rig::at(phase, drip).await;
        rig.timed_out(TimerReason::ListDeadline).await;
        rig.suffers(phase, &Condition::TimedOut(TimerReason::ListDeadline));
        rig.survives(phase).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_that_hardly_grows_is_silence() {
    let drip = |_: &Request| {
        vec![
            Act::Send(stream_head()),
            Act::Endless(Duration::from_secs(1), Box::new(|_| chunk("{"))),
        ]
    };
    let mut rig = Rig::at(Phase::Lines, drip).await;
    rig.timed_out(TimerReason::Silence).await;
    rig.survives(Phase::Lines).await;
}

#[tokio::test(start_paused = true)]
async fn a_line_without_end_is_malformed() {
    let gush = |_: &Request| {
        vec![
            Act::Send(stream_head()),
            Act::Endless(
                Duration::from_millis(1),
                Box::new(|_| chunk([b'x'; 10_000])),
            ),
        ]
    };
    let mut rig = Rig::at(Phase::Lines, gush).await;
    rig.failure(FailureClass::Malformed, "a line without an end: ")
        .await;
    rig.suffers(Phase::Lines, &Condition::Failing(FailureClass::Malformed));
    rig.survives(Phase::Lines).await;
}

#[tokio::test(start_paused = true)]
async fn bookmarks_without_end_are_no_trouble() {
    let flood = |_: &Request| {
        let bookmark = |n| {
            chunk(format!(
                "{{\"type\":\"BOOKMARK\",\"revision\":\"{}\"}}\n",
                2 + n / 100
            ))
        };
        vec![
            Act::Send(stream_head()),
            Act::Endless(Duration::from_millis(50), Box::new(bookmark)),
        ]
    };
    let rig = Rig::at(Phase::Lines, flood).await;
    rig.until(|health| health.revision == Some(100.into()))
        .await;
    assert_eq!(rig.informer.health().state, State::Live);
    assert_eq!(rig.shown(), rig.truth());
    rig.is_paced();
}

/// Events of ever new keys from a revision on, one transaction each.
fn keys_without_end(request: &Request) -> Vec<Act> {
    let from: u64 = request
        .query("from")
        .map_or(2, |from| from.parse().unwrap());
    let event = move |n: u64| {
        let (before, at) = (from + n, from + n + 1);
        let event = json!({"type": "ADDED", "revision": at.to_string(), "previous": before.to_string(),
            "key": format!("key-{at}"), "version": at.to_string(), "value": "x", "last": true});
        chunk(format!("{event}\n"))
    };
    vec![
        Act::Send(stream_head()),
        Act::Endless(Duration::from_millis(10), Box::new(event)),
    ]
}

#[tokio::test(start_paused = true)]
async fn new_keys_without_end_freeze_the_collection_at_its_last_state_that_fits() {
    let server = Server::new();
    let mut rig = Rig::with(Transport::JsonLines, &server, |builder| {
        builder.limits(|limits| limits.objects = 100)
    });
    rig.is_live().await;
    let page = page_without_last();
    server.turn(move |request| match request.is_watch() {
        true => keys_without_end(request),
        false => page(request),
    });
    frozen(&mut rig, LimitKind::Objects).await;
    let (shown, revision) = (rig.shown(), rig.informer.revision());
    assert_eq!((shown.len(), &revision), (100, &Some(100.into())));
    rig.run(Duration::from_secs(600)).await;
    let health = rig.informer.health();
    assert_eq!(health.state, State::Stale);
    assert_eq!(health.reason, Some(Condition::Frozen(LimitKind::Objects)));
    assert!(health.next_attempt.is_some());
    assert_eq!((rig.shown(), rig.informer.revision()), (shown, revision));
    rig.is_paced();
    for n in 0..98 {
        server.world().put("a", n);
    }
    rig.recovers().await;
    rig.says(&Notice::Thawed).await;
}

#[tokio::test(start_paused = true)]
async fn a_transaction_without_end_freezes_the_collection() {
    let server = Server::new();
    let mut rig = Rig::with(Transport::JsonLines, &server, |builder| {
        builder.limits(|limits| limits.staged_bytes = 20_000)
    });
    rig.is_live().await;
    server.turn(|request| match request.is_watch() {
        true => {
            let event = |n| {
                chunk(format!(
                    "{}\n",
                    json!({"type": "ADDED", "revision": "3", "previous": "2",
                    "key": format!("key-{n}"), "version": "3", "value": "x"})
                ))
            };
            vec![
                Act::Send(stream_head()),
                Act::Endless(Duration::from_millis(10), Box::new(event)),
            ]
        }
        false => vec![Act::Close],
    });
    frozen(&mut rig, LimitKind::StagedBytes).await;
    rig.suffers(Phase::Lines, &Condition::Frozen(LimitKind::StagedBytes));
    rig.survives(Phase::Lines).await;
}

#[tokio::test(start_paused = true)]
async fn heartbeats_without_end_keep_a_watch_open_and_say_nothing_else() {
    let mut rig = Rig::at(Phase::Lines, |_| lines("\n".repeat(10_000))).await;
    rig.is_live().await;
    let before = rig.server.log().len();
    rig.run(Duration::from_secs(3_000)).await;
    assert_eq!(rig.server.log().len() - before, 1);
    rig.recovers().await;
}
