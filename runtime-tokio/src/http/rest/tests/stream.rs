use reflet_core::{FailureClass, WatchFrom};
use serde_json::{Value, json};

use super::rig::{Outcome, Server, answer, configs, cut_stream, source, stream, watch, watch_from};

/// Changes of configs whose events have this form.
fn changes(events: Value) -> Value {
    let mut json = configs(json!({
        "revision": {"header": {"name": "x-resource-version", "order": "ordered"}},
        "consistency": "page",
    }));
    json["object"]["version"]["field"]["order"] = json!("commit");
    json["watch"] = json!({"changes": {
        "path": "configs/watch",
        "resume": {"query": "resourceVersion"},
        "events": events,
    }});
    json
}

fn classic() -> Value {
    json!({
        "name": {"field": "/Type"},
        "upsert": ["ADD", "UPDATE"],
        "delete": ["DELETE"],
        "object": "/Config",
    })
}

/// What is heard of these lines.
async fn heard(json: Value, lines: &[&str]) -> Outcome {
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let server = Server::new(vec![stream([lines])]);
    watch_from(&source(&server, json), "12").await
}

#[tokio::test]
async fn the_classic_stream_adds_updates_and_deletes() {
    let lines = [
        r#"{"Type":"ADD","Config":{"id":"a","version":13}}"#,
        "",
        r#"{"Type":"UPDATE","Config":{"id":"a","version":14,"name":"A"}}"#,
        r#"{"Type":"DELETE","Config":{"id":"a","version":15}}"#,
        r#"{"Type":"BOOKMARK","Config":{"version":17}}"#,
    ];
    let server = Server::new(vec![stream(lines.map(|line| format!("{line}\r\n")))]);
    let (said, outcome) = watch_from(&source(&server, changes(classic())), "12").await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(
        said,
        [
            "opened",
            r#"upsert a@13 -<13 Object {"id": String("a"), "version": Number(13)}"#,
            "heartbeat",
            r#"upsert a@14 -<14 Object {"id": String("a"), "name": String("A"), "version": Number(14)}"#,
            r#"delete a -<15 Some(Object {"id": String("a"), "version": Number(15)})"#,
            "progress 17",
        ]
    );
    assert_eq!(server.paths(), ["/base/configs/watch?resourceVersion=12"]);
}

#[tokio::test]
async fn transactions_predecessors_and_keys_without_objects() {
    let events = json!({
        "revision": {"field": "/rev"},
        "previous": "/prev",
        "transactions": {"last": "/last"},
        "object": "/object",
        "deleted_key": "/key",
    });
    let (said, outcome) = heard(
        changes(events.clone()),
        &[
            r#"{"type":"ADDED","rev":13,"prev":12,"object":{"id":"a","version":1}}"#,
            r#"{"type":"DELETED","rev":13,"prev":12,"key":"b","last":true}"#,
            r#"{"type":"DELETED","rev":14,"prev":13,"object":{"id":"c"},"last":true}"#,
            r#"{"type":"NEWS","rev":15,"prev":14,"last":true}"#,
        ],
    )
    .await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(
        said[1..],
        [
            r#"upsert a@1 12<13 Object {"id": String("a"), "version": Number(1)}"#,
            "delete b 12<13 None",
            "batch end 13",
            r#"delete c 13<14 Some(Object {"id": String("c")})"#,
            "batch end 14",
            r#"undecodable event 4: the name "NEWS" is not known"#,
            "batch end 15",
        ]
    );
    let mut single = events;
    single["transactions"] = json!("single");
    let line = r#"{"type":"DELETED","rev":13,"key":"b"}"#;
    let (said, _) = heard(changes(single), &[line]).await;
    assert_eq!(said[1..], ["delete b -<13 None", "batch end 13"]);
}

#[tokio::test]
async fn tombstones_are_deletes_where_events_have_no_names() {
    let mut json = changes(json!({"name": "none"}));
    json["object"]["deleted"] = json!("/deleted");
    let lines = [
        r#"{"id":"a","version":13}"#,
        r#"{"id":"a","version":14,"deleted":true}"#,
    ];
    let (said, outcome) = heard(json, &lines).await;
    assert_eq!(outcome, Ok(()));
    assert!(said[1].starts_with("upsert a@13 -<13"), "{said:?}");
    assert_eq!(said[2..], ["delete a -<14 None"]);
}

