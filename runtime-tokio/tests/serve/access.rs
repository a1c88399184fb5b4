//! Who may read and write, who is turned away, and that no client takes more than its share.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream::{iter, pending};
use http::{Request, StatusCode};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use reflet_tokio::serve::{
    Access, AccessError, ClientId, Collection, CollectionOptions, Publish, Rights,
};
use tokio::io::{AsyncWriteExt as _, duplex};

use crate::rig::{Reply, Rig};

const READER: &str = "cmVhZGVy.R-_~+/==";
const WRITER: &str = "d3JpdGVy";
const OTHER: &str = "b3RoZXI";

fn access() -> Access {
    Access::new()
        .client("reader", READER, Rights::none().read("things"))
        .unwrap()
        .client("writer", WRITER, Rights::none().write("things"))
        .unwrap()
        .client(
            "other",
            OTHER,
            Rights::none().read("others").write("others"),
        )
        .unwrap()
}

fn guarded() -> Rig {
    let rig = Rig::published(|publish| publish.access(access()));
    rig.put("a", 1);
    rig
}

async fn ask(rig: &Rig, method: &str, path: &str, token: Option<&str>) -> Reply {
    let header = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = header
        .iter()
        .map(|text| ("authorization", &**text))
        .collect();
    let body = if method == "PUT" { "2" } else { "" };
    rig.request(method, path, &headers, body).await
}

const READS: [&str; 4] = [
    "/v1/things",
    "/v1/things/a",
    "/v1/things?watch=poll&from=0",
    "/v1/things?watch=poll&from=1&wait_ms=0",
];

