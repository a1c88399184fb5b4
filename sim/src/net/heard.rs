//! What an informer was told, read off the bytes that reach its connections: it must not claim to
//! know more (P5, P9).

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use reflet_core::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::world::{Reporter, lock};
use crate::oracles::{Horizon, Readiness};

/// What is before an event that the server has sent as such.
const DATA: &[u8] = b"data: ";
/// How much is read at a time.
const PORTION: usize = 16 << 10;

/// What one informer has heard, over all of its connections.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// What it was told in full.
    pub(super) horizon: Horizon,
    /// Whether a list came to its end.
    pub(super) readiness: Readiness,
    /// When it heard anything at all, or began to listen.
    pub(super) at: Timestamp,
}

impl Heard {
    /// Nothing so far.
    pub(super) fn since(at: Timestamp) -> Self {
        Self {
            at,
            ..Self::default()
        }
    }
}

/// One connection's bytes, as far as they make sense so far.
#[derive(Debug, Default)]
struct Ear {
    pending: Vec<u8>,
    /// The headers of the answer that is being read.
    not_modified: bool,
    speech: Speech,
    epoch: Option<Arc<str>>,
    revision: Option<u64>,
}

/// What the bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Speech {
    /// Answers, one after the other.
    #[default]
    Http,
    /// The head of the last answer, before frames.
    Upgrade,
    /// A WebSocket's frames.
    Frames,
}

/// An event of a watch, a page, or the answer to a poll.
#[derive(Debug, Deserialize)]
struct Word {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    revision: Option<String>,
    #[serde(default)]
    last: bool,
    #[serde(default)]
    items: Option<IgnoredAny>,
    #[serde(default)]
    events: Option<IgnoredAny>,
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

impl Ear {
    /// Bytes have come. Chunks end where lines do, so lines that are no JSON are those of HTTP.
    fn hear(&mut self, bytes: &[u8], heard: &mut Heard) {
        self.pending.extend_from_slice(bytes);
        let pending = std::mem::take(&mut self.pending);
        let mut rest = &pending[..];
        while let Some(used) = self.take(rest, heard) {
            rest = rest.get(used..).unwrap_or_default();
        }
        self.pending = rest.to_vec();
    }

    /// Takes the first line or object, and says how long it is, once it is there.
    fn take(&mut self, rest: &[u8], heard: &mut Heard) -> Option<usize> {
        if self.speech == Speech::Frames {
            return self.frame(rest, heard);
        }
        let field = DATA.len() * usize::from(rest.starts_with(DATA));
        let text = rest.get(field..)?;
        if text.first() == Some(&b'{') {
            let mut words = serde_json::Deserializer::from_slice(text).into_iter::<Word>();
            match words.next()? {
                Ok(word) => {
                    self.word(&word, heard);
                    return Some(field + words.byte_offset());
                }
                Err(error) if error.is_eof() => return None,
                // Damaged on its way.
                Err(_) => {}
            }
        }
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        self.line(&String::from_utf8_lossy(&rest[..end]), heard);
        Some(end + 1)
    }

