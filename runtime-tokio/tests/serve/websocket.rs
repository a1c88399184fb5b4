//! Watches as the messages of a WebSocket, over a connection in memory. Time is paused: it moves
//! only when everybody waits.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use reflet_tokio::serve::{Change, CollectionOptions, Continuity, Precondition};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::rig::{Rig, raw};

const HANDSHAKE: [(&str, &str); 5] = [
    ("connection", "keep-alive, Upgrade"),
    ("upgrade", "WebSocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-protocol", "other, reflet.v1"),
];

/// A client's end of a watch.
struct Socket(WebSocketStream<DuplexStream>);

impl Socket {
    async fn open(rig: &Rig, query: &str) -> Self {
        let (ours, theirs) = duplex(4 << 10);
        let service = TowerToHyperService::new(rig.router());
        let connection = http1::Builder::new().serve_connection(TokioIo::new(theirs), service);
        tokio::spawn(connection.with_upgrades());
        let url = format!("ws://server/v1/things?watch=websocket&{query}");
        let mut request = url.into_client_request().unwrap();
        let protocol = "reflet.v1".parse().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        let (socket, answer) = client_async(request, ours).await.unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], "reflet.v1");
        let revision = rig.things.revision().to_string();
        assert_eq!(answer.headers()["x-reflet-revision"], &*revision);
        assert_eq!(answer.headers()["x-reflet-epoch"], &*rig.things.epoch());
        Self(socket)
    }

    async fn next(&mut self) -> Option<Message> {
        self.0.next().await.transpose().unwrap()
    }

    /// The next event.
    async fn event(&mut self) -> Value {
        match self.next().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?} is no event"),
        }
    }

    /// The code of the close that is all there is to come.
    async fn closed(&mut self) -> u16 {
        let code = match self.next().await {
            Some(Message::Close(Some(CloseFrame { code, .. }))) => code.into(),
            other => panic!("{other:?} is no close"),
        };
        assert_eq!(self.next().await, None);
        code
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
async fn a_message_is_an_event_and_a_ping_a_heartbeat() {
    let mut options = CollectionOptions::default();
    options.heartbeat_interval = Duration::from_secs(10);
    options.bookmark_interval = Duration::from_secs(15);
    let rig = Rig::with(options);
    rig.put("a", 1);
    let mut socket = Socket::open(&rig, "from=1").await;
    assert_eq!(socket.event().await["revision"], "1");
    rig.things.transaction(vec![put("b"), put("c")]).unwrap();
    for (key, last) in [("b", Value::Null), ("c", json!(true))] {
        let event = socket.event().await;
        assert_eq!((&event["key"], &event["last"]), (&json!(key), &last));
    }
    let quiet_since = Instant::now();
    assert_eq!(socket.next().await, Some(Message::Ping("".into())));
    assert_eq!(quiet_since.elapsed().as_secs(), 10);
    assert_eq!(socket.event().await["type"], "BOOKMARK");
    assert_eq!(quiet_since.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_is_closed_with_a_code() {
    let rig = Rig::new();
    let mut short = Socket::open(&rig, "from=0&timeout_ms=1000").await;
    short.event().await;
    assert_eq!(short.closed().await, 1000);

    let mut restored = Socket::open(&rig, "from=0").await;
    restored.event().await;
    rig.things
        .restore(&rig.things.export(), Continuity::NewEpoch)
        .unwrap();
    let error = restored.event().await;
    assert_eq!(
        (&error["type"], &error["status"]),
        (&json!("ERROR"), &json!(410))
    );
    assert_eq!(restored.closed().await, 1000);

    let mut last = Socket::open(&rig, "from=0").await;
    last.event().await;
    rig.things.close();
    assert_eq!(last.closed().await, 1001);
    assert_eq!(rig.things.watchers(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_anything_is_closed_and_frees_its_place() {
    let cases = [
        (Message::Text("hello".into()), 1003),
        (Message::Binary("hello".into()), 1003),
        (Message::Text("x".repeat(5 << 10).into()), 1009),
    ];
    for (message, code) in cases {
        let rig = Rig::new();
        let mut socket = Socket::open(&rig, "from=0").await;
        socket.event().await;
        assert_eq!(rig.things.watchers(), 1);
        socket.0.send(message).await.unwrap();
        assert_eq!(socket.closed().await, code);
        assert_eq!(rig.things.watchers(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_and_a_close_too() {
    let rig = Rig::new();
    let mut socket = Socket::open(&rig, "from=0").await;
    socket.event().await;
    socket.0.send(Message::Ping("there?".into())).await.unwrap();
    assert_eq!(socket.next().await, Some(Message::Pong("there?".into())));
    socket.0.close(None).await.unwrap();
    assert_eq!(socket.next().await, Some(Message::Close(None)));
    assert_eq!(socket.next().await, None);
    assert_eq!(rig.things.watchers(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_pings_and_never_reads_costs_one_pong() {
    let rig = Rig::new();
    let socket = Socket::open(&rig, "from=0").await;
    let mut connection = socket.0.into_inner();
    // A masked ping of 125 bytes; the mask changes nothing.
    let ping = [b"\x89\xfd\0\0\0\0", &[b'x'; 125][..]].concat();
    let mut taken = 0;
    let pinging = async {
        for _ in 0..10_000 {
            connection.write_all(&ping).await.unwrap();
            taken += 1;
        }
    };
    let held_up = tokio::time::timeout(Duration::from_secs(60), pinging).await;
    assert!(held_up.is_err(), "all of it was read");
    // Two pipes of 4 KiB, and what is read and written at a time.
    assert!(taken * ping.len() < 24 << 10, "{taken} pings were read");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_frees_its_place() {
    let rig = Rig::new();
    let mut socket = Socket::open(&rig, "from=0").await;
    socket.event().await;
    drop(socket);
    rig.put("a", 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.things.watchers(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_handshake_is_refused_and_what_cannot_be_watched_too() {
    let rig = Rig::new();
    let path = "/v1/things?watch=websocket&from=0";
    for (index, (missing, _)) in HANDSHAKE.iter().enumerate() {
        let mut headers = HANDSHAKE.to_vec();
        headers.remove(index);
        let reply = rig.request("GET", path, &headers, "").await;
        match *missing {
            "sec-websocket-protocol" => reply.assert_error(400, "BadRequest"),
            _ => {
                reply.assert_error(426, "UpgradeRequired");
                assert_eq!(reply.header("upgrade"), "websocket");
                assert_eq!(reply.header("sec-websocket-version"), "13");
            }
        }
    }
    let cases = [
        ("from=9", 412, "Behind"),
        ("from=0&epoch=other", 410, "Gone"),
        ("from=x", 400, "BadRequest"),
    ];
    for (query, status, reason) in cases {
        let path = format!("/v1/things?watch=websocket&{query}");
        let reply = rig.request("GET", &path, &HANDSHAKE, "").await;
        reply.assert_error(status, reason);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_upgrades_ends_the_watch_and_frees_its_place() {
    let rig = Rig::new();
    let reply = rig
        .request("GET", "/v1/things?watch=websocket&from=0", &HANDSHAKE, "")
        .await;
    assert_eq!(reply.status, 101);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.things.watchers(), 0);
}
