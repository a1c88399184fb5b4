//! Pages and events that are not what they should be: what is wrong is told, with its place; the
//! rest goes on.

use std::time::Duration;

use reflet_tokio::reflet_core::{Condition, FailureClass, Notice, Rejection, State};

use crate::rig::{POLLS, Phase, Rig};
use crate::server::{Act, Request, answer, chunk, lines, ok, stream_head};
use FailureClass::Malformed;
use reflet_tokio::http::Transport;

/// Every answer is this body; in each of the phases that is a malformed answer, in these words.
async fn malformed(phases: &[Phase], body: &str, words: &str) {
    for phase in phases.iter().copied() {
        let answered = body.to_owned();
        let mut rig = Rig::at(phase, move |_| ok(&answered)).await;
        rig.failure(Malformed, words).await;
        rig.suffers(phase, &Condition::Failing(Malformed));
        rig.survives(phase).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_not_a_page_is_malformed_and_never_an_empty_collection() {
    for (page, words) in [
        ("", "the page: EOF while parsing"),
        ("<html>", "the page: expected value at line 1 column 1"),
        ("null", "the page: invalid type: null"),
        ("{}", "the page: missing field `revision`"),
        (r#"{"revision":"3"}"#, "the page: missing field `items`"),
        (
            r#"{"revision":"3","items":null}"#,
            "the page: items is not an array",
        ),
        (
            r#"{"revision":"3","items":{}}"#,
            "the page: items is not an array",
        ),
        (
            r#"{"revision":3,"items":[]}"#,
            "the page: invalid type: integer `3`",
        ),
        (
            r#"{"revision":"x","items":[]}"#,
            r#"the revision "x" is not a decimal"#,
        ),
        (
            r#"{"revision":"-3","items":[]}"#,
            r#"the revision "-3" is not a decimal"#,
        ),
        (
            r#"{"revision":"3","items":[],"continue":5}"#,
            "the page: invalid type: integer `5`",
        ),
        (
            r#"{"revision":"3","items":[]} and more"#,
            "the page: trailing characters",
        ),
        (
            r#"{"revision":"3","epoch":"e2","items":[]}"#,
            "the head says epoch e1, the body e2",
        ),
        (
            r#"{"revision":"3","items":[{"key":"x"]}"#,
            "the page: expected",
        ),
    ] {
        malformed(&Phase::LISTS, page, words).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_not_an_answer_is_malformed() {
    for (body, words) in [
        (
            "<html>",
            "the answer to a poll: expected value at line 1 column 1",
        ),
        (
            r#"{"revision":"3"}"#,
            "the answer to a poll: missing field `events`",
        ),
        (r#"{"revision":"3","events":7}"#, "events is not an array"),
        (
            r#"{"revision":"x","events":[]}"#,
            r#"the revision "x" is not a decimal"#,
        ),
        (
            r#"{"revision":"3","events":[{"type":"ADDED","key":"x","version":"3"}]}"#,
            "event 1: the revision is missing",
        ),
    ] {
        malformed(&[Phase::Polls], body, words).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_even_json_by_its_head_is_not_read() {
    for (headers, words) in [
        (
            "content-type: text/html\r\n",
            "the content is text/html, not JSON",
        ),
        (
            "content-encoding: gzip\r\n",
            r#"the content encoding "gzip" was not asked for"#,
        ),
    ] {
        for phase in Phase::ALL {
            let mut rig = Rig::at(phase, move |_| {
                vec![Act::Send(answer("200 OK", headers, "{}"))]
            })
            .await;
            rig.failure(Malformed, words).await;
            rig.suffers(phase, &Condition::Failing(Malformed));
            rig.survives(phase).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nesting_without_bottom_is_only_an_error() {
    let deep = "[".repeat(10_000);
    let closed = format!("{deep}{}", "]".repeat(10_000));
    malformed(&Phase::LISTS, &deep, "the page: ").await;
    malformed(&[Phase::Polls], &closed, "the answer to a poll: ").await;
    let page = format!(r#"{{"revision":"3","items":{deep}"#);
    malformed(&Phase::LISTS, &page, "the page: EOF while parsing").await;
}

/// The next rejection: the key, if it is known, and what was wrong.
async fn rejection(rig: &mut Rig) -> (String, String) {
    rig.notice(|notice| match notice {
        Notice::ObjectRejected {
            key,
            error: Rejection::Undecodable(words),
            ..
        } => Some((key.to_string(), words.to_string())),
        Notice::UnknownRejected {
            error: Rejection::Undecodable(words),
        } => Some(("?".to_owned(), words.to_string())),
        _ => None,
    })
    .await
}

/// What is told of these pieces of a page or stream, in their order.
async fn rejected(rig: &mut Rig, expected: &[(&str, &str)]) {
    for (key, words) in expected {
        let (of, said) = rejection(rig).await;
        assert!(
            of == *key && said.starts_with(words),
            "{of}: {said} is not {key}: {words}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_item_costs_only_itself() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let page = format!(
        r#"{{"revision":"2","items":[{{"key":"a","version":"1","value":"one"}},7,{{"version":"1"}},{{"key":"x"}},
        {{"key":5,"version":"1"}},{{"key":"d","version":"1","value":{deep}}},{{"key":"e","version":"1"}},
        {{"key":"b","version":"2","value":"two"}}]}}"#
    );
    let mut rig = Rig::at(Phase::FirstList, move |request| match request.is_watch() {
        true => lines(""),
        false => ok(&page),
    })
    .await;
    let expected = [
        ("?", "item 1 of the page: invalid type: integer `7`"),
        ("?", "item 2 of the page: missing field `key`"),
        ("?", "item 3 of the page: missing field `version`"),
        ("?", "item 4 of the page: invalid type: integer `5`"),
        ("d", "recursion limit exceeded"),
        ("e", "the object has no value"),
    ];
    rejected(&mut rig, &expected).await;
    rig.is_live().await;
    let health = rig.informer.health();
    assert!(health.degraded && !health.complete, "{health:#?}");
    let quarantined: Vec<_> = health.quarantined.iter().map(|(key, _)| &**key).collect();
    assert_eq!(quarantined, ["d", "e"]);
    assert_eq!(rig.shown(), rig.truth());
}

#[tokio::test(start_paused = true)]
async fn an_item_that_could_not_be_read_is_there_once_the_server_is_sane() {
    const PAGE: &str = r#"{"revision":"2","items":[{"key":"a","version":"1","value":"one"},{"version":"2","value":"two"}]}"#;
    let mut rig = Rig::at(Phase::FirstList, |_| ok(PAGE)).await;
    rejected(
        &mut rig,
        &[("?", "item 1 of the page: missing field `key`")],
    )
    .await;
    rig.recovers().await;
    let health = rig.informer.health();
    assert!(health.complete && !health.degraded, "{health:#?}");
}

/// Answers watches with these events, in the way of the phase.
fn telling(events: Vec<String>) -> impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static {
    move |request| match request.query("watch") {
        None => vec![Act::Silence],
        Some("jsonl") => lines(
            events
                .iter()
                .map(|event| format!("{event}\n"))
                .collect::<String>(),
        ),
        Some(_) if request.query("from") == Some("2") => {
            let events = events.join(",");
            ok(format!(r#"{{"revision":"9","events":[{events}]}}"#))
        }
        Some(_) => vec![Act::Silence],
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_event_costs_only_itself() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let event = |revision: u64, rest: &str| {
        format!(
            r#"{{"type":"MODIFIED","revision":"{revision}","previous":"{}","last":true{rest}}}"#,
            revision - 1
        )
    };
    let events = vec![
        event(3, r#","key":7,"version":"3","value":1"#),
        event(4, r#","version":"4","value":1"#),
        event(5, r#","key":"a","value":1"#),
        event(6, &format!(r#","key":"a","version":"6","value":{deep}"#)),
        event(7, r#","key":"b","version":"7""#),
        r#"{"type":"SOMETHING NEW","wild":[1,2,3]}"#.to_owned(),
        event(8, r#","key":"c","version":"8","value":"three""#),
        event(9, r#","key":"d","version":"9","value":"four""#),
    ];
    for phase in Phase::WATCHES {
        let mut rig = Rig::at(phase, telling(events.clone())).await;
        let expected = [
            ("?", "event 1: invalid type: integer `7`"),
            ("?", "event 2: the event has no key"),
            ("?", "event 3: the event has no version"),
            ("a", "recursion limit exceeded"),
            ("b", "the object has no value"),
        ];
        rejected(&mut rig, &expected).await;
        rig.until(|health| health.revision == Some(9.into())).await;
        let health = rig.informer.health();
        assert_eq!(health.state, State::Live, "{health:#?}");
        assert!(
            health.degraded && health.quarantined_count == 2,
            "{health:#?}"
        );
        // The last good versions stay in force, and the rest goes on.
        let shown = rig.shown();
        let keys: Vec<_> = shown
            .iter()
            .map(|(key, value)| (&**key, value.as_str().unwrap()))
            .collect();
        assert_eq!(
            keys,
            [("a", "one"), ("b", "two"), ("c", "three"), ("d", "four")]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_nothing_but_noise_is_given_up() {
    for noise in ["not json", r#"{"revision":"7"}"#, r#"{"type":7}"#, "\u{0}"] {
        let body = format!("{noise}\n").repeat(100);
        let mut rig = Rig::at(Phase::Lines, move |_| {
            vec![
                Act::Send([stream_head(), chunk(&body)].concat()),
                Act::Silence,
            ]
        })
        .await;
        rejected(&mut rig, &[("?", "event 1: "), ("?", "event 2: ")]).await;
        rig.failure(Malformed, "16 events in a row cannot be read; event 16: ")
            .await;
        rig.suffers(Phase::Lines, &Condition::Failing(Malformed));
        rig.survives(Phase::Lines).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_loses_its_place_is_malformed() {
    for (line, words) in [
        (r#"{"type":"BOOKMARK"}"#, "event 1: the revision is missing"),
        (
            r#"{"type":"BOOKMARK","revision":"x"}"#,
            r#"event 1: the revision "x" is not a decimal"#,
        ),
        (
            r#"{"type":"BOOKMARK","revision":"3","digest":"?"}"#,
            "event 1: the digest",
        ),
        (
            r#"{"type":"ADDED","key":"x","version":"3","value":1}"#,
            "event 1: the revision is missing",
        ),
        (
            r#"{"type":"DELETED","revision":"3","previous":"?","key":"a"}"#,
            r#"event 1: the revision "?""#,
        ),
    ] {
        let line = format!("{line}\n");
        let mut rig = Rig::at(Phase::Lines, move |_| lines(&line)).await;
        rig.failure(Malformed, words).await;
        rig.suffers(Phase::Lines, &Condition::Failing(Malformed));
        rig.survives(Phase::Lines).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_in_the_stream_is_told_in_its_words() {
    for (line, class, words) in [
        (
            r#"{"type":"ERROR","status":403,"message":"no more"}"#,
            FailureClass::Denied,
            "403 Forbidden: no more",
        ),
        (
            r#"{"type":"ERROR","status":503,"message":"later"}"#,
            FailureClass::Retryable,
            "503 Service Unavailable: later",
        ),
        (
            r#"{"type":"ERROR","message":"oops"}"#,
            FailureClass::Unexpected,
            "an error without a status: oops",
        ),
    ] {
        let line = format!("{line}\n");
        let mut rig = Rig::at(Phase::Lines, move |_| lines(&line)).await;
        rig.failure(class, words).await;
        rig.suffers(Phase::Lines, &Condition::Failing(class));
        rig.survives(Phase::Lines).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_one_byte_at_a_time_comes() {
    let pause = Duration::from_millis(50);
    for transport in [Transport::JsonLines, POLLS] {
        let mut rig = Rig::new(transport);
        let sane = rig.server.sane();
        rig.server.turn(move |request| {
            let slowly = |act| match act {
                Act::Send(bytes) => Act::Trickle(bytes, pause),
                act => act,
            };
            sane(request).into_iter().map(slowly).collect()
        });
        rig.until(|health| health.objects == 2).await;
        rig.is_live().await;
        rig.server.world().put("a", "x".repeat(100));
        rig.until(|_| rig.shown() == rig.truth()).await;
        assert_eq!(rig.informer.health().last_error, None);
        rig.recovers().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_line_on_a_slow_network_is_no_silence() {
    let event = format!(
        r#"{{"type":"MODIFIED","revision":"3","previous":"2","last":true,"key":"c","version":"3","value":"{}"}}"#,
        "x".repeat(50_000)
    );
    let pieces: Vec<_> = format!("{event}\n")
        .into_bytes()
        .chunks(1_024)
        .map(chunk)
        .collect();
    let rig = Rig::at(Phase::Lines, move |_| {
        let pieces = pieces.clone();
        let piece = move |n| {
            pieces
                .get(n as usize)
                .cloned()
                .unwrap_or_else(|| chunk("\n"))
        };
        vec![
            Act::Send(stream_head()),
            Act::Endless(Duration::from_secs(5), Box::new(piece)),
        ]
    })
    .await;
    rig.until(|health| health.objects == 3).await;
    let started = rig
        .server
        .log()
        .iter()
        .filter(|request| request.is_watch())
        .count();
    assert_eq!(
        started, 2,
        "one watch before the trouble, and one that brought the line"
    );
}

#[tokio::test(start_paused = true)]
async fn events_that_come_one_byte_at_a_time_come() {
    let event = r#"{"type":"MODIFIED","revision":"3","previous":"2","last":true,"key":"c","version":"3","value":"x"}"#;
    let rig = Rig::at(Phase::Lines, move |_| {
        let bytes = format!("{event}\n\n{event}\n").into_bytes();
        let piece = move |n| {
            chunk(
                bytes
                    .get(n as usize)
                    .map_or(b"\n".to_vec(), |byte| vec![*byte]),
            )
        };
        vec![
            Act::Send(stream_head()),
            Act::Endless(Duration::from_millis(100), Box::new(piece)),
        ]
    })
    .await;
    rig.until(|health| health.objects == 3).await;
    rig.run(Duration::from_secs(60)).await;
    let health = rig.informer.health();
    assert_eq!(health.state, State::Live);
    assert!(health.complete && !health.degraded, "{health:#?}");
}
