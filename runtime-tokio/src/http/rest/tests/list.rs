use http::HeaderValue;
use reflet_core::FailureClass;
use serde_json::{Value, json};

use super::rig::{
    Recorder, Server, answer, configs, knowing, list, list_with, mapping, not_modified, ok, page,
    page_request, source,
};
use crate::http::rest::RestSource;
use crate::source::{ListRequest, Source as _};

const CONTENT: &str = "content-type: application/json\r\n";

#[tokio::test]
async fn the_classic_list_has_its_revision_in_a_header() {
    let mut json = configs(json!({
        "revision": {"header": {"name": "X-Resource-Version", "order": "ordered"}},
        "epoch": {"header": "x-reflet-epoch"},
        "query": {"all": "yes & no", "flag me": ""},
        "at_least": "min",
        "limit": "size",
    }));
    json["headers"] = json!({"x-tenant": "t1"});
    let body = r#"[{"id":"a","name":"A","version":7},{"id":8,"name":"B","version":"9"}]"#;
    let server = Server::new(vec![answer(
        "200 OK",
        &format!("{CONTENT}x-resource-version: 12\r\n"),
        body,
    )]);
    let request = ListRequest {
        at_least: Some(11.into()),
        ..page_request()
    };
    let (said, outcome) = list_with(&source(&server, json), request).await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(
        said,
        [
            "page e1 12",
            r#"item a@7 Object {"id": String("a"), "name": String("A"), "version": Number(7)}"#,
            r#"item 8@9 Object {"id": Number(8), "name": String("B"), "version": String("9")}"#,
            "page end -",
        ]
    );
    assert_eq!(
        server.paths(),
        ["/base/configs?all=yes%20%26%20no&flag%20me=&size=500&min=11"]
    );
    assert!(server.heads()[0].contains("x-tenant: t1\r\n"));
}

