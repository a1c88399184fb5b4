//! Lists, page by page, and the conditions under which a list need not be read.

use std::borrow::Cow;
use std::cmp::Ordering;

use http::header::{ETAG, HeaderMap, IF_NONE_MATCH, LINK};
use http::{HeaderName, HeaderValue, StatusCode};
use reflet_core::{Epoch, Failure, Revision, VersionRef};

use super::link::{self, NotFollowed};
use super::mapping::{Paging, Place, RevisionAt, Wait, Watch};
use super::object::told;
use super::pointer::{Pointer, pick};
use super::{Mapped, url};
use crate::http::connect::Target;
use crate::http::request::Answer;
use crate::source::{Decoder, Frame, ListRequest, Sink};
use reflet_core::wire::parts::{Asked, malformed};
use reflet_core::wire::parts::{Elements, Lossy, in_words};

/// How many items are turned into frames at a time: what is made of a page takes far less memory
/// than the page.
const ITEMS_PER_TURN: usize = 256;

/// Fetches one page and hands it over.
pub(super) async fn page<V: Clone + Send + Sync + 'static>(
    rest: &Mapped,
    request: &ListRequest,
    decoder: &Decoder<V>,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    let asked = target(rest, request)?;
    let condition = condition(rest, request);
    let answer = rest
        .client
        .get_with(&asked, "application/json", &condition.headers)
        .await?;
    if answer.status() == StatusCode::NOT_MODIFIED && condition.is_set {
        answer.collect(0, || {}).await?;
        sink.unmodified();
        return Ok(());
    }
    if answer.status() != StatusCode::OK {
        return Err(answer.refusal(Asked::List).await);
    }
    answer.check_content("JSON")?;
    let head = Head::of(&answer, rest, &asked)?;
    let alive = || sink.frame(Frame::Heartbeat);
    let body = answer.collect(rest.limits.page_bytes, alive).await?;
    hand_over(&body, head, rest, request, decoder, sink).await
}

/// What is asked for.
fn target(rest: &Mapped, request: &ListRequest) -> Result<String, Failure> {
    let list = &rest.mapping.list;
    let token = request.page.as_deref();
    if let (Paging::Link, Some(next)) = (&list.paging, token) {
        return Ok(next.to_owned());
    }
    let mut path = url(&rest.prefix, &list.path, &list.query);
    if let Some(name) = &list.limit {
        path = path.with(name, request.limit);
    }
    match (&list.paging, token) {
        (Paging::Token { query, .. }, Some(token)) => path = path.with(query, token),
        (Paging::PageNumber { query, first }, token) => {
            let number = token.map_or(Ok(u64::from(*first)), str::parse);
            let number = number.map_err(|_| malformed("a page's number that is none"))?;
            path = path.with(query, number);
        }
        (Paging::Token { .. } | Paging::Link | Paging::None, _) => {}
    }
    if let Some(name) = &list.at_least {
        path = path.with_some(name, request.at_least.as_ref());
    }
    if let (Watch::Blocking { known, wait }, Some(revision)) = (&rest.mapping.watch, &request.known)
    {
        if let Some(name) = known {
            path = path.with(name, revision);
        }
        if let Some(Wait { query, value, .. }) = wait {
            path = path.with(query, value);
        }
    }
    Ok(path.as_str().to_owned())
}

/// Under which condition the list is wanted at all.
#[derive(Default)]
struct Condition {
    headers: HeaderMap,
    /// The answer may be that nothing has changed.
    is_set: bool,
}

fn condition(rest: &Mapped, request: &ListRequest) -> Condition {
    let mut condition = Condition::default();
    let Some(known) = request.known.as_ref().filter(|_| request.page.is_none()) else {
        return condition;
    };
    let named = matches!(&rest.mapping.watch, Watch::Blocking { known: Some(_), .. });
    condition.is_set = named;
    if rest.mapping.list.revision == RevisionAt::Etag
        && !named
        && let Ok(value) = HeaderValue::from_str(&known.to_string())
    {
        condition.headers.insert(IF_NONE_MATCH, value);
        condition.is_set = true;
    }
    condition
}

