//! However an informer ends, it leaves nothing behind, and nobody waits for ever.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod driver_rig;

use std::sync::Arc;

use driver_rig::{Value, alive_tasks, list, live, start};
use reflet_tokio::reflet_core::{SourceProfile, State};
use reflet_tokio::{Handler, Informer, NotSynced, scripted};

struct Idle;

impl Handler<Value> for Idle {}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_every_task_and_every_request() {
    let (informer, _script, watch) = live().await;
    for _ in 0..10 {
        informer.handle(Idle);
    }
    assert_eq!(alive_tasks(), 11);
    informer.shutdown().await;
    assert_eq!(alive_tasks(), 0);
    assert!(watch.is_over());
    assert_eq!(informer.health().state, State::Stopped);
    assert_eq!(informer.get("a"), Some(1), "the last state can be read");

    informer.shutdown().await;
    informer.handle(Idle).stop().await;
    assert_eq!(informer.synced().await, Ok(()), "it had been");
}

#[tokio::test(start_paused = true)]
async fn two_shutdowns_at_once_both_wait() {
    let (informer, _script, _watch) = live().await;
    let other = tokio::spawn({
        let informer = informer.clone();
        async move { informer.shutdown().await }
    });
    informer.shutdown().await;
    other.await.unwrap();
    assert_eq!(alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_before_the_first_list_tells_the_waiters() {
    let (informer, mut script) = start();
    let silent = list(&mut script).await;
    let waiter = tokio::spawn({
        let informer = informer.clone();
        async move { informer.synced().await }
    });
    tokio::task::yield_now().await;
    informer.shutdown().await;
    assert_eq!(waiter.await.unwrap(), Err(NotSynced::Stopped));
    assert!(silent.is_over());
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_takes_the_driver_and_the_handlers_with_it() {
    let (informer, mut script, watch) = live().await;
    let mut deltas = informer.subscribe();
    let task = informer.handle(Idle);
    task.synced().await.unwrap();
    let other = informer.clone();
    drop(informer);
    watch.upsert("c", 11, 3).flush().await;
    assert_eq!(other.get("c"), Some(3), "a handle is left");

    drop(other);
    assert!(script.next_request().await.is_none());
    watch.over().await;
    task.stop().await;
    assert_eq!(deltas.next().await, None);
    tokio::task::yield_now().await;
    assert_eq!(alive_tasks(), 0);
}

#[test]
fn a_runtime_that_ends_stops_the_informer() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let first = runtime();
    let (informer, waiter) = first.block_on(async {
        let (informer, _script) = start();
        let waiter = informer.clone();
        (informer, waiter)
    });
    drop(first);
    runtime().block_on(async {
        assert_eq!(waiter.synced().await, Err(NotSynced::Stopped));
        informer.shutdown().await;
    });
}

/// A value whose copies can be counted.
type Counted = Arc<()>;

#[tokio::test(start_paused = true)]
async fn no_value_outlives_its_informer() {
    let value = Counted::default();
    let (source, mut script) = scripted::source(SourceProfile::default());
    let informer: Informer<Counted> = Informer::builder(source).seed(1).start();
    let mut deltas = informer.subscribe();
    let list = script.next_request().await.unwrap();
    list.objects(10, [("a", 9, value.clone()), ("b", 10, value.clone())]);
    informer.synced().await.unwrap();
    drop(deltas.next().await.unwrap());
    assert!(Arc::strong_count(&value) > 1);

    informer.shutdown().await;
    drop((informer, deltas));
    assert_eq!(Arc::strong_count(&value), 1);
}
