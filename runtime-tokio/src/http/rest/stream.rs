//! Watches that are one answer which goes on: of changes, or of mere hints.

use http::{HeaderMap, HeaderValue, StatusCode};
use reflet_core::{Epoch, Failure, Revision};

use super::check::IN_PATH;
use super::events::Reader;
use super::list::header_epoch;
use super::mapping::{Changes, Hints, Refusals, Resume, Stream};
use super::{Mapped, url};
use crate::http::pieces::{Entry, Labels};
use crate::http::request::Answer;
use crate::http::transport::{Asking, Listener};
use crate::source::{Decoder, Frame, Sink};
use reflet_core::wire::parts::malformed;
use reflet_core::wire::parts::{Path, encode};

/// Where a watch is asked for.
pub(super) struct Asked {
    pub(super) path: Path,
    pub(super) headers: HeaderMap,
}

impl Asked {
    /// The watch from this revision on.
    pub(super) fn from(path: Path, resume: &Resume, from: &Revision) -> Result<Self, Failure> {
        let mut headers = HeaderMap::new();
        let path = match resume {
            Resume::Query(name) => path.with(name, from),
            Resume::Path => path,
            Resume::Header(name) => {
                let value = HeaderValue::from_str(&from.to_string());
                let unsendable = |_| malformed("the revision cannot be sent in a header");
                headers.insert(name.0.clone(), value.map_err(unsendable)?);
                path
            }
        };
        Ok(Self { path, headers })
    }
}

/// A path, with the revision where it has a place for it.
pub(super) fn placed(path: &str, from: &Revision) -> String {
    path.replace(IN_PATH, &encode(&from.to_string()))
}

/// Follows the changes from a revision on until the stream ends.
pub(super) async fn changes<V: Clone + Send + Sync + 'static>(
    rest: &Mapped,
    changes: &Changes,
    from: &Revision,
    decoder: &Decoder<V>,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    let path = url(&rest.prefix, &placed(&changes.path, from), &changes.query);
    let asked = Asked::from(path, &changes.resume, from)?;
    let (events, refusals) = (&changes.events, &changes.refusals);
    let mut ear = Changed {
        rest,
        refusals,
        only: changes.stream.only(),
        reader: Reader::new(&rest.mapping.object, events, refusals, decoder),
    };
    follow(rest, asked, &changes.stream, &mut ear, sink).await
}

/// Listens for hints until the stream ends.
pub(super) async fn hints<V: Clone + Send + Sync + 'static>(
    rest: &Mapped,
    hints: &Hints,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    let asked = Asked {
        path: url(&rest.prefix, &hints.path, &hints.query),
        headers: HeaderMap::new(),
    };
    let mut ear = Hinted {
        rest,
        only: hints.stream.only(),
    };
    follow(rest, asked, &hints.stream, &mut ear, sink).await
}

async fn follow<V: Clone + Send + Sync + 'static>(
    rest: &Mapped,
    Asked { path, headers }: Asked,
    stream: &Stream,
    ear: &mut impl Listener<V>,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    let asking = Asking {
        client: &rest.client,
        path: path.as_str(),
        headers,
        limit: rest.limits.line_bytes,
    };
    match stream {
        Stream::JsonLines => asking.lines(ear, sink).await,
        Stream::ServerSentEvents { .. } => asking.server_sent(ear, sink).await,
        Stream::WebSocket { protocol } => {
            let protocol = protocol.as_deref().map(HeaderValue::from_str);
            let unsendable = |_| malformed("the subprotocol cannot be sent");
            let protocol = protocol.transpose().map_err(unsendable)?;
            asking.socket(protocol.as_ref(), ear, sink).await
        }
    }
}

impl Stream {
    /// The names of the events that are looked at; none: all are.
    fn only(&self) -> &[String] {
        match self {
            Self::ServerSentEvents { only } => only,
            Self::JsonLines | Self::WebSocket { .. } => &[],
        }
    }
}

/// Hears what changed.
struct Changed<'m, V> {
    rest: &'m Mapped,
    refusals: &'m Refusals,
    only: &'m [String],
    reader: Reader<'m, V>,
}

impl<V: Clone + Send + Sync + 'static> Listener<V> for Changed<'_, V> {
    fn epoch(&self, answer: &Answer<'_>) -> Result<Option<Epoch>, Failure> {
        header_epoch(answer, self.rest)
    }

    fn judge(&self, status: StatusCode, mut failure: Failure) -> Failure {
        failure.class = self.refusals.class(status.as_u16(), failure.class);
        failure
    }

    async fn hear(&mut self, entries: &[Entry<'_>], sink: &mut Sink<V>) -> Result<(), Failure> {
        if self.only.is_empty() {
            return self.reader.feed(entries, sink).await;
        }
        let wanted = entries.iter().filter(|entry| wanted(entry, self.only));
        let wanted: Vec<_> = wanted.copied().collect();
        if wanted.is_empty() {
            sink.frame(Frame::Heartbeat);
        }
        self.reader.feed(&wanted, sink).await
    }
}

/// Hears that something changed.
struct Hinted<'m> {
    rest: &'m Mapped,
    only: &'m [String],
}

impl<V: Clone + Send + Sync + 'static> Listener<V> for Hinted<'_> {
    fn epoch(&self, answer: &Answer<'_>) -> Result<Option<Epoch>, Failure> {
        header_epoch(answer, self.rest)
    }

    async fn hear(&mut self, entries: &[Entry<'_>], sink: &mut Sink<V>) -> Result<(), Failure> {
        // Any number of them asks for one list.
        let hint = entries.iter().any(|entry| match entry {
            Entry::Json(json, ..) => !json.trim_ascii().is_empty() && wanted(entry, self.only),
            Entry::TooLong(_) => true,
        });
        if !entries.is_empty() {
            sink.frame(if hint { Frame::Hint } else { Frame::Heartbeat });
        }
        Ok(())
    }
}

/// Whether an event has one of the names that are looked at. One that is too long may have.
fn wanted(entry: &Entry<'_>, only: &[String]) -> bool {
    match entry {
        Entry::Json(_, _, labels) => {
            only.is_empty() || only.iter().any(|name| name == labels.type_name())
        }
        Entry::TooLong(_) => true,
    }
}

impl Labels<'_> {
    /// The event's type, as the standard has it.
    pub(super) fn type_name(&self) -> &str {
        self.name.unwrap_or("message")
    }
}
