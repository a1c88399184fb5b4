use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reflet_core::FailureClass as Class;
use serde_json::Value;
use tokio::io::DuplexStream;

use super::rig::{Handed, Recorder, Reply, Server, Then, answer, list, ok, page_request, watch};
use crate::http::{Connect, HeaderName, HeaderValue, HttpLimits, HttpSource, Target};
use crate::source::Source;

const EMPTY: &str = r#"{"revision":"12","epoch":"e1","items":[]}"#;

fn redirect(status: &str, location: &str) -> Reply {
    answer(status, &format!("location: {location}\r\n"), "look there")
}

#[tokio::test]
async fn a_redirect_within_the_origin_is_followed_on_the_same_connection() {
    for (status, location, path) in [
        (
            "301 Moved Permanently",
            "/new/things?limit=500",
            "/new/things?limit=500",
        ),
        ("302 Found", "/new/things#part", "/new/things"),
        ("303 See Other", "http://server:8080/new", "/new"),
        (
            "307 Temporary Redirect",
            "HTTP://SERVER:8080/new?x=%2F",
            "/new?x=%2F",
        ),
        ("308 Permanent Redirect", "//server:8080/new", "/new"),
        ("308 Permanent Redirect", "http://server:8080", "/"),
    ] {
        let server = Server::new(vec![redirect(status, location), ok(EMPTY)]);
        let secret = (
            HeaderName::from_static("authorization"),
            HeaderValue::from_static("Bearer hunter2"),
        );
        let source = server.builder().header(secret.0, secret.1).build();
        let source: HttpSource<Value> = source.unwrap();
        let (said, outcome) = list(&source).await;
        outcome.unwrap();
        assert_eq!(said, ["page e1 12", "page end -"], "{location}");
        assert_eq!(server.paths()[1..], [path]);
        assert_eq!(server.connections(), 1);
        for head in server.heads() {
            assert!(
                head.contains("\r\nauthorization: Bearer hunter2\r\n"),
                "{head}"
            );
        }
    }
}

#[tokio::test]
async fn a_watch_is_redirected_too() {
    let server = Server::new(vec![
        redirect("307 Temporary Redirect", "/new"),
        super::rig::stream(["\n"]),
    ]);
    let (said, outcome) = watch(&server.source()).await;
    outcome.unwrap();
    assert_eq!(said, ["opened e1", "heartbeat"]);
}

#[tokio::test]
async fn a_redirect_out_of_the_origin_is_not_followed_and_says_where_it_pointed() {
    for location in [
        "https://elsewhere/v1/things",
        "http://elsewhere:8080/base/v1/things",
        "https://server:8080/base/v1/things",
        "http://server/base/v1/things",
        "http://server:8081/base/v1/things",
        "http://user:pass@server:8080/base/v1/things",
        "http://server.elsewhere:8080/",
        "//elsewhere/base/v1/things",
        "ftp://server:8080/things",
        "things",
        "file:///etc/passwd",
    ] {
        let server = Server::new(vec![redirect("302 Found", location), ok(EMPTY)]);
        let failure = list(&server.source()).await.1.unwrap_err();
        assert_eq!(failure.class, Class::Unexpected);
        let words = format!("redirects to elsewhere are not followed; it points to {location}");
        assert!(failure.message.contains(&words), "{failure}");
        assert_eq!(server.paths().len(), 1, "{location}");
    }
}

#[tokio::test]
async fn redirects_are_followed_so_often_and_no_more() {
    for redirects in [0, 1, 3] {
        let limits = HttpLimits {
            redirects,
            ..HttpLimits::default()
        };
        let times = usize::try_from(redirects).unwrap();
        let there = || redirect("302 Found", "/round");
        let build = |server: &Server| -> HttpSource<Value> {
            server.builder().limits(limits).build().unwrap()
        };
        let mut script: Vec<_> = (0..times).map(|_| there()).collect();
        script.push(ok(EMPTY));
        let server = Server::new(script);
        list(&build(&server)).await.1.unwrap();

        let server = Server::new((0..10).map(|_| there()).collect());
        let failure = list(&build(&server)).await.1.unwrap_err();
        assert!(
            failure.message.contains("once more than is followed"),
            "{failure}"
        );
        assert_eq!(server.paths().len(), times + 1);
    }
}

#[tokio::test]
async fn what_is_no_redirect_of_a_get_is_a_refusal() {
    for reply in [
        redirect("300 Multiple Choices", "/new"),
        redirect("305 Use Proxy", "/new"),
        answer("302 Found", "", ""),
        answer("302 Found", "location: \u{1}\r\n", ""),
    ] {
        let server = Server::new(vec![reply, ok(EMPTY)]);
        assert!(list(&server.source()).await.1.is_err());
        assert_eq!(server.paths().len(), 1);
    }
}

#[tokio::test]
async fn a_redirect_that_asks_to_wait_is_waited_for_and_not_followed() {
    let headers = "location: /new\r\nretry-after: 7\r\n";
    let server = Server::new(vec![
        answer("307 Temporary Redirect", headers, ""),
        ok(EMPTY),
    ]);
    let failure = list(&server.source()).await.1.unwrap_err();
    assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
    assert!(failure.message.contains("ask to wait"), "{failure}");
    assert_eq!(server.paths().len(), 1);
}

#[tokio::test]
async fn a_redirect_whose_body_does_not_end_costs_its_connection_only() {
    let mut endless = redirect("302 Found", "/new");
    endless.bytes =
        b"HTTP/1.1 302 Found\r\nlocation: /new\r\ncontent-length: 1000000\r\n\r\n".to_vec();
    endless.bytes.extend(vec![b'x'; 20_000]);
    endless.then = Then::Keep;
    let server = Server::new(vec![endless, ok(EMPTY)]);
    list(&server.source()).await.1.unwrap();
    assert_eq!(server.connections(), 2);
}

/// Writes down where a connection was asked for.
struct Noting(Handed, Arc<Mutex<Vec<Target>>>);

impl Connect for Noting {
    type Stream = DuplexStream;

    async fn connect(&self, target: &Target) -> io::Result<DuplexStream> {
        self.1.lock().unwrap().push(target.clone());
        self.0.connect(target).await
    }
}

#[tokio::test]
async fn no_connection_is_ever_opened_to_another_server() {
    let (connections, mut accepted) = tokio::sync::mpsc::unbounded_channel();
    let asked = Arc::<Mutex<Vec<_>>>::default();
    let source = HttpSource::<Value>::builder("http://server", "things")
        .connector(Noting(Handed(connections), Arc::clone(&asked)))
        .build();
    let source: HttpSource<Value> = source.unwrap();
    let recorder = Recorder::default();
    let mut sink = recorder.sink();
    for location in ["http://elsewhere/", "https://server/", "//elsewhere"] {
        let serve = async {
            let mut stream: DuplexStream = accepted.recv().await.unwrap();
            super::rig::request_head(&mut stream).await.unwrap();
            let reply = redirect("302 Found", location);
            super::rig::write(&mut stream, &reply.bytes).await;
        };
        let (outcome, ()) = tokio::join!(source.list(page_request(), &mut sink), serve);
        outcome.unwrap_err();
    }
    let expected = Target {
        host: "server".to_owned(),
        port: 80,
        https: false,
    };
    let asked = asked.lock().unwrap();
    assert!(asked.iter().all(|target| *target == expected), "{asked:?}");
}
