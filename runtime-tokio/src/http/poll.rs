//! A watch by long polls: one attempt, many requests, paced here.

use std::time::Duration;

use http::StatusCode;
use reflet_core::wire::parts::{
    Asked, Elements, Events, Lossy, Parsed, Path, Text, in_words, malformed, same_epoch, stamped,
};
use reflet_core::{Epoch, Failure, FailureClass, Revision};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};

use super::request::{Answer, Client};
use crate::probe::reach;
use crate::source::{Decoder, Frame, Sink};

/// How many events are turned into frames at a time.
const EVENTS_PER_TURN: usize = 256;

/// How a watch by long polls waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollTiming {
    /// How long the server is asked to hold a request back until something happens. Default: 25 s.
    pub wait: Duration,
    /// The least time from one request to the next when an answer brought something. Default:
    /// 50 ms.
    pub busy_interval: Duration,
    /// The least time from one request to the next when an answer brought nothing: a server that
    /// never waits is not hammered. Default: 1 s.
    pub idle_interval: Duration,
}

impl Default for PollTiming {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(25),
            busy_interval: Duration::from_millis(50),
            idle_interval: Duration::from_secs(1),
        }
    }
}

/// The answer to a poll.
#[derive(Debug, Deserialize)]
struct Polled<'a> {
    #[serde(borrow)]
    revision: Text<'a>,
    #[serde(borrow, default)]
    epoch: Option<Text<'a>>,
    #[serde(borrow)]
    events: &'a RawValue,
}

/// Where a watch by polls has got to.
struct Place {
    from: Revision,
    epoch: Option<Epoch>,
}

/// Follows the collection until a poll fails.
pub(super) async fn follow<V: Clone + Send + Sync + 'static>(
    client: &Client,
    path: &str,
    start: (&Revision, Option<&Epoch>),
    timing: PollTiming,
    max_bytes: usize,
    decoder: &Decoder<V>,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    let mut events = Events::default();
    let mut place = Place {
        from: start.0.clone(),
        epoch: start.1.cloned(),
    };
    // The first one answers at once, or a quiet collection would seem not to open.
    let mut wait = Duration::ZERO;
    let mut opened = false;
    loop {
        let asked_at = Instant::now();
        let request = Path::new(path)
            .with("watch", "poll")
            .with("from", &place.from)
            .with_some("epoch", place.epoch.as_ref())
            .with("wait_ms", wait.as_millis());
        let answer = client.get(request.as_str(), "application/json").await?;
        let nothing = match answer.status() {
            StatusCode::OK => false,
            StatusCode::NOT_MODIFIED => true,
            status => {
                reach!("poll refused as gone", status == StatusCode::GONE);
                return Err(answer.refusal(Asked::Watch).await);
            }
        };
        let epoch = answer.epoch()?;
        if opened {
            place.check(epoch.as_ref())?;
        } else {
            sink.opened(epoch.clone());
            place.epoch = epoch.or(place.epoch);
            opened = true;
        }
        let before = place.from.clone();
        if nothing {
            quiet(answer, &mut place, sink).await?;
        } else {
            let limit = max_bytes;
            news(answer, limit, &mut place, &mut events, decoder, sink).await?;
        }
        let interval = if place.from != before {
            timing.busy_interval
        } else if wait.is_zero() && !timing.wait.is_zero() {
            Duration::ZERO
        } else {
            timing.idle_interval
        };
        wait = timing.wait;
        if let Some(next) = asked_at.checked_add(interval) {
            sleep_until(next).await;
        }
    }
}

/// 304: nothing happened.
async fn quiet<V: Clone + Send + Sync + 'static>(
    answer: Answer<'_>,
    place: &mut Place,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    reach!("poll answered with nothing");
    let revision = answer.revision()?;
    answer.collect(0, || {}).await?;
    sink.feed(vec![match revision {
        Some(revision) => {
            place.advance(&revision);
            Frame::Progress(revision, None)
        }
        None => Frame::Heartbeat,
    }])
    .await;
    Ok(())
}

/// 200: something happened.
async fn news<V: Clone + Send + Sync + 'static>(
    answer: Answer<'_>,
    max_bytes: usize,
    place: &mut Place,
    events: &mut Events,
    decoder: &Decoder<V>,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    answer.check_content("JSON")?;
    let epoch = answer.epoch()?;
    let alive = || sink.frame(Frame::Heartbeat);
    let body = answer.collect(max_bytes, alive).await?;
    let source = Lossy::new(&body);
    let polled: Polled<'_> = serde_json::from_str(source.text())
        .map_err(|error| malformed(&format!("the answer to a poll: {}", in_words(&error))))?;
    let mut elements = Elements::of(polled.events.get())
        .ok_or_else(|| malformed("the answer to a poll: events is not an array"))?;
    place.check(same_epoch(epoch, polled.epoch.as_ref())?.as_ref())?;
    let revision = stamped(&polled.revision)?;
    loop {
        let turn = elements.by_ref().take(EVENTS_PER_TURN);
        let turn = turn.map(|json| {
            let json = json.map_err(|error| malformed(&in_words(&error)))?;
            Ok(Parsed::read(json, &source))
        });
        let turn: Vec<_> = turn.collect::<Result<_, Failure>>()?;
        if turn.is_empty() {
            break;
        }
        let (frames, outcome) = events.frames(&turn, decoder);
        sink.feed(frames).await;
        outcome?;
    }
    place.advance(&revision);
    sink.feed(vec![Frame::Progress(revision, None)]).await;
    Ok(())
}

impl Place {
    /// The history goes on only within the epoch that it began in.
    fn check(&self, epoch: Option<&Epoch>) -> Result<(), Failure> {
        match (&self.epoch, epoch) {
            (Some(known), Some(epoch)) if known != epoch => Err(Failure::new(
                FailureClass::Gone,
                format!("the epoch was {known} and is {epoch} now"),
            )),
            _ => Ok(()),
        }
    }

    /// A server that goes back is not followed.
    fn advance(&mut self, revision: &Revision) {
        if revision
            .compare(&self.from)
            .is_some_and(|order| order.is_gt())
        {
            self.from = revision.clone();
        }
    }
}
