use reflet_core::{FailureClass, WatchFrom};
use serde_json::Value;

use super::rig::{
    Handed, Recorder, Reply, Server, Then, cut_stream, request_head, stream, stream_head, watch,
    watch_request, without_heartbeats, write,
};
use crate::http::{HttpLimits, HttpSource};
use crate::source::{Source, WatchRequest};

pub(super) const EVENTS: &str = r#"{"type":"ADDED","revision":"13","previous":"12","key":"a","version":"13","uid":"13","value":{"x":1}}
{"type":"MODIFIED","revision":"13","previous":"12","key":"b\u0041","version":"13","value":2,"last":true}

{"type":"DELETED","revision":"14","previous":"13","key":"a","version":"14","value":{"x":1},"last":true}
{"type":"BOOKMARK","revision":"20","digest":"00000000000000ff"}
"#;

const HEARD: [&str; 9] = [
    "opened e1",
    r#"upsert a@13 12<13 Object {"x": Number(1)}"#,
    "upsert bA@13 12<13 Number(2)",
    "batch end 13",
    "heartbeat",
    r#"delete a 13<14 Some(Object {"x": Number(1)})"#,
    "batch end 14",
    "progress 20 ff",
    "",
];

pub(super) fn heard() -> &'static [&'static str] {
    &HEARD[..8]
}

#[tokio::test]
async fn events_bookmarks_and_heartbeats_are_handed_over_in_order() {
    let server = Server::new(vec![stream([EVENTS])]);
    let (said, outcome) = watch(&server.source()).await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(said, heard());
    assert_eq!(
        server.paths(),
        ["/base/v1/things?watch=jsonl&from=12&epoch=e1"]
    );
}

#[tokio::test]
async fn bytes_that_come_one_by_one_make_the_same_events() {
    let lines = EVENTS.replace('\n', "\r\n");
    let chunks = lines.as_bytes().chunks(1);
    let server = Server::with_pipe(vec![stream(chunks)], 1);
    let (said, outcome) = watch(&server.source()).await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(said, heard());
}

