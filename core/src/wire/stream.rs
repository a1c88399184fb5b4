//! The body of a watch by JSON lines.

use alloc::format;
use alloc::vec::Vec;

use bytes::Bytes;

use super::events::{Events, Parsed};
use super::lines::{Lines, Part, split};
use super::refusal::{malformed, retryable};
use super::text::Lossy;
use crate::frame::{Decoder, Frame};
use crate::input::Failure;

/// An event that has grown by so many bytes is a sign of life: a long one on a slow network is no
/// silence. One that hardly grows is.
const GROWTH_BYTES: usize = 1 << 10;

/// The body of a watch, as far as it has come.
#[derive(Debug)]
pub(super) struct Stream {
    lines: Lines,
    limit: usize,
    events: Events,
}

impl Stream {
    /// For events of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            lines: Lines::new(limit),
            limit,
            events: Events::default(),
        }
    }

    /// Takes what was read, and hands over what that completes, an event at a time.
    pub(super) fn push<V: 'static>(
        &mut self,
        bytes: &[u8],
        decoder: &Decoder<V>,
        hand_over: &mut dyn FnMut(Frame<'_, V>),
    ) -> Result<(), Failure> {
        let before = self.lines.unfinished();
        let mut parts = Vec::new();
        let outcome = self.lines.push(Bytes::copy_from_slice(bytes), &mut parts);
        for part in &parts {
            match part {
                Part::Lines(lines) => {
                    for line in split(lines) {
                        self.line(line, decoder, hand_over)?;
                    }
                }
                Part::TooLong(bytes) => {
                    self.hear(&Parsed::too_long(*bytes), decoder, hand_over)?;
                }
            }
        }
        if let Err(endless) = outcome {
            let bytes = endless.bytes;
            return Err(malformed(&format!(
                "a line without an end: {bytes} bytes so far"
            )));
        }
        if parts.is_empty() && self.lines.unfinished() / GROWTH_BYTES > before / GROWTH_BYTES {
            hand_over(Frame::Heartbeat);
        }
        Ok(())
    }

    fn line<V: 'static>(
        &mut self,
        line: &[u8],
        decoder: &Decoder<V>,
        hand_over: &mut dyn FnMut(Frame<'_, V>),
    ) -> Result<(), Failure> {
        if line.len() > self.limit {
            return self.hear(&Parsed::too_long(line.len()), decoder, hand_over);
        }
        let source = Lossy::new(line);
        self.hear(&Parsed::read(source.text(), &source), decoder, hand_over)
    }

    fn hear<V: 'static>(
        &mut self,
        parsed: &Parsed<'_>,
        decoder: &Decoder<V>,
        hand_over: &mut dyn FnMut(Frame<'_, V>),
    ) -> Result<(), Failure> {
        let (frames, outcome) = self.events.frames(core::slice::from_ref(parsed), decoder);
        frames.into_iter().for_each(hand_over);
        outcome
    }

    /// The body is over.
    pub(super) fn end(&self) -> Result<(), Failure> {
        match self.lines.unfinished() {
            0 => Ok(()),
            bytes => Err(retryable(&format!(
                "the stream was closed in mid-line, after {bytes} bytes of it"
            ))),
        }
    }
}
