//! Follows the three collections and keeps the routing table up to date.
//!
//! This is all that a user of informers has to write: fold each batch of deltas into one's own
//! state, and at its mark, put that state in force.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reflet_core::cache::{Cache, Delta, Mark};
use reflet_core::{Health, Policy, Timestamp, Timing};
use reflet_tokio::http::{HttpSource, PollTiming, Transport};
use reflet_tokio::{Batch, Deltas, Informer, SnapshotEncoding, SnapshotOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cli;
use super::config_service::{API_KEYS, HEARTBEAT, RATE_LIMITS, ROUTES};
use super::error::StartError;
use super::gateway::GatewayOptions;
use super::objects::{ApiKey, RateLimit, Route};
use super::table::{Built, Collections, InForce, Objects, Table};

/// How old a snapshot of a collection that changes may get.
const SNAPSHOT_PERIOD: Duration = Duration::from_secs(5);

/// Three informers, and the routing table that a task makes of what they say.
pub(crate) struct Follower {
    routes: Informer<Arc<Route>>,
    rate_limits: Informer<Arc<RateLimit>>,
    api_keys: Informer<Arc<ApiKey>>,
    in_force: Arc<InForce>,
}

/// What an informer says of itself, and the present by its clock.
pub(crate) struct Report {
    /// The collection's name.
    pub(crate) name: &'static str,
    /// What the informer says.
    pub(crate) health: Health<Arc<str>>,
    /// How many rewinds the informer has accepted; read after `health`.
    pub(crate) rewinds: u64,
    /// The present, to which the times in `health` compare.
    pub(crate) now: Timestamp,
}

impl Follower {
    /// Starts to follow. Returns at once; the table is in force when all three are complete.
    pub(crate) fn start(options: &GatewayOptions) -> Result<Self, StartError> {
        let in_force = Arc::new(InForce::default());
        let routes = informer(options, ROUTES)?;
        let rate_limits = informer(options, RATE_LIMITS)?;
        let api_keys = informer(options, API_KEYS)?;
        // Ends with the informers' streams.
        tokio::spawn(keep_table(
            Arc::clone(&in_force),
            Mirror::of(&routes),
            Mirror::of(&rate_limits),
            Mirror::of(&api_keys),
        ));
        Ok(Self {
            routes,
            rate_limits,
            api_keys,
            in_force,
        })
    }

    /// The table in force.
    pub(crate) fn in_force(&self) -> &Arc<InForce> {
        &self.in_force
    }

    /// What the informers say, in the order of [`Table::sources`].
    pub(crate) fn reports(&self) -> [Report; 3] {
        [
            report(ROUTES, &self.routes),
            report(RATE_LIMITS, &self.rate_limits),
            report(API_KEYS, &self.api_keys),
        ]
    }

    /// Stops to follow. The table stays in force.
    pub(crate) async fn shutdown(&self) {
        tokio::join!(
            self.routes.shutdown(),
            self.rate_limits.shutdown(),
            self.api_keys.shutdown(),
        );
    }
}

fn informer<T>(options: &GatewayOptions, collection: &str) -> Result<Informer<Arc<T>>, StartError>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let transport = match options.transport {
        cli::Transport::Jsonl => Transport::JsonLines,
        cli::Transport::Sse => Transport::ServerSentEvents,
        cli::Transport::Websocket => Transport::WebSocket,
        cli::Transport::LongPoll => Transport::LongPoll(PollTiming {
            wait: Duration::from_secs(5),
            busy_interval: Duration::from_millis(5),
            idle_interval: Duration::from_millis(100),
        }),
    };
    let url = format!("http://{}", options.config);
    let source = HttpSource::<T>::builder(&url, collection)
        .transport(transport)
        .heartbeat(HEARTBEAT)
        .build()
        .map_err(|error| StartError::Source {
            address: options.config.clone(),
            message: error.to_string(),
        })?;
    let new_epoch = match options.on_new_epoch {
        cli::OnNewEpoch::Accept => reflet_core::OnNewEpoch::Accept,
        cli::OnNewEpoch::Refuse => reflet_core::OnNewEpoch::Refuse,
    };
    let builder = Informer::builder(source)
        .name(collection)
        .timing(be_quick)
        .policy(|policy: &mut Policy| policy.new_epoch = new_epoch);
    let builder = match &options.snapshot {
        Some(file) => builder.snapshot(snapshot(file, &options.config, collection)),
        None => builder,
    };
    Ok(builder.start())
}

