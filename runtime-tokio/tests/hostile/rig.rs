//! An informer, the server that it suffers from, and what must hold whatever the server does.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use reflet_tokio::http::{HttpLimits, HttpSource, HttpSourceBuilder, PollTiming, Transport};
use reflet_tokio::reflet_core::{
    Condition, Config, Failure, FailureClass, Health, Notice as Said, State, TimerReason, Timing,
};
use reflet_tokio::{Builder, Informer, Notice, Notices, Source};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::server::{Act, Request, Server};

/// Longer than anything that is waited for; simulated time costs nothing.
const PATIENCE: Duration = Duration::from_secs(3_600);

pub(crate) const POLLS: Transport = Transport::LongPoll(PollTiming {
    wait: Duration::from_secs(25),
    busy_interval: Duration::from_millis(50),
    idle_interval: Duration::from_secs(1),
});

/// Where in an informer's life the server goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    FirstList,
    /// The watch is answered by 410, and it is the list that goes wrong.
    Relist,
    Lines,
    Polls,
}

impl Phase {
    pub(crate) const ALL: [Self; 4] = [Self::FirstList, Self::Relist, Self::Lines, Self::Polls];
    pub(crate) const LISTS: [Self; 2] = [Self::FirstList, Self::Relist];
    pub(crate) const WATCHES: [Self; 2] = [Self::Lines, Self::Polls];
}

pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) informer: Informer<Arc<Value>>,
    notices: Notices,
    bound: Duration,
}

impl Rig {
    /// An informer of a server whose collection has two objects.
    pub(crate) fn new(transport: Transport) -> Self {
        Self::with(transport, &Server::new(), |builder| builder)
    }

    pub(crate) fn with(
        transport: Transport,
        server: &Server,
        setup: impl FnOnce(Builder<HttpSource<Value>>) -> Builder<HttpSource<Value>>,
    ) -> Self {
        Self::of(server, source(transport, server).build().unwrap(), setup)
    }

    pub(crate) fn of<S: Source<Value = Arc<Value>>>(
        server: &Server,
        source: S,
        setup: impl FnOnce(Builder<S>) -> Builder<S>,
    ) -> Self {
        server.world().put("a", "one");
        server.world().put("b", "two");
        let config = Config {
            source: source.profile(),
            ..Config::default()
        };
        let informer = setup(Informer::builder(source).seed(7)).start();
        Self {
            server: server.clone(),
            notices: informer.notices(),
            informer,
            bound: config.convergence_bound(),
        }
    }

    /// An informer at the point where `phase` begins to go wrong, as `behaviour` says.
    pub(crate) async fn at(
        phase: Phase,
        behaviour: impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        let transport = if phase == Phase::Polls {
            POLLS
        } else {
            Transport::JsonLines
        };
        Self::new(transport).turned(phase, behaviour).await
    }

    /// This one, at the point where `phase` begins to go wrong.
    pub(crate) async fn turned(
        mut self,
        phase: Phase,
        behaviour: impl Fn(&Request) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        if phase != Phase::FirstList {
            self.is_live().await;
        }
        self.server.turn(move |request| match phase {
            Phase::Relist if request.is_watch() => gone(),
            _ => behaviour(request),
        });
        self
    }

    /// Waits for what the informer says, and returns what `wanted` made of it.
    pub(crate) async fn notice<T>(
        &mut self,
        mut wanted: impl FnMut(&Said<Arc<str>>) -> Option<T>,
    ) -> T {
        let waited = timeout(PATIENCE, async {
            loop {
                if let Some(Notice::Engine(notice)) = self.notices.next().await
                    && let Some(found) = wanted(&notice)
                {
                    return found;
                }
            }
        });
        match waited.await {
            Ok(found) => found,
            Err(_) => panic!("not said: {:#?}", self.informer.health()),
        }
    }

    /// Waits until the informer says this.
    pub(crate) async fn says(&mut self, wanted: &Said<Arc<str>>) {
        self.notice(|notice| (notice == wanted).then_some(())).await;
    }

    /// What the informer has said since it was last listened to.
    pub(crate) fn heard(&mut self, mut look: impl FnMut(&Said<Arc<str>>)) {
        while let Some(Some(Notice::Engine(notice))) = self.notices.next().now_or_never() {
            look(&notice);
        }
    }

    /// Waits until an attempt has failed like this, and returns how.
    pub(crate) async fn failure(&mut self, class: FailureClass, words: &str) -> Failure {
        let mut others = Vec::new();
        self.notice(|notice| match notice {
            Said::Failed { failure, .. }
                if failure.class == class && failure.message.contains(words) =>
            {
                Some(failure.clone())
            }
            Said::Failed { failure, .. } => {
                others.push(failure.to_string());
                assert!(others.len() < 50, "{class}: {words} is not in {others:#?}");
                None
            }
            _ => None,
        })
        .await
    }

