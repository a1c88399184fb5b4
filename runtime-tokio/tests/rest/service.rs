//! A configuration service as many have one: it knows nothing of informers, and its answers are
//! what a mapping has to make sense of. It is a few lines of axum.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::paged;
use crate::streams;

pub(crate) type Answer = Response<Body>;
pub(crate) type Asked = Query<BTreeMap<String, String>>;

/// What the service is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Config {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) value: String,
    /// The revision of the change that made it.
    pub(crate) version: u64,
    pub(crate) last_updated: String,
}

/// What happened to a config, which has the revision of that.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// `ADD`, `UPDATE` or `DELETE`.
    pub(crate) kind: &'static str,
    pub(crate) config: Config,
}

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) configs: BTreeMap<String, Config>,
    pub(crate) revision: u64,
    /// What has happened, but for what is forgotten.
    pub(crate) events: Vec<Event>,
    /// Everything up to here is forgotten.
    pub(crate) forgotten: u64,
    /// What was asked for: the method's target.
    asked: Vec<String>,
    /// How many lists were answered with a body.
    pub(crate) told: usize,
    /// How often it has started over.
    starts: u64,
    /// Its streams tell everything twice.
    pub(crate) stutters: bool,
    /// Its streams tell everything from the beginning, whatever they are asked for.
    pub(crate) repeats: bool,
}

/// The service. A clone is the same one.
#[derive(Clone)]
pub(crate) struct Service {
    table: Arc<Mutex<Table>>,
    /// Counts what happened.
    pub(crate) changes: watch::Sender<u64>,
    /// Counts how often all streams were told to end.
    pub(crate) ends: watch::Sender<u64>,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self {
            table: Arc::default(),
            changes: watch::Sender::new(0),
            ends: watch::Sender::new(0),
        }
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap()
    }

    pub(crate) fn put(&self, id: &str, value: &str) {
        let mut table = self.table();
        table.revision += 1;
        let config = Config {
            id: id.to_owned(),
            name: format!("the {id}"),
            value: value.to_owned(),
            version: table.revision,
            last_updated: format!("2026-01-01T00:00:{:02}Z", table.revision % 60),
        };
        let before = table.configs.insert(id.to_owned(), config.clone());
        let kind = if before.is_some() { "UPDATE" } else { "ADD" };
        table.events.push(Event { kind, config });
        self.changed(table.revision);
    }

    pub(crate) fn delete(&self, id: &str) {
        let mut table = self.table();
        table.revision += 1;
        let mut config = table.configs.remove(id).unwrap();
        config.version = table.revision;
        let kind = "DELETE";
        table.events.push(Event { kind, config });
        self.changed(table.revision);
    }

    fn changed(&self, revision: u64) {
        self.changes.send_replace(revision);
    }

    /// Nobody can go on from an older revision than this one any more.
    pub(crate) fn forget(&self) {
        let mut table = self.table();
        table.forgotten = table.revision;
        table.events.clear();
    }

    /// The service has lost everything, and counts from the beginning.
    pub(crate) fn start_over(&self) {
        let mut table = self.table();
        let starts = table.starts + 1;
        *table = Table {
            starts,
            ..Table::default()
        };
        drop(table);
        self.end_streams();
    }

    /// All streams end, as they do when a service is deployed anew.
    pub(crate) fn end_streams(&self) {
        self.ends.send_modify(|ends| *ends += 1);
    }

    pub(crate) fn truth(&self) -> Vec<(String, Config)> {
        self.table().configs.clone().into_iter().collect()
    }

    /// What was asked for at this path since it was last asked.
    pub(crate) fn asked(&self, path: &str) -> Vec<String> {
        let mut table = self.table();
        let here = |asked: &String| asked.split('?').next() == Some(path);
        let (asked, others) = table.asked.drain(..).partition(here);
        table.asked = others;
        asked
    }

    pub(crate) fn router(&self) -> Router {
        let log = |State(service): State<Self>,
                   request: axum::extract::Request,
                   next: axum::middleware::Next| async move {
            service.table().asked.push(request.uri().to_string());
            next.run(request).await
        };
        Router::new()
            .route("/configs", get(list))
            .route("/held", get(held))
            .route("/by-token", get(paged::by_token))
            .route("/by-number", get(paged::by_number))
            .route("/by-link", get(paged::by_link))
            .route("/configs/watch", get(streams::lines))
            .route("/configs/envelopes", get(streams::envelopes))
            .route("/configs/sse", get(streams::server_sent))
            .route("/configs/socket", get(streams::socket))
            .route("/configs/poll", get(streams::poll))
            .route("/feed", get(streams::feed))
            .route("/feed-sse", get(streams::server_sent_feed))
            .layer(axum::middleware::from_fn_with_state(self.clone(), log))
            .with_state(self.clone())
    }
}

/// For how long a list is held back, at most.
pub(crate) const HELD: Duration = Duration::from_secs(15);

/// The list, held back while it is the one that is known: by its revision, or by its tag.
async fn held(State(service): State<Service>, asked: Asked, headers: HeaderMap) -> Answer {
    let tag = headers.get(header::IF_NONE_MATCH);
    let tag = tag.and_then(|tag| tag.to_str().ok());
    let known = asked.get("index").map(String::as_str);
    let known = known.or(tag.map(|tag| tag.trim_matches('"')));
    if let Some(known) = known {
        let mut changes = service.changes.subscribe();
        let other = changes.wait_for(|revision| revision.to_string() != known);
        // When the time is over the answer is what there is.
        let _ = timeout(HELD, other).await;
    }
    list(State(service), headers).await
}

/// The classic list: an array, and in a header the revision that it shows.
async fn list(State(service): State<Service>, headers: HeaderMap) -> Answer {
    let mut table = service.table();
    let tag = format!("\"{}\"", table.revision);
    let known = headers.get(header::IF_NONE_MATCH);
    let same = known.is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let answer = stamped(&table).header(header::ETAG, tag);
    if same {
        return answer
            .status(StatusCode::NOT_MODIFIED)
            .body(Body::empty())
            .unwrap();
    }
    table.told += 1;
    let configs: Vec<_> = table.configs.values().collect();
    json_body(answer, &json!(configs))
}

pub(crate) fn stamped(table: &Table) -> axum::http::response::Builder {
    Response::builder()
        .header("x-resource-version", table.revision)
        .header("x-instance", table.starts)
}

pub(crate) fn json_body(answer: axum::http::response::Builder, json: &Value) -> Answer {
    let answer = answer.header(header::CONTENT_TYPE, "application/json");
    answer.body(json.to_string().into()).unwrap()
}
