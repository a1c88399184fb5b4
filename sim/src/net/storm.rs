//! What goes wrong, one fault after the other and over each other, and how all of it ends.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use madsim::net::NetSim;
use madsim::runtime::{Handle, NodeHandle};
use madsim::task::{JoinHandle, NodeId};
use madsim::time::sleep;
use reflet_core::Verify;
use reflet_tokio::serve::Continuity;

use super::body::Damage;
use super::plan::{Fault, millis, one_of};
use super::server::{Mood, WRITER};
use super::world::{World, lock};

/// How long a packet takes in good times.
pub(super) const LATENCY: Range<Duration> = Duration::from_millis(1)..Duration::from_millis(10);
/// How long a process takes to start.
const START: Duration = Duration::from_secs(1);

/// The nodes, and what is wrong with them.
#[derive(Clone)]
pub(super) struct Storm {
    pub(super) world: Arc<World>,
    pub(super) net: Arc<NetSim>,
    servers: Arc<[NodeHandle]>,
    clients: Arc<[NodeHandle]>,
    /// Nodes whose process has to be started again.
    broken: Arc<Mutex<BTreeSet<NodeId>>>,
}

impl Storm {
    pub(super) fn new(
        world: &Arc<World>,
        servers: Vec<NodeHandle>,
        clients: Vec<NodeHandle>,
    ) -> Self {
        Self {
            world: Arc::clone(world),
            net: NetSim::current(),
            servers: servers.into(),
            clients: clients.into(),
            broken: Arc::default(),
        }
    }

    /// Inflicts faults until the time is over or a promise is broken.
    pub(super) async fn rage(&self, rng: &mut Rng) {
        let plan = &self.world.plan;
        let mut raging: Vec<JoinHandle<()>> = Vec::new();
        let longest = plan.fault_pause.as_millis() as u64 + 1;
        while self.world.reporter.now() < plan.storm && !self.world.reporter.is_broken() {
            sleep(millis(rng, 0..longest)).await;
            let Some(fault) = rng.choice(plan.faults.iter()) else {
                continue;
            };
            let (storm, fault, mut rng) = (self.clone(), *fault, rng.fork());
            raging.push(madsim::task::spawn(async move {
                let long = millis(&mut rng, 100..12_000);
                storm.inflict(fault, long, rng).await;
            }));
        }
        raging.into_iter().for_each(|fault| fault.abort());
    }

    /// Everything works again.
    pub(super) async fn heal(&self) {
        let world = &self.world;
        world.reporter.say("healed");
        world.generous.store(true, Ordering::Relaxed);
        world.connects_vanish.store(false, Ordering::Relaxed);
        self.calm();
        let nodes = self.servers.iter().chain(self.clients.iter());
        let ids: Vec<_> = nodes.map(NodeHandle::id).collect();
        for id in &ids {
            self.net.unclog_node(*id);
            Handle::current().resume(*id);
            for other in &ids {
                self.net.unclog_link(*id, *other);
            }
        }
        for (index, node) in self.servers.iter().enumerate() {
            world.servers[index].set_mood(Mood::Good);
            let stingy = world.plan.publishing.watchers < usize::from(u8::MAX);
            if stingy || lock(&self.broken).contains(&node.id()) {
                self.restart_server(index);
            }
        }
        for (index, node) in self.clients.iter().enumerate() {
            if lock(&self.broken).contains(&node.id()) {
                self.restart_client(index);
            }
        }
        sleep(START).await;
    }

    fn calm(&self) {
        self.net.update_config(|config| {
            config.packet_loss_rate = 0.0;
            config.send_latency = LATENCY;
        });
    }

    /// Something goes wrong for so long.
    pub(super) async fn inflict(&self, fault: Fault, long: Duration, mut rng: Rng) {
        let world = &self.world;
        world.reporter.count(|counts| counts.faults += 1);
        let server = rng.usize(..self.servers.len());
        let client = rng.usize(..self.clients.len());
        world.reporter.say(format_args!(
            "fault {fault:?}: server {server}, client {client}"
        ));
        match fault {
            Fault::CutOff | Fault::Deaf | Fault::Dumb | Fault::OneWay => {
                self.clog(fault, server, client, long, &mut rng).await;
            }
            Fault::Loss => {
                let rate = f64::from(rng.u8(5..60)) / 100.0;
                self.net.update_config(|net| net.packet_loss_rate = rate);
                sleep(long).await;
                self.calm();
            }
            Fault::Latency => {
                let most = millis(&mut rng, 20..3_000);
                self.net
                    .update_config(|net| net.send_latency = LATENCY.start..most);
                sleep(long).await;
                self.calm();
            }
            Fault::KillServer | Fault::Drain => {
                self.stop_server(fault, server, long).await;
                self.restart_server(server);
            }
            Fault::KillClient => {
                self.kill_client(client);
                sleep(long).await;
                self.restart_client(client);
            }
            Fault::Pause => {
                Handle::current().pause(self.servers[server].id());
                sleep(long).await;
                Handle::current().resume(self.servers[server].id());
            }
            Fault::Hang | Fault::Refuse | Fault::CutAnswers | Fault::EndAnswers | Fault::Garble => {
                let mood = mood(fault, &mut rng);
                world.servers[server].set_mood(mood);
                sleep(long).await;
                world.servers[server].set_mood(Mood::Good);
            }
            Fault::Reset => world.servers[server].reset(),
            Fault::Compact => {
                if let Some(collection) = world.servers[server].collection() {
                    let back = one_of(&mut rng, &[0, 2, 10]);
                    collection.compact(collection.revision().saturating_sub(back));
                }
            }
            Fault::GoBack => self.go_back(long, &mut rng).await,
            Fault::VanishingConnects => {
                world.connects_vanish.store(true, Ordering::Relaxed);
                sleep(long).await;
                world.connects_vanish.store(false, Ordering::Relaxed);
            }
            Fault::Verify => {
                let mode = one_of(&mut rng, &[Verify::Versions, Verify::Content]);
                if let Some(watched) = rng.choice(world.watched()) {
                    watched.informer.verify(mode);
                }
            }
        }
    }

