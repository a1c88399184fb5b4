//! Splits what a connection brings into lines, in linear time and bounded memory.

use alloc::vec::Vec;
use core::mem;

use bytes::{Bytes, BytesMut};

/// How many times the limit something may be long before the stream is given up.
pub const GIVE_UP_FACTOR: usize = 8;

/// What was read, in the order in which it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Whole lines, each with its line feed.
    Lines(Bytes),
    /// A line of so many bytes was skipped.
    TooLong(usize),
}

/// Something is longer than anybody may be expected to read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endless {
    /// How many bytes of it came.
    pub bytes: usize,
}

/// The part of a line that has come so far.
#[derive(Debug)]
pub struct Lines {
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
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            tail: BytesMut::new(),
            dropped: 0,
            after_cr: false,
        }
    }

    /// Takes what was read and appends what it completes to `parts`.
    ///
    /// # Errors
    /// A line is more than eight times as long as one may be: nothing after that is taken.
    pub fn push(&mut self, mut chunk: Bytes, parts: &mut Vec<Part>) -> Result<(), Endless> {
        let Some(end) = memchr::memchr(b'\n', &chunk) else {
            return self.extend(&chunk);
        };
        if self.unfinished() > 0 {
            let first = chunk.split_to(end + 1);
            self.finish_line(first, parts)?;
        }
        if let Some(end) = memchr::memrchr(b'\n', &chunk) {
            self.push_lines(chunk.split_to(end + 1), parts)?;
        }
        self.extend(&chunk)
    }

    /// Takes whole lines. Those that are too long are told apart when each is looked at; but after
    /// one that is far too long nobody may be expected to read on, however it came.
    fn push_lines(&self, mut lines: Bytes, parts: &mut Vec<Part>) -> Result<(), Endless> {
        let most = self.most();
        if lines.len() <= most {
            parts.push(Part::Lines(lines));
            return Ok(());
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &lines.clone()) {
            let bytes = without_cr(lines.get(start..end).unwrap_or(&[])).len();
            if bytes > most {
                lines.truncate(start);
                parts.push(Part::Lines(lines));
                return Err(Endless { bytes });
            }
            start = end + 1;
        }
        parts.push(Part::Lines(lines));
        Ok(())
    }

    /// How many bytes of a line have come without its end.
    #[must_use]
    pub fn unfinished(&self) -> usize {
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

    fn finish_line(&mut self, end: Bytes, parts: &mut Vec<Part>) -> Result<(), Endless> {
        self.extend(end.get(..end.len() - 1).unwrap_or(&[]))?;
        let after_cr = mem::take(&mut self.after_cr);
        parts.push(match mem::take(&mut self.dropped) {
            0 => {
                self.tail.extend_from_slice(b"\n");
                Part::Lines(self.tail.split().freeze())
            }
            bytes => Part::TooLong(bytes - usize::from(after_cr)),
        });
        Ok(())
    }

    /// How many bytes are reserved for it.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.tail.capacity()
    }
}

/// The lines of a part without their line ends.
pub fn split(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
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

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned as _;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;

    use super::*;

    #[test]
    fn a_long_line_is_kept_up_to_the_limit_and_then_dropped() {
        let limit = 1 << 20;
        let mut lines = Lines::new(limit);
        let mut parts = Vec::new();
        let chunk = Bytes::from(vec![b'x'; 10_000]);
        let mut capacity = 0;
        for _ in 0..800 {
            lines.push(chunk.clone(), &mut parts).unwrap();
            capacity = capacity.max(lines.capacity());
        }
        assert!(capacity <= 2 * limit, "{capacity}");
        assert_eq!(
            lines.capacity(),
            0,
            "a line that is skipped takes no memory"
        );
        lines
            .push(Bytes::from_static(b"yz\nnext\nre"), &mut parts)
            .unwrap();
        assert_eq!(
            parts,
            [
                Part::TooLong(8_000_002),
                Part::Lines(Bytes::from_static(b"next\n"))
            ]
        );
        assert_eq!(lines.unfinished(), 2);
        let mut endless = Ok(());
        let mut pushed = 2;
        while endless.is_ok() {
            endless = lines.push(chunk.clone(), &mut parts);
            pushed += chunk.len();
        }
        assert_eq!(endless, Err(Endless { bytes: pushed }));
        assert!(pushed <= 8 * limit + chunk.len());
    }

    #[test]
    fn what_is_too_long_does_not_depend_on_how_it_comes() {
        let limit = 5;
        for length in [5, 6, 40, 41] {
            for end in ["\n", "\r\n"] {
                let text = format!("a{end}{}{end}b{end}", "x".repeat(length));
                let whole = split_up(&text, text.len(), limit);
                for first in 1..text.len() {
                    assert_eq!(split_up(&text, first, limit), whole, "{text:?}, {first}");
                }
                assert_eq!(whole.1, length > 8 * limit);
            }
        }
    }

    /// The lines of a text that comes in two parts, each with its length if it is too long, and whether
    /// the stream is given up.
    fn split_up(text: &str, first: usize, limit: usize) -> (Vec<(String, usize)>, bool) {
        let (mut lines, mut parts) = (Lines::new(limit), Vec::new());
        let outcome = [&text[..first], &text[first..]]
            .iter()
            .try_for_each(|part| lines.push(Bytes::copy_from_slice(part.as_bytes()), &mut parts));
        let mut found = Vec::new();
        for part in parts {
            match part {
                Part::Lines(lines) => found.extend(split(&lines).map(|line| {
                    let line = String::from_utf8_lossy(line);
                    let shown = if line.len() > limit { "" } else { &line };
                    (shown.to_owned(), line.len())
                })),
                Part::TooLong(bytes) => found.push((String::new(), bytes)),
            }
        }
        (found, outcome.is_err())
    }
}
