//! A source that follows by the messages of a WebSocket, beside a server of the same library.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reflet_core::{Failure, FailureClass};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::rig::{
    Handed, Recorder, Server, answer, request_head, watch, watch_request, without_heartbeats, write,
};
use super::watch::{EVENTS, heard};
use crate::http::{HttpLimits, HttpSource, Transport};
use crate::source::Source;

const LIMIT: usize = 1_000;

type Socket = WebSocketStream<DuplexStream>;

/// A source, and the connections that it opens.
fn rig() -> (HttpSource<Value>, mpsc::UnboundedReceiver<DuplexStream>) {
    let (connections, accepted) = mpsc::unbounded_channel();
    let limits = HttpLimits {
        line_bytes: LIMIT,
        ..HttpLimits::default()
    };
    let source = HttpSource::<Value>::builder("http://server/base", "things")
        .connector(Handed(connections))
        .transport(Transport::WebSocket)
        .limits(limits)
        .build();
    (source.unwrap(), accepted)
}

async fn accept(connections: &mut mpsc::UnboundedReceiver<DuplexStream>) -> Socket {
    let stream = connections.recv().await.unwrap();
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let answer = |request: &Request, mut response: Response| {
        assert_eq!(
            request.uri(),
            "/base/v1/things?watch=websocket&from=12&epoch=e1"
        );
        let offered = &request.headers()["sec-websocket-protocol"];
        let headers = response.headers_mut();
        headers.insert("sec-websocket-protocol", offered.clone());
        headers.insert("x-reflet-epoch", "e1".parse().unwrap());
        Ok(response)
    };
    accept_hdr_async(stream, answer).await.unwrap()
}

/// Watches a server that does this with its socket; what the source heard, and how it ended.
async fn watched<O>(
    server: impl AsyncFnOnce(Socket) -> O,
) -> (Vec<String>, Result<(), Failure>, O) {
    let (source, mut connections) = rig();
    let serving = async {
        let socket = accept(&mut connections).await;
        server(socket).await
    };
    let ((said, outcome), served) = tokio::join!(watch(&source), serving);
    (said, outcome, served)
}

fn text(text: &str) -> Message {
    Message::Text(text.into())
}

fn close(code: u16, reason: &'static str) -> Message {
    Message::Close(Some(CloseFrame {
        code: code.into(),
        reason: reason.into(),
    }))
}

/// The lines of the other transports, as messages.
fn messages() -> impl Iterator<Item = Message> {
    EVENTS.lines().map(|line| match line {
        "" => Message::Ping("alive".into()),
        line => text(line),
    })
}

/// What is left of a conversation.
async fn rest(mut socket: Socket) -> Vec<Message> {
    let mut rest = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        rest.push(message);
    }
    rest
}

#[tokio::test]
async fn events_bookmarks_and_pings_are_handed_over_in_order_and_answered() {
    let (said, outcome, rest) = watched(async |mut socket| {
        for message in messages() {
            socket.feed(message).await.unwrap();
        }
        socket.send(close(1000, "")).await.unwrap();
        rest(socket).await
    })
    .await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(said, heard());
    assert_eq!(rest, [Message::Pong("alive".into()), close(1000, "")]);
}

#[tokio::test]
async fn a_message_may_come_in_fragments_with_a_ping_between_them() {
    let (said, outcome, _) = watched(async |mut socket| {
        let bookmark = r#"{"type":"BOOKMARK","revision":"20","é":"é"}"#;
        let parts: Vec<_> = bookmark.as_bytes().chunks(1).collect();
        let last = parts.len() - 1;
        for (index, part) in parts.into_iter().enumerate() {
            let code = if index == 0 {
                Data::Text
            } else {
                Data::Continue
            };
            let part = part.to_vec();
            let frame = Frame::message(part, OpCode::Data(code), index == last);
            socket.send(Message::Frame(frame)).await.unwrap();
            if index == 3 {
                socket.send(Message::Ping("".into())).await.unwrap();
            }
        }
        socket.send(close(1001, "draining")).await.unwrap();
        rest(socket).await
    })
    .await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(said, ["opened e1", "heartbeat", "progress 20"]);
}

