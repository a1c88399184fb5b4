//! Services without any watch, or with one that only hints: lists are all that there is.

use reflet_tokio::reflet_core::{Notice as Said, State};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::rig::{POLL, classic, followed, with};
use crate::service::HELD;
use crate::streams::HEARTBEAT;

fn only_lists(revision: Value, version: Value) -> Value {
    let words = [("/list/revision", revision), ("/object/version", version)];
    with(classic(), &words)
}

/// Nothing that could be compared but the objects.
fn nothing_said() -> Value {
    only_lists(json!("none"), json!("content"))
}

fn hints(mapping: Value) -> Value {
    let feed = json!({ "hints": { "path": "feed", "heartbeat_ms": 10_000 } });
    with(mapping, &[("/watch", feed)])
}

#[tokio::test(start_paused = true)]
async fn a_list_that_has_not_changed_is_not_sent_again() {
    let version = json!({ "field": { "at": "/version" } });
    let (service, _, followed) = followed(only_lists(json!("etag"), version)).await;
    let told = service.table().told;
    service.asked("/configs");
    sleep(POLL * 10).await;
    let asked = service.asked("/configs").len();
    assert!((9..=11).contains(&asked), "{asked} polls");
    assert_eq!(service.table().told, told, "all of them were answered 304");

    service.put("a", "changed");
    service.put("c", "new");
    service.delete("b");
    followed.has_all(&service).await;
    assert_eq!(service.table().told, told + 1);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_said_objects_are_compared() {
    let (service, _, mut followed) = followed(nothing_said()).await;
    let mut batches = followed.informer.subscribe();
    assert_eq!(batches.next().await.unwrap().deltas.len(), 2);
    sleep(POLL * 10).await;
    let heard = followed.heard().await;
    assert!(
        !heard.iter().any(|said| matches!(said, Said::Failed { .. })),
        "{heard:#?}"
    );

    service.put("b", "changed");
    service.delete("a");
    followed.has_all(&service).await;
    let changes = batches.next().await.unwrap().deltas;
    assert_eq!(changes.len(), 2, "{changes:?}");
}

/// As Consul does it by an index, and others by the list's tag.
#[tokio::test(start_paused = true)]
async fn a_list_that_is_held_back_shows_a_change_at_once() {
    let index = json!({ "header": { "name": "X-Resource-Version" } });
    let by_index = json!({ "blocking": { "known": "index" } });
    for (revision, watch) in [
        (index, by_index),
        (json!("etag"), json!({ "blocking": {} })),
    ] {
        let version = json!({ "field": { "at": "/version" } });
        let words = [("/list/path", json!("held")), ("/watch", watch)];
        let mapping = with(only_lists(revision, version), &words);
        let (service, network, mut followed) = followed(mapping).await;
        service.asked("/held");
        sleep(HELD * 10).await;
        let asked = service.asked("/held").len();
        assert!((9..=11).contains(&asked), "{asked} lists, each held back");

        let since = Instant::now();
        service.put("a", "changed");
        service.delete("b");
        followed.has_all(&service).await;
        assert!(since.elapsed() < HELD / 2, "{:?}", since.elapsed());

        network.cut();
        service.put("c", "meanwhile");
        followed.has_all(&service).await;
        let heard = followed.heard().await;
        let cut = heard
            .iter()
            .filter(|said| matches!(said, Said::Failed { .. }));
        assert_eq!(cut.count(), 1, "{heard:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_takes_nothing_away() {
    let (service, network, followed) = followed(nothing_said()).await;
    let shown = followed.shown();
    network.stop_listening();
    network.cut();
    followed.until(|health| health.state == State::Stale).await;
    service.put("c", "new");
    sleep(POLL * 10).await;
    assert_eq!(followed.shown(), shown);
    network.listen(service.router());
    followed.has_all(&service).await;
}

/// As it is with a database: rows with versions, and a change feed that says no more than that
/// something has changed.
#[tokio::test(start_paused = true)]
async fn a_change_feed_has_the_list_looked_at_again() {
    let version = json!({ "field": { "at": "/version", "order": "ordered" } });
    for revision in [json!("etag"), json!("none")] {
        let mapping = hints(only_lists(revision, version.clone()));
        let (service, network, mut followed) = followed(mapping).await;
        service.asked("/configs");
        sleep(HEARTBEAT * 30).await;
        assert_eq!(service.asked("/configs"), [""; 0], "quiet is no hint");

        for round in 0..5 {
            service.put("a", &round.to_string());
            service.put("c", &round.to_string());
            service.delete("c");
            followed.has_all(&service).await;
        }
        assert!(!service.asked("/configs").is_empty());
        // What happens while nobody listens is found when the feed is there again.
        network.stop_listening();
        network.cut();
        followed.until(|health| health.state == State::Stale).await;
        service.delete("b");
        network.listen(service.router());
        followed.has_all(&service).await;
        let heard = followed.heard().await;
        let lost = heard
            .iter()
            .any(|said| matches!(said, Said::ObjectRejected { .. }));
        assert!(!lost, "{heard:#?}");
    }
}
