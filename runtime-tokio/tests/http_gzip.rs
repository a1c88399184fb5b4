//! Compressed answers, end to end: our server side below tower-http's compression, and a source
//! that asks for it.
#![cfg(all(feature = "http", feature = "serve"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use reflet_tokio::http::{Connect, HttpSource, PollTiming, Target, Transport};
use reflet_tokio::serve::{Collection, CollectionOptions, Precondition, Publish, to_raw_value};
use reflet_tokio::{Deltas, Informer};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::time::{Instant, timeout};
use tower_http::compression::CompressionLayer;

/// Serves each connection from a router, and keeps what the client reads.
#[derive(Clone)]
struct Served {
    router: Router,
    read: Arc<Mutex<Vec<u8>>>,
}

struct Overheard {
    inner: DuplexStream,
    read: Arc<Mutex<Vec<u8>>>,
}

impl Connect for Served {
    type Stream = Overheard;

    async fn connect(&self, _: &Target) -> io::Result<Overheard> {
        let (ours, theirs) = duplex(64 << 10);
        let service = TowerToHyperService::new(self.router.clone());
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(theirs), service));
        Ok(Overheard {
            inner: ours,
            read: Arc::clone(&self.read),
        })
    }
}

impl AsyncRead for Overheard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.read
            .lock()
            .unwrap()
            .extend_from_slice(&buf.filled()[before..]);
        polled
    }
}

impl AsyncWrite for Overheard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

fn put(things: &Collection, key: &str, value: &str) {
    let value = to_raw_value(value).unwrap();
    things.put(key, value, Precondition::None).unwrap();
}

async fn told(deltas: &mut Deltas<Arc<Value>>, wanted: usize) -> usize {
    let mut told = 0;
    while told < wanted {
        told += deltas.next().await.unwrap().deltas.len();
    }
    told
}

const POLLS: Transport = Transport::LongPoll(PollTiming {
    wait: Duration::from_secs(25),
    busy_interval: Duration::ZERO,
    idle_interval: Duration::from_secs(1),
});

#[tokio::test(start_paused = true)]
async fn lists_and_watches_arrive_compressed_each_event_at_once() {
    for transport in [Transport::JsonLines, POLLS] {
        let things = Collection::new("things", CollectionOptions::default()).unwrap();
        let router = Publish::new().collection(&things).router();
        let served = Served {
            router: router.layer(CompressionLayer::new()),
            read: Arc::default(),
        };
        for number in 0..1_000 {
            put(
                &things,
                &format!("object-{number}"),
                &"much the same ".repeat(20),
            );
        }
        let source = HttpSource::<Value>::builder("http://server", "things")
            .connector(served.clone())
            .transport(transport)
            .gzip(true)
            .build();
        let informer = Informer::builder(source.unwrap()).start();
        let mut deltas = informer.subscribe();
        assert_eq!(told(&mut deltas, 1_000).await, 1_000);
        {
            let read = served.read.lock().unwrap();
            let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
            assert!(text.contains("content-encoding: gzip"), "{transport:?}");
            assert!(!text.contains("much the same"), "{transport:?}");
            assert!(read.len() < 100_000, "{}", read.len());
        }

        // Long after the watch has opened, and long before anything else would be sent after it.
        tokio::time::sleep(Duration::from_secs(61)).await;
        for number in 0..10 {
            put(&things, "hot", &format!("much the same {number}"));
            let before = Instant::now();
            let waited = timeout(Duration::from_secs(1), told(&mut deltas, 1)).await;
            assert!(
                waited.is_ok(),
                "{transport:?}: event {number} was held back"
            );
            if transport == Transport::JsonLines {
                assert_eq!(before.elapsed(), Duration::ZERO, "event {number}");
            }
        }
        let read = served.read.lock().unwrap();
        assert!(!String::from_utf8_lossy(&read).contains("much the same"));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_compressed_unless_it_is_asked_for() {
    let things = Collection::new("things", CollectionOptions::default()).unwrap();
    let router = Publish::new().collection(&things).router();
    let served = Served {
        router: router.layer(CompressionLayer::new()),
        read: Arc::default(),
    };
    put(&things, "one", &"much the same ".repeat(20));
    let source = HttpSource::<Value>::builder("http://server", "things");
    let source = source.connector(served.clone()).build().unwrap();
    let informer = Informer::builder(source).start();
    informer.synced().await.unwrap();
    let read = served.read.lock().unwrap();
    let text = String::from_utf8_lossy(&read);
    assert!(!text.contains("content-encoding"), "{text}");
    assert!(text.contains("much the same"), "{text}");
}
