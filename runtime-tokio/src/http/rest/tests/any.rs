//! Any mapping that passes its check, and any answer to it: nothing panics, and each attempt ends.

use proptest::prelude::*;
use reflet_core::WatchFrom;
use serde_json::{Value, json};

use super::rig::{Server, answer, list, list_with, ok, page, stream, watch};
use crate::http::rest::{Mapping, RestSource};

fn pointer() -> impl Strategy<Value = String> {
    let steps = prop::sample::select(vec!["id", "rev", "0", "type", "x"]);
    prop::collection::vec(steps, 0..3)
        .prop_map(|steps| steps.iter().map(|step| format!("/{step}")).collect())
}

fn option<T>(strategy: impl Strategy<Value = T>) -> impl Strategy<Value = Value>
where
    T: Into<Value> + std::fmt::Debug + Clone,
{
    prop::option::of(strategy).prop_map(|value| value.map_or(Value::Null, Into::into))
}

fn order() -> impl Strategy<Value = Value> {
    prop_oneof![Just(json!("opaque")), Just(json!("ordered"))]
}

fn list_part() -> impl Strategy<Value = Value> {
    let revision = prop_oneof![
        Just(json!("none")),
        Just(json!("etag")),
        Just(json!("newest_item")),
        order().prop_map(|order| json!({"header": {"name": "x-reflet-revision", "order": order}})),
        (pointer(), order()).prop_map(|(at, order)| json!({"field": {"at": at, "order": order}})),
    ];
    let epoch = prop_oneof![
        Just(Value::Null),
        Just(json!({"header": "x-reflet-epoch"})),
        pointer().prop_map(|at| json!({"field": at})),
    ];
    let paging = prop_oneof![
        Just(json!("none")),
        Just(json!("link")),
        pointer().prop_map(|at| json!({"token": {"at": at, "query": "token"}})),
        any::<u32>().prop_map(|first| json!({"page_number": {"query": "page", "first": first}})),
    ];
    let consistency = prop::sample::select(vec!["none", "page", "list"]);
    (pointer(), revision, epoch, paging, consistency).prop_map(
        |(items, revision, epoch, paging, consistency)| {
            json!({
                "path": "things", "items": items, "revision": revision, "epoch": epoch,
                "paging": paging, "consistency": consistency,
            })
        },
    )
}

fn object_part() -> impl Strategy<Value = Value> {
    let version = prop_oneof![
        Just(json!("content")),
        (
            pointer(),
            prop::sample::select(vec!["opaque", "ordered", "commit"])
        )
            .prop_map(|(at, order)| json!({"field": {"at": at, "order": order}})),
    ];
    (
        pointer(),
        version,
        option(pointer()),
        pointer(),
        option(pointer()),
    )
        .prop_map(|(key, version, uid, value, deleted)| {
            json!({
                "key": key, "version": version, "uid": uid, "value": value, "deleted": deleted,
            })
        })
}

fn events_part() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        Just(json!("none")),
        Just(json!("event_field")),
        pointer().prop_map(|at| json!({"field": at})),
    ];
    let revision = prop_oneof![
        Just(json!("version")),
        Just(json!("id_field")),
        pointer().prop_map(|at| json!({"field": at})),
    ];
    let transactions = prop_oneof![
        Just(json!("unknown")),
        Just(json!("single")),
        pointer().prop_map(|at| json!({"last": at})),
    ];
    let pointers = (
        pointer(),
        option(pointer()),
        option(pointer()),
        option(pointer()),
    );
    (name, revision, transactions, pointers).prop_map(
        |(name, revision, transactions, (object, key, previous, status))| {
            json!({
                "name": name, "upsert": ["a"], "delete": ["b"], "progress": ["c"],
                "gone": ["d"], "error": ["e"], "object": object, "deleted_key": key,
                "revision": revision, "previous": previous, "transactions": transactions,
                "status": status,
            })
        },
    )
}

fn stream_part() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!("json_lines")),
        Just(json!({"server_sent_events": {}})),
        Just(json!({"server_sent_events": {"only": ["a", "message"]}})),
        Just(json!({"web_socket": {}})),
    ]
}

fn watch_part() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!("none")),
        Just(json!({"blocking": {"known": "index"}})),
        stream_part().prop_map(|stream| json!({"hints": {"path": "feed", "stream": stream}})),
        (events_part(), stream_part()).prop_map(|(events, stream)| json!({"changes": {
            "path": "watch", "resume": {"query": "from"}, "events": events, "stream": stream,
        }})),
        (events_part(), pointer()).prop_map(|(events, items)| json!({"long_poll": {
            "path": "watch", "resume": {"query": "from"}, "events": events, "items": items,
        }})),
    ]
}

fn mapping() -> impl Strategy<Value = Mapping> {
    let json = (list_part(), object_part(), watch_part());
    let json = json
        .prop_map(|(list, object, watch)| json!({"list": list, "object": object, "watch": watch}));
    json.prop_map(|json| serde_json::from_value(json).unwrap())
        .prop_filter("it goes together", |mapping: &Mapping| {
            mapping.check().is_ok()
        })
}

/// Bytes that are JSON more often than not, with the names that the pointers have.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        (0..30_u32).prop_map(Value::from),
        "[a-e]{0,2}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 32, 4, |inner| {
        let names = prop::sample::select(vec!["id", "rev", "0", "type", "x"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names, inner, 0..5).prop_map(|map| {
                map.into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            }),
        ]
    });
    let lines = prop::collection::vec(value, 0..4).prop_map(|values| {
        let lines = values.iter().map(|value| format!("{value}\n"));
        lines.collect::<String>().into_bytes()
    });
    let server_sent = (lines.clone(), "[a-e]?", "[0-9]?").prop_map(|(lines, name, id)| {
        let lines = String::from_utf8_lossy(&lines).replace('\n', "\ndata: ");
        format!("event: {name}\nid: {id}\ndata: {lines}\n\n").into_bytes()
    });
    let lines = prop_oneof![2 => lines, 1 => server_sent];
    let damaged = (lines.clone(), any::<prop::sample::Index>(), any::<u8>());
    let damaged = damaged.prop_map(|(mut bytes, at, byte)| {
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    });
    prop_oneof![4 => lines, 2 => damaged, 1 => prop::collection::vec(any::<u8>(), 0..40)]
}

proptest! {
    #[test]
    fn nothing_that_comes_panics(mapping in mapping(), body in body(), token in "[0-9a/?]{0,4}") {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            // Afterwards the server is gone, and so each attempt ends.
            let server = Server::new(vec![
                ok(&body), ok(&body), answer("200 OK", "", &body), stream([&body]), ok(&body),
            ]);
            let builder = RestSource::<Value>::builder("http://server:8080/base", mapping);
            let source = builder.connector(server.pipe()).build().unwrap();
            list(&source).await.1.ok();
            list_with(&source, page(&token)).await.1.ok();
            for from in [WatchFrom::Now, WatchFrom::Revision(12.into())] {
                for _ in 0..3 {
                    watch(&source, from.clone()).await.1.ok();
                }
            }
        });
    }
}
