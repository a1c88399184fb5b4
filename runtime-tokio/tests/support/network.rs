//! A server in memory, whose connections can be cut and stopped.

#![allow(dead_code, reason = "each suite uses another part")]

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use reflet_tokio::http::{Connect, Target};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

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
    /// From now on this is what new connections find.
    pub(crate) fn listen(&self, router: Router) {
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
