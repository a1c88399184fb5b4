//! Deltas as calls.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod driver_rig;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};

use driver_rig::{Value, alive_tasks, list, live, start};
use futures_util::FutureExt as _;
use reflet_tokio::reflet_core::cache::Mark;
use reflet_tokio::{Handler, HandlerTask, NotSynced, Notice};
use tokio::runtime::Builder;

/// Writes down its calls, and panics when it is told of the value 13.
#[derive(Clone, Default)]
struct Clerk(Arc<Mutex<Vec<String>>>);

impl Clerk {
    fn write(&self, words: String) {
        self.0.lock().unwrap().push(words);
    }

    fn written(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Handler<Value> for Clerk {
    fn added(&mut self, key: Arc<str>, new: Value) {
        assert_ne!(new, 13, "unlucky");
        self.write(format!("+{key}={new}"));
    }

    fn updated(&mut self, key: Arc<str>, old: Value, new: Value) {
        self.write(format!("~{key}={old}>{new}"));
    }

    fn deleted(&mut self, key: Arc<str>, seen: Value, last: Value, inferred: bool) {
        self.write(format!("-{key}={seen} {last} {inferred}"));
    }

    fn caught_up(&mut self, mark: &Mark) {
        self.write(format!("@{}", mark.revision.as_ref().unwrap()));
    }

    fn synced(&mut self) {
        self.write("synced".to_owned());
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_called_in_order() {
    let (informer, _script, watch) = live().await;
    let clerk = Clerk::default();
    let task = informer.handle(clerk.clone());
    task.synced().await.unwrap();
    assert_eq!(clerk.written(), ["+a=1", "+b=2", "@10", "synced"]);

    watch.upsert("a", 11, 3).delete("b", 12).flush().await;
    while !clerk.written().contains(&"@12".to_owned()) {
        tokio::task::yield_now().await;
    }
    let written = clerk.written();
    for change in ["~a=1>3", "-b=2 2 false"] {
        assert!(written.contains(&change.to_owned()), "{written:?}");
    }
    assert_eq!(written.last().unwrap(), "@12");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_is_reported_and_the_next_one_is_made() {
    let (informer, mut script) = start();
    let mut notices = informer.notices();
    let clerk = Clerk::default();
    let task = informer.handle(clerk.clone());
    list(&mut script)
        .await
        .objects(10, [("a", 8, 1), ("b", 9, 13), ("c", 10, 3)]);
    task.synced().await.unwrap();

    assert_eq!(clerk.written(), ["+a=1", "+c=3", "@10", "synced"]);
    assert_eq!(task.failures(), 1);
    let words = loop {
        if let Notice::HandlerPanicked { message, .. } = notices.next().await.unwrap() {
            break message;
        }
    };
    assert!(words.contains("unlucky"), "{words}");
}

/// Looks in each of its calls whether it is taken for synced already.
#[derive(Clone, Default)]
struct Doubter {
    task: Arc<OnceLock<HandlerTask>>,
    calls: Arc<AtomicUsize>,
}

impl Doubter {
    fn look(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let synced = self.task.get().unwrap().synced().now_or_never();
        assert_eq!(synced, None, "a call has not returned yet");
    }
}

impl Handler<Value> for Doubter {
    fn added(&mut self, _: Arc<str>, _: Value) {
        self.look();
    }

    fn synced(&mut self) {
        self.look();
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_synced_after_its_last_call_returned() {
    let (informer, _script, _watch) = live().await;
    let doubter = Doubter::default();
    let task = informer.handle(doubter.clone());
    doubter.task.set(task.clone()).unwrap();
    task.synced().await.unwrap();
    assert_eq!(doubter.calls.load(Ordering::Relaxed), 3);
    assert_eq!(task.failures(), 0);
}

/// Each of its calls waits for the test's word.
struct Slow {
    begun: mpsc::Sender<String>,
    go: mpsc::Receiver<()>,
}

impl Handler<Value> for Slow {
    fn added(&mut self, key: Arc<str>, _: Value) {
        self.begun.send(key.to_string()).unwrap();
        self.go.recv().unwrap();
    }
}

#[test]
fn a_handler_that_takes_its_time_delays_only_itself_and_its_end() {
    // The handler blocks its thread, so it gets a runtime of its own.
    let its_own = Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let ours = Builder::new_current_thread().enable_time().build().unwrap();
    let (begun, begins) = mpsc::channel();
    let (goes, go) = mpsc::channel();
    ours.block_on(async {
        let (informer, _script, watch) = live().await;
        let task = {
            let _context = its_own.enter();
            informer.handle(Slow { begun, go })
        };
        assert_eq!(begins.recv().unwrap(), "a");

        // It is in its first call, and everybody else gets what there is.
        watch.upsert("c", 11, 3).flush().await;
        assert_eq!(informer.get("c"), Some(3));
        let mut deltas = informer.subscribe();
        assert_eq!(deltas.next().await.unwrap().deltas.len(), 3);
        assert_eq!(task.synced().now_or_never(), None);

        // A shutdown has to wait for the batch that it is in.
        assert_eq!(informer.shutdown().now_or_never(), None);
        watch.over().await;
        assert_eq!(informer.shutdown().now_or_never(), None);
        goes.send(()).unwrap();
        assert_eq!(begins.recv().unwrap(), "b");
        assert_eq!(informer.shutdown().now_or_never(), None);
        goes.send(()).unwrap();
        informer.shutdown().await;
        assert_eq!(task.synced().await, Ok(()), "the batch was the initial one");
        assert!(begins.recv().is_err(), "the handler has been dropped");
    });
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_stopped_leaves_nothing_behind() {
    let (informer, _script, _watch) = live().await;
    let before = alive_tasks();
    let clerk = Clerk::default();
    let task = informer.handle(clerk.clone());
    task.synced().await.unwrap();
    assert_eq!(alive_tasks(), before + 1);
    task.stop().await;
    tokio::task::yield_now().await;
    assert_eq!(alive_tasks(), before);
    assert_eq!(Arc::strong_count(&clerk.0), 1);
    assert!(informer.health().subscribers.is_empty());
    task.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_stopped_before_the_end_was_never_synced() {
    let (informer, _script) = start();
    let task = informer.handle(Clerk::default());
    task.stop().await;
    assert_eq!(task.synced().await, Err(NotSynced::Stopped));
}
