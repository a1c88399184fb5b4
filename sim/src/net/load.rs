//! Progress under load: the writer and one kind of fault never stop, and yet no informer falls
//! further behind than its bound (P1).

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use madsim::time::sleep;
use reflet_core::probe;

use super::client::Watched;
use super::plan::{Fault, millis};
use super::run::{AUDIT, bound};
use super::storm::{LATENCY, Storm};
use super::world::World;
use crate::oracles::{Broken, Lag};

/// For how much longer than the bound it goes on: so long the lag is looked at.
const LOOK: Duration = Duration::from_secs(20);

impl Storm {
    /// Inflicts one kind of fault for ever: all the time a little of it, or again and again.
    pub(super) async fn annoy(self, nuisance: Fault, mut rng: Rng) {
        match nuisance {
            Fault::Loss => {
                let rate = f64::from(rng.u8(5..20)) / 100.0;
                self.net.update_config(|net| net.packet_loss_rate = rate);
                pending().await
            }
            Fault::Latency => {
                let most = millis(&mut rng, 50..200);
                self.net
                    .update_config(|net| net.send_latency = LATENCY.start..most);
                pending().await
            }
            _ => loop {
                // Mostly the source answers: it may need as long as opening something takes.
                sleep(millis(&mut rng, 2_000..8_000)).await;
                let long = millis(&mut rng, 100..2_000);
                self.inflict(nuisance, long, rng.fork()).await;
            },
        }
    }

    /// Looks at the lag while it all goes on.
    pub(super) async fn load(&self, nuisance: Fault, rng: Rng) {
        let world = &self.world;
        world
            .reporter
            .say(format_args!("fault {nuisance:?} from now on"));
        let annoying = madsim::task::spawn(self.clone().annoy(nuisance, rng));
        let bounds = world.watched().into_iter();
        let longest = bounds.map(|watched| bound(world, &watched)).max();
        let until = world.reporter.now() + longest.unwrap_or_default() + LOOK;
        let mut lags = BTreeMap::new();
        while world.reporter.now() < until && !world.reporter.is_broken() {
            sleep(AUDIT).await;
            for watched in world.watched() {
                let lag = lags.entry(watched.name.clone());
                let lag = lag.or_insert_with(|| Lag::new(bound(world, &watched)));
                look(world, &watched, lag);
            }
        }
        annoying.abort();
        probe::count("lag bounded while a fault never stops");
    }
}

fn look(world: &World, watched: &Arc<Watched>, lag: &mut Lag) {
    let (head, shown) = {
        let books = world.reporter.books();
        (books.revision(), watched.shows(books.epoch()))
    };
    let checked = lag.check(world.reporter.clock(), head, shown);
    let checked = checked.map_err(|Broken { promise, message }| Broken {
        promise,
        message: format!("{message}; {:?}", watched.informer.health()),
    });
    world.reporter.check(&watched.name, checked);
}
