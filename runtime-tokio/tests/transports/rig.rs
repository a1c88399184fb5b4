//! A server in memory, whose connections can be cut and stopped, and an informer that follows it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use reflet_tokio::http::{Connect, HttpLimits, HttpSource, PollTiming, Target, Transport};
use reflet_tokio::reflet_core::{Health, Notice as Said, State};
use reflet_tokio::serve::{
    Change, Collection, CollectionOptions, Precondition, Publish, to_raw_value,
};
use reflet_tokio::{Informer, Notice, Notices};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::time::{Instant, sleep};

/// Only ever ends a test that has failed.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// The longest event that the informer takes.
pub(crate) const EVENT_BYTES: usize = 64 << 10;
/// The longest quiet of the server.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);

/// A way to follow a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    JsonLines,
    ServerSentEvents,
    WebSocket,
    LongPoll,
}

impl Way {
    fn transport(self) -> Transport {
        match self {
            Self::JsonLines => Transport::JsonLines,
            Self::ServerSentEvents => Transport::ServerSentEvents,
            Self::WebSocket => Transport::WebSocket,
            Self::LongPoll => Transport::LongPoll(PollTiming::default()),
        }
    }

    /// An informer of numbers, over this network.
    pub(crate) fn follow(self, url: &str, connect: impl Connect, root: Option<&[u8]>) -> Followed {
        let limits = HttpLimits {
            line_bytes: EVENT_BYTES,
            ..HttpLimits::default()
        };
        let mut source = HttpSource::<u64>::builder(url, "things")
            .transport(self.transport())
            .connector(connect)
            .limits(limits)
            .without_platform_roots();
        if let Some(pem) = root {
            source = source.root_pem(pem);
        }
        let informer = Informer::builder(source.build().unwrap()).seed(7).start();
        Followed {
            notices: informer.notices(),
            informer,
        }
    }
}

/// An informer, and what it says.
pub(crate) struct Followed {
    pub(crate) informer: Informer<Arc<u64>>,
    notices: Notices,
}

impl Followed {
    /// What the cache shows, in the order of the keys.
    pub(crate) fn shown(&self) -> Vec<(String, u64)> {
        let objects = self.informer.snapshot().into_iter();
        let mut shown: Vec<_> = objects
            .map(|(key, value)| (key.to_string(), *value))
            .collect();
        shown.sort();
        shown
    }

    /// Waits until the health is as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Health<Arc<str>>) -> bool) {
        let started = Instant::now();
        while !wanted(&self.informer.health()) {
            let health = self.informer.health();
            assert!(started.elapsed() < PATIENCE, "{health:#?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until it is live and has what `things` has.
    pub(crate) async fn has_all(&self, things: &Collection) {
        let truth = truth(things);
        self.until(|health| health.state == State::Live && self.shown() == truth)
            .await;
    }

    /// What has been said since this was last asked.
    pub(crate) async fn heard(&mut self) -> Vec<Said<Arc<str>>> {
        let mut heard = Vec::new();
        let all = async {
            while let Some(notice) = self.notices.next().await {
                if let Notice::Engine(notice) = notice {
                    heard.push(notice);
                }
            }
        };
        let _ = tokio::time::timeout(Duration::ZERO, all).await;
        heard
    }

    /// Whether it listed again since this was last asked.
    pub(crate) async fn relisted(&mut self) -> bool {
        let heard = self.heard().await;
        heard
            .iter()
            .any(|said| matches!(said, Said::Relisted { .. }))
    }
}

fn truth(things: &Collection) -> Vec<(String, u64)> {
    let objects = things.export().objects.into_iter();
    let mut truth: Vec<_> = objects
        .map(|object| (object.key.to_string(), object.value.get().parse().unwrap()))
        .collect();
    truth.sort();
    truth
}

/// A collection of numbers.
pub(crate) fn things() -> Collection {
    Collection::new("things", options()).unwrap()
}

pub(crate) fn options() -> CollectionOptions {
    let mut options = CollectionOptions::default();
    options.heartbeat_interval = HEARTBEAT;
    options
}

pub(crate) fn put(things: &Collection, key: &str, value: u64) {
    things.transaction(vec![change(key, value)]).unwrap();
}

pub(crate) fn change(key: &str, value: u64) -> Change {
    Change::Put {
        key: key.into(),
        value: to_raw_value(&value).unwrap(),
        precondition: Precondition::None,
    }
}

/// A network with one server at a time.
#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Nobody listens without one.
    router: Mutex<Option<Router>>,
    connections: Mutex<Vec<Valve>>,
    opened: AtomicUsize,
}

impl Network {
    pub(crate) fn of(things: &Collection) -> Self {
        let network = Self::default();
        network.serve(things);
        network
    }

    /// From now on this is what new connections find.
    pub(crate) fn serve(&self, things: &Collection) {
        let router = Publish::new().collection(things).router();
        *self.0.router.lock().unwrap() = Some(router);
    }

    /// Nobody listens any more.
    pub(crate) fn stop_listening(&self) {
        *self.0.router.lock().unwrap() = None;
    }

    /// All connections break.
    pub(crate) fn cut(&self) {
        self.turn(Flow::Cut);
    }

    /// Nothing comes through the connections that there are.
    pub(crate) fn stall(&self) {
        self.turn(Flow::Stalled);
    }

    fn turn(&self, flow: Flow) {
        let connections = std::mem::take(&mut *self.0.connections.lock().unwrap());
        connections.iter().for_each(|valve| valve.turn(flow));
    }

    /// How many connections have been opened.
    pub(crate) fn opened(&self) -> usize {
        self.0.opened.load(Ordering::Relaxed)
    }
}

impl Connect for Network {
    type Stream = Connection;

    async fn connect(&self, _: &Target) -> io::Result<Connection> {
        let router = self.0.router.lock().unwrap().clone();
        let router = router.ok_or(io::ErrorKind::ConnectionRefused)?;
        let (ours, theirs) = duplex(16 << 10);
        tokio::spawn(served(router, theirs));
        let valve = Valve::default();
        self.0.connections.lock().unwrap().push(valve.clone());
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Connection {
            stream: ours,
            valve,
        })
    }
}

/// Serves a connection to its end.
pub(crate) fn served<S>(router: Router, stream: S) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    async move { drop(connection.with_upgrades().await) }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flow {
    #[default]
    Open,
    Stalled,
    Cut,
}

#[derive(Clone, Default)]
struct Valve(Arc<Mutex<(Flow, Option<Waker>)>>);

impl Valve {
    fn turn(&self, flow: Flow) {
        let (now, reader) = &mut *self.0.lock().unwrap();
        *now = flow;
        reader.take().into_iter().for_each(Waker::wake);
    }

    fn flow(&self) -> Flow {
        self.0.lock().unwrap().0
    }
}

/// The client's end of a connection.
pub(crate) struct Connection {
    stream: DuplexStream,
    valve: Valve,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.valve.0.lock().unwrap().1 = Some(cx.waker().clone());
        match self.valve.flow() {
            Flow::Open => Pin::new(&mut self.stream).poll_read(cx, buf),
            Flow::Stalled => Poll::Pending,
            Flow::Cut => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.valve.flow() {
            Flow::Open => Pin::new(&mut self.stream).poll_write(cx, bytes),
            // It is on its way, as far as anybody can tell.
            Flow::Stalled => Poll::Ready(Ok(bytes.len())),
            Flow::Cut => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
