//! The answer to one request over HTTP/1.1 (RFC 9112): its head, and its body as it comes.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use super::date;
use super::refusal::{malformed, retryable};
use super::text::shown;
use crate::input::Failure;
use crate::token::Epoch;

/// The most headers of an answer.
const HEADERS: usize = 128;
/// The most bytes of the line before a chunk, extensions included.
const CHUNK_LINE_BYTES: usize = 1 << 10;

/// What the head of an answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) epoch: Option<Epoch>,
    pub(super) content_type: Option<Box<[u8]>>,
    /// The body is compressed, or coded in another way.
    pub(super) encoded: bool,
    pub(super) location: Option<Box<str>>,
    pub(super) retry_after: Option<Duration>,
    /// The connection can be used again once the body has come.
    keep: bool,
}

/// How the end of the body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes are still to come; none: the answer is complete.
    Length(u64),
    /// The next is the line before a chunk.
    ChunkLine,
    /// So many bytes of a chunk are still to come.
    Chunk(u64),
    /// The next is the line end after a chunk.
    ChunkEnd,
    /// The next is a line of the trailers.
    Trailer,
    /// The body ends with the connection.
    UntilClosed,
}

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came<'a> {
    Head(Head),
    Body(&'a [u8]),
    /// The answer is complete. `keep`: the connection can be used again.
    End {
        keep: bool,
    },
    /// More has to be read first.
    Nothing,
}

/// An answer, as far as it has come.
#[derive(Debug)]
pub(super) struct Answer {
    most: usize,
    /// The beginning of the head, or of a line between chunks.
    begun: Vec<u8>,
    /// `None`: the head has not come.
    framing: Option<Framing>,
    keep: bool,
    trailer_bytes: usize,
}

impl Answer {
    /// An answer whose head may have so many bytes.
    pub(super) fn new(header_bytes: usize) -> Self {
        Self {
            most: header_bytes,
            begun: Vec::new(),
            framing: None,
            keep: false,
            trailer_bytes: 0,
        }
    }

    /// Takes the next thing from what was read; what is left in `bytes` comes after it.
    pub(super) fn next<'b>(&mut self, bytes: &mut &'b [u8]) -> Result<Came<'b>, Failure> {
        loop {
            let Some(framing) = self.framing else {
                return self.head(bytes);
            };
            if framing == Framing::Length(0) {
                // What comes after it was not asked for.
                let keep = self.keep && bytes.is_empty();
                return Ok(Came::End { keep });
            }
            if bytes.is_empty() {
                return Ok(Came::Nothing);
            }
            match framing {
                Framing::UntilClosed => return Ok(Came::Body(core::mem::take(bytes))),
                Framing::Length(left) => {
                    let (part, left) = take(bytes, left);
                    self.framing = Some(Framing::Length(left));
                    return Ok(Came::Body(part));
                }
                Framing::Chunk(left) => {
                    let (part, left) = take(bytes, left);
                    self.framing = Some(match left {
                        0 => Framing::ChunkEnd,
                        left => Framing::Chunk(left),
                    });
                    return Ok(Came::Body(part));
                }
                Framing::ChunkLine | Framing::ChunkEnd | Framing::Trailer => {
                    let Some(line) = self.line(framing, bytes)? else {
                        return Ok(Came::Nothing);
                    };
                    self.framing = Some(self.after(framing, &line)?);
                }
            }
        }
    }

    /// The connection was closed: whether the answer was complete.
    pub(super) fn closed(&self) -> Result<(), Failure> {
        match self.framing {
            Some(Framing::UntilClosed | Framing::Length(0)) => Ok(()),
            None if self.begun.is_empty() => {
                Err(retryable("the connection was closed without an answer"))
            }
            _ => Err(retryable("the answer broke off")),
        }
    }

    /// A line between chunks with its end, if all of it has come.
    fn line(&mut self, framing: Framing, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        // A trailer may be as long as a header.
        let most = match framing {
            Framing::Trailer => self.most,
            _ => CHUNK_LINE_BYTES,
        };
        let end = memchr::memchr(b'\n', bytes);
        let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        *bytes = rest;
        if self.begun.len() + part.len() > most {
            return Err(malformed("a line between chunks is too long"));
        }
        self.begun.extend_from_slice(part);
        Ok(end.map(|_| core::mem::take(&mut self.begun)))
    }

    /// What comes after a line between chunks.
    fn after(&mut self, framing: Framing, line: &[u8]) -> Result<Framing, Failure> {
        match framing {
            Framing::ChunkLine => {
                // No digits at all are a size of zero to httparse, which would end the body.
                let digits = line.first().is_some_and(u8::is_ascii_hexdigit);
                match httparse::parse_chunk_size(line) {
                    Ok(httparse::Status::Complete((_, size))) if digits => Ok(match size {
                        0 => Framing::Trailer,
                        size => Framing::Chunk(size),
                    }),
                    _ => {
                        let shown = shown(line);
                        let words = format!("this is not the size of a chunk: {shown}");
                        Err(malformed(&words))
                    }
                }
            }
            Framing::ChunkEnd => match line {
                b"\r\n" => Ok(Framing::ChunkLine),
                _ => Err(malformed("a chunk is longer than it says")),
            },
            // Nothing in the trailers means anything here.
            Framing::Trailer if line == b"\r\n" => Ok(Framing::Length(0)),
            framing => {
                self.trailer_bytes += line.len();
                if self.trailer_bytes > self.most {
                    return Err(malformed("the trailers are too long"));
                }
                Ok(framing)
            }
        }
    }

    fn head<'b>(&mut self, bytes: &mut &'b [u8]) -> Result<Came<'b>, Failure> {
        loop {
            // Each byte is looked at twice at most: an end can only be where a line feed is.
            let end = memchr::memchr(b'\n', bytes);
            let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            *bytes = rest;
            if self.begun.len() + part.len() > self.most {
                let most = self.most;
                return Err(malformed(&format!(
                    "the head of the answer has more than {most} bytes"
                )));
            }
            self.begun.extend_from_slice(part);
            if end.is_none() {
                return Ok(Came::Nothing);
            }
            if !(self.begun.ends_with(b"\n\r\n") || self.begun.ends_with(b"\n\n")) {
                continue;
            }
            let (head, framing) = parse(&self.begun)?;
            self.begun = Vec::new();
            // What comes before the answer proper, such as 103.
            let Some(framing) = framing else { continue };
            self.framing = Some(framing);
            self.keep = head.keep && framing != Framing::UntilClosed;
            return Ok(Came::Head(head));
        }
    }
}

