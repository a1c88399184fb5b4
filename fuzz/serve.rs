//! Requests to the server side, in two ways.
//!
//! *Steps*: records of 16 bytes are puts, deletes, transactions and compactions with predictable
//! ends, and the answers are those of a naive map. *Text*: requests as somebody would type them,
//! separated by a zero byte; what each does is not foretold, but what must be true of any answer is
//! checked. In both, what was written is then read again in every way that there is.

mod requests;
mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

use arbitrary::Result;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use reflet_tokio::serve::{
    Collection, CollectionOptions, Continuity, EXPORT_FORMAT, Export, Publish, object_digest,
};
use serde_json::Value;
use tower_service::Service as _;

use crate::seen::on_paused_time;

const EPOCH: &str = "e";

/// Small, so that inputs get beyond the limits.
fn options() -> CollectionOptions {
    let mut options = CollectionOptions::default();
    options.max_objects = 6;
    options.max_total_bytes = 200;
    options.max_key_bytes = 32;
    options.max_value_bytes = 64;
    options.max_value_depth = 4;
    options.max_changes = 5;
    options.max_transaction_bytes = 512;
    options.history_transactions = 6;
    options.default_page_items = 2;
    options.max_page_items = 4;
    options.max_page_bytes = 120;
    options.max_watchers = 2;
    options.watcher_buffer_bytes = 100;
    options
}

/// A collection behind its router.
struct Server {
    things: Collection,
    router: Router,
    revision: u64,
}

pub(crate) fn run(data: &[u8]) -> Result<()> {
    let Some((kind, rest)) = data.split_first() else {
        return Ok(());
    };
    on_paused_time(async {
        let mut server = Server::new(kind & 2 != 0);
        if kind % 2 == 0 {
            steps::run(&mut server, rest).await?;
        } else {
            for text in rest.split(|byte| *byte == 0).take(64) {
                server.say(text).await;
            }
        }
        server.read_again().await;
        Ok(())
    })
}

impl Server {
    /// In an epoch with a name that does not differ from run to run. `late`: where the revisions
    /// come to their end.
    fn new(late: bool) -> Self {
        let revision = if late { u64::MAX - 4 } else { 0 };
        let export = Export {
            format: EXPORT_FORMAT,
            name: "things".to_owned(),
            epoch: EPOCH.to_owned(),
            revision,
            objects: Vec::new(),
        };
        let Ok(things) = Collection::restored(&export, Continuity::SameEpoch, options()) else {
            unreachable!("an empty export is a valid one");
        };
        let router = Publish::new().collection(&things).writable(true).router();
        Self {
            things,
            router,
            revision,
        }
    }

    async fn say(&mut self, text: &[u8]) {
        if let Some(request) = requests::parse(text) {
            self.send(request).await;
        }
    }

    /// Sends a request and checks what must be true of any answer.
    async fn send(&mut self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let Ok(response) = self.router.clone().call(request).await;
        let answer = Answer::read(response).await;
        let now = self.things.revision();
        let writes = [Method::PUT, Method::DELETE, Method::POST].contains(&method);
        let done = writes && answer.status.is_success();
        assert_eq!(
            now,
            self.revision + u64::from(done),
            "{method} {path}: {answer:?}"
        );
        self.revision = now;
        answer.check(&method, &path, now);
        answer
    }

    async fn get(&mut self, path: &str) -> Answer {
        let mut request = Request::new(Body::empty());
        let Ok(uri) = path.parse() else {
            unreachable!("a path of our own");
        };
        *request.uri_mut() = uri;
        self.send(request).await
    }

    /// A list, page by page, a watch and polls from the oldest revision on: all end with the same.
    async fn read_again(&mut self) {
        let objects = self.list().await;
        let share = |(key, (version, ..)): (&String, &Seen)| {
            object_digest(key, version.parse().unwrap_or_default())
        };
        let digest = objects.iter().map(share).fold(0, u64::wrapping_add);
        assert_eq!(digest, self.things.digest());
        let kept: Objects = self
            .things
            .export()
            .objects
            .iter()
            .map(|object| {
                let value = parsed(object.value.get().as_bytes()).unwrap_or_default();
                let (version, uid) = (object.version.to_string(), object.uid.to_string());
                (object.key.to_string(), (version, uid, value))
            })
            .collect();
        assert_eq!(objects, kept);

        let from = self.things.oldest_revision();
        let path = format!("/v1/things?watch=jsonl&from={from}&epoch={EPOCH}&timeout_ms=5");
        let watch = self.get(&path).await;
        assert_eq!(watch.status, StatusCode::OK);
        let told = watch.lines();
        let mut polled = Vec::new();
        let mut at = from;
        while at < self.revision {
            let path = format!("/v1/things?watch=poll&from={at}&wait_ms=0&limit=2");
            let answer = self.get(&path).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            let body = answer.json();
            let to = body["revision"].as_str().and_then(|text| text.parse().ok());
            assert!(to > Some(at), "each poll gets on: {body}");
            at = to.unwrap_or(u64::MAX);
            polled.extend(body["events"].as_array().cloned().unwrap_or_default());
        }
        let told = told.into_iter().filter(|line| line["type"] != "BOOKMARK");
        assert_eq!(told.collect::<Vec<_>>(), polled);
        fold(&polled, &objects, from);
    }

