//! The HTTP side: routes, and one handler for each request of the protocol.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{Extension, RawPathParams, Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{any, get};
use http::{StatusCode, Uri};

use super::access::{Access, Caller, Watches, check};
use super::body::{read_changes, read_precondition, read_value};
use super::collection::{Collection, Committed, Written};
use super::framing;
use super::json;
use super::object::{Change, Object};
use super::page::{PageLimits, page_at};
use super::query::{Framing, PageToken, Read, Resume};
use super::reply::{EVENT_STREAM, Failure, JSON, JSON_LINES, Refused, response, with_etag};
use super::state::{Head, Portion};
use super::watch::Watcher;
use super::websocket::Upgrade;
use crate::probe::reach;

/// Collects what a server publishes, and makes a router of it.
///
/// The routes are all below `/v1/{collection}`; nest the router to have them elsewhere. Who may
/// read or write says [`access`](Self::access), or a layer around the router.
#[derive(Clone, Debug)]
pub struct Publish {
    collections: BTreeMap<String, Collection>,
    writable: bool,
    /// `None`: everybody has every right.
    pub(super) access: Option<Access>,
    max_watchers_per_client: usize,
}

impl Default for Publish {
    fn default() -> Self {
        Self {
            collections: BTreeMap::new(),
            writable: false,
            access: None,
            max_watchers_per_client: 1_000,
        }
    }
}

impl Publish {
    /// Nothing yet, and read-only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Publishes a collection under its name, in the place of an earlier one of the same name.
    #[must_use]
    pub fn collection(mut self, collection: &Collection) -> Self {
        self.collections
            .insert(collection.name().into(), collection.clone());
        self
    }

    /// Whether clients may write, too. Default: no.
    #[must_use]
    pub fn writable(mut self, writable: bool) -> Self {
        self.writable = writable;
        self
    }

    /// Who may do what. Default: everybody may read, and write where it is
    /// [`writable`](Self::writable).
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = Some(access);
        self
    }

    /// Most watches and waiting polls of one client at a time, over all collections. A client is
    /// known by its token, or else by the [`ClientId`](super::ClientId) that the embedding server
    /// puts into the request; those without either are not told apart, and only bounded together,
    /// by [`max_watchers`](super::CollectionOptions::max_watchers). Default: 1,000.
    #[must_use]
    pub fn max_watchers_per_client(mut self, most: usize) -> Self {
        self.max_watchers_per_client = most;
        self
    }

    /// The router.
    pub fn router(self) -> Router {
        let (mut whole, mut one) = (get(read), get(read_one));
        if self.writable {
            whole = whole.post(transact);
            one = one.put(put).delete(delete);
        }
        let published = Arc::new(self);
        let watches = Watches::new(published.max_watchers_per_client);
        let checked = from_fn_with_state((Arc::clone(&published), watches), check);
        Router::new()
            .route("/v1/{collection}", whole.fallback(refuse_method))
            .route("/v1/{collection}/", any(refuse_empty_key))
            .route("/v1/{collection}/{*key}", one.fallback(refuse_method))
            .route_layer(checked)
            .with_state(published)
    }
}

/// What every handler begins with.
type Published = State<Arc<Publish>>;
pub(super) type Path = Result<RawPathParams, RawPathParamsRejection>;
type Answer = Result<Response, Refused>;

/// The collection of a path, and its key if the path has one.
fn find(published: &Publish, path: Path) -> Result<(Collection, String), Refused> {
    let nowhere = |failure| Refused {
        failure,
        head: None,
    };
    let path = path.map_err(|_| nowhere(Failure::bad_request("the path is not UTF-8")))?;
    let collection = last(&path, "collection").and_then(|name| published.collections.get(name));
    let missing = || nowhere(Failure::not_found("there is no such collection"));
    Ok((
        collection.ok_or_else(missing)?.clone(),
        last(&path, "key").unwrap_or_default().into(),
    ))
}

/// Later parameters win: an outer router may have some of the same name.
pub(super) fn last<'p>(path: &'p RawPathParams, name: &str) -> Option<&'p str> {
    path.iter()
        .filter(|(key, _)| *key == name)
        .last()
        .map(|(_, value)| value)
}

impl Collection {
    fn head(&self) -> Head {
        self.shared.state().head()
    }

    fn refuse(&self, failure: impl Into<Failure>) -> Refused {
        failure.into().at(self.head())
    }
}

async fn refuse_method(State(published): Published, path: Path) -> Answer {
    let (collection, _) = find(&published, path)?;
    let message = "this collection does not offer that method here";
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Err(collection.refuse(Failure::new(status, "MethodNotAllowed", message)))
}

