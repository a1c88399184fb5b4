//! The clients: informers of the very driver, over simulated connections.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use madsim::net::TcpStream;
use reflet_core::{Config, State as HealthState};
use reflet_tokio::http::{Connect, HttpSource, Target};
use reflet_tokio::{Informer, Notices, Source as _};

use super::books::{Value, View, difference};
use super::pace::{Starts, Timed};
use super::plan::{Choice, InformerPlan};
use super::server::{COLLECTION, HOST};
use super::subscriber::{Reader, follow};
use super::world::{Reporter, World, lock};

/// The header by which a server's side knows whose request it is.
pub(super) const INFORMER: &str = "x-informer";

/// An informer under watch.
pub(super) struct Watched {
    pub(super) name: String,
    pub(super) client: usize,
    pub(super) informer: Informer<Arc<Value>>,
    pub(super) config: Config,
    pub(super) readers: Vec<Arc<Reader>>,
    starts: Arc<Mutex<Starts>>,
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
                    name,
                    world.reporter.clone(),
                ));
                for reader in &watched.readers {
                    follow(&world, &watched, reader, rng.fork());
                }
            }
            Err(words) => world.reporter.broken("the client's", words),
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
    let mut source = HttpSource::<Value>::builder(&format!("http://{HOST}"), COLLECTION)
        .transport(plan.transport)
        .heartbeat(world.plan.publishing.heartbeat)
        .connect_timeout(plan.connect_timeout)
        .header(
            reflet_tokio::http::HeaderName::from_static(INFORMER),
            name.parse().map_err(|_| "not a header")?,
        );
    if plan.choice != Choice::Name {
        source = source.connector(Picker::new(world, plan));
    }
    let inner = source.build().map_err(|error| error.to_string())?;
    let mut config = plan.config.clone();
    config.source = inner.profile();
    let starts = Arc::<Mutex<Starts>>::default();
    let source = Timed {
        inner,
        timing: config.timing.clone(),
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
    Ok(Arc::new(Watched {
        name: name.into(),
        client,
        informer,
        config,
        readers: readers.collect(),
        starts,
        requests: AtomicUsize::new(0),
    }))
}

/// Tells the trace what an informer tells.
async fn listen(mut notices: Notices, name: String, reporter: Reporter) {
    while let Some(notice) = notices.next().await {
        reporter.say(format_args!("{name} {notice:?}"));
    }
}

impl Watched {
    /// A server received a request. The error: it is one more than the engine has asked for.
    pub(super) fn requested(&self, first: bool) -> Result<(), String> {
        if !first {
            return Ok(());
        }
        let requests = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let starts = lock(&self.starts).count();
        if requests > starts {
            let name = &self.name;
            return Err(format!("{name}: {requests} requests for {starts} attempts"));
        }
        Ok(())
    }

    /// What the cache shows.
    pub(super) fn view(&self) -> View {
        let objects: BTreeMap<_, _> = self.informer.snapshot().into_iter().collect();
        objects
    }

    /// What must be true at any time, whatever happens.
    pub(super) fn audit(&self, reporter: &Reporter) {
        let broken = |promise, words: String| {
            let name = &self.name;
            let health = self.informer.health();
            reporter.broken(promise, format_args!("{name}: {words}; {health:?}"));
        };
        let (health, now) = (self.informer.health(), self.informer.now());
        match health.deadline {
            None => broken("P6", "there is no next step".into()),
            Some(deadline) => {
                let late = now.saturating_since(deadline.at);
                if late > Duration::from_millis(20) {
                    broken("P6", format!("the next step is overdue by {late:?}"));
                }
                let wait = deadline.at.saturating_since(now);
                if wait > self.config.next_attempt_bound() {
                    broken("P6", format!("the next step is {wait:?} away"));
                }
            }
        }
        for subscriber in &health.subscribers {
            let bytes = subscriber.retained_bytes;
            if bytes > self.config.limits.retained_bytes {
                broken(
                    "P8",
                    format!("{bytes} bytes are held back for one subscriber"),
                );
            }
        }
        if health.state == HealthState::Live && !self.informer.status().borrow().synced {
            broken("P9", "live, and not synced".into());
        }
        if health.complete
            && let Some(words) = self.is_no_state(reporter)
        {
            broken("P3", words);
        }
    }

    /// Why the cache is not what the source held at the revision that it shows.
    fn is_no_state(&self, reporter: &Reporter) -> Option<String> {
        let health = self.informer.health();
        let revision = health.revision?.as_u64()?;
        let epoch = health.epoch.as_ref().map_or("", |epoch| epoch.as_str());
        let books = reporter.books();
        match books.at(epoch, revision) {
            None => Some(format!("revision {revision} never was")),
            Some(state) => difference(&self.view(), state, |_| true)
                .map(|words| format!("at revision {revision}: {words}")),
        }
    }

    /// Why the informer and its readers are not where the source is.
    pub(super) fn is_apart(&self, reporter: &Reporter) -> Option<String> {
        let state = Arc::clone(reporter.books().state());
        let shown = difference(&self.view(), &state, |_| true);
        let shown = shown.map(|words| format!("the cache: {words}"));
        shown.or_else(|| {
            self.readers
                .iter()
                .find_map(|reader| reader.is_apart(&state))
        })
    }
}

/// Picks one of the servers behind the name.
struct Picker {
    world: Arc<World>,
    choice: Choice,
    turn: Mutex<(usize, Rng)>,
}

impl Picker {
    fn new(world: &Arc<World>, plan: &InformerPlan) -> Self {
        Self {
            world: Arc::clone(world),
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
    type Stream = TcpStream;

    async fn connect(&self, _: &Target) -> io::Result<TcpStream> {
        let index = self.pick();
        if self.world.connects_vanish() {
            pending::<()>().await;
        }
        let connected = TcpStream::connect(self.world.servers[index].address()).await;
        if connected.is_err() {
            self.avoid(index);
        }
        connected
    }
}
