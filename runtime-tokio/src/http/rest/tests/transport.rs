//! Watches by server-sent events and WebSockets: what their framing says, and what the mapping
//! makes of it. That they end as they should is the transports' own matter, and tested with them.

use futures_util::SinkExt as _;
use reflet_core::{FailureClass, WatchFrom};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::rig::{Outcome, Server, answer, configs, mapping, source, watch, watch_from};
use crate::http::rest::{Problem, RestSource};
use crate::http::tests::rig::{Handed, write};

/// Changes of configs by this stream, whose events have this form.
fn changes(stream: Value, events: Value) -> Value {
    let mut json = configs(json!({
        "revision": {"header": {"name": "x-resource-version", "order": "ordered"}},
        "consistency": "page",
    }));
    json["watch"] = json!({"changes": {
        "path": "configs/watch",
        "stream": stream,
        "resume": {"header": "Last-Event-ID"},
        "events": events,
    }});
    json
}

/// Events that say by their framing what they are, and where they stand.
fn labelled() -> Value {
    json!({
        "name": "event_field",
        "upsert": ["add", "update"],
        "delete": ["delete"],
        "progress": ["bookmark"],
        "ignore": ["ping"],
        "revision": "id_field",
        "transactions": "single",
    })
}

fn server_sent(only: &[&str]) -> Value {
    json!({"server_sent_events": {"only": only}})
}

fn events(text: &str) -> Server {
    let content = "content-type: text/event-stream; charset=utf-8\r\n";
    Server::new(vec![answer("200 OK", content, text)])
}

async fn heard(json: Value, text: &str) -> Outcome {
    watch_from(&source(&events(text), json), "12").await
}

const LABELLED: &str = concat!(
    ": hello\n\n",
    "event: add\nid: 13\ndata: {\"id\":\"a\",\ndata: \"version\":1}\n\n",
    "event: ping\ndata: {}\n\n",
    "event: delete\nid: 14\ndata: {\"id\":\"a\"}\n\n",
    "event: bookmark\nid: 17\ndata: null\n\n",
);

#[tokio::test]
async fn the_framing_says_what_an_event_is_and_where_it_stands() {
    let server = events(LABELLED);
    let source = source(&server, changes(server_sent(&[]), labelled()));
    let (said, outcome) = watch_from(&source, "12").await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(
        said,
        [
            "opened",
            "heartbeat",
            r#"upsert a@1 -<13 Object {"id": String("a"), "version": Number(1)}"#,
            "batch end 13",
            "heartbeat",
            r#"delete a -<14 Some(Object {"id": String("a")})"#,
            "batch end 14",
            "progress 17",
        ]
    );
    let head = &server.heads()[0];
    assert!(head.contains("accept: text/event-stream\r\n"), "{head}");
    assert!(head.contains("last-event-id: 12\r\n"), "{head}");
}

#[tokio::test]
async fn an_id_that_an_event_has_not_is_not_taken_from_another() {
    for text in [
        "event: add\ndata: {\"id\":\"a\",\"version\":1}\n\n",
        "id: 13\n\nevent: add\ndata: {\"id\":\"a\",\"version\":1}\n\n",
        "event: bookmark\nid:\ndata: {}\n\n",
    ] {
        let (said, outcome) = heard(changes(server_sent(&[]), labelled()), text).await;
        let failure = outcome.unwrap_err();
        assert_eq!(failure.class, FailureClass::Malformed, "{text:?}");
        assert!(failure.message.contains("without an id"), "{failure}");
        assert!(!said.iter().any(|said| said.starts_with("upsert")));
    }
    let text = "event: news\nid: 13\ndata: {}\n\n";
    let (said, outcome) = heard(changes(server_sent(&[]), labelled()), text).await;
    assert_eq!(outcome, Ok(()));
    assert!(said[1].starts_with("undecodable"), "{said:?}");
    assert_eq!(
        said[2], "batch end 13",
        "it ends a transaction all the same"
    );
}

#[tokio::test]
async fn events_that_nobody_looks_at_are_signs_of_life() {
    let in_data = json!({"name": {"field": "/type"}, "revision": {"field": "/version"}});
    let text = concat!(
        "event: ping\ndata: now\n\n",
        "data: {\"type\":\"ADDED\",\"id\":\"a\",\"version\":13}\n\n",
        "event: config\ndata: {\"type\":\"ADDED\",\"id\":\"b\",\"version\":14}\n\n",
    );
    let (said, outcome) = heard(
        changes(server_sent(&["config"]), in_data.clone()),
        "event: ping\ndata: now\n\n",
    )
    .await;
    assert_eq!(
        (said, outcome),
        (vec!["opened".into(), "heartbeat".into()], Ok(()))
    );
    let (said, _) = heard(changes(server_sent(&["config"]), in_data.clone()), text).await;
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[1].starts_with("upsert b@14"), "{said:?}");
    let (said, _) = heard(changes(server_sent(&["message"]), in_data.clone()), text).await;
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[1].starts_with("upsert a@13"), "{said:?}");
    let (said, _) = heard(changes(server_sent(&[]), in_data), text).await;
    assert!(said[1].starts_with("undecodable"), "{said:?}");
    assert_eq!(said.len(), 4, "{said:?}");
}

#[tokio::test]
async fn a_pause_that_the_service_asks_for_is_kept() {
    let json = changes(server_sent(&[]), labelled());
    let (_, outcome) = heard(json, "retry: 1500\n\n").await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.class, FailureClass::Retryable);
    assert_eq!(failure.retry_after.unwrap().as_millis(), 1_500);
}

