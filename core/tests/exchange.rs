//! Requests and answers of the protocol without I/O: whatever comes from a connection, however it is
//! cut, becomes the state that it says, or a failure of the right kind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::sync::Arc;

use proptest::prelude::*;
use reflet_core::wire::{Endpoint, EndpointError, Exchange, Next, WireLimits, json};
use reflet_core::{
    Attempt, Command, Config, FailureClass, Informer, Notice, State, TimerReason, Timestamp,
};

type Routes = Informer<Arc<str>, Arc<str>>;

const PAGE: &str = r#"{"revision":"7","epoch":"e","items":[
{"key":"a","version":"5","uid":"5","value":"one"},{"key":"b","version":"7","uid":"7","value":"two"}]}"#;
const EVENTS: &str = r#"{"type":"MODIFIED","revision":"8","previous":"7","key":"a","version":"8","uid":"5","value":"three","last":true}

{"type":"DELETED","revision":"9","previous":"8","key":"b","version":"9","uid":"7","last":true}
{"type":"BOOKMARK","revision":"12"}
"#;

/// An informer and the exchange that it wants next.
struct Rig {
    endpoint: Endpoint,
    routes: Routes,
    now: Timestamp,
}

impl Rig {
    fn new() -> Self {
        Self::with(WireLimits::default())
    }

    fn with(limits: WireLimits) -> Self {
        let endpoint = Endpoint::new("server:80", "routes").unwrap().limits(limits);
        let now = Timestamp::ZERO;
        let routes = Routes::new(endpoint.config(), 42, now);
        Self {
            endpoint,
            routes,
            now,
        }
    }

    /// The next request, as soon as the engine wants one.
    fn next(&mut self) -> Exchange {
        loop {
            while let Some(command) = self.routes.poll_command() {
                if let Some(exchange) = Exchange::new(&self.endpoint, &command) {
                    return exchange;
                }
            }
            self.now = self.routes.poll_timeout().unwrap().at;
            self.routes.handle_timeout(self.now);
        }
    }

    fn read(&mut self, exchange: &mut Exchange, bytes: &[u8]) -> Next {
        exchange.read(&mut self.routes, self.now, bytes, &json)
    }

    fn closed(&mut self, exchange: &mut Exchange) -> Next {
        exchange.closed(&mut self.routes, self.now, &json)
    }

    /// A list and its answer, of a page in one piece.
    fn listed() -> Self {
        let mut rig = Self::new();
        let mut list = rig.next();
        let next = rig.read(&mut list, &sized("application/json", PAGE));
        assert_eq!(next, Next::Done { keep: true });
        rig
    }

    fn content(&self) -> Vec<(String, String)> {
        let objects = self.routes.cache().iter();
        let objects = objects.map(|entry| (entry.key.to_string(), entry.value.to_string()));
        let mut objects: Vec<_> = objects.collect();
        objects.sort();
        objects
    }

    fn revision(&self) -> Option<u64> {
        self.routes.cache().revision().and_then(|at| at.as_u64())
    }

    /// The failure of the last attempt.
    fn failure(&self) -> (FailureClass, String) {
        let error = self.routes.health().last_error.unwrap();
        (error.1.class, error.1.message.into())
    }
}

fn sized(content: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: {content}\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// The body in chunks of so many bytes.
fn chunked(content: &str, body: &str, size: usize) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {content}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut answer = head.into_bytes();
    for chunk in body.as_bytes().chunks(size) {
        answer.extend(format!("{:x};ext=1\r\n", chunk.len()).into_bytes());
        answer.extend(chunk);
        answer.extend(b"\r\n");
    }
    answer.extend(b"0\r\ntrailer: x\r\n\r\n");
    answer
}

fn expected(objects: &[(&str, &str)]) -> Vec<(String, String)> {
    let objects = objects.iter();
    objects
        .map(|(key, value)| ((*key).to_owned(), format!("{value:?}")))
        .collect()
}

