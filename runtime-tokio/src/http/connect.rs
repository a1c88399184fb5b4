//! Byte streams to a server: how one is opened, and the seam where another kind is put in.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// A host name or an IP address, without the brackets of IPv6.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Whether TLS will be spoken over the stream. The source does that itself, over any
    /// connector's stream.
    pub https: bool,
}

/// Opens byte streams: over TCP by default, over anything else in a simulation, a test or behind
/// a proxy.
pub trait Connect: Send + Sync + 'static {
    /// The stream of bytes. Dropping it closes the connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens a stream to `target`. Dropping the future gives up.
    ///
    /// # Errors
    /// Whatever keeps the stream from being opened; the attempt fails as retryable.
    fn connect(&self, target: &Target) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// The default [`Connect`]: tokio's TCP, without Nagle's delay.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnector;

impl Connect for TcpConnector {
    type Stream = TcpStream;

    async fn connect(&self, target: &Target) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Any stream of bytes.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for S {}

pub(super) type BoxStream = Box<dyn ByteStream>;

/// [`Connect`] as an object, so that a source's type does not name its connector.
pub(super) trait Dial: Send + Sync {
    fn dial<'a>(
        &'a self,
        target: &'a Target,
    ) -> Pin<Box<dyn Future<Output = io::Result<BoxStream>> + Send + 'a>>;
}

impl<C: Connect> Dial for C {
    fn dial<'a>(
        &'a self,
        target: &'a Target,
    ) -> Pin<Box<dyn Future<Output = io::Result<BoxStream>> + Send + 'a>> {
        Box::pin(async move {
            let stream = self.connect(target).await?;
            Ok(Box::new(stream) as BoxStream)
        })
    }
}
