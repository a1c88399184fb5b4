use std::io;
use std::sync::Arc;
use std::time::Duration;

use reflet_core::FailureClass;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::rig::{
    Handed, Recorder, Reply, Server, Then, answer, list, ok, page_request, request_head,
    stream_head, watch_request, write,
};
use crate::http::{BuildError, Connect, HeaderName, HeaderValue, HttpLimits, HttpSource, Target};
use crate::source::Source;

const EMPTY: &str = r#"{"revision":"12","epoch":"e1","items":[]}"#;

#[tokio::test]
async fn dropping_an_attempt_closes_its_connection() {
    let (connections, mut accepted) = mpsc::unbounded_channel();
    let source: HttpSource<Value> = HttpSource::<Value>::builder("http://server", "things")
        .connector(Handed(connections))
        .build()
        .unwrap();
    let recorder = Recorder::default();
    let mut sink = recorder.sink();
    let mut watching = Box::pin(source.watch(watch_request(), &mut sink));

    let served = async {
        let mut stream: DuplexStream = accepted.recv().await.unwrap();
        request_head(&mut stream).await.unwrap();
        write(&mut stream, &stream_head()).await;
        write(&mut stream, b"1\r\n\n\r\n").await;
        stream
    };
    let mut stream = tokio::select! {
        biased;
        outcome = &mut watching => panic!("the watch ended: {outcome:?}"),
        stream = served => stream,
    };
    drop(watching);
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_request_that_the_server_has_seen_is_not_sent_again() {
    let silent = Reply {
        bytes: Vec::new(),
        then: Then::Close,
    };
    let server = Server::new(vec![ok(EMPTY), silent, ok(EMPTY)]);
    let source = server.source();
    assert!(list(&source).await.1.is_ok());
    let failure = list(&source).await.1.unwrap_err();
    assert_eq!(failure.class, FailureClass::Retryable);
    assert_eq!(server.connections(), 1);
    assert!(list(&source).await.1.is_ok());
    assert_eq!(server.paths().len(), 3);
}

#[tokio::test]
async fn a_connection_that_closes_behind_an_answer_is_not_used_again() {
    let mut closing = ok(EMPTY);
    closing.then = Then::Close;
    let server = Server::new(vec![closing, ok(EMPTY)]);
    let source = server.source();
    assert!(list(&source).await.1.is_ok());
    assert!(list(&source).await.1.is_ok());
    assert_eq!(server.connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_that_closed_in_the_meantime_is_replaced_at_once() {
    let (connections, mut accepted) = mpsc::unbounded_channel();
    let source: HttpSource<Value> = HttpSource::<Value>::builder("http://server", "things")
        .connector(Handed(connections))
        .build()
        .unwrap();
    let mut serve = async || {
        let mut stream: DuplexStream = accepted.recv().await.unwrap();
        request_head(&mut stream).await.unwrap();
        write(&mut stream, &ok(EMPTY).bytes).await;
        stream
    };
    let ((_, first), stream) = tokio::join!(list(&source), serve());
    first.unwrap();
    drop(stream);

    let again = async { tokio::join!(list(&source), serve()) };
    let again = tokio::time::timeout(Duration::from_secs(60), again).await;
    let ((_, second), _stream) = again.expect("a request that nobody will answer");
    second.unwrap();
}

#[tokio::test]
async fn a_new_connection_that_closes_without_an_answer_is_not_tried_again() {
    let silent = || Reply {
        bytes: Vec::new(),
        then: Then::Close,
    };
    let server = Server::new(vec![silent(), silent()]);
    let failure = list(&server.source()).await.1.unwrap_err();
    assert_eq!(failure.class, FailureClass::Retryable);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_is_to_be_closed_or_is_not_read_to_its_end_is_not_kept() {
    let closing = answer("200 OK", "connection: close\r\n", EMPTY);
    let gone = answer("200 OK", "content-type: text/html\r\n", EMPTY);
    let server = Server::new(vec![closing, gone, ok(EMPTY)]);
    let source = server.source();
    assert!(list(&source).await.1.is_ok());
    assert!(list(&source).await.1.is_err());
    assert!(list(&source).await.1.is_ok());
    assert_eq!(server.connections(), 3);
}

/// Opens no connection, and does not say so.
struct Nowhere;

impl Connect for Nowhere {
    type Stream = DuplexStream;

    async fn connect(&self, _: &Target) -> io::Result<DuplexStream> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_open_is_given_up() {
    let limits = HttpLimits {
        connect_timeout: Duration::from_secs(7),
        ..HttpLimits::default()
    };
    let source = HttpSource::<Value>::builder("http://server", "things");
    let source = source.connector(Nowhere).limits(limits).build().unwrap();
    let listed = tokio::time::timeout(Duration::from_secs(8), list(&source));
    let failure = listed.await.expect("it is waited for").1.unwrap_err();
    assert_eq!(failure.class, FailureClass::Retryable);
    assert!(failure.message.contains("nothing within 7s"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_not_trusted_for_long() {
    let server = Server::new(vec![ok(EMPTY), ok(EMPTY)]);
    let source = server.source();
    assert!(list(&source).await.1.is_ok());
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(list(&source).await.1.is_ok());
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn what_is_not_http_is_malformed_and_too_long_a_head_too() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    for bytes in ["SSH-2.0-OpenSSH_9.9\r\n\r\n", long.as_str(), many.as_str()] {
        let bytes = bytes.as_bytes().to_vec();
        let server = Server::new(vec![Reply {
            bytes,
            then: Then::Keep,
        }]);
        let limits = HttpLimits {
            header_bytes: 0,
            ..HttpLimits::default()
        };
        let source: HttpSource<Value> = server.builder().limits(limits).build().unwrap();
        let failure = list(&source).await.1.unwrap_err();
        assert_eq!(failure.class, FailureClass::Malformed, "{failure}");
    }
}

#[tokio::test]
async fn a_page_that_breaks_off_is_retryable_and_not_handed_over() {
    let mut reply = ok(EMPTY);
    reply.bytes.truncate(reply.bytes.len() - 1);
    reply.then = Then::Close;
    let server = Server::new(vec![reply]);
    let (said, outcome) = list(&server.source()).await;
    assert_eq!(outcome.unwrap_err().class, FailureClass::Retryable);
    assert!(said.is_empty());
}

/// Refuses, or never answers.
struct Dead(Option<io::ErrorKind>);

impl Connect for Dead {
    type Stream = DuplexStream;

    async fn connect(&self, target: &Target) -> io::Result<DuplexStream> {
        assert_eq!((target.host.as_str(), target.port), ("::1", 81));
        match self.0 {
            Some(kind) => Err(kind.into()),
            None => std::future::pending().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_reached_is_retryable_and_named() {
    for kind in [Some(io::ErrorKind::ConnectionRefused), None] {
        let builder = HttpSource::<Value>::builder("http://[::1]:81/", "things");
        let source: HttpSource<Value> = builder.connector(Dead(kind)).build().unwrap();
        let failure = list(&source).await.1.unwrap_err();
        assert_eq!(failure.class, FailureClass::Retryable);
        assert!(failure.message.contains("::1:81"), "{failure}");
    }
}

#[tokio::test]
async fn headers_are_sent_and_secrets_never_shown() {
    let server = Server::new(vec![answer("401 Unauthorized", "", "")]);
    let mut secret = HeaderValue::from_static("hunter2");
    secret.set_sensitive(true);
    let builder = server
        .builder()
        .header(HeaderName::from_static("x-secret"), secret)
        .header(
            HeaderName::from_static("authorization"),
            HeaderValue::from_static("Bearer hunter2"),
        )
        .header(
            HeaderName::from_static("x-open"),
            HeaderValue::from_static("seen"),
        );
    let shown = format!("{builder:?}");
    let source: HttpSource<Value> = builder.build().unwrap();
    let failure = list(&source).await.1.unwrap_err();
    let shown = format!("{shown} {source:?} {failure} {failure:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("seen"), "{shown}");
    let head = &server.heads()[0];
    for line in [
        "x-secret: hunter2",
        "authorization: Bearer hunter2",
        "x-open: seen",
        "host: server:8080",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
}

/// A server with a certificate of its own, and that certificate.
fn secured() -> (mpsc::UnboundedSender<DuplexStream>, String) {
    let made = rcgen::generate_simple_self_signed(vec!["server".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (connections, mut accepted) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(stream) = accepted.recv().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                request_head(&mut stream).await.unwrap();
                write(&mut stream, &ok(EMPTY).bytes).await;
            }
        }
    });
    (connections, made.cert.pem())
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused_unless_it_is_a_root() {
    let (connections, pem) = secured();
    let (_, other) = secured();
    let builder = |host: &str| {
        let url = format!("https://{host}:8443");
        HttpSource::<Value>::builder(&url, "things").connector(Handed(connections.clone()))
    };
    let trusted = builder("server").root_pem(pem.as_bytes());
    let source: HttpSource<Value> = trusted.without_platform_roots().build().unwrap();
    let recorder = Recorder::default();
    source
        .list(page_request(), &mut recorder.sink())
        .await
        .unwrap();
    assert_eq!(recorder.said(), ["page e1 12", "page end -"]);

    for (host, root) in [("server", &other), ("another", &pem)] {
        let distrusted = builder(host)
            .root_pem(root.as_bytes())
            .without_platform_roots();
        let source: HttpSource<Value> = distrusted.build().unwrap();
        let failure = list(&source).await.1.unwrap_err();
        assert_eq!(failure.class, FailureClass::Retryable);
        assert!(failure.message.starts_with("TLS with"), "{failure}");
        assert!(failure.message.contains("certificate"), "{failure}");
    }

    let rootless = builder("server").without_platform_roots().build();
    assert_eq!(rootless.unwrap_err(), BuildError::NoRoots(None));
    for nonsense in [
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let built = builder("server").root_pem(nonsense.as_bytes()).build();
        assert!(matches!(built.unwrap_err(), BuildError::InvalidRoot(_)));
    }
}
