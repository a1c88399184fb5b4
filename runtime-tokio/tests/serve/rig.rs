//! A collection behind its router, and requests that take a line each.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use reflet_tokio::serve::{
    Collection, CollectionOptions, Commit, Export, Journal, JournalError, Precondition, Publish,
    RawValue, Written, to_raw_value,
};
use serde_json::Value;
use tower_service::Service;

/// A published, writable collection named `things`.
pub(crate) struct Rig {
    pub(crate) things: Collection,
    router: axum::Router,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(CollectionOptions::default())
    }

    pub(crate) fn with(options: CollectionOptions) -> Self {
        Self::of(Collection::new("things", options).unwrap())
    }

    pub(crate) fn of(things: Collection) -> Self {
        let router = Publish::new().collection(&things).writable(true).router();
        Self { things, router }
    }

    /// A writable collection published as `setup` says.
    pub(crate) fn published(setup: impl FnOnce(Publish) -> Publish) -> Self {
        let things = Collection::new("things", CollectionOptions::default()).unwrap();
        let publish = Publish::new().collection(&things).writable(true);
        let router = setup(publish).router();
        Self { things, router }
    }

    /// A router that does not let clients write.
    pub(crate) fn reading(things: Collection) -> Self {
        let router = Publish::new().collection(&things).router();
        Self { things, router }
    }

    pub(crate) fn router(&self) -> axum::Router {
        self.router.clone()
    }

    pub(crate) fn put(&self, key: &str, value: impl serde::Serialize) -> Written {
        self.things
            .put(key, raw(value), Precondition::None)
            .unwrap()
    }

    pub(crate) fn delete(&self, key: &str) -> Written {
        self.things.delete(key, Precondition::None).unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().call(request).await.unwrap()
    }

    pub(crate) async fn open(&self, path: &str) -> Response {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        Reply::read(self.open(path).await).await
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Reply::read(self.send(request.body(body.into()).unwrap()).await).await
    }

    /// All pages of a list, with `limit` items each.
    pub(crate) async fn list(&self, limit: usize) -> Vec<Value> {
        let mut items = Vec::new();
        let mut path = format!("/v1/things?limit={limit}");
        loop {
            let page = self.get(&path).await;
            assert_eq!(page.status, StatusCode::OK, "{}", page.body);
            items.extend(page.body["items"].as_array().unwrap().clone());
            let Some(token) = page.body["continue"].as_str() else {
                return items;
            };
            path = format!("/v1/things?limit={limit}&continue={token}");
        }
    }

    pub(crate) async fn watch(&self, query: &str) -> Watch {
        let response = self.open(&format!("/v1/things?watch=jsonl&{query}")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "application/x-ndjson");
        Watch {
            body: response.into_body(),
            rest: Vec::new(),
        }
    }
}

pub(crate) fn raw(value: impl serde::Serialize) -> Box<RawValue> {
    to_raw_value(&value).unwrap()
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    async fn read(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        // A stream where an error was expected must fail the test, not hang it.
        let whole = tokio::time::timeout(Duration::from_secs(600), body.collect());
        let bytes = whole.await.expect("a body that ends").unwrap().to_bytes();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{error}: {bytes:?}"))
        };
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that this is an error of the protocol's shape.
    pub(crate) fn assert_error(&self, status: u16, reason: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["reason"], reason);
        assert!(!self.body["message"].as_str().unwrap().is_empty());
    }
}

/// A stream of JSON lines.
pub(crate) struct Watch {
    body: Body,
    rest: Vec<u8>,
}

impl Watch {
    /// The next line: an event, or `Null` for a heartbeat; none at the end of the stream.
    pub(crate) async fn line(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let text = &line[..end];
                return Some(if text.is_empty() {
                    Value::Null
                } else {
                    serde_json::from_slice(text).unwrap()
                });
            }
            let Some(chunk) = self.chunk().await else {
                assert!(self.rest.is_empty(), "the stream ends in mid-line");
                return None;
            };
            self.rest.extend_from_slice(&chunk);
        }
    }

    async fn chunk(&mut self) -> Option<Bytes> {
        let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await?;
        Some(frame.unwrap().into_data().unwrap())
    }

    /// The next event that is neither a bookmark nor a heartbeat.
    pub(crate) async fn change(&mut self) -> Value {
        for _ in 0..100 {
            let line = self.line().await.expect("an event, not the end");
            if !line.is_null() && line["type"] != "BOOKMARK" {
                return line;
            }
        }
        panic!("nothing but quiet lines");
    }
}

/// A journal that keeps the newest export, or fails on demand.
#[derive(Debug, Default)]
pub(crate) struct Notebook {
    pub(crate) kept: Mutex<Vec<Export>>,
    pub(crate) broken: Mutex<bool>,
}

impl Notebook {
    pub(crate) fn options(self: &Arc<Self>) -> CollectionOptions {
        let mut options = CollectionOptions::default();
        options.journal = Some(Arc::<Self>::clone(self));
        options
    }

    pub(crate) fn last(&self) -> Export {
        self.kept.lock().unwrap().last().unwrap().clone()
    }
}

impl Journal for Notebook {
    fn commit(&self, commit: &Commit<'_>) -> Result<(), JournalError> {
        if *self.broken.lock().unwrap() {
            return Err(JournalError::new("disk full"));
        }
        self.kept.lock().unwrap().push(commit.export());
        Ok(())
    }
}
