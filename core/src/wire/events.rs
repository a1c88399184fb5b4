//! Turns the events of a watch into frames, whatever transport brought them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::envelope::{Event, Position, revision};
use super::refusal::{Asked, malformed, refused};
use super::text::{Lossy, Text, clip, in_one_line};
use crate::digest::Digest;
use crate::frame::{Commit, Decoder, Frame};
use crate::input::{Failure, FailureClass};
use crate::probe::reach;
use crate::token::Revision;

/// After so many events in a row that cannot be read the stream is not ours.
const BAD_IN_A_ROW: u32 = 16;

/// One event, read as far as its envelope.
#[derive(Debug)]
pub struct Parsed<'a>(Word<'a>);

#[derive(Debug)]
enum Word<'a> {
    Heartbeat,
    Event(Event<'a>, usize, &'a Lossy<'a>),
    Bad {
        size: usize,
        error: String,
        position: Option<Position<'a>>,
    },
}

impl<'a> Parsed<'a> {
    /// A sign of life.
    pub const HEARTBEAT: Self = Self(Word::Heartbeat);

    /// Reads an event's JSON, which is a part of `source`; a blank one is a sign of life.
    #[must_use]
    pub fn read(json: &'a str, source: &'a Lossy<'a>) -> Self {
        if json.trim_ascii().is_empty() {
            return Self::HEARTBEAT;
        }
        Self(match Event::read(json, source) {
            Ok(event) => Word::Event(event, json.len(), source),
            Err(error) => Word::Bad {
                size: json.len(),
                error,
                position: serde_json::from_str(json).ok(),
            },
        })
    }

    /// An event of so many bytes, which were too many to be kept.
    #[must_use]
    pub fn too_long(size: usize) -> Self {
        Self(Word::Bad {
            size,
            error: format!("{size} bytes are more than the limit"),
            position: None,
        })
    }
}

/// Reads the events of one attempt.
#[derive(Debug, Default)]
pub struct Events {
    /// Events so far. Signs of life do not count: how many there are depends on the network.
    count: u64,
    /// How many in a row could not be read.
    bad: u32,
}

