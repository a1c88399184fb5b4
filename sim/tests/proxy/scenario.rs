//! One seed's story: faults while the writer writes, then none, then the truth.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use real_reflet::http::rest::RestSource;
use real_reflet::http::{HttpSource, Transport};
use real_reflet::reflet_core::{State, Timing};
use real_reflet::{Informer, Source};
use real_tokio::sync::watch;
use real_tokio::task::JoinSet;
use real_tokio::time::sleep;

use crate::connector::Connector;
use crate::follower::{Follower, hear};
use crate::plan::{Account, Fault};
use crate::protocol::{Travel, mapping};
use crate::proxy::Proxy;
use crate::server::{HEARTBEAT, Server};
use crate::truth::{Thing, Truth, Writer};

/// Only ever ends a test that has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(5);
/// So many connections are spoilt before the proxy behaves.
const SPOILT: u64 = 20;

/// Everybody who takes part.
struct Scene {
    server: Server,
    account: Account,
    proxy: Proxy,
    informer: Informer<Arc<Thing>>,
    writer: Writer,
    /// Each has a promise to break, and fails when it is broken.
    witnesses: JoinSet<()>,
    reached: Vec<watch::Receiver<u64>>,
    began: Instant,
}

/// How the informer follows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// By the source that is made for this server.
    Own(Transport),
    /// By a mapping, as it would follow any service.
    Mapped(Travel),
}

/// Runs one seed, and returns what happened to its connections.
pub(crate) async fn run(seed: u64, way: Way) -> BTreeMap<Fault, u64> {
    let mut scene = Scene::new(seed, way);
    while scene.account.spoilt() < SPOILT {
        scene.writer.write();
        scene.goes_on("faults").await;
    }
    scene.proxy.heal();
    (0..10).for_each(|_| scene.writer.write());
    while !scene.has_converged() {
        scene.goes_on("convergence").await;
    }
    scene.informer.shutdown().await;
    while let Some(witness) = scene.witnesses.join_next().await {
        witness.unwrap();
    }
    scene.account.counts()
}

impl Scene {
    fn new(seed: u64, way: Way) -> Self {
        let (account, truth) = (Account::default(), Truth::default());
        let server = Server::start(account.clone());
        let writer = Writer::new(server.things.clone(), truth.clone(), seed);
        let proxy = Proxy::start(seed, server.address, account.clone());
        let url = format!("http://{}", proxy.address());
        let connector = Connector(account.clone());
        let informer = match way {
            Way::Own(transport) => {
                let source = HttpSource::<Thing>::builder(&url, "things")
                    .connector(connector)
                    .transport(transport)
                    .heartbeat(HEARTBEAT * 2);
                informer(source.build().unwrap(), seed)
            }
            Way::Mapped(travel) => {
                let quiet = u64::try_from((HEARTBEAT * 2).as_millis()).unwrap();
                let mapping = mapping("things", travel, quiet);
                let mapping = serde_json::from_value(mapping).unwrap();
                let source = RestSource::<Thing>::builder(&url, mapping).connector(connector);
                informer(source.build().unwrap(), seed)
            }
        };

        let mut witnesses = JoinSet::new();
        witnesses.spawn(hear(informer.notices()));
        let everything: fn(u64) -> bool = |_| true;
        let every_third: fn(u64) -> bool = |number| number.is_multiple_of(3);
        let mut reached = Vec::new();
        for (belongs, pause) in [(everything, 0), (every_third, 0), (everything, 40)] {
            let (sender, receiver) = watch::channel(0);
            reached.push(receiver);
            let pause = Duration::from_millis(pause);
            let (informer, truth) = (informer.clone(), truth.clone());
            witnesses.spawn(Follower::follow(informer, truth, belongs, pause, sender));
        }
        Self {
            server,
            account,
            proxy,
            informer,
            writer,
            witnesses,
            reached,
            began: Instant::now(),
        }
    }

    /// Everybody is at work, and it does not take for ever.
    async fn goes_on(&mut self, what: &str) {
        sleep(PAUSE).await;
        if let Some(witness) = self.witnesses.try_join_next() {
            witness.unwrap();
            panic!("the informer has ended");
        }
        assert!(!self.proxy.is_broken() && !self.server.is_broken());
        assert!(!self.informer.status().borrow().stopped);
        assert!(
            self.began.elapsed() < PATIENCE,
            "waited for {what} in vain: {:#?}, {:?}",
            self.informer.health(),
            self.account.counts(),
        );
    }

    /// The informer has what the server has, and everybody was told.
    fn has_converged(&self) -> bool {
        let (revision, state) = self.writer.last();
        let told = self
            .reached
            .iter()
            .all(|reached| *reached.borrow() == revision);
        if !told || self.informer.health().state != State::Live {
            return false;
        }
        let shown = self.informer.objects().into_iter();
        let shown: BTreeMap<_, _> = shown.map(|(key, thing)| (key, thing.number)).collect();
        assert_eq!(&shown, state, "P1: at {revision}");
        true
    }
}

fn informer(source: impl Source<Value = Arc<Thing>>, seed: u64) -> Informer<Arc<Thing>> {
    Informer::builder(source)
        .seed(seed)
        .timing(impatient)
        .limits(|limits| limits.page_items = 20)
        .start()
}

/// Faults are to be noticed at once: there are many.
fn impatient(timing: &mut Timing) {
    *timing = Timing {
        open_timeout: Duration::from_millis(250),
        page_timeout: Duration::from_millis(250),
        list_deadline: Duration::from_secs(5),
        burst: 100,
        min_interval: Duration::from_millis(1),
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(10),
        slow_retry: Duration::from_millis(50),
        max_retry_after: Duration::from_millis(50),
        stable_after: Duration::from_millis(50),
        verify_min_interval: Duration::from_millis(50),
        ..Timing::default()
    };
}
