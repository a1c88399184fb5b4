//! The configuration service: three collections that anybody may write and watch.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use reflet_tokio::serve::{
    Change, Collection, CollectionOptions, Continuity, Journal, Precondition, Publish, to_raw_value,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::error::StartError;
use super::server::{Server, WRITE_TIMEOUT};
use super::store::{Kept, Store};

/// The name of the collection of routes.
pub(crate) const ROUTES: &str = "routes";
/// The name of the collection of rate limits.
pub(crate) const RATE_LIMITS: &str = "rate-limits";
/// The name of the collection of API keys.
pub(crate) const API_KEYS: &str = "api-keys";

/// What the sample API key is.
pub(crate) const SAMPLE_KEY: &str = "demo-key";

/// A quiet watch says something this often: three times as long without a word, and a gateway
/// takes the service for dead.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);

/// The collections, restored and ready to be published.
pub(crate) struct ConfigService {
    routes: Collection,
    rate_limits: Collection,
    api_keys: Collection,
}

/// A configuration service that answers requests.
pub(crate) struct RunningConfigService {
    service: ConfigService,
    server: Server,
}

impl ConfigService {
    /// The collections as the data file has them, or empty ones that are forgotten with the
    /// process.
    pub(crate) fn open(data: Option<&PathBuf>) -> Result<Self, StartError> {
        let (journal, mut kept) = match data {
            Some(path) => {
                let (store, kept) = Store::open(path)?;
                (Some(Arc::new(store) as Arc<dyn Journal>), kept)
            }
            None => (None, BTreeMap::new()),
        };
        // Restoring writes the file, so all of it is judged before any of it is restored.
        for Kept { export, continuity } in kept.values() {
            Collection::restored(export, *continuity, options(None))
                .map_err(StartError::Restore)?;
        }
        let mut open = |name| collection(name, kept.remove(name), journal.clone());
        Ok(Self {
            routes: open(ROUTES)?,
            rate_limits: open(RATE_LIMITS)?,
            api_keys: open(API_KEYS)?,
        })
    }

    /// The three collections.
    pub(crate) fn collections(&self) -> [&Collection; 3] {
        [&self.routes, &self.rate_limits, &self.api_keys]
    }

    /// Whether nothing was ever written. Objects that were deleted on purpose do not count as
    /// never written, and are not put back by the samples.
    pub(crate) fn is_fresh(&self) -> bool {
        let mut collections = self.collections().into_iter();
        collections.all(|collection| collection.revision() == 0)
    }

    /// Writes the sample objects, whose routes lead to these upstreams.
    pub(crate) fn add_samples(&self, upstreams: &[SocketAddr]) -> Result<(), StartError> {
        let upstream = |index: usize| upstreams.get(index).or(upstreams.first());
        let mut routes = Vec::new();
        if let Some(upstream) = upstream(0) {
            routes.push((
                "hello",
                json!({
                    "path_prefix": "/hello", "upstream": upstream, "strip_prefix": false,
                    "timeout_ms": 5000, "requires_key": true,
                }),
            ));
        }
        if let Some(upstream) = upstream(1) {
            routes.push((
                "public",
                json!({
                    "path_prefix": "/public", "upstream": upstream, "strip_prefix": true,
                    "timeout_ms": 1000, "requires_key": false,
                }),
            ));
        }
        let limit = json!({"route": "hello", "requests_per_second": 5, "burst": 5});
        let key = json!({"key": SAMPLE_KEY, "owner": "demo", "revoked": false});
        write(&self.routes, routes)?;
        write(&self.rate_limits, vec![("hello", limit)])?;
        write(&self.api_keys, vec![("demo", key)])
    }

    /// Publishes the collections.
    pub(crate) fn serve(self, listener: TcpListener) -> Result<RunningConfigService, StartError> {
        let publish = self
            .collections()
            .into_iter()
            .fold(Publish::new(), Publish::collection);
        let router = publish.writable(true).router();
        let service = move |_| TowerToHyperService::new(router.clone());
        let server = Server::start(listener, WRITE_TIMEOUT, service)
            .map_err(|error| StartError::System(error.to_string()))?;
        Ok(RunningConfigService {
            service: self,
            server,
        })
    }
}

impl Drop for ConfigService {
    /// A WebSocket has left its server's tasks: it ends with what it follows.
    fn drop(&mut self) {
        self.collections().into_iter().for_each(Collection::close);
    }
}

impl RunningConfigService {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Ends the watches, lets other requests finish for at most `grace`, then ends the rest.
    pub(crate) async fn shutdown(self, grace: Duration) {
        drop(self.service);
        self.server.shutdown(grace).await;
    }
}

fn options(journal: Option<Arc<dyn Journal>>) -> CollectionOptions {
    let mut options = CollectionOptions::default();
    options.heartbeat_interval = HEARTBEAT;
    options.bookmark_interval = HEARTBEAT;
    options.journal = journal;
    options
}

fn collection(
    name: &str,
    kept: Option<Kept>,
    journal: Option<Arc<dyn Journal>>,
) -> Result<Collection, StartError> {
    let kept = match kept {
        Some(kept) => kept,
        // Restored like any other, so that the journal keeps its epoch from the start.
        None => Kept {
            export: Collection::new(name, options(None))
                .map_err(StartError::Open)?
                .export(),
            continuity: Continuity::SameEpoch,
        },
    };
    if kept.continuity == Continuity::NewEpoch {
        tracing::warn!(
            collection = name,
            revision = kept.export.revision,
            "the data file is not the newest state that was written: a new epoch begins"
        );
    }
    Collection::restored(&kept.export, kept.continuity, options(journal))
        .map_err(StartError::Restore)
}

fn write(collection: &Collection, objects: Vec<(&str, Value)>) -> Result<(), StartError> {
    if objects.is_empty() {
        return Ok(());
    }
    let changes = objects.into_iter().map(|(key, value)| {
        let value = to_raw_value(&value).map_err(|error| StartError::System(error.to_string()))?;
        Ok(Change::Put {
            key: key.to_owned(),
            value,
            precondition: Precondition::Absent,
        })
    });
    let changes = changes.collect::<Result<_, StartError>>()?;
    collection
        .transaction(changes)
        .map(drop)
        .map_err(StartError::Samples)
}