async fn refuse_empty_key(State(published): Published, path: Path) -> Answer {
    let (collection, _) = find(&published, path)?;
    Err(collection.refuse(Failure::bad_request("the key is empty")))
}

async fn read(
    State(published): Published,
    path: Path,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    let (collection, _) = find(&published, path)?;
    let read = Read::parse(request.uri(), request.headers());
    match read.map_err(|failure| collection.refuse(failure))? {
        Read::List {
            limit,
            from,
            at_least,
        } => list(&collection, limit, from, at_least),
        Read::Watch {
            framing,
            resume,
            timeout,
        } => {
            let open = || Watcher::open(&collection, &caller, &resume);
            match framing {
                Framing::Lines => Ok(lines(open()?, timeout)),
                Framing::ServerSent => Ok(server_sent(open()?, timeout)),
                Framing::WebSocket => {
                    let upgrade = Upgrade::of(request).map_err(|no| collection.refuse(no))?;
                    Ok(upgrade.speak(open()?, timeout))
                }
            }
        }
        Read::Poll {
            resume,
            wait,
            limit,
        } => poll(&collection, &caller, &resume, wait, limit).await,
    }
}

/// One page, at the revision of the token or else at the present one.
fn list(
    collection: &Collection,
    limit: Option<u64>,
    from: Option<PageToken>,
    at_least: Option<u64>,
) -> Answer {
    let limits = PageLimits {
        items: items(collection, limit),
        bytes: collection.shared.options.max_page_bytes.max(1),
    };
    let state = collection.shared.state();
    let now = state.head();
    let (revision, after) = match &from {
        Some(token) if *token.epoch != *now.epoch => {
            reach!("page token of another epoch");
            return Err(Failure::gone("the token is of another epoch: list again").at(now));
        }
        Some(token) => (token.revision, Some(&*token.after)),
        None => (now.revision, None),
    };
    if at_least.is_some_and(|wanted| revision < wanted) {
        reach!("list asked of a server that is behind");
        return Err(Failure::behind(format!("only {revision} is there yet")).at(now));
    }
    let page = page_at(&state.objects, &state.history, revision, after, limits);
    drop(state);
    let Ok(page) = page else {
        reach!("page of a forgotten revision");
        let message = format!("the state at {revision} is no longer kept: list again");
        return Err(Failure::gone(message).at(now));
    };

    let mut out = Vec::from(*b"{");
    json::counter(&mut out, "revision", revision);
    json::field(&mut out, "epoch", &now.epoch);
    out.extend(b"\"items\":[");
    for (index, object) in page.items.iter().enumerate() {
        out.extend(if index == 0 { "{" } else { ",{" }.bytes());
        object.write_fields(object.version, false, &mut out);
        out.push(b'}');
    }
    out.push(b']');
    if let Some(last) = page.items.last().filter(|_| page.more) {
        let (epoch, after) = (String::from(&*now.epoch), String::from(&*last.key));
        out.extend(b",\"continue\":");
        json::string(
            &mut out,
            &PageToken {
                revision,
                epoch,
                after,
            }
            .encode(),
        );
    }
    out.push(b'}');
    // The headers are about the page, not about the present.
    let head = Head { revision, ..now };
    Ok(response(StatusCode::OK, Some(&head), JSON, out.into()))
}