#[tokio::test]
async fn hints_have_names_too() {
    let mut json = configs(json!({"revision": "etag"}));
    json["watch"] = json!({"hints": {"path": "feed", "stream": server_sent(&["changed"])}});
    for (text, word) in [
        ("event: changed\ndata: x\n\n", "hint"),
        ("event: ping\ndata: x\n\n", "heartbeat"),
        ("data: x\n\n", "heartbeat"),
        (": x\n\n", "heartbeat"),
    ] {
        let server = events(text);
        let (said, outcome) = watch(&source(&server, json.clone()), WatchFrom::Now).await;
        assert_eq!(
            (said, outcome),
            (vec!["opened".into(), word.into()], Ok(())),
            "{text:?}"
        );
    }
}

#[test]
fn what_only_some_streams_have_is_asked_of_no_other() {
    let problem = |stream: Value, events: Value| {
        let found = mapping(changes(stream, events)).check();
        found.err().map(|error| (error.field, error.problem))
    };
    let no_stream = Some(("watch.changes.events", Problem::NoEventStream));
    let at = json!({"field": "/version"});
    assert_eq!(problem(server_sent(&[]), labelled()), None);
    for stream in [json!("json_lines"), json!({"web_socket": {}})] {
        assert_eq!(problem(stream.clone(), labelled()), no_stream);
        let id = json!({"revision": "id_field"});
        assert_eq!(problem(stream.clone(), id), no_stream);
        let name = json!({"name": "event_field", "revision": at});
        assert_eq!(problem(stream, name), no_stream);
    }
    let protocol = |name: &str| json!({"web_socket": {"protocol": name}});
    let revision = json!({"revision": at});
    assert_eq!(problem(protocol("configs.v1"), revision.clone()), None);
    for name in ["", "a b", "a,b", "a\r\nx: y", "ä"] {
        assert_eq!(
            problem(protocol(name), revision.clone()),
            Some(("watch.changes.stream", Problem::Subprotocol)),
            "{name:?}"
        );
    }
    let mut json = changes(json!("json_lines"), revision);
    for header in ["host", "connection", "sec-websocket-key"] {
        json["watch"]["changes"]["resume"] = json!({"header": header});
        let found = mapping(json.clone()).check().unwrap_err();
        assert_eq!(found.field, "watch.changes.resume");
        assert_eq!(found.problem, Problem::ReservedHeader);
    }
}

/// A source of this mapping, and the connections that it opens.
fn connected(json: Value) -> (RestSource<Value>, mpsc::UnboundedReceiver<DuplexStream>) {
    let (connections, accepted) = mpsc::unbounded_channel();
    let builder = RestSource::<Value>::builder("http://server/base", mapping(json));
    let source = builder.connector(Handed(connections)).build();
    (source.unwrap(), accepted)
}

/// A socket for who asks for one, with this subprotocol.
async fn accept(
    stream: DuplexStream,
    protocol: Option<&'static str>,
) -> WebSocketStream<DuplexStream> {
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let answer = |request: &Request, mut response: Response| {
        assert_eq!(request.uri(), "/base/configs/watch");
        assert_eq!(request.headers()["last-event-id"], "12");
        if let Some(protocol) = protocol {
            let headers = response.headers_mut();
            headers.insert("sec-websocket-protocol", protocol.parse().unwrap());
        }
        Ok(response)
    };
    accept_hdr_async(stream, answer).await.unwrap()
}

#[tokio::test]
async fn each_message_of_a_socket_is_an_event() {
    let events = json!({"revision": {"field": "/version"}});
    for (wanted, chosen, fits) in [
        (None, None, true),
        (Some("configs.v1"), Some("configs.v1"), true),
        (Some("configs.v1"), None, false),
        (None, Some("configs.v1"), false),
    ] {
        let stream = json!({"web_socket": {"protocol": wanted}});
        let (source, mut connections) = connected(changes(stream, events.clone()));
        let serving = async {
            let mut socket = accept(connections.recv().await.unwrap(), chosen).await;
            let text = r#"{"type":"ADDED","id":"a","version":13}"#;
            // Who does not like the handshake does not listen.
            let _ = socket.send(Message::Text(text.into())).await;
            let _ = socket.close(None).await;
        };
        let ((said, outcome), ()) = tokio::join!(watch_from(&source, "12"), serving);
        if fits {
            assert_eq!(outcome, Ok(()), "{wanted:?}");
            assert!(said[1].starts_with("upsert a@13 -<13"), "{said:?}");
        } else {
            assert_eq!(outcome.unwrap_err().class, FailureClass::Malformed);
            assert!(said.is_empty(), "{said:?}");
        }
    }
}

#[tokio::test]
async fn a_refused_socket_means_what_the_mapping_says() {
    let events = json!({"revision": {"field": "/version"}});
    let mut json = changes(json!({"web_socket": {}}), events);
    json["watch"]["changes"]["refusals"] = json!({"gone": [404]});
    let (source, mut connections) = connected(json);
    let serving = async {
        let mut stream = connections.recv().await.unwrap();
        let head = crate::http::tests::rig::request_head(&mut stream).await;
        assert!(head.unwrap().contains("upgrade: websocket\r\n"));
        write(
            &mut stream,
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        )
        .await;
        stream
    };
    let ((said, outcome), _open) = tokio::join!(watch_from(&source, "12"), serving);
    assert_eq!(outcome.unwrap_err().class, FailureClass::Gone);
    assert!(said.is_empty());
}
