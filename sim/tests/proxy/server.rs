//! The server side on a real socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use real_reflet::serve::{Collection, CollectionOptions, Publish};
use real_tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use real_tokio::net::{TcpListener, TcpSocket, TcpStream};
use real_tokio::task::{JoinHandle, JoinSet};

use crate::plan::{Account, Fault};
use crate::proxy::SOCKET_BUFFER;

/// The longest quiet of a watch.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(50);

/// A collection that is published. Dropping it ends the server.
pub(crate) struct Server {
    pub(crate) things: Collection,
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Whenever it cannot write, `account` is told.
    pub(crate) fn start(account: Account) -> Self {
        let mut options = CollectionOptions::default();
        options.heartbeat_interval = HEARTBEAT;
        // The digests of bookmarks are what tells of silent losses.
        options.bookmark_interval = HEARTBEAT * 2;
        options.history_transactions = 200;
        let things = Collection::new("things", options).unwrap();
        let router = Publish::new().collection(&things).router();
        let service = TowerToHyperService::new(router);

        let socket = TcpSocket::new_v4().unwrap();
        // Inherited by the connections.
        socket.set_send_buffer_size(SOCKET_BUFFER).unwrap();
        socket
            .bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .unwrap();
        let listener = socket.listen(128).unwrap();
        let address = listener.local_addr().unwrap();
        let task = real_tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let stream = Observed::accept(&listener, &account).await;
                let connection = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service.clone())
                    .with_upgrades();
                // That it breaks off is what these tests are about.
                connections.spawn(async { drop(connection.await) });
                while let Some(ended) = connections.try_join_next() {
                    ended.unwrap();
                }
            }
        });
        Self {
            things,
            address,
            task,
        }
    }

    /// Whether the server itself has failed.
    pub(crate) fn is_broken(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection that tells when it cannot be written to.
struct Observed {
    stream: TcpStream,
    account: Account,
}

impl Observed {
    async fn accept(listener: &TcpListener, account: &Account) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            account: account.clone(),
        }
    }
}

impl AsyncRead for Observed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Observed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_pending() {
            self.account.happened(Fault::BackPressure);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
