//! One request and its answer: bytes out, bytes in, and what they mean to the informer.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::hash::BuildHasher;
use core::mem;

use super::answer::{Answer, Came, Head};
use super::endpoint::{Endpoint, WireLimits};
use super::page::Page;
use super::refusal::{Asked, Words, malformed, refused, retryable};
use super::secrets::hide_all;
use super::stream::Stream;
use super::text::{Lossy, Text, shown};
use crate::frame::{Decoder, Frame};
use crate::informer::Informer;
use crate::input::{Attempt, Failure, FailureClass, Input};
use crate::key::Key;
use crate::output::Command;
use crate::probe::reach;
use crate::time::Timestamp;
use crate::token::Epoch;

/// How much of a refusal is read for its words: the status alone already says what to do.
const REFUSAL_BYTES: usize = 8 << 10;

/// What an exchange needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an exchange that is done takes nothing more"]
pub enum Next {
    /// More of the answer.
    More,
    /// Nothing: the informer knows how it ended.
    Done {
        /// Whether another request may be written to the connection. If not, close it.
        keep: bool,
    },
}

/// One list or watch of the informer, on its way over a connection.
///
/// Write [`request`](Self::request) to a connection, and hand what comes back to
/// [`read`](Self::read), until it is [`Done`](Next::Done). When the connection is closed or fails, say
/// so by [`closed`](Self::closed) or [`failed`](Self::failed). When the engine cancels the
/// [`attempt`](Self::attempt), drop the exchange and close the connection.
///
/// Redirects are not followed, and nothing is decompressed. What a refusal means is told once its body
/// has come, by which a server says more; a server that never sends one is given up by the engine's
/// patience, or earlier by [`failed`](Self::failed), which then tells what the status says.
pub struct Exchange {
    attempt: Attempt,
    asked: Asked,
    /// `Err`: the command asks for what this protocol has not got.
    request: Result<Box<[u8]>, &'static str>,
    limits: WireLimits,
    secrets: Arc<[Box<str>]>,
    answer: Answer,
    body: Body,
}

enum Body {
    /// The head has not come.
    Awaited,
    Page {
        epoch: Option<Epoch>,
        bytes: Vec<u8>,
    },
    Watch(Stream),
    Refusal {
        head: Head,
        bytes: Vec<u8>,
    },
    /// The informer knows how it ended.
    Done,
}

impl Exchange {
    /// The request that a command asks for; `None`: it asks for none, but cancels one.
    #[must_use]
    pub fn new(endpoint: &Endpoint, command: &Command) -> Option<Self> {
        let (attempt, asked) = match command {
            Command::List { attempt, .. } => (*attempt, Asked::List),
            Command::Watch { attempt, .. } => (*attempt, Asked::Watch),
            Command::Cancel { .. } => return None,
        };
        let limits = endpoint.read_limits();
        let request = endpoint.request(command).map(String::into_bytes);
        Some(Self {
            attempt,
            asked,
            request: request.map(Vec::into_boxed_slice),
            limits,
            secrets: endpoint.secrets(),
            answer: Answer::new(limits.header_bytes),
            body: Body::Awaited,
        })
    }

