//! A mapping in JSON, a scripted server, and what the engine hears.

use reflet_core::{Failure, Revision, WatchFrom};
use serde_json::{Value, json};

use crate::http::rest::{Mapping, RestSource};
pub(super) use crate::http::tests::rig::{
    Recorder, Server, answer, cut_stream, not_modified, ok, page_request, stream,
    without_heartbeats,
};
use crate::source::{ListRequest, Source as _, WatchRequest};

pub(super) type Outcome = (Vec<String>, Result<(), Failure>);

pub(super) fn mapping(json: Value) -> Mapping {
    serde_json::from_value(json).unwrap()
}

/// `{"id":…,"name":…,"version":…}` at `/configs`, with these other words on the list.
pub(super) fn configs(list: Value) -> Value {
    let mut all = json!({
        "list": { "path": "configs" },
        "object": { "key": "/id", "version": { "field": { "at": "/version" } } }
    });
    for (name, value) in list.as_object().unwrap() {
        all["list"][name] = value.clone();
    }
    all
}

pub(super) fn source(server: &Server, mapping: Value) -> RestSource<Value> {
    let mapping = self::mapping(mapping);
    let builder = RestSource::builder("http://server:8080/base", mapping);
    builder.connector(server.pipe()).build().unwrap()
}

pub(super) async fn list_with(source: &RestSource<Value>, request: ListRequest) -> Outcome {
    let recorder = Recorder::default();
    let outcome = source.list(request, &mut recorder.sink()).await;
    (without_heartbeats(recorder.said()), outcome)
}

/// The first page.
pub(super) async fn list(source: &RestSource<Value>) -> Outcome {
    list_with(source, page_request()).await
}

pub(super) fn page(token: &str) -> ListRequest {
    ListRequest {
        page: Some(token.into()),
        ..page_request()
    }
}

/// A page asked for under the condition that something else is known.
pub(super) fn knowing(revision: &str) -> ListRequest {
    ListRequest {
        known: Some(Revision::parse(revision)),
        ..page_request()
    }
}

/// Watches from a revision until the attempt ends.
pub(super) async fn watch_from(source: &RestSource<Value>, from: &str) -> Outcome {
    watch(source, WatchFrom::Revision(Revision::parse(from))).await
}

pub(super) async fn watch(source: &RestSource<Value>, from: WatchFrom) -> Outcome {
    let recorder = Recorder::default();
    let request = WatchRequest { from, epoch: None };
    let outcome = source.watch(request, &mut recorder.sink()).await;
    (recorder.said(), outcome)
}
