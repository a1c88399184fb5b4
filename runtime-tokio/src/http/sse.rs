//! Server-sent events, as the WHATWG's HTML standard describes them, in linear time and bounded
//! memory: bytes in, however they are cut, and events out. Nothing here knows what they say.

use std::mem;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use reflet_core::wire::parts::{Endless, GIVE_UP_FACTOR};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// What a stream says next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// An event with data.
    Event(Event),
    /// A comment, or an event without data: no more than a sign of life.
    Nothing,
    /// The least time from the end of the stream to the next attempt.
    Retry(Duration),
    /// An event of so many bytes was skipped.
    TooLong(usize),
}

/// An event with data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Its type, where it has another one than `message`.
    pub(super) name: Option<Box<str>>,
    /// Its lines of data, joined by line feeds. May be anything but UTF-8.
    pub(super) data: Bytes,
    /// Its own id. One that came without data, or with an earlier event, is nobody's: it would say
    /// of later events what the server has not said.
    pub(super) id: Option<Box<str>>,
}

/// The part of a stream that has come so far.
#[derive(Debug)]
pub(super) struct Decoder {
    limit: usize,
    /// The beginning of a line whose end has not come; empty for a comment, and once the event is
    /// too long.
    line: BytesMut,
    /// How many bytes of that line have come, kept or not.
    line_bytes: usize,
    is_comment: bool,
    /// The last byte was a carriage return: a line feed now would belong to it.
    after_cr: bool,
    /// How many bytes of a byte order mark have come, as long as there may be one.
    mark: Option<usize>,
    /// How many bytes the event's finished lines have, comments apart. More than the limit: it is
    /// too long, and nothing of it is kept.
    event_bytes: usize,
    data: BytesMut,
    name: Option<Box<str>>,
    id: Option<Box<str>>,
}

impl Decoder {
    /// For events of at most `limit` bytes, all their lines together.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            line: BytesMut::new(),
            line_bytes: 0,
            is_comment: false,
            after_cr: false,
            mark: Some(0),
            event_bytes: 0,
            data: BytesMut::new(),
            name: None,
            id: None,
        }
    }

    /// Takes what was read and appends what it completes to `items`.
    pub(super) fn push(&mut self, chunk: &[u8], items: &mut Vec<Item>) -> Result<(), Endless> {
        let mut rest = self.skip_mark(chunk)?;
        if !rest.is_empty() && mem::take(&mut self.after_cr) {
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
            let (line, after) = rest.split_at(end);
            self.finish_line(line, items)?;
            rest = match after {
                [b'\r', b'\n', rest @ ..] => rest,
                [byte, rest @ ..] => {
                    self.after_cr = *byte == b'\r' && rest.is_empty();
                    rest
                }
                [] => after,
            };
        }
        self.extend(rest)
    }

    /// What is left of a chunk without the byte order mark that a stream may begin with.
    fn skip_mark<'a>(&mut self, mut chunk: &'a [u8]) -> Result<&'a [u8], Endless> {
        while let (Some(come), Some((byte, rest))) = (self.mark, chunk.split_first()) {
            if BYTE_ORDER_MARK.get(come) == Some(byte) {
                self.mark = Some(come + 1);
                chunk = rest;
            } else {
                self.mark = None;
                if come < BYTE_ORDER_MARK.len() {
                    self.extend(BYTE_ORDER_MARK.get(..come).unwrap_or_default())?;
                }
            }
        }
        Ok(chunk)
    }

    /// How many bytes of an event or a comment have come without its end.
    pub(super) fn unfinished(&self) -> usize {
        self.event_bytes.saturating_add(self.line_bytes)
    }

    /// Takes a part of a line.
    fn extend(&mut self, part: &[u8]) -> Result<(), Endless> {
        if self.line_bytes == 0 {
            self.is_comment = part.first() == Some(&b':');
        }
        self.line_bytes = self.line_bytes.saturating_add(part.len());
        if self.unfinished() > self.limit {
            self.line = BytesMut::new();
        } else if !self.is_comment {
            self.line.extend_from_slice(part);
        }
        self.give_up()
    }

    fn give_up(&self) -> Result<(), Endless> {
        let bytes = self.unfinished();
        if bytes > self.limit.saturating_mul(GIVE_UP_FACTOR) {
            return Err(Endless { bytes });
        }
        Ok(())
    }

    fn finish_line(&mut self, end: &[u8], items: &mut Vec<Item>) -> Result<(), Endless> {
        if self.line_bytes == 0 {
            self.is_comment = end.first() == Some(&b':');
            self.line_bytes = end.len();
            self.give_up()?;
            self.line_bytes = 0;
            self.take_line(end, end.len(), items);
            return Ok(());
        }
        self.extend(end)?;
        let line = mem::take(&mut self.line);
        let bytes = mem::take(&mut self.line_bytes);
        self.take_line(&line, bytes, items);
        Ok(())
    }

    /// Takes a line that had so many bytes, of which there are fewer here if they were not kept.
    fn take_line(&mut self, line: &[u8], bytes: usize, items: &mut Vec<Item>) {
        if self.is_comment {
            items.push(Item::Nothing);
            return;
        }
        if bytes == 0 {
            items.push(self.dispatch());
            return;
        }
        self.event_bytes = self.event_bytes.saturating_add(bytes);
        if self.event_bytes > self.limit {
            self.data = BytesMut::new();
            (self.name, self.id) = (None, None);
        } else {
            self.field(line, items);
        }
    }

    fn field(&mut self, line: &[u8], items: &mut Vec<Item>) {
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => line.split_at(colon),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.extend_from_slice(b"\n");
            }
            b"event" => self.name = Some(String::from_utf8_lossy(value).into()),
            b"id" if !value.contains(&0) => self.id = Some(String::from_utf8_lossy(value).into()),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let text = String::from_utf8_lossy(value);
                // More than can be counted is still a wait; the engine caps it.
                let wait = text.parse().unwrap_or(u64::MAX);
                items.push(Item::Retry(Duration::from_millis(wait)));
            }
            // The standard wants what is unknown to be ignored.
            _ => {}
        }
    }

    /// An empty line is the end of an event.
    fn dispatch(&mut self) -> Item {
        let bytes = mem::take(&mut self.event_bytes);
        let (name, id) = (self.name.take(), self.id.take());
        let mut data = self.data.split();
        if bytes > self.limit {
            return Item::TooLong(bytes);
        }
        if data.is_empty() {
            return Item::Nothing;
        }
        data.truncate(data.len() - 1);
        Item::Event(Event {
            name: name.filter(|name| !matches!(&**name, "" | "message")),
            data: data.freeze(),
            id: id.filter(|id| !id.is_empty()),
        })
    }
}