#[tokio::test(start_paused = true)]
async fn a_token_gives_the_rights_of_its_client_and_no_others() {
    let rig = guarded();
    for path in READS {
        let granted = ask(&rig, "GET", path, Some(READER)).await;
        assert!(granted.status.as_u16() < 400, "{path}: {}", granted.body);
        for token in [WRITER, OTHER] {
            let refused = ask(&rig, "GET", path, Some(token)).await;
            refused.assert_error(403, "Forbidden");
        }
    }
    for method in ["PUT", "POST", "DELETE", "PATCH"] {
        for token in [READER, OTHER] {
            let refused = ask(&rig, method, "/v1/things/a", Some(token)).await;
            refused.assert_error(403, "Forbidden");
        }
    }
    assert_eq!(rig.things.revision(), 1);
    let granted = ask(&rig, "PUT", "/v1/things/a", Some(WRITER)).await;
    assert_eq!(granted.status, StatusCode::OK, "{}", granted.body);
    let granted = ask(&rig, "DELETE", "/v1/things/a", Some(WRITER)).await;
    assert_eq!(granted.status, StatusCode::OK, "{}", granted.body);
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_in_without_a_token_that_is_known() {
    let rig = guarded();
    let longer = format!("{READER}=");
    let wrong = ["", "x", &READER[1..], &longer, "d3JpdGVz", "D3JPDGVY"];
    let wrong = wrong.into_iter().map(Some).chain([None]);
    for token in wrong {
        for (method, path) in [("GET", READS[0]), ("GET", "/v1/unknown"), ("PUT", READS[1])] {
            let refused = ask(&rig, method, path, token).await;
            refused.assert_error(401, "Unauthorized");
            assert_eq!(refused.header("www-authenticate"), "Bearer");
            // Where the collection is says nothing to strangers.
            assert_eq!(refused.header("x-reflet-revision"), "");
            assert_eq!(refused.header("x-reflet-epoch"), "");
        }
    }
    for values in [
        vec!["Basic cmVhZGVyOg=="],
        vec![READER],
        vec!["Bearer"],
        vec!["Bearer d3JpdGVy", "Bearer cmVhZGVy.R-_~+/=="],
    ] {
        let headers: Vec<_> = values
            .iter()
            .map(|value| ("authorization", *value))
            .collect();
        let refused = rig.request("GET", READS[0], &headers, "").await;
        refused.assert_error(401, "Unauthorized");
    }
    let headers = [("authorization", "bEARER cmVhZGVy.R-_~+/== ")];
    let granted = rig.request("GET", READS[0], &headers, "").await;
    assert_eq!(granted.status, StatusCode::OK);
}

#[tokio::test]
async fn whether_a_collection_exists_is_told_only_to_those_who_may_read_it() {
    let rig = Rig::published(|publish| {
        let all = Rights::none().read_all().write_all();
        publish.access(access().client("all", "YWxs", all).unwrap())
    });
    let refused = ask(&rig, "GET", "/v1/unknown", Some(READER)).await;
    refused.assert_error(403, "Forbidden");
    let missing = ask(&rig, "GET", "/v1/unknown", Some("YWxs")).await;
    missing.assert_error(404, "NotFound");
    let granted = ask(&rig, "PUT", "/v1/things/b", Some("YWxs")).await;
    assert_eq!(granted.status, StatusCode::CREATED);
}

#[tokio::test]
async fn those_without_a_token_may_be_given_rights_and_a_wrong_token_is_refused_all_the_same() {
    let rig =
        Rig::published(|publish| publish.access(access().anonymous(Rights::none().read("things"))));
    let granted = ask(&rig, "GET", READS[0], None).await;
    assert_eq!(granted.status, StatusCode::OK);
    let refused = ask(&rig, "PUT", READS[1], None).await;
    refused.assert_error(401, "Unauthorized");
    let refused = ask(&rig, "GET", READS[0], Some("wrong")).await;
    refused.assert_error(401, "Unauthorized");
}

#[tokio::test]
async fn a_client_can_have_two_tokens_while_one_is_replaced() {
    let rights = || Rights::none().read("things");
    let access = access().client("reader", "bmV3", rights()).unwrap();
    let rig = Rig::published(|publish| publish.access(access.clone()));
    for token in [READER, "bmV3"] {
        let granted = ask(&rig, "GET", READS[0], Some(token)).await;
        assert_eq!(granted.status, StatusCode::OK);
    }
    let twice = access.clone().client("else", "bmV3", rights());
    let client = "reader".to_owned();
    assert_eq!(twice.unwrap_err(), AccessError::TokenTwice { client });
    for token in ["", "=", "a b", "a\n", "é", "a=b"] {
        let error = access.clone().client("else", token, rights()).unwrap_err();
        let client = "else".to_owned();
        assert_eq!(error, AccessError::TokenInvalid { client }, "{token:?}");
    }
}

#[tokio::test]
async fn tokens_are_never_shown() {
    let publish = reflet_tokio::serve::Publish::new().access(access());
    let refused = ask(&guarded(), "GET", READS[0], Some("d3Jvbmc")).await;
    let shown = format!("{publish:?} {:?} {refused:?}", access());
    assert!(shown.contains("reader"), "{shown}");
    for token in [READER, WRITER, OTHER, "d3Jvbmc"] {
        assert!(!shown.contains(token), "{shown}");
    }
}

fn watch(token: Option<&str>, peer: Option<&str>) -> Request<Body> {
    let mut request = Request::get("/v1/things?watch=jsonl&from=0");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if let Some(peer) = peer {
        request = request.extension(ClientId(peer.into()));
    }
    request.body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_client_has_its_share_of_watches_and_takes_none_of_the_others() {
    let rights = || Rights::none().read_all();
    let access = Access::new().client("one", "b25l", rights()).unwrap();
    let access = access.client("two", "dHdv", rights()).unwrap();
    let access = access.anonymous(rights());
    let rig = Rig::published(|publish| publish.access(access).max_watchers_per_client(2));
    // A name that the server gives is not that of a token.
    let clients = [
        (Some("b25l"), None),
        (Some("dHdv"), Some("10.0.0.1")),
        (None, Some("one")),
    ];
    let mut watches = Vec::new();
    for (token, peer) in clients {
        for _ in 0..2 {
            let granted = rig.send(watch(token, peer)).await;
            assert_eq!(granted.status(), StatusCode::OK, "{token:?} {peer:?}");
            watches.push(granted);
        }
    }
    for (token, peer) in clients {
        let refused = rig.send(watch(token, peer)).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()["retry-after"], "1");
    }
    // Those who are known by nothing are not taken for one client.
    for _ in 0..3 {
        let granted = rig.send(watch(None, None)).await;
        assert_eq!(granted.status(), StatusCode::OK);
        watches.push(granted);
    }
    assert_eq!(rig.things.watchers(), 9);

    // A place is free again when the watch is gone, and a refused one has taken none.
    drop(watches.remove(0));
    let again = rig.send(watch(Some("b25l"), None)).await;
    assert_eq!(again.status(), StatusCode::OK);
    let refused = rig.send(watch(Some("b25l"), None)).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    drop((watches, again));
    assert_eq!(rig.things.watchers(), 0);
}

#[tokio::test(start_paused = true)]
async fn polls_that_wait_count_as_watches() {
    let rig = Rig::published(|publish| {
        let access = Access::new().client("one", "b25l", Rights::none().read_all());
        publish.access(access.unwrap()).max_watchers_per_client(1)
    });
    let path = "/v1/things?watch=poll&from=0";
    let first = ask(&rig, "GET", path, Some("b25l"));
    let second = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ask(&rig, "GET", path, Some("b25l")).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.status, StatusCode::NOT_MODIFIED);
    second.assert_error(429, "TooManyWatchers");
    let again = ask(&rig, "GET", path, Some("b25l")).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
    let mut options = CollectionOptions::default();
    options.body_timeout = Duration::from_secs(5);
    let rig = Rig::with(options);
    for (method, path) in [("PUT", "/v1/things/a"), ("POST", "/v1/things")] {
        let begun = iter([Ok::<_, Infallible>(Bytes::from_static(b"{"))]);
        let body = Body::from_stream(begun.chain(pending()));
        let refused = rig.request(method, path, &[], body).await;
        refused.assert_error(408, "Timeout");

        // A byte now and then does not make it last.
        let drip = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), ()))
        });
        let refused = rig
            .request(method, path, &[], Body::from_stream(drip))
            .await;
        refused.assert_error(408, "Timeout");
    }
    assert_eq!(rig.things.revision(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_cut_off_where_the_server_has_a_timer() {
    let things = Collection::new("things", CollectionOptions::default()).unwrap();
    let service = TowerToHyperService::new(Publish::new().collection(&things).router());
    let (mut client, server) = duplex(1 << 10);
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(server), service);
    let dripping = async {
        client.write_all(b"GET /v1/things HTTP/1.1\r\n").await?;
        loop {
            client.write_all(b"x: y\r\n").await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let both = async { tokio::join!(serving, dripping) };
    let (served, dripped): (_, std::io::Result<()>) =
        tokio::time::timeout(Duration::from_secs(60), both)
            .await
            .expect("it is read on and on");
    assert!(served.unwrap_err().is_timeout());
    assert!(dripped.is_err());
}
