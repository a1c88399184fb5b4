//! Lists, page by page.

use http::StatusCode;
use reflet_core::{Epoch, Failure, Revision};

use super::envelope::{Elements, Item, Page, Source, Text, in_words, revision};
use super::failure::{Asked, malformed};
use super::path::Path;
use super::request::Client;
use crate::probe::reach;
use crate::source::{Decoder, Frame, ListRequest, Sink};

/// How many items are turned into frames at a time: what is made of a page takes far less memory
/// than the page.
const ITEMS_PER_TURN: usize = 256;

/// Fetches one page and hands it over.
pub(super) async fn page<V: Clone + Send + Sync + 'static>(
    client: &Client,
    path: &str,
    request: &ListRequest,
    max_bytes: usize,
    decoder: &Decoder<V>,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    let path = Path::new(path)
        .with("limit", request.limit)
        .with_some("continue", request.page.as_deref())
        .with_some("at_least", request.at_least.as_ref());
    let asked = client.get(path.as_str(), "application/json").await;
    reach!(
        "server lost between two pages",
        asked.is_err() && request.page.is_some()
    );
    let answer = asked?;
    if answer.status() != StatusCode::OK {
        return Err(answer.refusal(Asked::List).await);
    }
    answer.check_content("JSON")?;
    let epoch = answer.epoch()?;
    let alive = || sink.frame(Frame::Heartbeat);
    let body = answer.collect(max_bytes, alive).await?;
    hand_over(&body, epoch, decoder, sink).await
}

async fn hand_over<V: Clone + Send + Sync + 'static>(
    body: &[u8],
    epoch: Option<Epoch>,
    decoder: &Decoder<V>,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    let source = Source::new(body);
    let page: Page<'_> = serde_json::from_str(source.text()).map_err(|error| {
        reach!("page that is no JSON");
        malformed(&format!("the page: {}", in_words(&error)))
    })?;
    let mut items = Elements::of(page.items.get())
        .ok_or_else(|| malformed("the page: items is not an array"))?
        .enumerate();
    sink.page(
        same_epoch(epoch, page.epoch.as_ref())?,
        Some(stamped(&page.revision)?),
    );
    loop {
        let turn = items.by_ref().take(ITEMS_PER_TURN);
        let turn = turn.map(|(index, json)| {
            let json = json.map_err(|error| {
                malformed(&format!("item {index} of the page: {}", in_words(&error)))
            })?;
            Ok((index, json.len(), Item::read(json, &source)))
        });
        let turn: Vec<_> = turn.collect::<Result<_, Failure>>()?;
        if turn.is_empty() {
            break;
        }
        let frames = turn.iter().map(|(index, size, item)| match item {
            Ok(item) => item.frame(*size, &source, decoder),
            Err(error) => Frame::Undecodable {
                size: *size,
                error: format!("item {index} of the page: {error}"),
            },
        });
        sink.feed(frames.collect()).await;
    }
    sink.page_end(
        page.next
            .as_ref()
            .map(Text::as_str)
            .filter(|next| !next.is_empty()),
    );
    Ok(())
}

/// The revision of an answer.
pub(super) fn stamped(text: &Text<'_>) -> Result<Revision, Failure> {
    revision(text).ok_or_else(|| {
        malformed(&format!(
            "the revision {:?} is not a decimal",
            text.as_str()
        ))
    })
}

/// The epoch of an answer, whose head and body must agree.
pub(super) fn same_epoch(
    head: Option<Epoch>,
    body: Option<&Text<'_>>,
) -> Result<Option<Epoch>, Failure> {
    let body = body.map(|text| Epoch::new(text.as_str()));
    match (head, body) {
        (Some(head), Some(body)) if head != body => Err(malformed(&format!(
            "the head says epoch {head}, the body {body}"
        ))),
        (head, body) => Ok(body.or(head)),
    }
}