#[test]
fn a_list_and_a_watch_become_the_state_that_they_say() {
    let mut rig = Rig::listed();
    assert_eq!(rig.content(), expected(&[("a", "one"), ("b", "two")]));
    let mut watch = rig.next();
    let asked = String::from_utf8(watch.request().to_vec()).unwrap();
    assert!(
        asked.starts_with(
            "GET /v1/routes?watch=jsonl&from=7&epoch=e HTTP/1.1\r\nhost: server:80\r\n"
        ),
        "{asked}"
    );
    assert!(asked.ends_with("\r\n\r\n"), "{asked}");
    let answer = chunked("application/x-ndjson", EVENTS, 1 << 20);
    // The stream goes on: the last chunk does not come.
    let open = answer.strip_suffix(b"0\r\ntrailer: x\r\n\r\n").unwrap();
    assert_eq!(rig.read(&mut watch, open), Next::More);
    assert_eq!(rig.content(), expected(&[("a", "three")]));
    assert_eq!(rig.revision(), Some(12));
    assert_eq!(rig.routes.health().state, State::Live);
}

#[test]
fn pages_follow_each_other_in_one_attempt() {
    let mut rig = Rig::new();
    let mut first = rig.next();
    let body =
        r#"{"revision":"7","items":[{"key":"a","version":"5","value":"one"}],"continue":"7.x"}"#;
    let next = rig.read(&mut first, &sized("application/json", body));
    assert_eq!(next, Next::Done { keep: true });
    let mut second = rig.next();
    assert_eq!(second.attempt(), first.attempt());
    let asked = String::from_utf8(second.request().to_vec()).unwrap();
    assert!(asked.contains("&continue=7.x "), "{asked}");
    // What is said of the first one's connection is nothing to the second.
    assert_eq!(rig.closed(&mut first), Next::Done { keep: false });
    let words = first.failed(&mut rig.routes, rig.now, "reset");
    assert_eq!(words, Next::Done { keep: false });
    let body = r#"{"revision":"7","items":[{"key":"b","version":"6","value":"two"}]}"#;
    let _ = rig.read(&mut second, &sized("application/json", body));
    assert_eq!(rig.content(), expected(&[("a", "one"), ("b", "two")]));
    assert_eq!(rig.routes.health().last_error, None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn how_an_answer_is_cut_changes_nothing(
        size in 1_usize..200,
        cuts in prop::collection::vec(0_usize..700, 0..12),
        until_closed in any::<bool>(),
    ) {
        let mut rig = Rig::new();
        for (content, body) in [("application/json", PAGE), ("application/x-ndjson", EVENTS)] {
            let answer = if until_closed {
                format!("HTTP/1.1 200 OK\r\ncontent-type: {content}\r\n\r\n{body}").into_bytes()
            } else {
                chunked(content, body, size)
            };
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (answer.len() + 1)).collect();
            cuts.extend([0, answer.len()]);
            cuts.sort_unstable();
            cuts.dedup();
            let mut exchange = rig.next();
            let mut last = Next::More;
            for part in cuts.windows(2) {
                prop_assert_eq!(last, Next::More);
                last = rig.read(&mut exchange, &answer[part[0]..part[1]]);
            }
            if until_closed {
                prop_assert_eq!(last, Next::More);
                last = rig.closed(&mut exchange);
            }
            prop_assert_eq!(last, Next::Done { keep: !until_closed });
        }
        prop_assert_eq!(rig.content(), expected(&[("a", "three")]));
        prop_assert_eq!(rig.revision(), Some(12));
        prop_assert_eq!(rig.routes.health().last_error, None);
    }

    #[test]
    fn no_bytes_make_it_panic_or_believe_in_more_than_was_said(
        head in prop::sample::select(vec![
            "", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n", "HTTP/1.1 410 Gone\r\n\r\n",
        ]),
        tail in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut rig = Rig::new();
        let mut list = rig.next();
        let answer = [head.as_bytes(), &tail].concat();
        if rig.read(&mut list, &answer) == Next::More {
            let _ = rig.closed(&mut list);
        }
        prop_assert!(rig.content().is_empty());
        prop_assert_eq!(rig.routes.health().state, State::Syncing);
        prop_assert!(rig.routes.health().last_error.is_some());
    }
}