fn items(collection: &Collection, limit: Option<u64>) -> usize {
    let options = &collection.shared.options;
    let asked = limit.map_or(options.default_page_items, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    asked.min(options.max_page_items).max(1)
}

/// A watch that was granted, where the collection is, and the digest where the watch begins.
type Opened = (Watcher, Head, u64);

fn lines((watcher, head, digest): Opened, timeout: Option<Duration>) -> Response {
    let lines = framing::body(watcher.stream(digest, timeout), framing::lines);
    let lines = Body::from_stream(lines);
    response(StatusCode::OK, Some(&head), JSON_LINES, lines)
}

fn server_sent((watcher, head, digest): Opened, timeout: Option<Duration>) -> Response {
    let epoch = Arc::clone(&head.epoch);
    let write = move |said: &_| framing::server_sent(said, &epoch);
    let events = framing::body(watcher.stream(digest, timeout), write);
    let events = Body::from_stream(events);
    response(StatusCode::OK, Some(&head), EVENT_STREAM, events)
}

async fn poll(
    collection: &Collection,
    caller: &Caller,
    resume: &Resume,
    wait: Option<Duration>,
    limit: Option<u64>,
) -> Answer {
    let options = &collection.shared.options;
    let portion = Portion {
        events: items(collection, limit),
        bytes: options.max_page_bytes,
    };
    let wait = wait.unwrap_or(Duration::MAX).min(options.max_poll_wait);
    let (watcher, _, _) = Watcher::open(collection, caller, resume)?;
    let (news, head) = watcher.poll(wait, portion).await?;
    let Some(last) = news.last() else {
        return Ok(response(
            StatusCode::NOT_MODIFIED,
            Some(&head),
            JSON,
            Body::empty(),
        ));
    };
    let mut out = Vec::from(*b"{");
    json::counter(&mut out, "revision", last.revision);
    json::field(&mut out, "epoch", &head.epoch);
    out.extend(b"\"events\":[");
    for transaction in &news {
        // Values hold no line breaks, so each is the end of an event.
        let lines = transaction.lines();
        out.extend(
            lines
                .iter()
                .map(|byte| if *byte == b'\n' { b',' } else { *byte }),
        );
    }
    out.pop();
    out.extend(b"]}");
    Ok(response(StatusCode::OK, Some(&head), JSON, out.into()))
}

async fn read_one(State(published): Published, path: Path, uri: Uri) -> Answer {
    let (collection, key) = find(&published, path)?;
    no_parameters(&uri).map_err(|failure| collection.refuse(failure))?;
    let (head, object) = {
        let state = collection.shared.state();
        (state.head(), state.objects.get(&*key).map(Arc::clone))
    };
    let Some(object) = object else {
        return Err(Failure::not_found("there is no such object").at(head));
    };
    let body = envelope(&object);
    Ok(with_etag(
        response(StatusCode::OK, Some(&head), JSON, body.into()),
        object.version,
    ))
}

/// Only reads of a whole collection have parameters.
fn no_parameters(uri: &Uri) -> Result<(), Failure> {
    match uri.query() {
        None | Some("") => Ok(()),
        Some(_) => Err(Failure::bad_request("no parameters are known here")),
    }
}

fn envelope(object: &Object) -> Vec<u8> {
    let mut out = Vec::from(*b"{");
    object.write_fields(object.version, false, &mut out);
    out.push(b'}');
    out
}

async fn put(State(published): Published, path: Path, request: Request) -> Answer {
    let (collection, key) = find(&published, path)?;
    let change = async {
        no_parameters(request.uri())?;
        let precondition = read_precondition(request.headers())?;
        let value = read_value(request, &collection.shared.options).await?;
        Ok::<_, Failure>(Change::Put {
            key,
            value,
            precondition,
        })
    };
    let change = change.await.map_err(|failure| collection.refuse(failure))?;
    let committed = commit(&collection, Vec::from([change]))?;
    Ok(with_etag(
        written(&collection, &committed),
        committed.revision,
    ))
}

async fn delete(State(published): Published, path: Path, request: Request) -> Answer {
    let (collection, key) = find(&published, path)?;
    let change = no_parameters(request.uri())
        .and_then(|()| read_precondition(request.headers()))
        .map(|precondition| Change::Delete { key, precondition })
        .map_err(|failure| collection.refuse(failure))?;
    let committed = commit(&collection, Vec::from([change]))?;
    Ok(written(&collection, &committed))
}

/// The answer to a transaction of one change.
fn written(collection: &Collection, committed: &Committed) -> Response {
    let created = committed.written.iter().any(|object| object.created);
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut out = Vec::from(*b"{");
    for object in &committed.written {
        write_written(&mut out, object);
    }
    out.push(b',');
    json::counter(&mut out, "revision", committed.revision);
    out.pop();
    out.push(b'}');
    response(status, Some(&collection.head()), JSON, out.into())
}

async fn transact(State(published): Published, path: Path, request: Request) -> Answer {
    let (collection, _) = find(&published, path)?;
    let changes = async {
        no_parameters(request.uri())?;
        read_changes(request, &collection.shared.options).await
    };
    let changes = changes
        .await
        .map_err(|failure| collection.refuse(failure))?;
    let committed = commit(&collection, changes)?;
    let mut out = Vec::from(*b"{");
    json::counter(&mut out, "revision", committed.revision);
    out.extend(b"\"written\":[");
    for (index, object) in committed.written.iter().enumerate() {
        out.extend(if index == 0 { "{" } else { ",{" }.bytes());
        write_written(&mut out, object);
        out.push(b'}');
    }
    out.extend(b"]}");
    Ok(response(
        StatusCode::OK,
        Some(&collection.head()),
        JSON,
        out.into(),
    ))
}

fn commit(collection: &Collection, changes: Vec<Change>) -> Result<Committed, Refused> {
    collection
        .transaction(changes)
        .map_err(|error| collection.refuse(error))
}

/// Appends `"key":"…","version":"…","uid":"…"`.
fn write_written(out: &mut Vec<u8>, object: &Written) {
    json::field(out, "key", &object.key);
    json::counter(out, "version", object.version);
    json::counter(out, "uid", object.uid);
    out.pop();
}
