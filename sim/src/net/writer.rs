//! Who changes the collection, and how the replicas follow.

use std::sync::Arc;

use fastrand::Rng;
use madsim::time::sleep;
use reflet_tokio::serve::{
    Change, Collection, Continuity, Export, Precondition, RawValue, to_raw_value,
};

use super::books::{Object, State, Value};
use super::plan::{Writing, millis};
use super::server::WRITER;
use super::world::{World, lock};

/// How many backups are kept to go back to.
const BACKUPS: usize = 6;
/// How many objects a large transaction changes.
const BURST: usize = 300;

/// What was written, for the replicas, and states to go back to.
#[derive(Debug, Default)]
pub(super) struct Log {
    transactions: Vec<Transaction>,
    backups: Vec<Export>,
    numbers: u64,
}

#[derive(Clone, Debug)]
struct Transaction {
    epoch: Arc<str>,
    revision: u64,
    changes: Vec<Change>,
}

/// Writes until it is aborted.
pub(super) async fn write(world: Arc<World>, mut rng: Rng) {
    loop {
        let longest = world.plan.writing.pause.as_millis() as u64 + 1;
        sleep(millis(&mut rng, 0..longest)).await;
        world.transact(&mut rng);
    }
}

/// Lets a replica follow until it is aborted.
pub(super) async fn replicate(world: Arc<World>, index: usize, mut rng: Rng) {
    loop {
        let longest = world.plan.publishing.lag.as_millis() as u64 + 1;
        sleep(millis(&mut rng, 0..longest)).await;
        world.catch_up(index);
    }
}

impl World {
    /// Commits a random transaction, if the writer's server is up.
    pub(super) fn transact(&self, rng: &mut Rng) {
        let Some(collection) = self.servers[WRITER].collection() else {
            return;
        };
        let mut state = State::clone(self.reporter.books().state());
        let changes = self.changes(rng, &mut state);
        match collection.transaction(changes.clone()) {
            Ok(committed) => {
                let revision = committed.revision;
                let mut books = self.reporter.books();
                let expected = books.revision() + 1;
                books.enter(revision, Arc::new(state));
                drop(books);
                if revision != expected {
                    let words = format!("revision {revision} came instead of {expected}");
                    self.reporter.servers_fail(words);
                }
                self.note(rng, &collection, revision, changes);
            }
            Err(error) => self
                .reporter
                .servers_fail(format!("a write failed: {error}")),
        }
    }

    fn note(&self, rng: &mut Rng, collection: &Collection, revision: u64, changes: Vec<Change>) {
        self.reporter.count(|counts| counts.commits += 1);
        self.reporter
            .say(format_args!("write {revision}: {} changes", changes.len()));
        let mut log = lock(&self.log);
        log.transactions.push(Transaction {
            epoch: collection.epoch(),
            revision,
            changes,
        });
        if rng.u8(0..8) == 0 {
            log.backups.push(collection.export());
            let surplus = log.backups.len().saturating_sub(BACKUPS);
            log.backups.drain(..surplus);
        }
    }

    /// Random changes, which are made to `state` too.
    fn changes(&self, rng: &mut Rng, state: &mut State) -> Vec<Change> {
        let Writing {
            keys,
            poison,
            bursts,
            ..
        } = self.plan.writing;
        let (range, count) = match bursts && rng.u8(0..20) == 0 {
            true => (keys + BURST, BURST),
            false => (keys, rng.usize(1..=3)),
        };
        let first = rng.usize(..range);
        let deletes = rng.u8(0..3) == 0;
        let mut changes = Vec::new();
        for offset in 0..count.min(range) {
            let key: Arc<str> = format!("k{}", (first + offset) % range).into();
            let precondition = Precondition::None;
            if deletes && state.remove(&key).is_some() {
                let key = String::from(&*key);
                changes.push(Change::Delete { key, precondition });
                continue;
            }
            let spoilt = poison && rng.u8(0..10) == 0;
            let born = state.get(&key).map(|object| object.born);
            let Some((object, value)) = self.object(rng, born, spoilt) else {
                continue;
            };
            state.insert(Arc::clone(&key), object);
            let key = String::from(&*key);
            changes.push(Change::Put {
                key,
                value,
                precondition,
            });
        }
        changes
    }

    fn object(
        &self,
        rng: &mut Rng,
        born: Option<u64>,
        poison: bool,
    ) -> Option<(Object, Box<RawValue>)> {
        let history = self.reporter.books().history();
        let mut log = lock(&self.log);
        log.numbers += 1;
        let born = born.unwrap_or(log.numbers);
        if poison {
            let object = Object { born, value: None };
            return Some((object, to_raw_value("poison").ok()?));
        }
        let value = Value {
            number: log.numbers,
            born,
            history,
            group: rng.u8(0..4),
            pad: "x".repeat(rng.usize(0..60)),
        };
        let raw = to_raw_value(&value).ok()?;
        let value = Arc::new(value);
        self.reporter.books().write(&value);
        let value = Some(value);
        Some((Object { born, value }, raw))
    }

    /// Brings a replica to where the writer is.
    pub(super) fn catch_up(&self, index: usize) {
        let Some(replica) = self.servers[index].collection() else {
            return;
        };
        let Some(truth) = self.servers[WRITER].disk() else {
            return;
        };
        if *replica.epoch() != *truth.epoch {
            if let Err(error) = replica.restore(&truth, Continuity::SameEpoch) {
                let words = format!("a replica cannot be restored: {error}");
                self.reporter.servers_fail(words);
            }
            self.reporter.say(format_args!(
                "server {index} takes over {}@{}",
                truth.epoch, truth.revision
            ));
            return;
        }
        let (epoch, from) = (replica.epoch(), replica.revision());
        let log = lock(&self.log);
        let news = log.transactions.iter();
        let news = news.filter(|one| one.epoch == epoch && one.revision > from);
        let news: Vec<_> = news.cloned().collect();
        drop(log);
        for Transaction {
            revision, changes, ..
        } in news
        {
            let same = replica.transaction(changes);
            if !same.is_ok_and(|committed| committed.revision == revision) {
                let words = format!("a replica cannot follow to {revision}");
                self.reporter.servers_fail(words);
            }
        }
    }

    /// Whether a replica holds what the writer does.
    pub(super) fn has_caught_up(&self, index: usize) -> bool {
        let truth = self.servers[WRITER].collection();
        let replica = self.servers[index].collection();
        match (truth, replica) {
            (Some(truth), Some(replica)) => {
                truth.epoch() == replica.epoch()
                    && truth.revision() == replica.revision()
                    && truth.digest() == replica.digest()
            }
            _ => false,
        }
    }

    /// An older state of the collection, if one was kept.
    pub(super) fn backup(&self, rng: &mut Rng) -> Option<Export> {
        let log = lock(&self.log);
        rng.choice(log.backups.iter()).cloned()
    }
}
