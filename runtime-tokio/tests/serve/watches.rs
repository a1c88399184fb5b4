//! Watches as JSON lines. Time is paused: it moves only when everybody waits.

use std::time::Duration;

use reflet_tokio::serve::{Change, CollectionOptions, Continuity, Precondition, object_digest};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::rig::{Rig, raw};

#[tokio::test(start_paused = true)]
async fn a_watch_begins_with_a_bookmark_and_tells_everything_after_its_revision() {
    let rig = Rig::new();
    rig.put("a", 1);
    rig.put("a", 2);
    let mut watch = rig.watch("from=1").await;

    let opening = watch.line().await.unwrap();
    let digest = format!("{:016x}", object_digest("a", 1));
    assert_eq!(
        opening,
        json!({"type": "BOOKMARK", "revision": "1", "digest": digest})
    );
    assert_eq!(
        watch.line().await.unwrap(),
        json!({"type": "MODIFIED", "revision": "2", "previous": "1", "key": "a", "version": "2",
               "uid": "1", "last": true, "value": 2})
    );
    rig.delete("a");
    assert_eq!(
        watch.line().await.unwrap(),
        json!({"type": "DELETED", "revision": "3", "previous": "2", "key": "a", "version": "3",
               "uid": "1", "last": true, "value": 2})
    );
    rig.put("a", 4);
    assert_eq!(
        watch.line().await.unwrap(),
        json!({"type": "ADDED", "revision": "4", "previous": "3", "key": "a", "version": "4",
               "uid": "4", "last": true, "value": 4})
    );
}

