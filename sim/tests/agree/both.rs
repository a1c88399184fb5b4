//! A model and a server to which the same things happen.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use real_reflet::serve::{Collection, CollectionOptions, Continuity, EXPORT_FORMAT, Export};
use reflet_core::FailureClass;
use reflet_sim::world::{Feed, Object, Poison, Shape, Word, World};
use serde_json::{Value, json};

use crate::client::{Client, Reply, number};
use crate::lists::TwoLists;
use crate::script::{From, KEYS, Step};
use crate::situation::Situation;
use crate::watches::TwoWatches;

/// What our protocol promises.
const SHAPE: Shape = Shape {
    feed: Feed::ListWatch,
    fuzzy: false,
    opaque: false,
    batch_ends: true,
    predecessors: true,
    digests: true,
    versions_ordered: true,
    commit_revisions: true,
    heartbeat: true,
    epochs: true,
    uids: false,
    terse: false,
    careless: false,
    patient: false,
    gone_inside: false,
};

pub(crate) struct Both {
    pub(crate) world: World,
    things: Collection,
    pub(crate) client: Client,
    /// How many transactions the history holds at most.
    kept: usize,
    /// The server's names of the model's epochs.
    epochs: Vec<String>,
    /// A backup after each transaction of the present history.
    backups: Vec<Export>,
    lists: Vec<TwoLists>,
    watches: Vec<TwoWatches>,
    pub(crate) seen: RefCell<BTreeSet<Situation>>,
}

impl Both {
    pub(crate) fn new(kept: usize) -> Self {
        let world = World::new(SHAPE, KEYS, 1);
        // The model begins at revision 1.
        let beginning = Export {
            format: EXPORT_FORMAT,
            name: "things".into(),
            epoch: "none".into(),
            revision: world.place().head,
            objects: Vec::new(),
        };
        let things = Collection::restored(&beginning, Continuity::NewEpoch, options(kept)).unwrap();
        Self {
            world,
            client: Client::new(&things),
            kept,
            epochs: vec![things.epoch().to_string()],
            backups: vec![things.export()],
            things,
            lists: Vec::new(),
            watches: Vec::new(),
            seen: RefCell::default(),
        }
    }

    pub(crate) fn saw(&self, situation: Situation) {
        self.seen.borrow_mut().insert(situation);
    }

    pub(crate) async fn step(&mut self, step: &Step) {
        match step {
            Step::Write(puts, deletes) => self.write(puts, deletes).await,
            Step::Compact(keep) => {
                self.world.compact(*keep);
                self.things.compact(self.world.now().compacted);
            }
            Step::Restore(back) => self.restore(*back),
            Step::Restart => self.restart(),
            Step::Get(key) => self.get(*key).await,
            Step::List(limit, least) => {
                let at_least = least.map(|least| self.near(-least));
                let list = TwoLists::new(self, *limit, at_least);
                self.lists.push(list);
                self.next_page(self.lists.len() - 1).await;
            }
            Step::NextPage(list) => {
                if let Some(list) = list.checked_rem(self.lists.len()) {
                    self.next_page(list).await;
                }
            }
            Step::Watch(from) => {
                let (from, epoch) = (self.near(from.back), self.epoch_of(from));
                let opened = TwoWatches::open(self, from, epoch).await;
                self.watches.extend(opened);
            }
            Step::Read(watch, count) => self.read(*watch, *count, false).await,
            Step::ReadAll(watch) => self.read(*watch, usize::MAX, true).await,
            Step::Poll(from, limit) => {
                let (from, epoch) = (self.near(from.back), self.epoch_of(from));
                crate::watches::poll(self, from, epoch, *limit).await;
            }
        }
        assert_eq!(self.things.revision(), self.world.place().head);
        assert_eq!(self.things.oldest_revision(), self.world.now().compacted);
        assert_eq!(self.things.digest(), self.world.now().last().digest);
    }

    /// A transaction that both can make: no key twice, and nothing deleted that is not there.
    async fn write(&mut self, puts: &[u32], deletes: &[u32]) {
        let state = self.world.truth();
        let mut changes: BTreeMap<u32, bool> = puts.iter().map(|key| (*key, true)).collect();
        let deletes = deletes.iter().filter(|key| state.contains_key(*key));
        changes.extend(deletes.map(|key| (*key, false)));
        if changes.is_empty() {
            return;
        }
        let of = |put| {
            let chosen = changes.iter().filter(move |(_, is_put)| **is_put == put);
            chosen.map(|(key, _)| *key).collect::<Vec<_>>()
        };
        self.world.write(of(true), of(false), Poison::None, 1);
        self.world.sync_all();

        let tx = self.world.now().last();
        let asked = changes.keys().map(|key| {
            let name = &self.world.names[*key as usize];
            match tx.changes[key].after {
                Some(object) => json!({"op": "put", "key": name, "value": object.write}),
                None => json!({"op": "delete", "key": name}),
            }
        });
        let body = json!({"changes": asked.collect::<Vec<_>>()});
        let reply = self.client.post(&body).await;
        assert_eq!(reply.failure(), None, "{reply:?}");
        assert_eq!(number(&reply.body["revision"]), tx.revision);
        let written = reply.body["written"].as_array().unwrap();
        assert_eq!(written.len(), tx.changes.len());
        for (written, change) in written.iter().zip(tx.changes.values()) {
            assert_eq!(self.key(&written["key"]), change.key);
            assert_eq!(number(&written["version"]), tx.revision);
            let object = change.after.or(change.before).unwrap();
            let born = number(&written["uid"]);
            assert_eq!(self.uid(self.world.epoch(), change.key, born), object.uid);
            let mut earlier = self.world.now().txs.iter().rev().skip(1);
            if change.before.is_none() && earlier.any(|tx| tx.changes.contains_key(&change.key)) {
                self.saw(Situation::Recreated);
            }
        }
        self.backups.push(self.things.export());
        self.world.compact(self.kept + 1);
    }

