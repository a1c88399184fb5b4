//! Services that are followed by a mapping, and are broken or mean where only a mapping looks.

use std::time::Duration;

use reflet_tokio::http::HttpLimits;
use reflet_tokio::http::rest::RestSource;
use reflet_tokio::reflet_core::{
    BadInput, Condition, FailureClass, LimitKind, Limits, Notice, Rejection, State,
};
use serde_json::{Value, json};

use crate::memory::{MIB, begin, peak_since};
use crate::protocol::{Travel, mapping};
use crate::rig::{Phase, Rig};
use crate::server::{Act, Request, Server, answer, lines, ok};
use FailureClass::Malformed;

/// The server's protocol as a mapping, with these changes.
struct Service {
    travel: Travel,
    paging: Value,
    limits: fn(&mut Limits),
}

impl Service {
    fn new() -> Self {
        Self {
            travel: Travel::JsonLines,
            paging: json!({"token": {"at": "/continue", "query": "continue"}}),
            limits: |_| {},
        }
    }

    fn paged(paging: Value) -> Self {
        Self {
            paging,
            ..Self::new()
        }
    }

    /// An informer of a server whose collection has two objects.
    fn follow(self) -> Rig {
        let server = Server::new();
        let mut json = mapping("things", self.travel, 10_000);
        json["list"]["paging"] = self.paging;
        let mapping = serde_json::from_value(json).unwrap();
        let source = RestSource::<Value>::builder("http://server", mapping)
            .connector(server.clone())
            .limits(HttpLimits {
                page_bytes: 4 * MIB,
                line_bytes: 64 << 10,
                ..HttpLimits::default()
            });
        let source = source.build().unwrap();
        Rig::of(&server, source, |builder| builder.limits(self.limits))
    }

    async fn at(
        self,
        phase: Phase,
        behaviour: impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static,
    ) -> Rig {
        self.follow().turned(phase, behaviour).await
    }
}

async fn bad_input(rig: &mut Rig) -> BadInput {
    rig.notice(|notice| match notice {
        Notice::BadInput { what, .. } => Some(*what),
        _ => None,
    })
    .await
}

/// Answers without an object, and with a link to the next page. So many pages after the first one
/// it leads back.
fn circle(pages: u64, back_to: u64) -> impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static {
    move |request| {
        let page = request
            .query("page")
            .map_or(0, |page| page.parse().unwrap());
        let next = if page == pages { back_to } else { page + 1 };
        let link = format!("link: <?page={next}>; rel=\"next\"\r\n");
        let body = r#"{"revision":"3","items":[]}"#;
        vec![Act::Send(answer("200 OK", &link, body))]
    }
}

