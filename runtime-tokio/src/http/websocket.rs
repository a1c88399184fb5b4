//! WebSocket over the connection that hyper has upgraded: opening it, messages as they come, and
//! what its end means. Nothing here knows what messages say.
//!
//! The library frames, unmasks and puts fragments together; it answers pings and a close while
//! messages are read. Nothing is spawned: dropping the socket closes its connection.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderName, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use reflet_core::{Failure, FailureClass};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message as Framed};

use super::failure::with_sources;
use super::request::{Answer, Client};
use crate::probe::reach;
use reflet_core::wire::parts::{GIVE_UP_FACTOR, clip, malformed, retryable};

/// How much is taken from a connection before it is handed over.
const READ_BYTES: usize = 64 << 10;
/// What a message takes at least, so that empty ones are bounded, too.
const MESSAGE_BYTES: usize = 64;
/// What is read from the connection at a time.
const BUFFER_BYTES: usize = 16 << 10;
/// What waits to be sent, at most: only pongs and the close ever do.
const WRITE_BYTES: usize = 4 << 10;
/// A message that has grown by so many bytes is a sign of life.
const GROWTH_BYTES: usize = 1 << 10;
/// How long a farewell may take: what matters has come before it.
const FAREWELL_WAIT: Duration = Duration::from_secs(1);

/// What a socket says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A text, in UTF-8.
    Text(Bytes),
    /// A ping, a pong, or a part of a long message.
    Alive,
}

/// The client's end of a WebSocket.
pub(super) struct Socket {
    stream: WebSocketStream<Counted<TokioIo<Upgraded>>>,
    /// How many bytes had come when that was last a sign of life.
    seen: usize,
    end: Option<End>,
}

/// How it ended, and the code to leave with, if the server has not said one first.
struct End {
    outcome: Result<(), Failure>,
    farewell: Option<CloseCode>,
}

/// What came of asking for a socket; with it comes the answer's head.
pub(super) enum Opening<'c> {
    /// It is open.
    Opened(Box<Socket>, Answer<'c>),
    /// There is none: a status other than 101.
    Refused(Answer<'c>),
}

impl Socket {
    /// Opens a socket at `path`. `protocol` is the subprotocol that is offered, and required back.
    /// What is longer than `limit` is up to the caller; a message of more than eight times as many
    /// bytes ends the socket.
    ///
    /// # Errors
    /// An answer that is no handshake, or no connection.
    pub(super) async fn open<'c>(
        client: &'c Client,
        path: &str,
        mut headers: HeaderMap,
        protocol: Option<&HeaderValue>,
        limit: usize,
    ) -> Result<Opening<'c>, Failure> {
        let key = generate_key();
        add_handshake(&mut headers, &key, protocol)?;
        let mut answer = client.get_with(path, "*/*", &headers).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Opening::Refused(answer));
        }
        check(&answer, &key, protocol)?;
        let connection = answer.upgraded().await?;
        let most = limit.saturating_mul(GIVE_UP_FACTOR);
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BYTES)
            .max_message_size(Some(most))
            .max_frame_size(Some(most));
        let connection = Counted {
            stream: connection,
            bytes: 0,
        };
        let stream = WebSocketStream::from_raw_socket(connection, Role::Client, Some(config));
        let socket = Self {
            stream: stream.await,
            seen: 0,
            end: None,
        };
        Ok(Opening::Opened(Box::new(socket), answer))
    }

    /// Everything that has come since, at least one message; empty after a clean close.
    ///
    /// # Errors
    /// How the socket ended, once all before that has been handed over.
    pub(super) async fn read(&mut self) -> Result<Vec<Message>, Failure> {
        let mut messages = Vec::new();
        let mut bytes = 0;
        poll_fn(|cx| {
            while self.end.is_none() && bytes < READ_BYTES {
                match self.stream.poll_next_unpin(cx) {
                    Poll::Ready(framed) => match self.take(framed) {
                        Ok(message) => {
                            bytes += message.bytes();
                            messages.push(message);
                        }
                        Err(end) => self.end = Some(end),
                    },
                    Poll::Pending if !messages.is_empty() => break,
                    Poll::Pending if self.has_grown() => messages.push(Message::Alive),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(())
        })
        .await;
        match &self.end {
            Some(End { outcome, farewell }) if messages.is_empty() => {
                let (outcome, farewell) = (outcome.clone(), *farewell);
                // A server that does not listen any more has missed nothing.
                let _ = timeout(FAREWELL_WAIT, self.leave(farewell)).await;
                outcome.map(|()| messages)
            }
            _ => Ok(messages),
        }
    }

    fn take(&self, framed: Option<Result<Framed, Error>>) -> Result<Message, End> {
        match framed {
            Some(Ok(Framed::Text(text))) => Ok(Message::Text(text.into())),
            Some(Ok(Framed::Ping(_) | Framed::Pong(_) | Framed::Frame(_))) => Ok(Message::Alive),
            Some(Ok(Framed::Binary(bytes))) => Err(End {
                outcome: Err(malformed(&format!(
                    "a binary message of {} bytes, and only text is understood",
                    bytes.len()
                ))),
                farewell: Some(CloseCode::Unsupported),
            }),
            Some(Ok(Framed::Close(frame))) => Err(End {
                outcome: closed(frame),
                farewell: None,
            }),
            Some(Err(error)) => Err(broken(&error)),
            None => Err(End {
                outcome: Err(retryable("the socket was closed")),
                farewell: None,
            }),
        }
    }

    fn has_grown(&mut self) -> bool {
        let bytes = self.stream.get_ref().bytes;
        let grown = bytes.wrapping_sub(self.seen) >= GROWTH_BYTES;
        if grown {
            self.seen = bytes;
        }
        grown
    }

    /// Says why it leaves, or sends what answers the server's close.
    async fn leave(&mut self, farewell: Option<CloseCode>) -> Result<(), Error> {
        match farewell {
            Some(code) => {
                let reason = "".into();
                self.stream.close(Some(CloseFrame { code, reason })).await
            }
            None => self.stream.flush().await,
        }
    }
}

impl Message {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len().saturating_add(MESSAGE_BYTES),
            Self::Alive => MESSAGE_BYTES,
        }
    }
}

