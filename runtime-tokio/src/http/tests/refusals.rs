use std::time::Duration;

use reflet_core::FailureClass as Class;
use serde_json::Value;

use super::rig::{Server, Then, answer, list, watch};
use crate::http::{HttpSource, PollTiming, Transport};

const UNSUPPORTED: &str = r#"{"status":400,"reason":"Unsupported","message":"no watch here"}"#;

/// Status, body, and what it means to a list and to a watch.
fn cases() -> Vec<(&'static str, &'static str, Class, Class)> {
    use Class::{Behind, Denied, Gone, NotFound, Retryable, Unexpected, Unsupported};
    let behind = r#"{"status":412,"reason":"Behind","message":"not there yet"}"#;
    vec![
        ("201 Created", "", Unexpected, Unexpected),
        ("204 No Content", "", Unexpected, Unexpected),
        ("206 Partial Content", "", Unexpected, Unexpected),
        ("300 Multiple Choices", "", Unexpected, Unexpected),
        ("301 Moved Permanently", "", Unexpected, Unexpected),
        ("307 Temporary Redirect", "", Unexpected, Unexpected),
        ("400 Bad Request", "", Unexpected, Unexpected),
        ("400 Bad Request", UNSUPPORTED, Unexpected, Unsupported),
        (
            "405 Method Not Allowed",
            UNSUPPORTED,
            Unexpected,
            Unsupported,
        ),
        ("501 Not Implemented", UNSUPPORTED, Retryable, Unsupported),
        ("501 Not Implemented", "", Retryable, Unexpected),
        ("401 Unauthorized", "", Denied, Denied),
        ("403 Forbidden", "", Denied, Denied),
        ("404 Not Found", "", NotFound, NotFound),
        ("408 Request Timeout", "", Retryable, Retryable),
        ("409 Conflict", "", Unexpected, Unexpected),
        ("410 Gone", "", Gone, Gone),
        ("412 Precondition Failed", behind, Behind, Behind),
        ("412 Precondition Failed", "", Unexpected, Unexpected),
        ("418 I'm a teapot", "", Unexpected, Unexpected),
        ("425 Too Early", "", Retryable, Retryable),
        ("429 Too Many Requests", "", Retryable, Retryable),
        (
            "451 Unavailable For Legal Reasons",
            "",
            Unexpected,
            Unexpected,
        ),
        ("500 Internal Server Error", "", Retryable, Retryable),
        ("502 Bad Gateway", "", Retryable, Retryable),
        ("503 Service Unavailable", "", Retryable, Retryable),
        ("504 Gateway Timeout", "", Retryable, Retryable),
        ("599 Whatever", "", Retryable, Retryable),
        ("999 Whatever", "", Unexpected, Unexpected),
    ]
}

#[tokio::test]
async fn every_status_has_its_class_and_none_is_an_empty_collection() {
    for (status, body, listed, watched) in cases() {
        for wait in [None, Some(Duration::from_secs(7))] {
            let header = wait.map_or("", |_| "retry-after: 7\r\n");
            let server = Server::new((0..3).map(|_| answer(status, header, body)).collect());
            let polling = server
                .builder()
                .transport(Transport::LongPoll(PollTiming::default()));
            let polling: HttpSource<Value> = polling.build().unwrap();
            let answers = [
                (listed, list(&server.source()).await),
                (watched, watch(&server.source()).await),
                (watched, watch(&polling).await),
            ];
            for (class, (said, outcome)) in answers {
                let failure = outcome.expect_err(status);
                assert_eq!(failure.class, class, "{failure}");
                assert!(failure.message.starts_with(&status[..3]), "{failure}");
                assert_eq!(failure.retry_after, wait, "{status}");
                assert!(said.is_empty(), "{said:?}");
            }
        }
    }
}

#[tokio::test]
async fn not_modified_is_no_answer_to_a_list() {
    let server = Server::new(vec![super::rig::not_modified()]);
    let (said, outcome) = list(&server.source()).await;
    assert_eq!(outcome.unwrap_err().class, Class::Unexpected);
    assert!(said.is_empty());
}

#[tokio::test]
async fn the_servers_words_are_passed_on() {
    let long = "é\n".repeat(1_000);
    let json = r#"{"status":503,"reason":"Unavailable","message":"the server is closing"}"#;
    let cases = [
        (
            json,
            "503 Service Unavailable (Unavailable): the server is closing",
        ),
        ("try\tlater\n", "503 Service Unavailable: try\\tlater"),
        ("", "503 Service Unavailable"),
        (long.as_str(), "503 Service Unavailable: é\\né"),
    ];
    for (body, words) in cases {
        let server = Server::new(vec![answer("503 x", "", body)]);
        let failure = list(&server.source()).await.1.unwrap_err();
        assert!(failure.message.starts_with(words), "{failure}");
        assert!(failure.message.len() <= 512);
    }
}

#[tokio::test]
async fn retry_after_is_seconds_or_a_date_relative_to_the_answers_own() {
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let cases = [
        ("retry-after: 120\r\n".to_owned(), Some(120)),
        (
            format!("{date}retry-after: Sun, 06 Nov 1994 08:50:37 GMT\r\n"),
            Some(60),
        ),
        (
            format!("{date}retry-after: Sun, 06 Nov 1994 08:00:00 GMT\r\n"),
            Some(0),
        ),
        (
            "retry-after: Sun, 06 Nov 1994 08:50:37 GMT\r\n".to_owned(),
            None,
        ),
        ("retry-after: soon\r\n".to_owned(), None),
        ("retry-after: -1\r\n".to_owned(), None),
        (
            "retry-after: 99999999999999999999999\r\n".to_owned(),
            Some(u64::MAX),
        ),
    ];
    for (headers, seconds) in cases {
        let server = Server::new(vec![answer("503 x", &headers, "")]);
        let failure = list(&server.source()).await.1.unwrap_err();
        assert_eq!(
            failure.retry_after,
            seconds.map(Duration::from_secs),
            "{headers}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_whose_words_do_not_come_is_still_a_refusal() {
    let mut reply = answer("410 Gone", "", "0123456789");
    reply.bytes.truncate(reply.bytes.len() - 5);
    for then in [Then::Keep, Then::Close] {
        reply.then = then;
        let bytes = reply.bytes.clone();
        let server = Server::new(vec![super::rig::Reply { bytes, then }]);
        let failure = list(&server.source()).await.1.unwrap_err();
        assert_eq!(failure.class, Class::Gone, "{failure}");
        assert!(failure.message.contains("01234"), "{failure}");
    }
}

#[tokio::test]
async fn content_that_is_not_json_is_malformed() {
    let replies = [
        answer(
            "200 OK",
            "content-type: text/html\r\n",
            "<html>login</html>",
        ),
        answer("200 OK", "content-encoding: gzip\r\n", "x"),
        answer("200 OK", "x-reflet-epoch: \u{e9}\r\n", "{}"),
    ];
    for reply in replies {
        for watching in [false, true] {
            let bytes = String::from_utf8(reply.bytes.clone()).unwrap();
            // The first of two equal headers counts.
            let bytes = match bytes.contains('\u{e9}') {
                true => bytes.replacen("x-reflet-epoch: e1\r\n", "", 1).into_bytes(),
                false => bytes.into_bytes(),
            };
            let server = Server::new(vec![super::rig::Reply {
                bytes,
                then: Then::Keep,
            }]);
            let (said, outcome) = match watching {
                true => watch(&server.source()).await,
                false => list(&server.source()).await,
            };
            assert_eq!(outcome.unwrap_err().class, Class::Malformed);
            assert!(said.is_empty());
        }
    }
}
