//! A watch by long polls: one attempt, many requests, paced here.

use std::time::Duration;

use http::StatusCode;
use reflet_core::{Epoch, Failure, FailureClass, Revision};
use tokio::time::{Instant, sleep_until};

use super::events::Reader;
use super::list::{header_epoch, header_revision};
use super::mapping::{LongPoll, Place};
use super::object::told;
use super::pointer::pick;
use super::stream::{Asked, placed};
use super::{Mapped, refused, url};
use crate::http::pieces::Entry;
use crate::http::request::Answer;
use crate::source::{Decoder, Frame, Sink};
use reflet_core::wire::parts::malformed;
use reflet_core::wire::parts::{Elements, Lossy, in_words};

/// How many events are looked at at a time.
const EVENTS_PER_TURN: usize = 256;

/// Follows the collection until a poll fails.
pub(super) async fn follow<V: Clone + Send + Sync + 'static>(
    rest: &Mapped,
    poll: &LongPoll,
    (from, epoch): (&Revision, Option<&Epoch>),
    decoder: &Decoder<V>,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    let mut reader = Reader::new(&rest.mapping.object, &poll.events, &poll.refusals, decoder);
    let (mut from, mut epoch) = (from.clone(), epoch.cloned());
    let mut opened = false;
    loop {
        let asked_at = Instant::now();
        let asked = asked(rest, poll, &from, opened)?;
        let target = asked.path.as_str();
        let answer = rest
            .client
            .get_with(target, "application/json", &asked.headers)
            .await?;
        let nothing = match answer.status() {
            StatusCode::OK => false,
            StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT => true,
            _ => return Err(refused(answer, &poll.refusals).await),
        };
        let here = header_epoch(&answer, rest)?;
        if !opened {
            sink.opened(here.clone());
            epoch = here.or(epoch);
        } else if let (Some(epoch), Some(here)) = (&epoch, here)
            && *epoch != here
        {
            let words = format!("the epoch was {epoch} and is {here} now");
            return Err(Failure::new(FailureClass::Gone, words));
        }
        let before = from.clone();
        if nothing {
            answer.collect(0, || {}).await?;
            sink.frame(Frame::Heartbeat);
        } else {
            news(answer, rest, poll, &mut from, &mut reader, sink).await?;
        }
        let interval = if from != before {
            poll.busy_interval_ms
        } else if !opened && poll.wait.is_some() {
            // The first one was to be answered at once.
            0
        } else {
            poll.idle_interval_ms
        };
        opened = true;
        if let Some(next) = asked_at.checked_add(Duration::from_millis(interval)) {
            sleep_until(next).await;
        }
    }
}

fn asked(rest: &Mapped, poll: &LongPoll, from: &Revision, opened: bool) -> Result<Asked, Failure> {
    let path = url(&rest.prefix, &placed(&poll.path, from), &poll.query);
    let mut asked = Asked::from(path, &poll.resume, from)?;
    if let Some(wait) = &poll.wait {
        // The first one answers at once, or a quiet collection would seem not to open.
        let value = if opened {
            Some(&wait.value)
        } else {
            wait.at_once.as_ref()
        };
        asked.path = asked.path.with_some(&wait.query, value);
    }
    Ok(asked)
}

/// Something happened, perhaps.
async fn news<V: Clone + Send + Sync + 'static>(
    answer: Answer<'_>,
    rest: &Mapped,
    poll: &LongPoll,
    from: &mut Revision,
    reader: &mut Reader<'_, V>,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    answer.check_content("JSON")?;
    let told_to = match &poll.up_to {
        Some(Place::Header(name)) => Some(header_revision(&answer, &name.0)?),
        Some(Place::Field(_)) | None => None,
    };
    let alive = || sink.frame(Frame::Heartbeat);
    let body = answer.collect(rest.limits.page_bytes, alive).await?;
    let source = Lossy::new(&body);
    let wrong = |words: String| malformed(&format!("the answer to a poll: {words}"));
    let whole: &serde_json::value::RawValue =
        serde_json::from_str(source.text()).map_err(|error| wrong(in_words(&error)))?;
    let at = match &poll.up_to {
        Some(Place::Field(at)) => Some(at),
        Some(Place::Header(_)) | None => None,
    };
    let [items, up_to] =
        pick(whole.get(), [Some(&poll.items), at]).map_err(|error| wrong(in_words(&error)))?;
    let mut elements = items
        .and_then(Elements::of)
        .ok_or_else(|| wrong(format!("no array at {:?}", poll.items.to_string())))?;
    let told_to = match at {
        Some(at) => {
            let text = told(up_to, "revision", at, &source).map_err(wrong)?;
            let text = text.ok_or_else(|| wrong(format!("no revision at {:?}", at.to_string())))?;
            Some(Revision::parse(&text))
        }
        None => told_to,
    };
    reader.at = None;
    loop {
        let turn = elements.by_ref().take(EVENTS_PER_TURN);
        let turn = turn.map(|json| {
            let json = json.map_err(|error| wrong(in_words(&error)))?;
            Ok(Entry::json(json, &source))
        });
        let turn: Vec<_> = turn.collect::<Result<_, Failure>>()?;
        if turn.is_empty() {
            break;
        }
        reader.feed(&turn, sink).await?;
    }
    match told_to {
        Some(revision) => {
            advance(from, &revision);
            sink.frame(Frame::Progress(revision, None));
        }
        None => {
            if let Some(revision) = reader.at.take() {
                advance(from, &revision);
            }
            sink.frame(Frame::Heartbeat);
        }
    }
    Ok(())
}

/// A service that goes back is not followed.
fn advance(from: &mut Revision, revision: &Revision) {
    if revision.compare(from).is_none_or(|order| order.is_gt()) {
        from.clone_from(revision);
    }
}