/// A file for each collection, so that each is as new as can be.
fn snapshot(file: &Path, config: &str, collection: &str) -> SnapshotOptions {
    let mut path = file.as_os_str().to_owned();
    path.push(".");
    path.push(collection);
    // The objects are only decoded from what describes itself: see `objects`.
    SnapshotOptions::new(path, format!("gateway 1, {collection} of {config}"))
        .encoding(SnapshotEncoding::Json)
        .period(SNAPSHOT_PERIOD)
}

/// Somebody watches: be back within a second once the service is. A fleet of gateways would be
/// set to be more patient.
fn be_quick(timing: &mut Timing) {
    timing.open_timeout = Duration::from_secs(3);
    timing.page_timeout = Duration::from_secs(5);
    timing.burst = 20;
    timing.min_interval = Duration::from_millis(200);
    timing.backoff_min = Duration::from_millis(50);
    timing.backoff_max = Duration::from_secs(1);
    timing.slow_retry = Duration::from_secs(2);
    timing.stable_after = Duration::from_secs(2);
    timing.verify_min_interval = Duration::from_secs(2);
}

fn report<T: Send + Sync + 'static>(name: &'static str, informer: &Informer<Arc<T>>) -> Report {
    Report {
        name,
        health: informer.health(),
        rewinds: informer.with_cache(Cache::local_epoch),
        now: informer.now(),
    }
}

/// Puts a new table in force for each batch of any collection, once all three are complete.
async fn keep_table(
    in_force: Arc<InForce>,
    mut routes: Mirror<Route>,
    mut rate_limits: Mirror<RateLimit>,
    mut api_keys: Mirror<ApiKey>,
) {
    loop {
        let goes_on = tokio::select! {
            goes_on = routes.step() => goes_on,
            goes_on = rate_limits.step() => goes_on,
            goes_on = api_keys.step() => goes_on,
        };
        if !goes_on {
            return;
        }
        let complete = routes
            .state()
            .zip(rate_limits.state())
            .zip(api_keys.state());
        if let Some(((routes, limits), keys)) = complete {
            let from = Collections {
                routes,
                limits,
                keys,
            };
            let before = in_force.load().unwrap_or_default();
            in_force.swap(Arc::new(Table::build(from, &before, Instant::now())));
        }
    }
}

/// A collection as the table sees it: as it was at the last mark, never in between.
struct Mirror<T> {
    deltas: Deltas<Arc<T>>,
    objects: Objects<T>,
    /// The last mark; none before the first complete state.
    mark: Option<Mark>,
}

impl<T: Send + Sync + 'static> Mirror<T> {
    fn of(informer: &Informer<Arc<T>>) -> Self {
        Self {
            deltas: informer.subscribe(),
            objects: Objects::new(),
            mark: None,
        }
    }

    /// Takes the next batch; false at the end. To drop the future loses nothing.
    async fn step(&mut self) -> bool {
        match self.deltas.next().await {
            Some(batch) => {
                self.apply(batch);
                true
            }
            None => false,
        }
    }

    fn apply(&mut self, batch: Batch<Arc<T>>) {
        for delta in batch.deltas {
            match delta {
                Delta::Added { key, new } | Delta::Updated { key, new, .. } => {
                    self.objects.insert(key, new);
                }
                Delta::Deleted { key, .. } => {
                    self.objects.remove(&key);
                }
                Delta::Reset => self.objects.clear(),
                // A batch ends with the only mark, and the others are for who asks for them.
                Delta::Mark(_) | Delta::Redelivered { .. } | Delta::Gap(_) => {}
            }
        }
        self.mark = Some(batch.mark);
    }

    fn state(&self) -> Option<(&Objects<T>, Built)> {
        let mark = self.mark.as_ref()?;
        let built = Built {
            revision: mark.revision.clone(),
            epoch: mark.local_epoch,
            objects: self.objects.len(),
        };
        Some((&self.objects, built))
    }
}
