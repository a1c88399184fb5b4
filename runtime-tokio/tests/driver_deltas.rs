//! Deltas as streams: true, whole, and each subscriber for itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod driver_rig;

use std::pin::pin;
use std::time::Duration;

use driver_rig::{Value, list, live, start, watch, words};
use futures_util::{FutureExt as _, StreamExt as _};
use reflet_tokio::reflet_core::cache::Delta;
use reflet_tokio::reflet_core::{Revision, SourceProfile};
use reflet_tokio::scripted::{self, Request};
use reflet_tokio::source::{Commit, Envelope, Frame, Payload};
use reflet_tokio::{Deltas, Ended, Informer, Notice};
use tokio::time::timeout;

/// Reads until the stream shows the revision; returns all its words.
async fn read_to(deltas: &mut Deltas<Value>, revision: u64) -> String {
    let mut all = Vec::new();
    loop {
        let batch = deltas.next().await.unwrap();
        all.push(words(&batch));
        if batch.mark.revision == Some(Revision::from(revision)) {
            return all.join(" ").trim().to_owned();
        }
    }
}

/// A live informer with so many objects at revision 10, and its watch.
async fn crowd(objects: u64, retained_bytes: usize) -> (Informer<Value>, Request<Value>) {
    let (source, mut script) = scripted::source(SourceProfile::default());
    let informer = Informer::builder(source)
        .seed(1)
        .limits(|limits| limits.retained_bytes = retained_bytes)
        .start();
    let keys: Vec<_> = (0..objects).map(|key| format!("{key:04}")).collect();
    let listed = keys.iter().map(|key| (key.as_str(), 1, 0));
    list(&mut script).await.objects(10, listed);
    let watch = watch(&mut script).await;
    watch.opened().flush().await;
    (informer, watch)
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_with_the_whole_state_and_goes_on_with_changes() {
    let (informer, mut script) = start();
    let mut deltas = informer.subscribe();
    assert!(deltas.next().now_or_never().is_none(), "nothing is known");

    list(&mut script)
        .await
        .objects(10, [("a", 9, 1), ("b", 10, 2)]);
    let initial = deltas.next().await.unwrap();
    assert_eq!(words(&initial), "+a=1 +b=2");
    assert!(initial.mark.initial);
    assert_eq!(initial.mark.revision, Some(Revision::from(10)));

    let watch = watch(&mut script).await;
    watch.opened().upsert("a", 11, 3).delete("b", 12);
    watch.flush().await;
    assert_eq!(read_to(&mut deltas, 12).await, "~a=1>3 -b=2");
}

#[tokio::test(start_paused = true)]
async fn a_late_stream_begins_with_what_is_there() {
    let (informer, _script, _watch) = live().await;
    let mut deltas = informer.subscribe();
    assert_eq!(words(&deltas.next().await.unwrap()), "+a=1 +b=2");
}

#[tokio::test(start_paused = true)]
async fn an_initial_state_that_takes_many_turns_comes_as_one_batch() {
    let (informer, mut script) = start();
    let mut deltas = informer.subscribe();
    let keys: Vec<_> = (0..5_000).map(|key| format!("{key:04}")).collect();
    let objects = keys.iter().map(|key| (key.as_str(), 1, 7));
    list(&mut script).await.objects(10, objects);

    // Each of these futures is dropped after one turn: nothing may get lost with it.
    informer.synced().await.unwrap();
    let mut turns = 0;
    let batch = loop {
        turns += 1;
        match deltas.next().now_or_never() {
            Some(batch) => break batch.unwrap(),
            None => tokio::task::yield_now().await,
        }
    };
    assert!(turns > 5, "the engine was held for the whole state");
    assert_eq!(batch.deltas.len(), 5_000);
    assert!(batch.mark.initial);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_a_stream() {
    let (informer, _script, watch) = live().await;
    watch.upsert("a", 11, 5).flush().await;
    let mut batches = pin!(informer.subscribe().map(|batch| words(&batch)));
    assert_eq!(batches.next().await.unwrap(), "+a=5 +b=2");
}

#[tokio::test(start_paused = true)]
async fn who_sleeps_hinders_nobody_and_gets_the_sum() {
    let (informer, _script, watch) = live().await;
    let mut quick = informer.subscribe();
    let mut slow = informer.subscribe();
    read_to(&mut quick, 10).await;
    read_to(&mut slow, 10).await;

    for revision in 11..=40 {
        watch.upsert("a", revision, revision as u32).flush().await;
        let step = read_to(&mut quick, revision).await;
        assert!(step.ends_with(&format!(">{revision}")), "{step}");
    }
    assert_eq!(read_to(&mut slow, 40).await, "~a=1>40");
}

#[tokio::test(start_paused = true)]
async fn who_falls_behind_beyond_the_limit_starts_afresh() {
    let (source, mut script) = scripted::source(SourceProfile::default());
    let informer: Informer<Value> = Informer::builder(source)
        .seed(1)
        .limits(|limits| limits.retained_bytes = 1_000)
        .start();
    let keys: Vec<_> = (0..100).map(|key| format!("key {key:03}")).collect();
    let objects = keys.iter().map(|key| (key.as_str(), 1, 0));
    list(&mut script).await.objects(10, objects);
    let watch = watch(&mut script).await;
    let mut slow = informer.subscribe();
    read_to(&mut slow, 10).await;

    watch.opened();
    for (revision, key) in (11..).zip(&keys[..90]) {
        watch.delete(key, revision);
    }
    watch.flush().await;
    let batch = loop {
        let batch = slow.next().await.unwrap();
        if batch.mark.revision == Some(Revision::from(100)) {
            break batch;
        }
    };
    let words = words(&batch);
    assert!(words.starts_with("reset +"), "{words}");
    assert_eq!(batch.deltas.len(), 11);
    assert!(batch.mark.initial);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_a_reset_is_void() {
    let (informer, watch) = crowd(1_000, 10_000).await;
    let mut slow = informer.subscribe();
    // One turn does not get to the mark; what it read waits in the stream.
    assert!(slow.next().now_or_never().is_none());

    for revision in 11..=510 {
        watch.delete(&format!("{:04}", revision - 11), revision);
    }
    watch.flush().await;
    let batch = slow.next().await.unwrap();
    assert_eq!(batch.deltas[0], Delta::Reset);
    assert_eq!(batch.deltas.len(), 501);
    assert!(batch.mark.initial);
}

#[tokio::test(start_paused = true)]
async fn what_a_leaver_held_back_is_given_back_soon() {
    let (informer, watch) = crowd(20_000, 100_000_000).await;
    let mut sleeper = informer.subscribe();
    read_to(&mut sleeper, 10).await;
    for revision in 11..=20_010 {
        watch.delete(&format!("{:04}", revision - 11), revision);
    }
    watch.flush().await;
    assert!(informer.health().retained_bytes > 0);

    drop(sleeper);
    let before = informer.now();
    while informer.health().retained_bytes > 0 {
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(informer.now().saturating_since(before) < Duration::from_secs(5));
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_forgotten() {
    let (informer, _script, watch) = live().await;
    let mut stays = informer.subscribe();
    let leaves = informer.subscribe();
    assert_eq!(informer.health().subscribers.len(), 2);
    drop(leaves);
    assert_eq!(informer.health().subscribers.len(), 1);

    read_to(&mut stays, 10).await;
    watch.upsert("c", 11, 3);
    assert_eq!(read_to(&mut stays, 11).await, "+c=3");
}

#[tokio::test(start_paused = true)]
async fn a_filter_decides_what_belongs_to_a_stream() {
    let (informer, _script, watch) = live().await;
    let mut odd = informer.subscribe_filtered(|_, value| value % 2 == 1);
    assert_eq!(read_to(&mut odd, 10).await, "+a=1");
    watch.upsert("a", 11, 2).upsert("b", 12, 3).flush().await;
    assert_eq!(read_to(&mut odd, 12).await, "-a=1 +b=3");

    odd.set_filter(|key, _| &**key == "a");
    let batch = odd.next().await.unwrap();
    assert_eq!(words(&batch), "+a=2 -b=3");
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_panics_ends_its_own_stream_only() {
    let (informer, _script, watch) = live().await;
    let mut notices = informer.notices();
    let mut healthy = informer.subscribe();
    let mut broken = informer.subscribe_filtered(|key, _| {
        assert_ne!(&**key, "b", "a filter's bug");
        true
    });
    assert_eq!(broken.next().await, None);
    assert_eq!(broken.ended(), Some(Ended::FilterPanicked));
    let notice = notices.next().await.unwrap();
    assert!(
        matches!(&notice, Notice::FilterPanicked { subscriber, .. } if *subscriber == broken.id()),
        "{notice:?}"
    );
    assert_eq!(informer.health().subscribers.len(), 1);

    watch.upsert("a", 11, 8).flush().await;
    assert_eq!(read_to(&mut healthy, 11).await, "+a=8 +b=2");
}

#[tokio::test(start_paused = true)]
async fn a_sleeping_stream_is_woken_by_a_change() {
    let (informer, _script, watch) = live().await;
    let mut deltas = informer.subscribe();
    read_to(&mut deltas, 10).await;
    let reader = tokio::spawn(async move { read_to(&mut deltas, 11).await });
    tokio::task::yield_now().await;
    watch.upsert("c", 11, 3);
    assert_eq!(reader.await.unwrap(), "+c=3");
}

#[tokio::test(start_paused = true)]
async fn streams_end_with_the_informer() {
    let (informer, _script, _watch) = live().await;
    let mut read = informer.subscribe();
    let mut unread = informer.subscribe();
    read_to(&mut read, 10).await;
    let waiting = tokio::spawn(async move { read.next().await });
    tokio::task::yield_now().await;

    informer.shutdown().await;
    assert_eq!(waiting.await.unwrap(), None);
    assert_eq!(unread.next().await, None);
    assert_eq!(unread.ended(), Some(Ended::Stopped));
    assert_eq!(informer.subscribe().next().await, None);
}

/// `a` in a version that the test chooses, to be decoded only if that is needed.
fn encoded(version: u64, value: &'static str, revision: u64) -> Frame<'static, Value> {
    let parsed = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        text.parse().map_err(|_| format!("{text:?} is no number"))
    };
    Frame::Upsert {
        envelope: Envelope {
            key: "a",
            version: version.into(),
            incarnation: None,
            size: 10,
        },
        payload: Payload::Encoded(value.as_bytes(), Box::leak(Box::new(parsed))),
        commit: Some(Commit {
            revision: Some(Revision::from(revision)),
            previous: None,
        }),
    }
}

/// Versions may be hashes of the content: what an object was before it may become again.
#[tokio::test(start_paused = true)]
async fn a_version_that_comes_back_among_what_was_read_at_once_counts() {
    let (informer, mut script, watch) = live().await;
    let mut notices = informer.notices();
    let mut deltas = informer.subscribe();
    assert_eq!(read_to(&mut deltas, 10).await, "+a=1 +b=2");
    watch.say(|sink| {
        let frames = vec![encoded(77, "7", 11), encoded(9, "1", 12)];
        sink.feed(frames).now_or_never().unwrap();
        sink.frame(Frame::Progress(Revision::from(13), None));
    });
    watch.flush().await;
    let read = timeout(Duration::from_secs(60), read_to(&mut deltas, 13)).await;
    assert!(read.is_ok(), "the watch did not go on");
    assert_eq!(informer.get("a"), Some(1));
    assert!(!watch.is_over(), "nothing was wrong with it");
    assert!(script.next_request().now_or_never().is_none());
    while let Some(Some(notice)) = notices.next().now_or_never() {
        let bad = format!("{notice:?}").contains("BadInput");
        assert!(!bad, "{notice:?}");
    }
}
