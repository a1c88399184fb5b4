//! Nothing that is secret is ever told: not in logs at any level, not in `Debug`, notices, health or
//! errors; whatever happens, and whatever a server repeats.
#![cfg(all(feature = "http", feature = "serve"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use http::{HeaderName, HeaderValue, StatusCode};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reflet_tokio::http::{Connect, HttpSource, HttpSourceBuilder, Target, Transport};
use reflet_tokio::reflet_core::Notice as Said;
use reflet_tokio::serve::{
    Access, Collection, CollectionOptions, Precondition, Publish, Rights, to_raw_value,
};
use reflet_tokio::{Informer, Notice};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{DuplexStream, duplex};
use tokio_rustls::TlsAcceptor;
use tracing_subscriber::filter::LevelFilter;

const TOKEN: &str = "kq3xKCwAdB0WnUdD7rTz";
const OTHER_TOKEN: &str = "vTq5nOiE7XhFY9Pz0aSd";
const UNKNOWN_TOKEN: &str = "Zm9yZ290dGVuZm9yZXZl";
const API_KEY: &str = "s3cr3t-of-the-gateway";
const PAYLOAD: &str = "hunter2-in-a-payload";

/// All that was told to anybody.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<String>>);

impl Told {
    fn add(&self, what: impl Debug) {
        self.0.lock().unwrap().push_str(&format!("{what:#?}\n"));
    }
}

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap()
            .push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl log::Log for Told {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.add(record);
    }

    fn flush(&self) {}
}

/// A server that speaks TLS, and knows its clients by their certificates.
#[derive(Clone)]
struct Server {
    router: Router,
    acceptor: TlsAcceptor,
}

impl Connect for Server {
    type Stream = DuplexStream;

    async fn connect(&self, _: &Target) -> io::Result<DuplexStream> {
        let (ours, theirs) = duplex(64 << 10);
        let (router, accepting) = (self.router.clone(), self.acceptor.accept(theirs));
        tokio::spawn(async move {
            if let Ok(stream) = accepting.await {
                let service = TowerToHyperService::new(router);
                let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                drop(served.with_upgrades().await);
            }
        });
        Ok(ours)
    }
}

/// The certificates of a server and of a client, from one authority.
struct Certificates {
    authority: CertifiedIssuer<'static, KeyPair>,
    client: (String, String),
    acceptor: TlsAcceptor,
}

impl Certificates {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        let issue = || {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(["server".to_owned()]).unwrap();
            (params.signed_by(&key, &authority).unwrap(), key)
        };
        let (client, client_key) = issue();
        let (server, server_key) = issue();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![server.der().clone()], key);
        Self {
            client: (client.pem(), client_key.serialize_pem()),
            acceptor: TlsAcceptor::from(Arc::new(config.unwrap())),
            authority,
        }
    }

    fn source(&self, router: Router, host: &str, token: &str) -> HttpSourceBuilder<u64> {
        let mut key = HeaderValue::from_static(API_KEY);
        key.set_sensitive(true);
        let server = Server {
            router,
            acceptor: self.acceptor.clone(),
        };
        let (chain, private) = &self.client;
        HttpSource::builder(&format!("https://{host}"), "things")
            .connector(server)
            .root_pem(self.authority.pem().as_bytes())
            .without_platform_roots()
            .client_certificate_pem(chain.as_bytes(), private.as_bytes())
            .header(AUTHORIZATION, format!("Bearer {token}").parse().unwrap())
            .header(HeaderName::from_static("x-api-key"), key)
    }
}

/// Follows until `enough`, and tells all that there is to tell.
async fn follow(
    told: &Told,
    source: HttpSourceBuilder<u64>,
    mut enough: impl FnMut(&Said<Arc<str>>) -> bool,
) {
    told.add(&source);
    let source = source.build().unwrap();
    told.add(&source);
    let informer = Informer::builder(source).name("things").start();
    let mut notices = informer.notices();
    loop {
        let notice = notices.next().await.unwrap();
        told.add(&notice);
        told.add(informer.health());
        if let Notice::Engine(said) = &notice {
            if let Said::Failed { failure, .. } = said {
                told.0.lock().unwrap().push_str(&failure.to_string());
            }
            if enough(said) {
                break;
            }
        }
    }
    told.add(&informer);
    informer.shutdown().await;
}

