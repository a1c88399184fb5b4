//! Streams that never end, and what they cost in memory: framing without an end, compression that
//! blows up, signs of life in any number, and readers that do not read.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reflet_tokio::Builder;
use reflet_tokio::http::{HttpSource, HttpSourceBuilder, Transport};
use reflet_tokio::reflet_core::cache::Delta;
use reflet_tokio::reflet_core::{FailureClass, LimitKind, Notice, TimerReason};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::memory::{MIB, begin, peak_since};
use crate::rig::{Phase, Rig, source};
use crate::server::{Act, Request, Server, chunk, ok, stream_head};
use FailureClass::Malformed;

type Source = HttpSourceBuilder<Value>;
type Following = Builder<HttpSource<Value>>;

/// An informer that has listed what there is, whose watches are answered like this; and what was
/// allocated before there was any of it.
async fn flooded(
    transport: Transport,
    gzip: bool,
    setup: impl FnOnce(Following) -> Following,
    watch: impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static,
) -> (Rig, usize) {
    let server = Server::new();
    let list = server.sane();
    server.turn(move |request| match request.is_watch() {
        true => watch(request),
        false => list(request),
    });
    let source: Source = source(transport, &server).gzip(gzip);
    let base = begin();
    let rig = Rig::of(&server, source.build().unwrap(), setup);
    rig.until(|health| health.objects >= 2).await;
    (rig, base)
}

/// A pause: simulated time only goes on while nobody has anything to do.
const PAUSE: Duration = Duration::from_millis(1);

/// A stream of this, again and again, and how often it was sent.
fn again(head: Vec<u8>, piece: Vec<u8>) -> (impl Fn() -> Vec<Act>, Arc<AtomicU64>) {
    let sent = Arc::<AtomicU64>::default();
    let count = Arc::clone(&sent);
    let acts = move || {
        let (piece, count) = (piece.clone(), Arc::clone(&count));
        let next = move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            piece.clone()
        };
        vec![Act::Send(head.clone()), Act::Endless(PAUSE, Box::new(next))]
    };
    (acts, sent)
}

async fn until_sent(rig: &Rig, sent: &AtomicU64, pieces: u64) {
    rig.until(|_| sent.load(Ordering::Relaxed) >= pieces).await;
}

#[tokio::test(start_paused = true)]
async fn fields_of_an_event_without_end_are_given_up() {
    for field in ["data: ", "unknown: ", "id: ", "event: ", "retry: "] {
        let line = format!("{field}{}\n", "7".repeat(1_000));
        let (acts, _) = again(stream_head(), chunk(line.repeat(64)));
        let transport = Transport::ServerSentEvents;
        let (mut rig, base) = flooded(transport, false, |b| b, move |_| acts()).await;
        rig.failure(Malformed, "an event without an end").await;
        let peak = peak_since(base);
        assert!(peak < 2 * MIB, "{field}: {peak}");
        assert_eq!(rig.shown(), rig.truth());
    }
}

#[tokio::test(start_paused = true)]
async fn signs_of_life_without_end_cost_nothing() {
    for (transport, head, piece) in [
        (Transport::JsonLines, stream_head(), "\n".repeat(8 << 10)),
        (
            Transport::ServerSentEvents,
            stream_head(),
            ":\n".repeat(4 << 10),
        ),
        (
            Transport::ServerSentEvents,
            stream_head(),
            "\n".repeat(8 << 10),
        ),
    ] {
        let (acts, sent) = again(head, chunk(piece));
        let (rig, base) = flooded(transport, false, |b| b, move |_| acts()).await;
        until_sent(&rig, &sent, 100).await;
        let peak = peak_since(base);
        assert!(peak < 6 * MIB, "{transport:?}: {peak}");
        assert_eq!(rig.shown(), rig.truth());
    }
}

#[tokio::test(start_paused = true)]
async fn bookmarks_without_end_cost_nothing() {
    let bookmark = "{\"type\":\"BOOKMARK\",\"revision\":\"2\"}\n";
    let (acts, sent) = again(stream_head(), chunk(bookmark.repeat(100)));
    let (rig, base) = flooded(Transport::JsonLines, false, |b| b, move |_| acts()).await;
    until_sent(&rig, &sent, 1_000).await;
    let peak = peak_since(base);
    assert!(peak < 2 * MIB, "{peak}");
    assert_eq!(rig.shown(), rig.truth());
}

#[tokio::test(start_paused = true)]
async fn items_that_are_nothing_cost_no_more_than_their_page() {
    let items = vec!["{}"; 100_000].join(",");
    let page = format!(r#"{{"revision":"3","items":[{items}]}}"#);
    let mut rig = Rig::at(Phase::Relist, move |_| ok(&page)).await;
    let base = begin();
    rig.notice(|notice| match notice {
        Notice::UnknownRejected { .. } => Some(()),
        _ => None,
    })
    .await;
    rig.until(|health| health.degraded).await;
    let peak = peak_since(base);
    // The page as it comes, as it is collected, and as it is read.
    assert!(peak < 3 * MIB, "{peak}");
    assert_eq!(rig.shown(), rig.truth());
    rig.recovers().await;
}

/// The server's side of a handshake.
fn shaken(request: &Request) -> Vec<u8> {
    let key = request.header("sec-websocket-key").unwrap();
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\nsec-websocket-protocol: reflet.v1\r\n\
         x-reflet-epoch: e1\r\n\r\n"
    )
    .into()
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let bytes = payload.len() as u64;
    [&[first, 127], &bytes.to_be_bytes()[..], payload].concat()
}