#[tokio::test(start_paused = true)]
async fn links_that_lead_in_a_circle_end_the_list() {
    for (pages, back_to) in [(1, 1), (2, 1), (40, 7)] {
        for phase in Phase::LISTS {
            let service = Service::paged(json!("link"));
            let mut rig = service.at(phase, circle(pages, back_to)).await;
            assert_eq!(bad_input(&mut rig).await, BadInput::RepeatedPageToken);
            let asked = rig.server.log().len();
            assert!(asked < 200, "{asked} requests for {pages} pages");
            rig.suffers(phase, &Condition::Failing(Malformed));
            rig.survives(phase).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_that_come_again_end_the_list() {
    for phase in Phase::LISTS {
        let tokens = |request: &Request| {
            let next = match request.query("continue") {
                Some("x") => "y",
                Some("y") => "z",
                _ => "x",
            };
            ok(json!({"revision": "3", "items": [], "continue": next}).to_string())
        };
        let mut rig = Service::new().at(phase, tokens).await;
        assert_eq!(bad_input(&mut rig).await, BadInput::RepeatedPageToken);
        rig.suffers(phase, &Condition::Failing(Malformed));
        rig.survives(phase).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_ignores_the_number_of_the_page_freezes_the_collection() {
    let service = Service {
        paging: json!({"page_number": {"query": "page"}}),
        limits: |limits| limits.pages = 50,
        ..Service::new()
    };
    // The sane server knows no such number.
    let mut rig = service.follow();
    let frozen = Notice::Frozen {
        limit: LimitKind::Pages,
    };
    rig.says(&frozen).await;
    rig.suffers(Phase::FirstList, &Condition::Frozen(LimitKind::Pages));
    rig.run(Duration::from_secs(600)).await;
    assert!(
        rig.server.log().len() < 30 * 150,
        "{}",
        rig.server.log().len()
    );
    let sane = rig.server.sane();
    rig.server.turn(move |request| match request.query("page") {
        None | Some("1") => sane(request),
        Some(_) => ok(r#"{"revision":"2","items":[]}"#),
    });
    rig.until(|health| health.state == State::Live && rig.shown() == rig.truth())
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_list_is_malformed_and_never_an_empty_collection() {
    for (page, words) in [
        ("", "the page: EOF while parsing"),
        ("null", r#"the page: there is no "/items""#),
        ("[]", r#"the page: there is no "/items""#),
        (r#"{"revision":"3"}"#, r#"the page: there is no "/items""#),
        (
            r#"{"revision":"3","items":null}"#,
            r#"the page: "/items" is no array"#,
        ),
        (
            r#"{"revision":"3","items":"none"}"#,
            r#"the page: "/items" is no array"#,
        ),
        (r#"{"items":[]}"#, r#"the page: no revision at "/revision""#),
        (
            r#"{"revision":{},"items":[]}"#,
            r#"the page: the revision at "/revision" is neither a string nor a number"#,
        ),
        (
            r#"{"revision":"3","revision":"4","items":[]}"#,
            "the page: ",
        ),
        (
            r#"{"revision":"3","items":[],"continue":[]}"#,
            r#"the page: the token at "/continue" is neither a string nor a number"#,
        ),
        (
            r#"{"revision":"3","items":[{"key":"x"]}"#,
            "the page: expected",
        ),
    ] {
        for phase in Phase::LISTS {
            let mut rig = Service::new().at(phase, move |_| ok(page)).await;
            rig.failure(Malformed, words).await;
            rig.suffers(phase, &Condition::Failing(Malformed));
            rig.survives(phase).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_has_changed_is_no_answer_to_who_did_not_ask() {
    let not_modified = |_: &Request| vec![Act::Send(b"HTTP/1.1 304 Not Modified\r\n\r\n".into())];
    for phase in [Phase::FirstList, Phase::Relist, Phase::Lines] {
        let mut rig = Service::new().at(phase, not_modified).await;
        rig.failure(FailureClass::Unexpected, "304").await;
        rig.suffers(phase, &Condition::Failing(FailureClass::Unexpected));
        rig.survives(phase).await;
    }
}

#[tokio::test(start_paused = true)]
async fn polls_that_are_never_held_back_are_paced() {
    let service = Service {
        travel: Travel::LongPoll {
            wait_ms: 25_000,
            busy_ms: 50,
            idle_ms: 1_000,
        },
        ..Service::new()
    };
    let not_modified = |_: &Request| vec![Act::Send(b"HTTP/1.1 304 Not Modified\r\n\r\n".into())];
    let mut rig = service.at(Phase::Polls, not_modified).await;
    rig.is_live().await;
    let before = rig.server.log().len();
    rig.run(Duration::from_secs(600)).await;
    let asked = rig.server.log().len() - before;
    assert!((590..=601).contains(&asked), "{asked}");
    assert_eq!(rig.informer.health().state, State::Live);
    rig.recovers().await;
}

#[tokio::test(start_paused = true)]
async fn a_million_empty_objects_cost_no_more_than_the_page_and_take_nothing_away() {
    let page = format!(
        r#"{{"revision":"3","items":[{}{{}}]}}"#,
        "{},".repeat(999_999)
    );
    assert!((2 * MIB..4 * MIB).contains(&page.len()));
    let mut rig = Service::new().at(Phase::Relist, move |_| ok(&page)).await;
    let base = begin();
    let words = rig
        .notice(|notice| match notice {
            Notice::UnknownRejected {
                error: Rejection::Undecodable(words),
            } => Some(words.to_string()),
            _ => None,
        })
        .await;
    assert!(
        words.ends_with(r#" of the page: no key at "/key""#),
        "{words}"
    );
    rig.until(|health| health.degraded).await;
    let peak = peak_since(base);
    // The page as the server has it and as we have it, each twice while a buffer grows.
    assert!((3 * MIB..20 * MIB).contains(&peak), "{peak}");
    let mut told = 0;
    rig.heard(|_| told += 1);
    assert!(told < 2_000, "{told} notices");
    assert_eq!(rig.shown(), rig.truth(), "no delete is inferred");
    rig.recovers().await;
}

/// An event of the transaction that makes this revision.
fn event(revision: u64, rest: &str) -> String {
    let previous = revision - 1;
    format!(
        r#"{{"type":"MODIFIED","revision":"{revision}","previous":"{previous}","last":true{rest}}}"#
    )
}

fn change(revision: u64, key: &str, value: &str) -> String {
    event(
        revision,
        &format!(r#","key":"{key}","version":"{revision}","value":"{value}""#),
    )
}

fn told(events: Vec<String>) -> impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static {
    move |request| match request.is_watch() {
        true => lines(
            events
                .iter()
                .map(|event| format!("{event}\n"))
                .collect::<String>(),
        ),
        false => vec![Act::Silence],
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_come_twice_are_news_once() {
    let events = vec![
        change(3, "a", "three"),
        change(3, "a", "three"),
        change(4, "c", "four"),
        change(4, "c", "four"),
        r#"{"type":"BOOKMARK","revision":"4"}"#.to_owned(),
    ];
    let rig = Service::new().at(Phase::Lines, told(events)).await;
    rig.until(|health| health.revision == Some(4.into())).await;
    rig.run(Duration::from_secs(60)).await;
    let health = rig.informer.health();
    assert_eq!(health.state, State::Live, "{health:#?}");
    assert!(health.complete && !health.degraded, "{health:#?}");
    let shown = [("a", "three"), ("b", "two"), ("c", "four")];
    let shown = shown.map(|(key, value)| (key.to_owned(), Value::from(value)));
    assert_eq!(rig.shown(), shown);
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_goes_back_takes_nothing_back() {
    for back in [
        change(3, "a", "old"),
        r#"{"type":"DELETED","revision":"3","previous":"2","last":true,"key":"a","version":"3"}"#
            .to_owned(),
        r#"{"type":"BOOKMARK","revision":"1"}"#.to_owned(),
    ] {
        let events = vec![change(3, "b", "three"), change(4, "a", "four"), back];
        let rig = Service::new().at(Phase::Lines, told(events)).await;
        rig.until(|health| health.revision == Some(4.into())).await;
        rig.run(Duration::from_secs(600)).await;
        let shown = [("a", "four"), ("b", "three")];
        let shown = shown.map(|(key, value)| (key.to_owned(), Value::from(value)));
        assert_eq!(rig.shown(), shown);
        assert_eq!(rig.informer.revision(), Some(4.into()));
        rig.is_paced();
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_event_costs_only_itself() {
    let events = vec![
        event(3, r#","key":["a"],"version":"3","value":1"#),
        event(4, r#","version":"4","value":1"#),
        event(5, r#","key":"a","value":1"#),
        event(6, r#","key":null,"version":"6","value":1"#),
        event(7, r#","key":"a","version":true,"value":1"#),
        event(8, r#","key":"b","version":"8""#),
        change(9, "c", "nine"),
    ];
    let mut rig = Service::new().at(Phase::Lines, told(events)).await;
    for expected in [
        r#"event 1: the key at "/key" is neither a string nor a number"#,
        r#"event 2: no key at "/key""#,
        r#"event 3: no version at "/version""#,
        r#"event 4: no key at "/key""#,
        r#"event 5: the version at "/version" is neither a string nor a number"#,
    ] {
        let words = rig.notice(|notice| match notice {
            Notice::UnknownRejected {
                error: Rejection::Undecodable(words),
            } => Some(words.to_string()),
            _ => None,
        });
        assert_eq!(words.await, expected);
    }
    rig.until(|health| health.revision == Some(9.into())).await;
    let health = rig.informer.health();
    assert_eq!(health.state, State::Live, "{health:#?}");
    assert!(health.degraded, "{health:#?}");
    let quarantined: Vec<_> = health.quarantined.iter().map(|(key, _)| &**key).collect();
    assert_eq!(quarantined, ["b"], "it has no value");
    let shown = [("a", "one"), ("b", "two"), ("c", "nine")];
    let shown = shown.map(|(key, value)| (key.to_owned(), Value::from(value)));
    assert_eq!(rig.shown(), shown);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_loses_its_place_is_malformed() {
    for (line, words) in [
        (
            r#"{"type":"BOOKMARK"}"#,
            r#"event 1: no revision at "/revision""#,
        ),
        (
            r#"{"type":"BOOKMARK","revision":[3]}"#,
            r#"event 1: the revision at "/revision" is neither a string nor a number"#,
        ),
        (
            r#"{"type":"ADDED","key":"x","version":"3","value":1}"#,
            r#"event 1: no revision at "/revision""#,
        ),
    ] {
        let line = line.to_owned();
        let mut rig = Service::new().at(Phase::Lines, told(vec![line])).await;
        rig.failure(Malformed, words).await;
        rig.suffers(Phase::Lines, &Condition::Failing(Malformed));
        rig.survives(Phase::Lines).await;
    }
}