#[tokio::test(start_paused = true)]
async fn only_the_last_line_of_a_transaction_says_so() {
    let rig = Rig::new();
    let change = |key: &str| Change::Put {
        key: key.into(),
        value: raw(key),
        precondition: Precondition::None,
    };
    let mut watch = rig.watch("from=0").await;
    rig.things
        .transaction(vec![change("b"), change("a"), change("c")])
        .unwrap();

    for (key, last) in [("b", None), ("a", None), ("c", Some(true))] {
        let line = watch.change().await;
        assert_eq!(
            (&line["key"], &line["revision"]),
            (&json!(key), &json!("1"))
        );
        assert_eq!(line.get("last").and_then(Value::as_bool), last);
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_beats_and_bookmarks_its_revision() {
    let mut options = CollectionOptions::default();
    options.heartbeat_interval = Duration::from_secs(10);
    options.bookmark_interval = Duration::from_secs(25);
    let rig = Rig::with(options);
    rig.put("a", 1);
    let mut watch = rig.watch("from=1").await;
    let began = Instant::now();
    let at = || began.elapsed().as_secs();

    assert_eq!(watch.line().await.unwrap()["type"], "BOOKMARK");
    let mut lines = Vec::new();
    for _ in 0..4 {
        let line = watch.line().await.unwrap();
        lines.push((
            at(),
            line["type"].as_str().unwrap_or("heartbeat").to_owned(),
        ));
    }
    let expected = [
        (10, "heartbeat"),
        (20, "heartbeat"),
        (25, "BOOKMARK"),
        (35, "heartbeat"),
    ];
    assert_eq!(lines, expected.map(|(at, line)| (at, line.to_owned())));

    rig.put("b", 2);
    assert_eq!(watch.line().await.unwrap()["revision"], "2");
    tokio::time::advance(Duration::from_secs(24)).await;
    let bookmark = loop {
        let line = watch.line().await.unwrap();
        if !line.is_null() {
            break line;
        }
    };
    let sum = object_digest("a", 1).wrapping_add(object_digest("b", 2));
    assert_eq!(bookmark["digest"], format!("{sum:016x}"));
    assert_eq!(bookmark["revision"], "2");
    assert_eq!(rig.things.digest(), sum);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_watch_is_woken_by_a_transaction_and_not_by_its_timers() {
    let rig = Rig::new();
    let mut watch = rig.watch("from=0").await;
    assert_eq!(watch.line().await.unwrap()["type"], "BOOKMARK");
    let began = Instant::now();
    let (line, _) = tokio::join!(watch.line(), async { rig.put("a", 1) });
    assert_eq!(line.unwrap()["type"], "ADDED");
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_cleanly_after_the_time_that_the_client_asked_for() {
    let rig = Rig::new();
    let began = Instant::now();
    let mut watch = rig.watch("from=0&timeout_ms=1500").await;
    assert_eq!(watch.line().await.unwrap()["type"], "BOOKMARK");
    assert_eq!(watch.line().await, None);
    assert_eq!(began.elapsed().as_millis(), 1500);
    drop(rig.watch("from=0&timeout_ms=18446744073709551615").await);
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_forgotten_history_is_gone_when_it_opens() {
    let mut options = CollectionOptions::default();
    options.history_transactions = 2;
    let rig = Rig::with(options);
    for n in 0..4 {
        rig.put("a", n);
    }
    assert_eq!(rig.things.oldest_revision(), 2);
    let gone = rig.get("/v1/things?watch=jsonl&from=1").await;
    gone.assert_error(410, "Gone");
    assert_eq!(gone.header("x-reflet-revision"), "4");
    let mut watch = rig.watch("from=2").await;
    assert_eq!(watch.change().await["revision"], "3");
}

#[tokio::test(start_paused = true)]
async fn history_is_bounded_by_bytes_but_keeps_the_newest_transaction() {
    let mut options = CollectionOptions::default();
    options.history_bytes = 10_000;
    let rig = Rig::with(options);
    for n in 0..100 {
        rig.put(&n.to_string(), "x".repeat(900));
    }
    let kept = 100 - rig.things.oldest_revision();
    assert!(
        (2..=5).contains(&kept),
        "{kept} transactions of about 2 KB in 10 KB"
    );
    rig.put("big", "x".repeat(100_000));
    assert_eq!(rig.things.oldest_revision(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_the_future_is_behind_and_one_from_another_epoch_is_gone() {
    let rig = Rig::new();
    rig.put("a", 1);
    let epoch = rig.things.epoch();
    let path = |from, epoch: &str| format!("/v1/things?watch=jsonl&from={from}&epoch={epoch}");
    rig.get(&path(2, &epoch)).await.assert_error(412, "Behind");
    let gone = rig.get(&path(2, "other")).await;
    gone.assert_error(410, "Gone");
    assert_eq!(gone.header("x-reflet-epoch"), &*epoch);
    assert_eq!(rig.open(&path(1, &epoch)).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_is_cut_off_and_the_others_are_not() {
    let mut options = CollectionOptions::default();
    options.history_transactions = 10;
    options.watcher_buffer_bytes = 1;
    let rig = Rig::with(options);
    let mut slow = rig.watch("from=0").await;
    let mut quick = rig.watch("from=0").await;
    for n in 1..=50u64 {
        rig.put("a", n);
        assert_eq!(quick.change().await["revision"], n.to_string());
        if n == 5 {
            assert_eq!(slow.change().await["revision"], "1");
        }
    }
    let last = slow.change().await;
    assert_eq!(last["type"], "ERROR");
    assert_eq!(
        (&last["status"], &last["reason"]),
        (&json!(410), &json!("Gone"))
    );
    assert_eq!(slow.line().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_watcher_is_cut_off_by_a_compaction_only_if_it_needs_what_is_gone() {
    let rig = Rig::new();
    rig.put("a", 1);
    let mut waits = rig.watch("from=1").await;
    let mut lags = rig.watch("from=0").await;
    assert_eq!(waits.line().await.unwrap()["type"], "BOOKMARK");
    rig.things.compact(1);
    assert_eq!(lags.change().await["type"], "ERROR");
    rig.put("a", 2);
    assert_eq!(waits.change().await["revision"], "2");
}

#[tokio::test(start_paused = true)]
async fn places_for_watchers_are_bounded_and_freed() {
    let mut options = CollectionOptions::default();
    options.max_watchers = 1;
    let rig = Rig::with(options);
    let watch = rig.watch("from=0").await;
    let refused = rig.get("/v1/things?watch=jsonl&from=0").await;
    refused.assert_error(429, "TooManyWatchers");
    assert_eq!(refused.header("retry-after"), "1");
    rig.get("/v1/things?watch=poll&from=0")
        .await
        .assert_error(429, "TooManyWatchers");
    assert_eq!(rig.things.watchers(), 1);
    drop(watch);
    assert_eq!(rig.things.watchers(), 0);
    rig.watch("from=0").await;
}

#[tokio::test(start_paused = true)]
async fn closing_ends_every_watch_cleanly() {
    let rig = Rig::new();
    let mut watch = rig.watch("from=0").await;
    assert_eq!(watch.line().await.unwrap()["type"], "BOOKMARK");
    let began = Instant::now();
    let (end, ()) = tokio::join!(watch.line(), async { rig.things.close() });
    assert_eq!(end, None);
    assert_eq!(began.elapsed(), Duration::ZERO);
    let refused = rig.get("/v1/things?watch=jsonl&from=0").await;
    refused.assert_error(503, "Unavailable");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(rig.get("/v1/things").await.status, 200, "lists go on");
    rig.things
        .restore(&rig.things.export(), Continuity::NewEpoch)
        .unwrap();
    rig.get("/v1/things?watch=jsonl&from=0")
        .await
        .assert_error(503, "Unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_many_threads_make_one_history_that_every_watcher_sees() {
    let rig = Rig::new();
    let mut watches = Vec::new();
    for _ in 0..4 {
        watches.push(rig.watch("from=0").await);
    }
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let things = rig.things.clone();
            tokio::task::spawn_blocking(move || {
                for n in 0..100 {
                    things
                        .put(format!("{writer}-{n}"), raw(n), Precondition::None)
                        .unwrap();
                }
            })
        })
        .collect();
    let readers = watches.into_iter().map(|mut watch| {
        tokio::spawn(async move {
            for revision in 1..=400u64 {
                assert_eq!(watch.change().await["revision"], revision.to_string());
            }
        })
    });
    for task in writers.into_iter().chain(readers) {
        task.await.unwrap();
    }
}