#[tokio::test]
async fn objects_are_found_by_pointers_and_their_values_are_what_is_decoded() {
    let json = json!({
        "list": {
            "path": "v2/configs",
            "items": "/data/rows",
            "revision": {"field": {"at": "/data/meta/rev"}},
            "epoch": {"field": "/data/meta/epoch"},
            "paging": {"token": {"at": "/data/next", "query": "cursor"}}
        },
        "object": {
            "key": "/Config/id",
            "version": {"field": {"at": "/Config/version"}},
            "uid": "/Config/uid",
            "value": "/Config/spec",
            "deleted": "/Config/deleted"
        }
    });
    let rows = r#"{"Config":{"id":"a","version":1,"uid":"u","spec":{"x":1}}},
        {"Config":{"id":"gone","version":2,"deleted":true,"spec":1}},
        {"Config":{"id":"b","version":3,"deleted":false}},
        {"Config":{"version":4,"spec":1}}, {"Config":{"id":"c","spec":1}},
        {"Config":{"id":{},"version":5,"spec":1}}, 17"#;
    let body =
        format!(r#"{{"data":{{"rows":[{rows}],"next":"t/2","meta":{{"epoch":"e7","rev":12}}}}}}"#);
    let last = r#"{"data":{"rows":[],"next":null,"meta":{"epoch":"e7","rev":"12"}}}"#;
    let server = Server::new(vec![ok(body), ok(last)]);
    let source = source(&server, json);
    let (said, outcome) = list(&source).await;
    assert_eq!(outcome, Ok(()));
    assert_eq!(
        said,
        [
            "page e7 12",
            r#"item a@1 Object {"x": Number(1)}"#,
            "item b@3 undecodable: the object has no value",
            r#"undecodable item 3 of the page: no key at "/Config/id""#,
            r#"undecodable item 4 of the page: no version at "/Config/version""#,
            r#"undecodable item 5 of the page: the key at "/Config/id" is neither a string nor a number"#,
            r#"undecodable item 6 of the page: no key at "/Config/id""#,
            "page end t/2",
        ]
    );
    let (said, _) = list_with(&source, page("t/2")).await;
    assert_eq!(said, ["page e7 12", "page end -"]);
    assert_eq!(server.paths()[1], "/base/v2/configs?cursor=t%2F2");
}

#[tokio::test]
async fn what_the_cache_holds_is_not_decoded_whatever_its_version_is() {
    let body = r#"[{"id":"a","version":1},{"id":"b","version":2}]"#;
    let server = Server::new(vec![ok(body), ok(body)]);
    let stamped = source(&server, configs(json!({})));
    let recorder = Recorder::default();
    recorder.hold("a@1");
    stamped
        .list(page_request(), &mut recorder.sink())
        .await
        .unwrap();
    assert!(recorder.said().contains(&"item a@1 unchanged".to_owned()));

    let unstamped = json!({"list": {"path": "configs"}, "object": {"key": "/id"}});
    let unstamped = source(&server, unstamped);
    let (said, _) = list(&unstamped).await;
    let stamp = |said: &str| said.split(['@', ' ']).nth(2).unwrap().to_owned();
    let (a, b) = (stamp(&said[1]), stamp(&said[2]));
    assert_eq!((a.len(), b.len()), (16, 16));
    assert_ne!(a, b, "other contents, other stamps: {said:?}");
    let changed = body.replace("\"version\":1", "\"version\":3");
    let server = Server::new(vec![ok(changed)]);
    let unstamped = json!({"list": {"path": "configs"}, "object": {"key": "/id"}});
    let (said, _) = list(&source(&server, unstamped)).await;
    assert_ne!(stamp(&said[1]), a);
    assert_eq!(stamp(&said[2]), b, "the same content, the same stamp");
}

#[tokio::test]
async fn page_numbers_end_at_an_empty_page() {
    let json = configs(json!({
        "paging": {"page_number": {"query": "page", "first": 0}},
        "limit": "per_page"
    }));
    let server = Server::new(vec![
        ok(r#"[{"id":"a","version":1}]"#),
        ok(r#"[{"id":"b","version":1}]"#),
        ok("[]"),
    ]);
    let source = source(&server, json);
    assert_eq!(list(&source).await.0.last().unwrap(), "page end 1");
    assert_eq!(
        list_with(&source, page("1")).await.0.last().unwrap(),
        "page end 2"
    );
    assert_eq!(
        list_with(&source, page("2")).await.0,
        ["page - -", "page end -"]
    );
    assert_eq!(
        server.paths(),
        [
            "/base/configs?per_page=500&page=0",
            "/base/configs?per_page=500&page=1",
            "/base/configs?per_page=500&page=2"
        ]
    );
    let (_, outcome) = list_with(&source, page("x")).await;
    assert_eq!(outcome.unwrap_err().class, FailureClass::Malformed);
}

#[tokio::test]
async fn links_are_followed_on_the_same_origin_only() {
    let linked = |link: &str| {
        let headers = format!("{CONTENT}link: <x>; rel=prev\r\nlink: {link}\r\n");
        answer("200 OK", &headers, "[]")
    };
    let server = Server::new(vec![
        linked(r#"<http://server:8080/base/configs?page=2&x=%20>; rel="next""#),
        linked(r#"<?page=1>; rel="first""#),
        linked(r#"<http://elsewhere:8080/base/configs?page=2>; rel="next""#),
        linked("</a b>; rel=next"),
    ]);
    let source = source(&server, configs(json!({"paging": "link"})));
    let (said, _) = list(&source).await;
    assert_eq!(said.last().unwrap(), "page end /base/configs?page=2&x=%20");
    let (said, _) = list_with(&source, page("/base/configs?page=2&x=%20")).await;
    assert_eq!(said.last().unwrap(), "page end -");
    assert_eq!(server.paths()[1], "/base/configs?page=2&x=%20");
    for _ in 0..2 {
        let (said, outcome) = list(&source).await;
        assert_eq!(outcome.unwrap_err().class, FailureClass::Malformed);
        assert!(said.is_empty(), "{said:?}");
    }
    assert_eq!(server.connections(), 2, "and nothing went elsewhere");
}

#[tokio::test]
async fn an_etag_asks_for_something_else_than_it() {
    let tagged = answer("200 OK", &format!("{CONTENT}etag: W/\"7\"\r\n"), "[]");
    let server = Server::new(vec![tagged, not_modified(), not_modified(), ok("[]")]);
    let source = source(&server, configs(json!({"revision": "etag"})));
    let (said, _) = list(&source).await;
    assert_eq!(said, [r#"page - W/"7""#, "page end -"]);
    assert!(!server.heads()[0].contains("if-none-match"));
    let (said, outcome) = list_with(&source, knowing(r#"W/"7""#)).await;
    assert_eq!((said, outcome), (vec!["unmodified".into()], Ok(())));
    assert!(server.heads()[1].contains("if-none-match: W/\"7\"\r\n"));
    let (said, outcome) = list(&source).await;
    assert!(said.is_empty());
    assert_eq!(
        outcome.unwrap_err().class,
        FailureClass::Unexpected,
        "nobody asked for a 304"
    );
    assert_eq!(list(&source).await.0, ["page - -", "page end -"]);
}

#[tokio::test]
async fn a_blocking_query_names_what_is_known() {
    let mut json = configs(json!({"revision": {"header": {"name": "x-reflet-revision"}}}));
    json["watch"] = json!({"blocking": {
        "known": "index",
        "wait": {"query": "wait", "value": "25s"}
    }});
    let server = Server::new(vec![ok("[]"), ok("[]"), not_modified()]);
    let source = source(&server, json);
    assert_eq!(list(&source).await.0, ["page - 12", "page end -"]);
    list_with(&source, knowing("12")).await.1.unwrap();
    assert_eq!(list_with(&source, knowing("12")).await.0, ["unmodified"]);
    let known = "/base/configs?index=12&wait=25s";
    assert_eq!(server.paths(), ["/base/configs", known, known]);
}

#[tokio::test]
async fn the_newest_item_is_a_revision_to_go_on_from() {
    let mut json = configs(json!({"revision": "newest_item"}));
    json["object"]["version"]["field"]["order"] = json!("commit");
    let body = r#"[{"id":"a","version":9},{"id":"b","version":"10"},{"id":"c","version":2},7]"#;
    let server = Server::new(vec![
        ok(body),
        ok("[]"),
        ok(r#"[{"id":"a","version":"x"}]"#),
    ]);
    let source = source(&server, json);
    assert_eq!(list(&source).await.0[0], "page - 10");
    assert_eq!(list(&source).await.0[0], "page - -");
    let (_, outcome) = list(&source).await;
    assert_eq!(outcome.unwrap_err().class, FailureClass::Malformed);
}

#[tokio::test]
async fn what_is_no_list_is_malformed_and_shows_nothing() {
    let fields = || {
        configs(json!({
            "items": "/items",
            "revision": {"field": {"at": "/rev"}}
        }))
    };
    for body in [
        "",
        "x",
        "[]",
        r#"{"items":[],"rev":null}"#,
        r#"{"items":[]}"#,
        r#"{"rev":"1"}"#,
        r#"{"items":{},"rev":1}"#,
        r#"{"items":[],"rev":1}]"#,
        r#"{"items":[],"rev":[]}"#,
        r#"{"items":[],"rev":1,"items":[]}"#,
    ] {
        let server = Server::new(vec![ok(body)]);
        let (said, outcome) = list(&source(&server, fields())).await;
        assert_eq!(
            outcome.map_err(|failure| failure.class),
            Err(FailureClass::Malformed),
            "{body}"
        );
        assert!(said.is_empty(), "{body}: {said:?}");
    }
    let header = configs(json!({"revision": {"header": {"name": "x-missing"}}}));
    let server = Server::new(vec![ok("[]")]);
    let (_, outcome) = list(&source(&server, header)).await;
    assert!(outcome.unwrap_err().to_string().contains("x-missing"));
}

#[tokio::test]
async fn refusals_are_classes_of_failure() {
    let mapped: RestSource<Value> = {
        let server = Server::new(vec![
            answer("410 Gone", "", "x"),
            answer("404 Not Found", "", "x"),
            answer("503 Service Unavailable", "retry-after: 7\r\n", "x"),
        ]);
        let builder = RestSource::builder("http://server", mapping(configs(json!({}))));
        let builder = builder.header(http::header::AUTHORIZATION, HeaderValue::from_static("x"));
        builder.connector(server.pipe()).build().unwrap()
    };
    let mut classes = Vec::new();
    for _ in 0..3 {
        let failure = list(&mapped).await.1.unwrap_err();
        classes.push((
            failure.class,
            failure.retry_after.map(|wait| wait.as_secs()),
        ));
    }
    assert_eq!(
        classes,
        [
            (FailureClass::Gone, None),
            (FailureClass::NotFound, None),
            (FailureClass::Retryable, Some(7))
        ]
    );
}
