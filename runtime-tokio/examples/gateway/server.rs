//! Accepts connections and serves HTTP/1.1 on them until it is told to stop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_io_timeout::TimeoutStream;

use super::error::StartError;

/// How long to wait after a failed accept: out of file descriptors, and the next try would fail
/// at once too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a peer may take nothing of what it is sent.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A server in the background. Dropping it ends it at once, connections included, but for
/// WebSockets: they have left their connections' tasks, and end with what they follow.
pub(crate) struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

/// What is about to listen, for the message if it cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listens {
    /// What a human calls it.
    pub(crate) what: &'static str,
    /// The option that changes its address.
    pub(crate) option: &'static str,
}

/// Binds `address`, `host:port`; port 0 takes any free one.
pub(crate) async fn bind(listens: Listens, address: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| StartError::Listen {
            what: listens.what,
            option: listens.option,
            address: address.to_owned(),
            message: error.to_string(),
        })
}

impl Server {
    /// Serves each connection with the service that `service` makes for its peer.
    ///
    /// A peer that takes nothing of what it is sent for `write_timeout` is cut off: one that never
    /// reads would keep its connection, and what the service holds for it, for ever.
    pub(crate) fn start<S, B>(
        listener: TcpListener,
        write_timeout: Duration,
        service: impl Fn(SocketAddr) -> S + Send + 'static,
    ) -> std::io::Result<Self>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(listener, write_timeout, service, stopped));
        Ok(Self {
            address,
            stop,
            task,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets the requests in flight finish for at most `grace`, then ends the rest.
    pub(crate) async fn shutdown(self, grace: Duration) {
        // Both fail only if the task is gone, which is what is wanted.
        let _ = self.stop.send(grace);
        let _ = self.task.await;
    }
}

async fn run<S, B>(
    listener: TcpListener,
    write_timeout: Duration,
    service: impl Fn(SocketAddr) -> S,
    mut stopped: oneshot::Receiver<Duration>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (drains, draining) = watch::channel(false);
    let mut connections = JoinSet::new();
    let grace = loop {
        tokio::select! {
            grace = &mut stopped => break grace.unwrap_or(Duration::ZERO),
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Without it small answers wait for the peer's acknowledgement.
                    let _ = stream.set_nodelay(true);
                    let mut stream = TimeoutStream::new(stream);
                    stream.set_write_timeout(Some(write_timeout));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(Box::pin(stream)), service(peer))
                        .with_upgrades();
                    connections.spawn(quietly(peer, connection, draining.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    };
    drop(listener);
    drains.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    let drained = tokio::time::timeout(grace, drained).await;
    if drained.is_err() && !grace.is_zero() {
        tracing::warn!("some requests did not finish in time");
    }
    connections.shutdown().await;
}

/// A connection that breaks is its peer's business, and worth no more than a debug line.
async fn quietly<I, S, B>(
    peer: SocketAddr,
    connection: UpgradeableConnection<I, S>,
    mut draining: watch::Receiver<bool>,
) where
    I: Read + Write + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = pin!(connection);
    let drains = async { drop(draining.wait_for(|draining| *draining).await) };
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = drains => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}