    async fn list(&mut self) -> Objects {
        let mut objects = Objects::new();
        let mut path = "/v1/things".to_owned();
        loop {
            let page = self.get(&path).await;
            assert_eq!(page.status, StatusCode::OK, "{page:?}");
            let body = page.json();
            for item in body["items"].as_array().into_iter().flatten() {
                let (key, seen) = seen(item);
                assert!(objects.last_key_value().is_none_or(|(last, _)| *last < key));
                objects.insert(key, seen);
            }
            let Some(token) = body["continue"].as_str() else {
                return objects;
            };
            path = format!("/v1/things?continue={token}");
        }
    }
}

/// Version, uid and value.
type Seen = (String, String, Value);
type Objects = BTreeMap<String, Seen>;

/// JSON, whose numbers may be larger than any that can be calculated with: those are texts here.
fn parsed(json: &[u8]) -> serde_json::Result<Value> {
    let (mut tame, mut rest) = (Vec::new(), json);
    let mut in_text = false;
    while let Some((first, after)) = rest.split_first() {
        let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let taken = match first {
            b'\\' => rest.len().min(2),
            b'-' | b'0'..=b'9' if !in_text => {
                1 + after.iter().take_while(|byte| is_part(byte)).count()
            }
            _ => 1,
        };
        in_text ^= *first == b'"';
        let (token, after) = rest.split_at(taken);
        let number = str::from_utf8(token)
            .ok()
            .and_then(|text| text.parse::<f64>().ok());
        if !in_text && number.is_some_and(f64::is_infinite) {
            tame.extend([b"\"", token, b"\""].concat());
        } else {
            tame.extend(token);
        }
        rest = after;
    }
    serde_json::from_slice(&tame)
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn seen(item: &Value) -> (String, Seen) {
    let seen = (
        word(&item["version"]),
        word(&item["uid"]),
        item["value"].clone(),
    );
    (word(&item["key"]), seen)
}

/// The events lead to what is there: as far as they tell of an object they tell its last state.
fn fold(events: &[Value], objects: &Objects, from: u64) {
    let mut last = BTreeMap::new();
    let mut revision = from.to_string();
    for event in events {
        let (key, seen) = seen(event);
        let now = word(&event["revision"]);
        if now != revision && word(&event["previous"]) != now {
            assert!(
                word(&event["previous"]) == revision || !last.is_empty(),
                "{event}"
            );
        }
        revision = now;
        let gone = event["type"] == "DELETED";
        last.insert(key, (!gone).then_some(seen));
    }
    for (key, seen) in &last {
        assert_eq!(objects.get(key), seen.as_ref(), "{key:?}");
    }
    for (key, (version, ..)) in objects {
        let old = version.parse::<u64>().is_ok_and(|version| version <= from);
        assert!(old || last.contains_key(key), "{key:?} was not told of");
    }
}

/// A whole answer; of a stream what came until nothing more did.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    async fn read(response: Response) -> Self {
        let (parts, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        // Time passes by itself where everybody waits: a stream is read for three minutes.
        let patience = Duration::from_secs(180);
        let _ = tokio::time::timeout(patience, async {
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else {
                    panic!("a body broke off");
                };
                bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            }
        })
        .await;
        Self {
            status: parts.status,
            headers: parts.headers,
            body: bytes,
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn json(&self) -> Value {
        match parsed(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {self:?}"),
        }
    }

    /// The lines of a stream, without heartbeats.
    fn lines(&self) -> Vec<Value> {
        let lines = self.body.split(|byte| *byte == b'\n');
        let lines = lines.filter(|line| !line.is_empty());
        let parse = |line| match parsed(line) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {self:?}"),
        };
        lines.map(parse).collect()
    }

    fn check(&self, method: &Method, path: &str, revision: u64) {
        let status = self.status.as_u16();
        let Some(epoch) = self.header("x-reflet-epoch") else {
            // Of no collection: then it says so, or the router has no such route.
            assert!([400, 404, 405].contains(&status), "{path}: {self:?}");
            return;
        };
        assert_eq!(epoch, EPOCH);
        assert_eq!(self.header("cache-control"), Some("no-store"));
        let at = self.header("x-reflet-revision");
        let at = at.and_then(|text| text.parse::<u64>().ok());
        assert!(at.is_some_and(|at| at <= revision), "{path}: {self:?}");
        if method == Method::HEAD {
            assert!(self.body.is_empty(), "{self:?}");
            return;
        }
        match status {
            200 | 201 if self.header("content-type") == Some("application/x-ndjson") => {
                let first = self.lines().into_iter().next().unwrap_or_default();
                assert_eq!(first["type"], "BOOKMARK", "{path}: {self:?}");
            }
            200 | 201 => assert!(self.json().is_object()),
            304 => assert!(self.body.is_empty(), "{self:?}"),
            400 | 404 | 405 | 410 | 412 | 413 | 429 | 503 | 507 => {
                let body = self.json();
                assert_eq!(body["status"], status);
                for field in ["reason", "message"] {
                    assert!(!word(&body[field]).is_empty(), "{path}: {self:?}");
                }
            }
            _ => panic!("{path}: {self:?}"),
        }
    }
}
