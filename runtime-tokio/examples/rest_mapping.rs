//! A service that exists, and knows nothing of informers: `GET /configs` with its revision in
//! `X-Resource-Version`, and `GET /configs/watch?resourceVersion=` with a line of JSON for each change.
//! It is followed by a mapping alone, which may as well come out of a file.
//!
//! `cargo run -p reflet-tokio --example rest_mapping`

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use reflet_tokio::Informer;
use reflet_tokio::http::rest::{Mapping, RestSource};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// All that the follower knows of the service.
pub(crate) const MAPPING: &str = r#"{
    "list": {
        "path": "configs",
        "revision": { "header": { "name": "X-Resource-Version", "order": "ordered" } },
        "consistency": "page"
    },
    "object": {
        "key": "/id",
        "version": { "field": { "at": "/version", "order": "commit" } }
    },
    "watch": { "changes": {
        "path": "configs/watch",
        "resume": { "query": "resourceVersion" },
        "events": {
            "name": { "field": "/Type" },
            "upsert": ["ADD", "UPDATE"],
            "delete": ["DELETE"],
            "object": "/Config",
            "transactions": "single"
        }
    } }
}"#;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Config {
    id: String,
    name: String,
    value: String,
    /// The revision of the change that made it.
    version: u64,
    last_updated: String,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    r#type: &'static str,
    config: Config,
}

#[derive(Default)]
struct Table {
    configs: BTreeMap<String, Config>,
    /// Each has the revision after that of the one before; the first has 1.
    events: Vec<Event>,
}

impl Table {
    fn revision(&self) -> u64 {
        self.events.len() as u64
    }
}

#[derive(Clone)]
struct Service {
    table: Arc<Mutex<Table>>,
    revision: watch::Sender<u64>,
}

impl Service {
    fn new() -> Self {
        Self {
            table: Arc::default(),
            revision: watch::Sender::new(0),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a config, or takes it away; returns the revision of that.
    fn write(&self, id: &str, value: Option<&str>) -> u64 {
        let mut table = self.table();
        let version = table.revision() + 1;
        let config = Config {
            id: id.to_owned(),
            name: format!("the {id}"),
            value: value.unwrap_or_default().to_owned(),
            version,
            last_updated: "2026-01-01T00:00:00Z".to_owned(),
        };
        let before = match value {
            Some(_) => table.configs.insert(id.to_owned(), config.clone()),
            None => table.configs.remove(id),
        };
        let r#type = match (value, before) {
            (Some(_), None) => "ADD",
            (Some(_), Some(_)) => "UPDATE",
            (None, _) => "DELETE",
        };
        table.events.push(Event { r#type, config });
        self.revision.send_replace(version);
        version
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/configs", get(list))
            .route("/configs/watch", get(follow))
            .with_state(self.clone())
    }
}

async fn list(State(service): State<Service>) -> Response {
    let table = service.table();
    let configs: Vec<_> = table.configs.values().collect();
    let head = [
        ("X-Resource-Version", table.revision().to_string()),
        ("Content-Type", "application/json".to_owned()),
    ];
    match serde_json::to_string(&configs) {
        Ok(json) => (head, json).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn follow(
    State(service): State<Service>,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Response {
    let from = asked.get("resourceVersion");
    let Some(from) = from.and_then(|from| from.parse::<usize>().ok()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let changed = service.revision.subscribe();
    let lines = stream::unfold(
        (service, changed, from),
        |(service, mut changed, from)| async move {
            // The service is gone when this fails.
            changed
                .wait_for(|revision| *revision > from as u64)
                .await
                .ok()?;
            let event = service.table().events.get(from)?.clone();
            let mut line = serde_json::to_vec(&event).ok()?;
            line.push(b'\n');
            let line = Ok::<_, Infallible>(Bytes::from(line));
            Some((line, (service, changed, from + 1)))
        },
    );
    let content = [("content-type", "application/x-ndjson")];
    (content, Body::from_stream(lines)).into_response()
}

/// Follows the service while it changes, and says what is seen of `limit` each time.
pub(crate) async fn run() -> Result<Vec<Option<String>>, Box<dyn Error>> {
    let service = Service::new();
    service.write("limit", Some("10"));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, service.router()).into_future());

    let mapping: Mapping = serde_json::from_str(MAPPING)?;
    let source = RestSource::<Config>::builder(&url, mapping).build()?;
    let informer = Informer::builder(source).name("configs").start();
    informer.synced().await?;
    let configs = informer.reader();

    let limit = || configs.load("limit").map(|config| config.value.clone());
    let mut seen = vec![limit()];
    for (id, value) in [
        ("limit", Some("20")),
        ("burst", Some("5")),
        ("limit", None),
        ("limit", Some("30")),
    ] {
        let revision = service.write(id, value);
        configs.wait_for(&revision.into()).await?;
        seen.push(limit());
    }
    informer.shutdown().await;
    Ok(seen)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    for limit in run().await? {
        println!("{}", limit.as_deref().unwrap_or("no limit"));
    }
    Ok(())
}