    fn restore(&mut self, back: usize) {
        let last = self.backups.len().saturating_sub(back + 1);
        self.backups.truncate(last + 1);
        let backup = &self.backups[last];
        self.things.restore(backup, Continuity::NewEpoch).unwrap();
        self.epochs.push(self.things.epoch().to_string());
        self.world.restore(back);
        self.world.sync_all();
        // A restored server has no history.
        self.world.compact(0);
    }

    fn restart(&mut self) {
        let export = self.things.export();
        let options = options(self.kept);
        self.things = Collection::restored(&export, Continuity::SameEpoch, options).unwrap();
        self.client = Client::new(&self.things);
        self.world.compact(0);
        // The connections are gone; the tokens of the lists are not.
        self.watches.clear();
    }

    async fn get(&mut self, key: u32) {
        let reply = self
            .client
            .get(&format!("/{}", self.world.names[key as usize]))
            .await;
        self.is_of_now(&reply);
        let epoch = self.world.epoch();
        match self.world.truth().get(&key) {
            Some(object) => assert_eq!(self.object(epoch, &reply.body), (key, *object)),
            None => assert_eq!(
                reply.failure(),
                Some(Word::Failed(FailureClass::NotFound, None))
            ),
        }
    }

    async fn next_page(&mut self, index: usize) {
        let mut list = self.lists.swap_remove(index);
        if list.next_page(self).await {
            self.lists.push(list);
        }
    }

    async fn read(&mut self, watch: usize, count: usize, to_the_end: bool) {
        let Some(index) = watch.checked_rem(self.watches.len()) else {
            return;
        };
        let mut watch = self.watches.swap_remove(index);
        if watch.read(self, count).await {
            if to_the_end {
                watch.is_quiet(self).await;
            }
            self.watches.push(watch);
        }
    }

    /// A revision that is so far back from the newest one.
    fn near(&self, back: i8) -> u64 {
        let head = self.world.place().head;
        head.saturating_add_signed(-i64::from(back))
    }

    /// The number of the epoch, and the server's name for it.
    fn epoch_of(&self, from: &From) -> Option<usize> {
        let back = from.epoch?;
        Some(self.world.epoch().saturating_sub(back))
    }

    pub(crate) fn epoch_name(&self, epoch: usize) -> &str {
        &self.epochs[epoch]
    }

    /// The number of an epoch that the server named.
    pub(crate) fn epoch_number(&self, name: &str) -> usize {
        let known = self.epochs.iter().position(|epoch| epoch == name);
        known.expect("an epoch that was")
    }

    /// The answer tells of the present.
    pub(crate) fn is_of_now(&self, reply: &Reply) {
        assert_eq!(self.epoch_number(&reply.epoch), self.world.epoch());
        assert_eq!(reply.revision, self.world.place().head);
    }

    pub(crate) fn key(&self, name: &Value) -> u32 {
        self.world.key(name.as_str().unwrap()).unwrap()
    }

    /// An object that the server showed.
    pub(crate) fn object(&self, epoch: usize, shown: &Value) -> (u32, Object) {
        let key = self.key(&shown["key"]);
        let born = number(&shown["uid"]);
        let object = Object {
            version: number(&shown["version"]),
            uid: self.uid(epoch, key, born),
            write: shown["value"].as_u64().unwrap(),
            poison: Poison::None,
        };
        (key, object)
    }

    /// What the model calls the incarnation that was born at a revision.
    pub(crate) fn uid(&self, epoch: usize, key: u32, born: u64) -> u64 {
        let tx = self.world.histories[epoch].at(born);
        let change = tx.changes.get(&key).filter(|_| tx.revision == born);
        let change = change.expect("a transaction that wrote the key");
        assert_eq!(change.before, None, "it was there already");
        change.after.expect("a birth").uid
    }
}

fn options(kept: usize) -> CollectionOptions {
    let mut options = CollectionOptions::default();
    options.history_transactions = kept;
    // One transaction at a time, so that what a watch has not read yet can be forgotten.
    options.watcher_buffer_bytes = 1;
    options
}