#[tokio::test]
async fn a_line_that_is_cut_is_discarded_and_no_clean_close() {
    let chunks = [EVENTS, r#"{"type":"DELETED","rev"#];
    for reply in [stream(chunks), cut_stream(chunks)] {
        let server = Server::new(vec![reply]);
        let (said, outcome) = watch(&server.source()).await;
        let failure = outcome.unwrap_err();
        assert_eq!(failure.class, FailureClass::Retryable);
        assert!(failure.message.contains("in mid-line"), "{failure}");
        assert_eq!(said, heard());
    }
}

#[tokio::test]
async fn a_connection_that_breaks_off_between_lines_is_no_clean_close() {
    let server = Server::new(vec![cut_stream([EVENTS])]);
    let (said, outcome) = watch(&server.source()).await;
    assert_eq!(outcome.unwrap_err().class, FailureClass::Retryable);
    assert_eq!(said, heard());
}

#[tokio::test]
async fn an_error_in_mid_stream_ends_it_after_what_came_before() {
    let cases = [
        (
            r#""status":410,"reason":"Gone","message":"too old""#,
            FailureClass::Gone,
            "too old",
        ),
        (r#""reason":"Gone""#, FailureClass::Gone, "410"),
        (
            r#""status":412,"reason":"Behind""#,
            FailureClass::Behind,
            "Behind",
        ),
        (
            r#""status":503,"message":"closing""#,
            FailureClass::Retryable,
            "closing",
        ),
        (
            r#""status":400,"reason":"Unsupported""#,
            FailureClass::Unsupported,
            "",
        ),
        (r#""status":501"#, FailureClass::Unexpected, ""),
        (r#""message":"?""#, FailureClass::Unexpected, "?"),
        (r#""status":1e9"#, FailureClass::Malformed, "event 5"),
    ];
    for (fields, class, words) in cases {
        let error = format!("{EVENTS}{{\"type\":\"ERROR\",{fields}}}\n{EVENTS}");
        let server = Server::new(vec![stream([error])]);
        let (said, outcome) = watch(&server.source()).await;
        let failure = outcome.unwrap_err();
        assert_eq!(failure.class, class, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
        assert_eq!(said[..8], *heard());
    }
}

#[tokio::test]
async fn a_line_that_cannot_be_read_costs_only_itself() {
    let lines: [&[u8]; 8] = [
        b"not json\n",
        b"{\"type\":\"ADDED\",\"revision\":\"13\",\"key\":\"a\xff\",\"version\":\"13\",\"value\":1}\n",
        b"{\"type\":\"ADDED\",\"revision\":\"13\",\"key\":\"b\",\"version\":\"13\",\"value\":\"\xff\"}\n",
        b"{\"type\":\"ADDED\",\"revision\":\"13\",\"version\":\"13\",\"value\":1,\"last\":true}\n",
        b"{\"type\":\"ADDED\",\"revision\":\"14\",\"key\":5,\"version\":\"14\",\"value\":1,\"last\":true}\n",
        b"{\"type\":\"RENAMED\",\"revision\":\"15\"}\n",
        b"{\"type\":\"DELETED\",\"revision\":\"16\",\"previous\":\"15\",\"key\":\"c\"}\n",
        b"\n\n\n\n",
    ];
    let server = Server::new(vec![stream([lines.concat()])]);
    let (said, outcome) = watch(&server.source()).await;
    assert_eq!(outcome, Ok(()));
    let begins = [
        "opened e1",
        "undecodable event 1: expected",
        // A damaged line that does not end its transaction ends none.
        "undecodable event 2: the key, the version or the uid is not UTF-8",
        "upsert b@13 -<13 undecodable: the value is not UTF-8",
        "undecodable event 4: the event has no key",
        "batch end 13",
        "undecodable event 5: invalid type",
        "batch end 14",
        "heartbeat",
        "delete c 15<16 None",
        "heartbeat",
    ];
    assert_eq!(said.len(), begins.len(), "{said:#?}");
    for (said, begin) in said.iter().zip(begins) {
        assert!(said.starts_with(begin), "{said} is not {begin}");
    }
}

#[tokio::test]
async fn a_place_in_the_history_that_cannot_be_read_ends_the_stream() {
    let lines = [
        r#"{"type":"BOOKMARK"}"#,
        r#"{"type":"BOOKMARK","revision":12}"#,
        r#"{"type":"BOOKMARK","revision":"twelve"}"#,
        r#"{"type":"BOOKMARK","revision":"12","digest":"12"}"#,
        r#"{"type":"BOOKMARK","revision":"12","digest":"+00000000000000f"}"#,
        r#"{"type":"ADDED","key":"a","version":"1","value":1,"last":true}"#,
        r#"{"type":"ADDED","revision":"x","key":"a","version":"1","value":1}"#,
        r#"{"type":"ADDED","revision":"1","previous":"x","key":"a","version":"1","value":1}"#,
        r#"{"type":"ADDED","revision":{},"key":"a","version":"1","value":1,"last":true}"#,
    ];
    for line in lines {
        let server = Server::new(vec![stream([format!("{line}\n")])]);
        let (said, outcome) = watch(&server.source()).await;
        let failure = outcome.expect_err(line);
        assert_eq!(failure.class, FailureClass::Malformed, "{failure}");
        assert!(failure.message.starts_with("event 1: "), "{failure}");
        assert!(
            !said
                .iter()
                .any(|said| said.starts_with("batch") || said.starts_with("progress"))
        );
    }
}

#[tokio::test]
async fn a_stream_of_nothing_but_nonsense_is_given_up() {
    let server = Server::new(vec![stream(["nonsense\n".repeat(1_000)])]);
    let (said, outcome) = watch(&server.source()).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.class, FailureClass::Malformed);
    assert!(failure.message.contains("16 events in a row"), "{failure}");
    assert_eq!(said.len(), 1 + 15);
}

#[tokio::test]
async fn nesting_without_bottom_does_not_exhaust_the_stack() {
    let deep = "[".repeat(200_000);
    let closed = format!("{deep}{}", "]".repeat(200_000));
    let lines = format!(
        "{deep}\n{closed}\n{{\"type\":\"ADDED\",\"revision\":\"13\",\"key\":\"a\",\"version\":\"13\",\"value\":{closed}}}\n"
    );
    let server = Server::new(vec![stream([lines])]);
    let (said, outcome) = watch(&server.source()).await;
    let said = without_heartbeats(said);
    assert_eq!(outcome, Ok(()));
    assert!(said[1].starts_with("undecodable event 1: "), "{}", said[1]);
    assert!(said[2].starts_with("undecodable event 2: "), "{}", said[2]);
    assert!(
        said[3].starts_with("upsert a@13 -<13 undecodable: recursion limit"),
        "{}",
        said[3]
    );
}

#[tokio::test]
async fn a_line_over_the_limit_is_skipped_and_the_stream_goes_on() {
    let long = "x".repeat(5_000);
    let chunks = [
        EVENTS.to_owned(),
        format!("{long}\n{EVENTS}"),
        long.clone(),
        "\n".to_owned(),
    ];
    let server = Server::new(vec![stream(chunks)]);
    let limits = HttpLimits {
        line_bytes: 1_000,
        ..HttpLimits::default()
    };
    let source: HttpSource<Value> = server.builder().limits(limits).build().unwrap();
    let (said, outcome) = watch(&source).await;
    assert_eq!(outcome, Ok(()));
    let expected = [
        heard(),
        &["undecodable event 5: 5000 bytes are more than the limit"],
        &heard()[1..],
        &["undecodable event 10: 5000 bytes are more than the limit"],
    ];
    assert_eq!(said, expected.concat());
}

#[tokio::test]
async fn a_line_without_an_end_costs_no_more_than_the_limit() {
    let (connections, mut accepted) = tokio::sync::mpsc::unbounded_channel();
    let source: HttpSource<Value> = HttpSource::<Value>::builder("http://server", "things")
        .connector(Handed(connections))
        .build()
        .unwrap();
    let server = tokio::spawn(async move {
        let mut stream: tokio::io::DuplexStream = accepted.recv().await.unwrap();
        request_head(&mut stream).await.unwrap();
        write(&mut stream, &stream_head()).await;
        let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat();
        let mut sent = 0;
        while tokio::io::AsyncWriteExt::write_all(&mut stream, &chunk)
            .await
            .is_ok()
        {
            sent += 0x10000;
        }
        sent
    });
    let (said, outcome) = watch(&source).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.class, FailureClass::Malformed);
    assert!(
        failure.message.contains("a line without an end"),
        "{failure}"
    );
    assert_eq!(without_heartbeats(said), ["opened e1"]);
    // The limit is 8 MiB, and eight times as much is given up.
    let sent = server.await.unwrap();
    assert!(sent < 66 << 20, "{sent}");
}

#[tokio::test]
async fn chunks_that_are_garbage_are_malformed() {
    for garbage in ["zz\r\nxx\r\n", "3\r\nabcdef\r\n", "fffffffffffffffff\r\n"] {
        let bytes = [stream_head().as_slice(), garbage.as_bytes()].concat();
        let server = Server::new(vec![Reply {
            bytes,
            then: Then::Keep,
        }]);
        let (said, outcome) = watch(&server.source()).await;
        let failure = outcome.unwrap_err();
        assert_eq!(failure.class, FailureClass::Malformed, "{failure}");
        assert_eq!(said, ["opened e1"]);
    }
}

#[tokio::test]
async fn a_payload_that_the_cache_holds_comes_as_unchanged() {
    let server = Server::new(vec![stream([EVENTS])]);
    let recorder = Recorder::default();
    recorder.hold("a@13");
    let source = server.source();
    source
        .watch(watch_request(), &mut recorder.sink())
        .await
        .unwrap();
    assert_eq!(recorder.said()[1], "upsert a@13 12<13 unchanged");
}

#[tokio::test]
async fn a_watch_that_does_not_start_at_a_revision_is_unsupported() {
    let server = Server::new(vec![]);
    for from in [WatchFrom::Now, WatchFrom::Initial { at_least: None }] {
        let request = WatchRequest { from, epoch: None };
        let recorder = Recorder::default();
        let outcome = server.source().watch(request, &mut recorder.sink()).await;
        assert_eq!(outcome.unwrap_err().class, FailureClass::Unsupported);
    }
    assert_eq!(server.connections(), 0);
}
