//! What comes, and what is made of it.

use std::time::Duration;

use reflet_tokio::reflet_core::State;
use reflet_tokio::reflet_core::cache::Delta;
use reflet_tokio::serve::{Change, Precondition, to_raw_value};
use tokio::time::sleep;

use crate::rig::{EVENT_BYTES, Network, Way, change, put, things};

pub(crate) async fn lists_then_follows(way: Way) {
    let things = things();
    put(&things, "a", 1);
    put(&things, "b", 2);
    let network = Network::of(&things);
    let mut followed = way.follow("http://server", network.clone(), None);
    followed.informer.synced().await.unwrap();
    followed.has_all(&things).await;

    put(&things, "a", 3);
    put(&things, "c/ %\u{e9}", 4);
    things.delete("b", Precondition::None).unwrap();
    followed.has_all(&things).await;
    assert_eq!(followed.informer.revision().unwrap().to_string(), "5");
    assert!(!followed.relisted().await);
}

pub(crate) async fn transactions_show_whole(way: Way) {
    let things = things();
    things
        .transaction(vec![change("a", 0), change("b", 0)])
        .unwrap();
    let network = Network::of(&things);
    let followed = way.follow("http://server", network, None);
    let mut batches = followed.informer.subscribe();
    let moving = async {
        followed.has_all(&things).await;
        for sum in 1..=50 {
            things
                .transaction(vec![change("a", sum), change("b", 100 - sum)])
                .unwrap();
            if sum % 10 == 0 {
                followed.has_all(&things).await;
            }
        }
        followed.has_all(&things).await;
        followed.informer.shutdown().await;
    };
    let watching = async {
        let mut seen = std::collections::BTreeMap::new();
        let mut batches_seen = 0;
        while let Some(batch) = batches.next().await {
            for delta in &batch.deltas {
                if let Delta::Added { key, new } | Delta::Updated { key, new, .. } = delta {
                    seen.insert(key.to_string(), **new);
                }
            }
            let sum: u64 = seen.values().sum();
            assert!(sum == 0 || sum == 100, "{way:?}: torn: {seen:?}");
            batches_seen += 1;
        }
        assert!(batches_seen >= 5, "{batches_seen}");
    };
    tokio::join!(moving, watching);
}

/// Heartbeats, bookmarks and digests: an hour of quiet is neither a failure nor a loss.
pub(crate) async fn quiet_is_no_silence(way: Way) {
    let things = things();
    put(&things, "a", 1);
    let network = Network::of(&things);
    let mut followed = way.follow("http://server", network.clone(), None);
    followed.has_all(&things).await;
    followed.heard().await;
    let opened = network.opened();
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(followed.heard().await, []);
    assert_eq!(network.opened(), opened, "the connection was kept");
    let health = followed.informer.health();
    assert_eq!(health.state, State::Live, "{health:#?}");
    put(&things, "b", 2);
    followed.has_all(&things).await;
}

pub(crate) async fn a_huge_transaction_arrives_whole(way: Way) {
    let things = things();
    put(&things, "a", 1);
    let followed = way.follow("http://server", Network::of(&things), None);
    followed.has_all(&things).await;
    // More than a megabyte, of which no event is over the limit.
    let many: Vec<_> = (0..2_000)
        .map(|n| change(&format!("{n:0>400}"), n))
        .collect();
    things.transaction(many).unwrap();
    followed.has_all(&things).await;
}

pub(crate) async fn an_event_over_the_limit_is_found_again(way: Way) {
    let things = things();
    put(&things, "a", 1);
    let followed = way.follow("http://server", Network::of(&things), None);
    followed.has_all(&things).await;
    // No number is as long as that: in the list that follows, it cannot be decoded either.
    let long = format!("{{\"pad\":\"{}\"}}", "x".repeat(EVENT_BYTES));
    let long = Change::Put {
        key: "long".into(),
        value: to_raw_value(&serde_json::from_str::<serde_json::Value>(&long).unwrap()).unwrap(),
        precondition: Precondition::None,
    };
    things.transaction(vec![long, change("beside", 2)]).unwrap();
    followed.until(|_| followed.shown().len() == 2).await;
    assert_eq!(followed.shown(), [("a".into(), 1), ("beside".into(), 2)]);
    put(&things, "long", 3);
    followed.has_all(&things).await;
}

pub(crate) async fn what_cannot_be_decoded_is_quarantined(way: Way) {
    let things = things();
    put(&things, "a", 1);
    put(&things, "b", 2);
    let followed = way.follow("http://server", Network::of(&things), None);
    followed.has_all(&things).await;
    let text = Change::Put {
        key: "a".into(),
        value: to_raw_value("no number").unwrap(),
        precondition: Precondition::None,
    };
    things.transaction(vec![text, change("b", 3)]).unwrap();
    followed
        .until(|health| !health.quarantined.is_empty() && health.state == State::Live)
        .await;
    let shown = [("a".to_owned(), 1), ("b".to_owned(), 3)];
    assert_eq!(followed.shown(), shown, "the last good one stays");
    put(&things, "a", 4);
    followed.has_all(&things).await;
    assert!(followed.informer.health().quarantined.is_empty());
}

pub(crate) async fn leaving_frees_the_place(way: Way) {
    let things = things();
    let followed = way.follow("http://server", Network::of(&things), None);
    followed.has_all(&things).await;
    // A poll may just be between two requests.
    while things.watchers() == 0 {
        sleep(Duration::from_millis(50)).await;
    }
    followed.informer.shutdown().await;
    put(&things, "a", 1);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(things.watchers(), 0);
}
