//! A small rig that plays the driver and the source, so that a scenario reads in a few lines.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::panic,
    reason = "each test file uses its own part of the rig, and a rig may panic"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reflet_core::cache::{Delta, Mark, Polled, SubscriberId, Subscription};
use reflet_core::{
    Attempt, Body, Change, Command, Condition, Config, Epoch, Event, Failure, FailureClass, Health,
    Informer, Input, Item, Notice, Removal, Revision, RevisionOrder, SourceProfile, State,
    Timestamp, VersionRef, WatchFrom,
};

/// A payload: enough to tell one content from another.
pub type Value = u64;

pub struct Rig {
    pub informer: Informer<Arc<str>, Value>,
    pub now: Timestamp,
    pub mirror: Mirror,
}

/// What one subscriber knows by folding its deltas; each fold checks P4.
pub struct Mirror {
    pub id: SubscriberId,
    /// Whether revisions have an order, so that going back can be seen (P2).
    ordered: bool,
    pub objects: BTreeMap<Arc<str>, Value>,
    pub marks: Vec<Mark>,
    pub log: Vec<Delta<Arc<str>, Value>>,
}

/// A source with everything that our protocol offers.
pub fn full_profile() -> SourceProfile {
    SourceProfile {
        batch_ends: true,
        predecessors: true,
        digests: true,
        versions_ordered: true,
        commit_revisions: true,
        heartbeat: Some(Duration::from_secs(10)),
        ..SourceProfile::default()
    }
}

/// Like Kubernetes: ordered, but without batch ends and gap detection.
pub fn plain_profile() -> SourceProfile {
    SourceProfile {
        versions_ordered: true,
        ..SourceProfile::default()
    }
}

pub fn config(source: SourceProfile) -> Config {
    let mut config = Config {
        source,
        ..Config::default()
    };
    config.timing.min_interval = Duration::from_millis(10);
    config.timing.burst = 100;
    config
}

impl Rig {
    pub fn new(config: Config) -> Self {
        let now = Timestamp::from_millis(1_000);
        let mut informer = Informer::new(config, 7, now);
        informer.set_content_eq(|a, b| a == b);
        let mirror = Mirror::new(&mut informer);
        Self {
            informer,
            now,
            mirror,
        }
    }

    /// A rig whose first list (a=1, b=2 at revision 10) is in, and whose watch is open.
    pub fn watching(config: Config) -> (Self, Attempt) {
        let mut rig = Self::new(config);
        let list = rig.expect_list();
        rig.list(list, 10, &[("a", 1), ("b", 2)]);
        let watch = rig.expect_watch(10);
        rig.opened(watch);
        rig.drain();
        rig.notices();
        (rig, watch)
    }

    pub fn command(&mut self) -> Option<Command> {
        self.informer.poll_command()
    }

    /// The next command, which must be a first page; passes cancels by.
    pub fn expect_list(&mut self) -> Attempt {
        match self.next_start() {
            Some(Command::List {
                attempt,
                page: None,
                ..
            }) => attempt,
            other => panic!("expected a list, got {other:?}"),
        }
    }

    pub fn expect_watch(&mut self, from: u64) -> Attempt {
        match self.next_start() {
            Some(Command::Watch {
                attempt,
                from: WatchFrom::Revision(revision),
                ..
            }) => {
                assert_eq!(revision, Revision::from(from));
                attempt
            }
            other => panic!("expected a watch from {from}, got {other:?}"),
        }
    }

    /// The next command that starts something, after waiting for it if need be.
    pub fn next_start(&mut self) -> Option<Command> {
        for _ in 0..10_000 {
            match self.command() {
                Some(Command::Cancel { .. }) => {}
                Some(command) => return Some(command),
                None => {
                    let deadline = self.informer.poll_timeout()?;
                    assert!(
                        self.informer.health().next_attempt.is_some(),
                        "nothing waits to start, and nothing was commanded: {deadline:?}"
                    );
                    self.pass_until(deadline.at);
                }
            }
        }
        panic!("no attempt starts");
    }

    pub fn pass(&mut self, time: Duration) {
        self.pass_until(self.now.saturating_add(time));
    }

    /// Time passes; each deadline on the way is kept.
    pub fn pass_until(&mut self, until: Timestamp) {
        for _ in 0..100_000 {
            match self.informer.poll_timeout() {
                Some(deadline) if deadline.at <= until => {
                    self.now = self.now.max(deadline.at);
                    self.informer.handle_timeout(self.now);
                }
                _ => {
                    self.now = self.now.max(until);
                    return;
                }
            }
        }
        panic!("time stands still: {:?}", self.informer.poll_timeout());
    }

    pub fn say(&mut self, attempt: Attempt, input: Input<'_, Arc<str>, Value>) {
        self.informer.handle(self.now, attempt, input);
    }

    pub fn list(&mut self, attempt: Attempt, revision: u64, items: &[(&str, Value)]) {
        self.page(attempt, None, revision, items, None);
    }

    /// Items whose version is their value.
    pub fn page(
        &mut self,
        attempt: Attempt,
        epoch: Option<&str>,
        revision: u64,
        items: &[(&str, Value)],
        next: Option<&str>,
    ) {
        self.say(
            attempt,
            Input::Page {
                epoch: epoch.map(Epoch::new),
                revision: Some(revision.into()),
            },
        );
        for (key, value) in items {
            self.say(attempt, Input::Item(item(key, *value)));
        }
        self.say(attempt, Input::PageEnd { next });
    }

