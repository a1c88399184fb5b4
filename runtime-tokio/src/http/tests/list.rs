use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use reflet_core::FailureClass;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};

use super::rig::{Recorder, Server, list, ok, page_request};
use crate::http::{HttpLimits, HttpSource};
use crate::source::{ListRequest, Source};

fn page(items: &str) -> String {
    format!(r#"{{"revision":"12","epoch":"e1","items":[{items}]}}"#)
}

#[tokio::test]
async fn a_page_is_announced_handed_over_and_closed_by_the_next_token() {
    let server = Server::new(vec![
        ok(
            r#"{"items":[{"key":"a","version":"7","uid":"3","value":{"x":1}},
               {"value":null,"version":"8","key":"b\n\u00e9"}],
               "continue":"t/1","revision":"12","epoch":"e1"}"#,
        ),
        ok(r#"{"revision":"12","epoch":"e1","items":[],"continue":""}"#),
    ]);
    let source = server.source();
    let (said, outcome) = list(&source).await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(
        said,
        [
            "page e1 12",
            r#"item a@7 Object {"x": Number(1)}"#,
            "item b\né@8 Null",
            "page end t/1",
        ]
    );

    let recorder = Recorder::default();
    let next = ListRequest {
        page: Some("t/1&x".into()),
        at_least: Some(11.into()),
        ..page_request()
    };
    source.list(next, &mut recorder.sink()).await.unwrap();
    assert_eq!(recorder.said(), ["page e1 12", "page end -"]);
    assert_eq!(
        server.paths(),
        [
            "/base/v1/things?limit=500",
            "/base/v1/things?limit=500&continue=t%2F1%26x&at_least=11"
        ]
    );
    assert_eq!(
        server.connections(),
        1,
        "the second page has the first one's connection"
    );
}