/// What the head of a page's answer says.
struct Head {
    epoch: Option<Epoch>,
    revision: Option<Revision>,
    /// Where the next page is, by a link.
    next: Option<String>,
}

impl Head {
    fn of(answer: &Answer<'_>, rest: &Mapped, asked: &str) -> Result<Self, Failure> {
        let list = &rest.mapping.list;
        let revision = match &list.revision {
            RevisionAt::Header { name, .. } => Some(header_revision(answer, &name.0)?),
            RevisionAt::Etag => answer.text(ETAG)?.map(Revision::parse),
            RevisionAt::Field { .. } | RevisionAt::NewestItem | RevisionAt::None => None,
        };
        let next = match list.paging {
            Paging::Link => next_link(&answer.all(LINK)?, asked, &rest.client.target)?,
            Paging::None | Paging::Token { .. } | Paging::PageNumber { .. } => None,
        };
        Ok(Self {
            epoch: header_epoch(answer, rest)?,
            revision,
            next,
        })
    }
}

/// The epoch, where a header has it.
pub(super) fn header_epoch(answer: &Answer<'_>, rest: &Mapped) -> Result<Option<Epoch>, Failure> {
    match rest.mapping.epoch_header() {
        Some(name) => Ok(answer.text(name.0.clone())?.map(Epoch::new)),
        None => Ok(None),
    }
}

/// The revision that must be in a header.
pub(super) fn header_revision(answer: &Answer<'_>, name: &HeaderName) -> Result<Revision, Failure> {
    let text = answer.text(name.clone())?.map(str::trim);
    let text = text.filter(|text| !text.is_empty());
    text.map(Revision::parse).ok_or_else(|| {
        malformed(&format!(
            "there is no header {name}, which has the revision"
        ))
    })
}

fn next_link(links: &[&str], asked: &str, origin: &Target) -> Result<Option<String>, Failure> {
    let Some(next) = link::next(links.iter().copied()) else {
        return Ok(None);
    };
    match link::resolve(next, asked, origin) {
        Ok(next) => Ok(Some(next)),
        Err(NotFollowed::OtherOrigin) => Err(malformed(
            "the link to the next page leads to another origin",
        )),
        Err(NotFollowed::Unreadable) => Err(malformed("the link to the next page cannot be read")),
    }
}

async fn hand_over<V: Clone + Send + Sync + 'static>(
    body: &[u8],
    head: Head,
    rest: &Mapped,
    request: &ListRequest,
    decoder: &Decoder<V>,
    sink: &mut Sink<V>,
) -> Result<(), Failure> {
    let (list, object) = (&rest.mapping.list, &rest.mapping.object);
    let source = Lossy::new(body);
    let words = Words::of(&source, rest)?;
    let elements = || {
        Elements::of(words.items)
            .ok_or_else(|| malformed(&format!("the page: {} is no array", named(&list.items))))
    };
    let revision = match &list.revision {
        RevisionAt::Field { .. } => words.revision.as_deref().map(Revision::parse),
        RevisionAt::NewestItem => newest(elements()?, rest, &source)?,
        RevisionAt::Header { .. } | RevisionAt::Etag | RevisionAt::None => head.revision,
    };
    let epoch = match (&list.epoch, words.epoch) {
        (Some(Place::Field(_)), Some(epoch)) => Some(Epoch::new(&epoch)),
        _ => head.epoch,
    };
    let mut items = elements()?.enumerate();
    sink.page(epoch, revision);

    let mut count = 0_usize;
    loop {
        let turn = items.by_ref().take(ITEMS_PER_TURN);
        let turn = turn.map(|(index, json)| {
            let json = json.map_err(|error| {
                malformed(&format!("item {index} of the page: {}", in_words(&error)))
            })?;
            Ok((index, json.len(), object.read(json, &source)))
        });
        let turn: Vec<_> = turn.collect::<Result<_, Failure>>()?;
        if turn.is_empty() {
            break;
        }
        count += turn.len();
        let frames = turn.iter().filter_map(|(index, size, item)| match item {
            // A tombstone is not in the collection.
            Ok(item) if item.deleted => None,
            Ok(item) => Some(item.upsert(*size, None, &source, decoder)),
            Err(error) => Some(Frame::Undecodable {
                size: *size,
                error: format!("item {index} of the page: {error}"),
            }),
        });
        sink.feed(frames.collect()).await;
    }
    let next = match &list.paging {
        Paging::None => None,
        Paging::Token { .. } => words.next,
        Paging::Link => head.next.map(Cow::Owned),
        Paging::PageNumber { first, .. } => next_number(request, *first, count).map(Cow::Owned),
    };
    sink.page_end(next.as_deref());
    Ok(())
}

