//! Getting in step with the source, and staying so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod driver_rig;

use std::time::Duration;

use driver_rig::{list, live, start, watch};
use reflet_tokio::reflet_core::{
    Condition, Failure, FailureClass, Notice as EngineNotice, Revision, State, Verify, WatchFrom,
};
use reflet_tokio::scripted::Asked;
use reflet_tokio::{NotSynced, Notice};

#[tokio::test(start_paused = true)]
async fn a_list_and_a_watch_make_a_true_copy() {
    let (informer, mut script) = start();
    assert!(informer.is_empty());

    list(&mut script)
        .await
        .objects(10, [("a", 9, 1), ("b", 10, 2)]);
    informer.synced().await.unwrap();
    assert_eq!(informer.get("a"), Some(1));
    assert_eq!(informer.len(), 2);
    assert_eq!(informer.revision(), Some(Revision::from(10)));

    let watch = watch(&mut script).await;
    let Asked::Watch(asked) = watch.asked() else {
        unreachable!()
    };
    assert_eq!(asked.from, WatchFrom::Revision(Revision::from(10)));
    watch
        .opened()
        .upsert("a", 11, 3)
        .delete("b", 12)
        .upsert("c", 13, 4);
    watch.flush().await;

    let mut copy = informer.objects();
    copy.sort();
    assert_eq!(copy, [("a".into(), 3), ("c".into(), 4)]);
    assert_eq!(informer.with_cache(|cache| cache.get("b").copied()), None);
    assert_eq!(informer.health().state, State::Live);
}