    /// Which of the informer's attempts it is.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// What is to be written to the connection, all of it. Holds what the headers hold, secrets
    /// included.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        self.request.as_deref().unwrap_or_default()
    }

    /// Takes what was read from the connection, of any length, and tells the informer what it means.
    /// Values are decoded by `decoder`, and only where the cache does not hold them.
    pub fn read<K: Key<Borrowed = str>, V: Clone + 'static, S: BuildHasher + Clone>(
        &mut self,
        informer: &mut Informer<K, V, S>,
        now: Timestamp,
        bytes: &[u8],
        decoder: &Decoder<V>,
    ) -> Next {
        let mut ear = Ear {
            informer,
            now,
            attempt: self.attempt,
        };
        match self.take(bytes, decoder, &mut ear) {
            Ok(next) => next,
            Err(failure) => self.end(&mut ear, Err(failure), false),
        }
    }

    /// The connection was closed by the other side, with nothing left to be read.
    pub fn closed<K: Key<Borrowed = str>, V: Clone + 'static, S: BuildHasher + Clone>(
        &mut self,
        informer: &mut Informer<K, V, S>,
        now: Timestamp,
        decoder: &Decoder<V>,
    ) -> Next {
        let mut ear = Ear {
            informer,
            now,
            attempt: self.attempt,
        };
        let outcome = match (&self.body, self.answer.closed()) {
            // The next page's exchange has the same attempt: nothing may be said twice.
            (Body::Done, _) => Ok(()),
            (_, Ok(())) => self.complete(decoder, &mut ear),
            (_, Err(failure)) => Err(failure),
        };
        self.end(&mut ear, outcome, false)
    }

    /// There is no connection, or it failed; `words` say why.
    pub fn failed<K: Key<Borrowed = str>, V: Clone + 'static, S: BuildHasher + Clone>(
        &mut self,
        informer: &mut Informer<K, V, S>,
        now: Timestamp,
        words: &str,
    ) -> Next {
        let mut ear = Ear {
            informer,
            now,
            attempt: self.attempt,
        };
        if matches!(self.body, Body::Done) {
            return Next::Done { keep: false };
        }
        let failure = match self.request {
            Ok(_) => retryable(words),
            Err(words) => Failure::new(FailureClass::Unsupported, words),
        };
        self.end(&mut ear, Err(failure), false)
    }

    fn take<K: Key<Borrowed = str>, V: Clone + 'static, S: BuildHasher + Clone>(
        &mut self,
        mut bytes: &[u8],
        decoder: &Decoder<V>,
        ear: &mut Ear<'_, K, V, S>,
    ) -> Result<Next, Failure> {
        while !matches!(self.body, Body::Done) {
            match self.answer.next(&mut bytes)? {
                Came::Head(head) => self.head(head, ear)?,
                Came::Body(part) => self.part(part, decoder, ear)?,
                Came::Nothing => return Ok(Next::More),
                Came::End { keep } => {
                    let outcome = self.complete(decoder, ear);
                    return Ok(self.end(ear, outcome, keep));
                }
            }
        }
        Ok(Next::Done { keep: false })
    }

    fn head<K: Key<Borrowed = str>, V: Clone, S: BuildHasher + Clone>(
        &mut self,
        head: Head,
        ear: &mut Ear<'_, K, V, S>,
    ) -> Result<(), Failure> {
        if head.status != 200 {
            reach!(
                "watch refused as gone",
                head.status == 410 && self.asked == Asked::Watch
            );
            self.body = Body::Refusal {
                head,
                bytes: Vec::new(),
            };
            return Ok(());
        }
        if head.encoded {
            return Err(malformed("a content encoding was not asked for"));
        }
        if let Some(content) = head.content_type {
            let json = content.to_ascii_lowercase();
            if memchr::memmem::find(&json, b"json").is_none() {
                let shown = shown(&content);
                return Err(malformed(&format!("the content is {shown}, not JSON")));
            }
        }
        self.body = match self.asked {
            Asked::List => Body::Page {
                epoch: head.epoch,
                bytes: Vec::new(),
            },
            Asked::Watch => {
                ear.say(Input::Opened { epoch: head.epoch });
                Body::Watch(Stream::new(self.limits.line_bytes))
            }
        };
        Ok(())
    }

    fn part<K: Key<Borrowed = str>, V: Clone + 'static, S: BuildHasher + Clone>(
        &mut self,
        part: &[u8],
        decoder: &Decoder<V>,
        ear: &mut Ear<'_, K, V, S>,
    ) -> Result<(), Failure> {
        match &mut self.body {
            Body::Page { bytes, .. } => {
                let limit = self.limits.page_bytes;
                if part.len() > limit.saturating_sub(bytes.len()) {
                    return Err(malformed(&format!(
                        "the answer has more than {limit} bytes"
                    )));
                }
                bytes.extend_from_slice(part);
                // A long answer is no silence.
                ear.say(Input::Heartbeat);
                Ok(())
            }
            Body::Watch(stream) => stream.push(part, decoder, &mut |frame| ear.frame(frame)),
            Body::Refusal { bytes, .. } => {
                let room = REFUSAL_BYTES - bytes.len();
                bytes.extend_from_slice(part.get(..room).unwrap_or(part));
                if bytes.len() < REFUSAL_BYTES {
                    return Ok(());
                }
                Err(malformed("the words of a refusal have no end"))
            }
            Body::Awaited | Body::Done => Ok(()),
        }
    }

    /// The body has come: what it says.
    fn complete<K: Key<Borrowed = str>, V: Clone + 'static, S: BuildHasher + Clone>(
        &mut self,
        decoder: &Decoder<V>,
        ear: &mut Ear<'_, K, V, S>,
    ) -> Result<(), Failure> {
        match mem::replace(&mut self.body, Body::Done) {
            Body::Page { epoch, bytes } => page(&bytes, epoch, decoder, ear),
            Body::Watch(stream) => {
                stream.end()?;
                ear.say(Input::Closed);
                Ok(())
            }
            Body::Refusal { head, bytes } => Err(refusal(self.asked, &head, &bytes)),
            Body::Awaited | Body::Done => Ok(()),
        }
    }

    /// It is over, and the informer is told so if it failed.
    fn end<K: Key<Borrowed = str>, V: Clone, S: BuildHasher + Clone>(
        &mut self,
        ear: &mut Ear<'_, K, V, S>,
        outcome: Result<(), Failure>,
        keep: bool,
    ) -> Next {
        let body = mem::replace(&mut self.body, Body::Done);
        let Err(mut failure) = outcome else {
            return Next::Done { keep };
        };
        if let Body::Refusal { head, bytes } = body {
            // However its words broke off, what it means is known.
            failure = refusal(self.asked, &head, &bytes);
        }
        // A proxy that is in trouble may well answer with the request that it got.
        let secrets = self.secrets.iter().map(|secret| &**secret);
        ear.say(Input::Failed(hide_all(failure, secrets)));
        Next::Done { keep: false }
    }
}

