//! Turns the events of a watch into frames, whatever transport brought them.

use reflet_core::{Digest, Epoch, Failure, FailureClass, Revision};

use super::envelope::{Event, Position, Source, Text, revision};
use super::failure::{Asked, malformed, refused};
use super::pieces::{Entry, Labels};
use super::request::Answer;
use super::transport::Listener;
use crate::probe::reach;
use crate::source::{Commit, Decoder, Frame, Sink};

/// After so many events in a row that cannot be read the stream is not ours.
const BAD_IN_A_ROW: u32 = 16;

enum Parsed<'a> {
    Heartbeat,
    Event(Event<'a>, usize, &'a Source<'a>),
    Bad {
        size: usize,
        error: String,
        position: Option<Position<'a>>,
    },
}

/// Reads the events of one attempt.
pub(super) struct Events<'d, V> {
    decoder: &'d Decoder<V>,
    /// Events so far. Signs of life do not count: how many there are depends on the network.
    count: u64,
    /// How many in a row could not be read.
    bad: u32,
}

impl<'d, V: Clone + Send + Sync + 'static> Events<'d, V> {
    pub(super) fn new(decoder: &'d Decoder<V>) -> Self {
        Self {
            decoder,
            count: 0,
            bad: 0,
        }
    }

    /// Hands over what `entries` say, up to the first one that ends the attempt.
    pub(super) async fn feed(
        &mut self,
        entries: &[Entry<'_>],
        sink: &mut Sink<V>,
    ) -> Result<(), Failure> {
        let parsed: Vec<_> = entries.iter().map(parse).collect();
        let mut frames = Vec::with_capacity(parsed.len());
        let mut outcome = Ok(());
        for parsed in &parsed {
            outcome = self.read(parsed, &mut frames);
            if outcome.is_err() {
                break;
            }
        }
        sink.feed(frames).await;
        outcome
    }

    fn read<'f>(
        &mut self,
        parsed: &'f Parsed<'f>,
        frames: &mut Vec<Frame<'f, V>>,
    ) -> Result<(), Failure>
    where
        'd: 'f,
    {
        self.count += u64::from(!matches!(parsed, Parsed::Heartbeat));
        match parsed {
            Parsed::Heartbeat => {
                // One is as good as a thousand, and costs less memory.
                if !matches!(frames.last(), Some(Frame::Heartbeat)) {
                    frames.push(Frame::Heartbeat);
                }
                Ok(())
            }
            Parsed::Event(event, size, source) => self.event(event, *size, source, frames),
            Parsed::Bad {
                size,
                error,
                position,
            } => {
                self.undecodable(*size, error, frames)?;
                self.salvage(position.as_ref(), error, frames)
            }
        }
    }

    fn event<'f>(
        &mut self,
        event: &'f Event<'f>,
        size: usize,
        source: &'f Source<'f>,
        frames: &mut Vec<Frame<'f, V>>,
    ) -> Result<(), Failure>
    where
        'd: 'f,
    {
        let frame = match event.kind.as_str() {
            "ADDED" | "MODIFIED" => event.upsert(size, self.commit(event)?, source, self.decoder),
            "DELETED" => event.delete(size, self.commit(event)?, source, self.decoder),
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

    fn undecodable(
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
    fn salvage(
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

impl<V: Clone + Send + Sync + 'static> Listener<V> for Events<'_, V> {
    fn epoch(&self, answer: &Answer<'_>) -> Result<Option<Epoch>, Failure> {
        answer.epoch()
    }

    async fn hear(&mut self, entries: &[Entry<'_>], sink: &mut Sink<V>) -> Result<(), Failure> {
        self.feed(entries, sink).await
    }
}

fn parse<'a>(entry: &Entry<'a>) -> Parsed<'a> {
    match *entry {
        // One with a name is a word of a later version of the protocol.
        Entry::Json(_, _, Labels { name: Some(_), .. }) => Parsed::Heartbeat,
        Entry::Json(..) if entry.is_blank() => Parsed::Heartbeat,
        Entry::Json(json, source, _) => match Event::read(json, source) {
            Ok(event) => Parsed::Event(event, json.len(), source),
            Err(error) => Parsed::Bad {
                size: json.len(),
                error,
                position: serde_json::from_str(json).ok(),
            },
        },
        Entry::TooLong(size) => Parsed::Bad {
            size,
            error: format!("{size} bytes are more than the limit"),
            position: None,
        },
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
            super::failure::clip(&format!("an error without a status: {message}")),
        ),
    }
}