    pub fn opened(&mut self, attempt: Attempt) {
        self.say(attempt, Input::Opened { epoch: None });
    }

    pub fn put(&mut self, attempt: Attempt, revision: u64, key: &str, value: Value) {
        let change = Change::Upsert(item(key, value));
        self.say(
            attempt,
            Input::Event(Event {
                change,
                revision: Some(revision.into()),
                previous: None,
            }),
        );
    }

    pub fn put_after(
        &mut self,
        attempt: Attempt,
        previous: u64,
        revision: u64,
        key: &str,
        value: Value,
    ) {
        let change = Change::Upsert(item(key, value));
        let (revision, previous) = (Some(revision.into()), Some(previous.into()));
        self.say(
            attempt,
            Input::Event(Event {
                change,
                revision,
                previous,
            }),
        );
    }

    pub fn delete(&mut self, attempt: Attempt, revision: u64, key: &str) {
        let change = Change::Delete(Removal {
            key,
            version: None,
            incarnation: None,
            last: None,
            size: 10,
        });
        self.say(
            attempt,
            Input::Event(Event {
                change,
                revision: Some(revision.into()),
                previous: None,
            }),
        );
    }

    pub fn batch_end(&mut self, attempt: Attempt, revision: u64) {
        self.say(
            attempt,
            Input::BatchEnd {
                revision: revision.into(),
            },
        );
    }

    pub fn progress(&mut self, attempt: Attempt, revision: u64) {
        self.say(
            attempt,
            Input::Progress {
                revision: revision.into(),
                digest: None,
            },
        );
    }

    pub fn fail(&mut self, attempt: Attempt, class: FailureClass) {
        self.say(attempt, Input::Failed(Failure::new(class, "scripted")));
    }

    /// Drains the mirror's deltas, checking each.
    pub fn drain(&mut self) {
        self.mirror.drain(&mut self.informer);
    }

    pub fn notices(&mut self) -> Vec<Notice<Arc<str>>> {
        std::iter::from_fn(|| self.informer.poll_notice()).collect()
    }

    pub fn health(&self) -> Health<Arc<str>> {
        self.informer.health()
    }

    pub fn state(&self) -> State {
        self.health().state
    }

    pub fn reason(&self) -> Option<Condition> {
        self.health().reason
    }

    pub fn revision(&self) -> Option<u64> {
        self.health()
            .revision
            .and_then(|revision| revision.as_u64())
    }

    /// The cache's content, in the order of keys.
    pub fn cache(&self) -> Vec<(String, Value)> {
        let mut objects: Vec<_> = self
            .informer
            .cache()
            .iter()
            .map(|entry| (entry.key.to_string(), *entry.value))
            .collect();
        objects.sort();
        objects
    }
}

impl Mirror {
    pub fn new(informer: &mut Informer<Arc<str>, Value>) -> Self {
        Self::of(informer, Subscription::new())
    }

    pub fn of(
        informer: &mut Informer<Arc<str>, Value>,
        subscription: Subscription<Arc<str>, Value>,
    ) -> Self {
        let ordered = informer.config().source.order == RevisionOrder::Ordered;
        let id = informer.subscribe(subscription);
        Self {
            id,
            ordered,
            objects: BTreeMap::new(),
            marks: Vec::new(),
            log: Vec::new(),
        }
    }

    pub fn drain(&mut self, informer: &mut Informer<Arc<str>, Value>) {
        loop {
            match informer.poll_delta(self.id) {
                Polled::Delta(delta) => self.fold(delta),
                Polled::Yield => {}
                Polled::Idle => return,
            }
        }
    }

    fn fold(&mut self, delta: Delta<Arc<str>, Value>) {
        self.log.push(delta.clone());
        match delta {
            Delta::Added { key, new } => assert_eq!(self.objects.insert(key, new), None),
            Delta::Updated { key, old, new } => {
                assert_eq!(self.objects.insert(key, new), Some(old))
            }
            Delta::Deleted { key, seen, .. } => assert_eq!(self.objects.remove(&key), Some(seen)),
            Delta::Mark(mark) => {
                if let Some(last) = self
                    .marks
                    .last()
                    .filter(|last| last.local_epoch == mark.local_epoch)
                {
                    let back = match (&mark.revision, &last.revision) {
                        (Some(new), Some(old)) => {
                            new.compare(old) == Some(std::cmp::Ordering::Less)
                        }
                        _ => false,
                    };
                    assert!(
                        !back || !self.ordered,
                        "time travel from {last:?} to {mark:?}"
                    );
                }
                self.marks.push(mark);
            }
            Delta::Redelivered { key, value } => {
                assert_eq!(self.objects.get(&key), Some(&value))
            }
            Delta::Gap(_) => {}
            Delta::Reset => self.objects.clear(),
        }
    }
}

/// An object whose version is its value.
pub fn item<'a>(key: &'a str, value: Value) -> Item<'a, Arc<str>, Value> {
    Item {
        key,
        version: VersionRef::from(value),
        incarnation: None,
        size: key.len() + 8,
        body: Body::Value(value),
    }
}

pub fn objects(expected: &[(&str, Value)]) -> Vec<(String, Value)> {
    expected
        .iter()
        .map(|(key, value)| ((*key).to_owned(), *value))
        .collect()
}