#[tokio::test(start_paused = true)]
async fn a_message_in_fragments_without_end_is_given_up() {
    const TEXT: u8 = 0x01;
    const MORE: u8 = 0x00;
    let fragments = |request: &Request| {
        let fragment = move |n| frame(if n == 0 { TEXT } else { MORE }, &[b'x'; 64 << 10]);
        vec![
            Act::Send(shaken(request)),
            Act::Endless(PAUSE, Box::new(fragment)),
        ]
    };
    let (mut rig, base) = flooded(Transport::WebSocket, false, |b| b, fragments).await;
    rig.failure(Malformed, "the socket broke off: Space limit exceeded")
        .await;
    let peak = peak_since(base);
    // Eight times the 64 KiB of an event, as the buffer grows by doubling.
    assert!(peak < 3 * MIB, "{peak}");
    assert_eq!(rig.shown(), rig.truth());
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_says_it_is_endless_costs_nothing() {
    let huge = |request: &Request| {
        let head = [&[0x81, 127][..], &(1_u64 << 62).to_be_bytes()].concat();
        vec![Act::Send([shaken(request), head].concat()), Act::Silence]
    };
    let (mut rig, base) = flooded(Transport::WebSocket, false, |b| b, huge).await;
    rig.failure(Malformed, "the socket broke off: Space limit exceeded")
        .await;
    let peak = peak_since(base);
    assert!(peak < MIB, "{peak}");
}

#[tokio::test(start_paused = true)]
async fn pings_without_end_that_nobody_wants_answered_cost_nothing() {
    let sent = Arc::<AtomicU64>::default();
    let count = Arc::clone(&sent);
    let pings = move |request: &Request| {
        let count = Arc::clone(&count);
        let ping = move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            [0x89, 0].repeat(100)
        };
        vec![
            Act::Send(shaken(request)),
            Act::Endless(PAUSE, Box::new(ping)),
        ]
    };
    let (rig, base) = flooded(Transport::WebSocket, false, |b| b, pings).await;
    until_sent(&rig, &sent, 1_000).await;
    let peak = peak_since(base);
    assert!(peak < 2 * MIB, "{peak}");
    assert_eq!(rig.shown(), rig.truth());
}

/// So many bytes like this, compressed to about a thousandth.
fn packed(byte: u8, bytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![byte; bytes]).unwrap();
    encoder.finish().unwrap()
}

/// The head of an endless answer that is compressed.
fn packed_head() -> Vec<u8> {
    let mut head = stream_head();
    head.truncate(head.len() - 2);
    head.extend(b"content-encoding: gzip\r\n\r\n");
    head
}

#[tokio::test(start_paused = true)]
async fn a_compressed_page_that_blows_up_is_a_page_that_is_too_long() {
    let bomb = packed(b' ', 4 * MIB);
    assert!(bomb.len() < 8 << 10, "{}", bomb.len());
    let (acts, sent) = again(packed_head(), chunk(&bomb));
    let server = Server::new();
    server.turn(move |_| acts());
    let source = source(Transport::JsonLines, &server).gzip(true);
    let base = begin();
    let mut rig = Rig::of(&server, source.build().unwrap(), |builder| builder);
    rig.failure(Malformed, "the answer has more than 1048576 bytes")
        .await;
    let peak = peak_since(base);
    // The limit, doubled while the buffer grows, and as much again for reading.
    assert!((MIB..4 * MIB).contains(&peak), "{peak}");
    assert!(sent.load(Ordering::Relaxed) < 200, "it was read on");
    rig.recovers().await;
}

#[tokio::test(start_paused = true)]
async fn a_compressed_stream_that_blows_up_is_given_up() {
    for (transport, words) in [
        (Transport::JsonLines, "a line without an end"),
        (Transport::ServerSentEvents, "an event without an end"),
    ] {
        let (acts, _) = again(packed_head(), chunk(packed(b'x', 4 * MIB)));
        let (mut rig, base) = flooded(transport, true, |b| b, move |_| acts()).await;
        rig.failure(Malformed, words).await;
        let peak = peak_since(base);
        assert!(peak < 2 * MIB, "{transport:?}: {peak}");
        assert_eq!(rig.shown(), rig.truth());
    }
}

#[tokio::test(start_paused = true)]
async fn compressed_signs_of_life_are_worked_off_in_parts() {
    let (acts, sent) = again(packed_head(), chunk(packed(b'\n', 64 << 10)));
    let (rig, base) = flooded(Transport::JsonLines, true, |b| b, move |_| acts()).await;
    until_sent(&rig, &sent, 100).await;
    let peak = peak_since(base);
    assert!(peak < 10 * MIB, "{peak}");
    assert_eq!(rig.shown(), rig.truth());
}