fn things() -> Collection {
    let things = Collection::new("things", CollectionOptions::default()).unwrap();
    for (key, value) in [("bad", to_raw_value(PAYLOAD)), ("good", to_raw_value(&1))] {
        let value = value.unwrap();
        things.put(key, value, Precondition::None).unwrap();
    }
    things
}

/// Answers with all that it was sent, as some proxies do that are in trouble.
async fn echo(headers: HeaderMap) -> (StatusCode, String) {
    let words = headers.iter().map(|(name, value)| {
        let value = value.to_str().unwrap();
        format!("{name}: {value}")
    });
    let words = words.collect::<Vec<_>>().join(" ");
    (StatusCode::FORBIDDEN, format!("{words:.190}"))
}

/// A list as it should be; in the stream that follows, what it was sent.
async fn echo_later(request: Request) -> ([(HeaderName, &'static str); 1], String) {
    let json = [(CONTENT_TYPE, "application/json")];
    if !request.uri().query().unwrap_or_default().contains("watch=") {
        return (json, r#"{"revision":"1","items":[]}"#.to_owned());
    }
    let token = request.headers()[AUTHORIZATION].to_str().unwrap();
    let event = serde_json::json!({
        "type": "ERROR", "status": 500, "message": format!("no such token: {token}"),
    });
    (json, format!("{event}\n"))
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_a_secret() {
    let told = Told::default();
    let writer = told.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // Not by `init`, which takes the place of the logger, too, where another crate asks for that.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    log::set_boxed_logger(Box::new(told.clone())).unwrap();
    log::set_max_level(log::LevelFilter::Trace);

    let certificates = Certificates::new();
    let things = things();
    let rights = || Rights::none().read_all();
    let access = Access::new().client("gateway", TOKEN, rights()).unwrap();
    let access = access.client("another", OTHER_TOKEN, rights()).unwrap();
    let twice = access.clone().client("third", OTHER_TOKEN, rights());
    let twice = twice.unwrap_err();
    told.add((&access, &twice, twice.to_string()));
    let router = Publish::new().collection(&things).access(access).router();

    // All is well, but for a payload that is of another type.
    for transport in [
        Transport::JsonLines,
        Transport::ServerSentEvents,
        Transport::WebSocket,
        Transport::LongPoll(Default::default()),
    ] {
        let source = certificates.source(router.clone(), "server", TOKEN);
        let source = source.transport(transport);
        follow(&told, source, |said| matches!(said, Said::Synced { .. })).await;
    }
    // The token is unknown; the certificate is not for this host.
    let failed = |said: &Said<Arc<str>>| matches!(said, Said::Failed { .. });
    let source = certificates.source(router.clone(), "server", UNKNOWN_TOKEN);
    follow(&told, source, failed).await;
    let source = certificates.source(router.clone(), "elsewhere", TOKEN);
    follow(&told, source, failed).await;
    // Servers that repeat what they were sent.
    let echoing = Router::new().fallback(echo);
    let source = certificates.source(echoing, "server", TOKEN);
    follow(&told, source, failed).await;
    let echoing = Router::new().fallback(echo_later);
    let source = certificates.source(echoing, "server", TOKEN);
    follow(&told, source, failed).await;

    let told = told.0.lock().unwrap();
    // It listened, at each place that there is.
    for word in [
        "synced",
        "an attempt failed",
        "request refused",
        "[hidden]",
        "no such token",
        "x-api-key",
        "Sensitive",
        "an object was rejected",
        "rustls",
        "HttpSourceBuilder",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let key = certificates.client.1.lines();
    let key = key.filter(|line| !line.starts_with("-----"));
    for secret in key.chain([TOKEN, OTHER_TOKEN, UNKNOWN_TOKEN, API_KEY, PAYLOAD]) {
        let found = told.find(secret);
        let around = found.map(|at| &told[at.saturating_sub(300)..at + secret.len()]);
        assert_eq!(around, None, "{secret} was told");
    }
}
