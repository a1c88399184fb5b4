//! What a good server has, and how it tells it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Act, Request, answer, chunk, stream_head};

pub(crate) const EPOCH: &str = "e1";

/// A collection with its whole history.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) revision: u64,
    pub(crate) objects: BTreeMap<String, (u64, Value)>,
    events: Vec<(u64, Value)>,
}

impl World {
    pub(crate) fn put(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        let event = json!({"key": key, "value": value});
        self.revision += 1;
        self.objects.insert(key.to_owned(), (self.revision, value));
        self.record("MODIFIED", event);
    }

    pub(crate) fn delete(&mut self, key: &str) {
        self.revision += 1;
        self.objects.remove(key).expect("nothing to delete");
        self.record("DELETED", json!({"key": key}));
    }

    fn record(&mut self, kind: &str, mut event: Value) {
        let revision = self.revision;
        event["type"] = kind.into();
        event["revision"] = revision.to_string().into();
        event["version"] = revision.to_string().into();
        event["previous"] = (revision - 1).to_string().into();
        event["last"] = true.into();
        self.events.push((revision, event));
    }

    pub(crate) fn page(&self) -> String {
        let item = |(key, (version, value)): (&String, &(u64, Value))| json!({"key": key, "version": version.to_string(), "value": value});
        let items: Vec<_> = self.objects.iter().map(item).collect();
        json!({"revision": self.revision.to_string(), "epoch": EPOCH, "items": items}).to_string()
    }

    fn events_after(&self, revision: u64) -> Vec<&Value> {
        let later = self.events.iter().filter(|(at, _)| *at > revision);
        later.map(|(_, event)| event).collect()
    }

    fn lines_after(&self, revision: u64) -> String {
        let lines = self.events_after(revision).into_iter();
        lines.map(|event| format!("{event}\n")).collect()
    }
}

/// What a good server answers.
pub(crate) fn sane(request: &Request, world: &Arc<Mutex<World>>) -> Vec<Act> {
    let from = request
        .query("from")
        .map_or(0, |from| from.parse().unwrap());
    match request.query("watch") {
        None => vec![Act::Send(answer(
            "200 OK",
            "",
            world.lock().unwrap().page(),
        ))],
        Some("poll") => poll(request, &world.lock().unwrap(), from),
        Some(_) => vec![
            Act::Send(stream_head()),
            Act::Endless(Duration::from_secs(1), follow(Arc::clone(world), from)),
        ],
    }
}

fn poll(request: &Request, world: &World, from: u64) -> Vec<Act> {
    let events = world.events_after(from);
    if events.is_empty() {
        let wait = request.query("wait_ms").unwrap().parse().unwrap();
        let revision = world.revision;
        let head = format!(
            "HTTP/1.1 304 Not Modified\r\nx-reflet-epoch: {EPOCH}\r\nx-reflet-revision: {revision}\r\n\r\n"
        );
        return vec![
            Act::Wait(Duration::from_millis(wait)),
            Act::Send(head.into()),
        ];
    }
    let body = json!({"revision": world.revision.to_string(), "epoch": EPOCH, "events": events});
    vec![Act::Send(answer("200 OK", "", body.to_string()))]
}

/// Every second what is new, or a sign of life.
fn follow(world: Arc<Mutex<World>>, from: u64) -> Box<dyn FnMut(u64) -> Vec<u8> + Send> {
    let mut at = from;
    Box::new(move |_| {
        let world = world.lock().unwrap();
        let lines = world.lines_after(at);
        at = at.max(world.revision);
        chunk(if lines.is_empty() { "\n" } else { &lines })
    })
}