#[tokio::test(start_paused = true)]
async fn compressed_nothing_without_end_is_silence() {
    let nothing = chunk(packed(b' ', 0).repeat(10));
    let acts = move |_: &Request| {
        let nothing = nothing.clone();
        let next = Box::new(move |_| nothing.clone());
        let pause = Duration::from_millis(100);
        vec![Act::Send(packed_head()), Act::Endless(pause, next)]
    };
    let (mut rig, base) = flooded(Transport::JsonLines, true, |b| b, acts).await;
    rig.timed_out(TimerReason::Silence).await;
    let peak = peak_since(base);
    assert!(peak < 2 * MIB, "{peak}");
    assert_eq!(rig.shown(), rig.truth());
}

#[tokio::test(start_paused = true)]
async fn a_head_and_a_refusal_without_end_cost_no_more_than_their_limits() {
    let field = format!("x: {}\r\n", "y".repeat(1_000)).repeat(16);
    for (head, piece, class, words) in [
        ("HTTP/1.1 200 OK\r\n", field, Malformed, "no answer"),
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            "blah ".repeat(4_000),
            FailureClass::Denied,
            "403 Forbidden: blah",
        ),
        (
            "HTTP/1.1 302 Found\r\nlocation: /round?hop=1\r\n\r\n",
            "blah ".repeat(4_000),
            FailureClass::Unexpected,
            "redirected once more",
        ),
    ] {
        let (acts, _) = again(head.into(), piece.into());
        let server = Server::new();
        server.turn(move |_| acts());
        let source = source(Transport::JsonLines, &server);
        let base = begin();
        let mut rig = Rig::of(&server, source.build().unwrap(), |builder| builder);
        rig.failure(class, words).await;
        let peak = peak_since(base);
        assert!(peak < MIB, "{words}: {peak}");
        rig.recovers().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_drips_is_given_up_at_its_deadline_and_costs_nothing() {
    for (phase, drop, reason) in [
        (Phase::FirstList, " ", TimerReason::ListDeadline),
        (Phase::Lines, "{", TimerReason::Silence),
    ] {
        let base = begin();
        let drip = move |_: &Request| {
            vec![
                Act::Send(stream_head()),
                Act::Endless(Duration::from_secs(1), Box::new(move |_| chunk(drop))),
            ]
        };
        let mut rig = Rig::at(phase, drip).await;
        rig.timed_out(reason).await;
        let peak = peak_since(base);
        assert!(peak < MIB, "{phase:?}: {peak}");
        rig.recovers().await;
    }
}

/// Events from a revision on, one transaction each, of keys and values as `content` says.
fn events(
    content: impl Fn(u64) -> (String, String) + Clone + Send + Sync + 'static,
) -> impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static {
    move |request| {
        let from = request.query("from").unwrap();
        let from: u64 = from.parse().unwrap();
        let content = content.clone();
        let event = move |n: u64| {
            let (before, at) = (from + n, from + n + 1);
            let (key, value) = content(at);
            let event = json!({"type": "MODIFIED", "revision": at.to_string(),
                "previous": before.to_string(), "key": key, "version": at.to_string(),
                "value": value, "last": true});
            chunk(format!("{event}\n"))
        };
        vec![
            Act::Send(stream_head()),
            Act::Endless(PAUSE, Box::new(event)),
        ]
    }
}

#[tokio::test(start_paused = true)]
async fn new_keys_without_end_cost_no_more_than_the_limit() {
    let watch = events(|at| (format!("key-{at}"), "v".repeat(1_000)));
    let limited = |builder: Following| builder.limits(|limits| limits.bytes = 2 * MIB);
    let (mut rig, base) = flooded(Transport::JsonLines, false, limited, watch).await;
    rig.says(&Notice::Frozen {
        limit: LimitKind::Bytes,
    })
    .await;
    rig.run(Duration::from_secs(600)).await;
    let peak = peak_since(base);
    // The engine, the values as they are decoded, and the copy that readers read.
    assert!((MIB..8 * MIB).contains(&peak), "{peak}");
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_reads_no_more_costs_no_more_than_its_limit() {
    const KEYS: u64 = 300;
    let value = "v".repeat(10_000);
    let watch = events(move |at| (format!("key-{}", at % KEYS), format!("{at} {value}")));
    let limited = |builder: Following| builder.limits(|limits| limits.retained_bytes = MIB);
    let (mut rig, base) = flooded(Transport::JsonLines, false, limited, watch).await;
    let mut idle = rig.informer.subscribe();
    while rig.informer.health().objects < 300 {
        idle.next().await.unwrap();
    }
    rig.notice(|notice| matches!(notice, Notice::SubscriberReset { .. }).then_some(()))
        .await;
    rig.run(Duration::from_secs(5)).await;
    let peak = peak_since(base);
    // The objects, the limit, and about as much for what is on its way.
    assert!((3 * MIB..6 * MIB).contains(&peak), "{peak}");
    let again = idle.next().await.unwrap();
    assert!(matches!(again.deltas[0], Delta::Reset), "{:?}", again.mark);
}