#[tokio::test(start_paused = true)]
async fn pages_are_asked_for_one_by_one_and_show_at_once() {
    let (informer, mut script) = start();
    let first = list(&mut script).await;
    first.page(10).object("a", 9, 1).page_end(Some("from b"));
    let second = list(&mut script).await;
    let Asked::List(asked) = second.asked() else {
        unreachable!()
    };
    assert_eq!(asked.page.as_deref(), Some("from b"));
    assert!(informer.is_empty());

    second.page(10).object("b", 10, 2).page_end(None);
    informer.synced().await.unwrap();
    assert_eq!(informer.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_after_the_end_of_a_page_is_not_heard() {
    let (informer, mut script) = start();
    list(&mut script).await.say(|sink| {
        sink.page(None, Some(Revision::from(10)));
        sink.page_end(None);
        sink.page(None, Some(Revision::from(99)));
        sink.page_end(None);
        panic!("too late");
    });
    let watch = watch(&mut script).await;
    watch.opened().flush().await;
    assert_eq!(informer.revision(), Some(Revision::from(10)));
    assert_eq!(informer.health().last_error, None);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_waiters_are_all_told() {
    let (informer, mut script) = start();
    let waiters: Vec<_> = (0..100)
        .map(|_| {
            let informer = informer.clone();
            tokio::spawn(async move { informer.synced().await })
        })
        .collect();
    list(&mut script).await.objects(10, []);
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap(), Ok(()));
    }
    assert_eq!(informer.synced().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn who_is_not_let_in_is_told_why() {
    let (informer, mut script) = start();
    list(&mut script)
        .await
        .fail(FailureClass::Denied, "401: token expired");

    let NotSynced::TimedOut(health) = informer
        .synced_within(Duration::from_secs(5))
        .await
        .unwrap_err()
    else {
        panic!("it was not stopped")
    };
    assert_eq!(health.state, State::Syncing);
    assert_eq!(
        health.reason,
        Some(Condition::Failing(FailureClass::Denied))
    );
    let words = NotSynced::TimedOut(health.clone()).to_string();
    assert!(words.contains("401: token expired"), "{words}");

    let next = health.next_attempt.unwrap();
    assert!(next > informer.now(), "a denied source is left in peace");
}

#[tokio::test(start_paused = true)]
async fn any_thread_can_read_while_the_source_writes() {
    let (informer, _script, watch) = live().await;
    let reader = informer.clone();
    let reading = std::thread::spawn(move || {
        let mut seen = Vec::new();
        while seen.last() != Some(&(500, Some(Revision::from(508)))) {
            let state = reader.with_cache(|cache| (cache.len(), cache.revision().cloned()));
            if seen.last() != Some(&state) {
                seen.push(state);
            }
        }
        seen
    });
    for revision in 11..=508 {
        watch.upsert(&format!("key {revision}"), revision, 3);
        watch.flush().await;
    }
    // One thread may be before or behind the other, but each thing that it sees is one state.
    let seen = reading.join().unwrap();
    for (objects, revision) in seen {
        assert_eq!(revision, Some(Revision::from(objects as u64 + 8)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_panics_harms_nobody() {
    let (informer, _script, watch) = live().await;
    let reader = informer.clone();
    let reading = std::thread::spawn(move || reader.with_cache(|_| panic!("a reader's bug")));
    assert!(reading.join().is_err());

    watch.upsert("a", 11, 7).flush().await;
    assert_eq!(informer.get("a"), Some(7));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_followed_by_another_attempt_when_its_wait_is_over() {
    let (informer, mut script) = start();
    let wait = Duration::from_secs(20);
    let failure = Failure::new(FailureClass::Retryable, "busy").retry_after(wait);
    list(&mut script).await.fail_with(failure);

    let before = informer.now();
    list(&mut script).await.objects(10, [("a", 9, 1)]);
    assert!(informer.now().saturating_since(before) >= wait);
    informer.synced().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_request_is_cancelled_and_made_again() {
    let (informer, mut script) = start();
    let mut notices = informer.notices();
    let silent = list(&mut script).await;
    let second = list(&mut script).await;
    assert!(silent.is_over(), "its future has been dropped");
    let timed_out = notices.next().await.unwrap();
    assert!(
        matches!(timed_out, Notice::Engine(EngineNotice::TimedOut { .. })),
        "{timed_out:?}"
    );

    // Its words come too late, whatever they are.
    silent.objects(66, []);
    second.objects(10, [("a", 9, 1)]);
    informer.synced().await.unwrap();
    assert_eq!(informer.revision(), Some(Revision::from(10)));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_falls_silent_is_opened_again() {
    let (informer, mut script, silent) = live().await;
    let again = watch(&mut script).await;
    assert!(silent.is_over());
    again.opened().upsert("a", 11, 5).flush().await;
    assert_eq!(informer.get("a"), Some(5));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_has_failed_and_is_asked_again() {
    let (informer, mut script) = start();
    list(&mut script)
        .await
        .say(|_| panic!("a bug of the source"));
    let second = list(&mut script).await;
    let (_, failure) = informer.health().last_error.unwrap();
    assert_eq!(failure.class, FailureClass::Unexpected);
    assert_eq!(&*failure.message, "source panicked: a bug of the source");

    second.objects(10, [("a", 9, 1)]);
    informer.synced().await.unwrap();
    assert_eq!(informer.get("a"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_gone_watch_leads_to_a_new_list() {
    let (informer, mut script, watch) = live().await;
    watch.fail(FailureClass::Gone, "410: history compacted");
    let relist = list(&mut script).await;
    assert_eq!(informer.get("b"), Some(2), "the last good state stays");
    relist.objects(20, [("a", 15, 4)]);
    driver_rig::watch(&mut script).await;
    assert_eq!(informer.objects(), [("a".into(), 4)]);
}

#[tokio::test(start_paused = true)]
async fn a_verify_is_taken_when_asked_for() {
    let (informer, mut script, watch) = live().await;
    informer.verify(Verify::Content);
    let verify = list(&mut script).await;
    verify.objects(10, [("a", 9, 77), ("b", 10, 2)]);
    driver_rig::watch(&mut script).await;
    assert!(watch.is_over());
    assert_eq!(informer.get("a"), Some(77));
}

#[tokio::test(start_paused = true)]
async fn the_status_shows_each_step() {
    let (informer, mut script) = start();
    let mut status = informer.status();
    assert!(!status.borrow_and_update().synced);
    list(&mut script).await.objects(10, [("a", 9, 1)]);
    let synced = status
        .wait_for(|status| status.synced)
        .await
        .unwrap()
        .clone();
    assert_eq!(synced.objects, 1);
    assert_eq!(synced.revision, Some(Revision::from(10)));

    let watch = watch(&mut script).await;
    watch.opened().upsert("b", 11, 2);
    status.wait_for(|status| status.objects == 2).await.unwrap();
    informer.shutdown().await;
    assert!(status.borrow().stopped);
}
