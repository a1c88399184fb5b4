//! The clients: informers of the very driver, over simulated connections.

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use fastrand::Rng;
use hyper_util::rt::TokioIo;
use madsim::net::TcpStream;
use reflet_core::{Config, Notice as EngineNotice};
use reflet_tokio::http::rest::RestSource;
use reflet_tokio::http::{Connect, HttpLimits, HttpSource, HttpSourceBuilder, Target, Transport};
use reflet_tokio::{Informer, Notice, Notices, Source};

use super::audit::Shown;
use super::books::Value;
use super::heard::{Heard, Overheard};
use super::onlooker::{Onlooker, look_on};
use super::pace::{Starts, Timed};
use super::plan::{Choice, InformerPlan};
use super::protocol::{self, Travel};
use super::server::{COLLECTION, HOST};
use super::subscriber::{Reader, follow};
use super::world::{Reporter, World, lock};
use crate::oracles::{Checked, Promise};

/// The header by which a server's side knows whose request it is.
pub(super) const INFORMER: &str = "x-informer";

/// An informer under watch.
pub(super) struct Watched {
    pub(super) name: String,
    pub(super) client: usize,
    pub(super) informer: Informer<Arc<Value>>,
    pub(super) config: Config,
    pub(super) readers: Vec<Arc<Reader>>,
    pub(super) shown: Mutex<Shown>,
    /// What it was told, where somebody overhears it.
    pub(super) heard: Option<Arc<Mutex<Heard>>>,
    pub(super) starts: Arc<Mutex<Starts>>,
    /// Those who read what it shows.
    pub(super) onlookers: Mutex<Vec<Arc<Onlooker>>>,
    /// How many relists it has told of.
    pub(super) relists: AtomicUsize,
    /// It was told to end.
    pub(super) stopped: AtomicBool,
    requests: AtomicUsize,
}

/// The life of a client's process.
pub(super) async fn live(world: Arc<World>, client: usize) {
    let life = {
        let mut lives = lock(&world.lives);
        let life = lives.entry(client).or_default();
        *life += 1;
        *life
    };
    let mut rng = Rng::with_seed(u64::from(life) << 8 | client as u64);
    for (index, plan) in world.plan.clients[client].iter().enumerate() {
        let name = format!("c{client}.{life}.{index}");
        match start(&world, plan, &name, client) {
            Ok(watched) => {
                world.reporter.say(format_args!("{name} starts"));
                lock(&world.watched).push(Arc::clone(&watched));
                madsim::task::spawn(listen(
                    watched.informer.notices(),
                    Arc::downgrade(&watched),
                    name,
                    world.reporter.clone(),
                ));
                for reader in &watched.readers {
                    follow(&world, &watched, reader, rng.fork());
                }
                // Drawn apart from the rest, so that what else a seed means does not depend on it.
                let apart = plan.seed.wrapping_add(u64::from(life));
                look_on(&world, &watched, Rng::with_seed(apart));
            }
            Err(words) => world.reporter.broken(Promise::NextStep, words),
        }
    }
    pending().await
}

fn start(
    world: &Arc<World>,
    plan: &InformerPlan,
    name: &str,
    client: usize,
) -> Result<Arc<Watched>, String> {
    let (url, heartbeat) = (format!("http://{HOST}"), world.plan.publishing.heartbeat);
    if plan.mapped {
        let mapping = protocol::mapping(COLLECTION, travel(plan.transport), millis(heartbeat));
        let mapping = serde_json::from_value(mapping).map_err(|error| error.to_string())?;
        let (source, heard) = connected(RestSource::builder(&url, mapping), world, plan, name)?;
        let source = source.build().map_err(|error| error.to_string())?;
        Ok(watched(source, world, plan, (name, client), heard))
    } else {
        let source = HttpSource::<Value>::builder(&url, COLLECTION)
            .transport(plan.transport)
            .heartbeat(heartbeat);
        let (source, heard) = connected(source, world, plan, name)?;
        let source = source.build().map_err(|error| error.to_string())?;
        Ok(watched(source, world, plan, (name, client), heard))
    }
}

