//! Workers that share the keys, redeliveries, and lossless subscribers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod driver_rig;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use driver_rig::{Value, list, live, start, watch, words};
use futures_util::FutureExt as _;
use reflet_tokio::reflet_core::Revision;
use reflet_tokio::reflet_core::cache::{Filter, Partition, Subscription};
use reflet_tokio::{Ended, Handler};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// What the workers were told last of each key.
type Last = BTreeMap<Arc<str>, Value>;

const THREE: NonZero<u32> = NonZero::new(3).unwrap();
const MINUTE: Duration = Duration::from_secs(60);

/// Tells of each of its calls; one of them waits for the test's word before it does anything else.
struct Worker {
    calls: mpsc::Sender<(Partition, Arc<str>, Value)>,
    its: Partition,
    stuck: Option<mpsc::Receiver<()>>,
}

impl Worker {
    fn told(&mut self, key: Arc<str>, value: Value) {
        if let Some(go) = self.stuck.take() {
            go.recv().unwrap();
        }
        self.calls.send((self.its, key, value)).unwrap();
    }
}

impl Handler<Value> for Worker {
    fn added(&mut self, key: Arc<str>, new: Value) {
        self.told(key, new);
    }

    fn updated(&mut self, key: Arc<str>, old: Value, new: Value) {
        assert!(old < new, "in order");
        self.told(key, new);
    }

    fn deleted(&mut self, key: Arc<str>, _: Value, _: Value, _: bool) {
        self.told(key, 0);
    }
}

fn is_stuck(its: Partition) -> bool {
    its.index() == 1
}

fn home(key: &str) -> Partition {
    Partition::all(THREE)
        .find(|its| its.has::<Arc<str>>(key))
        .unwrap()
}

#[test]
fn workers_see_everything_together_also_while_one_is_stuck() {
    // The workers block their threads, so they get a runtime of their own.
    let theirs = Builder::new_multi_thread()
        .worker_threads(3)
        .build()
        .unwrap();
    let ours = Builder::new_current_thread().enable_time().build().unwrap();
    let keys: Vec<_> = (0..30).map(|key| format!("k{key:02}")).collect();
    let (calls, told) = mpsc::channel();
    let (go, stuck) = mpsc::channel();
    ours.block_on(async {
        let (informer, mut script) = start();
        let listed = keys.iter().map(|key| (key.as_str(), 1, 1));
        list(&mut script).await.objects(10, listed);
        let watch = watch(&mut script).await;
        watch.opened().flush().await;
        let tasks = {
            let _context = theirs.enter();
            let mut stuck = Some(stuck);
            informer.workers(THREE, |its| Worker {
                calls: calls.clone(),
                its,
                stuck: stuck.take_if(|_| is_stuck(its)),
            })
        };
        assert_eq!(tasks.len(), 3);

        // One is stuck in its first call, and the others are told all that is theirs.
        let mut last = Last::new();
        let mut hear = |until: &dyn Fn(&Last) -> bool| {
            while !until(&last) {
                let (its, key, value) = told.recv().unwrap();
                assert_eq!(its, home(&key), "{key} is told to another worker");
                last.insert(key, value);
            }
        };
        let others = keys.iter().filter(|key| !is_stuck(home(key))).count();
        assert!((10..30).contains(&others));
        hear(&|last| last.len() == others);
        for (key, revision) in keys.iter().zip(11..) {
            watch.upsert(key, revision, revision as Value);
        }
        watch.delete(&keys[0], 41).delete(&keys[1], 42);
        watch.flush().await;
        let is_last = |(key, value): (&Arc<str>, &Value)| {
            let number: Value = key[1..].parse().unwrap();
            *value == if number < 2 { 0 } else { 11 + number }
        };
        hear(&|last| last.len() == others && last.iter().all(is_last));
        assert_eq!(
            tasks[1].synced().now_or_never(),
            None,
            "it is in its first call"
        );

        // Then it goes on, and is told the rest.
        go.send(()).unwrap();
        hear(&|last| last.len() == keys.len() && last.iter().all(is_last));
        informer.shutdown().await;
        for task in &tasks {
            assert_eq!(task.failures(), 0);
        }
    });
}

#[tokio::test(start_paused = true)]
async fn streams_share_the_keys_and_filters_go_with_it() {
    let (informer, _script, watch) = live().await;
    for (key, revision) in [("c", 11), ("d", 12), ("e", 13), ("f", 14)] {
        watch.upsert(key, revision, revision as Value);
    }
    watch.flush().await;
    let mut all = Vec::new();
    for its in Partition::all(THREE) {
        let large = Filter::new(|_: &Arc<str>, value: &Value| *value > 1);
        let to = Subscription::new().partition(its).filter(large);
        let batch = informer.subscribe_to(to).next().await.unwrap();
        assert!(batch.mark.initial);
        all.push(words(&batch));
    }
    let all = all.join(" ");
    let mut all: Vec<_> = all.split_whitespace().collect();
    all.sort_unstable();
    assert_eq!(all, ["+b=2", "+c=11", "+d=12", "+e=13", "+f=14"]);
}