#[tokio::test]
async fn what_cannot_be_read_costs_no_other_event() {
    let (said, outcome) = heard(
        changes(classic()),
        &[
            "garbage",
            r#"{"Type":"ADD"}"#,
            r#"{"Type":"ADD","Config":{"version":13}}"#,
            r#"{"Type":"PATCH","Config":{"id":"a","version":13}}"#,
            r#"{"Config":{"id":"a","version":13}}"#,
            r#"{"Type":"ADD","Config":{"id":"a","version":14}}"#,
        ],
    )
    .await;
    assert_eq!(outcome, Ok(()));
    let bad = said.iter().filter(|said| said.starts_with("undecodable"));
    assert_eq!(bad.count(), 5, "{said:?}");
    assert!(said[6].starts_with("upsert a@14"), "{said:?}");

    let all_bad = vec!["{}"; 16];
    let (_, outcome) = heard(changes(classic()), &all_bad).await;
    assert_eq!(outcome.unwrap_err().class, FailureClass::Malformed);
    let lost = r#"{"Type":"DELETE","Config":{"id":"a"}}"#;
    let (said, outcome) = heard(changes(classic()), &[lost]).await;
    assert_eq!(
        outcome.unwrap_err().class,
        FailureClass::Malformed,
        "where does it stand?"
    );
    assert_eq!(said, ["opened"]);
}

#[tokio::test]
async fn gone_and_behind_are_statuses_or_events() {
    let mut json = changes(json!({
        "gone": ["EXPIRED"],
        "status": "/status",
        "message": "/words",
        "ignore": ["PING"],
    }));
    json["watch"]["changes"]["refusals"] = json!({"gone": [400, 404], "behind": [409]});
    let refused = [
        ("410 Gone", FailureClass::Gone),
        ("400 Bad Request", FailureClass::Gone),
        ("404 Not Found", FailureClass::Gone),
        ("409 Conflict", FailureClass::Behind),
        ("403 Forbidden", FailureClass::Denied),
        ("500 Internal Server Error", FailureClass::Retryable),
    ];
    for (status, class) in refused {
        let server = Server::new(vec![answer(status, "", "no")]);
        let (said, outcome) = watch_from(&source(&server, json.clone()), "12").await;
        assert_eq!(outcome.unwrap_err().class, class, "{status}");
        assert!(said.is_empty());
    }
    let told = [
        (
            r#"{"type":"EXPIRED","words":"too old"}"#,
            FailureClass::Gone,
            "too old",
        ),
        (
            r#"{"type":"ERROR","status":404,"words":"w"}"#,
            FailureClass::Gone,
            "404 Not Found: w",
        ),
        (
            r#"{"type":"ERROR","status":"503"}"#,
            FailureClass::Retryable,
            "503",
        ),
        (
            r#"{"type":"ERROR","status":{}}"#,
            FailureClass::Unexpected,
            "without a status",
        ),
    ];
    for (line, class, words) in told {
        let (said, outcome) = heard(json.clone(), &[r#"{"type":"PING"}"#, line, "{}"]).await;
        let failure = outcome.unwrap_err();
        assert_eq!(failure.class, class, "{line}");
        assert!(failure.message.contains(words), "{failure}");
        assert_eq!(said, ["opened", "heartbeat"]);
    }
}

#[tokio::test]
async fn a_revision_is_told_by_a_header_or_in_the_path() {
    let mut json = changes(classic());
    json["watch"]["changes"]["resume"] = json!({"header": "Last-Event-ID"});
    let server = Server::new(vec![stream([""]), stream([""])]);
    watch_from(&source(&server, json.clone()), "12")
        .await
        .1
        .unwrap();
    assert!(server.heads()[0].contains("last-event-id: 12\r\n"));

    json["watch"]["changes"]["path"] = json!("configs/since/{revision}/watch");
    json["watch"]["changes"]["resume"] = json!("path");
    watch_from(&source(&server, json), "a/b").await.1.unwrap();
    assert_eq!(server.paths()[1], "/base/configs/since/a%2Fb/watch");
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_retried_and_one_without_line_ends_given_up() {
    let half = r#"{"Type":"ADD","Config":{"id":"a","#;
    let server = Server::new(vec![cut_stream([half]), stream([half])]);
    let source = source(&server, changes(classic()));
    for _ in 0..2 {
        let (said, outcome) = watch_from(&source, "12").await;
        assert_eq!(outcome.unwrap_err().class, FailureClass::Retryable);
        assert_eq!(said, ["opened"]);
    }
}

#[tokio::test]
async fn any_event_is_a_hint() {
    let mut json = configs(json!({"revision": "etag"}));
    json["watch"] = json!({"hints": {"path": "feed", "query": {"of": "configs"}}});
    let server = Server::new(vec![stream(["\n", "\n", "look\nagain\n\n", "{}\n"])]);
    let source = source(&server, json);
    let (said, outcome) = watch(&source, WatchFrom::Now).await;
    assert_eq!(outcome, Ok(()));
    // As many words as reads, which the pipe may join.
    assert_eq!(said.first().unwrap(), "opened");
    assert_eq!(said.last().unwrap(), "hint");
    assert!(
        said.iter()
            .all(|said| ["opened", "heartbeat", "hint"].contains(&said.as_str()))
    );
    assert_eq!(server.paths(), ["/base/feed?of=configs"]);

    let (_, outcome) = watch_from(&source, "12").await;
    assert_eq!(outcome.unwrap_err().class, FailureClass::Unsupported);
}
