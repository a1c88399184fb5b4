//! What somebody sees who follows a source: what the informer says, every version that it hands out,
//! and what it holds in the end.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use futures_util::FutureExt as _;
use reflet_tokio::reflet_core::cache::{Delta, Subscription};
use reflet_tokio::reflet_core::{Config, Limits, Notice as Said, Rejection};
use reflet_tokio::{Deltas, Informer, Notice, Notices, Source};
use tokio::time::sleep;

/// So many bytes wait for who wants every version: all that an input can make.
const PLENTY: usize = 1 << 20;

/// What there was to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What the informer said, in order.
    pub(crate) notices: Vec<String>,
    /// The versions of each object, in order; `None`: it was deleted.
    pub(crate) versions: BTreeMap<String, Vec<Option<String>>>,
    /// Whether some version may be missing.
    pub(crate) gap: bool,
    /// What it holds in the end.
    pub(crate) objects: BTreeMap<String, String>,
    /// How it is in the end.
    pub(crate) health: String,
}

impl Seen {
    /// What there was to see until a watch was gone, all of it if none was. How soon the next one
    /// begins then depends on whether there was any sign of life before, which a part of an answer is.
    pub(crate) fn until_gone(self) -> Self {
        let gone = |notice: &String| notice.contains("failed: Gone");
        match self.notices.iter().position(gone) {
            Some(at) => Self {
                notices: self.notices.into_iter().take(at + 1).collect(),
                ..Self::default()
            },
            None => self,
        }
    }
}

/// Small, so that inputs get beyond the limits.
pub(crate) fn small_limits() -> Limits {
    Limits {
        objects: 8,
        bytes: 2_000,
        staged_bytes: 1_500,
        key_bytes: 24,
        token_bytes: 24,
        pages: 4,
        quarantined: 3,
        ..Limits::default()
    }
}

/// Runs something with a clock that moves only while everybody waits.
pub(crate) fn on_paused_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let Ok(runtime) = runtime else {
        unreachable!("a runtime without I/O needs nothing");
    };
    runtime.block_on(work)
}

/// Follows the source for so long.
pub(crate) async fn follow<S>(source: S, time: Duration) -> Seen
where
    S: Source<Value: Debug>,
{
    let mut onlooker = Onlooker::start(source, small_limits());
    for _ in 0..5 {
        sleep(time / 5).await;
        onlooker.look().await;
    }
    onlooker.end().await
}

/// Somebody who follows a source, and checks what must be true of whatever is seen.
pub(crate) struct Onlooker<V: Clone> {
    informer: Informer<V>,
    notices: Notices,
    deltas: Deltas<V>,
    limits: Limits,
    /// What was handed out, folded.
    folded: BTreeMap<String, String>,
    seen: Seen,
}

impl<V: Clone + Debug + Send + Sync + 'static> Onlooker<V> {
    pub(crate) fn start(source: impl Source<Value = V>, limits: Limits) -> Self {
        let config = Config {
            limits: limits.clone(),
            ..Config::default()
        };
        let informer = Informer::builder(source).config(config).seed(7).start();
        let every_version = Subscription::new().lossless(PLENTY);
        Self {
            notices: informer.notices(),
            deltas: informer.subscribe_to(every_version),
            informer,
            limits,
            folded: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    /// Takes whatever there is to be heard.
    pub(crate) async fn look(&mut self) {
        let Self { notices, seen, .. } = self;
        let all = async {
            while let Some(notice) = notices.next().await {
                seen.notices.extend(in_words(notice));
            }
        };
        let _ = tokio::time::timeout(Duration::ZERO, all).await;
        self.fold();
    }

    /// Folds what is handed out into a map: each step must fit what there was before (P4).
    fn fold(&mut self) {
        while let Some(Some(batch)) = self.deltas.next().now_or_never() {
            for delta in batch.deltas {
                let (key, before, after) = match delta {
                    Delta::Added { key, new } => (key, None, Some(new)),
                    Delta::Updated { key, old, new } => (key, Some(old), Some(new)),
                    Delta::Deleted { key, seen, .. } => (key, Some(seen), None),
                    Delta::Gap(_) => {
                        self.seen.gap = true;
                        continue;
                    }
                    other => unreachable!("nobody asked for {other:?}"),
                };
                let shown = |value: V| format!("{value:?}");
                let (key, after) = (key.to_string(), after.map(shown));
                let had = match &after {
                    Some(value) => self.folded.insert(key.clone(), value.clone()),
                    None => self.folded.remove(&key),
                };
                assert_eq!(had, before.map(shown), "{key}");
                self.seen.versions.entry(key).or_default().push(after);
            }
        }
    }

    /// What there was to see until now.
    pub(crate) async fn end(mut self) -> Seen {
        self.look().await;
        for (key, value) in self.informer.objects() {
            assert!(key.len() <= self.limits.key_bytes, "{key:?} is too long");
            let value = format!("{value:?}");
            self.seen.objects.insert(key.to_string(), value);
        }
        let health = self.informer.health();
        assert!(self.seen.objects.len() <= self.limits.objects);
        assert_eq!(health.objects, self.seen.objects.len());
        assert!(health.quarantined.len() <= self.limits.quarantined);
        assert_eq!(
            self.folded, self.seen.objects,
            "what is told is what is there"
        );
        self.seen.health = format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            health.state,
            health.reason,
            health.revision,
            health.complete,
            health.epoch,
            health.quarantined,
            health.degraded,
        );
        self.informer.shutdown().await;
        self.seen
    }
}

/// What a notice says that does not depend on how an answer was cut and framed.
fn in_words(notice: Notice) -> Option<String> {
    match notice {
        Notice::Engine(Said::Failed { attempt, failure }) => {
            // The details after a colon may say how far it had come, and how it was framed.
            let words = failure.message.split(':').next().unwrap_or_default();
            let (class, wait) = (failure.class, failure.retry_after);
            Some(format!("{attempt} failed: {class:?} {wait:?} {words}"))
        }
        // A part of an answer is a sign of life, and one that comes whole has no parts.
        Notice::Engine(Said::Live | Said::Stale { .. }) => None,
        // The number of an event in a stream counts signs of life, too.
        Notice::Engine(Said::UnknownRejected {
            error: Rejection::Undecodable(words),
        }) => {
            let words = words.split_once(": ").map_or(&*words, |(_, words)| words);
            Some(format!("rejected: {words}"))
        }
        notice => Some(format!("{notice:?}")),
    }
}