fn next_number(request: &ListRequest, first: u32, count: usize) -> Option<String> {
    let number = match request.page.as_deref() {
        Some(token) => token.parse().ok()?,
        None => u64::from(first),
    };
    let next = number.checked_add(1).filter(|_| count > 0);
    next.map(|next| next.to_string())
}

/// What the body of a page says, beside its objects.
struct Words<'a> {
    /// JSON, perhaps an array.
    items: &'a str,
    revision: Option<Cow<'a, str>>,
    epoch: Option<Cow<'a, str>>,
    next: Option<Cow<'a, str>>,
}

impl<'a> Words<'a> {
    fn of(source: &'a Lossy<'_>, rest: &Mapped) -> Result<Self, Failure> {
        let list = &rest.mapping.list;
        let not_json =
            |error: serde_json::Error| malformed(&format!("the page: {}", in_words(&error)));
        // All of it is looked at, so that a page that was cut, or goes on, is not taken for whole.
        let body: &'a serde_json::value::RawValue =
            serde_json::from_str(source.text()).map_err(not_json)?;
        let revision = match &list.revision {
            RevisionAt::Field { at, .. } => Some(at),
            RevisionAt::Header { .. }
            | RevisionAt::Etag
            | RevisionAt::NewestItem
            | RevisionAt::None => None,
        };
        let epoch = match &list.epoch {
            Some(Place::Field(at)) => Some(at),
            Some(Place::Header(_)) | None => None,
        };
        let next = match &list.paging {
            Paging::Token { at, .. } => Some(at),
            Paging::None | Paging::PageNumber { .. } | Paging::Link => None,
        };
        let wanted = [Some(&list.items), revision, epoch, next];
        let [items, revision_at, epoch_at, next_at] = pick(body.get(), wanted).map_err(not_json)?;
        let tell = |found, what, at: Option<&Pointer>| match at {
            Some(at) => told(found, what, at, source)
                .map_err(|wrong| malformed(&format!("the page: {wrong}"))),
            None => Ok(None),
        };
        let words = Self {
            items: items.ok_or_else(|| {
                malformed(&format!("the page: there is no {}", named(&list.items)))
            })?,
            revision: tell(revision_at, "revision", revision)?,
            epoch: tell(epoch_at, "epoch", epoch)?,
            next: tell(next_at, "token", next)?,
        };
        match revision {
            Some(at) if words.revision.is_none() => Err(malformed(&format!(
                "the page: no revision at {:?}",
                at.to_string()
            ))),
            Some(_) | None => Ok(words),
        }
    }
}

fn named(pointer: &Pointer) -> String {
    if pointer.is_whole() {
        "the answer".to_owned()
    } else {
        format!("{:?}", pointer.to_string())
    }
}

/// The highest version in a list; `None` of an empty one.
fn newest(
    items: Elements<'_>,
    rest: &Mapped,
    source: &Lossy<'_>,
) -> Result<Option<Revision>, Failure> {
    let mut newest: Option<Revision> = None;
    for (index, json) in items.enumerate() {
        let wrong = |words: String| malformed(&format!("item {index} of the page: {words}"));
        let json = json.map_err(|error| wrong(in_words(&error)))?;
        // What cannot be read is reported when it is handed over.
        let Ok(Some(version)) = rest.mapping.object.version(json, source) else {
            continue;
        };
        let revision = Revision::parse(&version);
        if VersionRef::parse(&version).is_none() || revision.compare(&revision).is_none() {
            return Err(wrong(format!("the version {version:?} is not a decimal")));
        }
        let later = |newest: &Revision| revision.compare(newest) == Some(Ordering::Greater);
        if newest.as_ref().is_none_or(later) {
            newest = Some(revision);
        }
    }
    Ok(newest)
}
