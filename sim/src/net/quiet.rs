//! A connection that is only flushed when there is something to flush, and that can be damaged
//! from outside: what was upgraded has no body that could be, and no task that is known.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::body::Damage;
use super::world::lock;

/// What becomes of a connection. Clones are about the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire(Arc<Mutex<Fate>>);

#[derive(Debug, Default)]
struct Fate {
    is_broken: bool,
    /// What happens after so many more bytes.
    damage: Option<(Damage, usize)>,
    reader: Option<Waker>,
}

impl Wire {
    /// It breaks.
    pub(super) fn break_off(&self) {
        let mut fate = lock(&self.0);
        fate.is_broken = true;
        if let Some(reader) = fate.reader.take() {
            reader.wake();
        }
    }

    /// It is damaged after so many more bytes.
    pub(super) fn damage(&self, damage: Damage, after: usize) {
        lock(&self.0).damage = Some((damage, after));
    }

    pub(super) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    fn check(&self) -> io::Result<()> {
        match lock(&self.0).is_broken {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }

    /// What is sent of these bytes.
    fn send(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let damage = lock(&self.0).damage;
        let mut bytes = bytes.to_vec();
        match damage {
            Some((Damage::Garble, at)) => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = 0;
                }
            }
            Some((Damage::Cut | Damage::End, 0)) => {
                self.break_off();
                self.check()?;
            }
            Some((Damage::Cut | Damage::End, after)) => bytes.truncate(after),
            None => {}
        }
        Ok(bytes)
    }

    fn sent(&self, bytes: usize) {
        let damage = &mut lock(&self.0).damage;
        *damage = damage.and_then(|(damage, after)| {
            // The byte to garble was among these.
            let is_done = damage == Damage::Garble && after < bytes;
            (!is_done).then_some((damage, after.saturating_sub(bytes)))
        });
    }
}

/// madsim sends a packet for every flush, an empty one too, and hyper flushes whenever it is woken:
/// two such ends would wake each other for ever.
pub(super) struct Quiet<S> {
    stream: S,
    wire: Wire,
    written: bool,
}

impl<S> Quiet<S> {
    pub(super) fn new(stream: S, wire: Wire) -> Self {
        Self {
            stream,
            wire,
            written: false,
        }
    }
}

impl<S: Read + Unpin> Read for Quiet<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.wire.check()?;
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_pending() {
            lock(&self.wire.0).reader = Some(cx.waker().clone());
        }
        read
    }
}

impl<S: Write + Unpin> Write for Quiet<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.wire.check()?;
        self.written = true;
        let bytes = self.wire.send(buf)?;
        let written = Pin::new(&mut self.stream).poll_write(cx, &bytes);
        if let Poll::Ready(Ok(bytes)) = written {
            self.wire.sent(bytes);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.written {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.written = flushed.is_pending();
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
