//! The servers: a collection behind its router over simulated connections, its disk, and its bad
//! days.

use std::convert::Infallible;
use std::future::pending;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use madsim::net::{TcpListener, TcpStream};
use madsim::task::JoinHandle;
use reflet_tokio::serve::{
    Collection, CollectionOptions, Commit, Continuity, Export, Journal, JournalError, Publish,
};
use tower_service::Service as _;

use super::body::{Damage, damaged};
use super::books::State;
use super::client::INFORMER;
use super::pace::COME_BACK;
use super::quiet::{Quiet, Wire};
use super::world::{World, lock};

/// The server that writes go to; the others are replicas of it.
pub(super) const WRITER: usize = 0;
/// The collection's name.
pub(super) const COLLECTION: &str = "things";
/// The name of the first server's address.
pub(super) const HOST: &str = "things.example";
pub(super) const PORT: u16 = 80;

/// One server, as it outlives its processes.
pub(super) struct Server {
    index: usize,
    collection: Mutex<Option<Collection>>,
    disk: Arc<Disk>,
    mood: Mutex<Mood>,
    /// The tasks of its connections, and the connections: a WebSocket has left its task.
    connections: Mutex<Vec<JoinHandle<()>>>,
    wires: Mutex<Vec<Wire>>,
    /// What the next process starts with instead of its disk.
    going_back: Mutex<Option<Export>>,
}

/// How a server treats the requests that it receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mood {
    #[default]
    Good,
    /// It never answers.
    Hung,
    /// It refuses with this status, and says when to come back, in seconds.
    Refusing(u16, Option<u64>),
    /// Its answers are damaged after so many bytes.
    Damaging(Damage, usize),
}

/// What a server has kept.
#[derive(Debug, Default)]
struct Disk(Mutex<Option<Export>>);

impl Journal for Disk {
    fn commit(&self, commit: &Commit<'_>) -> Result<(), JournalError> {
        *lock(&self.0) = Some(commit.export());
        Ok(())
    }
}

impl Server {
    pub(super) fn new(index: usize) -> Self {
        Self {
            index,
            collection: Mutex::default(),
            disk: Arc::default(),
            mood: Mutex::default(),
            connections: Mutex::default(),
            wires: Mutex::default(),
            going_back: Mutex::default(),
        }
    }

    /// What the server publishes, while it is up.
    pub(super) fn collection(&self) -> Option<Collection> {
        lock(&self.collection).clone()
    }

    pub(super) fn disk(&self) -> Option<Export> {
        lock(&self.disk.0).clone()
    }

    pub(super) fn mood(&self) -> Mood {
        *lock(&self.mood)
    }

    pub(super) fn set_mood(&self, mood: Mood) {
        *lock(&self.mood) = mood;
    }

    /// The process is gone.
    pub(super) fn down(&self) {
        *lock(&self.collection) = None;
    }

    fn connected(&self, task: JoinHandle<()>, wire: Wire) {
        let mut wires = lock(&self.wires);
        wires.retain(Wire::is_in_use);
        wires.push(wire);
        let mut connections = lock(&self.connections);
        connections.retain(|task| !task.is_finished());
        connections.push(task);
    }

    /// All connections break.
    pub(super) fn reset(&self) {
        let connections = std::mem::take(&mut *lock(&self.connections));
        connections.into_iter().for_each(|task| task.abort());
        let wires = std::mem::take(&mut *lock(&self.wires));
        wires.iter().for_each(Wire::break_off);
    }

    /// The next process starts from this.
    pub(super) fn go_back(&self, backup: Export) {
        *lock(&self.going_back) = Some(backup);
    }

    pub(super) fn ip(&self) -> IpAddr {
        let last = u8::try_from(self.index + 1).unwrap_or(u8::MAX);
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    pub(super) fn address(&self) -> SocketAddr {
        (self.ip(), PORT).into()
    }
}

impl World {
    fn options(&self, index: usize) -> CollectionOptions {
        let publishing = self.plan.publishing;
        let mut options = CollectionOptions::default();
        options.heartbeat_interval = publishing.heartbeat;
        options.bookmark_interval = publishing.bookmark;
        options.history_transactions = publishing.history;
        if !self.generous.load(Ordering::Relaxed) {
            options.max_watchers = publishing.watchers;
        }
        options.watcher_buffer_bytes = publishing.buffer_bytes;
        options.journal = Some(Arc::clone(&self.servers[index].disk) as _);
        options
    }

    /// The collection of a process that starts.
    fn open(&self, index: usize) -> Result<Collection, String> {
        let server = &self.servers[index];
        let backup = lock(&server.going_back).take();
        let options = self.options(index);
        let collection = match (backup, server.disk()) {
            (Some(backup), _) => return self.started_from(backup, options),
            (None, Some(kept)) => Collection::restored(&kept, Continuity::SameEpoch, options),
            (None, None) => return self.first(index, options),
        };
        collection.map_err(|error| error.to_string())
    }

