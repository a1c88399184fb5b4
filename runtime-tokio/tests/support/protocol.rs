//! Our own protocol, as somebody would map it who knows nothing but its document: one more way to
//! follow it, by which all that is asked of a transport can be asked of the mapping.

#![allow(dead_code, reason = "each suite uses another part")]

use serde_json::{Value, json};

/// How a watch travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Travel {
    JsonLines,
    ServerSentEvents,
    WebSocket,
    /// Polls that are held back for so many milliseconds, and paced by so many after one that
    /// brought something, and after one that did not.
    LongPoll {
        wait_ms: u64,
        busy_ms: u64,
        idle_ms: u64,
    },
}

/// The mapping, in JSON; the server is quiet for `heartbeat_ms` at most.
pub(crate) fn mapping(collection: &str, travel: Travel, heartbeat_ms: u64) -> Value {
    let path = format!("v1/{collection}");
    let events = json!({
        "revision": { "field": "/revision" },
        "previous": "/previous",
        "transactions": { "last": "/last" },
        "status": "/status",
        "message": "/message",
    });
    let stream = |query: &str, stream: Value| {
        json!({ "changes": {
            "path": path,
            "query": { "watch": query },
            "stream": stream,
            "resume": { "query": "from" },
            "events": events,
            "heartbeat_ms": heartbeat_ms,
        }})
    };
    let watch = match travel {
        Travel::JsonLines => stream("jsonl", json!("json_lines")),
        Travel::ServerSentEvents => stream("sse", json!({ "server_sent_events": {} })),
        Travel::WebSocket => {
            let socket = json!({ "web_socket": { "protocol": "reflet.v1" } });
            stream("websocket", socket)
        }
        Travel::LongPoll {
            wait_ms,
            busy_ms,
            idle_ms,
        } => json!({ "long_poll": {
            "path": path,
            "query": { "watch": "poll" },
            "resume": { "query": "from" },
            "wait": { "query": "wait_ms", "value": wait_ms.to_string(), "at_once": "0" },
            "items": "/events",
            "up_to": { "field": "/revision" },
            "events": events,
            "busy_interval_ms": busy_ms,
            "idle_interval_ms": idle_ms,
            "held_ms": wait_ms,
        }}),
    };
    json!({
        "list": {
            "path": path,
            "items": "/items",
            "revision": { "field": { "at": "/revision", "order": "ordered" } },
            "epoch": { "header": "x-reflet-epoch" },
            "consistency": "list",
            "paging": { "token": { "at": "/continue", "query": "continue" } },
            "limit": "limit",
            "at_least": "at_least",
        },
        "object": {
            "key": "/key",
            "version": { "field": { "at": "/version", "order": "commit" } },
            "uid": "/uid",
            "value": "/value",
        },
        "watch": watch,
    })
}