    /// Takes a frame of the server's: its head says how long it is, and it is not masked.
    fn frame(&mut self, rest: &[u8], heard: &mut Heard) -> Option<usize> {
        let (head, length): (usize, usize) = match *rest {
            [_, 126, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
            [_, 127, a, b, c, d, e, f, g, h, ..] => {
                let length = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
                (10, usize::try_from(length).ok()?)
            }
            [_, length @ 0..126, ..] => (2, usize::from(length)),
            _ => return None,
        };
        let end = head.checked_add(length)?;
        // Damaged on its way, or a ping.
        if let Ok(word) = serde_json::from_slice(rest.get(head..end)?) {
            self.word(&word, heard);
        }
        Some(end)
    }

    fn line(&mut self, line: &str, heard: &mut Heard) {
        let line = line.trim_end();
        if let Some((_, status)) = line.split_once("HTTP/1.1 ") {
            *self = Self::default();
            self.not_modified = status.starts_with("304");
            if status.starts_with("101") {
                self.speech = Speech::Upgrade;
            }
        } else if line.is_empty() && self.speech == Speech::Upgrade {
            self.speech = Speech::Frames;
        } else if let Some(epoch) = line.strip_prefix("x-reflet-epoch: ") {
            self.epoch = Some(epoch.into());
        } else if let Some(revision) = line.strip_prefix("x-reflet-revision: ") {
            self.revision = revision.parse().ok();
        } else if line.is_empty() && std::mem::take(&mut self.not_modified) {
            self.told(self.revision, heard);
        }
    }

    fn word(&self, word: &Word, heard: &mut Heard) {
        let revision = word.revision.as_ref();
        let revision = revision.and_then(|revision| revision.parse().ok());
        let full_list = word.items.is_some() && word.next.is_none();
        let bookmark = word.kind.as_deref() == Some("BOOKMARK");
        if full_list {
            heard.readiness.served();
        }
        if full_list || bookmark || word.last || word.events.is_some() {
            self.told(revision, heard);
        }
    }

    fn told(&self, revision: Option<u64>, heard: &mut Heard) {
        if let (Some(epoch), Some(revision)) = (&self.epoch, revision) {
            heard.horizon.told(epoch, revision);
        }
    }
}

/// A connection whose bytes are overheard as they come.
pub(super) struct Overheard<S> {
    stream: S,
    ear: Ear,
    heard: Arc<Mutex<Heard>>,
    reporter: Reporter,
}

impl<S> Overheard<S> {
    pub(super) fn new(stream: S, heard: &Arc<Mutex<Heard>>, reporter: &Reporter) -> Self {
        Self {
            stream,
            ear: Ear::default(),
            heard: Arc::clone(heard),
            reporter: reporter.clone(),
        }
    }
}

impl<S: Read + Unpin> Read for Overheard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut bytes = vec![0; buf.remaining().min(PORTION)];
        let mut portion = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut this.stream).poll_read(cx, portion.unfilled()))?;
        let mut heard = lock(&this.heard);
        heard.at = this.reporter.clock();
        this.ear.hear(portion.filled(), &mut heard);
        buf.put_slice(portion.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: Write + Unpin> Write for Overheard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is heard of an answer, whatever pieces it comes in.
    fn heard(answer: &str) -> Heard {
        let (mut ear, mut heard) = (Ear::default(), Heard::default());
        for piece in answer.as_bytes().chunks(7) {
            ear.hear(piece, &mut heard);
        }
        heard
    }

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nx-reflet-epoch: e\r\nx-reflet-revision: 9\r\n\r\n{body}")
    }

    fn is_told(answer: &str, revision: u64) -> bool {
        heard(answer).horizon.check("e", revision).is_ok()
    }

    #[test]
    fn a_transaction_is_told_with_its_last_event_and_no_header_tells_of_it() {
        let event = r#"{"type":"ADDED","revision":"4","key":"a","value":{"x":"{\n"}}"#;
        let last = event.replace(r#""key""#, r#""last":true,"key""#);
        let stream = |lines: &str| answer("200 OK", &format!("ff\r\n{lines}\n\r\n"));
        assert!(!is_told(&stream(event), 4));
        assert!(is_told(&stream(&format!("{event}\n{last}")), 4));
        assert!(!is_told(&stream(&last), 5));
        assert!(!is_told(&stream(&last[..last.len() - 1]), 4), "cut");
        assert!(
            !is_told(&stream(&last.replace("last", "la\0t")), 4),
            "garbled"
        );
        let bookmark = r#"{"type":"BOOKMARK","revision":"7"}"#;
        assert!(is_told(&stream(&format!("{last}\n{bookmark}")), 7));
    }

    #[test]
    fn events_and_frames_tell_what_lines_tell() {
        let last = r#"{"type":"ADDED","revision":"4","key":"a","last":true,"value":1}"#;
        let event = format!("ff\r\nid: 4.e\ndata: {last}\n\n\r\n");
        assert!(is_told(&answer("200 OK", &event), 4));
        assert!(
            !is_told(&answer("200 OK", &event[..event.len() - 7]), 4),
            "cut"
        );

        let padded = last.replace('1', &"1".repeat(200));
        let [high, low] = (padded.len() as u16).to_be_bytes();
        let frames = [b"\x89\x00\x81\x7e", &[high, low][..], padded.as_bytes()].concat();
        let head = answer("101 Switching Protocols", "");
        for (frames, told) in [(&frames[..], true), (&frames[..frames.len() - 1], false)] {
            let (mut ear, mut heard) = (Ear::default(), Heard::default());
            for piece in [head.as_bytes(), frames].concat().chunks(7) {
                ear.hear(piece, &mut heard);
            }
            assert_eq!(heard.horizon.check("e", 4).is_ok(), told);
        }
    }

    #[test]
    fn a_list_is_told_with_its_last_page() {
        let page = r#"{"revision":"6","epoch":"e","items":[],"continue":"t"}"#;
        let end = r#"{"revision":"6","epoch":"e","items":[]}"#;
        let first = heard(&answer("200 OK", page));
        assert!(first.readiness.check(true, "").is_err());
        assert!(first.horizon.check("e", 6).is_err());
        // The next answer follows without a break.
        let both = answer("200 OK", page) + &answer("200 OK", end);
        let all = heard(&both);
        assert_eq!(all.readiness.check(true, ""), Ok(()));
        assert_eq!(all.horizon.check("e", 6), Ok(()));
    }

    #[test]
    fn polls_tell_of_what_they_brought_or_that_there_was_nothing() {
        let poll = r#"{"revision":"5","epoch":"e","events":[{"revision":"5"}]}"#;
        assert!(is_told(&answer("200 OK", poll), 5));
        assert!(is_told(&answer("304 Not Modified", ""), 9));
        assert!(!is_told(&answer("503 Unavailable", "not now"), 9));
    }
}