    fn first(&self, index: usize, options: CollectionOptions) -> Result<Collection, String> {
        if index != WRITER {
            let truth = self.servers[WRITER]
                .disk()
                .ok_or("the writer comes first")?;
            return Collection::restored(&truth, Continuity::SameEpoch, options)
                .map_err(|error| error.to_string());
        }
        let empty = Export {
            format: reflet_tokio::serve::EXPORT_FORMAT,
            name: COLLECTION.into(),
            epoch: "none".into(),
            revision: 0,
            objects: Vec::new(),
        };
        let collection = Collection::restored(&empty, Continuity::NewEpoch, options);
        let collection = collection.map_err(|error| error.to_string())?;
        let mut books = self.reporter.books();
        books.begin(&collection.epoch(), 0, Arc::new(State::new()));
        Ok(collection)
    }

    fn started_from(
        &self,
        backup: Export,
        options: CollectionOptions,
    ) -> Result<Collection, String> {
        let collection = Collection::restored(&backup, Continuity::NewEpoch, options)
            .map_err(|error| error.to_string())?;
        self.went_back(&backup, &collection.epoch());
        Ok(collection)
    }

    /// The books follow a collection that went back.
    pub(super) fn went_back(&self, backup: &Export, epoch: &str) {
        let mut books = self.reporter.books();
        let state = books.at(&backup.epoch, backup.revision).cloned();
        books.begin(epoch, backup.revision, state.unwrap_or_default());
        drop(books);
        let (from, revision) = (&backup.epoch, backup.revision);
        self.reporter
            .say(format_args!("back to {from}@{revision}, now {epoch}"));
    }
}

/// The life of a server's process.
pub(super) async fn serve(world: Arc<World>, index: usize) {
    let server = &world.servers[index];
    let collection = match world.open(index) {
        Ok(collection) => collection,
        Err(words) => return world.reporter.servers_fail(words),
    };
    let at = format!("{}@{}", collection.epoch(), collection.revision());
    world
        .reporter
        .say(format_args!("server {index} is up at {at}"));
    let router = Publish::new().collection(&collection).router();
    *lock(&server.collection) = Some(collection);
    let listener = match TcpListener::bind(("0.0.0.0", PORT)).await {
        Ok(listener) => listener,
        Err(error) => return world.reporter.servers_fail(error),
    };
    while let Ok((stream, _)) = listener.accept().await {
        let wire = Wire::default();
        let stream = Quiet::new(TokioIo::new(stream), wire.clone());
        let connection = connection(
            Arc::clone(&world),
            index,
            router.clone(),
            stream,
            wire.clone(),
        );
        server.connected(madsim::task::spawn(connection), wire);
    }
}

async fn connection(
    world: Arc<World>,
    index: usize,
    router: Router,
    stream: Quiet<TokioIo<TcpStream>>,
    wire: Wire,
) {
    let service = service_fn(move |request| {
        let (world, router, wire) = (Arc::clone(&world), router.clone(), wire.clone());
        async move { Ok::<_, Infallible>(answer(&world, index, router, request, &wire).await) }
    });
    // A connection that ends with an error is everyday life here.
    let _ = http1::Builder::new()
        .serve_connection(stream, service)
        .with_upgrades()
        .await;
}

async fn answer(
    world: &World,
    index: usize,
    mut router: Router,
    request: Request<Incoming>,
    wire: &Wire,
) -> Response {
    world.received(index, &request);
    match world.servers[index].mood() {
        Mood::Hung => pending().await,
        Mood::Refusing(status, wait) => refusal(status, wait),
        Mood::Good => routed(&mut router, request).await,
        Mood::Damaging(damage, after) => {
            let response = routed(&mut router, request).await;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                // Its frames come after the answer, and are no body.
                wire.damage(damage, after);
                return response;
            }
            damaged(response, damage, after)
        }
    }
}

async fn routed(router: &mut Router, request: Request<Incoming>) -> Response {
    match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn refusal(status: u16, wait: Option<u64>) -> Response {
    let words = wait.map_or("not now".into(), |wait| format!("{COME_BACK}{wait}"));
    let mut response = Response::new(Body::from(words));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    if let Some(seconds) = wait {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

impl World {
    /// Notes a request. Each one belongs to an attempt of the engine's (P7).
    fn received(&self, index: usize, request: &Request<Incoming>) {
        self.reporter.count(|counts| counts.requests += 1);
        let name = request.headers().get(INFORMER);
        let name = name.and_then(|name| name.to_str().ok()).unwrap_or("?");
        let query = request.uri().query().unwrap_or("");
        self.reporter
            .say(format_args!("server {index} < {name} {query}"));
        let first = !query.contains("continue=") && !query.contains("watch=poll");
        let watched = lock(&self.watched);
        let Some(watched) = watched.iter().find(|watched| watched.name == name) else {
            return;
        };
        self.reporter.check(&watched.name, watched.requested(first));
    }
}
