//! Server-sent events: the decoder beside a naive one, and a source that follows by them.

use std::time::Duration;

use proptest::prelude::*;
use reflet_core::FailureClass;
use serde_json::Value;

use super::rig::{Reply, Server, cut_stream, stream, watch};
use super::watch::{EVENTS, heard};
use crate::http::sse::{Decoder, Event, Item};
use crate::http::{HttpLimits, HttpSource, Transport};
use reflet_core::wire::parts::Endless;

const LIMIT: usize = 64;

/// What a decoder makes of chunks, without the signs of life.
fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Vec<Item> {
    let mut decoder = Decoder::new(limit);
    let mut items = Vec::new();
    for chunk in chunks {
        decoder.push(chunk, &mut items).unwrap();
    }
    items.retain(|item| *item != Item::Nothing);
    items
}

fn event(name: Option<&str>, data: &str, id: Option<&str>) -> Item {
    Item::Event(Event {
        name: name.map(Into::into),
        data: data.to_owned().into(),
        id: id.map(Into::into),
    })
}

#[test]
fn the_standard_s_rules_hold() {
    let retry = |millis| Item::Retry(Duration::from_millis(millis));
    let cases: [(&str, Vec<Item>); 17] = [
        ("data: a\n\n", vec![event(None, "a", None)]),
        (
            "data:a\r\rdata: b\r\n\r\n",
            vec![event(None, "a", None), event(None, "b", None)],
        ),
        ("\u{feff}data: a\n\n", vec![event(None, "a", None)]),
        ("data: a\n\u{feff}data: b\n\n", vec![event(None, "a", None)]),
        (
            "data: a\ndata: b\ndata\n\n",
            vec![event(None, "a\nb\n", None)],
        ),
        ("data\n\n", vec![event(None, "", None)]),
        ("data:  a \n\n", vec![event(None, " a ", None)]),
        (": said\ndata: a\n:\n\n", vec![event(None, "a", None)]),
        (
            "event: add\ndata: a\n\ndata: b\n\n",
            vec![event(Some("add"), "a", None), event(None, "b", None)],
        ),
        ("event: add\n\ndata: b\n\n", vec![event(None, "b", None)]),
        ("event: message\ndata: a\n\n", vec![event(None, "a", None)]),
        (
            "id: 1\ndata: a\n\ndata: b\n\n",
            vec![event(None, "a", Some("1")), event(None, "b", None)],
        ),
        (
            "id: 1\n\nid: 2\nid\0: 3\nid: 3\0\ndata: b\n\n",
            vec![event(None, "b", Some("2"))],
        ),
        (
            "id: 1\ndata: a\n\nid: 2\nid\ndata: b\n\n",
            vec![event(None, "a", Some("1")), event(None, "b", None)],
        ),
        (
            "retry: 10\nretry: 1x\nretry:\nretry: -1\n\n",
            vec![retry(10)],
        ),
        ("retry: 99999999999999999999\n\n", vec![retry(u64::MAX)]),
        ("data: a", vec![]),
    ];
    for (text, items) in cases {
        assert_eq!(decode([text.as_bytes()], LIMIT), items, "{text:?}");
        let singly = text.as_bytes().chunks(1);
        assert_eq!(decode(singly, LIMIT), items, "{text:?}, byte by byte");
    }
}

#[test]
fn an_event_over_the_limit_is_skipped_and_takes_no_memory() {
    let long = "x".repeat(LIMIT);
    let text = format!("data: a\n\ndata: {long}\ndata: more\n\ndata: b\n\n");
    let dropped = Item::TooLong("data: ".len() + LIMIT + "data: more".len());
    let items = [event(None, "a", None), dropped, event(None, "b", None)];
    assert_eq!(decode([text.as_bytes()], LIMIT), items);
    assert_eq!(decode(text.as_bytes().chunks(1), LIMIT), items);

    let many = format!("{}\n", "data: xx\n".repeat(20));
    assert_eq!(decode([many.as_bytes()], LIMIT), [Item::TooLong(160)]);
}

