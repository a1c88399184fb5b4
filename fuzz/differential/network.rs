//! Connections in memory to one server, which take only so many bytes at a time and can be cut.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use reflet_tokio::http::{Connect, Target};
use reflet_tokio::serve::{Collection, Publish};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

/// Whether a connection was cut, and who has to be told.
type Valve = Arc<Mutex<(bool, Option<Waker>)>>;

#[derive(Clone)]
pub(super) struct Network {
    router: Router,
    /// The bytes that are under way on a connection, at most.
    wide: usize,
    open: Arc<Mutex<Vec<Valve>>>,
}

impl Network {
    pub(super) fn new(things: &Collection, wide: usize) -> Self {
        Self {
            router: Publish::new().collection(things).router(),
            wide,
            open: Arc::default(),
        }
    }

    /// All connections break.
    pub(super) fn cut(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for valve in open.drain(..) {
            let mut valve = valve.lock().unwrap_or_else(PoisonError::into_inner);
            valve.0 = true;
            valve.1.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Connect for Network {
    type Stream = Connection;

    async fn connect(&self, _: &Target) -> io::Result<Connection> {
        let (ours, theirs) = duplex(self.wide);
        let service = TowerToHyperService::new(self.router.clone());
        let served = http1::Builder::new().serve_connection(TokioIo::new(theirs), service);
        tokio::spawn(async move { drop(served.with_upgrades().await) });
        let valve = Valve::default();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.push(Arc::clone(&valve));
        Ok(Connection {
            stream: ours,
            valve,
        })
    }
}

/// The client's end of a connection.
pub(super) struct Connection {
    stream: DuplexStream,
    valve: Valve,
}

impl Connection {
    fn broken(&self, cx: &Context<'_>) -> io::Result<()> {
        let mut valve = self.valve.lock().unwrap_or_else(PoisonError::into_inner);
        if valve.0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        valve.1 = Some(cx.waker().clone());
        Ok(())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.broken(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.broken(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
