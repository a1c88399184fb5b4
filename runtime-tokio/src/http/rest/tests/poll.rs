use reflet_core::FailureClass;
use serde_json::{Value, json};

use super::rig::{Server, answer, configs, not_modified, ok, source, watch_from};

fn polled(more: Value) -> Value {
    let mut json = configs(json!({
        "revision": {"header": {"name": "x-reflet-revision"}},
        "epoch": {"header": "x-reflet-epoch"},
        "consistency": "page",
    }));
    json["watch"] = json!({"long_poll": {
        "path": "configs/changes",
        "resume": {"query": "since"},
        "events": {"revision": {"field": "/rev"}},
    }});
    for (name, value) in more.as_object().unwrap() {
        json["watch"]["long_poll"][name] = value.clone();
    }
    json
}

const GONE: &str = "410 Gone";

#[tokio::test(start_paused = true)]
async fn polls_go_on_from_what_the_last_one_told() {
    let server = Server::new(vec![
        ok(r#"[{"type":"ADDED","rev":13,"id":"a","version":1},
               {"type":"DELETED","rev":14,"id":"b"}]"#),
        not_modified(),
        ok("[]"),
        answer("204 No Content", "", ""),
        answer(GONE, "", "too old"),
    ]);
    let json = polled(json!({"wait": {"query": "wait", "value": "25s", "at_once": "0"}}));
    let began = tokio::time::Instant::now();
    let (said, outcome) = watch_from(&source(&server, json), "12").await;
    assert_eq!(outcome.unwrap_err().class, FailureClass::Gone);
    assert_eq!(said[0], "opened e1");
    assert!(said[1].starts_with("upsert a@1 -<13"), "{said:?}");
    assert!(said[2].starts_with("delete b -<14"), "{said:?}");
    assert!(said[3..].iter().all(|said| said == "heartbeat"), "{said:?}");
    let path = |from, wait| format!("/base/configs/changes?since={from}&wait={wait}");
    let later = path(14, "25s");
    assert_eq!(
        server.paths(),
        [
            path(12, "0"),
            later.clone(),
            later.clone(),
            later.clone(),
            later
        ]
    );
    assert_eq!(
        began.elapsed().as_millis(),
        50 + 3 * 1_000,
        "paced, on paused time"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_says_up_to_where_it_has_told_everything() {
    let json = polled(json!({"items": "/events", "up_to": {"field": "/upTo"}}));
    let server = Server::new(vec![
        ok(r#"{"events":[],"upTo":20}"#),
        ok(r#"{"events":[{"type":"ADDED","rev":21,"id":"a","version":1}],"upTo":"22"}"#),
        ok(r#"{"events":[]}"#),
    ]);
    let (said, outcome) = watch_from(&source(&server, json), "12").await;
    assert_eq!(outcome.unwrap_err().class, FailureClass::Malformed);
    assert_eq!(
        (said[1].as_str(), said[3].as_str()),
        ("progress 20", "progress 22")
    );
    let since = |path: &String| path.split('=').nth(1).unwrap().to_owned();
    let since: Vec<_> = server.paths().iter().map(since).collect();
    assert_eq!(since, ["12", "20", "22"]);
}

#[tokio::test(start_paused = true)]
async fn another_epoch_ends_the_watch() {
    let mut json = polled(json!({}));
    json["list"]["epoch"] = json!({"header": "x-run"});
    let head = "content-type: application/json\r\nx-run: ";
    let run = |name: &str| answer("200 OK", &format!("{head}{name}\r\n"), "[]");
    let server = Server::new(vec![run("a"), run("a"), run("b")]);
    let (said, outcome) = watch_from(&source(&server, json), "12").await;
    assert_eq!(outcome.unwrap_err().class, FailureClass::Gone);
    assert_eq!(said, ["opened a", "heartbeat", "heartbeat"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_array_of_events_is_malformed() {
    for body in [
        "",
        "{}",
        "17",
        "[}",
        r#"[{"type":"ADDED","id":"a","version":1}]"#,
    ] {
        let server = Server::new(vec![ok(body)]);
        let (said, outcome) = watch_from(&source(&server, polled(json!({}))), "12").await;
        assert_eq!(
            outcome.unwrap_err().class,
            FailureClass::Malformed,
            "{body}"
        );
        assert_eq!(said, ["opened e1"], "{body}");
    }
}
