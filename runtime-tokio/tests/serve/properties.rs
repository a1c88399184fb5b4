//! Random histories: whatever was written, a client that folds what it is told ends with what a
//! list shows, from every revision on.

use std::collections::BTreeMap;

use proptest::prelude::*;
use reflet_tokio::serve::{Change, CollectionOptions, Precondition, object_digest};
use serde_json::Value;

use crate::rig::{Rig, raw};

type Mirror = BTreeMap<String, (String, String, Value)>;

/// Transactions over few keys; `true` puts, `false` deletes (left out if there is nothing).
fn histories() -> impl Strategy<Value = Vec<Vec<(u8, bool)>>> {
    let transaction = prop::collection::vec((0u8..6, prop::bool::weighted(0.65)), 1..4);
    prop::collection::vec(transaction, 1..25)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn mirror(items: &[Value]) -> Mirror {
    let entry = |item: &Value| {
        (
            text(&item["key"]),
            (
                text(&item["version"]),
                text(&item["uid"]),
                item["value"].clone(),
            ),
        )
    };
    items.iter().map(entry).collect()
}

fn fold(mirror: &mut Mirror, event: &Value) {
    let key = text(&event["key"]);
    let known = mirror.get(&key).map(|(_, uid, _)| uid.clone());
    match event["type"].as_str().unwrap() {
        "ADDED" => assert_eq!(known, None, "{event}"),
        "MODIFIED" => assert_eq!(known, Some(text(&event["uid"])), "{event}"),
        "DELETED" => {
            let (_, uid, value) = mirror.remove(&key).unwrap();
            assert_eq!(
                (uid, &value),
                (text(&event["uid"]), &event["value"]),
                "{event}"
            );
            return;
        }
        other => panic!("{other}"),
    }
    let entry = (
        text(&event["version"]),
        text(&event["uid"]),
        event["value"].clone(),
    );
    mirror.insert(key, entry);
}

fn digest(mirror: &Mirror) -> u64 {
    let shares = mirror
        .iter()
        .map(|(key, (version, ..))| object_digest(key, version.parse().unwrap()));
    shares.fold(0, u64::wrapping_add)
}

/// Commits what is possible of a transaction.
fn commit(rig: &Rig, transaction: &[(u8, bool)]) {
    let mut changes: BTreeMap<String, Change> = BTreeMap::new();
    for (key, put) in transaction {
        let key = format!("k{key}");
        let precondition = Precondition::None;
        if *put {
            let value = raw(rig.things.revision());
            changes.insert(
                key.clone(),
                Change::Put {
                    key,
                    value,
                    precondition,
                },
            );
        } else if rig.things.get(&key).is_some() {
            changes.insert(key.clone(), Change::Delete { key, precondition });
        }
    }
    if !changes.is_empty() {
        rig.things
            .transaction(changes.into_values().collect())
            .unwrap();
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test);
}

proptest! {
    #[test]
    fn every_resumable_revision_leads_to_the_present(
        history in histories(),
        kept in 1usize..30,
        buffer in 1usize..2_000,
        limit in 1usize..5,
    ) {
        run(async move {
            let mut options = CollectionOptions::default();
            options.history_transactions = kept;
            options.watcher_buffer_bytes = buffer;
            let rig = Rig::with(options);
            let mut states = vec![Mirror::new()];
            for transaction in &history {
                commit(&rig, transaction);
                if rig.things.revision() == states.len() as u64 {
                    states.push(mirror(&rig.list(3).await));
                }
                prop_assert_digest(&rig, states.last().unwrap());
            }
            let now = rig.things.revision();
            for from in 0..=now {
                if from < rig.things.oldest_revision() {
                    let path = format!("/v1/things?watch=jsonl&from={from}");
                    rig.get(&path).await.assert_error(410, "Gone");
                    continue;
                }
                let present = states.last().unwrap();
                assert_eq!(&watched(&rig, from, &states).await, present);
                assert_eq!(&polled(&rig, from, limit, states[from as usize].clone()).await, present);
            }
        });
    }

    #[test]
    fn pages_are_pinned_whatever_is_written_between_them(
        before in histories(),
        between in histories(),
        limit in 1usize..4,
    ) {
        run(async move {
            let rig = Rig::new();
            for transaction in &before {
                commit(&rig, transaction);
            }
            let pinned = mirror(&rig.list(100).await);
            let revision = rig.things.revision().to_string();
            let mut writes = between.iter();
            let mut items = Vec::new();
            let mut path = format!("/v1/things?limit={limit}");
            loop {
                let page = rig.get(&path).await;
                assert_eq!(page.body["revision"], revision);
                items.extend(page.body["items"].as_array().unwrap().clone());
                let Some(token) = page.body["continue"].as_str() else { break };
                path = format!("/v1/things?limit={limit}&continue={token}");
                for transaction in writes.by_ref().take(3) {
                    commit(&rig, transaction);
                }
            }
            assert!(items.is_sorted_by_key(|item| text(&item["key"])));
            assert_eq!(items.len(), pinned.len());
            assert_eq!(mirror(&items), pinned);
        });
    }
}

fn prop_assert_digest(rig: &Rig, state: &Mirror) {
    assert_eq!(rig.things.digest(), digest(state));
}

/// Folds a watch up to the present; at each end of a transaction the mirror is a state that was.
async fn watched(rig: &Rig, from: u64, states: &[Mirror]) -> Mirror {
    let mut mirror = states[from as usize].clone();
    let mut at = from;
    let mut watch = rig.watch(&format!("from={from}")).await;
    let opening = watch.line().await.unwrap();
    assert_eq!(opening["digest"], format!("{:016x}", digest(&mirror)));
    while at < rig.things.revision() {
        let event = watch.change().await;
        assert_eq!(event["previous"], at.to_string());
        fold(&mut mirror, &event);
        if event["last"] == true {
            at += 1;
            assert_eq!(event["revision"], at.to_string());
            assert_eq!(&mirror, &states[at as usize]);
        }
    }
    mirror
}

/// Folds polls until there is nothing more.
async fn polled(rig: &Rig, mut from: u64, limit: usize, mut mirror: Mirror) -> Mirror {
    loop {
        let path = format!("/v1/things?watch=poll&from={from}&limit={limit}&wait_ms=0");
        let reply = rig.get(&path).await;
        if reply.status == 304 {
            return mirror;
        }
        let events = reply.body["events"].as_array().unwrap();
        assert_eq!(
            events.last().unwrap()["last"],
            true,
            "whole transactions only"
        );
        events.iter().for_each(|event| fold(&mut mirror, event));
        from = text(&reply.body["revision"]).parse().unwrap();
    }
}