fn add_handshake(
    headers: &mut HeaderMap,
    key: &str,
    protocol: Option<&HeaderValue>,
) -> Result<(), Failure> {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    let key = HeaderValue::from_str(key);
    let key = key.map_err(|error| Failure::new(FailureClass::Unexpected, error.to_string()))?;
    headers.insert(SEC_WEBSOCKET_KEY, key);
    if let Some(protocol) = protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
    }
    Ok(())
}

/// Whether the answer is that to our handshake.
fn check(answer: &Answer<'_>, key: &str, protocol: Option<&HeaderValue>) -> Result<(), Failure> {
    let is = |name: HeaderName, wanted: Option<&str>| {
        let found = answer.text(name.clone())?;
        let same = match (found, wanted) {
            (Some(found), Some(wanted)) if name == UPGRADE => found.eq_ignore_ascii_case(wanted),
            (found, wanted) => found == wanted,
        };
        match same {
            true => Ok(()),
            false => Err(malformed(&format!(
                "the handshake's {name} is {found:?}, not {wanted:?}"
            ))),
        }
    };
    is(UPGRADE, Some("websocket"))?;
    is(
        SEC_WEBSOCKET_ACCEPT,
        Some(&derive_accept_key(key.as_bytes())),
    )?;
    let protocol = protocol.and_then(|protocol| protocol.to_str().ok());
    is(SEC_WEBSOCKET_PROTOCOL, protocol)
}

/// What a close says; the table is in PROTOCOL.md.
fn closed(frame: Option<CloseFrame>) -> Result<(), Failure> {
    let Some(CloseFrame { code, reason }) = frame else {
        return Ok(());
    };
    let class = match u16::from(code) {
        1000 | 1001 => {
            reach!("socket closed cleanly");
            return Ok(());
        }
        1002 | 1003 | 1007 | 1009 | 1010 => FailureClass::Malformed,
        1008 | 3000 | 3003 => FailureClass::Denied,
        1011..=1013 | 3008 => FailureClass::Retryable,
        _ => FailureClass::Unexpected,
    };
    let words = match reason.as_str() {
        "" => format!("the server closed the socket: {code}"),
        reason => format!("the server closed the socket: {code}: {reason}"),
    };
    Err(Failure::new(class, clip(&words)))
}

/// What an end without a close says.
fn broken(error: &Error) -> End {
    use tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
    let words = with_sources(error);
    let (class, farewell) = match error {
        Error::Io(_) | Error::Protocol(ResetWithoutClosingHandshake) => {
            reach!("socket broke off");
            (FailureClass::Retryable, None)
        }
        Error::Capacity(_) => (FailureClass::Malformed, Some(CloseCode::Size)),
        Error::Utf8(_) => (FailureClass::Malformed, Some(CloseCode::Invalid)),
        _ => (FailureClass::Malformed, Some(CloseCode::Protocol)),
    };
    End {
        outcome: Err(Failure::new(
            class,
            clip(&format!("the socket broke off: {words}")),
        )),
        farewell,
    }
}

/// A stream whose incoming bytes are counted, and that takes what it cannot send: a client has
/// nothing to say but pongs and its close, and what the server said before it stopped listening
/// still counts. That it did shows when reading.
struct Counted<S> {
    stream: S,
    bytes: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().len().saturating_sub(before);
        self.bytes = self.bytes.wrapping_add(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        Poll::Ready(written.or(Ok(bytes.len())))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(flushed.or(Ok(())))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