#[tokio::test(start_paused = true)]
async fn everything_comes_again_on_its_period() {
    let (informer, _script, watch) = live().await;
    let to = Subscription::new().redeliver_every(MINUTE);
    let mut deltas = informer.subscribe_to(to);
    assert_eq!(words(&deltas.next().await.unwrap()), "+a=1 +b=2");
    for _ in 0..3 {
        let since = informer.now();
        let batch = deltas.next().await.unwrap();
        assert_eq!(words(&batch), "=a=1 =b=2");
        let waited = informer.now().saturating_since(since);
        assert!((MINUTE * 9 / 10..=MINUTE * 11 / 10).contains(&waited));
    }
    watch.upsert("a", 11, 3).flush().await;
    assert_eq!(words(&deltas.next().await.unwrap()), "~a=1>3");
    assert_eq!(words(&deltas.next().await.unwrap()), "=a=3 =b=2");
}

#[tokio::test(start_paused = true)]
async fn a_sleeping_stream_is_woken_for_a_redelivery() {
    let (informer, _script, _watch) = live().await;
    let mut deltas = informer.subscribe();
    deltas.next().await.unwrap();
    let id = deltas.id();
    let reader = tokio::spawn(async move {
        let batch = deltas.next().await.unwrap();
        assert_eq!(batch.mark.revision, Some(Revision::from(10)));
        deltas.redeliver();
        (words(&batch), words(&deltas.next().await.unwrap()))
    });
    tokio::task::yield_now().await;
    assert!(informer.redeliver(id));
    let again = "=a=1 =b=2".to_owned();
    assert_eq!(reader.await.unwrap(), (again.clone(), again));
    assert!(!informer.redeliver(id), "it has gone");
}

#[tokio::test(start_paused = true)]
async fn a_lossless_stream_is_told_of_every_version_step_by_step() {
    let (informer, _script, watch) = live().await;
    let mut deltas = informer.subscribe_to(Subscription::new().lossless(1 << 20));
    deltas.next().await.unwrap();
    for revision in 11..=14 {
        watch.upsert("a", revision, revision as Value);
    }
    watch.delete("a", 15).flush().await;
    let steps = ["~a=1>11", "~a=11>12", "~a=12>13", "~a=13>14", "-a=14"];
    for (step, revision) in steps.into_iter().zip(11..) {
        let batch = deltas.next().await.unwrap();
        assert_eq!(words(&batch), step);
        assert_eq!(batch.mark.revision, Some(Revision::from(revision)));
    }
    assert!(deltas.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lossless_stream_that_sleeps_too_long_is_told_of_a_gap() {
    let (informer, _script, watch) = live().await;
    let mut deltas = informer.subscribe_to(Subscription::new().lossless(300));
    deltas.next().await.unwrap();
    for revision in 11..=20 {
        watch.upsert("a", revision, revision as Value);
    }
    watch.flush().await;
    assert_eq!(words(&deltas.next().await.unwrap()), "~a=1>11");
    assert_eq!(
        words(&deltas.next().await.unwrap()),
        "gap:Overflow ~a=11>20"
    );
    watch.upsert("a", 21, 21).flush().await;
    assert_eq!(words(&deltas.next().await.unwrap()), "~a=20>21");
}

/// Passes on what it is told.
struct Clerk(UnboundedSender<String>);

impl Handler<Value> for Clerk {
    fn updated(&mut self, key: Arc<str>, old: Value, new: Value) {
        self.0.send(format!("~{key}={old}>{new}")).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_takes_a_redelivery_for_an_update_to_what_it_was() {
    let (informer, _script, _watch) = live().await;
    let (clerk, mut told) = unbounded_channel();
    let to = Subscription::new().redeliver_every(MINUTE);
    let task = informer.handle_to(to, Clerk(clerk));
    task.synced().await.unwrap();
    assert!(told.try_recv().is_err());
    assert_eq!(told.recv().await.unwrap(), "~a=1>1");
    assert_eq!(told.recv().await.unwrap(), "~b=2>2");
}

#[tokio::test(start_paused = true)]
async fn a_subscriptions_filter_that_panics_ends_its_own_stream_only() {
    let (informer, _script, _watch) = live().await;
    let bug = Filter::new(|_: &Arc<str>, _: &Value| panic!("a filter's bug"));
    let mut broken = informer.subscribe_to(Subscription::new().filter(bug));
    assert_eq!(broken.next().await, None);
    assert_eq!(broken.ended(), Some(Ended::FilterPanicked));
    assert_eq!(informer.len(), 2);
}
