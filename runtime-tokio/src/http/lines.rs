//! Splits what a connection brings into lines, in linear time and bounded memory.

use std::mem;

use bytes::{Bytes, BytesMut};

use super::pieces::{Endless, GIVE_UP_FACTOR, Piece};

/// The part of a line that has come so far.
#[derive(Debug)]
pub(super) struct Lines {
    limit: usize,
    /// Holds no line feed: each byte is looked at once, however they arrive.
    tail: BytesMut,
    /// How many bytes of a line that is too long have been dropped; zero: there is none.
    dropped: usize,
    /// The line's last byte is a carriage return, which may belong to its end: it does not count.
    after_cr: bool,
}

impl Lines {
    /// For lines of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            tail: BytesMut::new(),
            dropped: 0,
            after_cr: false,
        }
    }

    /// Takes what was read and appends what it completes to `pieces`.
    pub(super) fn push(
        &mut self,
        mut chunk: Bytes,
        pieces: &mut Vec<Piece>,
    ) -> Result<(), Endless> {
        let Some(end) = memchr::memchr(b'\n', &chunk) else {
            return self.extend(&chunk);
        };
        if self.unfinished() > 0 {
            let first = chunk.split_to(end + 1);
            self.finish_line(first, pieces)?;
        }
        if let Some(end) = memchr::memrchr(b'\n', &chunk) {
            self.push_lines(chunk.split_to(end + 1), pieces)?;
        }
        self.extend(&chunk)
    }

    /// Takes whole lines. Those that are too long are told apart when each is looked at; but after
    /// one that is far too long nobody may be expected to read on, however it came.
    fn push_lines(&self, mut lines: Bytes, pieces: &mut Vec<Piece>) -> Result<(), Endless> {
        let most = self.most();
        if lines.len() <= most {
            pieces.push(Piece::Lines(lines));
            return Ok(());
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &lines.clone()) {
            let bytes = without_cr(lines.get(start..end).unwrap_or(&[])).len();
            if bytes > most {
                lines.truncate(start);
                pieces.push(Piece::Lines(lines));
                return Err(Endless { bytes });
            }
            start = end + 1;
        }
        pieces.push(Piece::Lines(lines));
        Ok(())
    }

    /// How many bytes of a line have come without its end.
    pub(super) fn unfinished(&self) -> usize {
        self.tail.len().saturating_add(self.dropped)
    }

    fn extend(&mut self, part: &[u8]) -> Result<(), Endless> {
        let Some(last) = part.last() else {
            return Ok(());
        };
        let bytes = self.unfinished().saturating_add(part.len());
        self.after_cr = *last == b'\r';
        let long = bytes - usize::from(self.after_cr);
        if long <= self.limit {
            self.tail.extend_from_slice(part);
            return Ok(());
        }
        self.tail = BytesMut::new();
        self.dropped = bytes;
        if long > self.most() {
            return Err(Endless { bytes: long });
        }
        Ok(())
    }

    /// A line of more bytes than that ends the stream.
    fn most(&self) -> usize {
        self.limit.saturating_mul(GIVE_UP_FACTOR)
    }

    fn finish_line(&mut self, end: Bytes, pieces: &mut Vec<Piece>) -> Result<(), Endless> {
        self.extend(end.get(..end.len() - 1).unwrap_or(&[]))?;
        let after_cr = mem::take(&mut self.after_cr);
        pieces.push(match mem::take(&mut self.dropped) {
            0 => {
                self.tail.extend_from_slice(b"\n");
                Piece::Lines(self.tail.split().freeze())
            }
            bytes => Piece::TooLong(bytes - usize::from(after_cr)),
        });
        Ok(())
    }

    #[cfg(not(feature = "simulated"))]
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.tail.capacity()
    }
}

/// The lines of a piece without their line ends.
pub(super) fn split(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr::memchr_iter(b'\n', lines).map(move |end| {
        let line = lines.get(start..end).unwrap_or(&[]);
        start = end + 1;
        without_cr(line)
    })
}

/// A line end may be a carriage return and a line feed.
fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
