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
}

impl Lines {
    /// For lines of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            tail: BytesMut::new(),
            dropped: 0,
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
            pieces.push(Piece::Lines(chunk.split_to(end + 1)));
        }
        self.extend(&chunk)
    }

    /// How many bytes of a line have come without its end.
    pub(super) fn unfinished(&self) -> usize {
        self.tail.len().saturating_add(self.dropped)
    }

    fn extend(&mut self, part: &[u8]) -> Result<(), Endless> {
        let bytes = self.unfinished().saturating_add(part.len());
        if bytes <= self.limit {
            self.tail.extend_from_slice(part);
            return Ok(());
        }
        self.tail = BytesMut::new();
        self.dropped = bytes;
        if bytes > self.limit.saturating_mul(GIVE_UP_FACTOR) {
            return Err(Endless { bytes });
        }
        Ok(())
    }

    fn finish_line(&mut self, end: Bytes, pieces: &mut Vec<Piece>) -> Result<(), Endless> {
        self.extend(end.get(..end.len() - 1).unwrap_or(&[]))?;
        pieces.push(match mem::take(&mut self.dropped) {
            0 => {
                self.tail.extend_from_slice(b"\n");
                Piece::Lines(self.tail.split().freeze())
            }
            bytes => Piece::TooLong(bytes),
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
        line.strip_suffix(b"\r").unwrap_or(line)
    })
}