/// The first `left` bytes, and how many are still to come.
fn take<'b>(bytes: &mut &'b [u8], left: u64) -> (&'b [u8], u64) {
    let have = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    let (part, rest) = bytes.split_at(have);
    *bytes = rest;
    (part, left - have as u64)
}

/// Reads a whole head; no framing: it is an interim answer.
fn parse(head: &[u8]) -> Result<(Head, Option<Framing>), Failure> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(malformed("the answer is not HTTP")),
        Err(error) => return Err(malformed(&format!("the answer is not HTTP: {error}"))),
    }
    let status = response.code.unwrap_or_default();
    if status == 101 {
        return Err(malformed("the connection was upgraded unasked"));
    }
    let mut head = Head {
        status,
        keep: response.version == Some(1),
        ..Head::default()
    };
    let mut length = None;
    let mut chunked = false;
    let (mut wait, mut date) = (None, None);
    for header in response.headers.iter() {
        let text = || {
            core::str::from_utf8(header.value)
                .map(str::trim_ascii)
                .map_err(|_| malformed(&format!("the header {} is not text", header.name)))
        };
        match &*header.name.to_ascii_lowercase() {
            "content-length" => {
                let text = text()?;
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let said = text.parse::<u64>().ok().filter(|_| digits);
                if said.is_none() || length.is_some_and(|known| Some(known) != said) {
                    return Err(malformed("the content length is no number"));
                }
                length = said;
            }
            "transfer-encoding" => {
                if chunked || !text()?.eq_ignore_ascii_case("chunked") {
                    return Err(malformed("the transfer encoding is not known"));
                }
                chunked = true;
            }
            "connection" => {
                let mut words = header.value.split(|byte| *byte == b',');
                if words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close")) {
                    head.keep = false;
                }
            }
            "content-encoding" => {
                let plain = header.value.trim_ascii().eq_ignore_ascii_case(b"identity");
                head.encoded |= !plain;
            }
            "content-type" if head.content_type.is_none() => {
                head.content_type = Some(header.value.into());
            }
            "location" if head.location.is_none() => {
                head.location = Some(shown(header.value).into());
            }
            // Of a refusal only the status counts, whatever its headers are.
            "x-reflet-epoch" if status == 200 && head.epoch.is_none() => {
                head.epoch = Some(Epoch::new(text()?));
            }
            "retry-after" if wait.is_none() => wait = Some(header.value.trim_ascii()),
            "date" if date.is_none() => date = date::seconds(header.value),
            _ => {}
        }
    }
    head.retry_after = wait.and_then(|wait| retry_after(wait, date));
    if chunked && length.is_some() {
        return Err(malformed("the answer has two lengths"));
    }
    let framing = match status {
        100..=199 => None,
        204 | 304 => Some(Framing::Length(0)),
        _ if chunked => Some(Framing::ChunkLine),
        _ => Some(length.map_or(Framing::UntilClosed, Framing::Length)),
    };
    Ok((head, framing))
}

/// A wait in seconds, or until a date: relative to the answer's own date, since there is no clock here
/// that knows dates.
fn retry_after(text: &[u8], date: Option<u64>) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        let until = date::seconds(text)?;
        return Some(Duration::from_secs(until.saturating_sub(date?)));
    }
    let digits = text.iter().map(|byte| u64::from(byte - b'0'));
    // More seconds than can be counted are still a wait; the engine caps it.
    let seconds = digits.fold(0, |sum: u64, digit| {
        sum.saturating_mul(10).saturating_add(digit)
    });
    Some(Duration::from_secs(seconds))
}
