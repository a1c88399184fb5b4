//! A server that is a script, at the other end of a connection in memory. It answers each request
//! with the next reply, whatever was asked, and cuts what it sends into pieces of given sizes.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use reflet_tokio::http::{Connect, Target};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What a server does once it has said everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It waits for the next request.
    Keep,
    /// It closes the connection.
    Close,
    /// It breaks the connection off.
    Reset,
}

/// One answer, head and body.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
}

/// How a body is told from what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By its length.
    Length,
    /// In chunks of so many bytes, each with its size.
    Chunks(usize),
    /// By the end of the connection.
    Close,
}

impl Reply {
    /// An answer with these headers, each with its line end. `whole`: the body comes to its end.
    pub(crate) fn new(head: &str, body: &[u8], framing: Framing, whole: bool) -> Self {
        let mut bytes = format!("HTTP/1.1 {head}").into_bytes();
        let mut then = if whole { Then::Keep } else { Then::Reset };
        match framing {
            Framing::Length => {
                let length = body.len() + usize::from(!whole);
                bytes.extend(format!("content-length: {length}\r\n\r\n").bytes());
                bytes.extend(body);
            }
            Framing::Chunks(size) => {
                bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
                for chunk in body.chunks(size.max(1)) {
                    bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                    bytes.extend(chunk);
                    bytes.extend(b"\r\n");
                }
                if whole {
                    bytes.extend(b"0\r\n\r\n");
                }
            }
            Framing::Close => {
                bytes.extend(b"\r\n");
                bytes.extend(body);
                then = if whole { Then::Close } else { Then::Reset };
            }
        }
        Self { bytes, then }
    }
}

impl Reply {
    /// An answer that makes a WebSocket of the connection, and each line of the body a text on it.
    pub(crate) fn socket(head: &str, body: &[u8]) -> Self {
        let mut bytes = format!("HTTP/1.1 {head}\r\n").into_bytes();
        for line in body.split(|byte| *byte == b'\n') {
            bytes.extend(frame(TEXT, line));
        }
        let then = Then::Close;
        Self { bytes, then }
    }
}

/// The first byte of a whole text on a WebSocket.
pub(crate) const TEXT: u8 = 0x81;

/// A frame of a WebSocket's server, which is not masked. What is longer than 64 KiB is cut off.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let payload = payload.get(..0xffff).unwrap_or(payload);
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => bytes.push(length),
        _ => {
            bytes.push(126);
            bytes.extend((payload.len() as u16).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

/// Where a server's words are cut: after so many bytes, again and again.
#[derive(Clone, Debug)]
pub(crate) struct Cuts(Vec<usize>);

impl Cuts {
    /// Wherever the reader's buffer ends.
    pub(crate) fn nowhere() -> Self {
        Self(vec![usize::MAX])
    }

    pub(crate) fn at(sizes: impl IntoIterator<Item = u8>) -> Self {
        let sizes: Vec<_> = sizes
            .into_iter()
            .map(|size| usize::from(size) + 1)
            .collect();
        match sizes.is_empty() {
            true => Self::nowhere(),
            false => Self(sizes),
        }
    }
}

/// Where the script's server is.
#[derive(Clone)]
pub(crate) struct Line {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    asked: Arc<Mutex<usize>>,
    cuts: Cuts,
}

impl Line {
    /// Afterwards every request is refused as one that may be made again.
    pub(crate) fn new(script: Vec<Reply>, cuts: Cuts) -> Self {
        Self {
            replies: Arc::new(Mutex::new(script.into())),
            asked: Arc::default(),
            cuts,
        }
    }

    /// How many requests came.
    pub(crate) fn asked(&self) -> usize {
        *locked(&self.asked)
    }
}

impl Connect for Line {
    type Stream = Connection;

    async fn connect(&self, _: &Target) -> io::Result<Connection> {
        Ok(Connection {
            line: self.clone(),
            asked: Vec::new(),
            answers: VecDeque::new(),
            then: Then::Keep,
            pieces: 0,
            paused: false,
            reader: None,
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection to the script's server.
pub(crate) struct Connection {
    line: Line,
    /// The head of a request whose end has not come.
    asked: Vec<u8>,
    answers: VecDeque<u8>,
    then: Then,
    /// How many pieces have been read.
    pieces: usize,
    /// A piece has been read, and the next one has not come yet.
    paused: bool,
    reader: Option<Waker>,
}

impl Connection {
    /// The next reply, if a request is whole. After a WebSocket's handshake there is none any more.
    fn answer(&mut self) {
        let Some(end) = self.asked.windows(4).position(|four| four == b"\r\n\r\n") else {
            return;
        };
        let rest = self.asked.split_off(end + 4);
        let head = std::mem::replace(&mut self.asked, rest);
        *locked(&self.line.asked) += 1;
        let next = locked(&self.line.replies).pop_front();
        let unavailable = "503 Service Unavailable\r\n";
        let next = next.unwrap_or_else(|| Reply::new(unavailable, b"", Framing::Length, true));
        self.answers.extend(accepted(&next.bytes, &head));
        self.then = next.then;
    }
}

/// What stands in a reply for the answer to the key of a WebSocket's handshake.
pub(crate) const ACCEPT: &str = "{accept}";

fn accepted(reply: &[u8], head: &[u8]) -> Vec<u8> {
    let Some(at) = reply
        .windows(ACCEPT.len())
        .position(|part| part == ACCEPT.as_bytes())
    else {
        return reply.to_vec();
    };
    let head = String::from_utf8_lossy(head);
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name == "sec-websocket-key").then(|| value.trim())
    });
    let accept = derive_accept_key(key.unwrap_or_default().as_bytes());
    let (before, after) = reply.split_at(at);
    [before, accept.as_bytes(), &after[ACCEPT.len()..]].concat()
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.paused) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.answers.is_empty() {
            return match self.then {
                Then::Close => Poll::Ready(Ok(())),
                Then::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Then::Keep => {
                    self.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        }
        let Cuts(sizes) = &self.line.cuts;
        let size = sizes[self.pieces % sizes.len()];
        let size = size.min(self.answers.len()).min(buf.remaining());
        let piece: Vec<_> = self.answers.drain(..size).collect();
        buf.put_slice(&piece);
        self.pieces += 1;
        self.paused = true;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.asked.extend(bytes);
        self.answer();
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