impl Events {
    /// What `parsed` say, up to the first one that ends the attempt, and whether one did.
    pub fn frames<'f, V: 'static>(
        &mut self,
        parsed: &'f [Parsed<'f>],
        decoder: &'f Decoder<V>,
    ) -> (Vec<Frame<'f, V>>, Result<(), Failure>) {
        let mut frames = Vec::with_capacity(parsed.len());
        for parsed in parsed {
            if let Err(failure) = self.read(&parsed.0, decoder, &mut frames) {
                return (frames, Err(failure));
            }
        }
        (frames, Ok(()))
    }

    fn read<'f, V: 'static>(
        &mut self,
        word: &'f Word<'f>,
        decoder: &'f Decoder<V>,
        frames: &mut Vec<Frame<'f, V>>,
    ) -> Result<(), Failure> {
        self.count += u64::from(!matches!(word, Word::Heartbeat));
        match word {
            Word::Heartbeat => {
                // One is as good as a thousand, and costs less memory.
                if !matches!(frames.last(), Some(Frame::Heartbeat)) {
                    frames.push(Frame::Heartbeat);
                }
                Ok(())
            }
            Word::Event(event, size, source) => self.event(event, *size, source, decoder, frames),
            Word::Bad {
                size,
                error,
                position,
            } => {
                self.undecodable(*size, error, frames)?;
                self.salvage(position.as_ref(), error, frames)
            }
        }
    }

    fn event<'f, V: 'static>(
        &mut self,
        event: &'f Event<'f>,
        size: usize,
        source: &'f Lossy<'f>,
        decoder: &'f Decoder<V>,
        frames: &mut Vec<Frame<'f, V>>,
    ) -> Result<(), Failure> {
        let frame = match event.kind.as_str() {
            "ADDED" | "MODIFIED" => event.upsert(size, self.commit(event)?, source, decoder),
            "DELETED" => event.delete(size, self.commit(event)?, source, decoder),
            "BOOKMARK" => {
                let revision = self.revision(event.revision.as_ref())?;
                let digest = event.digest.as_ref();
                let digest = digest.map(|digest| self.digest(digest)).transpose()?;
                Ok(Frame::Progress(revision, digest))
            }
            "ERROR" => {
                reach!("stream ended with an error's line");
                return Err(failure(event));
            }
            // A word of a later version of the protocol. What hangs on it shows by `previous`.
            _ => {
                frames.push(Frame::Heartbeat);
                return Ok(());
            }
        };
        match frame {
            Ok(frame) => {
                self.bad = 0;
                frames.push(frame);
            }
            Err(error) => self.undecodable(size, error, frames)?,
        }
        if event.last {
            frames.push(Frame::BatchEnd(self.revision(event.revision.as_ref())?));
        }
        Ok(())
    }

    fn commit(&self, event: &Event<'_>) -> Result<Commit, Failure> {
        let previous = event.previous.as_ref();
        let previous = previous.map(|text| self.revision(Some(text))).transpose()?;
        Ok(Commit {
            revision: Some(self.revision(event.revision.as_ref())?),
            previous,
        })
    }

    /// A revision that the stream depends on: without it nobody knows where the stream stands.
    fn revision(&self, text: Option<&Text<'_>>) -> Result<Revision, Failure> {
        let text = text.ok_or_else(|| self.broken("the revision is missing"))?;
        revision(text).ok_or_else(|| {
            self.broken(&format!(
                "the revision {:?} is not a decimal",
                text.as_str()
            ))
        })
    }

    fn digest(&self, text: &Text<'_>) -> Result<Digest, Failure> {
        let text = text.as_str();
        let hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digest = u64::from_str_radix(text, 16).ok().filter(|_| hex);
        digest.map(Digest).ok_or_else(|| {
            self.broken(&format!("the digest {text:?} is not 16 hexadecimal digits"))
        })
    }

    fn undecodable<V>(
        &mut self,
        size: usize,
        error: &str,
        frames: &mut Vec<Frame<'_, V>>,
    ) -> Result<(), Failure> {
        reach!("event that cannot be read");
        let error = format!("event {}: {error}", self.count);
        self.bad += 1;
        if self.bad >= BAD_IN_A_ROW {
            let all = self.bad;
            return Err(malformed(&format!(
                "{all} events in a row cannot be read; {error}"
            )));
        }
        frames.push(Frame::Undecodable { size, error });
        Ok(())
    }

    /// What an event that could not be read still says about the stream.
    fn salvage<V>(
        &self,
        position: Option<&Position<'_>>,
        error: &str,
        frames: &mut Vec<Frame<'_, V>>,
    ) -> Result<(), Failure> {
        let Some(position) = position else {
            return Ok(());
        };
        if position.fails() || position.is_bookmark() {
            return Err(self.broken(error));
        }
        if position.ends_batch() {
            let revision = position.revision().ok_or_else(|| self.broken(error))?;
            frames.push(Frame::BatchEnd(revision));
        }
        Ok(())
    }

    fn broken(&self, what: &str) -> Failure {
        malformed(&format!("event {}: {what}", self.count))
    }
}

/// The failure that an ERROR event reports.
fn failure(event: &Event<'_>) -> Failure {
    let reason = event.reason.as_ref().map(Text::as_str);
    let message = event.message.as_ref().map_or("", Text::as_str);
    let status = event.status.or(match reason {
        Some("Gone") => Some(410),
        Some("Behind") => Some(412),
        _ => None,
    });
    match status {
        Some(status) => refused(Asked::Watch, status, reason, message),
        None => Failure::new(
            FailureClass::Unexpected,
            clip(&in_one_line(&format!(
                "an error without a status: {message}"
            ))),
        ),
    }
}