/// What an answer to a list means.
fn judged(answer: &[u8]) -> (FailureClass, String) {
    let mut rig = Rig::new();
    let mut list = rig.next();
    if rig.read(&mut list, answer) == Next::More {
        assert_eq!(rig.closed(&mut list), Next::Done { keep: false });
    }
    rig.failure()
}

#[test]
fn an_answer_that_is_not_the_protocol_says_so() {
    let ok = "HTTP/1.1 200 OK\r\n";
    for (answer, words) in [
        (
            "SSH-2.0-OpenSSH_9\r\n\r\n".to_owned(),
            "the answer is not HTTP",
        ),
        (
            format!("{ok}content-length: 5\r\ncontent-length: 6\r\n\r\nhello"),
            "no number",
        ),
        (format!("{ok}content-length: +5\r\n\r\nhello"), "no number"),
        (
            format!("{ok}content-length: 18446744073709551616\r\n\r\n"),
            "no number",
        ),
        (
            format!("{ok}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n"),
            "two lengths",
        ),
        (
            format!("{ok}transfer-encoding: gzip, chunked\r\n\r\n"),
            "transfer encoding",
        ),
        (
            format!("{ok}content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{{}}"),
            "content encoding",
        ),
        (
            format!("{ok}content-type: text/html\r\ncontent-length: 2\r\n\r\n{{}}"),
            "text/html, not JSON",
        ),
        (
            format!("{ok}transfer-encoding: chunked\r\n\r\nzz\r\n"),
            "not the size of a chunk",
        ),
        (
            format!("{ok}transfer-encoding: chunked\r\n\r\n\r\n\r\n"),
            "not the size of a chunk",
        ),
        (
            format!("{ok}transfer-encoding: chunked\r\n\r\n ;x=y\r\n\r\n"),
            "not the size of a chunk",
        ),
        (
            format!("{ok}transfer-encoding: chunked\r\n\r\n3\r\nabcdef\r\n"),
            "longer than it says",
        ),
        (
            format!(
                "{ok}transfer-encoding: chunked\r\n\r\n{}",
                "1".repeat(2_000)
            ),
            "too long",
        ),
        (
            format!("{ok}content-length: 2\r\n\r\n{{}}"),
            "the page: missing field",
        ),
        (
            format!(
                "{ok}x-reflet-epoch: f\r\ncontent-length: {}\r\n\r\n{PAGE}",
                PAGE.len()
            ),
            "epoch",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(),
            "upgraded unasked",
        ),
        (
            format!("{ok}x: {}\r\n\r\n", "y".repeat(70_000)),
            "more than 65536 bytes",
        ),
    ] {
        let (class, message) = judged(answer.as_bytes());
        let shown = answer.get(..80).unwrap_or(&answer);
        assert_eq!(class, FailureClass::Malformed, "{shown:?}: {message}");
        assert!(message.contains(words), "{shown:?}: {message}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_worth_another_try() {
    let page = sized("application/json", PAGE);
    for cut in [0, 10, page.len() - 1] {
        let (class, message) = judged(&page[..cut]);
        assert_eq!(class, FailureClass::Retryable, "{cut}: {message}");
    }
    let mut rig = Rig::listed();
    let mut watch = rig.next();
    let begun = chunked("application/x-ndjson", r#"{"type":"#, 100);
    let begun = begun.strip_suffix(b"0\r\ntrailer: x\r\n\r\n").unwrap();
    assert_eq!(rig.read(&mut watch, begun), Next::More);
    assert_eq!(rig.closed(&mut watch), Next::Done { keep: false });
    assert_eq!(rig.failure().0, FailureClass::Retryable);
    assert_eq!(rig.content(), expected(&[("a", "one"), ("b", "two")]));
}

#[test]
fn refusals_mean_what_their_status_and_reason_say() {
    let gone = r#"{"status":410,"reason":"Gone","message":"the history begins after 40"}"#;
    let behind = r#"{"status":412,"reason":"Behind","message":"7 is not there yet"}"#;
    for (status, body, class) in [
        ("410 Gone", gone, FailureClass::Gone),
        ("412 Precondition Failed", behind, FailureClass::Behind),
        ("401 Unauthorized", "", FailureClass::Denied),
        ("404 Not Found", "", FailureClass::NotFound),
        ("503 Service Unavailable", "", FailureClass::Retryable),
        (
            "302 Found\r\nlocation: http://elsewhere/",
            "",
            FailureClass::Unexpected,
        ),
    ] {
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let (found, message) = judged(answer.as_bytes());
        assert_eq!(found, class, "{status}: {message}");
        if status.starts_with("302") {
            assert!(message.contains("http://elsewhere/"), "{message}");
        }
    }
    // Its words may break off, or never end, or be no words.
    let broken = format!("HTTP/1.1 410 Gone\r\ncontent-length: 90\r\n\r\n{gone}");
    assert_eq!(judged(&broken.as_bytes()[..60]).0, FailureClass::Gone);
    let endless = format!("HTTP/1.1 410 Gone\r\n\r\n{}", "x".repeat(10_000));
    assert_eq!(judged(endless.as_bytes()).0, FailureClass::Gone);
    for rest in [
        "transfer-encoding: chunked\r\n\r\nzz\r\n",
        "content-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x7f",
    ] {
        let (class, message) = judged(format!("HTTP/1.1 410 Gone\r\n{rest}").as_bytes());
        assert_eq!((class, &*message), (FailureClass::Gone, "410 Gone"));
    }
    let strange = b"HTTP/1.1 410 Gone\r\ncontent-type: \xff\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(judged(strange).0, FailureClass::Gone);
}

#[test]
fn a_server_cannot_write_lines_of_its_own_into_a_log() {
    let words = r#"{"reason":"x\ny","message":"bad\r\nERROR all is lost\u001b[31m"}"#;
    let shown = r"bad\r\nERROR all is lost\u{1b}[31m";
    let length = words.len();
    let answer = format!("HTTP/1.1 503 x\r\ncontent-length: {length}\r\n\r\n{words}");
    let whole = format!(r"503 Service Unavailable (x\ny): {shown}");
    assert_eq!(judged(answer.as_bytes()).1, whole);

    let mut rig = Rig::listed();
    let mut watch = rig.next();
    let event = words.replace("\"reason\"", "\"type\":\"ERROR\",\"reason\"");
    let answer = chunked("application/x-ndjson", &format!("{event}\n"), 1 << 10);
    let _ = rig.read(&mut watch, &answer);
    assert_eq!(
        rig.failure().1,
        format!("an error without a status: {shown}")
    );
}

#[test]
fn a_connection_that_fails_takes_nothing_from_a_refusal() {
    let mut rig = Rig::listed();
    let mut watch = rig.next();
    let head = b"HTTP/1.1 410 Gone\r\ncontent-length: 90\r\n\r\nthe history";
    assert_eq!(rig.read(&mut watch, head), Next::More);
    let end = watch.failed(&mut rig.routes, rig.now, "connection reset by peer");
    assert_eq!(end, Next::Done { keep: false });
    let (class, message) = rig.failure();
    assert_eq!(
        (class, &*message),
        (FailureClass::Gone, "410 Gone: the history")
    );
}

#[test]
fn a_stream_without_its_last_chunk_has_not_ended() {
    let mut rig = Rig::listed();
    let mut watch = rig.next();
    let answer = chunked("application/x-ndjson", EVENTS, 1 << 20);
    let open = answer.strip_suffix(b"0\r\ntrailer: x\r\n\r\n").unwrap();
    assert_eq!(rig.read(&mut watch, open), Next::More);
    assert_eq!(
        rig.read(&mut watch, b"\r\n\r\n"),
        Next::Done { keep: false }
    );
    assert_eq!(rig.failure().0, FailureClass::Malformed);
}

#[test]
fn a_trailer_may_be_as_long_as_a_header() {
    for (length, taken) in [(60_000, true), (70_000, false)] {
        let mut rig = Rig::new();
        let mut list = rig.next();
        let answer = chunked("application/json", PAGE, 100);
        let body = answer.strip_suffix(b"trailer: x\r\n\r\n").unwrap();
        let trailer = format!("x: {}\r\n\r\n", "y".repeat(length));
        let _ = rig.read(&mut list, &[body, trailer.as_bytes()].concat());
        assert_eq!(!rig.content().is_empty(), taken, "{length}");
    }
}

#[test]
fn a_wait_that_is_asked_for_is_kept() {
    for wait in [
        "retry-after: 40",
        "retry-after: Tue, 01 Mar 1994 00:00:17 GMT\r\ndate: Mon, 28 Feb 1994 23:59:37 GMT",
    ] {
        let mut rig = Rig::new();
        let mut list = rig.next();
        let answer = format!("HTTP/1.1 503 x\r\n{wait}\r\ncontent-length: 0\r\n\r\n");
        let next = rig.read(&mut list, answer.as_bytes());
        assert_eq!(next, Next::Done { keep: false });
        let due = rig.routes.poll_timeout().unwrap();
        assert_eq!(due.reason, TimerReason::RetryAfter, "{wait}");
        assert!(due.at.as_nanos() >= 40_000_000_000, "{wait}: {due:?}");
    }
}

#[test]
fn limits_are_kept() {
    let limits = WireLimits {
        page_bytes: 100,
        line_bytes: 150,
        header_bytes: 200,
    };
    let mut rig = Rig::with(limits);
    let mut list = rig.next();
    let _ = rig.read(&mut list, &sized("application/json", PAGE));
    assert!(
        rig.failure().1.contains("more than 100 bytes"),
        "{:?}",
        rig.failure()
    );

    let mut list = rig.next();
    let _ = rig.read(
        &mut list,
        &sized("application/json", r#"{"revision":"7","items":[]}"#),
    );
    let mut watch = rig.next();
    let long = format!(
        "{{\"type\":\"ADDED\",\"revision\":\"8\",\"key\":\"a\",\"version\":\"8\",\"value\":\"{}\",\"last\":true}}\n",
        "x".repeat(200)
    );
    let _ = rig.read(&mut watch, &chunked("application/x-ndjson", &long, 50));
    let mut rejected = 0;
    while let Some(notice) = rig.routes.poll_notice() {
        rejected += usize::from(matches!(notice, Notice::UnknownRejected { .. }));
    }
    assert_eq!(rejected, 1);
}

#[test]
fn an_endpoint_that_cannot_be_is_refused() {
    let new = |authority, collection| Endpoint::new(authority, collection).unwrap_err();
    for authority in ["", "a b", "a/b", "user@host", "host\r\nx: y"] {
        assert!(matches!(
            new(authority, "routes"),
            EndpointError::InvalidAuthority(_)
        ));
    }
    for collection in ["", ".", ".."] {
        assert!(matches!(
            new("host", collection),
            EndpointError::InvalidCollection(_)
        ));
    }
    let good = || Endpoint::new("[::1]:80", "a/b").unwrap();
    for prefix in ["", "/", "x", "/x/", "/x y", "/x?y", "/x\r\n"] {
        assert!(good().below(prefix).is_err(), "{prefix:?}");
    }
    for (name, value) in [
        ("", "x"),
        ("a b", "x"),
        ("a", "x\r\ny"),
        ("host", "x"),
        ("TE", "x"),
    ] {
        assert!(good().header(name, value).is_err(), "{name:?}");
    }
    let endpoint = good().below("/config").unwrap();
    let endpoint = endpoint.header("authorization", "Bearer hunter2").unwrap();
    assert!(!format!("{endpoint:?}").contains("hunter2"));
    let mut routes = Routes::new(Config::default(), 1, Timestamp::ZERO);
    let exchange = Exchange::new(&endpoint, &routes.poll_command().unwrap()).unwrap();
    assert!(!format!("{exchange:?}").contains("hunter2"));
    let asked = String::from_utf8(exchange.request().to_vec()).unwrap();
    assert!(
        asked.starts_with("GET /config/v1/a%2Fb?limit=500 HTTP/1.1\r\nhost: [::1]:80\r\n"),
        "{asked}"
    );
    assert!(
        asked.contains("\r\nauthorization: Bearer hunter2\r\n\r\n"),
        "{asked}"
    );
}

#[test]
fn what_a_server_repeats_of_our_secrets_is_told_nobody() {
    let endpoint = Endpoint::new("host", "routes").unwrap();
    let endpoint = endpoint.header("Authorization", "Bearer hunter2").unwrap();
    let endpoint = endpoint.header("x-client", "gateway").unwrap();
    let endpoint = endpoint.secret_header("x-key", "s3cr3t").unwrap();
    let mut routes = Routes::new(endpoint.config(), 1, Timestamp::ZERO);
    let mut list = Exchange::new(&endpoint, &routes.poll_command().unwrap()).unwrap();
    let answer = b"HTTP/1.1 502 x\r\n\r\nfrom gateway: Bearer hunter2, x-key: s3cr3t, and hunt";
    let _ = list.read(&mut routes, Timestamp::ZERO, answer, &json);
    let _ = list.closed(&mut routes, Timestamp::ZERO, &json);
    let (_, failure) = routes.health().last_error.unwrap();
    let shown = "from gateway: Bearer [hidden], x-key: [hidden], and [hidden]";
    assert!(failure.message.ends_with(shown), "{failure}");
}

#[test]
fn secrets_are_hidden_wherever_a_server_repeats_them() {
    let secret = "HunTer2\"\\x";
    for (head, body) in [
        (format!("content-type: Bearer {secret}"), String::new()),
        ("transfer-encoding: chunked".to_owned(), secret.to_owned()),
        (
            "content-type: application/json".to_owned(),
            format!(
                "{{\"revision\":{},\"items\":[]}}",
                serde_json::json!(secret)
            ),
        ),
    ] {
        let endpoint = Endpoint::new("host", "routes").unwrap();
        let endpoint = endpoint.header("authorization", &format!("Bearer {secret}"));
        let endpoint = endpoint.unwrap();
        let mut routes = Routes::new(endpoint.config(), 1, Timestamp::ZERO);
        let mut list = Exchange::new(&endpoint, &routes.poll_command().unwrap()).unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}\r\n");
        let _ = list.read(&mut routes, Timestamp::ZERO, answer.as_bytes(), &json);
        let _ = list.closed(&mut routes, Timestamp::ZERO, &json);
        let (_, failure) = routes.health().last_error.unwrap();
        assert!(failure.message.contains("[hidden]"), "{failure}");
        assert!(
            !failure.message.to_lowercase().contains("hunter2"),
            "{failure}"
        );
    }
}

#[test]
fn what_is_no_request_of_this_protocol_is_none() {
    let endpoint = Endpoint::new("host", "routes").unwrap();
    let mut routes = Routes::new(Config::default(), 1, Timestamp::ZERO);
    let Some(Command::List { attempt, .. }) = routes.poll_command() else {
        panic!("no list");
    };
    let _: Attempt = attempt;
    assert!(Exchange::new(&endpoint, &Command::Cancel { attempt }).is_none());
}