#[tokio::test]
async fn an_event_has_the_same_number_however_many_signs_of_life_there_were() {
    for pings in [0, 3] {
        let (_, outcome, _) = watched(async |mut socket| {
            let first = text(r#"{"type":"BOOKMARK","revision":"20"}"#);
            socket.send(first).await.unwrap();
            for _ in 0..pings {
                socket.send(Message::Ping("".into())).await.unwrap();
            }
            let second = text(r#"{"type":"BOOKMARK"}"#);
            socket.send(second).await.unwrap();
            rest(socket).await
        })
        .await;
        let failure = outcome.unwrap_err();
        assert_eq!(
            &*failure.message, "event 2: the revision is missing",
            "{pings}"
        );
    }
}

#[tokio::test]
async fn what_a_close_says_is_how_the_watch_ended() {
    use FailureClass::{Denied, Malformed, Retryable, Unexpected};
    let cases = [
        (1000, None),
        (1001, None),
        (1002, Some(Malformed)),
        (1003, Some(Malformed)),
        (1007, Some(Malformed)),
        (1008, Some(Denied)),
        (1009, Some(Malformed)),
        (1010, Some(Malformed)),
        (1011, Some(Retryable)),
        (1012, Some(Retryable)),
        (1013, Some(Retryable)),
        // The library lets nobody say this one, or 1005.
        (1014, Some(Malformed)),
        (3000, Some(Denied)),
        (3003, Some(Denied)),
        (3008, Some(Retryable)),
        (4321, Some(Unexpected)),
    ];
    for (code, class) in cases {
        let (said, outcome, _) = watched(async |mut socket| {
            socket
                .feed(text(r#"{"type":"BOOKMARK","revision":"20"}"#))
                .await
                .unwrap();
            socket.send(close(code, "so it is")).await.unwrap();
            rest(socket).await
        })
        .await;
        assert_eq!(said, ["opened e1", "progress 20"]);
        let failure = outcome.err();
        assert_eq!(
            failure.as_ref().map(|failure| failure.class),
            class,
            "{code}"
        );
        if let Some(failure) = failure.filter(|_| code != 1014) {
            assert!(failure.message.contains("so it is"), "{failure}");
        }
    }
    let (_, outcome, _) = watched(async |mut socket| {
        socket.send(Message::Close(None)).await.unwrap();
        rest(socket).await
    })
    .await;
    assert_eq!(outcome, Ok(()));
}

#[tokio::test]
async fn a_socket_that_breaks_off_is_no_clean_close() {
    let (said, outcome, ()) = watched(async |mut socket| {
        for message in messages() {
            socket.send(message).await.unwrap();
        }
        // A frame of five bytes, of which two come.
        socket.get_mut().write_all(b"\x81\x05{}").await.unwrap();
    })
    .await;
    assert_eq!(outcome.unwrap_err().class, FailureClass::Retryable);
    assert_eq!(said, heard());
}

#[tokio::test]
async fn what_is_not_the_protocol_ends_the_socket_and_says_why() {
    let long = "x".repeat(8 * LIMIT + 1);
    let cases = [
        (
            Message::Binary("{}".into()),
            CloseCode::Unsupported,
            "a binary message",
        ),
        (text(&long), CloseCode::Size, "too"),
        (
            Message::Frame(Frame::message(vec![0xff], OpCode::Data(Data::Text), true)),
            CloseCode::Invalid,
            "UTF-8",
        ),
        (
            Message::Frame(Frame::message(vec![1], OpCode::Data(Data::Continue), true)),
            CloseCode::Protocol,
            "",
        ),
        (
            Message::Frame(Frame::message(
                vec![1],
                OpCode::Data(Data::Reserved(5)),
                true,
            )),
            CloseCode::Protocol,
            "",
        ),
    ];
    for (message, code, words) in cases {
        let (said, outcome, rest) = watched(async |mut socket| {
            socket
                .feed(text(r#"{"type":"BOOKMARK","revision":"20"}"#))
                .await
                .unwrap();
            socket.send(message).await.unwrap();
            rest(socket).await
        })
        .await;
        assert_eq!(
            said,
            ["opened e1", "progress 20"],
            "what came before it counts"
        );
        let failure = outcome.unwrap_err();
        assert_eq!(failure.class, FailureClass::Malformed, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
        assert_eq!(rest, [close(code.into(), "")]);
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_reported_and_the_watch_goes_on() {
    let (said, outcome, _) = watched(async |mut socket| {
        socket.feed(text(&"x".repeat(LIMIT + 1))).await.unwrap();
        for message in messages() {
            socket.feed(message).await.unwrap();
        }
        socket.send(close(1000, "")).await.unwrap();
        rest(socket).await
    })
    .await;
    assert_eq!(outcome, Ok(()));
    let skipped = "undecodable event 1: 1001 bytes are more than the limit";
    assert_eq!(said[..2], ["opened e1", skipped]);
    assert_eq!(without_heartbeats(said)[2..].len(), heard().len() - 2);
}

#[tokio::test]
async fn a_long_message_on_a_slow_network_is_no_silence() {
    let (source, mut connections) = rig();
    let recorder = Recorder::default();
    let mut sink = recorder.sink();
    let serving = async {
        let mut socket = accept(&mut connections).await;
        let stream = socket.get_mut();
        // A text of 4,000 bytes.
        write(stream, b"\x81\x7e\x0f\xa0").await;
        for part in 0..20 {
            write(stream, &[b' '; 200]).await;
            tokio::task::yield_now().await;
            let alive = recorder
                .said()
                .iter()
                .filter(|said| *said == "heartbeat")
                .count();
            assert!(alive <= part / 5 + 1, "one that hardly grows is silent");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let (_, ()) = tokio::join!(source.watch(watch_request(), &mut sink), serving);
    let alive = recorder
        .said()
        .iter()
        .filter(|said| *said == "heartbeat")
        .count();
    assert!((3..=5).contains(&alive), "{alive}");
}

#[tokio::test]
async fn a_refused_handshake_says_what_the_other_transports_say() {
    let cases = [
        ("410 Gone", FailureClass::Gone),
        ("429 Too Many Requests", FailureClass::Retryable),
        ("403 Forbidden", FailureClass::Denied),
        ("426 Upgrade Required", FailureClass::Unexpected),
        ("200 OK", FailureClass::Unexpected),
    ];
    for (status, class) in cases {
        let server = Server::new(vec![answer(status, "retry-after: 7\r\n", "{}")]);
        let builder = server.builder().transport(Transport::WebSocket);
        let (said, outcome) = watch(&builder.build().unwrap()).await;
        let failure = outcome.unwrap_err();
        assert_eq!(failure.class, class, "{failure}");
        assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
        assert!(said.is_empty());
    }
}

#[tokio::test]
async fn an_answer_to_another_handshake_is_malformed() {
    let accept = "upgrade: websocket\r\nsec-websocket-accept: ACCEPT\r\n";
    let cases = [
        (
            "upgrade: websocket\r\nsec-websocket-protocol: reflet.v1\r\n".to_owned(),
            "accept",
        ),
        (
            format!("{accept}sec-websocket-protocol: other\r\n"),
            "protocol",
        ),
        (accept.to_owned(), "protocol"),
        (
            accept.replace("websocket\r\n", "h2c\r\n") + "sec-websocket-protocol: reflet.v1\r\n",
            "upgrade",
        ),
    ];
    for (headers, words) in cases {
        let (source, mut connections) = rig();
        let serving = async {
            let mut stream = connections.recv().await.unwrap();
            let head = request_head(&mut stream).await.unwrap();
            let key = head.split("sec-websocket-key: ").nth(1).unwrap();
            let key = key.split("\r\n").next().unwrap();
            let headers = headers.replace("ACCEPT", &derive_accept_key(key.as_bytes()));
            let head = format!("HTTP/1.1 101 X\r\nconnection: upgrade\r\n{headers}\r\n");
            write(&mut stream, head.as_bytes()).await;
            stream
        };
        let ((said, outcome), _) = tokio::join!(watch(&source), serving);
        let failure = outcome.unwrap_err();
        assert_eq!(failure.class, FailureClass::Malformed, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
        assert!(said.is_empty());
    }
}

#[tokio::test]
async fn an_attempt_that_is_dropped_closes_its_connection_in_every_phase() {
    for answered in [false, true] {
        let (source, mut connections) = rig();
        let recorder = Recorder::default();
        let mut sink = recorder.sink();
        let mut attempt = Box::pin(source.watch(watch_request(), &mut sink));
        let serving = async {
            let mut stream = match answered {
                true => accept(&mut connections).await.into_inner(),
                false => {
                    let mut stream = connections.recv().await.unwrap();
                    request_head(&mut stream).await.unwrap();
                    stream
                }
            };
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            stream.write_all(b"").await.unwrap();
            stream
        };
        let mut stream = tokio::select! {
            biased;
            ended = &mut attempt => panic!("{ended:?}"),
            stream = serving => stream,
        };
        drop(attempt);
        assert_eq!(recorder.said().len(), usize::from(answered));
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }
}
