//! Lists, page by page.

use http::StatusCode;
use reflet_core::wire::parts::{Asked, Lossy, Page, Path};
use reflet_core::{Epoch, Failure};

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
    let source = Lossy::new(body);
    let page = Page::read(&source, epoch)?;
    sink.page(page.epoch().cloned(), Some(page.revision().clone()));
    let mut items = page.items();
    loop {
        let turn = items.by_ref().take(ITEMS_PER_TURN);
        let turn: Vec<_> = turn.collect::<Result<_, Failure>>()?;
        if turn.is_empty() {
            break;
        }
        let frames = turn.iter().map(|item| item.frame(decoder));
        sink.feed(frames.collect()).await;
    }
    sink.page_end(page.next());
    Ok(())
}