    /// Waits until an attempt has been given up for want of this.
    pub(crate) async fn timed_out(&mut self, what: TimerReason) {
        let wanted = |notice: &Said<_>| match notice {
            Said::TimedOut { reason, .. } => Some(*reason),
            _ => None,
        };
        assert_eq!(self.notice(wanted).await, what);
    }

    /// Waits until the health is as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Health<Arc<str>>) -> bool) {
        let started = Instant::now();
        while !wanted(&self.informer.health()) {
            let (waited, health) = (started.elapsed(), self.informer.health());
            assert!(waited < PATIENCE, "after {waited:?}: {health:#?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn is_live(&mut self) {
        self.until(|health| health.state == State::Live).await;
    }

    /// Lets simulated time pass.
    pub(crate) async fn run(&self, time: Duration) {
        sleep(time).await;
    }

    /// What the cache shows.
    pub(crate) fn shown(&self) -> Vec<(String, Value)> {
        let objects = self.informer.objects().into_iter();
        let mut shown: Vec<_> = objects
            .map(|(key, value)| (key.to_string(), (*value).clone()))
            .collect();
        shown.sort_by(|a, b| a.0.cmp(&b.0));
        shown
    }

    /// What the server has.
    pub(crate) fn truth(&self) -> Vec<(String, Value)> {
        let world = self.server.world();
        let objects = world.objects.iter();
        objects
            .map(|(key, (_, value))| (key.clone(), value.clone()))
            .collect()
    }

    /// The informer is in trouble for this reason, says when it goes on, and keeps what it had.
    pub(crate) fn suffers(&self, phase: Phase, reason: &Condition) {
        let health = self.informer.health();
        let (state, shown) = match phase {
            Phase::FirstList => (State::Syncing, vec![]),
            _ => (State::Stale, two()),
        };
        assert_eq!(health.state, state, "{health:#?}");
        assert_eq!(health.reason.as_ref(), Some(reason), "{health:#?}");
        assert_eq!(self.shown(), shown, "{health:#?}");
        assert!(health.next_attempt.is_some(), "{health:#?}");
        let due = health.deadline.expect("no next step").at;
        let wait = due.saturating_since(self.informer.now());
        assert!(wait <= Timing::default().max_retry_after, "{health:#?}");
    }

    /// Ten minutes of it change nothing and cost few requests; a sane server finds the informer
    /// back within the bound that its configuration promises.
    pub(crate) async fn survives(&mut self, phase: Phase) {
        self.run(Duration::from_secs(600)).await;
        let shown = if phase == Phase::FirstList {
            vec![]
        } else {
            two()
        };
        assert_eq!(self.shown(), shown, "{:#?}", self.informer.health());
        self.is_paced();
        self.recovers().await;
    }

    /// The server turns sane; so does the informer, and has what changed meanwhile.
    pub(crate) async fn recovers(&mut self) {
        self.server.world().put("c", "three");
        self.server.world().delete("a");
        self.server.turn_sane();
        let healed = Instant::now();
        self.until(|health| health.state == State::Live && self.shown() == self.truth())
            .await;
        let (took, bound) = (healed.elapsed(), self.bound);
        assert!(took <= bound, "{took:?} is over {bound:?}");
        self.is_paced();
    }

    /// In no window more requests began an attempt than the pacer allows, and none followed more
    /// redirects than it may (P7).
    pub(crate) fn is_paced(&self) {
        let Timing {
            burst,
            min_interval,
            ..
        } = Timing::default();
        let mut log = self.server.log();
        let mut redirects = 0;
        for request in &log {
            redirects = if request.is_redirected() {
                redirects + 1
            } else {
                0
            };
            assert!(redirects <= HttpLimits::default().redirects, "{log:#?}");
        }
        log.retain(Request::is_first);
        for (i, from) in log.iter().enumerate() {
            for (count, to) in (1..).zip(&log[i..]) {
                let window = (to.at - from.at).as_secs_f64() / min_interval.as_secs_f64();
                let allowed = f64::from(burst) + window;
                assert!(
                    f64::from(count) <= allowed,
                    "{count} attempts in {window} s: {log:#?}"
                );
            }
        }
    }
}

/// A source with limits that are soon reached.
pub(crate) fn source(transport: Transport, server: &Server) -> HttpSourceBuilder<Value> {
    HttpSource::<Value>::builder("http://server", "things")
        .connector(server.clone())
        .transport(transport)
        .limits(HttpLimits {
            page_bytes: 1 << 20,
            line_bytes: 64 << 10,
            ..HttpLimits::default()
        })
}

fn two() -> Vec<(String, Value)> {
    vec![
        ("a".to_owned(), "one".into()),
        ("b".to_owned(), "two".into()),
    ]
}

/// The history is gone.
pub(crate) fn gone() -> Vec<Act> {
    let body = r#"{"reason":"Gone","message":"too old"}"#;
    vec![Act::Send(crate::server::answer("410 Gone", "", body))]
}