impl fmt::Debug for Exchange {
    /// The request is not shown: its headers may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("attempt", &self.attempt)
            .field("asked", &self.asked)
            .field("done", &matches!(self.body, Body::Done))
            .finish_non_exhaustive()
    }
}

/// The informer, for one attempt at one moment.
struct Ear<'i, K: Key, V, S> {
    informer: &'i mut Informer<K, V, S>,
    now: Timestamp,
    attempt: Attempt,
}

impl<K: Key<Borrowed = str>, V: Clone, S: BuildHasher + Clone> Ear<'_, K, V, S> {
    fn say(&mut self, input: Input<'_, K, V>) {
        self.informer.handle(self.now, self.attempt, input);
    }

    fn frame(&mut self, frame: Frame<'_, V>) {
        self.informer.feed(self.now, self.attempt, frame);
    }
}

fn page<K: Key<Borrowed = str>, V: Clone + 'static, S: BuildHasher + Clone>(
    body: &[u8],
    head: Option<Epoch>,
    decoder: &Decoder<V>,
    ear: &mut Ear<'_, K, V, S>,
) -> Result<(), Failure> {
    let source = Lossy::new(body);
    let page = Page::read(&source, head)?;
    ear.say(Input::Page {
        epoch: page.epoch().cloned(),
        revision: Some(page.revision().clone()),
    });
    for item in page.items() {
        ear.frame(item?.frame(decoder));
    }
    ear.say(Input::PageEnd { next: page.next() });
    Ok(())
}

/// What an answer other than the hoped-for one means.
fn refusal(asked: Asked, head: &Head, body: &[u8]) -> Failure {
    // Words that nobody can read are none.
    let body = if head.encoded { &[] } else { body };
    let words: Words<'_> = serde_json::from_slice(body).unwrap_or_default();
    let reason = words.reason.as_ref().map(Text::as_str);
    let message = match (&words.message, &head.location) {
        (_, Some(place)) if (300..400).contains(&head.status) => {
            format!("redirects are not followed; it points to {place}")
        }
        (Some(message), _) => message.as_str().into(),
        (None, _) => shown(body),
    };
    let mut failure = refused(asked, head.status, reason, &message);
    failure.retry_after = head.retry_after;
    failure
}