    async fn clog(
        &self,
        fault: Fault,
        server: usize,
        client: usize,
        long: Duration,
        rng: &mut Rng,
    ) {
        let (server, client) = (self.servers[server].id(), self.clients[client].id());
        let node = one_of(rng, &[server, client]);
        let (from, to) = one_of(rng, &[(server, client), (client, server)]);
        let net = &self.net;
        match fault {
            Fault::Deaf => net.clog_node_in(node),
            Fault::Dumb => net.clog_node_out(node),
            Fault::OneWay => net.clog_link(from, to),
            _ => net.clog_node(node),
        }
        sleep(long).await;
        match fault {
            Fault::Deaf => net.unclog_node_in(node),
            Fault::Dumb => net.unclog_node_out(node),
            Fault::OneWay => net.unclog_link(from, to),
            _ => net.unclog_node(node),
        }
    }

    async fn stop_server(&self, fault: Fault, index: usize, long: Duration) {
        let server = &self.world.servers[index];
        lock(&self.broken).insert(self.servers[index].id());
        if fault == Fault::Drain
            && let Some(collection) = server.collection()
        {
            // Whoever waits for news is woken by both at once.
            self.world
                .transact(&mut Rng::with_seed(long.as_micros() as u64));
            collection.close();
            return sleep(long).await;
        }
        server.down();
        Handle::current().kill(self.servers[index].id());
        sleep(long).await;
    }

    fn restart_server(&self, index: usize) {
        self.world.servers[index].down();
        let id = self.servers[index].id();
        lock(&self.broken).remove(&id);
        // A restart alone would leave the sockets bound.
        Handle::current().kill(id);
        Handle::current().restart(id);
    }

    fn kill_client(&self, index: usize) {
        let id = self.clients[index].id();
        lock(&self.broken).insert(id);
        Handle::current().kill(id);
        lock(&self.world.watched).retain(|watched| watched.client != index);
    }

    fn restart_client(&self, index: usize) {
        self.kill_client(index);
        let id = self.clients[index].id();
        lock(&self.broken).remove(&id);
        Handle::current().restart(id);
    }

    /// The collection goes back to a backup: while its server runs, or by a restart from it.
    async fn go_back(&self, long: Duration, rng: &mut Rng) {
        let world = &self.world;
        let Some(backup) = world.backup(rng) else {
            return;
        };
        if rng.bool() {
            lock(&self.broken).insert(self.servers[WRITER].id());
            world.servers[WRITER].down();
            Handle::current().kill(self.servers[WRITER].id());
            sleep(long).await;
            world.servers[WRITER].go_back(backup);
            return self.restart_server(WRITER);
        }
        let Some(collection) = world.servers[WRITER].collection() else {
            return;
        };
        match collection.restore(&backup, Continuity::NewEpoch) {
            Ok(()) => world.went_back(&backup, &collection.epoch()),
            Err(error) => {
                let words = format!("the collection cannot go back: {error}");
                world.reporter.servers_fail(words);
            }
        }
    }
}

fn mood(fault: Fault, rng: &mut Rng) -> Mood {
    let after = one_of(rng, &[0, 30, 100, 300, 1_000, 5_000]);
    let after = after + rng.usize(..20);
    match fault {
        Fault::Hang => Mood::Hung,
        Fault::CutAnswers => Mood::Damaging(Damage::Cut, after),
        Fault::EndAnswers => Mood::Damaging(Damage::End, after),
        Fault::Garble => Mood::Damaging(Damage::Garble, after),
        _ => {
            let status = one_of(rng, &[429, 500, 503, 403, 404, 502]);
            let wait = one_of(rng, &[None, Some(0), Some(1), Some(4), Some(3_600)]);
            Mood::Refusing(status, wait)
        }
    }
}