#[tokio::test]
async fn one_bad_item_does_not_cost_the_others() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let items = format!(
        r#"{{"key":"a","version":"1","value":1}}, 7, null, {{"version":"2","value":2}},
           {{"key":"c","value":3}}, {{"key":4,"version":"4","value":4}},
           {{"key":"d","key":"d","version":"1","value":1}},
           {{"key":"e","version":"5","value":{deep}}}, {deep},
           {{"key":"f","version":"6"}},
           {{"key":"g","version":"7","value":1e999999}},
           {{"key":"z","version":"9","value":9}}"#
    );
    let server = Server::new(vec![ok(page(&items))]);
    let (said, outcome) = list(&server.source()).await;
    assert_eq!(outcome, Ok(()));
    let begins = [
        "page e1 12",
        "item a@1 Number(1)",
        "undecodable item 1 of the page",
        "undecodable item 2 of the page",
        "undecodable item 3 of the page: missing field `key`",
        "undecodable item 4 of the page: missing field `version`",
        "undecodable item 5 of the page: invalid type",
        "undecodable item 6 of the page: duplicate field `key`",
        "item e@5 undecodable: recursion limit exceeded",
        "undecodable item 8 of the page",
        "item f@6 undecodable: the object has no value",
        "item g@7 undecodable: number out of range",
        "item z@9 Number(9)",
        "page end -",
    ];
    assert_eq!(said.len(), begins.len(), "{said:#?}");
    for (said, begin) in said.iter().zip(begins) {
        assert!(said.starts_with(begin), "{said} is not {begin}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_utf8_cost_only_what_they_are_in() {
    let items: [&[u8]; 5] = [
        br#"{"revision":"12","epoch":"e1","items":["#,
        b"{\"key\":\"a\xff\",\"version\":\"1\",\"value\":1},",
        b"{\"key\":\"b\",\"version\":\"2\",\"value\":\"\xff\"},",
        br#"{"key":"c","version":"3","value":3}"#,
        b"]}",
    ];
    let server = Server::new(vec![ok(items.concat())]);
    let (said, outcome) = list(&server.source()).await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(
        said,
        [
            "page e1 12",
            "undecodable item 0 of the page: the key, the version or the uid is not UTF-8",
            "item b@2 undecodable: the value is not UTF-8",
            "item c@3 Number(3)",
            "page end -",
        ]
    );
}

#[tokio::test]
async fn an_answer_that_is_no_page_is_malformed_and_never_an_empty_collection() {
    let deep = "[".repeat(10_000);
    let bodies = [
        ("", "EOF"),
        ("{}", "missing field"),
        ("[]", "invalid"),
        ("<html>", "expected value"),
        (r#"{"revision":"12","epoch":"e1"}"#, "missing field `items`"),
        (r#"{"revision":"12","items":{}}"#, "items is not an array"),
        (r#"{"revision":"12","items":null}"#, "items is not an array"),
        (r#"{"items":[]}"#, "missing field `revision`"),
        (r#"{"revision":12,"items":[]}"#, "invalid type"),
        (r#"{"revision":"x","items":[]}"#, "is not a decimal"),
        (
            r#"{"revision":"12","items":[],"items":[]}"#,
            "duplicate field",
        ),
        (r#"{"revision":"12","items":[}"#, "expected value"),
        (r#"{"revision":"12","items":[]"#, "EOF"),
        (r#"{"revision":"12","items":[]} x"#, "trailing"),
        (
            r#"{"revision":"12","epoch":"e2","items":[]}"#,
            "the head says epoch e1",
        ),
        (deep.as_str(), "invalid"),
    ];
    for (body, expected) in bodies {
        let server = Server::new(vec![ok(body)]);
        let (said, outcome) = list(&server.source()).await;
        let failure = outcome.expect_err(body);
        assert_eq!(failure.class, FailureClass::Malformed, "{failure}");
        assert!(failure.message.contains(expected), "{failure} of {body}");
        assert!(said.is_empty(), "{said:?}");
    }
}

#[tokio::test]
async fn a_page_over_the_limit_is_refused_whether_it_says_its_length_or_not() {
    let body = page(r#"{"key":"a","version":"1","value":1}"#);
    let limits = HttpLimits {
        page_bytes: body.len() - 1,
        ..HttpLimits::default()
    };
    let mut unsized_reply = ok(&body);
    let text = String::from_utf8(unsized_reply.bytes).unwrap();
    let text = text.replace(&format!("content-length: {}\r\n", body.len()), "");
    unsized_reply.bytes = text.into_bytes();
    unsized_reply.then = super::rig::Then::Close;
    for reply in [ok(&body), unsized_reply] {
        let server = Server::new(vec![reply]);
        let source: HttpSource<serde_json::Value> =
            server.builder().limits(limits).build().unwrap();
        let (said, outcome) = list(&source).await;
        assert_eq!(outcome.unwrap_err().class, FailureClass::Malformed);
        assert!(said.is_empty());
    }
    let limits = HttpLimits {
        page_bytes: body.len(),
        ..limits
    };
    let server = Server::new(vec![ok(&body)]);
    let source: HttpSource<serde_json::Value> = server.builder().limits(limits).build().unwrap();
    assert_eq!(list(&source).await.1, Ok(()));
}

/// Cannot be decoded.
struct Undecodable;

impl<'de> Deserialize<'de> for Undecodable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("decoded"))
    }
}

impl fmt::Debug for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("decoded")
    }
}

#[tokio::test]
async fn what_the_cache_holds_is_not_decoded() {
    let items = r#"{"key":"a","version":"1","value":1},{"key":"b","version":"2","value":2}"#;
    let server = Server::new(vec![ok(page(items))]);
    let source: HttpSource<Undecodable> = server.builder().build().unwrap();
    let recorder = Recorder::default();
    recorder.hold("a@1");
    source
        .list(page_request(), &mut recorder.sink())
        .await
        .unwrap();
    assert_eq!(
        recorder.said(),
        [
            "page e1 12",
            "item a@1 unchanged",
            "item b@2 undecodable: decoded",
            "page end -"
        ]
    );
}

#[tokio::test]
async fn a_page_of_thousands_arrives_whole_and_in_order() {
    let items: Vec<_> = (0..3_000)
        .map(|n| format!(r#"{{"key":"k{n}","version":"{n}","value":{n}}}"#))
        .collect();
    let server = Server::new(vec![ok(page(&items.join(" ,\n")))]);
    let (said, outcome) = list(&server.source()).await;
    assert_eq!(outcome, Ok(()));
    let expected: Vec<_> = (0..3_000)
        .map(|n| format!("item k{n}@{n} Number({n})"))
        .collect();
    assert_eq!(said[1..said.len() - 1], expected[..]);
}

thread_local! {
    static TURNS: Cell<usize> = const { Cell::new(0) };
}

/// How many turns another task had had when this was decoded.
#[derive(Clone, Debug)]
struct Turns(#[expect(dead_code, reason = "it is shown")] usize);

impl<'de> Deserialize<'de> for Turns {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(from)?;
        Ok(Self(TURNS.get()))
    }
}

#[tokio::test]
async fn a_page_of_thousands_leaves_others_their_turns() {
    let items: Vec<_> = (0..3_000)
        .map(|n| format!(r#"{{"key":"k{n}","version":"{n}","value":{n}}}"#))
        .collect();
    let server = Server::new(vec![ok(page(&items.join(",")))]);
    let source: HttpSource<Turns> = server.builder().build().unwrap();
    let other = tokio::spawn(async {
        loop {
            TURNS.set(TURNS.get() + 1);
            tokio::task::yield_now().await;
        }
    });
    let (said, outcome) = list(&source).await;
    other.abort();
    assert_eq!(outcome, Ok(()));
    let turns = said[1..said.len() - 1].iter().map(|item| {
        let (_, turns) = item.split_once(" Turns(").unwrap();
        turns.trim_end_matches(')').parse::<usize>().unwrap()
    });
    let turns: BTreeSet<_> = turns.collect();
    assert!(turns.len() >= 3_000 / 256, "{turns:?}");
}

#[tokio::test]
async fn a_decoding_error_does_not_quote_the_whole_payload() {
    #[derive(Debug, Deserialize)]
    struct Number {
        #[expect(dead_code, reason = "only its decoding matters")]
        n: u32,
    }
    let long = "x".repeat(100_000);
    let items = format!(r#"{{"key":"a","version":"1","value":{{"n":"{long}"}}}}"#);
    let server = Server::new(vec![ok(page(&items))]);
    let source: HttpSource<Number> = server.builder().build().unwrap();
    let (said, _) = list(&source).await;
    assert!(said[1].starts_with("item a@1 undecodable: invalid type"));
    assert!(said[1].len() < 600, "{}", said[1].len());
}