#[test]
fn what_never_ends_is_given_up() {
    for endless in ["data: xxxxxxxx", ":xxxxxx", "data: x\n", "id: x\n", "x\n"] {
        let mut decoder = Decoder::new(LIMIT);
        let mut items = Vec::new();
        let mut pushed = 0;
        let Err(Endless { bytes }) = (loop {
            pushed += endless.len();
            let outcome = decoder.push(endless.as_bytes(), &mut items);
            assert!(pushed < 100 * LIMIT, "{endless:?} goes on for ever");
            if outcome.is_err() {
                break outcome;
            }
        }) else {
            unreachable!();
        };
        assert!((8 * LIMIT..9 * LIMIT).contains(&bytes), "{bytes}");
    }
}

/// The standard, word by word, over the whole stream at once.
fn naive(bytes: &[u8]) -> Vec<Item> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let latin: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let text = latin.replace("\r\n", "\n").replace('\r', "\n");
    let mut items = Vec::new();
    let (mut data, mut name, mut id) = (String::new(), String::new(), String::new());
    let back = |latin: &str| latin.chars().map(|c| c as u8).collect::<Vec<u8>>();
    let lossy = |latin: &str| String::from_utf8_lossy(&back(latin)).into_owned();
    let Some((lines, _unfinished)) = text.rsplit_once('\n') else {
        return items;
    };
    for line in lines.split('\n') {
        if line.is_empty() {
            if !data.is_empty() {
                data.pop();
                items.push(Item::Event(Event {
                    name: Some(lossy(&name))
                        .filter(|name| !name.is_empty() && name != "message")
                        .map(Into::into),
                    data: back(&data).into(),
                    id: Some(lossy(&id)).filter(|id| !id.is_empty()).map(Into::into),
                }));
            }
            (data, name, id) = Default::default();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => data += &format!("{value}\n"),
            "event" => name = value.to_owned(),
            "id" if !value.contains('\0') => id = value.to_owned(),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                let wait = value.parse().unwrap_or(u64::MAX);
                items.push(Item::Retry(Duration::from_millis(wait)));
            }
            _ => {}
        }
    }
    items
}

fn scraps() -> impl Strategy<Value = Vec<u8>> {
    let scraps = [
        "data: ", "data:", "event: ", "id: ", "retry: ", "\n", "\r", "\r\n", "\n\n", ":", " ", "7",
        "x", "\0", "\u{feff}",
    ];
    let scraps: Vec<&[u8]> = scraps
        .map(str::as_bytes)
        .into_iter()
        .chain([&b"\xff"[..]])
        .collect();
    let scrap = prop::sample::select(scraps);
    prop::collection::vec(scrap, 0..60).prop_map(|scraps| scraps.concat())
}

proptest! {
    #[test]
    fn however_it_is_cut_it_says_what_the_standard_says(
        stream in scraps(),
        cuts in prop::collection::vec(1..7usize, 1..20),
    ) {
        let mut chunks = Vec::new();
        let mut rest = &stream[..];
        for size in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at(rest.len().min(*size));
            chunks.push(chunk);
            rest = after;
        }
        prop_assert_eq!(decode(chunks, 1 << 20), naive(&stream));
    }

    #[test]
    fn a_limit_costs_only_what_is_over_it(stream in scraps(), limit in 1..40usize) {
        let mut decoder = Decoder::new(limit);
        let mut items = Vec::new();
        let whole = decoder.push(&stream, &mut items);
        let mut singly = Decoder::new(limit);
        let mut pieces = Vec::new();
        let parts = stream.iter().try_for_each(|byte| singly.push(&[*byte], &mut pieces));
        prop_assert_eq!(whole.is_ok(), parts.is_ok());
        prop_assert_eq!(&items, &pieces);
        for item in items {
            if let Item::Event(event) = item {
                prop_assert!(event.data.len() <= limit);
            }
        }
    }
}

/// Lines as server-sent events.
fn server_sent(lines: &str) -> String {
    let event = |line: &str| match line {
        "" => ": alive\n\n".to_owned(),
        line => format!("data: {line}\n\n"),
    };
    lines.lines().map(event).collect()
}

fn answered(mut reply: Reply) -> Server {
    let head = String::from_utf8(reply.bytes).unwrap();
    reply.bytes = head.replacen("x-ndjson", "event-stream", 1).into_bytes();
    Server::new(vec![reply])
}