/// How a mapping has a transport.
fn travel(transport: Transport) -> Travel {
    match transport {
        Transport::JsonLines => Travel::JsonLines,
        Transport::ServerSentEvents => Travel::ServerSentEvents,
        Transport::WebSocket => Travel::WebSocket,
        Transport::LongPoll(timing) => Travel::LongPoll {
            wait_ms: millis(timing.wait),
            busy_ms: millis(timing.busy_interval),
            idle_ms: millis(timing.idle_interval),
        },
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

type Overhearing = Option<Arc<Mutex<Heard>>>;

/// A source over this world's network, and what it will have been told, where somebody overhears
/// it.
fn connected<P>(
    source: HttpSourceBuilder<Value, P>,
    world: &Arc<World>,
    plan: &InformerPlan,
    name: &str,
) -> Result<(HttpSourceBuilder<Value, P>, Overhearing), String> {
    let source = source
        .limits(HttpLimits {
            connect_timeout: plan.connect_timeout,
            ..HttpLimits::default()
        })
        .header(
            reflet_tokio::http::HeaderName::from_static(INFORMER),
            name.parse().map_err(|_| "not a header")?,
        );
    // Nobody overhears the driver's own connector.
    if plan.choice == Choice::Name {
        return Ok((source, None));
    }
    let heard = Arc::new(Mutex::new(Heard::since(world.reporter.clock())));
    let source = source.connector(Picker::new(world, plan, &heard));
    Ok((source, Some(heard)))
}

/// An informer of this source, under watch.
fn watched<S: Source<Value = Arc<Value>>>(
    inner: S,
    world: &Arc<World>,
    plan: &InformerPlan,
    (name, client): (&str, usize),
    heard: Overhearing,
) -> Arc<Watched> {
    let mut config = plan.config.clone();
    config.source = inner.profile();
    let starts = Arc::new(Mutex::new(Starts::new(&config.timing)));
    let source = Timed {
        inner,
        starts: Arc::clone(&starts),
        reporter: world.reporter.clone(),
    };
    let informer = Informer::builder(source)
        .config(config.clone())
        .seed(plan.seed)
        .content_eq(|a, b| a == b)
        .name(name)
        .start();
    let readers = plan.subscribers.iter().enumerate();
    let readers = readers.map(|(index, kind)| Reader::new(format!("{name}/{index}"), *kind));
    Arc::new(Watched {
        name: name.into(),
        client,
        informer,
        config,
        readers: readers.collect(),
        shown: Mutex::default(),
        heard,
        starts,
        onlookers: Mutex::default(),
        relists: AtomicUsize::new(0),
        stopped: AtomicBool::new(false),
        requests: AtomicUsize::new(0),
    })
}

/// Tells the trace what an informer tells.
async fn listen(mut notices: Notices, watched: Weak<Watched>, name: String, reporter: Reporter) {
    while let Some(notice) = notices.next().await {
        reporter.say(format_args!("{name} {notice:?}"));
        let synced = matches!(notice, Notice::Engine(EngineNotice::Synced { .. }));
        let relisted = matches!(notice, Notice::Engine(EngineNotice::Relisted { .. }));
        if let Some(watched) = watched.upgrade().filter(|_| relisted) {
            watched.relists.fetch_add(1, Ordering::Relaxed);
        }
        let watched = watched.upgrade().filter(|_| synced);
        if let Some(heard) = watched.as_ref().and_then(|watched| watched.heard.as_ref()) {
            let announced = lock(heard).readiness.announce();
            reporter.check(&name, announced);
        }
    }
}

impl Watched {
    /// A server received a request. It belongs to an attempt that the engine has asked for.
    pub(super) fn requested(&self, first: bool) -> Checked {
        let requests = self
            .requests
            .fetch_add(usize::from(first), Ordering::Relaxed)
            + usize::from(first);
        let starts = lock(&self.starts).count;
        Promise::NeverHammers.require(requests <= starts, || {
            format!("{requests} requests for {starts} attempts")
        })
    }
}

/// Picks one of the servers behind the name.
struct Picker {
    world: Arc<World>,
    heard: Arc<Mutex<Heard>>,
    choice: Choice,
    turn: Mutex<(usize, Rng)>,
}

impl Picker {
    fn new(world: &Arc<World>, plan: &InformerPlan, heard: &Arc<Mutex<Heard>>) -> Self {
        Self {
            world: Arc::clone(world),
            heard: Arc::clone(heard),
            choice: plan.choice,
            turn: Mutex::new((0, Rng::with_seed(plan.seed))),
        }
    }

    fn pick(&self) -> usize {
        let servers = self.world.servers.len();
        let (last, rng) = &mut *lock(&self.turn);
        *last = match self.choice {
            Choice::Name => 0,
            Choice::Sticky => *last,
            Choice::Turns => (*last + 1) % servers,
            Choice::Random => rng.usize(..servers),
        };
        *last
    }

    fn avoid(&self, index: usize) {
        let servers = self.world.servers.len();
        lock(&self.turn).0 = (index + 1) % servers;
    }
}

impl Connect for Picker {
    type Stream = TokioIo<Overheard<TokioIo<TcpStream>>>;

    async fn connect(&self, _: &Target) -> io::Result<Self::Stream> {
        let index = self.pick();
        if self.world.connects_vanish() {
            pending::<()>().await;
        }
        let connected = TcpStream::connect(self.world.servers[index].address()).await;
        if connected.is_err() {
            self.avoid(index);
        }
        let stream = TokioIo::new(connected?);
        let overheard = Overheard::new(stream, &self.heard, &self.world.reporter);
        Ok(TokioIo::new(overheard))
    }
}
