//! The client's end of its connections: an ordinary one that also says what became of them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use real_reflet::http::{Connect, Target, TcpConnector};
use real_tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use real_tokio::net::TcpStream;

use crate::plan::{Account, Fault};

/// Opens TCP connections, and accounts for those that came to nothing.
pub(crate) struct Connector(pub(crate) Account);

pub(crate) struct Connection {
    stream: TcpStream,
    number: u64,
    /// The server has said something.
    heard: bool,
    account: Account,
}

impl Connect for Connector {
    type Stream = Connection;

    async fn connect(&self, target: &Target) -> io::Result<Connection> {
        let stream = TcpConnector.connect(target).await;
        if let Err(error) = &stream
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            self.0.happened(Fault::Refused);
        }
        let stream = stream?;
        Ok(Connection {
            stream,
            number: self.0.opens(),
            heard: false,
            account: self.0.clone(),
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.heard {
            self.account.left_unheard(self.number);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.heard |= read.is_ready();
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