fn source(server: &Server) -> HttpSource<Value> {
    let limits = HttpLimits {
        line_bytes: 1_000,
        ..HttpLimits::default()
    };
    let builder = server.builder().limits(limits);
    builder
        .transport(Transport::ServerSentEvents)
        .build()
        .unwrap()
}

#[tokio::test]
async fn events_bookmarks_and_heartbeats_are_handed_over_in_order() {
    let text = server_sent(EVENTS);
    for size in [1, 7, text.len()] {
        let server = answered(stream(text.as_bytes().chunks(size)));
        let (said, outcome) = watch(&source(&server)).await;
        assert_eq!(outcome, Ok(()));
        assert_eq!(said, heard());
        assert_eq!(
            server.paths(),
            ["/base/v1/things?watch=sse&from=12&epoch=e1"]
        );
        assert!(server.heads()[0].contains("accept: text/event-stream"));
    }
}

#[tokio::test]
async fn an_event_may_have_several_lines_and_one_with_a_name_is_not_ours() {
    let text =
        "event: later\ndata: {\n\ndata: {\"type\":\"BOOKMARK\",\ndata: \"revision\":\"20\"}\n\n";
    let server = answered(stream([text]));
    let (said, outcome) = watch(&source(&server)).await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(said, ["opened e1", "heartbeat", "progress 20"]);
}

#[tokio::test]
async fn an_event_that_is_cut_is_discarded_and_no_clean_close() {
    let text = server_sent(EVENTS);
    for rest in ["data: {\"type\":\"BOOKMARK\",\"revision\":\"21\"}\n", "dat"] {
        let chunks = [text.as_str(), rest];
        for reply in [stream(chunks), cut_stream(chunks)] {
            let (said, outcome) = watch(&source(&answered(reply))).await;
            let failure = outcome.unwrap_err();
            assert_eq!(failure.class, FailureClass::Retryable);
            assert!(failure.message.contains("in mid-event"), "{failure}");
            assert_eq!(said, heard());
        }
    }
}

#[tokio::test]
async fn an_event_over_the_limit_is_reported_and_an_endless_one_ends_the_stream() {
    let long = format!("data: {}\n\n", "x".repeat(2_000));
    let server = answered(stream([&long, &server_sent(EVENTS)]));
    let (said, outcome) = watch(&source(&server)).await;
    assert_eq!(outcome, Ok(()));
    let skipped = "undecodable event 1: 2006 bytes are more than the limit";
    assert_eq!(said[..2], ["opened e1", skipped]);
    assert_eq!(said[2..], heard()[1..]);

    let server = answered(stream([format!("data: {}", "x".repeat(20_000))]));
    let (_, outcome) = watch(&source(&server)).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.class, FailureClass::Malformed);
    assert!(
        failure.message.contains("an event without an end"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_server_s_retry_is_the_least_pause_whatever_ends_the_stream() {
    let pause = Some(Duration::from_secs(3));
    let gone = "data: {\"type\":\"ERROR\",\"status\":410}\n\n";
    let cases = [
        (stream(["retry: 3000\n\n"]), FailureClass::Retryable),
        (stream(["retry: 3000\n\n", gone]), FailureClass::Gone),
        (
            cut_stream(["retry: 1\nretry: 3000\n\n"]),
            FailureClass::Retryable,
        ),
    ];
    for (reply, class) in cases {
        let (_, outcome) = watch(&source(&answered(reply))).await;
        let failure = outcome.unwrap_err();
        assert_eq!((failure.class, failure.retry_after), (class, pause));
    }
    let (_, outcome) = watch(&source(&answered(stream(["retry: 0\n\n"])))).await;
    assert_eq!(outcome, Ok(()));
    // What comes after the end is not heard, whether it has been read by then or not.
    let late = format!("{gone}retry: 3000\n\n");
    for size in [1, late.len()] {
        let server = answered(stream(late.as_bytes().chunks(size)));
        let failure = watch(&source(&server)).await.1.unwrap_err();
        assert_eq!(
            (failure.class, failure.retry_after),
            (FailureClass::Gone, None)
        );
    }
}

#[tokio::test]
async fn another_content_is_not_read() {
    let server = Server::new(vec![stream([EVENTS])]);
    let (said, outcome) = watch(&source(&server)).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.class, FailureClass::Malformed);
    assert!(failure.message.contains("not event-stream"), "{failure}");
    assert!(said.is_empty());
}
