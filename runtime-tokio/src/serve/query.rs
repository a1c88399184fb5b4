//! What a client asks for in a query string, and the token that continues a list.

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::Query;
use http::{HeaderMap, HeaderName, Uri};

use super::body::single;
use super::json;
use super::reply::Failure;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A read of a collection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    List {
        limit: Option<u64>,
        from: Option<PageToken>,
        at_least: Option<u64>,
    },
    Watch {
        framing: Framing,
        resume: Resume,
        timeout: Option<Duration>,
    },
    Poll {
        resume: Resume,
        wait: Option<Duration>,
        limit: Option<u64>,
    },
}

/// How a stream is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Lines,
    ServerSent,
    WebSocket,
}

/// Where a client has got to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resume {
    pub(super) from: u64,
    pub(super) epoch: Option<String>,
}

impl Read {
    pub(super) fn parse(uri: &Uri, headers: &HeaderMap) -> Result<Self, Failure> {
        let mut parameters = Parameters::parse(uri)?;
        let read = match parameters.take("watch").as_deref() {
            None => Self::List {
                limit: parameters.positive("limit")?,
                from: parameters
                    .take("continue")
                    .map(|text| PageToken::parse(&text))
                    .transpose()?,
                at_least: parameters.number("at_least")?,
            },
            Some("jsonl") => Self::Watch {
                framing: Framing::Lines,
                resume: parameters.resume()?,
                timeout: parameters.timeout()?,
            },
            Some("sse") => Self::Watch {
                framing: Framing::ServerSent,
                resume: parameters.resume_after(last_event(headers)?)?,
                timeout: parameters.timeout()?,
            },
            Some("websocket") => Self::Watch {
                framing: Framing::WebSocket,
                resume: parameters.resume()?,
                timeout: parameters.timeout()?,
            },
            Some("poll") => Self::Poll {
                resume: parameters.resume()?,
                wait: parameters.number("wait_ms")?.map(Duration::from_millis),
                limit: parameters.positive("limit")?,
            },
            Some(_) => {
                return Err(Failure::bad_request(
                    "watch must be jsonl, sse, websocket or poll",
                ));
            }
        };
        parameters.finish()?;
        Ok(read)
    }
}

/// The parameters that nobody has asked for yet. What is left at the end is refused: an option
/// that is silently ignored answers another question than the one that was asked.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(uri: &Uri) -> Result<Self, Failure> {
        Query::try_from_uri(uri)
            .map(|Query(pairs)| Self(pairs))
            .map_err(|_| Failure::bad_request("the query string cannot be read"))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(index).1)
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, Failure> {
        let parse = |text: String| {
            let wrong = || Failure::bad_request(format!("{name} must be a decimal number"));
            json::decimal(&text).ok_or_else(wrong)
        };
        self.take(name).map(parse).transpose()
    }

    fn positive(&mut self, name: &str) -> Result<Option<u64>, Failure> {
        match self.number(name)? {
            Some(0) => Err(Failure::bad_request(format!("{name} must not be 0"))),
            number => Ok(number),
        }
    }

    fn timeout(&mut self) -> Result<Option<Duration>, Failure> {
        Ok(self.number("timeout_ms")?.map(Duration::from_millis))
    }

    /// What a browser knows when it connects again is newer than the address that it was given.
    fn resume_after(&mut self, last_event: Option<Resume>) -> Result<Resume, Failure> {
        match last_event {
            Some(resume) => {
                self.number("from")?;
                self.take("epoch");
                Ok(resume)
            }
            None => self.resume(),
        }
    }

    fn resume(&mut self) -> Result<Resume, Failure> {
        let from = self.number("from")?;
        let from = from.ok_or_else(|| Failure::bad_request("from is missing"))?;
        Ok(Resume {
            from,
            epoch: self.take("epoch"),
        })
    }

    fn finish(self) -> Result<(), Failure> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                Err(Failure::bad_request(format!(
                    "{name:?} is unknown here, or there twice"
                )))
            }
        }
    }
}

/// The id of the last server-sent event that the client has, `{revision}.{epoch}`.
fn last_event(headers: &HeaderMap) -> Result<Option<Resume>, Failure> {
    let Some(id) = single(headers, &LAST_EVENT_ID)?.filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    let resume = id.split_once('.').and_then(|(revision, epoch)| {
        Some(Resume {
            from: json::decimal(revision)?,
            epoch: Some(epoch.into()),
        })
    });
    let wrong = || Failure::bad_request("last-event-id is not an id of this server");
    resume.map(Some).ok_or_else(wrong)
}

/// Where the next page begins. It carries all there is to know, so a server keeps nothing for a
/// list; a made-up token that parses is no more than a list from another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageToken {
    pub(super) revision: u64,
    pub(super) epoch: String,
    pub(super) after: String,
}

impl PageToken {
    /// `{revision}.{epoch}.{key in hex}`.
    pub(super) fn encode(&self) -> String {
        let mut text = format!("{}.{}.", self.revision, self.epoch);
        for byte in self.after.bytes() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let parts = || {
            let (revision, rest) = text.split_once('.')?;
            let (epoch, key) = rest.split_once('.')?;
            let after = String::from_utf8(unhex(key)?).ok()?;
            Some(Self {
                revision: json::decimal(revision)?,
                epoch: epoch.into(),
                after,
            })
        };
        parts().ok_or_else(|| Failure::bad_request("continue is not a token of this server"))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}
